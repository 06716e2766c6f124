/* io.c - see io.h. */
#include "backends/util/io.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

int io_read_all(int fd, void *dst, size_t len, uint64_t off)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(fd, (char *)dst + done, len - done, (off_t)(off + done));
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EIO;
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}

int io_write_all(int fd, const void *src, size_t len, uint64_t off)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pwrite(fd, (const char *)src + done, len - done,
				   (off_t)(off + done));
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EIO;
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}

int io_sync_names(int dir)
{
	return fsync(dir) && errno != EINVAL ? -errno : 0;
}

int io_sync_directory(const char *path)
{
	CLEANUP_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? -errno : io_sync_names(dir);
}
