/* test_evict.c - limits: what is given up, and when. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <pthread.h>
#include <unistd.h>
#include "backends/util/clock.h"
#include "cache/blocks.h"
#include "cache/db.h"
#include "cache/store.h"
#include "cache/version.h"
#include "tests/unit/cache_rig.h"
#include "tests/unit/check.h"
#include "tests/unit/no_holes.h"
#include "backends/util/banned.h"

/* -- the cap, blocks (5) -- */

struct watch {
	struct rig *rig;
	atomic_bool stop;
	uint64_t max, max_used;
};

static void *watch_disk(void *arg)
{
	struct watch *w = arg;
	while (!atomic_load(&w->stop)) {
		uint64_t disk = rig_disk_bytes(w->rig);
		uint64_t used = rig_stats(w->rig).used_bytes;
		w->max = disk > w->max ? disk : w->max;
		w->max_used = used > w->max_used ? used : w->max_used;
		clock_sleep_ns(NS_PER_MS / 4);
	}
	return NULL;
}

static void evict__the_cap_holds_at_every_moment(void)
{
	struct rig rig;
	pthread_t thread;
	rig_init(&rig, 4 * MIB);
	struct watch w = {.rig = &rig};
	CHECK_EQ(pthread_create(&thread, NULL, watch_disk, &w), 0);
	struct version *v = rig_version(&rig, "k", 64 * MIB);
	for (uint64_t off = 0; off < 64 * MIB; off += 300000) {
		uint64_t len = 64 * MIB - off < 300000 ? 64 * MIB - off : 300000;
		blocks_hint(rig.bl, v, off, 8 * MIB);
		rig_read(&rig, v, off, len);
	}
	/* A read that is bigger than the cache. */
	rig_read(&rig, v, MIB, 20 * MIB);
	atomic_store(&w.stop, true);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	/* The file system's own records of a file's extents: a few pages. */
	CHECK(w.max <= 4 * MIB + 65536);
	CHECK(w.max_used <= 4 * MIB);
	CHECK(rig_stats(&rig).evicted_bytes > 40 * MIB);
	version_unref(v);
	rig_done(&rig);
}

static void evict__the_oldest_goes_first(void)
{
	struct rig rig;
	rig_init(&rig, 8 * MIB);
	struct version *a = rig_version(&rig, "a", 3 * MIB);
	struct version *b = rig_version(&rig, "b", 3 * MIB);
	rig_read(&rig, a, 0, 3 * MIB);
	rig_read(&rig, b, 0, 3 * MIB);
	rig_read(&rig, a, 0, 3 * MIB); /* used again */
	CHECK_EQ(blocks_shrink(rig.bl, 2 * MIB), 2 * MIB);
	CHECK_EQ(version_cached_bytes(a), 3 * MIB);
	CHECK_EQ(version_cached_bytes(b), MIB);
	CHECK_EQ(rig_disk_bytes(&rig), 4 * MIB);
	rig_read(&rig, b, 0, 3 * MIB);
	/* What nobody has loaded is older than what somebody has. */
	version_unref(b);
	version_unref(a);
	rig_reopen(&rig);
	b = rig_version(&rig, "b", 3 * MIB);
	CHECK_EQ(blocks_shrink(rig.bl, 1), 3 * MIB);
	CHECK_EQ(version_cached_bytes(b), 3 * MIB);
	a = rig_version(&rig, "a", 3 * MIB);
	CHECK_EQ(version_cached_bytes(a), 0);
	CHECK_EQ(blocks_shrink(rig.bl, 100 * MIB), 3 * MIB);
	CHECK_EQ(rig_stats(&rig).used_bytes, 0);
	version_unref(a);
	version_unref(b);
	rig_done(&rig);
}

