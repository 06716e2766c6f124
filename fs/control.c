/* control.c - see control.h: the daemon's end. */
#include "fs/control.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "fs/rundir.h"
#include "backends/util/banned.h"

enum { TRIES_MAX = 20, TRY_MS = 50 };

struct control {
	/* set once */
	struct control_conf conf;
	int dir;      /* owned; where the socket is */
	dev_t device; /* of the socket's name, by which it is known again */
	ino_t inode;

	/* of the thread that takes the mount down */
	char name[RUNDIR_NAME_SIZE]; /* "": it has none any more */
};

static bool admits(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof peer;
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

static void answer(void *arg, const char *question, struct buf *ret)
{
	struct control *c = arg;
	buf_adds(ret, "ok ");
	if (c->conf.answer(c->conf.arg, question, ret) == 0)
		return;
	buf_reset(ret);
	buf_adds(ret, "no unknown question");
}

/* --- the name --- */

/* Whoever listens there answers at once, a dead one's name refuses. */
static bool is_dead(const struct sockaddr_un *address)
{
	CLEANUP_CLOSE int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd >= 0 &&
	       connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 &&
	       errno == ECONNREFUSED;
}

/* A socket of ours that nobody listens on. */
static bool remove_dead(int dir, const char *name, const struct sockaddr_un *address)
{
	struct stat st;
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISSOCK(st.st_mode) && st.st_uid == geteuid() && is_dead(address) &&
	       unlinkat(dir, name, 0) == 0;
}

static int bind_to(int fd, int dir, const char *name)
{
	struct sockaddr_un address;
	rundir_address(dir, name, &address);
	(void)remove_dead(dir, name, &address);
	return bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 ? -errno
									       : 0;
}

/* A daemon whose mount has just gone is about to make the name free. */
static int take_name(int dir, const char *from, const char *name)
{
	struct sockaddr_un address;
	rundir_address(dir, name, &address);
	for (int tries = 1;; tries++) {
		if (renameat2(dir, from, dir, name, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST || tries == TRIES_MAX)
			return errno == EEXIST ? -EADDRINUSE : -errno;
		if (!remove_dead(dir, name, &address))
			clock_sleep_ns(TRY_MS * NS_PER_MS);
	}
}

/* It has its name only when it listens: what refuses under such a name is dead. */
static int listen_on(int dir, const char *name, int *ret)
{
	char fresh[RUNDIR_NAME_SIZE];
	CLEANUP_CLOSE int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	rundir_new_name(getpid(), fresh);
	/* And it never has one that others may open. */
	if (fd < 0 || fchmod(fd, 0600) < 0)
		return -errno;
	int r = bind_to(fd, dir, fresh);
	if (r < 0)
		return r;
	r = listen(fd, SERVER_CLIENTS_MAX) < 0 ? -errno : take_name(dir, fresh, name);
	if (r < 0) {
		(void)unlinkat(dir, fresh, 0);
		return r;
	}
	*ret = fd;
	fd = -1;
	return 0;
}

static int match_name(void *arg, const struct mount_line *m)
{
	char name[RUNDIR_NAME_SIZE];
	rundir_name(&m->entry, name);
	return !strcmp(arg, name);
}

/* Is there a mount that is asked by this name, if only to say that its daemon is dead? */
static bool is_mounted(char *name)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	int r = f ? mountinfo_each(f, match_name, name) : 1;
	if (f)
		(void)fclose(f);
	return r;
}

/* Whoever was killed has left a name, which nobody may ever need again. */
static void sweep(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		cleanup_close_(&fd);
		return;
	}
	for (struct dirent *e; (e = readdir(d));) {
		struct sockaddr_un address;
		if (!rundir_is_name(e->d_name) || is_mounted(e->d_name))
			continue;
		rundir_address(dir, e->d_name, &address);
		(void)remove_dead(dir, e->d_name, &address);
	}
	(void)closedir(d);
}

static int listen_in(struct control *c, const char *path, int *ret)
{
	struct stat st;
	int fd;
	CLEANUP_CLOSE int dir = rundir_open(path, geteuid(), true);
	if (dir < 0)
		return dir;
	int r = listen_on(dir, c->name, &fd);
	if (r < 0)
		return r;
	if (fstatat(dir, c->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		r = -errno;
		(void)close(fd);
		return r;
	}
	c->device = st.st_dev;
	c->inode = st.st_ino;
	sweep(dir);
	c->dir = dir;
	dir = -1;
	*ret = fd;
	return 0;
}

/* In the first place that can be used: who asks looks in the same order.  Behind a name
 * that is taken nobody would be found. */
static int find_place(struct control *c, int *ret)
{
	int r = -ENOENT;
	CLEANUP_BUF struct buf path;
	buf_init(&path, PATH_MAX);
	for (unsigned n = 0;
	     r < 0 && r != -EADDRINUSE && rundir_path(geteuid(), n, &path); n++) {
		r = buf_error(&path) ? buf_error(&path) : listen_in(c, path.data, ret);
		buf_reset(&path);
	}
	return r;
}

int control_new(const struct control_conf *conf, struct control **ret,
		struct server_door *ret_door)
{
	struct control *c = calloc(1, sizeof *c);
	if (!c)
		return -ENOMEM;
	c->conf = *conf;
	c->dir = -1;
	rundir_name(&conf->mount, c->name);
	*ret_door = (struct server_door){
		.end = "\n", .admits = admits, .answer = answer, .arg = c};
	int r = find_place(c, &ret_door->fd);
	if (r < 0) {
		control_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

/* Somebody may have put another one in its place. */
static bool has_name(const struct control *c)
{
	struct stat st;
	return c->dir >= 0 && c->name[0] &&
	       fstatat(c->dir, c->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_dev == c->device && st.st_ino == c->inode;
}

static void drop_name(struct control *c)
{
	if (has_name(c))
		(void)unlinkat(c->dir, c->name, 0);
	c->name[0] = '\0';
}

void control_draining(struct control *c)
{
	char name[RUNDIR_NAME_SIZE];
	rundir_draining_name(getpid(), name);
	if (has_name(c) &&
	    renameat2(c->dir, c->name, c->dir, name, RENAME_NOREPLACE) == 0)
		(void)snprintf(c->name, sizeof c->name, "%s", name);
	else
		drop_name(c);
}

void control_free(struct control *c)
{
	if (!c)
		return;
	drop_name(c);
	cleanup_close_(&c->dir);
	free(c);
}
