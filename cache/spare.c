/* spare.c - see spare.h. */
#include "cache/spare.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

#define SPARE_BYTES (SPARE_START_BYTES + (UINT64_C(1) << 20))

static int open_spare(const char *dir, int flags)
{
	CLEANUP_BUF struct buf path;
	buf_init(&path, 8192);
	buf_addf(&path, "%s/spare", dir);
	if (buf_error(&path))
		return buf_error(&path);
	int fd = open(path.data, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
	return fd < 0 ? -errno : fd;
}

static uint64_t free_bytes(int fd)
{
	struct statvfs v;
	return fstatvfs(fd, &v) ? 0 : (uint64_t)v.f_bavail * v.f_frsize;
}

bool spare_fill(const char *dir)
{
	struct stat st;
	CLEANUP_CLOSE int fd = open_spare(dir, O_CREAT);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	if (st.st_size >= (off_t)SPARE_BYTES)
		return true;
	if (free_bytes(fd) < 2 * SPARE_BYTES)
		return false;
	if (!posix_fallocate(fd, 0, (off_t)SPARE_BYTES))
		return true;
	(void)!ftruncate(fd, st.st_size);
	return false;
}

bool spare_give(const char *dir, uint64_t bytes, uint64_t keep)
{
	struct stat st;
	CLEANUP_CLOSE int fd = open_spare(dir, 0);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size <= keep)
		return false;
	uint64_t left = (uint64_t)st.st_size - keep;
	return !ftruncate(fd, (off_t)(keep + (left > bytes ? left - bytes : 0)));
}
