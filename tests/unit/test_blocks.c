/* test_blocks.c - reading through the cache: what is fetched, by whom, how often. */
#include "cache/blocks.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/metrics.h"
#include "cache/version.h"
#include "tests/unit/cache_rig.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static void blocks__a_small_read_fetches_one_block(void)
{
	struct rig rig;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 20 * MIB + 123);
	rig_read(&rig, v, 5 * MIB + 17, 4096);
	CHECK_EQ(rig.mb.gets, 1);
	CHECK_EQ(rig.mb.bytes, BLOCK_SIZE);
	CHECK_EQ(version_cached_bytes(v), BLOCK_SIZE);
	rig_read(&rig, v, 5 * MIB + 17, 4096);
	CHECK_EQ(rig.mb.gets, 1);
	/* The last block is as long as the object says. */
	rig_read(&rig, v, 20 * MIB + 100, 23);
	CHECK_EQ(rig.mb.bytes, BLOCK_SIZE + 123);
	CHECK_EQ(rig_try(&rig, v, 20 * MIB, NULL, 124), -EINVAL);
	CHECK_EQ(rig_try(&rig, v, UINT64_MAX, NULL, 2), -EINVAL);
	version_unref(v);
	rig_done(&rig);
}

static void blocks__a_null_call_never_asks_the_network(void)
{
	struct rig rig;
	char bytes[100];
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", MIB);
	CHECK_EQ(blocks_read(rig.bl, v, 0, bytes, 100, NULL), -EAGAIN);
	CHECK_EQ(rig.mb.gets, 0);
	rig_read(&rig, v, 0, 100);
	CHECK_EQ(blocks_read(rig.bl, v, 0, bytes, 100, NULL), 0);
	version_unref(v);
	rig_done(&rig);
}

/* Each is what the counts have grown by since the last call. */
static void counted(uint64_t cached, uint64_t fetched, uint64_t cached_bytes,
		    uint64_t fetched_bytes)
{
	static const enum metric names[] = {METRIC_READS_CACHED, METRIC_READS_FETCHED,
					    METRIC_READ_CACHED_BYTES,
					    METRIC_READ_FETCHED_BYTES};
	static uint64_t before[4];
	const uint64_t want[4] = {cached, fetched, cached_bytes, fetched_bytes};
	for (int i = 0; i < 4; i++) {
		uint64_t now = metrics_get(names[i]);
		CHECK_EQ(now - before[i], want[i]);
		before[i] = now;
	}
}

static void blocks__what_was_waited_for_is_counted_to_the_byte(void)
{
	struct rig rig;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 20 * MIB);
	char bytes[100];
	uint64_t seen[] = {metrics_get(METRIC_READS_CACHED),
			   metrics_get(METRIC_READS_FETCHED),
			   metrics_get(METRIC_READ_CACHED_BYTES),
			   metrics_get(METRIC_READ_FETCHED_BYTES)};
	counted(seen[0], seen[1], seen[2], seen[3]);

	/* One that would have had to wait, and did not, was none. */
	CHECK_EQ(blocks_read(rig.bl, v, 0, bytes, 100, NULL), -EAGAIN);
	counted(0, 0, 0, 0);
	rig_read(&rig, v, 5 * BLOCK_SIZE + 1000, 4096);
	counted(0, 1, 0, 4096);
	rig_read(&rig, v, 5 * BLOCK_SIZE + 17, 100);
	counted(1, 0, 100, 0);
	/* Of three blocks the middle one is here. */
	rig_read(&rig, v, 5 * BLOCK_SIZE - 10, BLOCK_SIZE + 30);
	counted(0, 1, BLOCK_SIZE, 30);
	/* More than one read starts at once, and more than one GET brings. */
	rig_read(&rig, v, 6 * MIB, 12 * MIB);
	counted(0, 1, 0, 12 * MIB);
	rig_read(&rig, v, 6 * MIB, 12 * MIB);
	counted(1, 0, 12 * MIB, 0);
	version_unref(v);
	rig_done(&rig);
}

