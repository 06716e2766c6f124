/* test_damage.c - death and damage: what a cache that was killed, cut or forged
 * still gives, and what it never invents. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "backends/util/clock.h"
#include "cache/blocks.h"
#include "cache/db.h"
#include "tests/unit/cache_rig.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

/* -- death, blocks (1) (2) (6) -- */

static void read_and_die(struct rig *rig)
{
	CHECK_EQ(blocks_new(&rig->conf, &rig->mb.be, &rig->bl), 0);
	struct version *v = rig_version(rig, "k", 20 * MIB);
	rig_read(rig, v, 0, 3 * MIB);
	blocks_sync(rig->bl);
	rig_read(rig, v, 10 * MIB, 7 * MIB);
	struct version *w = rig_version(rig, "w", 20 * MIB);
	rig_read(rig, w, 0, 2 * MIB);
}

static void damage__what_a_killed_mount_left_is_true(void)
{
	struct rig rig;
	rig_init(&rig, 64 * MIB);
	blocks_free(rig.bl);
	rig_in_child(read_and_die, &rig);
	CHECK_EQ(blocks_new(&rig.conf, &rig.mb.be, &rig.bl), 0);
	uint64_t used = rig_stats(&rig).used_bytes;
	CHECK(used >= 3 * MIB && used <= 12 * MIB);
	/* Bytes that no row claims do not stay on the disk. */
	CHECK(rig_disk_bytes(&rig) <= used + BLOCK_SIZE);
	struct version *v = rig_version(&rig, "k", 20 * MIB);
	uint64_t cached = version_cached_bytes(v);
	CHECK(cached >= 3 * MIB && cached <= 10 * MIB);
	rig_read(&rig, v, 0, 20 * MIB);
	CHECK_EQ(rig.mb.bytes, 20 * MIB - cached);
	CHECK_EQ(rig_stats(&rig).crc_errors, 0);
	version_unref(v);
	rig_done(&rig);
}

/* -- damage: C3, C4, C7 -- */

static void flip(const char *path, void *arg)
{
	(void)arg;
	char c;
	int fd = open(path, O_RDWR);
	CHECK(fd >= 0);
	for (off_t at = 1000; at < (off_t)(3 * MIB); at += MIB) {
		CHECK_EQ(pread(fd, &c, 1, at), 1);
		c ^= 4;
		CHECK_EQ(pwrite(fd, &c, 1, at), 1);
	}
	CHECK_EQ(close(fd), 0);
}

static void cut(const char *path, void *arg)
{
	CHECK_EQ(truncate(path, *(off_t *)arg), 0);
}

static void zero(const char *path, void *arg)
{
	struct stat sb;
	(void)arg;
	CHECK_EQ(stat(path, &sb), 0);
	CHECK_EQ(truncate(path, 0), 0);
	CHECK_EQ(truncate(path, sb.st_size), 0);
}

static void delete_file(const char *path, void *arg)
{
	(void)arg;
	CHECK_EQ(unlink(path), 0);
}

static void to_directory(const char *path, void *arg)
{
	(void)arg;
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(symlink("/etc/passwd", path), 0);
}

static void damaged(void (*fn)(const char *path, void *arg), void *arg,
		    uint64_t refetched)
{
	struct rig rig;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 3 * MIB);
	rig_read(&rig, v, 0, 3 * MIB);
	version_unref(v);
	blocks_free(rig.bl);
	rig_files(&rig, fn, arg);
	rig.mb.bytes = 0;
	CHECK_EQ(blocks_new(&rig.conf, &rig.mb.be, &rig.bl), 0);
	v = rig_version(&rig, "k", 3 * MIB);
	rig_read(&rig, v, 0, 3 * MIB);
	CHECK_EQ(rig.mb.bytes, refetched);
	version_unref(v);
	rig_reopen(&rig);
	v = rig_version(&rig, "k", 3 * MIB);
	rig_read(&rig, v, 0, 3 * MIB);
	CHECK_EQ(rig.mb.bytes, refetched);
	CHECK_EQ(rig_stats(&rig).used_bytes, 3 * MIB);
	version_unref(v);
	rig_done(&rig);
}