static void evict__a_kept_version_stays_until_it_is_closed(void)
{
	struct rig rig;
	rig_init(&rig, 4 * MIB);
	struct version *v = rig_version(&rig, "old", 2 * MIB);
	rig_read(&rig, v, 0, 2 * MIB);
	blocks_sync(rig.bl);
	version_keep(v);
	CHECK_EQ(blocks_shrink(rig.bl, 100 * MIB), 0);
	struct version *w = rig_version(&rig, "new", 20 * MIB);
	rig_read(&rig, w, 0, 20 * MIB);
	uint64_t gets = rig.mb.gets;
	rig_read(&rig, v, 0, 2 * MIB);
	CHECK_EQ(rig.mb.gets, gets);
	version_unref(v);
	while (rig_count_files(&rig) > 1)
		clock_sleep_ns(NS_PER_MS);
	v = rig_version(&rig, "old", 2 * MIB);
	CHECK_EQ(version_cached_bytes(v), 0);
	version_unref(v);
	version_unref(w);
	rig_done(&rig);
}

static void evict__an_empty_version_loses_its_file(void)
{
	struct rig rig;
	rig_init(&rig, 4 * MIB);
	struct version *v = rig_version(&rig, "k", 2 * MIB);
	rig_read(&rig, v, 0, 2 * MIB);
	version_unref(v);
	blocks_sync(rig.bl);
	CHECK_EQ(rig_count_files(&rig), 1);
	CHECK_EQ(blocks_shrink(rig.bl, MIB * 2), 2 * MIB);
	blocks_sync(rig.bl);
	CHECK_EQ(rig_count_files(&rig), 0);
	rig_done(&rig);
}

static void evict__what_cannot_be_punched_is_counted_on(void)
{
	struct rig rig;
	rig_init(&rig, 4 * MIB);
	struct version *v = rig_version(&rig, "k", 3 * MIB + 5);
	rig_read(&rig, v, 0, 3 * MIB + 5);
	atomic_store(&no_holes, true);
	CHECK_EQ(blocks_shrink(rig.bl, 100 * MIB), 0);
	CHECK_EQ(rig_stats(&rig).used_bytes, 3 * MIB + 4096);
	CHECK_EQ(version_cached_bytes(v), 3 * MIB + 5);
	uint64_t gets = rig.mb.gets;
	rig_read(&rig, v, 0, 3 * MIB + 5);
	CHECK_EQ(rig.mb.gets, gets);
	atomic_store(&no_holes, false);
	CHECK_EQ(blocks_shrink(rig.bl, 100 * MIB), 3 * MIB + 4096);
	CHECK_EQ(rig_stats(&rig).used_bytes, 0);
	rig_read(&rig, v, 0, 3 * MIB + 5);
	CHECK_EQ(rig_stats(&rig).used_bytes, 3 * MIB + 4096);
	version_unref(v);
	rig_done(&rig);
}

/* blocks (4): readers and an evictor that wants everything */
struct busy {
	struct rig *rig;
	struct version *v;
	atomic_bool stop;
	pthread_t thread;
};

static void *shrink_all(void *arg)
{
	struct busy *b = arg;
	while (!atomic_load(&b->stop))
		(void)blocks_shrink(b->rig->bl, 100 * MIB);
	return NULL;
}

static void *read_all(void *arg)
{
	struct busy *b = arg;
	for (int i = 0; i < 30; i++)
		rig_read(b->rig, b->v, (uint64_t)(i % 8) * MIB / 2, 3 * MIB);
	return NULL;
}

static void evict__no_reader_sees_a_hole(void)
{
	enum { N = 3 };
	struct rig rig;
	struct busy readers[N], evictor;
	rig_init(&rig, 16 * MIB);
	struct version *v = rig_version(&rig, "k", 8 * MIB);
	evictor = (struct busy){.rig = &rig};
	CHECK_EQ(pthread_create(&evictor.thread, NULL, shrink_all, &evictor), 0);
	for (int i = 0; i < N; i++) {
		readers[i] = (struct busy){.rig = &rig, .v = v};
		CHECK_EQ(pthread_create(&readers[i].thread, NULL, read_all, &readers[i]),
			 0);
	}
	for (int i = 0; i < N; i++)
		CHECK_EQ(pthread_join(readers[i].thread, NULL), 0);
	atomic_store(&evictor.stop, true);
	CHECK_EQ(pthread_join(evictor.thread, NULL), 0);
	version_unref(v);
	rig_done(&rig);
}

/* -- a disk that takes no bytes -- */

