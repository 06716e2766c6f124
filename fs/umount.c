/* umount.c - the verb umount: unmount, then wait until the daemon has uploaded.
 *
 * umount(8) and fusermount3 -u work as well, but return at once.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
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
	NAMES_MAX = 16384,
	USERS_MAX = 5, /* named when the mount is busy */
	LOOK_MS = 1000,
	GRACE_MS = 10000, /* beyond the drain time */
	GLANCES = 10,
	GLANCE_MS = 100,
};

void umount_help(void)
{
	(void)fputs(
		"usage: mastfs umount [-d] [-l] [-o OPTION[,...]] MOUNTPOINT\n"
		"\n"
		"Unmounts, and waits until the daemon has uploaded what was written, "
		"for\n"
		"the option drain at most.  What is left then the next mount uploads.\n"
		"A mount whose daemon is dead is detached.\n"
		"\n"
		"  -d   only detach the mount of a dead daemon; that there is none is "
		"no error\n"
		"  -l   detach it now, though it is in use or does not answer, and wait "
		"for\n"
		"       nothing: the daemon ends when the last file is closed\n",
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

static void write_users(int out, const char *mountpoint)
{
	DIR *proc = opendir("/proc");
	int n = 0;
	for (const struct dirent *e; proc && n < USERS_MAX && (e = readdir(proc));) {
		if (e->d_name[0] < '0' || e->d_name[0] > '9' ||
		    atoi(e->d_name) == getpid() || !process_uses(e->d_name, mountpoint))
			continue;
		(void)dprintf(out, "%s%s", n ? ", " : "; used by pid ", e->d_name);
		n++;
	}
	if (proc)
		(void)closedir(proc);
}

/* Until it is closed at the other end, for LOOK_MS at most. */
static bool read_users(int in, struct buf *ret)
{
	uint64_t end = clock_now_ns() + LOOK_MS * NS_PER_MS;
	for (uint64_t now; (now = clock_now_ns()) < end;) {
		struct pollfd p = {.fd = in, .events = POLLIN};
		char text[WHY_MAX];
		if (poll(&p, 1, (int)((end - now) / NS_PER_MS) + 1) <= 0)
			continue;
		ssize_t n = read(in, text, sizeof text);
		if (n <= 0)
			return true;
		buf_add(ret, text, (size_t)n);
	}
	return false;
}

/* Did it find any, and name them?  By a child, because the kernel lets nobody read the
 * links of a process in execve, which may wait there for a mount that does not answer. */
static bool add_users(struct buf *why, const char *mountpoint)
{
	size_t before = why->len;
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return false;
	CLEANUP_CLOSE int in = fds[0];
	pid_t pid = fork();
	if (pid == 0) {
		write_users(fds[1], mountpoint);
		_exit(0);
	}
	(void)close(fds[1]);
	if (pid > 0 && read_users(in, why))
		(void)waitpid(pid, NULL, 0);
	else if (pid > 0)
		(void)kill(pid, SIGKILL); /* and not waited for */
	return why->len > before;
}

/* Who only glances at it, as df does at all mounts, makes it busy for a moment and is no
 * longer to be found. */
static int detach(const char *mountpoint, bool lazily)
{
	CLEANUP_BUF struct buf why;
	buf_init(&why, WHY_MAX);
	int r = mountpoint_unmount(mountpoint, lazily, &why);
	for (int n = 0; r == -EBUSY && !add_users(&why, mountpoint) && n < GLANCES; n++) {
		clock_sleep_ns(GLANCE_MS * NS_PER_MS);
		buf_reset(&why);
		r = mountpoint_unmount(mountpoint, lazily, &why);
	}
	if (r < 0)
		log_error("umount", "%s: %s", mountpoint,
			  why.len ? why.data : strerror(-r));
	return r;
}

static int detach_dead(const char *mountpoint)
{
	int r = detach(mountpoint, true);
	if (r == 0)
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

static bool ends_within(int fd, uint64_t ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	return poll(&p, 1, ms > INT_MAX ? INT_MAX : (int)ms) > 0;
}

/* How long it drains only the daemon knows: it was told when it was mounted. */
static uint64_t drain_ms(const struct config *c, int pid, const char *cache_dir)
{
	struct cachedir_holder h;
	if (cachedir_holder(cache_dir, &h) < 0 || h.pid != pid ||
	    h.state != CACHEDIR_DRAINING || h.number > UINT64_MAX / 1000)
		return c->drain_ns / NS_PER_MS;
	return h.number * 1000;
}

/* It was told nothing of an unmount: whoever made a mount namespace of his own meanwhile
 * has the mount, too. */
static bool still_serves(int pid, const char *cache_dir)
{
	struct cachedir_holder h;
	return cachedir_holder(cache_dir, &h) == 0 && h.pid == pid &&
	       h.state == CACHEDIR_SERVING;
}

static int tell_left(uint64_t left, const char *cache_dir)
{
	CLEANUP_BUF struct buf names;
	buf_init(&names, NAMES_MAX);
	log_error("umount",
		  "%llu changes are not in the bucket yet; the next mount of the same "
		  "source with cache directory %s goes on",
		  (unsigned long long)left, cache_dir);
	cachedir_names_left(cache_dir, &names);
	cachedir_log_left("umount", names.data);
	return -EAGAIN;
}

/* One that did not say that it ends was killed: how much is left nobody has counted. */
static int look_at_end(int pid, const char *cache_dir)
{
	struct cachedir_holder h;
	if (cachedir_holder(cache_dir, &h) < 0 || h.pid != pid)
		return 0;
	if (h.state == CACHEDIR_ENDED)
		return h.number ? tell_left(h.number, cache_dir) : 0;
	log_error("umount",
		  "pid %d died; what is not in the bucket yet the next mount of the same "
		  "source with cache directory %s uploads",
		  pid, cache_dir);
	return -EAGAIN;
}

static int wait_for_daemon(const struct config *c, int fd, int pid, const char *cache_dir)
{
	/* The moment of grace comes first: then it drains, and has said for how long. */
	if (!ends_within(fd, GRACE_MS) && !ends_within(fd, drain_ms(c, pid, cache_dir))) {
		log_error("umount",
			  still_serves(pid, cache_dir)
				  ? "pid %d goes on: a container or another mount "
				    "namespace has the mount as well; it ends with the "
				    "last of them, or by SIGTERM"
				  : "pid %d still uploads; it goes on by itself",
			  pid);
		return -ETIMEDOUT;
	}
	return look_at_end(pid, cache_dir);
}

static int unmount_live(const struct config *c, const char *mountpoint)
{
	int pid = 0;
	CLEANUP_BUF struct buf cache_dir;
	buf_init(&cache_dir, PATH_MAX);
	find_cache_dir(mountpoint, &cache_dir);
	CLEANUP_CLOSE int fd = open_daemon(mountpoint, &pid);
	int r = detach(mountpoint, false);
	if (r == 0 && fd < 0)
		log_info("umount",
			 "%s: its daemon cannot be seen from here: it finishes its "
			 "uploads "
			 "by itself",
			 mountpoint);
	if (r < 0 || fd < 0)
		return r;
	return wait_for_daemon(c, fd, pid, cache_dir.data);
}

static int unmount(const struct config *c, const struct command_line *cl)
{
	CLEANUP_FREE char *mountpoint = NULL;
	const char *path = cl->args[0];
	struct mount_entry e;
	int r = mountpoint_resolve(path, &mountpoint, &e);
	bool found = r == 0 && !strcmp(e.type, MASTFS_TYPE);
	if (!found && cl->dead && (r >= 0 || r == -ENOENT))
		return 0;
	if (!found) {
		log_error("umount", "%s: %s%s", path,
			  r < 0	   ? strerror(-r)
			  : r == 1 ? "nothing is mounted there"
				   : "not a mastfs, but ",
			  r == 0 ? e.type : "");
		return -EINVAL;
	}
	if (cl->lazy && !cl->dead)
		return detach(mountpoint, true);
	r = mountpoint_probe(mountpoint);
	if (r == -ENOTCONN || r == -ECONNABORTED)
		return detach_dead(mountpoint);
	if (r == -ETIMEDOUT) {
		log_error("umount",
			  "%s: does not answer; 'mastfs umount -l %s' detaches it",
			  mountpoint, mountpoint);
		return r;
	}
	if (cl->dead)
		return 0;
	return unmount_live(c, mountpoint);
}

/* -o is the caller's mistake.  What is wrong in a file or the environment, maybe since
 * the mount was made, is told; nobody's mount stays for it. */
static int load(struct config *c, const struct command_line *cl)
{
	int r = config_init(c);
	if (r == 0)
		r = config_load_items(c, &cl->items);
	/* What is wrong there has been said by the mount that died of it. */
	if (r < 0 || cl->dead || cl->lazy || config_load(c, &cl->items) == 0)
		return r;
	log_warn("umount", "goes on with the defaults");
	config_done(c);
	r = config_init(c);
	return r == 0 ? config_load_items(c, &cl->items) : r;
}

int umount_verb(int argc, char **argv)
{
	struct command_line cl;
	struct config c;
	const struct command_syntax syntax = {.letters = ":o:dlh", .args_max = 1};
	int r = command_line_parse(argc, argv, &syntax, &cl);
	int status = 2;
	if (r == 0 && cl.help) {
		umount_help();
		status = 0;
	} else if (r == 0 && cl.n_args == 0) {
		log_error("umount", "no mount point given");
	} else if (r == 0) {
		r = load(&c, &cl);
		if (r == 0)
			status = unmount(&c, &cl) < 0;
		else
			status = r == -EINVAL ? 2 : 1;
		config_done(&c);
	}
	buf_done(&cl.items);
	return status;
}