static void damage__damage_between_mounts_is_fetched_again(void)
{
	off_t shorter = (off_t)(2 * MIB), longer = (off_t)(4 * MIB);
	damaged(flip, NULL, 3 * BLOCK_SIZE);
	damaged(cut, &shorter, 3 * MIB);
	damaged(cut, &longer, 3 * MIB);
	damaged(zero, NULL, 3 * MIB);
	damaged(delete_file, NULL, 3 * MIB);
	damaged(to_directory, NULL, 3 * MIB);
}

static void damaged_under(void (*fn)(const char *path, void *arg), void *arg)
{
	struct rig rig;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 6 * MIB);
	rig_read(&rig, v, 0, 3 * MIB);
	rig_files(&rig, fn, arg);
	/* The old bytes or the bucket's; never zeros.  A fetch into the file is
	 * what notices first. */
	rig_read(&rig, v, 2 * MIB, 2 * MIB);
	rig_read(&rig, v, 0, 6 * MIB);
	version_unref(v);
	rig_reopen(&rig);
	v = rig_version(&rig, "k", 6 * MIB);
	rig_read(&rig, v, 0, 6 * MIB);
	version_unref(v);
	rig_done(&rig);
}

static void damage__damage_under_a_mount_is_fetched_again(void)
{
	off_t none = 0, some = (off_t)MIB;
	damaged_under(delete_file, NULL);
	damaged_under(cut, &none);
	damaged_under(cut, &some);
}

static void swap_rows(struct rig *rig, const char *sql)
{
	char path[128];
	struct db db;
	(void)snprintf(path, sizeof path, "%s/index.db", rig->dir);
	CHECK_EQ(db_open(path, "", 4, DB_SYNC_NORMAL, &db), 0);
	CHECK_EQ(db_exec(&db, sql), 0);
	db_close(&db);
}

static void damage__a_forged_row_is_fetched_again(void)
{
	struct rig rig;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 3 * MIB);
	rig_read(&rig, v, 0, MIB);
	version_unref(v);
	blocks_free(rig.bl);
	swap_rows(&rig,
		  "UPDATE extent SET present=x'ff0f000000000000000000000000000000000"
		  "00000000000000000000000000000'");
	rig.mb.bytes = 0;
	CHECK_EQ(blocks_new(&rig.conf, &rig.mb.be, &rig.bl), 0);
	v = rig_version(&rig, "k", 3 * MIB);
	CHECK_EQ(version_cached_bytes(v), 0);
	rig_read(&rig, v, 0, 3 * MIB);
	CHECK_EQ(rig.mb.bytes, 3 * MIB);
	version_unref(v);
	/* Bytes that are negative or too many do not wrap the count. */
	blocks_free(rig.bl);
	swap_rows(&rig, "UPDATE version SET bytes=-5");
	CHECK_EQ(blocks_new(&rig.conf, &rig.mb.be, &rig.bl), 0);
	CHECK_EQ(rig_stats(&rig).used_bytes, 0);
	v = rig_version(&rig, "k", 3 * MIB);
	CHECK_EQ(rig_stats(&rig).used_bytes, version_cached_bytes(v));
	version_unref(v);
	rig_done(&rig);
}

static void read_once(struct rig *rig, const char *key)
{
	struct version *v = rig_version(rig, key, 1000);
	rig_read(rig, v, 0, 1000);
	version_unref(v);
}

