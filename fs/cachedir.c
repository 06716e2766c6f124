/* cachedir.c - see cachedir.h. */
#include "fs/cachedir.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "backends/crypto.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/io.h"
#include "backends/util/log.h"
#include "cache/spare.h"
#include "fs/notify.h"
#include "backends/util/banned.h"

enum {
	ID_DIGITS = 16,
	HOLDER_MAX = 16384, /* bytes of the lock file */
	POLL_MS = 100,
	DYING_MS = 1000, /* far longer than the kernel takes for one process */
	GRACE_S = 5,	 /* beyond what a draining daemon has said */
	HOLDER_NAME_SIZE = 160,
};
#define SYSTEM_DIR "/var/cache/mastfs"

static int refuse(const char *path, const char *operation, const char *why, int r)
{
	log_error("mount", "cache directory %s: %s%s", path, operation, why);
	return r;
}

int cachedir_default(struct buf *ret)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	if (geteuid() == 0)
		buf_adds(ret, SYSTEM_DIR);
	else if (cache && cache[0] == '/')
		buf_addf(ret, "%s/mastfs", cache);
	else if (home && home[0] == '/')
		buf_addf(ret, "%s/.cache/mastfs", home);
	else
		return -ENOENT;
	return buf_error(ret);
}

/* mkdir -p, 0700 each. */
static int make_directories(const char *path)
{
	CLEANUP_FREE char *copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	for (char *p = copy + 1;; p++) {
		char c = *p;
		if (c != '/' && c)
			continue;
		*p = '\0';
		if (mkdir(copy, 0700) < 0 && errno != EEXIST)
			return -errno;
		*p = c;
		if (!c)
			return 0;
	}
}

/* A directory that others may write to lets them swap what lies in it, unless it
 * is sticky. */
static bool parent_is_safe(const char *path)
{
	CLEANUP_BUF struct buf parent;
	buf_init(&parent, PATH_MAX);
	buf_addf(&parent, "%s/..", path);
	struct stat st;
	return !buf_error(&parent) && stat(parent.data, &st) == 0 &&
	       (!(st.st_mode & 0022) || (st.st_mode & S_ISVTX));
}

int cachedir_check(const char *path)
{
	CLEANUP_CLOSE int fd =
		open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && (errno == ENOTDIR || errno == ELOOP)) {
		struct stat link;
		bool is_link = lstat(path, &link) == 0 && S_ISLNK(link.st_mode);
		return refuse(path, "", is_link ? "a symbolic link" : "not a directory",
			      -ENOTDIR);
	}
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return refuse(path, "open: ", strerror(errno), -errno);
	if (st.st_uid != geteuid())
		return refuse(path, "", "belongs to another user", -EPERM);
	if (st.st_mode & 0022)
		return refuse(path, "", "others may write to it; chmod 700 it", -EPERM);
	if (!parent_is_safe(path))
		return refuse(path, "", "others may write to the directory it is in",
			      -EPERM);
	return 0;
}

/* Append path with the links of its directories resolved: those that are not
 * there yet are taken as they are written.  The last part is not followed, so that
 * a link in its place is seen. */
static int resolve_planned(const char *path, struct buf *ret)
{
	CLEANUP_FREE char *head = strdup(path);
	if (!head)
		return -ENOMEM;
	for (;;) {
		char *slash = strrchr(head, '/');
		size_t cut = slash ? (size_t)(slash - head) : 0;
		if (slash)
			*slash = '\0';
		CLEANUP_FREE char *real = realpath(!slash  ? "."
						   : *head ? head
							   : "/",
						   NULL);
		if (real) {
			buf_addf(ret, "%s/%s", strcmp(real, "/") ? real : "",
				 slash ? path + cut + 1 : path);
			return buf_error(ret);
		}
		if (errno != ENOENT)
			return -errno;
	}
}

int cachedir_plan(const struct config *c, struct buf *ret)
{
	CLEANUP_BUF struct buf path;
	buf_init(&path, PATH_MAX);
	if (c->cache_dir)
		buf_adds(&path, c->cache_dir);
	else if (cachedir_default(&path) < 0)
		return refuse("~/.cache/mastfs", "",
			      "HOME is not set; give -o cache_dir=", -ENOENT);
	while (path.len > 1 && path.data[path.len - 1] == '/')
		path.data[--path.len] = '\0';
	if (path.len < 2 || buf_error(&path))
		return refuse(path.data, "", "cannot be this", -EINVAL);
	int r = resolve_planned(path.data, ret);
	return r < 0 ? refuse(path.data, "find: ", strerror(-r), r) : 0;
}

int cachedir_open(const char *path, struct cachedir *ret)
{
	*ret = (struct cachedir){.lock = -1};
	/* A dangling link: mkdir says EEXIST for the last part, ENOENT below. */
	int r = make_directories(path);
	if (r < 0)
		return refuse(path, "make: ", strerror(-r), r);
	r = cachedir_check(path);
	if (r < 0)
		return r;
	ret->path = realpath(path, NULL);
	return ret->path ? 0 : refuse(path, "", strerror(errno), -errno);
}

