/* test_staged_room.c - a disk that is full of what can be fetched again, and what counts
 * as kept (P9, staged (5)). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>
#include "cache/journal.h"
#include "tests/unit/check.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

/* Nothing gets longer until the cache has given something up, if it has anything. */
static atomic_bool disk_full, journal_full, cache_empty;
static atomic_int shrinks;
static _Atomic(struct journal *) journal; /* the last that was committed to */

ssize_t __real_pwrite64(int fd, const void *bytes, size_t len, off_t off);
ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t len, off_t off);
int __real_fallocate64(int fd, int mode, off_t off, off_t len);
int __wrap_fallocate64(int fd, int mode, off_t off, off_t len);
ssize_t __real_copy_file_range(int in, off_t *in_off, int out, off_t *out_off, size_t len,
			       unsigned flags);
ssize_t __wrap_copy_file_range(int in, off_t *in_off, int out, off_t *out_off, size_t len,
			       unsigned flags);
int __real_journal_commit(struct journal *jn, const struct journal_change *changes,
			  size_t n, bool durable);
int __wrap_journal_commit(struct journal *jn, const struct journal_change *changes,
			  size_t n, bool durable);
uint64_t __wrap_blocks_shrink(struct blocks *bl, uint64_t bytes);

/* Not of the index and the journal, which other threads write. */
static bool is_full(int fd)
{
	char link[64], path[256];
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	CHECK(n > 0);
	path[n] = '\0';
	if (!atomic_load(&disk_full) || !strstr(path, "/staged/"))
		return false;
	errno = ENOSPC;
	return true;
}

ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t len, off_t off)
{
	return is_full(fd) ? -1 : __real_pwrite64(fd, bytes, len, off);
}

int __wrap_fallocate64(int fd, int mode, off_t off, off_t len)
{
	return is_full(fd) ? -1 : __real_fallocate64(fd, mode, off, len);
}

ssize_t __wrap_copy_file_range(int in, off_t *in_off, int out, off_t *out_off, size_t len,
			       unsigned flags)
{
	return is_full(out)
		       ? -1
		       : __real_copy_file_range(in, in_off, out, out_off, len, flags);
}

int __wrap_journal_commit(struct journal *jn, const struct journal_change *changes,
			  size_t n, bool durable)
{
	atomic_store(&journal, jn);
	return atomic_load(&journal_full)
		       ? -ENOSPC
		       : __real_journal_commit(jn, changes, n, durable);
}

uint64_t __wrap_blocks_shrink(struct blocks *bl, uint64_t bytes)
{
	(void)bl;
	CHECK(bytes >= UINT64_C(64) << 20);
	atomic_fetch_add(&shrinks, 1);
	if (atomic_load(&cache_empty))
		return 0;
	atomic_store(&disk_full, false);
	atomic_store(&journal_full, false);
	return bytes;
}

/* The bytes of an object, for who goes on writing it. */
static int fill(struct vrig *rig, struct staged *st)
{
	struct call call = vrig_soon();
	struct view_entry e;
	struct version *v = NULL;
	CHECK_EQ(view_lookup(rig->vw, "object", &e, &call), 0);
	CHECK_EQ(version_get(rig->bl, "object", &e.object, &v), 0);
	int r = staged_fill(st, v, e.object.size, &call);
	version_unref(v);
	return r;
}

/* A copy of what waits for its upload. */
static int fork_sealed(struct vrig *rig)
{
	struct staged *st = staged_find(view_staging(rig->vw), "sealed"), *next = NULL;
	int r = staged_writable(st, UINT64_MAX, &next);
	CHECK(r || next != st);
	staged_unref(next);
	staged_unref(st);
	return r;
}

/* What was written, and its row. */
static int seal(struct staged *st)
{
	atomic_store(&disk_full, false);
	atomic_store(&journal_full, true);
	int r = staged_write(st, "whole", 5, 0) < 0 ? -EIO : 0;
	if (!r)
		r = staged_truncate(st, 5);
	if (!r)
		r = staged_publish(st, false, NULL);
	atomic_store(&journal_full, false);
	return r;
}

