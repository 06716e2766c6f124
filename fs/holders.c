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
#include <sys/fsuid.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "fs/mountinfo.h"
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

/* 1, 0, or why it cannot be read. */
static int link_matches(int dir, const char *fd, const char *path)
{
	char link[PATH_MAX];
	ssize_t n = readlinkat(dir, fd, link, sizeof(link) - 1);
	if (n <= 0)
		return n < 0 ? -errno : 0;
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

/* A file of the same name and number on another mount of ours is not this one. */
static bool is_on(pid_t pid, uint64_t mount_id, dev_t device)
{
	char path[64];
	struct mount_entry e;
	(void)snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)pid);
	FILE *f = device ? fopen(path, "re") : NULL;
	if (!f)
		return true; /* the name has to do */
	int r = mountinfo_search_id(f, mount_id, &e);
	(void)fclose(f);
	return !r && makedev(e.major, e.minor) == device;
}

/* 1 or 0.  Kernels before 5.14 do not tell the inode: the path has to do then, or,
 * without one, -EOPNOTSUPP. */
static int info_matches(pid_t pid, dev_t device, const char *fd, uint64_t inode,
			bool by_path)
{
	char path[64], text[1024];
	int n = snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.20s", (int)pid, fd);
	if (n < 0 || (size_t)n >= sizeof(path))
		return 0;
	CLEANUP_CLOSE int f = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = f < 0 ? -1 : read(f, text, sizeof(text) - 1);
	if (got <= 0)
		return f < 0 && errno == EACCES ? -EACCES : 0;
	text[got] = '\0';
	uint64_t flags, ino, mount_id;
	if (!find_field(text, "flags:", 8, &flags))
		return 0;
	if ((flags & O_ACCMODE) == O_RDONLY)
		return 0;
	bool told = find_field(text, "ino:", 10, &ino);
	if (!told && !by_path)
		return -EOPNOTSUPP;
	if (told && ino != inode)
		return 0;
	return !find_field(text, "mnt_id:", 10, &mount_id) ||
	       is_on(pid, mount_id, device);
}

/* path NULL: by the inode alone.  -EACCES: it is not ours to look at. */
static int count(pid_t pid, dev_t device, uint64_t inode, const char *path)
{
	char dir[64];
	(void)snprintf(dir, sizeof(dir), "/proc/%d/fd", (int)pid);
	DIR *d = opendir(dir);
	if (!d)
		return -errno;
	int n = 0;
	struct dirent *de;
	while (n >= 0 && (de = readdir(d))) {
		if (de->d_name[0] == '.')
			continue;
		int r = path ? link_matches(dirfd(d), de->d_name, path) : 1;
		if (r > 0)
			r = info_matches(pid, device, de->d_name, inode, path != NULL);
		if (r == -EACCES || r == -EOPNOTSUPP)
			n = r;
		else if (r > 0)
			n++;
	}
	(void)closedir(d);
	return n;
}

/* Root in a container may not look into another user's process (CAP_SYS_PTRACE), but
 * that user may; a thread can be him where files are concerned. */
static int count_as(const struct holder *who, dev_t device, uint64_t inode,
		    const char *path)
{
	gid_t gid = (gid_t)setfsgid(who->gid);
	uid_t uid = (uid_t)setfsuid(who->uid);
	int n = count(who->pid, device, inode, path);
	(void)setfsuid(uid);
	(void)setfsgid(gid);
	return n;
}

int holders_count(const struct holder *who, dev_t device, uint64_t inode,
		  const char *path)
{
	int n = count(who->pid, device, inode, path);
	if (n == -EACCES)
		n = count_as(who, device, inode, path);
	return n > 0 || n == -EOPNOTSUPP ? n : 0;
}
