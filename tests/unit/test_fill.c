/* test_fill.c - what is fetched in the background: of which files, how much at a time,
 * and never in the way of somebody who waits. */
#include <errno.h>
#include <pthread.h>
#include "backends/util/clock.h"
#include "backends/util/cleanup.h"
#include "cache/version.h"
#include "tests/unit/cache_rig.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

enum { PATIENCE_MS = 60000 };

static void rig_filling(struct rig *rig, uint64_t max_bytes)
{
	rig_init(rig, max_bytes);
	rig->conf.fill = true;
	rig_reopen(rig);
}

static bool is_queued(struct version *v)
{
	SCOPED_LOCK(&v->lock);
	return v->filling;
}

static void wait_filled(struct version *v)
{
	for (int ms = 0; is_queued(v); ms++) {
		CHECK(ms < PATIENCE_MS);
		clock_sleep_ns(NS_PER_MS);
	}
}

static void fill__what_is_mostly_read_is_completed(void)
{
	struct rig rig;
	rig_filling(&rig, 400 * MIB);
	struct version *v = rig_version(&rig, "k", 96 * MIB);
	rig_read(&rig, v, 0, 30 * MIB);
	rig_read(&rig, v, 0, 30 * MIB); /* the same bytes count once */
	CHECK(!is_queued(v));
	CHECK_EQ(version_cached_bytes(v), 30 * MIB);
	atomic_store(&rig.mb.delay_ns, 5 * NS_PER_MS);
	rig_read(&rig, v, 88 * MIB, 8 * MIB);
	uint64_t gets = atomic_load(&rig.mb.gets);
	atomic_store(&rig.mb.running_max, 0);
	wait_filled(v);
	CHECK_EQ(version_cached_bytes(v), 96 * MIB);
	CHECK_EQ(rig.mb.bytes, 96 * MIB);
	/* 58 MiB in requests of 8: two of them at once, and two that have brought their
	 * last byte and are just ending (P9). */
	CHECK(atomic_load(&rig.mb.gets) - gets <= 8);
	CHECK(atomic_load(&rig.mb.running_max) >= 1);
	CHECK(atomic_load(&rig.mb.running_max) <= 4);
	rig_read(&rig, v, 0, 96 * MIB);
	CHECK_EQ(rig.mb.bytes, 96 * MIB);
	version_unref(v);
	rig_done(&rig);
}

/* A header, cutouts, hints that nobody read. */
static void fill__what_is_hardly_read_is_not(void)
{
	struct rig rig;
	rig_filling(&rig, 400 * MIB);
	struct version *v = rig_version(&rig, "k", 60 * MIB);
	rig_read(&rig, v, 0, 2880);
	for (uint64_t i = 1; i < 20; i++)
		rig_read(&rig, v, i * 3 * MIB, 40000);
	CHECK(!is_queued(v));
	blocks_hint(rig.bl, v, 0, 40 * MIB);
	while (version_cached_bytes(v) < 40 * MIB)
		clock_sleep_ns(NS_PER_MS);
	rig_read(&rig, v, 0, 4 * MIB);
	CHECK(!is_queued(v));
	version_unref(v);
	rig_done(&rig);
}

static void fill__a_file_that_would_push_out_the_rest_is_not(void)
{
	struct rig rig;
	rig_filling(&rig, 64 * MIB);
	struct version *large = rig_version(&rig, "k", 17 * MIB);
	rig_read(&rig, large, 0, 12 * MIB);
	CHECK(!is_queued(large));
	struct version *small = rig_version(&rig, "l", 16 * MIB);
	rig_read(&rig, small, 0, 12 * MIB);
	wait_filled(small);
	CHECK_EQ(version_cached_bytes(small), 16 * MIB);
	CHECK_EQ(version_cached_bytes(large), 12 * MIB);
	version_unref(large);
	version_unref(small);
	rig_done(&rig);
}

static void fill__it_can_be_turned_off(void)
{
	struct rig rig;
	rig_init(&rig, 400 * MIB);
	struct version *v = rig_version(&rig, "k", 60 * MIB);
	rig_read(&rig, v, 0, 50 * MIB);
	CHECK(!is_queued(v));
	version_unref(v);
	rig_done(&rig);
}

static void fill__it_waits_for_hints(void)
{
	struct rig rig;
	rig_filling(&rig, 400 * MIB);
	struct version *v = rig_version(&rig, "k", 40 * MIB);
	struct version *w = rig_version(&rig, "w", 40 * MIB);
	atomic_store(&rig.mb.hints_held, true);
	blocks_hint(rig.bl, w, 0, 8 * MIB);
	rig_read(&rig, v, 0, 20 * MIB);
	CHECK(is_queued(v));
	uint64_t gets = rig_stats(&rig).gets;
	clock_sleep_ns(500 * NS_PER_MS); /* longer than it is quiet after a read */
	CHECK_EQ(rig_stats(&rig).gets, gets);
	atomic_store(&rig.mb.hints_held, false);
	wait_filled(v);
	CHECK_EQ(version_cached_bytes(v), 40 * MIB);
	version_unref(v);
	version_unref(w);
	rig_done(&rig);
}

