/* test_flush.c - an index that cannot be written: what is written later, what is given up
 * and what is counted meanwhile. */
#include <errno.h>
#include <pthread.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "cache/version.h"
#include "tests/unit/cache_rig.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static atomic_bool failing;
static atomic_int saves;
int __real_index_save(struct index *ix, const struct index_version *v,
		      const struct index_extent *rows, size_t n_rows);
int __wrap_index_save(struct index *ix, const struct index_version *v,
		      const struct index_extent *rows, size_t n_rows);

int __wrap_index_save(struct index *ix, const struct index_version *v,
		      const struct index_extent *rows, size_t n_rows)
{
	atomic_fetch_add(&saves, 1);
	return atomic_load(&failing) ? -EIO : __real_index_save(ix, v, rows, n_rows);
}

/* So many files would take long otherwise. */
static atomic_bool unsynced;
int __real_store_sync(struct store *st, const struct store_id *id);
int __wrap_store_sync(struct store *st, const struct store_id *id);

int __wrap_store_sync(struct store *st, const struct store_id *id)
{
	return atomic_load(&unsynced) ? -EIO : __real_store_sync(st, id);
}

static void flush__what_could_not_be_written_is_written_later(void)
{
	struct rig rig;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 20 * MIB);
	struct version *w = rig_version(&rig, "w", 20 * MIB);
	rig_read(&rig, v, 0, 3 * MIB);
	rig_read(&rig, w, 0, MIB);
	atomic_store(&failing, true);
	blocks_sync(rig.bl);
	blocks_sync(rig.bl);
	version_unref(v);
	version_unref(w);
	atomic_store(&failing, false);
	rig_reopen(&rig);
	v = rig_version(&rig, "k", 20 * MIB);
	w = rig_version(&rig, "w", 20 * MIB);
	CHECK_EQ(version_cached_bytes(v), 3 * MIB);
	CHECK_EQ(version_cached_bytes(w), MIB);
	version_unref(v);
	version_unref(w);
	rig_done(&rig);
}

/* A disk that fails is not asked twice a second. */
static void flush__it_does_not_insist(void)
{
	struct rig rig;
	rig_init(&rig, 64 * MIB);
	atomic_store(&failing, true);
	struct version *v = rig_version(&rig, "k", 20 * MIB);
	rig_read(&rig, v, 0, 3 * MIB);
	blocks_sync(rig.bl);
	atomic_store(&saves, 0);
	clock_sleep_ns(2 * NS_PER_S);
	CHECK_EQ(atomic_load(&saves), 0);
	atomic_store(&failing, false);
	blocks_sync(rig.bl);
	CHECK_EQ(atomic_load(&saves), 1);
	version_unref(v);
	rig_done(&rig);
}

/* At the end too: the next mount counts what it finds. */
static void flush__an_end_without_an_index_is_one(void)
{
	struct rig rig;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 20 * MIB);
	rig_read(&rig, v, 0, 3 * MIB);
	blocks_sync(rig.bl);
	rig_read(&rig, v, 3 * MIB, MIB);
	atomic_store(&failing, true);
	version_unref(v);
	rig_reopen(&rig);
	atomic_store(&failing, false);
	CHECK_EQ(rig_stats(&rig).used_bytes, 3 * MIB);
	v = rig_version(&rig, "k", 20 * MIB);
	CHECK_EQ(version_cached_bytes(v), 3 * MIB);
	version_unref(v);
	rig_done(&rig);
}

/* P9: what no row tells of does not stay on the disk when it is forgotten. */
static void flush__all_that_stays_is_counted(void)
{
	enum { N = VERSIONS_IDLE_MAX + 200 };
	struct rig rig;
	char key[32];
	rig_init(&rig, 64 * MIB);
	atomic_store(&unsynced, true);
	for (int i = 0; i < N; i++) {
		(void)snprintf(key, sizeof key, "small%d", i);
		struct version *v = rig_version(&rig, key, 100);
		rig_read(&rig, v, 0, 100);
		version_unref(v);
	}
	for (int i = 0; rig_count_files(&rig) > VERSIONS_IDLE_MAX; i++) {
		CHECK(i < 500);
		clock_sleep_ns(50 * NS_PER_MS);
	}
	CHECK_EQ(rig_stats(&rig).used_bytes, rig_count_files(&rig) * 4096);
	rig_done(&rig);
	atomic_store(&unsynced, false);
}

