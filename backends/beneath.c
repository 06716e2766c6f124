/* beneath.c - see beneath.h. */
#include "backends/beneath.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

int beneath_check_key(const char *key)
{
	size_t tmp_len = strlen(BENEATH_TMP_DIR);
	if (!strncmp(key, BENEATH_TMP_DIR, tmp_len) &&
	    (!key[tmp_len] || key[tmp_len] == '/'))
		return -EILSEQ;
	do {
		size_t n = strcspn(key, "/");
		if (!n || (n == 1 && key[0] == '.') ||
		    (n == 2 && key[0] == '.' && key[1] == '.'))
			return -EILSEQ;
		if (n > NAME_MAX)
			return -ENAMETOOLONG;
		key += n;
		if (*key == '/')
			key++;
	} while (*key);
	return 0;
}

int beneath_open(int root, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned int)flags | O_CLOEXEC | O_NOFOLLOW,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd;
	do
		fd = syscall(SYS_openat2, root, path, &how, sizeof how);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : (int)fd;
}

/* Open a directory's directory, making it first if that is wanted. */
static int step_into(int dir, const char *name, bool make)
{
	int fd = beneath_open(dir, name, O_RDONLY | O_DIRECTORY);
	if (fd != -ENOENT || !make)
		return fd;
	if (mkdirat(dir, name, 0777) < 0 && errno != EEXIST)
		return -errno;
	if (fsync(dir) < 0)
		return -errno;
	return beneath_open(dir, name, O_RDONLY | O_DIRECTORY);
}

/* Copies the component at *key and goes past it and its '/'. */
static int next_component(const char **key, char ret[256])
{
	size_t n = strcspn(*key, "/");
	if (n > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(ret, *key, n);
	ret[n] = '\0';
	*key += n;
	if (**key == '/')
		++*key;
	return 0;
}

int beneath_place(int root, const char *key, bool make, struct beneath_place *ret)
{
	CLEANUP_CLOSE int dir = beneath_open(root, ".", O_RDONLY | O_DIRECTORY);
	char name[256];
	int r = dir < 0 ? dir : next_component(&key, name);
	while (r >= 0 && *key) {
		int fd = step_into(dir, name, make);
		if (fd < 0)
			return fd;
		(void)close(dir);
		dir = fd;
		r = next_component(&key, name);
	}
	if (r < 0)
		return r;
	memcpy(ret->name, name, sizeof name);
	ret->dir = dir;
	dir = -1;
	return 0;
}

void beneath_place_done(struct beneath_place *place)
{
	cleanup_close_(&place->dir);
	place->dir = -1;
}

int beneath_stat(int dir, const char *name, struct stat *ret)
{
	return fstatat(dir, name, ret, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* Saturates: a file system can hold any 64-bit second. */
static int64_t time_ns(const struct timespec *ts)
{
	int64_t ns;
	if (__builtin_mul_overflow((int64_t)ts->tv_sec, (int64_t)NS_PER_S, &ns) ||
	    __builtin_add_overflow(ns, (int64_t)ts->tv_nsec, &ns))
		return ts->tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

void beneath_object(const struct stat *st, struct object *ret)
{
	bool is_dir = S_ISDIR(st->st_mode);
	*ret = (struct object){.size = is_dir ? 0 : (uint64_t)st->st_size,
			       .mtime_ns = time_ns(&st->st_mtim)};
	(void)snprintf(ret->etag, sizeof ret->etag,
		       "%" PRIx64 ":%" PRIx64 ":%" PRIx64 ":%" PRIx64 ":%" PRIx64,
		       (uint64_t)st->st_dev, (uint64_t)st->st_ino, ret->size,
		       is_dir ? 0 : (uint64_t)time_ns(&st->st_mtim),
		       is_dir ? 0 : (uint64_t)time_ns(&st->st_ctim));
}