/* One attempt, whatever becomes of it: not one for each read. */
static void fill__it_does_not_insist(void)
{
	struct rig rig;
	rig_filling(&rig, 400 * MIB);
	struct version *v = rig_version(&rig, "k", 40 * MIB);
	rig_read(&rig, v, 0, 13 * MIB);
	CHECK(!is_queued(v));
	rig_read(&rig, v, 13 * MIB, MIB);
	atomic_store(&rig.mb.error, -EIO);
	wait_filled(v);
	atomic_store(&rig.mb.error, 0);
	CHECK_EQ(version_cached_bytes(v), 14 * MIB);
	rig_read(&rig, v, 14 * MIB, MIB);
	CHECK(!is_queued(v));
	version_unref(v);
	rig_done(&rig);
}

static void fill__it_stops_at_once(void)
{
	struct rig rig;
	rig_filling(&rig, 400 * MIB);
	struct version *v = rig_version(&rig, "k", 40 * MIB);
	/* What is here and not read yet can still be read when the store hangs. */
	(void)blocks_hint(rig.bl, v, 0, 20 * MIB);
	while (version_cached_bytes(v) < 20 * MIB)
		clock_sleep_ns(NS_PER_MS);
	uint64_t gets = rig_stats(&rig).gets;
	atomic_store(&rig.mb.good_bytes, 0);
	atomic_store(&rig.mb.held, true);
	rig_read(&rig, v, 0, 20 * MIB);
	while (rig_stats(&rig).gets == gets)
		clock_sleep_ns(NS_PER_MS);
	/* Its requests hang. */
	blocks_stop_filling(rig.bl);
	CHECK(!is_queued(v));
	CHECK(version_cached_bytes(v) < 40 * MIB);
	atomic_store(&rig.mb.held, false);
	struct version *w = rig_version(&rig, "w", 40 * MIB);
	rig_read(&rig, w, 0, 30 * MIB);
	CHECK(!is_queued(w));
	version_unref(v);
	version_unref(w);
	rig_done(&rig);
}

struct task {
	struct rig *rig;
	struct version *v;
	uint64_t off;
	int result;
	pthread_t thread;
};

static void *read_one(void *arg)
{
	struct task *t = arg;
	char bytes[4096];
	t->result = rig_try(t->rig, t->v, t->off, bytes, sizeof bytes);
	return NULL;
}

static uint32_t waiters_at(struct version *v, uint64_t off)
{
	SCOPED_LOCK(&v->lock);
	struct run *run = run_find_locked(v, off / BLOCK_SIZE);
	uint32_t n = run ? run->waiters : 0;
	if (run)
		run_unref_locked(run);
	return n;
}

/* P8: it gives up long before who waits for what it brings. */
static void fill__its_patience_is_not_that_of_a_reader(void)
{
	struct rig rig;
	rig_filling(&rig, 400 * MIB);
	struct version *v = rig_version(&rig, "k", 40 * MIB);
	(void)blocks_hint(rig.bl, v, 0, 20 * MIB);
	while (version_cached_bytes(v) < 20 * MIB)
		clock_sleep_ns(NS_PER_MS);
	uint64_t gets = atomic_load(&rig.mb.gets);
	atomic_store(&rig.mb.good_bytes, 0);
	atomic_store(&rig.mb.held, true);
	rig_read(&rig, v, 0, 20 * MIB);
	/* Of 20 MiB to 28, and of 28 to 32: it waits for the first. */
	while (atomic_load(&rig.mb.gets) < gets + 2)
		clock_sleep_ns(NS_PER_MS);
	struct task t = {.rig = &rig, .v = v, .off = 30 * MIB};
	CHECK_EQ(pthread_create(&t.thread, NULL, read_one, &t), 0);
	while (!waiters_at(v, t.off))
		clock_sleep_ns(NS_PER_MS);
	/* Only these two fail. */
	atomic_store(&rig.mb.good_gets, gets + 3);
	atomic_store(&rig.mb.error, -EIO);
	atomic_store(&rig.mb.held, false);
	CHECK_EQ(pthread_join(t.thread, NULL), 0);
	CHECK_EQ(t.result, 0);
	version_unref(v);
	rig_done(&rig);
}

int main(void)
{
	RUN(fill__what_is_mostly_read_is_completed);
	RUN(fill__what_is_hardly_read_is_not);
	RUN(fill__a_file_that_would_push_out_the_rest_is_not);
	RUN(fill__it_can_be_turned_off);
	RUN(fill__it_waits_for_hints);
	RUN(fill__it_does_not_insist);
	RUN(fill__it_stops_at_once);
	RUN(fill__its_patience_is_not_that_of_a_reader);
	return 0;
}