/* More frames than are looked at at once, all used before the epoch, or after its end. */
static void old_frames(const char *sql)
{
	struct rig rig;
	char key[32];
	rig_init(&rig, 64 * MIB);
	for (int i = 0; i < 40; i++) {
		(void)snprintf(key, sizeof key, "k%d.fits", i);
		read_once(&rig, key);
	}
	blocks_free(rig.bl);
	swap_rows(&rig, sql);
	CHECK_EQ(blocks_new(&rig.conf, &rig.mb.be, &rig.bl), 0);
	read_once(&rig, "new");
	rig_reopen(&rig);
	(void)alarm(20);
	CHECK(blocks_shrink(rig.bl, 64 * MIB) > 0);
	(void)alarm(0);
	CHECK_EQ(rig_stats(&rig).used_bytes, 0);
	CHECK_EQ(rig_count_files(&rig), 0);
	rig_done(&rig);
}

static void damage__forged_rows_stop_no_eviction(void)
{
	old_frames("UPDATE version SET name=name || x'00'");
	old_frames("UPDATE version SET name=id");
	old_frames("UPDATE version SET atime=9223372036854775807");
	old_frames("UPDATE version SET atime=-1");
}

static void damage__a_lost_index_costs_time_only(void)
{
	struct rig rig;
	char path[128];
	rig_init(&rig, 64 * MIB);
	(void)snprintf(path, sizeof path, "%s/index.db", rig.dir);
	struct version *v = rig_version(&rig, "k", 3 * MIB);
	rig_read(&rig, v, 0, 3 * MIB);
	version_unref(v);
	blocks_free(rig.bl);
	int fd = open(path, O_RDWR);
	CHECK(fd >= 0);
	char junk[5000];
	memset(junk, 'x', sizeof junk);
	CHECK_EQ(pwrite(fd, junk, sizeof junk, 0), (ssize_t)sizeof junk);
	CHECK_EQ(close(fd), 0);
	CHECK_EQ(blocks_new(&rig.conf, &rig.mb.be, &rig.bl), 0);
	CHECK_EQ(rig_count_files(&rig), 0);
	CHECK_EQ(rig_stats(&rig).used_bytes, 0);
	v = rig_version(&rig, "k", 3 * MIB);
	rig_read(&rig, v, 0, 3 * MIB);
	version_unref(v);
	rig_done(&rig);
}

/* blocks (1) holds for what has come of a GET that goes on, too: the flusher lets a
 * version wait that is being fetched, but not when it is asked. */
static void sync_half_a_run_and_die(struct rig *rig)
{
	rig_reopen(rig);
	rig->mb.good_bytes = MIB + 5;
	rig->mb.held = true;
	struct version *v = rig_version(rig, "k", 8 * MIB);
	blocks_hint(rig->bl, v, 0, 8 * MIB);
	rig_read(rig, v, 0, MIB);
	CHECK_EQ(rig->mb.running, 1);
	blocks_sync(rig->bl);
}

static void damage__what_came_of_a_running_get_survives(void)
{
	struct rig rig;
	char *bytes = malloc(MIB);
	rig_init(&rig, 64 * MIB);
	blocks_free(rig.bl);
	rig.bl = NULL;
	rig_in_child(sync_half_a_run_and_die, &rig);
	rig_reopen(&rig);
	struct version *v = rig_version(&rig, "k", 8 * MIB);
	CHECK_EQ(version_cached_bytes(v), MIB);
	CHECK_EQ(blocks_read(rig.bl, v, 0, bytes, MIB, NULL), 0);
	CHECK(membackend_same(7, 0, bytes, MIB));
	CHECK_EQ(rig.mb.gets, 0);
	version_unref(v);
	rig_done(&rig);
	free(bytes);
}

int main(void)
{
	RUN(damage__what_a_killed_mount_left_is_true);
	RUN(damage__damage_between_mounts_is_fetched_again);
	RUN(damage__damage_under_a_mount_is_fetched_again);
	RUN(damage__a_forged_row_is_fetched_again);
	RUN(damage__forged_rows_stop_no_eviction);
	RUN(damage__a_lost_index_costs_time_only);
	RUN(damage__what_came_of_a_running_get_survives);
	return 0;
}
