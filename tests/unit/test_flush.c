/* test_flush.c - an index that cannot be written: what is written later, what is given up
 * and what is counted meanwhile. */
#include <errno.h>
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

int main(void)
{
	RUN(flush__what_could_not_be_written_is_written_later);
	RUN(flush__it_does_not_insist);
	RUN(flush__an_end_without_an_index_is_one);
	RUN(flush__all_that_stays_is_counted);
	return 0;
}