static void read_with_full_disk(struct rig *rig)
{
	CHECK_EQ(blocks_new(&rig->conf, &rig->mb.be, &rig->bl), 0);
	struct rlimit limit = {.rlim_cur = 3 * MIB, .rlim_max = RLIM_INFINITY};
	struct version *v = rig_version(rig, "k", 3 * MIB);
	(void)signal(SIGXFSZ, SIG_IGN);
	rig_read(rig, v, 0, 10);
	limit.rlim_cur = MIB + 1000;
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
	blocks_hint(rig->bl, v, 0, 3 * MIB);
	rig_read(rig, v, 0, 3 * MIB);
	rig_read(rig, v, 2 * MIB, MIB);
	CHECK(rig_stats(rig).bypassed > 0);
}

static void evict__a_full_disk_fails_no_read(void)
{
	struct rig rig;
	rig_init(&rig, 64 * MIB);
	blocks_free(rig.bl);
	rig_in_child(read_with_full_disk, &rig);
	/* A disk of which nothing may be used. */
	rig.conf.reserve_bytes = UINT64_C(1) << 60;
	CHECK_EQ(blocks_new(&rig.conf, &rig.mb.be, &rig.bl), 0);
	struct version *v = rig_version(&rig, "n", 3 * MIB);
	rig_read(&rig, v, 0, 3 * MIB);
	CHECK(rig_stats(&rig).bypassed > 0);
	CHECK_EQ(version_cached_bytes(v), 0);
	struct call call = rig_call(NS_PER_S);
	CHECK_EQ(blocks_complete(rig.bl, v, &call), -ENOSPC);
	version_unref(v);
	rig_done(&rig);
}

/* -- everything at once: C7 under load -- */

struct load {
	struct rig *rig;
	atomic_bool *stop;
	uint32_t random;
	pthread_t thread;
};

static uint32_t dice(struct load *l, uint32_t sides)
{
	l->random = l->random * 1664525u + 1013904223u;
	return (l->random >> 8) % sides;
}

static void *use_versions(void *arg)
{
	struct load *l = arg;
	while (!atomic_load(l->stop)) {
		char key[16];
		uint32_t which = dice(l, 8);
		/* Of half of them head and tail go last. */
		(void)snprintf(key, sizeof key, "v%u%s", which, which % 2 ? ".fits" : "");
		struct version *v = rig_version(l->rig, key, 3 * MIB + 5);
		uint64_t off = dice(l, 3 * MIB);
		if (!dice(l, 4))
			blocks_hint(l->rig->bl, v, off, MIB);
		rig_read(l->rig, v, off, 1 + dice(l, MIB / 2) % (3 * MIB + 5 - off));
		if (!dice(l, 8))
			version_keep(v);
		version_unref(v);
	}
	return NULL;
}

static void maybe_delete(const char *path, void *arg)
{
	if (!dice(arg, 3))
		(void)unlink(path);
}

static void *do_harm(void *arg)
{
	struct load *l = arg;
	while (!atomic_load(l->stop)) {
		switch (dice(l, 3)) {
		case 0:
			rig_files(l->rig, maybe_delete, l);
			break;
		case 1:
			(void)blocks_shrink(l->rig->bl, dice(l, 4 * MIB));
			break;
		default:
			blocks_sync(l->rig->bl);
		}
		clock_sleep_ns(3 * NS_PER_MS);
	}
	return NULL;
}

static void evict__deletions_under_load_are_never_zeros(void)
{
	enum { N = 5 };
	struct rig rig;
	struct load loads[N];
	atomic_bool stop = false;
	rig_init(&rig, 10 * MIB);
	for (uint32_t i = 0; i < N; i++) {
		loads[i] = (struct load){.rig = &rig, .stop = &stop, .random = i};
		CHECK_EQ(pthread_create(&loads[i].thread, NULL,
					i ? use_versions : do_harm, &loads[i]),
			 0);
	}
	clock_sleep_ns(3 * NS_PER_S);
	atomic_store(&stop, true);
	for (uint32_t i = 0; i < N; i++)
		CHECK_EQ(pthread_join(loads[i].thread, NULL), 0);
	/* What is counted is what is there: nothing leaks, nothing is counted twice.
	 * A hint that is under way, or a kept version that it holds, goes later. */
	for (int i = 0; i < 500 && rig_stats(&rig).used_bytes; i++) {
		clock_sleep_ns(20 * NS_PER_MS);
		blocks_sync(rig.bl);
		(void)blocks_shrink(rig.bl, 100 * MIB);
	}
	CHECK_EQ(rig_stats(&rig).used_bytes, 0);
	rig_reopen(&rig);
	CHECK_EQ(rig_stats(&rig).used_bytes, 0);
	rig_done(&rig);
}

