/* doctor_disk.c - the cache directory and the disk it is on.  Nothing of it is made, and
 * what is written for the sake of measuring has no name. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/magic.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "fs/cachedir.h"
#include "fs/doctor.h"
#include "backends/util/banned.h"

#ifndef CIFS_SUPER_MAGIC
#define CIFS_SUPER_MAGIC 0xFF534D42
#endif
#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

/* --- may it be used? --- */

/* The path, or the nearest directory above it that is there. */
static void find_base(const char *path, struct buf *ret)
{
	buf_reset(ret);
	buf_adds(ret, path);
	while (ret->len > 1 && access(ret->data, F_OK) < 0) {
		char *slash = strrchr(ret->data, '/');
		ret->len = slash && slash > ret->data ? (size_t)(slash - ret->data) : 1;
		ret->data[ret->len] = '\0';
	}
}

static void tell_elsewhere(struct doctor *d, const char *why)
{
	struct report *r = &d->report;
	const char *heard = report_heard(r);
	report_remedy(r, "mastfs mount -o cache_dir=/ANOTHER/DIRECTORY");
	report_problem(r, "cache", "%s", *heard ? heard : why);
}

/* Whoever else can write there could forge the bytes of files. */
static void tell_untrusted(struct doctor *d)
{
	struct report *r = &d->report;
	const char *path = d->cache.data, *quoted = report_quote(r, path);
	struct stat st;
	if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		report_remedy(r, "ls -ld %s  # and -o cache_dir=/ANOTHER/DIRECTORY",
			      quoted);
	else if (st.st_uid != geteuid())
		report_remedy(r, "sudo chown -R \"$(id -un)\" %s", quoted);
	else if (st.st_mode & 0022)
		report_remedy(r, "chmod 700 %s", quoted);
	else
		report_remedy(r, "chmod go-w %s/..", quoted);
	report_problem(r, "cache", "%s", report_heard(r));
}

static void tell_unwritable(struct doctor *d, int error)
{
	struct report *r = &d->report;
	const char *quoted = report_quote(r, d->cache.data);
	if (error == -EROFS)
		report_remedy(r, "mastfs mount -o cache_dir=/ANOTHER/DIRECTORY");
	else
		report_remedy(r, "sudo install -d -m 700 -o \"$(id -un)\" %s", quoted);
	report_problem(r, "cache", "%s: cannot be %s: %s", d->cache.data,
		       strcmp(d->base.data, d->cache.data) ? "made" : "written to",
		       strerror(-error));
}