static void blocks__next_mount_reads_without_the_network(void)
{
	struct rig rig;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 20 * MIB);
	rig_read(&rig, v, 0, 20 * MIB);
	uint64_t gets = rig.mb.gets;
	version_unref(v);
	rig_reopen(&rig);
	CHECK_EQ(rig_stats(&rig).used_bytes, 20 * MIB);
	v = rig_version(&rig, "k", 20 * MIB);
	CHECK_EQ(version_cached_bytes(v), 20 * MIB);
	rig_read(&rig, v, 0, 20 * MIB);
	CHECK_EQ(rig.mb.gets, gets);
	version_unref(v);
	rig_done(&rig);
}

/* Whoever reads the data file through this process's descriptor of it gets EBADF. */
static void spoil(const char *path, void *arg)
{
	struct stat file, sb;
	(void)arg;
	CHECK_EQ(stat(path, &file), 0);
	int blind = open(path, O_WRONLY | O_CLOEXEC), n = 0;
	CHECK(blind >= 0);
	for (int fd = 3; fd < 256; fd++)
		if (fd != blind && !fstat(fd, &sb) && sb.st_ino == file.st_ino &&
		    sb.st_dev == file.st_dev) {
			CHECK_EQ(dup2(blind, fd), fd);
			n++;
		}
	CHECK_EQ(close(blind), 0);
	CHECK_EQ(n, 1);
}

/* blocks (5), P9: the bucket has what a bad sector has not. */
static void blocks__an_error_of_the_disk_fails_no_read(void)
{
	struct rig rig;
	char bytes[100];
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 4 * MIB);
	rig_read(&rig, v, 0, 4 * MIB);
	uint64_t gets = rig.mb.gets;
	rig_files(&rig, spoil, NULL);
	CHECK_EQ(blocks_read(rig.bl, v, 10, bytes, 100, NULL), -EAGAIN);
	CHECK_EQ(rig.mb.gets, gets);
	rig_read(&rig, v, MIB - 10, 4096);
	CHECK_EQ(rig.mb.gets, gets + 1);
	/* It cannot be had elsewhere either. */
	rig.mb.error = -ESTALE;
	rig.mb.good_gets = 0;
	CHECK_EQ(rig_try(&rig, v, 0, bytes, 100), -ESTALE);
	version_unref(v);
	rig_done(&rig);
}

/* -- one GET for one block, blocks (3) -- */

struct task {
	struct rig *rig;
	struct version *v;
	uint64_t off, size;
	uint32_t n, random;
	atomic_bool cancelled, done;
	int result;
	pthread_t thread;
};

static uint32_t next_random(uint32_t *state)
{
	return *state = *state * 1664525u + 1013904223u;
}

static void *read_pieces(void *arg)
{
	struct task *t = arg;
	for (uint32_t i = 0; i < t->n; i++) {
		uint64_t off = ((uint64_t)next_random(&t->random) << 8) % t->size;
		uint64_t len = 1 + (next_random(&t->random) >> 8) % (2 * MIB);
		if (len > t->size - off)
			len = t->size - off;
		rig_read(t->rig, t->v, off, len);
	}
	rig_read(t->rig, t->v, 0, t->size);
	return NULL;
}

static void blocks__many_readers_fetch_each_block_once(void)
{
	enum { N = 8 };
	struct rig rig;
	struct task tasks[N];
	rig_init(&rig, 64 * MIB);
	uint64_t size = 20 * MIB + 5;
	membackend_watch(&rig.mb, size);
	struct version *v = rig_version(&rig, "k", size);
	for (uint32_t i = 0; i < N; i++) {
		tasks[i] = (struct task){
			.rig = &rig, .v = v, .size = size, .n = 20, .random = i};
		CHECK_EQ(pthread_create(&tasks[i].thread, NULL, read_pieces, &tasks[i]),
			 0);
		blocks_hint(rig.bl, v, i * MIB, 3 * MIB);
	}
	for (uint32_t i = 0; i < N; i++)
		CHECK_EQ(pthread_join(tasks[i].thread, NULL), 0);
	CHECK_EQ(rig.mb.twice, 0);
	CHECK_EQ(rig.mb.bytes, size);
	CHECK_EQ(rig_stats(&rig).fetched_bytes, size);
	version_unref(v);
	rig_done(&rig);
}