/* The evictor has a list of rows in its hand while the flusher drops the same
 * versions: each one's bytes are given back once. */
struct droppers {
	struct rig *rig;
	pthread_barrier_t start;
	atomic_bool stop;
};

static void *shrink_often(void *arg)
{
	struct droppers *d = arg;
	(void)pthread_barrier_wait(&d->start);
	while (!atomic_load(&d->stop))
		(void)blocks_shrink(d->rig->bl, 100 * MIB);
	return NULL;
}

static void *sync_often(void *arg)
{
	struct droppers *d = arg;
	(void)pthread_barrier_wait(&d->start);
	while (!atomic_load(&d->stop))
		blocks_sync(d->rig->bl);
	return NULL;
}

static void drop_while_evicting(struct rig *rig)
{
	enum { N = 12 };
	struct version *v[N];
	pthread_t threads[2];
	struct droppers d = {.rig = rig};
	for (int i = 0; i < N; i++) {
		char key[16];
		(void)snprintf(key, sizeof key, "v%d", i);
		v[i] = rig_version(rig, key, 5);
		rig_read(rig, v[i], 0, 5);
	}
	blocks_sync(rig->bl);
	CHECK_EQ(pthread_barrier_init(&d.start, NULL, 3), 0);
	CHECK_EQ(pthread_create(&threads[0], NULL, shrink_often, &d), 0);
	CHECK_EQ(pthread_create(&threads[1], NULL, sync_often, &d), 0);
	for (int i = 0; i < N; i++)
		version_keep(v[i]);
	(void)pthread_barrier_wait(&d.start);
	for (int i = 0; i < N; i++)
		version_unref(v[i]);
	while (rig_count_files(rig))
		clock_sleep_ns(NS_PER_MS / 4);
	atomic_store(&d.stop, true);
	CHECK_EQ(pthread_join(threads[0], NULL), 0);
	CHECK_EQ(pthread_join(threads[1], NULL), 0);
	(void)pthread_barrier_destroy(&d.start);
}

static void evict__what_two_drop_is_given_back_once(void)
{
	struct rig rig;
	rig_init(&rig, 10 * MIB);
	for (int i = 0; i < 40; i++) {
		drop_while_evicting(&rig);
		blocks_sync(rig.bl);
		CHECK_EQ(rig_stats(&rig).used_bytes, 0);
	}
	rig_done(&rig);
}

/* P9: as many versions as one likes; only so many stay loaded. */
static void evict__many_small_versions(void)
{
	enum { N = 6000 };
	struct rig rig;
	char key[32];
	rig_init(&rig, 64 * MIB);
	for (int i = 0; i < N; i++) {
		(void)snprintf(key, sizeof key, "small%d", i);
		struct version *v = rig_version(&rig, key, 100);
		rig_read(&rig, v, 0, 100);
		version_unref(v);
	}
	blocks_sync(rig.bl);
	CHECK_EQ(rig_stats(&rig).used_bytes, N * 4096);
	CHECK_EQ(rig.mb.gets, N);
	for (int i = 0; i < N; i += 100) {
		(void)snprintf(key, sizeof key, "small%d", i);
		struct version *v = rig_version(&rig, key, 100);
		rig_read(&rig, v, 0, 100);
		version_unref(v);
	}
	CHECK_EQ(rig.mb.gets, N);
	rig_done(&rig);
}

/* -- the disk -- */

static atomic_bool slow;
static atomic_int looks;
int __real_store_free_bytes(struct store *st, uint64_t *ret);
int __wrap_store_free_bytes(struct store *st, uint64_t *ret);