/* Each of them once; how many failed for want of room. */
static int use_room(struct vrig *rig, bool empty)
{
	int failed = 0;
	struct staged *st = vrig_create(rig, "new");
	for (int i = 0; i < 5; i++) {
		atomic_store(&shrinks, 0);
		atomic_store(&cache_empty, empty);
		atomic_store(&disk_full, true);
		int r = i == 0	 ? (int)staged_write(st, "bytes", 5, 0)
			: i == 1 ? staged_allocate(st, 0, 0, 1000)
			: i == 2 ? fill(rig, st)
			: i == 3 ? fork_sealed(rig)
				 : seal(st);
		atomic_store(&disk_full, false);
		CHECK_EQ(shrinks, 1);
		CHECK(r >= 0 || r == -ENOSPC);
		failed += r < 0;
	}
	vrig_close_writer(st);
	return failed;
}

static void staged_room__the_cache_makes_room(void)
{
	for (int empty = 0; empty < 2; empty++) {
		struct vrig rig;
		vrig_init(&rig);
		bucket_set(&rig.bucket, "object", "text", NULL);
		CHECK(vrig_reads(&rig, "object", "text"));
		CHECK(vrig_reads(&rig, "sealed", NULL));
		rig.conf.wait_uploads = false;
		atomic_store(&rig.bucket.held, true);
		CHECK_EQ(vrig_write(&rig, "sealed", "waits"), 0);
		CHECK_EQ(use_room(&rig, empty), empty ? 5 : 0);
		atomic_store(&rig.bucket.held, false);
		vrig_done(&rig);
	}
}