/* Who reads meanwhile finds a whole first line: what is behind it is cut off last. */
static int write_line(int fd, const char *line)
{
	size_t len = strlen(line);
	ssize_t n = pwrite(fd, line, len, 0);
	if (n >= 0 && (size_t)n != len)
		return -ENOSPC;
	return n < 0 || ftruncate(fd, (off_t)len) < 0 ? -errno : 0;
}

static const char *const state_names[] = {"serving", "draining", "ended"};

/* Which pid namespace ours is; 0: not known. */
static uint64_t own_pid_namespace(void)
{
	struct stat st;
	return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

/* Without blanks, and not empty. */
static void host_name(char ret[static CACHEDIR_HOST_SIZE])
{
	if (gethostname(ret, CACHEDIR_HOST_SIZE) < 0)
		*ret = '\0';
	ret[CACHEDIR_HOST_SIZE - 1] = '\0';
	for (char *c = ret; *c; c++)
		if (*c <= ' ' || *c > '~')
			*c = '?';
	if (!*ret)
		(void)snprintf(ret, CACHEDIR_HOST_SIZE, "?");
}

static int tell(const struct cachedir *d, enum cachedir_state state, uint64_t number,
		const char *names)
{
	CLEANUP_BUF struct buf line;
	buf_init(&line, HOLDER_MAX);
	char host[CACHEDIR_HOST_SIZE];
	host_name(host);
	buf_addf(&line, "%s %d %llu %llu %s\n%s", state_names[state], (int)getpid(),
		 (unsigned long long)number, (unsigned long long)own_pid_namespace(),
		 host, names);
	return buf_error(&line) ? buf_error(&line) : write_line(d->lock, line.data);
}

/* Only for people and for the next mount: that it cannot be written changes
 * nothing, the lock is the flock. */
void cachedir_tell(const struct cachedir *d, enum cachedir_state state, uint64_t number)
{
	(void)tell(d, state, number, "");
}

void cachedir_tell_left(const struct cachedir *d, uint64_t left, const char *names)
{
	(void)tell(d, CACHEDIR_ENDED, left, names);
}

void cachedir_log_left(const char *area, const char *names)
{
	while (*names) {
		size_t n = strcspn(names, "\n");
		log_warn(area, "  not uploaded yet: %.*s", (int)n, names);
		names += n + (names[n] == '\n');
	}
}

static int open_holder(const char *path)
{
	CLEANUP_BUF struct buf name;
	buf_init(&name, PATH_MAX);
	buf_addf(&name, "%s/lock", path);
	if (buf_error(&name))
		return -ENAMETOOLONG;
	int fd = open(name.data, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

void cachedir_names_left(const char *path, struct buf *ret)
{
	CLEANUP_CLOSE int fd = open_holder(path);
	CLEANUP_FREE char *text = calloc(1, HOLDER_MAX + 1);
	if (fd < 0 || !text || pread(fd, text, HOLDER_MAX, 0) <= 0)
		return;
	const char *names = strchr(text, '\n');
	if (names)
		buf_adds(ret, names + 1);
}

int cachedir_holder(const char *path, struct cachedir_holder *ret)
{
	CLEANUP_CLOSE int fd = open_holder(path);
	if (fd < 0)
		return fd;
	char line[256], word[16], host[CACHEDIR_HOST_SIZE] = "";
	ssize_t n = pread(fd, line, sizeof line - 1, 0);
	if (n < 0)
		return -errno;
	line[n] = '\0';
	unsigned long long number, space = 0;
	struct cachedir_holder h = {0};
	/* Earlier versions told no more than three. */
	if (sscanf(line, "%15s %d %llu %llu %64s", word, &h.pid, &number, &space, host) <
	    3)
		return -EBADMSG;
	h.number = number;
	h.elsewhere = space && space != own_pid_namespace();
	memcpy(h.host, host, sizeof h.host);
	for (int i = CACHEDIR_SERVING; i <= CACHEDIR_ENDED; i++) {
		if (!strcmp(word, state_names[i])) {
			h.state = (enum cachedir_state)i;
			*ret = h;
			return 0;
		}
	}
	return -EBADMSG;
}

/* A number of another pid namespace is nobody here, or somebody else. */
static const char *name_holder(const struct cachedir_holder *h,
			       char ret[static HOLDER_NAME_SIZE])
{
	(void)snprintf(ret, HOLDER_NAME_SIZE, "pid %d%s%s", h->pid,
		       h->elsewhere ? " in another container, host " : "",
		       h->elsewhere ? h->host : "");
	return ret;
}

static int refuse_held(const struct cachedir *d)
{
	struct cachedir_holder h;
	char name[HOLDER_NAME_SIZE];
	if (cachedir_holder(d->path, &h) < 0)
		return refuse(d->path, "", "another mastfs uses it", -EBUSY);
	log_error("mount", "cache directory %s: another mastfs uses it (%s, %s)", d->path,
		  name_holder(&h, name), state_names[h.state]);
	return -EBUSY;
}

/* Has the holder a moment before it must be taken for one that serves?  One that
 * was killed keeps its lock until the kernel has taken it apart, and one that starts has
 * the lock before it has written a line. */
static bool has_a_moment(bool known, const struct cachedir_holder *h, uint64_t waited_ns)
{
	return (!known || h->state == CACHEDIR_SERVING) &&
	       waited_ns < DYING_MS * NS_PER_MS;
}

static void tell_wait(const struct cachedir *d, const struct cachedir_holder *h)
{
	char name[HOLDER_NAME_SIZE];
	log_info("mount",
		 "cache directory %s: waiting for %s, which finishes its uploads",
		 d->path, name_holder(h, name));
	notify_extend(h->number);
}

/* Does it let go of the lock by itself, from *since on for as long as it has said?  One
 * that has ended only has to end: its number is what is left, and no time. */
static bool ends_by_itself(struct cachedir_holder *h, uint64_t *since, bool *ended)
{
	if (h->state == CACHEDIR_ENDED) {
		*since = *ended ? *since : clock_now_ns();
		*ended = true;
		h->number = 0;
	}
	return h->state != CACHEDIR_SERVING &&
	       (clock_now_ns() - *since) / NS_PER_S <= clock_add(h->number, GRACE_S);
}

/* A daemon that drains is waited for. */
static int wait_for_lock(struct cachedir *d)
{
	uint64_t start = clock_now_ns(), since = start;
	bool told = false, ended = false;
	while (flock(d->lock, LOCK_EX | LOCK_NB) < 0) {
		struct cachedir_holder h = {0};
		if (errno != EWOULDBLOCK && errno != EINTR)
			return refuse(d->path, "lock: ", strerror(errno), -errno);
		bool known = cachedir_holder(d->path, &h) >= 0;
		bool moment = has_a_moment(known, &h, clock_now_ns() - start);
		bool ends = known && ends_by_itself(&h, &since, &ended);
		if (!moment && !ends)
			return refuse_held(d);
		if (!told && !moment)
			tell_wait(d, &h);
		told |= !moment;
		clock_sleep_ns(POLL_MS * NS_PER_MS);
	}
	return 0;
}

int cachedir_lock(struct cachedir *d)
{
	CLEANUP_BUF struct buf name;
	buf_init(&name, PATH_MAX);
	buf_addf(&name, "%s/lock", d->path);
	d->lock = open(name.data, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->lock < 0)
		return refuse(d->path, "lock: ", strerror(errno), -errno);
	int r = wait_for_lock(d);
	if (r < 0)
		return r;
	r = tell(d, CACHEDIR_SERVING, 0, "");
	return r < 0 ? refuse(d->path, "write: ", strerror(-r), r) : 0;
}

/* A file of the size that the databases start with: a full disk is said here,
 * in one line, and not by SQLite. */
static int check_room(const char *dir)
{
	CLEANUP_CLOSE int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EOPNOTSUPP)
		return 0;
	if (fd < 0)
		return -errno;
	return -posix_fallocate(fd, 0, (off_t)SPARE_START_BYTES);
}

static int write_identity(const char *dir, const char *identity)
{
	CLEANUP_BUF struct buf name, line;
	buf_init(&name, PATH_MAX);
	buf_init(&line, 65536);
	buf_addf(&name, "%s/source", dir);
	buf_addf(&line, "%s\n", identity);
	if (buf_error(&name) || buf_error(&line))
		return -ENAMETOOLONG;
	CLEANUP_CLOSE int fd =
		open(name.data, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : write_line(fd, line.data);
}

int cachedir_enter(struct cachedir *d, const char *identity)
{
	uint8_t sha[SHA256_BYTES];
	char hex[SHA256_HEX_SIZE];
	int r = crypto_sha256(identity, strlen(identity), sha);
	if (r < 0)
		return refuse(d->path, "SHA-256: ", strerror(-r), r);
	hex_encode(sha, sizeof sha, hex);
	CLEANUP_BUF struct buf sub;
	buf_init(&sub, PATH_MAX);
	buf_addf(&sub, "%s/%.*s", d->path, ID_DIGITS, hex);
	r = mkdir(sub.data, 0700) < 0 ? -errno : io_sync_directory(d->path);
	if (r < 0 && r != -EEXIST)
		return refuse(d->path, "make a directory: ", strerror(-r), r);
	r = cachedir_check(sub.data);
	if (r < 0)
		return r;
	r = check_room(sub.data);
	/* What the last mounts left here may be all that fills the disk (P3). */
	if (r == -ENOSPC && spare_give(sub.data, UINT64_MAX, 0))
		r = check_room(sub.data);
	if (r == 0)
		r = write_identity(sub.data, identity);
	if (r < 0)
		return refuse(d->path, "write: ", strerror(-r), r);
	d->source = buf_detach(&sub);
	return d->source ? 0 : -ENOMEM;
}

bool cachedir_on_overlay(const struct cachedir *d)
{
	struct statfs sf;
	return statfs(d->source, &sf) == 0 && sf.f_type == OVERLAYFS_SUPER_MAGIC;
}

void cachedir_done(struct cachedir *d)
{
	if (d->lock >= 0)
		(void)close(d->lock);
	d->lock = -1;
	free(STEAL(d->path));
	free(STEAL(d->source));
}
