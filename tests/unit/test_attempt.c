/* test_attempt.c - uploads that wait for a thread, while the store does not answer (P8).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "backends/util/thread.h"
#include "cache/staged_impl.h"
#include "tests/unit/check.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

enum { FILES = 40, THREADS = 16, THREADS_AGAIN = 12 };

/* Closing a file waits for nothing, and a request lasts longer than the test. */
static void start(struct vrig *rig)
{
	vrig_init(rig);
	vrig_close(rig);
	rig->conf.wait_uploads = false;
	rig->conf.timeout_ns = 30 * NS_PER_S;
	vrig_open(rig);
}

static const char *name_of(char ret[8], int no)
{
	(void)snprintf(ret, 8, "f%02d", no);
	return ret;
}

/* A new file; nobody is asked whether there is another. */
static void write_new(struct vrig *rig, const char *path)
{
	struct staged *st = vrig_create(rig, path);
	vrig_put(st, path);
	CHECK_EQ(staged_publish(st, false, NULL), 0);
	vrig_close_writer(st);
}

static void write_all(struct vrig *rig)
{
	char name[8];
	for (int i = 0; i < FILES; i++)
		write_new(rig, name_of(name, i));
}

static void touch(struct vrig *rig, const char *path)
{
	struct staged *st = staged_find(view_staging(rig->vw), path);
	CHECK(st);
	CHECK_EQ(staged_set_mtime(st, 5), 0);
	staged_unref(st);
}

/* Nobody is asked whether there is another here either. */
static void rename_to_new(struct vrig *rig, const char *from, const char *to)
{
	struct staged *st = staged_find(view_staging(rig->vw), from);
	struct staged_move mv = {.to = to, .publish = true};
	struct call call = vrig_soon();
	CHECK(st);
	CHECK_EQ(staged_rename(st, &mv, &call), 0);
	staged_unref(st);
}

static struct staging_counts count(struct vrig *rig)
{
	struct staging_counts counts;
	staging_count(view_staging(rig->vw), &counts);
	return counts;
}

static void let_go(struct vrig *rig)
{
	atomic_store(&rig->bucket.held, false);
	CHECK_EQ(view_drain(rig->vw, clock_now_ns() + 20 * NS_PER_S), 0);
}

/* Nobody waits until a thread comes to what it then throws away. */
static void attempt__queued_is_taken_back(void)
{
	struct vrig rig;
	start(&rig);
	atomic_store(&rig.bucket.held, true);
	write_all(&rig);
	VRIG_UNTIL(rig.bucket.puts == THREADS);
	CHECK_EQ(count(&rig).queued, FILES - THREADS);
	CHECK_EQ(vrig_unlink(&rig, "f39"), 0);
	CHECK_EQ(vrig_rename(&rig, "f37", "f38"), 0);
	for (int i = 0; i < 100; i++)
		touch(&rig, "f36");
	CHECK_EQ(vrig_write(&rig, "f35", "next"), 0);
	CHECK_EQ(vrig_unlink(&rig, "f35"), 0);
	CHECK_EQ(rig.bucket.puts, THREADS);
	CHECK_EQ(count(&rig).queued, FILES - THREADS - 3);
	let_go(&rig);
	CHECK(bucket_has(&rig.bucket, "f34", "f34"));
	CHECK(bucket_has(&rig.bucket, "f35", NULL));
	CHECK(bucket_has(&rig.bucket, "f36", "f36"));
	CHECK(bucket_has(&rig.bucket, "f37", NULL));
	CHECK(bucket_has(&rig.bucket, "f38", "f37"));
	CHECK(bucket_has(&rig.bucket, "f39", NULL));
	CHECK_EQ(rig.bucket.puts, FILES - 3);
	vrig_done(&rig);
}

/* One that runs is broken off, and its thread takes the next. */
static void attempt__running_is_stopped(void)
{
	struct vrig rig;
	start(&rig);
	atomic_store(&rig.bucket.held, true);
	write_all(&rig);
	VRIG_UNTIL(rig.bucket.puts == THREADS);
	CHECK_EQ(vrig_unlink(&rig, "f00"), 0);
	VRIG_UNTIL(rig.bucket.puts == THREADS + 1);
	let_go(&rig);
	CHECK(bucket_has(&rig.bucket, "f00", NULL));
	vrig_done(&rig);
}

