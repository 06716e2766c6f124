/* test_pass.c - data files in the kernel's hands: only whole and verified ones (pass
 * (1)), and not a byte of them changes (pass (2)). */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "cache/pass.h"
#include "cache/version.h"
#include "tests/unit/cache_rig.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static void check_fd(struct rig *rig, int fd, uint64_t size)
{
	char *bytes = malloc(size);
	CHECK(bytes);
	CHECK_EQ(pread(fd, bytes, size, 0), size);
	CHECK(membackend_same(atomic_load(&rig->mb.seed), 0, bytes, size));
	free(bytes);
}

static int begin(struct version *v, bool may_block, struct pass *ret, int *ret_fd)
{
	*ret = (struct pass){0};
	*ret_fd = -1;
	return pass_begin(v, may_block, ret, ret_fd);
}

static void pass__only_a_whole_version_is_passed(void)
{
	struct rig rig;
	struct pass p;
	int fd;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 5 * MIB + 1);
	CHECK_EQ(begin(v, true, &p, &fd), -ENODATA);
	rig_read(&rig, v, 0, 5 * MIB);
	CHECK_EQ(begin(v, true, &p, &fd), -ENODATA);
	CHECK_EQ(rig.mb.bytes, 5 * MIB); /* nothing is fetched for it */
	rig_read(&rig, v, 5 * MIB, 1);
	CHECK_EQ(begin(v, false, &p, &fd), 0);
	CHECK_EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	check_fd(&rig, fd, 5 * MIB + 1);
	CHECK(pass_is_of(&p, v));
	CHECK_EQ(close(fd), 0);
	pass_end(&p);
	struct version *empty = rig_version(&rig, "e", 0);
	CHECK_EQ(begin(empty, true, &p, &fd), -ENODATA);
	version_unref(empty);
	version_unref(v);
	rig_done(&rig);
}

/* blocks (5): the bytes stay, count, and can be given up again afterwards. */
static void pass__nothing_of_it_is_evicted(void)
{
	struct rig rig;
	struct pass p, again;
	int fd, fd2;
	rig_init(&rig, 16 * MIB);
	struct version *v = rig_version(&rig, "k", 10 * MIB);
	rig_read(&rig, v, 0, 10 * MIB);
	CHECK_EQ(begin(v, false, &p, &fd), 0);
	CHECK_EQ(begin(v, false, &again, &fd2), 0);
	CHECK_EQ(close(fd2), 0);
	struct version *w = rig_version(&rig, "w", 40 * MIB);
	rig_read(&rig, w, 0, 40 * MIB); /* by its own blocks, or past the cache (P9) */
	CHECK_EQ(version_cached_bytes(v), 10 * MIB);
	CHECK(rig_stats(&rig).used_bytes <= 16 * MIB);
	CHECK(rig_disk_bytes(&rig) <= 16 * MIB);
	pass_end(&again);
	(void)blocks_shrink(rig.bl, 100 * MIB);
	CHECK_EQ(rig_stats(&rig).used_bytes, 10 * MIB);
	CHECK_EQ(rig_disk_bytes(&rig), 10 * MIB);
	check_fd(&rig, fd, 10 * MIB);
	CHECK_EQ(close(fd), 0);
	pass_end(&p);
	CHECK_EQ(blocks_shrink(rig.bl, 100 * MIB), 10 * MIB);
	CHECK_EQ(rig_stats(&rig).used_bytes, 0);
	CHECK_EQ(rig_disk_bytes(&rig), 0);
	version_unref(v);
	version_unref(w);
	rig_done(&rig);
}

static void flip(const char *path, void *arg)
{
	off_t at = *(off_t *)arg;
	char c;
	int fd = open(path, O_RDWR);
	CHECK(fd >= 0);
	CHECK_EQ(pread(fd, &c, 1, at), 1);
	c ^= 4;
	CHECK_EQ(pwrite(fd, &c, 1, at), 1);
	CHECK_EQ(close(fd), 0);
}

/* blocks (2): a few blocks are verified by the open, without the kernel's thread. */
static void pass__after_a_start_it_is_verified(void)
{
	struct rig rig;
	struct pass p;
	int fd;
	off_t at = 3 << 20;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 5 * MIB);
	rig_read(&rig, v, 0, 5 * MIB);
	version_unref(v);
	rig_reopen(&rig);
	v = rig_version(&rig, "k", 5 * MIB);
	CHECK_EQ(begin(v, false, &p, &fd), -EAGAIN);
	CHECK_EQ(begin(v, true, &p, &fd), 0);
	CHECK_EQ(close(fd), 0);
	pass_end(&p);
	version_unref(v);
	rig_reopen(&rig);
	rig_files(&rig, flip, &at);
	v = rig_version(&rig, "k", 5 * MIB);
	CHECK_EQ(begin(v, true, &p, &fd), -ENODATA);
	CHECK_EQ(rig_stats(&rig).crc_errors, 1);
	CHECK_EQ(version_cached_bytes(v), 5 * MIB - BLOCK_SIZE);
	rig_read(&rig, v, 0, 5 * MIB);
	CHECK_EQ(begin(v, true, &p, &fd), 0);
	check_fd(&rig, fd, 5 * MIB);
	CHECK_EQ(close(fd), 0);
	pass_end(&p);
	version_unref(v);
	rig_done(&rig);
}