/* -- what memory has of a version -- */

static uint64_t extents(struct version *v)
{
	uint64_t n = 0;
	SCOPED_LOCK(&v->lock);
	for (uint64_t i = 0; i < v->n_extents; i++)
		n += v->extents[i] != NULL;
	return n;
}

/* P9: a file of terabytes that is read through leaves nothing behind. */
static void flush__what_was_evicted_takes_no_memory(void)
{
	struct rig rig;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 300 * MIB);
	for (int turn = 0; turn < 2; turn++) {
		rig_read(&rig, v, 10 * MIB, MIB);
		rig_read(&rig, v, 140 * MIB, MIB);
		rig_read(&rig, v, 299 * MIB, MIB);
		blocks_sync(rig.bl);
		CHECK_EQ(extents(v), 3);
		CHECK_EQ(blocks_shrink(rig.bl, 64 * MIB), 3 * MIB);
		blocks_sync(rig.bl);
		CHECK_EQ(extents(v), 0);
	}
	/* Of what is on its way all stays. */
	rig_read(&rig, v, 10 * MIB, MIB);
	atomic_store(&rig.mb.hints_held, true);
	atomic_store(&rig.mb.good_bytes, 0);
	CHECK_EQ(blocks_hint(rig.bl, v, 20 * MIB, MIB), MIB);
	CHECK_EQ(blocks_shrink(rig.bl, 64 * MIB), MIB);
	blocks_sync(rig.bl);
	CHECK_EQ(extents(v), 1);
	atomic_store(&rig.mb.hints_held, false);
	rig_read(&rig, v, 0, 64 * MIB - 1);
	version_unref(v);
	rig_reopen(&rig);
	v = rig_version(&rig, "k", 300 * MIB);
	rig_read(&rig, v, 0, 30 * MIB);
	version_unref(v);
	rig_done(&rig);
}

static atomic_bool stuck, waits;
int __real_store_read(struct store *st, const struct store_id *id, uint64_t off,
		      void *dst, size_t len);
int __wrap_store_read(struct store *st, const struct store_id *id, uint64_t off,
		      void *dst, size_t len);

int __wrap_store_read(struct store *st, const struct store_id *id, uint64_t off,
		      void *dst, size_t len)
{
	int r = __real_store_read(st, id, off, dst, len);
	while (atomic_load(&stuck)) {
		atomic_store(&waits, true);
		clock_sleep_ns(NS_PER_MS);
	}
	return r;
}

struct task {
	struct rig *rig;
	struct version *v;
};

static void *read_first(void *arg)
{
	struct task *t = arg;
	rig_read(t->rig, t->v, 0, MIB);
	return NULL;
}

static void remove_it(const char *path, void *arg)
{
	(void)arg;
	CHECK_EQ(unlink(path), 0);
}

/* A block that is looked at for the first time, as all that memory knows of it goes. */
static void flush__who_verifies_finds_nothing_left(void)
{
	struct rig rig;
	pthread_t thread;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 20 * MIB);
	rig_read(&rig, v, 0, MIB);
	version_unref(v);
	rig_reopen(&rig);
	v = rig_version(&rig, "k", 20 * MIB);
	struct task t = {.rig = &rig, .v = v};
	atomic_store(&stuck, true);
	CHECK_EQ(pthread_create(&thread, NULL, read_first, &t), 0);
	while (!atomic_load(&waits))
		clock_sleep_ns(NS_PER_MS);
	rig_files(&rig, remove_it, NULL);
	CHECK_EQ(version_check_file(v, NULL), 0);
	blocks_sync(rig.bl);
	blocks_sync(rig.bl);
	uint64_t left = extents(v);
	atomic_store(&stuck, false);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	CHECK_EQ(left, 0);
	version_unref(v);
	rig_done(&rig);
}

int main(void)
{
	RUN(flush__what_could_not_be_written_is_written_later);
	RUN(flush__it_does_not_insist);
	RUN(flush__an_end_without_an_index_is_one);
	RUN(flush__all_that_stays_is_counted);
	RUN(flush__what_was_evicted_takes_no_memory);
	RUN(flush__who_verifies_finds_nothing_left);
	return 0;
}