static void set_limit(rlim_t bytes)
{
	struct rlimit limit;
	(void)signal(SIGXFSZ, SIG_IGN);
	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* What was not written takes no room. */
static void staged_room__a_failed_write_is_not_counted(void)
{
	static char bytes[2 << 20];
	struct vrig rig;
	vrig_init(&rig);
	struct staged *st = vrig_create(&rig, "f");
	vrig_put(st, "hello");
	CHECK_EQ(vrig_kept(&rig), 5);
	set_limit(1 << 20);
	CHECK_EQ(staged_write(st, "x", 1, UINT64_C(1) << 45), -EFBIG);
	CHECK_EQ(vrig_kept(&rig), 5);
	CHECK_EQ(staged_write(st, bytes, sizeof(bytes), 0), 1 << 20);
	CHECK_EQ(vrig_kept(&rig), 1 << 20);
	set_limit(RLIM_INFINITY);
	vrig_close_writer(st);
	vrig_done(&rig);
}

/* What the disk did not take at these offsets. */
static void write_in_vain(struct staged *st, const uint64_t *offs, size_t n)
{
	atomic_store(&disk_full, true);
	atomic_store(&cache_empty, true);
	for (size_t i = 0; i < n; i++)
		CHECK_EQ(staged_write(st, "lost", 4, offs[i]), -ENOSPC);
	atomic_store(&disk_full, false);
	atomic_store(&cache_empty, false);
}

/* staged (7), P4: what failed is missing until all of it is written, in any order, or cut
 * off.  What lies between was never asked for. */
static void staged_room__every_missing_byte_counts(void)
{
	static const uint64_t holes[] = {30, 50};
	for (int back = 0; back < 2; back++) {
		struct vrig rig;
		vrig_init(&rig);
		struct call call = vrig_soon();
		struct staged *st = vrig_create(&rig, "f");
		vrig_put(st, "hello");
		write_in_vain(st, holes, 2);
		CHECK_EQ(staged_write(st, "back", 4, holes[back]), 4);
		CHECK_EQ(staged_write(st, "more", 4, 80), 4);
		CHECK_EQ(staged_publish(st, true, &call), -ENOSPC);
		CHECK_EQ(staged_write(st, "b", 1, holes[!back]), 1);
		CHECK_EQ(staged_publish(st, true, &call), -ENOSPC);
		CHECK(bucket_has(&rig.bucket, "f", NULL));
		CHECK_EQ(staged_write(st, "ack", 3, holes[!back] + 1), 3);
		CHECK_EQ(staged_publish(st, true, &call), 0);
		vrig_close_writer(st);
		vrig_done(&rig);
	}
}

static void staged_room__what_is_cut_off_is_not_missing(void)
{
	static const uint64_t holes[] = {30, 50};
	struct vrig rig;
	vrig_init(&rig);
	struct call call = vrig_soon();
	struct staged *st = vrig_create(&rig, "f");
	write_in_vain(st, holes, 2);
	CHECK_EQ(staged_truncate(st, 40), 0);
	CHECK_EQ(staged_publish(st, true, &call), -ENOSPC);
	CHECK_EQ(staged_truncate(st, 30), 0);
	CHECK_EQ(staged_publish(st, true, &call), 0);
	vrig_close_writer(st);
	vrig_done(&rig);
}

/* More holes than are told apart: never one too few. */
static void staged_room__many_holes(void)
{
	uint64_t holes[40];
	struct vrig rig;
	vrig_init(&rig);
	struct call call = vrig_soon();
	struct staged *st = vrig_create(&rig, "f");
	for (size_t i = 0; i < 40; i++)
		holes[i] = 10 * i;
	write_in_vain(st, holes, 40);
	for (size_t i = 0; i < 40; i++) {
		CHECK_EQ(staged_publish(st, true, &call), -ENOSPC);
		CHECK_EQ(staged_write(st, "back", 4, holes[i]), 4);
	}
	CHECK_EQ(staged_write(st, "again, all of it", 16, 0), 16);
	for (uint64_t off = 0; off < 400; off += 20)
		CHECK_EQ(staged_write(st, "twenty bytes in turn", 20, off), 20);
	CHECK_EQ(staged_publish(st, true, &call), 0);
	vrig_close_writer(st);
	vrig_done(&rig);
}

/* P3, P9, staged (7): what fsync promised is there after a remount, and what the disk did
 * not take after it leaves the object as it is, until somebody writes the file anew. */
static void staged_room__torn_over_a_remount(void)
{
	struct vrig rig;
	uint64_t at = 30;
	vrig_init(&rig);
	struct call call = vrig_soon();
	bucket_set(&rig.bucket, "f", "old", NULL);
	struct staged *st = vrig_open_write(&rig, "f");
	CHECK_EQ(staged_truncate(st, 0), 0);
	vrig_put(st, "promised");
	CHECK_EQ(staged_sync(st), 0);
	write_in_vain(st, &at, 1);
	CHECK_EQ(staged_publish(st, true, &call), -ENOSPC);
	vrig_close_writer(st);
	for (int i = 0; i < 2; i++) {
		struct staging_counts counts;
		vrig_close(&rig);
		vrig_open(&rig);
		CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 5 * NS_PER_S), 0);
		CHECK(bucket_has(&rig.bucket, "f", "old"));
		CHECK(vrig_reads(&rig, "f", "promised"));
		staging_count(view_staging(rig.vw), &counts);
		CHECK(counts.failed == 1 && !strcmp(counts.failed_names[0], "f"));
	}
	st = vrig_open_write(&rig, "f");
	CHECK_EQ(staged_write(st, "more", 4, 8), 4);
	CHECK_EQ(staged_publish(st, true, &call), -EIO);
	CHECK_EQ(staged_truncate(st, 0), 0);
	vrig_put(st, "anew");
	CHECK_EQ(staged_publish(st, true, &call), 0);
	CHECK(bucket_has(&rig.bucket, "f", "anew"));
	vrig_close_writer(st);
	vrig_done(&rig);
}

/* P2: of a removal that failed for want of memory there may be a row that only the journal
 * knows of.  It hides nothing that was written since. */
static void staged_room__a_row_left_of_a_removal_hides_no_new_file(void)
{
	struct vrig rig;
	struct journal_change gone = {
		.kind = JOURNAL_PUT_GONE, .key = "f", .etag = "\"e1\""};
	vrig_init(&rig);
	bucket_set(&rig.bucket, "f", "old", NULL);
	CHECK_EQ(vrig_write(&rig, "other", "bytes"), 0);
	CHECK_EQ(__real_journal_commit(journal, &gone, 1, false), 0);
	CHECK_EQ(vrig_write(&rig, "f", "new"), 0);
	vrig_close(&rig);
	vrig_open(&rig);
	CHECK(vrig_reads(&rig, "f", "new"));
	vrig_done(&rig);
}

int main(void)
{
	RUN(staged_room__every_missing_byte_counts);
	RUN(staged_room__what_is_cut_off_is_not_missing);
	RUN(staged_room__many_holes);
	RUN(staged_room__a_row_left_of_a_removal_hides_no_new_file);
	RUN(staged_room__torn_over_a_remount);
	RUN(staged_room__the_cache_makes_room);
	RUN(staged_room__a_failed_write_is_not_counted);
	return 0;
}
