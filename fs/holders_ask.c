/* holders_ask.c - see holders_ask.h. */
#include "fs/holders_ask.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/cond.h"
#include "backends/util/thread.h"
#include "backends/util/banned.h"

enum {
	LOOK_MS = 10, /* how long a look takes at the most, if nothing is in its way */
	LOOKS_ASLEEP = 2, /* in a row: it is not for the processor that it waits */
	LOOKS = 500,
	THREADS_MAX = 64,
	STACK_BYTES = 256 << 10,
};

/* Of who asks and of the thread that looks: freed by the last. */
struct question {
	struct holder who;
	dev_t device;
	uint64_t inode;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	pid_t tid; /* of the thread, once it runs */
	bool done;
	int answer;
	int refs;

	char path[];
};

static atomic_int threads;

static struct question *question_new(const struct holder *who, dev_t device,
				     uint64_t inode, const char *path)
{
	size_t len = strlen(path) + 1;
	struct question *q = calloc(1, sizeof(*q) + len);
	if (!q)
		return NULL;
	q->who = *who;
	q->device = device;
	q->inode = inode;
	q->refs = 1;
	memcpy(q->path, path, len);
	(void)pthread_mutex_init(&q->lock, NULL);
	cond_init_monotonic(&q->changed);
	return q;
}

static void question_unref(struct question *q)
{
	(void)pthread_mutex_lock(&q->lock);
	bool last = !--q->refs;
	(void)pthread_mutex_unlock(&q->lock);
	if (!last)
		return;
	(void)pthread_cond_destroy(&q->changed);
	(void)pthread_mutex_destroy(&q->lock);
	free(q);
}

static void *look(void *arg)
{
	struct question *q = arg;
	(void)pthread_mutex_lock(&q->lock);
	q->tid = gettid();
	(void)pthread_mutex_unlock(&q->lock);
	int answer = holders_count(&q->who, q->device, q->inode, q->path);
	(void)pthread_mutex_lock(&q->lock);
	q->answer = answer;
	q->done = true;
	(void)pthread_cond_signal(&q->changed);
	(void)pthread_mutex_unlock(&q->lock);
	question_unref(q);
	atomic_fetch_sub(&threads, 1);
	return NULL;
}

static int start(struct question *q)
{
	pthread_t thread;
	if (atomic_fetch_add(&threads, 1) >= THREADS_MAX) {
		atomic_fetch_sub(&threads, 1);
		return -EAGAIN;
	}
	q->refs++;
	int r = thread_start(&thread, STACK_BYTES, look, q);
	if (!r) {
		(void)pthread_detach(thread);
		return 0;
	}
	q->refs--;
	atomic_fetch_sub(&threads, 1);
	return r;
}

/* Not running and not interruptible, so waiting for something of the kernel's. */
static bool is_asleep(pid_t tid)
{
	char path[64], text[128];
	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	const char *name_end = strrchr(text, ')');
	return name_end && !strncmp(name_end, ") D", 3);
}

static int wait_for_it(struct question *q)
{
	int asleep = 0;
	SCOPED_LOCK(&q->lock);
	for (int looks = 0; !q->done; looks++) {
		if (looks >= LOOKS)
			return -ETIMEDOUT;
		cond_wait_ms(&q->changed, &q->lock, LOOK_MS);
		asleep = !q->done && q->tid && is_asleep(q->tid) ? asleep + 1 : 0;
		if (asleep >= LOOKS_ASLEEP)
			return -EDEADLK;
	}
	return q->answer;
}

int holders_ask(const struct holder *who, dev_t device, uint64_t inode, const char *path)
{
	struct question *q = question_new(who, device, inode, path);
	if (!q)
		return -ENOMEM;
	int r = start(q);
	if (!r)
		r = wait_for_it(q);
	question_unref(q);
	return r;
}