/* The end does not come to each that is queued either. */
static void attempt__end_leaves_what_is_queued(void)
{
	struct vrig rig;
	start(&rig);
	atomic_store(&rig.bucket.held, true);
	write_all(&rig);
	VRIG_UNTIL(rig.bucket.puts == THREADS);
	vrig_close(&rig);
	CHECK_EQ(rig.bucket.puts, THREADS);
	vrig_open(&rig);
	let_go(&rig);
	CHECK(bucket_has(&rig.bucket, "f39", "f39"));
	vrig_done(&rig);
}

static void *publish_main(void *arg)
{
	struct call call = vrig_soon();
	CHECK_EQ(staged_publish(arg, true, &call), 0);
	return NULL;
}

/* One that no thread has taken; a reference. */
static struct staged *find_queued(struct vrig *rig, char ret_name[8])
{
	for (int i = 0; i < FILES; i++) {
		struct staging *sg = view_staging(rig->vw);
		struct staged *st = staged_find(sg, name_of(ret_name, i));
		CHECK(st);
		(void)pthread_mutex_lock(&sg->lock);
		bool queued = st->queued;
		(void)pthread_mutex_unlock(&sg->lock);
		if (queued)
			return st;
		staged_unref(st);
	}
	CHECK(!"all are being sent");
	return NULL;
}

/* What the store did not take holds up neither what is new nor what is waited for. */
static void attempt__tried_before_goes_last(void)
{
	struct vrig rig;
	pthread_t waits;
	char name[8];
	start(&rig);
	atomic_store(&rig.bucket.down, -EIO);
	write_all(&rig);
	VRIG_UNTIL(count(&rig).failed == FILES);
	atomic_store(&rig.bucket.held, true);
	atomic_store(&rig.bucket.down, 0);
	int before = rig.bucket.puts;
	CHECK_EQ(view_drain(rig.vw, clock_now_ns()), FILES); /* all are tried again */
	VRIG_UNTIL(rig.bucket.puts - before == THREADS_AGAIN);

	write_new(&rig, "new");
	VRIG_UNTIL(rig.bucket.puts - before == THREADS_AGAIN + 1);
	CHECK_EQ(count(&rig).uploading, 1); /* of those that have not failed */
	CHECK_EQ(count(&rig).queued, 0);
	struct staged *st = find_queued(&rig, name);
	CHECK_EQ(thread_start(&waits, 0, publish_main, st), 0);
	VRIG_UNTIL(rig.bucket.puts - before == THREADS_AGAIN + 2);
	let_go(&rig);
	(void)pthread_join(waits, NULL);
	staged_unref(st);
	CHECK(bucket_has(&rig.bucket, "new", "new"));
	CHECK(bucket_has(&rig.bucket, name, name));
	vrig_done(&rig);
}

/* Whoever closes a file is told what became of it, not that somebody else touched it. */
static void attempt__stopped_by_another_goes_on(void)
{
	for (int renames = 0; renames < 2; renames++) {
		struct vrig rig;
		pthread_t waits;
		start(&rig);
		atomic_store(&rig.bucket.held, true);
		struct staged *st = vrig_create(&rig, "f");
		vrig_put(st, "f");
		CHECK_EQ(thread_start(&waits, 0, publish_main, st), 0);
		VRIG_UNTIL(rig.bucket.puts == 1);
		if (renames)
			rename_to_new(&rig, "f", "g");
		else
			touch(&rig, "f");
		VRIG_UNTIL(rig.bucket.puts == 2);
		atomic_store(&rig.bucket.held, false);
		(void)pthread_join(waits, NULL);
		vrig_close_writer(st);
		CHECK(bucket_has(&rig.bucket, renames ? "g" : "f", "f"));
		vrig_done(&rig);
	}
}

int main(void)
{
	RUN(attempt__queued_is_taken_back);
	RUN(attempt__running_is_stopped);
	RUN(attempt__end_leaves_what_is_queued);
	RUN(attempt__tried_before_goes_last);
	RUN(attempt__stopped_by_another_goes_on);
	return 0;
}