static void *read_one(void *arg)
{
	struct task *t = arg;
	char bytes[4096];
	struct call call = rig_call(t->random ? t->random * NS_PER_MS : 60 * NS_PER_S);
	call.cancelled = &t->cancelled;
	t->result = blocks_read(t->rig->bl, t->v, t->off, bytes, sizeof bytes, &call);
	if (!t->result)
		CHECK(membackend_same(7, t->off, bytes, sizeof bytes));
	atomic_store(&t->done, true);
	return NULL;
}

static void start(struct task *t, struct rig *rig, struct version *v, uint64_t off)
{
	*t = (struct task){.rig = rig, .v = v, .off = off};
	CHECK_EQ(pthread_create(&t->thread, NULL, read_one, t), 0);
}

static void wait_gets(struct rig *rig, uint64_t n)
{
	while (atomic_load(&rig->mb.gets) < n)
		clock_sleep_ns(NS_PER_MS);
}

static void blocks__bytes_are_served_before_the_get_ends(void)
{
	struct rig rig;
	char *bytes = malloc(4 * MIB);
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 8 * MIB);
	rig.mb.good_bytes = MIB + 5;
	rig.mb.held = true;
	blocks_hint(rig.bl, v, 0, 8 * MIB);
	/* Four blocks came of the run of 32, which hangs now. */
	rig_read(&rig, v, 0, MIB);
	CHECK_EQ(rig.mb.running, 1);
	struct call call = rig_call(150 * NS_PER_MS);
	CHECK_EQ(blocks_read(rig.bl, v, 0, bytes, 2 * MIB, &call), -ETIMEDOUT);
	rig.mb.held = false;
	rig_read(&rig, v, 0, 8 * MIB);
	CHECK_EQ(rig.mb.gets, 1);
	version_unref(v);
	rig_done(&rig);
	free(bytes);
}

/* A read that begins in what somebody else fetches asks for the rest at once. */
static void blocks__what_is_behind_a_fetch_does_not_wait_for_it(void)
{
	struct rig rig;
	char *bytes = malloc(MIB);
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 8 * MIB);
	rig.mb.good_bytes = 0;
	rig.mb.hints_held = true;
	blocks_hint(rig.bl, v, 0, BLOCK_SIZE);
	wait_gets(&rig, 1);
	struct call call = rig_call(150 * NS_PER_MS);
	CHECK_EQ(blocks_read(rig.bl, v, 0, bytes, 2 * BLOCK_SIZE, &call), -ETIMEDOUT);
	CHECK_EQ(rig.mb.gets, 2);
	rig.mb.hints_held = false;
	rig_read(&rig, v, 0, 2 * BLOCK_SIZE);
	CHECK_EQ(rig.mb.gets, 2);
	version_unref(v);
	rig_done(&rig);
	free(bytes);
}

/* -- failure -- */

static void blocks__a_failed_get_is_an_error_and_no_more(void)
{
	struct rig rig;
	char *bytes = malloc(4 * MIB);
	rig_init(&rig, 64 * MIB);
	membackend_watch(&rig.mb, 4 * MIB);
	struct version *v = rig_version(&rig, "k", 4 * MIB);
	rig.mb.error = -EIO;
	CHECK_EQ(rig_try(&rig, v, 0, bytes, 4096), -EIO);
	CHECK_EQ(rig.mb.gets, 1);
	CHECK_EQ(version_cached_bytes(v), 0);
	rig.mb.error = -ESTALE;
	CHECK_EQ(rig_try(&rig, v, 0, bytes, 4096), -ESTALE);
	/* What came before the fault stays, half a block does not. */
	rig.mb.error = -EIO;
	rig.mb.good_bytes = MIB + 100;
	blocks_hint(rig.bl, v, 0, 4 * MIB);
	wait_gets(&rig, 3);
	while (rig_stats(&rig).used_bytes != MIB || atomic_load(&rig.mb.running))
		clock_sleep_ns(NS_PER_MS);
	clock_sleep_ns(20 * NS_PER_MS);
	CHECK_EQ(version_cached_bytes(v), MIB);
	CHECK_EQ(rig_disk_bytes(&rig), MIB);
	CHECK_EQ(rig_stats(&rig).used_bytes, MIB);
	rig.mb.error = 0;
	rig_read(&rig, v, 0, 4 * MIB);
	CHECK_EQ(rig.mb.bytes, 4 * MIB + 100);
	version_unref(v);
	rig_done(&rig);
	free(bytes);
}

