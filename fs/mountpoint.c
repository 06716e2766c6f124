/* mountpoint.c - see mountpoint.h. */
#include "fs/mountpoint.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum {
	PROBE_MS = 5000,
	LINKS_MAX = 40, /* symbolic links in a row, as the kernel */
	STALE_MAX = 16, /* dead mounts over one another */
	WHY_MAX = 1024,
};

extern char **environ;

bool path_within(const char *path, const char *dir)
{
	size_t n = strlen(dir);
	while (n && dir[n - 1] == '/')
		n--;
	return !strncmp(path, dir, n) && (path[n] == '/' || !path[n]);
}

/* The resolved parent and the unresolved last part: the last part is where a
 * dead mount may be, and realpath(3) would fall into it. */
static int resolve_parent(const char *path, struct buf *ret)
{
	CLEANUP_FREE char *copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	size_t n = strlen(copy);
	while (n > 1 && copy[n - 1] == '/')
		copy[--n] = '\0';
	char *slash = strrchr(copy, '/');
	const char *name = slash ? slash + 1 : copy;
	if (!*name || !strcmp(name, ".") || !strcmp(name, "..")) {
		CLEANUP_FREE char *all = realpath(path, NULL);
		if (!all)
			return -errno;
		buf_adds(ret, all);
		return buf_error(ret);
	}
	if (slash)
		*slash = '\0';
	CLEANUP_FREE char *parent = realpath(!slash ? "." : *copy ? copy : "/", NULL);
	if (!parent)
		return -errno;
	buf_addf(ret, "%s/%s", strcmp(parent, "/") ? parent : "", name);
	return buf_error(ret);
}

/* The target of the link at b, as a path of its own.  1: b is no link. */
static int follow(struct buf *b)
{
	char target[PATH_MAX];
	ssize_t n = readlink(b->data, target, sizeof target);
	if (n < 0)
		return errno == EINVAL ? 1 : -errno;
	if (n == (ssize_t)sizeof target)
		return -ENAMETOOLONG;
	if (target[0] == '/') {
		buf_reset(b);
	} else {
		b->len = (size_t)(strrchr(b->data, '/') + 1 - b->data);
		b->data[b->len] = '\0';
	}
	buf_add(b, target, (size_t)n);
	return buf_error(b);
}

int mountpoint_resolve(const char *path, char **ret_path, struct mount_entry *ret)
{
	CLEANUP_BUF struct buf given, here;
	buf_init(&given, PATH_MAX);
	buf_init(&here, PATH_MAX);
	buf_adds(&given, path);
	int mounted = -ENOENT;
	for (int i = 0; i < LINKS_MAX; i++) {
		buf_reset(&here);
		int r = resolve_parent(given.data, &here);
		if (r < 0)
			return r;
		mounted = mountinfo_find(here.data, ret);
		if (mounted != -ENOENT)
			break;
		buf_reset(&given);
		buf_add(&given, here.data, here.len);
		r = follow(&given);
		if (r < 0)
			return r;
		if (r == 1) {
			mounted = 1;
			break;
		}
	}
	if (mounted < 0)
		return mounted == -ENOENT ? -ELOOP : mounted;
	*ret_path = buf_detach(&here);
	return *ret_path ? mounted : -ENOMEM;
}

int mountpoint_probe(const char *path)
{
	pid_t pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		/* Unlike stat(2), never answered from what the kernel remembers. */
		struct statvfs v;
		_exit(statvfs(path, &v) < 0 ? errno & 0xff : 0);
	}
	CLEANUP_CLOSE int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int status;
	if (fd >= 0 && poll(&p, 1, PROBE_MS) == 0) {
		/* It may stay in the kernel for ever: not waited for. */
		(void)kill(pid, SIGKILL);
		return -ETIMEDOUT;
	}
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

/* First line of what it said. */
static void read_reason(int fd, struct buf *why)
{
	char text[WHY_MAX];
	ssize_t n = read(fd, text, sizeof text - 1);
	if (n <= 0)
		return;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	buf_adds(why, text);
}

