/* umount.c - the verb umount: unmount, then wait until the daemon has uploaded.
 *
 * umount(8) and fusermount3 -u work as well, but return at once.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "fs/cachedir.h"
#include "fs/mount.h"
#include "fs/mountpoint.h"
#include "backends/util/banned.h"

#define PID_XATTR	"user.mastfs.pid"
#define CACHE_DIR_XATTR "user.mastfs.cache_dir"

enum {
	WHY_MAX = 1024,
	USERS_MAX = 5,	  /* named when the mount is busy */
	GRACE_MS = 10000, /* beyond the drain time */
};

void umount_help(void)
{
	(void)fputs(
		"usage: mastfs umount [-o OPTION[,...]] MOUNTPOINT\n"
		"\n"
		"Unmounts, and waits until the daemon has uploaded what was written, "
		"for\n"
		"the option drain at most.  What is left then the next mount uploads.\n"
		"A mount whose daemon is dead is detached.\n",
		stdout);
}

/* Is it a mastfs, as far as we can see?  A daemon in another container has a
 * number that means nothing here. */
static bool is_mastfs(int pid)
{
	char path[64], name[32] = "";
	(void)snprintf(path, sizeof path, "/proc/%d/comm", pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	bool found = fgets(name, sizeof name, f) && !strcmp(name, "mastfs\n");
	(void)fclose(f);
	return found;
}

/* A handle on the daemon, taken while it lives, so that its number cannot become
 * another's.  -1: it cannot be seen from here. */
static int open_daemon(const char *mountpoint, int *ret_pid)
{
	char text[16];
	ssize_t n = getxattr(mountpoint, PID_XATTR, text, sizeof text - 1);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	int pid = atoi(text);
	int fd = pid > 1 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	if (fd >= 0 && !is_mastfs(pid)) {
		(void)close(fd);
		return -1;
	}
	*ret_pid = pid;
	return fd;
}

/* readlink does not touch what the link points to. */
static bool link_is_within(const char *link, const char *dir)
{
	char target[PATH_MAX];
	ssize_t n = readlink(link, target, sizeof target - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	return path_within(target, dir);
}

static bool process_uses(const char *pid, const char *mountpoint)
{
	char path[PATH_MAX];
	(void)snprintf(path, sizeof path, "/proc/%s/cwd", pid);
	if (link_is_within(path, mountpoint))
		return true;
	(void)snprintf(path, sizeof path, "/proc/%s/fd", pid);
	DIR *fds = opendir(path);
	bool found = false;
	for (const struct dirent *e; fds && !found && (e = readdir(fds));) {
		(void)snprintf(path, sizeof path, "/proc/%s/fd/%s", pid, e->d_name);
		found = link_is_within(path, mountpoint);
	}
	if (fds)
		(void)closedir(fds);
	return found;
}

static void add_users(struct buf *why, const char *mountpoint)
{
	DIR *proc = opendir("/proc");
	int n = 0;
	for (const struct dirent *e; proc && n < USERS_MAX && (e = readdir(proc));) {
		if (e->d_name[0] < '0' || e->d_name[0] > '9' ||
		    !process_uses(e->d_name, mountpoint))
			continue;
		buf_addf(why, "%s%s", n ? ", " : "; used by pid ", e->d_name);
		n++;
	}
	if (proc)
		(void)closedir(proc);
}

static int detach(const char *mountpoint, bool lazily)
{
	CLEANUP_BUF struct buf why;
	buf_init(&why, WHY_MAX);
	int r = mountpoint_unmount(mountpoint, lazily, &why);
	if (r == -EBUSY)
		add_users(&why, mountpoint);
	if (r < 0)
		log_error("umount", "%s: %s", mountpoint,
			  why.len ? why.data : strerror(-r));
	else if (lazily)
		log_info("umount", "%s: detached the mount of a dead daemon", mountpoint);
	return r;
}

/* The daemon's cache directory, asked for while it lives: that of its source, in
 * the one that it has locked. */
static void find_cache_dir(const char *mountpoint, struct buf *ret)
{
	char text[PATH_MAX];
	ssize_t n = getxattr(mountpoint, CACHE_DIR_XATTR, text, sizeof text);
	const char *slash = n > 0 ? memrchr(text, '/', (size_t)n) : NULL;
	if (slash)
		buf_add(ret, text, (size_t)(slash - text));
}

static uint64_t files_left(const char *cache_dir, int pid)
{
	struct cachedir_holder h;
	if (cachedir_holder(cache_dir, &h) < 0 || h.pid != pid)
		return 0;
	return h.state == CACHEDIR_ENDED ? h.number : 0;
}

static int wait_for_daemon(const struct config *c, int fd, int pid, const char *cache_dir)
{
	uint64_t ms = clock_add(c->drain_ns / NS_PER_MS, GRACE_MS);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int n = poll(&p, 1, ms > INT_MAX ? INT_MAX : (int)ms);
	if (n <= 0) {
		log_error("umount", "pid %d still uploads; it goes on by itself", pid);
		return -ETIMEDOUT;
	}
	uint64_t left = files_left(cache_dir, pid);
	if (!left)
		return 0;
	log_error("umount",
		  "%llu files are not in the bucket yet; the next mount with cache "
		  "directory %s uploads them",
		  (unsigned long long)left, cache_dir);
	return -EAGAIN;
}

static int unmount_live(const struct config *c, const char *mountpoint)
{
	int pid = 0;
	CLEANUP_BUF struct buf cache_dir;
	buf_init(&cache_dir, PATH_MAX);
	find_cache_dir(mountpoint, &cache_dir);
	CLEANUP_CLOSE int fd = open_daemon(mountpoint, &pid);
	int r = detach(mountpoint, false);
	if (r < 0 || fd < 0)
		return r;
	return wait_for_daemon(c, fd, pid, cache_dir.data);
}

static int unmount(const struct config *c, const char *path)
{
	CLEANUP_FREE char *mountpoint = NULL;
	struct mount_entry e;
	int r = mountpoint_resolve(path, &mountpoint, &e);
	if (r != 0 || strcmp(e.type, MASTFS_TYPE) != 0) {
		log_error("umount", "%s: %s%s", path,
			  r < 0	   ? strerror(-r)
			  : r == 1 ? "nothing is mounted there"
				   : "not a mastfs, but ",
			  r == 0 ? e.type : "");
		return -EINVAL;
	}
	r = mountpoint_probe(mountpoint);
	if (r == -ENOTCONN || r == -ECONNABORTED)
		return detach(mountpoint, true);
	if (r == -ETIMEDOUT) {
		log_error("umount",
			  "%s: does not answer; 'fusermount3 -u -z %s' detaches it",
			  mountpoint, mountpoint);
		return r;
	}
	return unmount_live(c, mountpoint);
}

int umount_verb(int argc, char **argv)
{
	struct command_line cl;
	struct config c;
	int r = command_line_parse(argc, argv, ":o:h", 1, &cl);
	int status = 2;
	if (r == 0 && cl.help) {
		umount_help();
		status = 0;
	} else if (r == 0 && cl.n_args == 0) {
		log_error("umount", "no mount point given");
	} else if (r == 0) {
		r = config_init(&c);
		if (r == 0)
			r = config_load(&c, &cl.items);
		if (r == 0)
			status = unmount(&c, cl.args[0]) < 0;
		else
			status = r == -EINVAL ? 2 : 1;
		config_done(&c);
	}
	buf_done(&cl.items);
	return status;
}