static void blocks__one_interrupted_reader_does_not_fail_another(void)
{
	struct rig rig;
	struct task a, b;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 4 * MIB);
	rig.mb.held = true;
	start(&a, &rig, v, 0);
	wait_gets(&rig, 1);
	start(&b, &rig, v, 8192);
	clock_sleep_ns(20 * NS_PER_MS);
	uint64_t before = clock_now_ns();
	atomic_store(&a.cancelled, true);
	CHECK_EQ(pthread_join(a.thread, NULL), 0);
	CHECK_EQ(a.result, -EINTR);
	CHECK(clock_now_ns() - before < NS_PER_S);
	CHECK(!atomic_load(&b.done));
	rig.mb.held = false;
	CHECK_EQ(pthread_join(b.thread, NULL), 0);
	CHECK_EQ(b.result, 0);
	CHECK_EQ(rig.mb.gets, 1);
	version_unref(v);
	rig_done(&rig);
}

static void blocks__the_last_waiter_takes_the_get_with_it(void)
{
	struct rig rig;
	struct task a;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 4 * MIB);
	rig.mb.held = true;
	start(&a, &rig, v, 0);
	wait_gets(&rig, 1);
	atomic_store(&a.cancelled, true);
	CHECK_EQ(pthread_join(a.thread, NULL), 0);
	CHECK_EQ(a.result, -EINTR);
	while (atomic_load(&rig.mb.running))
		clock_sleep_ns(NS_PER_MS);
	rig.mb.held = false;
	rig_read(&rig, v, 0, 4096);
	version_unref(v);
	rig_done(&rig);
}

/* A get of the second block hears of nothing before it is let go. */
static atomic_bool deaf;
static const struct backend_ops *mem_ops;

static int deaf_get(struct backend *be, const char *key, const struct object *obj,
		    uint64_t off, uint64_t len, sink_fn *sink, void *arg,
		    struct call *call)
{
	while (off == BLOCK_SIZE && atomic_load(&deaf))
		clock_sleep_ns(NS_PER_MS);
	return mem_ops->get(be, key, obj, off, len, sink, arg, call);
}

static void wait_waiter(struct version *v, uint64_t block)
{
	for (uint32_t n = 0; !n; clock_sleep_ns(NS_PER_MS)) {
		SCOPED_LOCK(&v->lock);
		struct run *run = run_find_locked(v, block);
		if (!run)
			continue;
		n = run->waiters;
		run_unref_locked(run);
	}
}

/* Who waits for the second of the gets that another has started, and is interrupted,
 * takes that with him; the other, who comes to wait for it then, was not. */
static void blocks__a_get_that_another_took_with_him_is_made_again(void)
{
	struct rig rig;
	struct task a, b;
	rig_init(&rig, 2 * MIB); /* a get for each block */
	struct version *v = rig_version(&rig, "k", MIB);
	struct backend_ops ops = *rig.mb.be.ops;
	mem_ops = rig.mb.be.ops;
	ops.get = deaf_get;
	rig.mb.be.ops = &ops;
	atomic_store(&deaf, true);
	rig.mb.held = true;
	start(&a, &rig, v, BLOCK_SIZE - 2048);
	wait_waiter(v, 0);
	start(&b, &rig, v, BLOCK_SIZE);
	wait_waiter(v, 1);
	atomic_store(&b.cancelled, true);
	CHECK_EQ(pthread_join(b.thread, NULL), 0);
	CHECK_EQ(b.result, -EINTR);
	rig.mb.held = false;
	wait_waiter(v, 1);
	atomic_store(&deaf, false);
	CHECK_EQ(pthread_join(a.thread, NULL), 0);
	CHECK_EQ(a.result, 0);
	version_unref(v);
	rig_done(&rig);
}

