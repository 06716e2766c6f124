/* task.c - see task.h. */
#include "fs/task.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "fs/passthrough.h"
#include "backends/util/banned.h"

/* The one place where our errors become the user's (see backend.h). */
static int user_errno(int r)
{
	switch (-r) {
	case EKEYEXPIRED: /* not let in, if not for good */
		return EACCES;
	case ENODATA: /* archived: try again when it was restored */
		return EAGAIN;
	case EAGAIN: /* ours alone: would block */
	case ENODEV: /* the bucket itself is gone */
	case EREMOTEIO:
	case ECOMM:
	case EBADMSG:
	case EPROTO:
	case EUCLEAN:
	case ESHUTDOWN:
	case EALREADY:
	case EBADE:
		return EIO;
	default:
		return -r;
	}
}

static void on_interrupt(fuse_req_t req, void *data)
{
	struct task *t = data;
	(void)req;
	atomic_store(&t->cancelled, true);
}

/* Before each reply: whoever has it finds what was done in what he is shown next.
 * libfuse calls the callback under the request's lock, and so is this. */
static void take_back(struct task *t)
{
	if (!t->only_reads)
		atomic_fetch_add(&t->fs->changes, 1);
	if (t->on_heap)
		fuse_req_interrupt_func(t->req, NULL, NULL);
}

static void task_free(struct task *t)
{
	free((void *)(uintptr_t)t->name);
	free((void *)(uintptr_t)t->name2);
	free((void *)(uintptr_t)t->data);
	free(t);
}

static void enlist(struct task *t)
{
	SCOPED_LOCK(&t->fs->lock);
	t->next = t->fs->tasks;
	t->link = &t->fs->tasks;
	if (t->next)
		t->next->link = &t->next;
	t->fs->tasks = t;
	if (t->fs->stopping)
		atomic_store(&t->cancelled, true);
}

static void delist(struct task *t)
{
	SCOPED_LOCK(&t->fs->lock);
	*t->link = t->next;
	if (t->next)
		t->next->link = t->link;
}

void task_cancel_all(struct fs *fs)
{
	SCOPED_LOCK(&fs->lock);
	fs->stopping = true;
	for (struct task *t = fs->tasks; t; t = t->next)
		atomic_store(&t->cancelled, true);
}

static void run(void *arg)
{
	struct task *t = arg;
	enlist(t);
	/* What ends something is done all the same. */
	int r = t->gives_up ? call_check(&t->call) : 0;
	if (!r)
		r = t->fn(t, &t->call);
	if (r)
		reply_err(t, r);
	delist(t);
	task_free(t);
}

static char *copy_string(const char *s, bool *failed)
{
	char *copy = s ? strdup(s) : NULL;
	*failed |= s && !copy;
	return copy;
}

/* A copy that outlives the request's buffer. */
static struct task *to_heap(const struct task *t)
{
	bool failed = false;
	struct task *h = malloc(sizeof(*h));
	if (!h)
		return NULL;
	memcpy(h, t, sizeof(*h));
	h->on_heap = true;
	h->name = copy_string(t->name, &failed);
	h->name2 = copy_string(t->name2, &failed);
	if (t->data) {
		char *data = malloc(t->size ? t->size : 1);
		failed |= !data;
		if (data)
			memcpy(data, t->data, t->size);
		h->data = data;
	}
	if (!failed)
		return h;
	task_free(h);
	return NULL;
}

static int queue(struct task *h, struct pool *pool)
{
	uint64_t timeout_ns = h->fs->conf.read_timeout_ns;
	h->call = (struct call){
		.deadline_ns = clock_add(clock_now_ns(), timeout_ns),
		.cancelled = &h->cancelled,
	};
	fuse_req_interrupt_func(h->req, on_interrupt, h);
	int r = pool_submit(pool, h->stands_back ? PRIO_HINT : PRIO_DEMAND, run, h);
	if (r)
		fuse_req_interrupt_func(h->req, NULL, NULL);
	return r;
}

static void submit(struct task *t, struct pool *pool)
{
	struct task *h = to_heap(t);
	int r = h ? queue(h, pool) : -ENOMEM;
	if (!r)
		return;
	if (h)
		task_free(h);
	t->on_heap = false;
	reply_err(t, r == -ESHUTDOWN ? -EIO : -ENOMEM);
}

void task_try(struct task *t)
{
	int r = t->fn(t, NULL);
	/* A write may wait for room, which is no reason for readers to wait. */
	t->gives_up = r == -EAGAIN;
	if (t->gives_up)
		submit(t, t->data ? t->fs->writers : t->fs->readers);
	else if (r)
		reply_err(t, r);
}

void task_read(struct task *t)
{
	t->only_reads = true;
	task_try(t);
}

void task_later(struct task *t)
{
	submit(t, t->fs->writers);
}

static void run_here(struct task *t)
{
	t->call = (struct call){
		.deadline_ns = clock_add(clock_now_ns(), t->fs->conf.read_timeout_ns),
		.cancelled = &t->cancelled,
	};
	int r = t->fn(t, &t->call);
	if (r)
		reply_err(t, r);
}

void task_here(struct task *t)
{
	struct fs *fs = t->fs;
	if (atomic_fetch_add(&fs->here, 1) < fs->conf.threads / 2)
		run_here(t);
	else
		task_later(t);
	atomic_fetch_sub(&fs->here, 1);
}

/* --- replies; that the kernel has gone meanwhile is no error of ours --- */

void reply_err(struct task *t, int r)
{
	take_back(t);
	(void)fuse_reply_err(t->req, r ? user_errno(r) : 0);
}

int reply_entry(struct task *t, const struct fuse_entry_param *e)
{
	take_back(t);
	return fuse_reply_entry(t->req, e);
}

int reply_create(struct task *t, const struct fuse_entry_param *e)
{
	take_back(t);
	return fuse_reply_create(t->req, e, &t->fi);
}

int reply_open(struct task *t, int backing_id)
{
	take_back(t);
	return passthrough_reply_open(t->req, &t->fi, backing_id);
}

void reply_attr(struct task *t, const struct stat *st)
{
	take_back(t);
	(void)fuse_reply_attr(t->req, st, (double)t->fs->conf.ttl_ns / (double)NS_PER_S);
}

int reply_buf(struct task *t, const void *bytes, size_t n)
{
	take_back(t);
	return fuse_reply_buf(t->req, bytes, n);
}

void reply_write(struct task *t, size_t n)
{
	take_back(t);
	(void)fuse_reply_write(t->req, n);
}

void reply_xattr_size(struct task *t, size_t n)
{
	take_back(t);
	(void)fuse_reply_xattr(t->req, n);
}

void reply_statfs(struct task *t, const struct statvfs *sv)
{
	take_back(t);
	(void)fuse_reply_statfs(t->req, sv);
}
