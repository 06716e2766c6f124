/* test_first.c - the first block of a FITS file that comes with its name. */
#include "cache/blocks.h"
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include "cache/ahead.h"
#include "cache/version.h"
#include "tests/unit/cache_rig.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static const struct object large = {.size = 20 * MIB + 123, .etag = "\"e1\""};

/* As blocks_take_first is told of it: len bytes of the made-up object. */
static void take(struct rig *rig, const char *key, const struct object *obj, size_t len)
{
	char *bytes = malloc(len ? len : 1);
	CHECK(bytes);
	membackend_fill(atomic_load(&rig->mb.seed), 0, bytes, len);
	blocks_take_first(rig->bl, key, obj, bytes, len);
	free(bytes);
}

static void first__it_is_read_without_a_get(void)
{
	struct rig rig;
	rig_init(&rig, 64 * MIB);
	take(&rig, "k.fits", &large, BLOCK_SIZE);
	struct version *v = rig_version(&rig, "k.fits", large.size);
	rig_read(&rig, v, 0, BLOCK_SIZE);
	CHECK_EQ(rig.mb.gets, 0);
	rig_read(&rig, v, BLOCK_SIZE - 1, 2);
	CHECK_EQ(rig.mb.gets, 1);
	CHECK_EQ(rig_stats(&rig).gets, 2);
	CHECK_EQ(rig_stats(&rig).fetched_bytes, 2 * BLOCK_SIZE);
	version_unref(v);
	rig_done(&rig);
}

static void first__all_of_a_small_file_comes(void)
{
	struct rig rig;
	struct object small = {.size = 2880, .etag = "\"e1\""};
	struct object none = {.size = 0, .etag = "\"e1\""};
	rig_init(&rig, 64 * MIB);
	take(&rig, "k.fits", &small, 2880);
	take(&rig, "none.fits", &none, 0);
	struct version *v = rig_version(&rig, "k.fits", 2880);
	rig_read(&rig, v, 0, 2880);
	CHECK_EQ(rig.mb.gets, 0);
	version_unref(v);
	rig_done(&rig);
}

/* Less than a block is no block: the rest of it would be believed to be there (P1). */
static void first__P1_what_is_cut_short_is_not_kept(void)
{
	struct rig rig;
	rig_init(&rig, 64 * MIB);
	take(&rig, "k.fits", &large, BLOCK_SIZE - 1);
	take(&rig, "k.fits", &large, BLOCK_SIZE + 1);
	struct version *v = rig_version(&rig, "k.fits", large.size);
	CHECK_EQ(version_cached_bytes(v), 0);
	rig_read(&rig, v, 0, BLOCK_SIZE);
	CHECK_EQ(rig.mb.gets, 1);
	version_unref(v);
	rig_done(&rig);
}

/* The name is asked for again and again while nothing comes of it twice: not of what is
 * loaded, nor of what only the index knows. */
static void first__it_is_wanted_only_while_nothing_is_here(void)
{
	struct rig rig;
	rig_init(&rig, 64 * MIB);
	CHECK(blocks_want_first(rig.bl, "d/k.fits"));
	CHECK(!blocks_want_first(rig.bl, "d/k.txt"));
	take(&rig, "d/k.fits", &large, BLOCK_SIZE);
	CHECK(!blocks_want_first(rig.bl, "d/k.fits"));
	CHECK(blocks_want_first(rig.bl, "d/other.fits"));
	rig_reopen(&rig);
	CHECK(!blocks_want_first(rig.bl, "d/k.fits"));
	CHECK(blocks_want_first(rig.bl, "d/other.fits"));
	rig_done(&rig);
}

/* Blocks (3): somebody has it, or is about to. */
static void first__what_is_there_stays(void)
{
	struct rig rig;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k.fits", large.size);
	rig_read(&rig, v, 0, 100);
	take(&rig, "k.fits", &large, BLOCK_SIZE);
	CHECK_EQ(version_cached_bytes(v), BLOCK_SIZE);
	CHECK_EQ(rig_stats(&rig).fetched_bytes, BLOCK_SIZE);
	version_unref(v);
	rig_done(&rig);
}

/* P9. */
static void first__without_room_it_is_fetched_when_it_is_read(void)
{
	struct rig rig;
	rig_init(&rig, 4096);
	take(&rig, "k.fits", &large, BLOCK_SIZE);
	struct version *v = rig_version(&rig, "k.fits", large.size);
	CHECK_EQ(version_cached_bytes(v), 0);
	rig_read(&rig, v, 0, 4096);
	CHECK_EQ(rig_stats(&rig).used_bytes, 0);
	version_unref(v);
	rig_done(&rig);
}

static void first__nothing_is_asked_for_before_it_is_opened(void)
{
	struct rig rig;
	rig_init(&rig, 64 * MIB);
	/* Readers here begin at the end. */
	struct version *v = rig_version(&rig, "seen.fits", large.size);
	struct prefetch pf;
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	ahead_init(&pf, large.size);
	ahead_read(&pf, &lock, v, large.size - 100, 100);
	version_unref(v);
	take(&rig, "k.fits", &large, BLOCK_SIZE);
	(void)usleep(50000);
	CHECK_EQ(rig.mb.gets, 0);
	/* Then as of a file of which nothing is here, but once: its end comes, unread. */
	v = rig_version(&rig, "k.fits", large.size);
	ahead_opened(v);
	uint64_t both = BLOCK_SIZE + large.size % BLOCK_SIZE;
	for (int i = 0; version_cached_bytes(v) < both && i < 1000; i++)
		(void)usleep(10000);
	CHECK_EQ(version_cached_bytes(v), both);
	ahead_opened(v);
	rig_read(&rig, v, large.size - 100, 100);
	CHECK_EQ(rig.mb.gets, 1);
	version_unref(v);
	rig_done(&rig);
}

int main(void)
{
	RUN(first__it_is_read_without_a_get);
	RUN(first__all_of_a_small_file_comes);
	RUN(first__P1_what_is_cut_short_is_not_kept);
	RUN(first__it_is_wanted_only_while_nothing_is_here);
	RUN(first__what_is_there_stays);
	RUN(first__without_room_it_is_fetched_when_it_is_read);
	RUN(first__nothing_is_asked_for_before_it_is_opened);
	return 0;
}