static void blocks__a_fetch_ends_at_its_deadline(void)
{
	struct rig rig;
	char bytes[10];
	rig_init(&rig, 64 * MIB);
	blocks_free(rig.bl);
	rig.conf.read_timeout_ns = 200 * NS_PER_MS;
	CHECK_EQ(blocks_new(&rig.conf, &rig.mb.be, &rig.bl), 0);
	struct version *v = rig_version(&rig, "k", 4 * MIB);
	rig.mb.held = true;
	CHECK_EQ(rig_try(&rig, v, 0, bytes, 10), -ETIMEDOUT);
	CHECK_EQ(rig.mb.gets, 1);
	rig.mb.held = false;
	rig_read(&rig, v, 0, 10);
	version_unref(v);
	rig_done(&rig);
}

/* P8: a fetch that has failed for all of its time says nothing of who came late. */
static void blocks__anothers_patience_is_not_ours(void)
{
	struct rig rig;
	struct task a, b;
	rig_init(&rig, 64 * MIB);
	blocks_free(rig.bl);
	rig.conf.read_timeout_ns = 2000 * NS_PER_MS;
	CHECK_EQ(blocks_new(&rig.conf, &rig.mb.be, &rig.bl), 0);
	struct version *v = rig_version(&rig, "k", 4 * MIB);
	rig.mb.held = true;
	rig.mb.error = -EIO;
	rig.mb.good_gets = 2;
	start(&a, &rig, v, 0);
	wait_gets(&rig, 1);
	clock_sleep_ns(1400 * NS_PER_MS);
	start(&b, &rig, v, 8192);
	clock_sleep_ns(100 * NS_PER_MS);
	rig.mb.held = false;
	CHECK_EQ(pthread_join(a.thread, NULL), 0);
	CHECK_EQ(pthread_join(b.thread, NULL), 0);
	CHECK_EQ(b.result, 0);
	version_unref(v);
	rig_done(&rig);
}

/* -- hints -- */

static void blocks__a_failed_hint_does_not_fail_its_waiter(void)
{
	struct rig rig;
	struct task a;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 4 * MIB);
	rig.mb.hints_held = true;
	blocks_hint(rig.bl, v, 0, 4 * MIB);
	wait_gets(&rig, 1);
	start(&a, &rig, v, 0);
	clock_sleep_ns(20 * NS_PER_MS);
	CHECK_EQ(rig.mb.gets, 1); /* it joined */
	rig.mb.good_gets = 2;
	rig.mb.error = -EIO;
	rig.mb.hints_held = false;
	CHECK_EQ(pthread_join(a.thread, NULL), 0);
	CHECK_EQ(a.result, 0);
	rig_read(&rig, v, 0, 4 * MIB);
	version_unref(v);
	rig_done(&rig);
}

static void blocks__a_read_overtakes_queued_hints(void)
{
	struct rig rig;
	rig_init(&rig, 2048 * MIB);
	struct version *v = rig_version(&rig, "k", 400 * MIB);
	rig.mb.hints_held = true;
	blocks_hint(rig.bl, v, 0, 400 * MIB);
	wait_gets(&rig, 12); /* 16 fetchers, 4 of them not for hints */
	clock_sleep_ns(20 * NS_PER_MS);
	CHECK_EQ(rig.mb.gets, 12);
	/* Its block belongs to a hint that is in the queue. */
	rig_read(&rig, v, 300 * MIB, 4096);
	CHECK_EQ(rig.mb.gets, 13);
	version_unref(v);
	rig_done(&rig);
}