/* Many are verified in the background, and nothing is asked of the bucket. */
static void pass__a_large_one_is_verified_for_the_next(void)
{
	struct rig rig;
	struct pass p;
	int fd, r;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 30 * MIB);
	rig_read(&rig, v, 0, 30 * MIB);
	version_unref(v);
	rig_reopen(&rig);
	uint64_t gets = atomic_load(&rig.mb.gets);
	v = rig_version(&rig, "k", 30 * MIB);
	CHECK_EQ(begin(v, true, &p, &fd), -ENODATA);
	while ((r = begin(v, false, &p, &fd)) == -ENODATA || r == -EAGAIN)
		clock_sleep_ns(NS_PER_MS);
	CHECK_EQ(r, 0);
	check_fd(&rig, fd, 30 * MIB);
	CHECK_EQ(close(fd), 0);
	CHECK_EQ(atomic_load(&rig.mb.gets), gets);
	pass_end(&p);
	version_unref(v);
	rig_done(&rig);
}

static void cut(const char *path, void *arg)
{
	(void)arg;
	CHECK_EQ(truncate(path, 1000), 0);
}

static void delete_file(const char *path, void *arg)
{
	(void)arg;
	CHECK_EQ(unlink(path), 0);
}

/* What the kernel has is not what a new open would get: it must not be shared. */
static void damaged_while_passed(void (*fn)(const char *path, void *arg))
{
	struct rig rig;
	struct pass p, now;
	int fd, fd_now;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 5 * MIB);
	rig_read(&rig, v, 0, 5 * MIB);
	CHECK_EQ(begin(v, false, &p, &fd), 0);
	rig_files(&rig, fn, NULL);
	CHECK(!pass_is_of(&p, v));
	CHECK_EQ(version_cached_bytes(v), 0);
	CHECK_EQ(rig_stats(&rig).used_bytes, 0);
	CHECK_EQ(begin(v, true, &now, &fd_now), -ENODATA);
	rig_read(&rig, v, 0, 5 * MIB);
	/* Whole again, in another file. */
	CHECK(!pass_is_of(&p, v));
	CHECK_EQ(begin(v, true, &now, &fd_now), 0);
	check_fd(&rig, fd_now, 5 * MIB);
	CHECK(pass_is_of(&now, v));
	CHECK_EQ(close(fd_now), 0);
	CHECK_EQ(close(fd), 0);
	pass_end(&now);
	pass_end(&p);
	CHECK_EQ(rig_stats(&rig).used_bytes, 5 * MIB);
	version_unref(v);
	rig_done(&rig);
}

static void pass__damage_ends_the_sharing(void)
{
	damaged_while_passed(cut);
	damaged_while_passed(delete_file);
}

/* Found by the open itself: no file with holes is handed out. */
static void pass__damage_is_seen_by_the_open(void)
{
	struct rig rig;
	struct pass p;
	int fd;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 5 * MIB);
	rig_read(&rig, v, 0, 5 * MIB);
	rig_files(&rig, cut, NULL);
	CHECK_EQ(begin(v, true, &p, &fd), -ENODATA);
	CHECK_EQ(version_cached_bytes(v), 0);
	rig_read(&rig, v, 0, 5 * MIB);
	version_unref(v);
	rig_done(&rig);
}

/* pass (3), P9: the oldest by far, and in use.  The cache goes on beside it. */
static void pass__a_file_in_use_is_passed_over(void)
{
	struct rig rig;
	struct pass p;
	int fd;
	rig_init(&rig, 8 * MIB);
	struct version *v = rig_version(&rig, "mapped", 5 * MIB);
	rig_read(&rig, v, 0, 5 * MIB);
	CHECK_EQ(begin(v, false, &p, &fd), 0);
	pass_end(&p); /* closed, but not its mapping */
	struct version *w = rig_version(&rig, "new", 20 * MIB);
	for (uint64_t off = 0; off < 20 * MIB; off += MIB)
		rig_read(&rig, w, off, MIB);
	CHECK_EQ(rig_stats(&rig).bypassed, 0);
	CHECK_EQ(version_cached_bytes(v), 5 * MIB);
	check_fd(&rig, fd, 5 * MIB);
	CHECK_EQ(close(fd), 0);
	version_unref(w);
	version_unref(v);
	rig_done(&rig);
}

/* The bucket has lost it: its file goes with the last who reads it. */
static void pass__a_kept_version_goes_with_its_reader(void)
{
	struct rig rig;
	struct pass p;
	int fd;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k", 5 * MIB);
	rig_read(&rig, v, 0, 5 * MIB);
	CHECK_EQ(begin(v, false, &p, &fd), 0);
	version_keep(v);
	version_unref(v);
	blocks_sync(rig.bl);
	CHECK_EQ(rig_count_files(&rig), 1);
	check_fd(&rig, fd, 5 * MIB);
	CHECK_EQ(close(fd), 0);
	pass_end(&p);
	blocks_sync(rig.bl);
	CHECK_EQ(rig_count_files(&rig), 0);
	CHECK_EQ(rig_stats(&rig).used_bytes, 0);
	rig_done(&rig);
}

int main(void)
{
	RUN(pass__only_a_whole_version_is_passed);
	RUN(pass__nothing_of_it_is_evicted);
	RUN(pass__after_a_start_it_is_verified);
	RUN(pass__a_large_one_is_verified_for_the_next);
	RUN(pass__damage_ends_the_sharing);
	RUN(pass__damage_is_seen_by_the_open);
	RUN(pass__a_file_in_use_is_passed_over);
	RUN(pass__a_kept_version_goes_with_its_reader);
	return 0;
}