/* While it is slow, who looks first hears last. */
int __wrap_store_free_bytes(struct store *st, uint64_t *ret)
{
	bool first = !atomic_fetch_add(&looks, 1);
	while (first && atomic_load(&slow))
		clock_sleep_ns(NS_PER_MS);
	return __real_store_free_bytes(st, ret);
}

static void *read_cold(void *arg)
{
	struct rig *rig = arg;
	struct version *v = rig_version(rig, "cold", MIB);
	rig_read(rig, v, 0, MIB);
	version_unref(v);
	return NULL;
}

static void evict__nothing_goes_before_the_disk_was_looked_at(void)
{
	struct rig rig;
	pthread_t thread;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "warm", 20 * MIB);
	rig_read(&rig, v, 0, 20 * MIB);
	version_unref(v);
	rig_reopen(&rig);
	atomic_store(&slow, true);
	atomic_store(&looks, 0);
	CHECK_EQ(pthread_create(&thread, NULL, read_cold, &rig), 0);
	while (!atomic_load(&looks))
		clock_sleep_ns(NS_PER_MS);
	v = rig_version(&rig, "other", MIB);
	rig_read(&rig, v, 0, MIB);
	version_unref(v);
	atomic_store(&slow, false);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	CHECK_EQ(rig_stats(&rig).evicted_bytes, 0);
	CHECK_EQ(rig_stats(&rig).bypassed, 0);
	rig_done(&rig);
}

/* The limit of a process stands for that of a file system: 4 GiB on many a stick. */
static void limit_files(rlim_t bytes, struct rlimit *ret_was)
{
	CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	CHECK_EQ(getrlimit(RLIMIT_FSIZE, ret_was), 0);
	struct rlimit low = {.rlim_cur = bytes, .rlim_max = ret_was->rlim_max};
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
}

/* P9: what cannot be kept of one file says nothing of the others. */
static void evict__a_file_too_long_for_the_disk_is_read_and_others_are_kept(void)
{
	struct rig rig;
	struct rlimit was;
	rig_init(&rig, 64 * MIB);
	limit_files(8 * MIB, &was);
	struct version *big = rig_version(&rig, "big", 16 * MIB);
	struct version *small = rig_version(&rig, "small", MIB);
	rig_read(&rig, big, 0, MIB);
	rig_read(&rig, small, 0, MIB);
	uint64_t gets = rig.mb.gets;
	rig_read(&rig, small, 0, MIB);
	CHECK_EQ(rig.mb.gets, gets);
	version_unref(big);
	version_unref(small);
	rig_done(&rig);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &was), 0);
}

/* P9: nor does it take memory. */
static void evict__what_is_read_past_the_cache_leaves_no_extents(void)
{
	struct rig rig;
	struct rlimit was;
	rig_init(&rig, 64 * MIB);
	limit_files(8 * MIB, &was);
	struct version *v = rig_version(&rig, "k", 256 * MIB);
	for (uint64_t off = 0; off < 256 * MIB; off += 64 * MIB)
		rig_read(&rig, v, off, 4096);
	for (uint64_t no = 0; no < v->n_extents; no++)
		CHECK(!v->extents[no]);
	version_unref(v);
	rig_done(&rig);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &was), 0);
}

int main(void)
{
	RUN(evict__the_cap_holds_at_every_moment);
	RUN(evict__the_oldest_goes_first);
	RUN(evict__a_kept_version_stays_until_it_is_closed);
	RUN(evict__an_empty_version_loses_its_file);
	RUN(evict__what_cannot_be_punched_is_counted_on);
	RUN(evict__no_reader_sees_a_hole);
	RUN(evict__a_full_disk_fails_no_read);
	RUN(evict__a_file_too_long_for_the_disk_is_read_and_others_are_kept);
	RUN(evict__what_is_read_past_the_cache_leaves_no_extents);
	RUN(evict__deletions_under_load_are_never_zeros);
	RUN(evict__what_two_drop_is_given_back_once);
	RUN(evict__many_small_versions);
	RUN(evict__nothing_goes_before_the_disk_was_looked_at);
	return 0;
}