static void blocks__hints_for_a_closed_file_are_dropped(void)
{
	struct rig rig;
	rig_init(&rig, 2048 * MIB);
	struct version *v = rig_version(&rig, "k", 400 * MIB);
	rig.mb.hints_held = true;
	blocks_hint(rig.bl, v, 0, 400 * MIB);
	wait_gets(&rig, 12);
	version_unref(v);
	rig.mb.hints_held = false;
	while (atomic_load(&rig.mb.running))
		clock_sleep_ns(NS_PER_MS);
	CHECK_EQ(rig.mb.gets, 12);
	rig_done(&rig);
}

static void blocks__versions_do_not_answer_for_each_other(void)
{
	struct rig rig;
	rig_init(&rig, 64 * MIB);
	struct object a = {.size = MIB, .etag = "\"1\""}, b = {.size = MIB};
	struct version *va, *vb, *vc;
	CHECK_EQ(version_get(rig.bl, "k", &b, &vb), -EINVAL); /* no etag */
	CHECK_EQ(version_get(rig.bl, "k", &a, &va), 0);
	b = (struct object){.size = MIB, .etag = "\"2\""};
	CHECK_EQ(version_get(rig.bl, "k", &b, &vb), 0);
	CHECK(va != vb);
	CHECK_EQ(version_get(rig.bl, "k", &a, &vc), 0);
	CHECK(va == vc);
	CHECK_STR(version_key(va), "k");
	CHECK_STR(version_object(vb)->etag, "\"2\"");
	rig_read(&rig, va, 0, MIB);
	rig.mb.seed = 8;
	rig_read(&rig, vb, 0, MIB);
	rig.mb.seed = 7;
	rig_read(&rig, va, 0, MIB);
	version_unref(va);
	version_unref(vb);
	version_unref(vc);
	version_unref(NULL);
	rig_done(&rig);
}

static void blocks__the_users_mtime_is_remembered(void)
{
	struct rig rig;
	int64_t t = 0;
	rig_init(&rig, MIB);
	CHECK_EQ(blocks_get_mtime(rig.bl, "k", "e", &t), -ENOENT);
	blocks_set_mtime(rig.bl, "k", "e", -5);
	blocks_set_mtime(rig.bl, "k", "f", 6);
	rig_reopen(&rig);
	CHECK_EQ(blocks_get_mtime(rig.bl, "k", "e", &t), 0);
	CHECK_EQ(t, -5);
	CHECK_EQ(blocks_get_mtime(rig.bl, "k", "f", &t), 0);
	CHECK_EQ(t, 6);
	rig_done(&rig);
}

int main(void)
{
	RUN(blocks__a_small_read_fetches_one_block);
	RUN(blocks__a_null_call_never_asks_the_network);
	RUN(blocks__what_was_waited_for_is_counted_to_the_byte);
	RUN(blocks__next_mount_reads_without_the_network);
	RUN(blocks__an_error_of_the_disk_fails_no_read);
	RUN(blocks__many_readers_fetch_each_block_once);
	RUN(blocks__bytes_are_served_before_the_get_ends);
	RUN(blocks__what_is_behind_a_fetch_does_not_wait_for_it);
	RUN(blocks__a_failed_get_is_an_error_and_no_more);
	RUN(blocks__one_interrupted_reader_does_not_fail_another);
	RUN(blocks__the_last_waiter_takes_the_get_with_it);
	RUN(blocks__a_get_that_another_took_with_him_is_made_again);
	RUN(blocks__a_fetch_ends_at_its_deadline);
	RUN(blocks__anothers_patience_is_not_ours);
	RUN(blocks__a_failed_hint_does_not_fail_its_waiter);
	RUN(blocks__a_read_overtakes_queued_hints);
	RUN(blocks__hints_for_a_closed_file_are_dropped);
	RUN(blocks__versions_do_not_answer_for_each_other);
	RUN(blocks__the_users_mtime_is_remembered);
	return 0;
}
