/* control_ask.c - see control.h: the end of who asks. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "fs/control.h"
#include "fs/rundir.h"
#include "backends/util/banned.h"

enum { ASK_MS = 3000 }; /* a daemon that is well answers within 50 */

static int wait_for(int fd, short events, uint64_t deadline_ns)
{
	uint64_t now = clock_now_ns();
	if (now >= deadline_ns)
		return -ETIMEDOUT;
	struct pollfd p = {.fd = fd, .events = events};
	int n = poll(&p, 1, (int)((deadline_ns - now) / NS_PER_MS) + 1);
	return n > 0 || (n < 0 && errno == EINTR) ? 0 : n == 0 ? -ETIMEDOUT : -errno;
}

/* Up to the end. */
static int receive(int fd, struct buf *ret, uint64_t deadline_ns)
{
	char piece[4096];
	for (;;) {
		int r = wait_for(fd, POLLIN, deadline_ns);
		if (r < 0)
			return r;
		ssize_t n = recv(fd, piece, sizeof piece, MSG_DONTWAIT);
		if (n == 0)
			return buf_error(ret) ? -EPROTO : 0;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n > 0)
			buf_add(ret, piece, (size_t)n);
	}
}

/* Is it the one whose mount it is?  Root may be asked by everybody. */
static bool is_trusted(int fd, uint32_t uid)
{
	struct ucred peer;
	socklen_t len = sizeof peer;
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == uid || peer.uid == 0);
}

static int connect_to(int dir, const char *name, uint32_t uid, uint64_t deadline_ns)
{
	struct sockaddr_un address;
	rundir_address(dir, name, &address);
	CLEANUP_CLOSE int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* A queue that is full: nothing is said when there is room, so look again. */
	while (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
		if (errno != EAGAIN)
			return -errno;
		if (clock_now_ns() >= deadline_ns)
			return -ETIMEDOUT;
		clock_sleep_ns(10 * NS_PER_MS);
	}
	if (!is_trusted(fd, uid))
		return -EPERM;
	int ret = fd;
	fd = -1;
	return ret;
}

static int take_answer(struct buf *raw, struct buf *ret)
{
	if (!strncmp(raw->data, "no ", 3))
		return -EOPNOTSUPP;
	if (strncmp(raw->data, "ok ", 3) != 0)
		return -EPROTO;
	buf_adds(ret, raw->data + 3);
	return buf_error(ret);
}

static int ask_socket(int dir, const char *name, uint32_t uid, const char *question,
		      struct buf *ret)
{
	uint64_t deadline_ns = clock_add(clock_now_ns(), ASK_MS * NS_PER_MS);
	CLEANUP_BUF struct buf line, raw;
	buf_init(&line, SERVER_QUESTION_MAX);
	buf_init(&raw, SERVER_ANSWER_MAX);
	buf_addf(&line, "%s\n", question);
	if (buf_error(&line))
		return buf_error(&line);
	CLEANUP_CLOSE int fd = connect_to(dir, name, uid, deadline_ns);
	if (fd < 0)
		return fd;
	/* It fits into the socket's buffer. */
	if (send(fd, line.data, line.len, MSG_NOSIGNAL) != (ssize_t)line.len)
		return -EPIPE;
	int r = receive(fd, &raw, deadline_ns);
	return r < 0 ? r : take_answer(&raw, ret);
}

int control_ask(const struct mount_entry *mount, uint32_t uid, const char *question,
		struct buf *ret)
{
	char name[RUNDIR_NAME_SIZE];
	rundir_name(mount, name);
	int r = -ENOENT;
	CLEANUP_BUF struct buf path;
	buf_init(&path, PATH_MAX);
	/* A place that is there without the socket is passed by. */
	for (unsigned n = 0; r == -ENOENT && rundir_path(uid, n, &path); n++) {
		CLEANUP_CLOSE int dir = rundir_open(path.data, uid, false);
		r = dir < 0 ? dir : ask_socket(dir, name, uid, question, ret);
		buf_reset(&path);
	}
	return r;
}

typedef void found_fn(void *arg, const char *name, int r, struct buf *answer);

static void ask_each(int dir_fd, const char *question, found_fn *fn, void *arg)
{
	DIR *d = fdopendir(dir_fd);
	if (!d) {
		(void)close(dir_fd);
		return;
	}
	for (const struct dirent *e; (e = readdir(d));) {
		CLEANUP_BUF struct buf text;
		buf_init(&text, SERVER_ANSWER_MAX);
		if (!rundir_is_name(e->d_name))
			continue;
		int r = ask_socket(dirfd(d), e->d_name, geteuid(), question, &text);
		fn(arg, e->d_name, r, &text);
	}
	(void)closedir(d);
}

void control_ask_all(const char *question, found_fn *fn, void *arg)
{
	CLEANUP_BUF struct buf path;
	buf_init(&path, PATH_MAX);
	for (unsigned n = 0; rundir_path(geteuid(), n, &path); n++) {
		int dir = rundir_open(path.data, geteuid(), false);
		if (dir >= 0)
			ask_each(dir, question, fn, arg);
		buf_reset(&path);
	}
}
