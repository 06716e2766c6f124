/* test_publish.c - a close that the journal could not take is made up for (P2). */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
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

int main(void)
{
	RUN(publish__failed_seal_is_made_up_for);
	RUN(publish__failed_seal_waits_for_writers);
	return 0;
}
