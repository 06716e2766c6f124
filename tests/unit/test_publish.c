/* test_publish.c - what a close says, and a close that the journal could not take is made
 * up for (P2). */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "backends/util/thread.h"
#include "cache/dir_move.h"
#include "tests/unit/check.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

/* No file of ours takes a byte: the journal fails, and what was written is there. */
static void set_full(bool full)
{
	struct rlimit lim;
	CHECK(!getrlimit(RLIMIT_FSIZE, &lim));
	lim.rlim_cur = full ? 1 : lim.rlim_max;
	CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR && !setrlimit(RLIMIT_FSIZE, &lim));
}

/* Closed, in vain. */
static void close_in_vain(struct vrig *rig, const char *path, const char *text)
{
	struct call call = vrig_soon();
	struct staged *st = vrig_create(rig, path);
	vrig_put(st, text);
	set_full(true);
	CHECK(staged_publish(st, rig->conf.wait_uploads, &call) < 0);
	vrig_close_writer(st);
	CHECK_STR(vrig_state(rig, path), "staged");
}

static void see_left(void *arg, const char *key)
{
	CHECK_STR(key, "f");
	++*(int *)arg;
}

static int left(struct vrig *rig)
{
	int n = 0;
	struct staging_counts counts;
	view_each_left(rig->vw, see_left, &n);
	staging_count(view_staging(rig->vw), &counts);
	CHECK_EQ(counts.failed, (uint64_t)n);
	CHECK(!n || !strcmp(counts.failed_names[0], "f"));
	CHECK_EQ(view_drain(rig->vw, clock_now_ns()), (uint64_t)n);
	return n;
}

static void publish__failed_seal_is_made_up_for(void)
{
	for (int wait = 0; wait < 2; wait++) {
		struct vrig rig;
		vrig_init(&rig);
		vrig_close(&rig);
		rig.conf.wait_uploads = wait;
		vrig_open(&rig);
		close_in_vain(&rig, "f", "bytes");
		CHECK_EQ(left(&rig), 1); /* and told so */
		(void)usleep(100000);
		set_full(false);
		CHECK(vrig_reads(&rig, "f", "bytes"));
		vrig_close(&rig);

		bucket_set(&rig.bucket, "f", "old", NULL);
		vrig_open(&rig);
		struct call call = vrig_soon();
		struct staged *st = vrig_open_write(&rig, "f");
		vrig_put(st, "new");
		set_full(true);
		CHECK(staged_publish(st, wait, &call) < 0);
		vrig_close_writer(st);
		set_full(false);
		CHECK(bucket_has(&rig.bucket, "f", "old"));
		CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 10 * NS_PER_S), 0);
		CHECK(bucket_has(&rig.bucket, "f", "new"));
		CHECK_EQ(left(&rig), 0);
		vrig_done(&rig);
	}
}

/* What somebody writes to is his to close, and what was removed is nobody's. */
static void publish__failed_seal_waits_for_writers(void)
{
	struct vrig rig;
	vrig_init(&rig);
	close_in_vain(&rig, "f", "bytes");
	set_full(false);
	struct call call = vrig_soon();
	struct staged *st = vrig_open_write(&rig, "f");
	vrig_put(st, "half");
	CHECK_EQ(left(&rig), 0);
	(void)usleep(1500000); /* the keeper came by */
	CHECK(bucket_has(&rig.bucket, "f", NULL));
	vrig_put(st, "whole");
	CHECK_EQ(staged_publish(st, true, &call), 0);
	vrig_close_writer(st);
	CHECK(bucket_has(&rig.bucket, "f", "whole"));

	CHECK_EQ(vrig_unlink(&rig, "f"), 0);
	close_in_vain(&rig, "f", "bytes");
	set_full(false);
	CHECK_EQ(vrig_unlink(&rig, "f"), 0);
	CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 10 * NS_PER_S), 0);
	CHECK(bucket_has(&rig.bucket, "f", NULL));
	vrig_done(&rig);
}

struct closer {
	struct vrig rig;
	struct staged *st;
	pthread_t thread, renamer;
	int r, renamed;
};

static void *close_main(void *arg)
{
	struct closer *c = arg;
	struct call call = vrig_soon();
	c->r = staged_publish(c->st, true, &call);
	return NULL;
}

/* One process closes it, which takes a while, and another writes it again. */
static struct staged *close_and_write_again(struct closer *c, const char *path)
{
	vrig_init(&c->rig);
	atomic_store(&c->rig.bucket.held, true);
	c->st = vrig_create(&c->rig, path);
	vrig_put(c->st, "closed");
	CHECK_EQ(thread_start(&c->thread, 0, close_main, c), 0);
	VRIG_UNTIL(c->rig.bucket.puts == 1);
	struct staged *again = vrig_open_write(&c->rig, path);
	vrig_put(again, "half");
	return again;
}

static void check_end(struct closer *c, struct staged *again, const char *path)
{
	struct call call = vrig_soon();
	atomic_store(&c->rig.bucket.held, false);
	CHECK_EQ(staged_publish(again, true, &call), 0);
	CHECK(bucket_has(&c->rig.bucket, path, "half"));
	vrig_close_writer(again);
	vrig_close_writer(c->st);
	vrig_done(&c->rig);
}

/* P2: its bytes are in the bucket under no name, and what has the name is half written.
 */
static void publish__superseded_is_no_success(void)
{
	struct closer c;
	struct staged *again = close_and_write_again(&c, "f");
	struct staged_move mv = {.to = "g", .wait = true}; /* there are writers */
	struct call call = vrig_soon();
	CHECK_EQ(staged_rename(again, &mv, &call), 0);
	(void)pthread_join(c.thread, NULL);
	CHECK(bucket_has(&c.rig.bucket, "f", NULL) &&
	      bucket_has(&c.rig.bucket, "g", NULL));
	CHECK_EQ(c.r, -EIO);
	check_end(&c, again, "g");
}

/* Nobody asks for the bytes of what was removed. */
static void publish__removed_is_none_either(void)
{
	struct closer c;
	struct staged *again = close_and_write_again(&c, "f");
	CHECK_EQ(vrig_unlink(&c.rig, "f"), 0);
	(void)pthread_join(c.thread, NULL);
	CHECK_EQ(c.r, 0);
	atomic_store(&c.rig.bucket.held, false);
	vrig_close_writer(again);
	vrig_close_writer(c.st);
	vrig_done(&c.rig);
}

static void *rename_main(void *arg)
{
	struct closer *c = arg;
	struct call call = vrig_soon();
	c->renamed = view_rename_dir(c->rig.vw, "d", "e", false, &vrig_followers, &call);
	return NULL;
}

/* A directory waits for it, and moves when it is there. */
static void publish__directory_waits_for_a_close(void)
{
	struct closer c;
	struct staged *again = close_and_write_again(&c, "d/f");
	CHECK_EQ(thread_start(&c.renamer, 0, rename_main, &c), 0);
	(void)usleep(200000);
	atomic_store(&c.rig.bucket.held, false);
	(void)pthread_join(c.thread, NULL);
	(void)pthread_join(c.renamer, NULL);
	CHECK_EQ(c.r, 0);
	CHECK_EQ(c.renamed, 0);
	CHECK(bucket_has(&c.rig.bucket, "e/f", "closed"));
	check_end(&c, again, "e/f");
}

int main(void)
{
	RUN(publish__superseded_is_no_success);
	RUN(publish__removed_is_none_either);
	RUN(publish__directory_waits_for_a_close);
	RUN(publish__failed_seal_is_made_up_for);
	RUN(publish__failed_seal_waits_for_writers);
	return 0;
}