/* access(2) by the effective user, who need not be the real one. */
static int may_write(const char *dir)
{
	return faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

void doctor_cache(struct doctor *d)
{
	const struct settings *s = &d->config.store;
	if (cachedir_plan(&d->config, &d->cache)) {
		tell_elsewhere(d, "it cannot be found");
		return;
	}
	const char *path = d->cache.data;
	const char *mountpoint = d->mountpoint ? d->mountpoint : d->config.mountpoint;
	if (s->url && mount_check_apart(s, mountpoint, path)) {
		tell_elsewhere(d, "it is inside the mount");
		return;
	}
	find_base(path, &d->base);
	bool there = !strcmp(path, d->base.data);
	if (there && cachedir_check(path)) {
		tell_untrusted(d);
		return;
	}
	int error = may_write(d->base.data);
	if (error) {
		tell_unwritable(d, error);
		return;
	}
	d->known |= KNOWN_CACHE;
	report_ok(&d->report, "cache", "%s%s", path, there ? "" : " will be made");
}

/* --- on which disk? --- */

static const struct {
	unsigned long magic;
	const char *name, *why;
} disks[] = {
	{OVERLAYFS_SUPER_MAGIC, "overlayfs",
	 "what is not uploaded yet goes with the container"},
	{TMPFS_MAGIC, "tmpfs",
	 "it takes memory, and what is not uploaded yet goes with a "
	 "restart"},
	{RAMFS_MAGIC, "ramfs",
	 "it takes memory, and what is not uploaded yet goes with a "
	 "restart"},
	{NFS_SUPER_MAGIC, "NFS", "databases and locks are neither quick nor safe on it"},
	{CIFS_SUPER_MAGIC, "CIFS",
	 "databases and locks are neither quick nor safe on it"},
	{FUSE_SUPER_MAGIC, "FUSE",
	 "databases and locks are neither quick nor safe on it"},
};

void doctor_cache_disk(struct doctor *d)
{
	struct report *r = &d->report;
	struct statfs fs;
	if (statfs(d->base.data, &fs) < 0) {
		report_remedy(r, "df %s", report_quote(r, d->base.data));
		report_problem(r, "cache_disk", "%s: %s", d->base.data, strerror(errno));
		return;
	}
	for (size_t i = 0; i < sizeof disks / sizeof disks[0]; i++) {
		if ((unsigned long)fs.f_type != disks[i].magic)
			continue;
		report_remedy(r, "mastfs mount -o cache_dir=/ON/A/DISK  # docker run -v "
				 "mastfs-cache:/var/cache/mastfs ...");
		report_warning(r, "cache_disk", "%s is on %s: %s", d->cache.data,
			       disks[i].name, disks[i].why);
		return;
	}
	report_ok(r, "cache_disk", "a disk of this machine");
}

/* --- whose is it? --- */

static void tell_holder(struct doctor *d)
{
	struct report *r = &d->report;
	struct cachedir_holder h = {0};
	(void)cachedir_holder(d->cache.data, &h);
	if (h.pid && h.pid == d->mounted_pid) {
		report_ok(r, "cache_lock", "in use by this mount");
		return;
	}
	report_remedy(r,
		      "mastfs mount -o cache_dir=/ANOTHER/DIRECTORY  # or end pid %d: "
		      "ps %d",
		      h.pid, h.pid);
	report_problem(r, "cache_lock", "%s: another mastfs uses it (pid %d)",
		       d->cache.data, h.pid);
}

static void tell_free(struct doctor *d)
{
	struct report *r = &d->report;
	struct cachedir_holder h;
	if (cachedir_holder(d->cache.data, &h) || h.state != CACHEDIR_ENDED ||
	    !h.number) {
		report_ok(r, "cache_lock", "free");
		return;
	}
	bool sure = d->known & KNOWN_SOURCE; /* or none, or one with a secret in it */
	report_remedy(r, "mastfs mount %s %s",
		      sure ? report_quote(r, d->config.store.url) : "SOURCE",
		      report_quote(r, d->config.mountpoint));
	report_warning(r, "cache_lock",
		       "%llu changes in it are not in the bucket yet: the next mount "
		       "uploads them",
		       (unsigned long long)h.number);
}

void doctor_cache_lock(struct doctor *d)
{
	CLEANUP_BUF struct buf path;
	buf_init(&path, PATH_MAX);
	buf_addf(&path, "%s/lock", d->cache.data);
	CLEANUP_CLOSE int fd = open(path.data, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		tell_holder(d);
	else
		tell_free(d);
}

/* --- is there room? --- */

static int measure(const struct doctor *d, struct disk *ret)
{
	struct statvfs v;
	if (!strcmp(d->base.data, d->cache.data))
		return disk_measure(d->base.data, ret);
	if (statvfs(d->base.data, &v) < 0)
		return -errno;
	*ret = (struct disk){.total_bytes = (uint64_t)v.f_blocks * v.f_frsize,
			     .free_bytes = (uint64_t)v.f_bavail * v.f_frsize};
	return 0;
}

static unsigned long long mib(uint64_t bytes)
{
	return (unsigned long long)(bytes >> 20);
}

void doctor_cache_room(struct doctor *d)
{
	struct report *r = &d->report;
	struct disk disk = {0};
	struct room room = {0};
	int error = measure(d, &disk);
	if (!error)
		error = room_plan(&d->config, &disk, &room);
	if (error) {
		report_remedy(r,
			      "df -h %s  # make room, or -o cache_dir=/ON/ANOTHER/DISK",
			      report_quote(r, d->base.data));
		report_problem(r, "cache_room", "%s: %s", d->cache.data,
			       error == -ENOSPC ? "the disk is full, but for what "
						  "cache_reserve keeps free"
						: strerror(-error));
	} else if (room.lowered) {
		report_remedy(r, "mastfs mount -o cache_size=%lluM,staging_size=%lluM",
			      mib(room.cache_bytes), mib(room.staging_bytes));
		report_warning(r, "cache_room",
			       "%llu MiB are free, less than cache_size and staging_size "
			       "ask for",
			       mib(disk.free_bytes));
	} else {
		report_ok(r, "cache_room", "%llu MiB are free", mib(disk.free_bytes));
	}
}

/* --- is it quick? --- */

enum {
	PIECE_BYTES = 1 << 20,
	STREAM_BYTES = 16 << 20,
	SYNC_BYTES = 4096,
	SYNCS_MAX = 20,
	MIB_PER_S_LEAST = 20,
	SYNC_MS_MOST = 100,
};
#define MEASURE_NS NS_PER_S /* each half */

/* Bytes a second, to the disk. */
static int measure_stream(int fd, uint64_t *ret)
{
	CLEANUP_FREE char *piece = calloc(1, PIECE_BYTES);
	uint64_t start_ns = clock_now_ns(), done = 0, ns;
	if (!piece)
		return -ENOMEM;
	do {
		ssize_t n = pwrite(fd, piece, PIECE_BYTES, (off_t)done);
		if (n <= 0 || fdatasync(fd) < 0)
			return n ? -errno : -EIO;
		done += (uint64_t)n;
		ns = clock_now_ns() - start_ns + 1;
	} while (done < STREAM_BYTES && ns < MEASURE_NS);
	*ret = done * NS_PER_S / ns;
	return 0;
}

/* What one small fsync takes, on average. */
static int measure_syncs(int fd, uint64_t *ret_ns)
{
	char piece[SYNC_BYTES] = "";
	uint64_t start_ns = clock_now_ns(), ns = 0, n = 0;
	for (; n < SYNCS_MAX && ns < MEASURE_NS; n++) {
		if (pwrite(fd, piece, sizeof piece, (off_t)(n * SYNC_BYTES)) < 0 ||
		    fsync(fd) < 0)
			return -errno;
		ns = clock_now_ns() - start_ns;
	}
	*ret_ns = ns / n;
	return 0;
}

void doctor_cache_speed(struct doctor *d)
{
	struct report *r = &d->report;
	uint64_t speed = 0, sync_ns = 0;
	CLEANUP_CLOSE int fd = open(d->base.data, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	int error = fd < 0 ? -errno : measure_stream(fd, &speed);
	if (!error)
		error = measure_syncs(fd, &sync_ns);
	uint64_t sync_ms = sync_ns / NS_PER_MS;
	if (error) {
		report_skip(r, "cache_speed", strerror(-error));
	} else if (mib(speed) >= MIB_PER_S_LEAST && sync_ms <= SYNC_MS_MOST) {
		report_ok(r, "cache_speed", "%llu MiB/s, %llu ms a sync", mib(speed),
			  (unsigned long long)sync_ms);
	} else {
		report_remedy(r, "mastfs mount -o cache_dir=/ON/A/QUICKER/DISK");
		report_warning(r, "cache_speed",
			       "%llu MiB/s, %llu ms a sync: every write waits for it",
			       mib(speed), (unsigned long long)sync_ms);
	}
}