static int run_fusermount(const char *path, bool lazily, struct buf *why)
{
	char program[] = "fusermount3", unmount[] = "-u", lazy[] = "-z", end[] = "--";
	CLEANUP_FREE char *copy = strdup(path);
	int pipe_fds[2];
	if (!copy)
		return -ENOMEM;
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	CLEANUP_CLOSE int in = pipe_fds[0];
	char *argv[] = {program, unmount, end, copy, NULL, NULL};
	if (lazily) {
		argv[2] = lazy;
		argv[3] = end;
		argv[4] = copy;
	}
	posix_spawn_file_actions_t actions;
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDERR_FILENO);
	pid_t pid;
	int error = posix_spawnp(&pid, program, &actions, NULL, argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(pipe_fds[1]);
	if (error) {
		buf_addf(why, "fusermount3: %s", strerror(error));
		return -error;
	}
	read_reason(in, why);
	int status;
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return strstr(why->data, strerror(EBUSY)) ? -EBUSY : -EPERM;
}

int mountpoint_unmount(const char *path, bool lazily, struct buf *why)
{
	if (umount2(path, UMOUNT_NOFOLLOW | (lazily ? MNT_DETACH : 0)) == 0)
		return 0;
	if (errno == EPERM)
		return run_fusermount(path, lazily, why);
	int r = -errno;
	buf_adds(why, strerror(-r));
	return r;
}

static int detach_stale(const char *path)
{
	CLEANUP_BUF struct buf why;
	buf_init(&why, WHY_MAX);
	int r = mountpoint_unmount(path, true, &why);
	if (r < 0)
		log_error("mount", "mount point %s: detach the stale mount: %s", path,
			  why.data);
	else
		log_info("mount", "mount point %s: detached the mount of a dead daemon",
			 path);
	return r;
}

/* Something is mounted at path.  0: no longer; 1: it may stay. */
static int check_mounted(const char *path, const struct mount_entry *e, bool nonempty)
{
	if (strcmp(e->type, MASTFS_TYPE) != 0) {
		/* A container's volume is a mount as well. */
		if (nonempty && strncmp(e->type, "fuse", 4) != 0)
			return 1;
		log_error("mount", "mount point %s: something is mounted there (%s)",
			  path, e->type);
		return -EBUSY;
	}
	int r = mountpoint_probe(path);
	if (r == -ENOTCONN || r == -ECONNABORTED)
		return detach_stale(path);
	log_error("mount", "mount point %s: a mastfs is mounted there%s", path,
		  r == -ETIMEDOUT ? ", and does not answer" : "");
	return -EBUSY;
}

static int check_empty(const char *path)
{
	DIR *d = opendir(path);
	if (!d)
		return -errno;
	const struct dirent *e;
	int n = 0;
	while (n <= 2 && (e = readdir(d)))
		n++;
	(void)closedir(d);
	return n > 2 ? -ENOTEMPTY : 0;
}

int mountpoint_check(const char *path, bool nonempty)
{
	struct stat st;
	const char *why = NULL;
	int r = 0;
	if (stat(path, &st) < 0) {
		r = -errno;
		why = strerror(-r);
	} else if (!S_ISDIR(st.st_mode)) {
		r = -ENOTDIR;
		why = strerror(ENOTDIR);
	} else if (geteuid() != 0 && access(path, W_OK) < 0) {
		r = -EACCES;
		why = "you may not write to it, so you may not mount on it";
	} else if (!nonempty && (r = check_empty(path)) < 0) {
		why = r == -ENOTEMPTY ? "not empty; -o nonempty mounts over what is there"
				      : strerror(-r);
	}
	if (why)
		log_error("mount", "mount point %s: %s", path, why);
	return r;
}

int mountpoint_prepare(const char *path, bool nonempty, char **ret_path)
{
	CLEANUP_FREE char *real = NULL;
	for (int i = 0; i < STALE_MAX; i++) {
		struct mount_entry e = {0};
		free(STEAL(real));
		int r = mountpoint_resolve(path, &real, &e);
		if (r < 0) {
			log_error("mount", "mount point %s: %s", path, strerror(-r));
			return r;
		}
		/* An automounter's, which waits for this very mount: whoever looked
		 * into it would wait as well. */
		bool awaited = r == 0 && !strcmp(e.type, "autofs");
		nonempty |= awaited;
		int kept = r == 1 || awaited ? 1 : check_mounted(real, &e, nonempty);
		if (kept < 0)
			return kept;
		if (kept == 1)
			break;
	}
	int r = mountpoint_check(real, nonempty);
	if (r == 0)
		*ret_path = STEAL(real);
	return r;
}
