/* holders.c - see holders.h. */
#include "fs/holders.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

/* The link shows the path as the process's mounts have it: only its end is ours. */
static bool ends_like(const char *link, const char *path)
{
	static const char deleted[] = " (deleted)";
	size_t len = strlen(link), want = strlen(path);
	size_t skip = sizeof(deleted) - 1;
	if (len > skip && !strcmp(link + len - skip, deleted))
		len -= skip;
	return len > want && link[len - want - 1] == '/' &&
	       !memcmp(link + len - want, path, want);
}

static bool link_matches(int dir, const char *fd, const char *path)
{
	char link[PATH_MAX];
	ssize_t n = readlinkat(dir, fd, link, sizeof(link) - 1);
	if (n <= 0)
		return false;
	link[n] = '\0';
	return ends_like(link, path);
}

/* "name:<blanks>number" in the text of fdinfo. */
static bool find_field(const char *text, const char *name, int base, uint64_t *ret)
{
	const char *at = strstr(text, name);
	if (!at)
		return false;
	char *end;
	at += strlen(name);
	errno = 0;
	*ret = strtoull(at, &end, base);
	return !errno && end != at;
}

static bool info_matches(pid_t pid, const char *fd, uint64_t inode)
{
	char path[64], text[1024];
	int n = snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.20s", (int)pid, fd);
	if (n < 0 || (size_t)n >= sizeof(path))
		return false;
	CLEANUP_CLOSE int f = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = f < 0 ? -1 : read(f, text, sizeof(text) - 1);
	if (got <= 0)
		return false;
	text[got] = '\0';
	uint64_t flags, ino;
	if (!find_field(text, "flags:", 8, &flags))
		return false;
	if ((flags & O_ACCMODE) == O_RDONLY)
		return false;
	/* Kernels before 5.14 do not tell; the path has to do then. */
	return !find_field(text, "ino:", 10, &ino) || ino == inode;
}

int holders_count(pid_t pid, uint64_t inode, const char *path)
{
	char dir[64];
	(void)snprintf(dir, sizeof(dir), "/proc/%d/fd", (int)pid);
	DIR *d = opendir(dir);
	if (!d)
		return 0;
	int n = 0;
	struct dirent *de;
	while ((de = readdir(d)))
		if (de->d_name[0] != '.' && link_matches(dirfd(d), de->d_name, path) &&
		    info_matches(pid, de->d_name, inode))
			n++;
	(void)closedir(d);
	return n;
}
