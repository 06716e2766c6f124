/* store.c - see store.h.
 *
 * Descriptors are kept in a table by name.  A struct file that is used has refs;
 * one that is not stays in the table, in the order of its last use, until the
 * limit asks for it.  A file that was removed or replaced leaves the table at
 * once and is closed with its last reference.
 */
#include "cache/store.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "cache/lease.h"
#include "backends/util/banned.h"

enum { BUCKETS = 256, PATH_SIZE = 3 + 2 * STORE_NAME_BYTES + 1 };

struct file {
	/* set once */
	struct store_id id;
	int fd; /* owned */

	/* guarded by store.lock */
	struct file *next;	    /* in its bucket */
	struct file *older, *newer; /* among those that are not used */
	uint32_t refs;
	bool listed; /* in the table */
};

struct store {
	/* set once */
	int dir_fd; /* owned; dir/blocks */
	uint32_t fds_max;
	bool sees_users; /* see lease.h */

	/* guarded by lock */
	pthread_mutex_t lock;
	struct file *table[BUCKETS];
	struct file *oldest, *newest; /* not used now */
	uint32_t n_files;

	/* atomic */
	_Atomic uint64_t quiet_until_ns; /* no log line before */
};

static int say(struct store *st, int r, const char *what)
{
	uint64_t now = clock_now_ns();
	uint64_t until = atomic_load(&st->quiet_until_ns);
	if (now >= until && atomic_compare_exchange_strong(&st->quiet_until_ns, &until,
							   now + 10 * NS_PER_S))
		log_warn("cache", "%s of a data file: %s", what, strerror(-r));
	return r;
}

static void path_of(const uint8_t name[STORE_NAME_BYTES], char ret[PATH_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	char hex[2 * STORE_NAME_BYTES];
	for (size_t i = 0; i < STORE_NAME_BYTES; i++) {
		hex[2 * i] = digits[name[i] >> 4];
		hex[2 * i + 1] = digits[name[i] & 15];
	}
	ret[0] = hex[0];
	ret[1] = hex[1];
	ret[2] = '/';
	memcpy(ret + 3, hex, sizeof hex);
	ret[PATH_SIZE - 1] = 0;
}

/* Make the directory ab/ that the path is in. */
static int make_dir(struct store *st, const char path[PATH_SIZE])
{
	char dir[3] = {path[0], path[1], 0};
	if (mkdirat(st->dir_fd, dir, 0700) && errno != EEXIST)
		return -errno;
	return 0;
}

/* -- the table of open files -- */

static void close_file(struct file *f)
{
	(void)close(f->fd);
	free(f);
}

static void unlist_idle_locked(struct store *st, struct file *f)
{
	*(f->older ? &f->older->newer : &st->oldest) = f->newer;
	*(f->newer ? &f->newer->older : &st->newest) = f->older;
	f->older = f->newer = NULL;
}

static void unlist_locked(struct store *st, struct file *f)
{
	struct file **p = &st->table[f->id.name[0]];
	while (*p != f)
		p = &(*p)->next;
	*p = f->next;
	f->listed = false;
	st->n_files--;
}

static struct file *find_locked(struct store *st, const struct store_id *id)
{
	struct file *f = st->table[id->name[0]];
	while (f && memcmp(f->id.name, id->name, sizeof id->name))
		f = f->next;
	if (f && !f->refs++)
		unlist_idle_locked(st, f);
	return f;
}

/* The file that must be closed to stay within the limit, or NULL. */
static struct file *excess_locked(struct store *st)
{
	struct file *f = st->n_files > st->fds_max ? st->oldest : NULL;
	if (f) {
		unlist_idle_locked(st, f);
		unlist_locked(st, f);
	}
	return f;
}

static void file_unref(struct store *st, struct file *f)
{
	struct file *gone = NULL;
	(void)pthread_mutex_lock(&st->lock);
	if (!--f->refs) {
		if (f->listed) {
			f->older = st->newest;
			*(st->newest ? &st->newest->newer : &st->oldest) = f;
			st->newest = f;
			gone = excess_locked(st);
		} else {
			gone = f;
		}
	}
	(void)pthread_mutex_unlock(&st->lock);
	if (gone)
		close_file(gone);
}

/* Forget the descriptor: its name means another file from now on. */
static void forget(struct store *st, const struct store_id *id)
{
	(void)pthread_mutex_lock(&st->lock);
	struct file *f = find_locked(st, id);
	if (f)
		unlist_locked(st, f);
	(void)pthread_mutex_unlock(&st->lock);
	if (f)
		file_unref(st, f);
}

/* A plain file of the right length that still has a name? */
static int check_fd(int fd, uint64_t size)
{
	struct stat sb;
	if (fstat(fd, &sb))
		return -errno;
	return S_ISREG(sb.st_mode) && sb.st_nlink == 1 && (uint64_t)sb.st_size == size
		       ? 0
		       : -ENODATA;
}

static int open_new(struct store *st, const char *path, uint64_t size, int *ret)
{
	if (size > INT64_MAX)
		return -EFBIG;
	int r = make_dir(st, path);
	if (r)
		return say(st, r, "make directory");
	int fd = openat(st->dir_fd, path,
			O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno == EEXIST ? -EEXIST : say(st, -errno, "create");
	if (ftruncate(fd, (off_t)size)) {
		r = say(st, -errno, "set length");
		(void)close(fd);
		(void)unlinkat(st->dir_fd, path, 0);
		return r;
	}
	*ret = fd;
	return 0;
}

/* What is no file must not make us wait.  A lease that another thread just tries does not
 * stay. */
static int open_at_once(struct store *st, const char *path, int access)
{
	int fd;
	do
		fd = openat(st->dir_fd, path,
			    access | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	while (fd < 0 && errno == EWOULDBLOCK && !sched_yield());
	return fd;
}

static int open_old(struct store *st, const char *path, uint64_t size, int access,
		    int *ret)
{
	CLEANUP_CLOSE int fd = open_at_once(st, path, access);
	if (fd < 0)
		return errno == ENOENT || errno == ELOOP || errno == EISDIR
			       ? -ENODATA
			       : say(st, -errno, "open");
	int r = check_fd(fd, size);
	if (r)
		return r;
	*ret = fd;
	fd = -1;
	return 0;
}

static int open_file(struct store *st, const struct store_id *id, bool make, int *ret)
{
	char path[PATH_SIZE];
	path_of(id->name, path);
	int r = open_old(st, path, id->size, O_RDWR, ret);
	if (r != -ENODATA || !make)
		return r;
	r = open_new(st, path, id->size, ret);
	/* Another thread was first, or something that is not ours is in the way:
	 * the caller saw store_check say so and dropped what it knew. */
	if (r == -EEXIST && (r = open_old(st, path, id->size, O_RDWR, ret)) == -ENODATA) {
		if (unlinkat(st->dir_fd, path, 0))
			return say(st, -errno, "remove");
		r = open_new(st, path, id->size, ret);
	}
	return r;
}

static int file_get(struct store *st, const struct store_id *id, bool make,
		    struct file **ret)
{
	(void)pthread_mutex_lock(&st->lock);
	struct file *f = find_locked(st, id);
	(void)pthread_mutex_unlock(&st->lock);
	if (f) {
		*ret = f;
		return 0;
	}

	struct file *mine = calloc(1, sizeof *mine);
	if (!mine)
		return -ENOMEM;
	int r = open_file(st, id, make, &mine->fd);
	if (r) {
		free(mine);
		return r;
	}
	mine->id = *id;
	mine->refs = 1;

	(void)pthread_mutex_lock(&st->lock);
	f = find_locked(st, id);
	struct file *spare = f ? mine : NULL;
	if (!f) {
		f = mine;
		f->listed = true;
		f->next = st->table[id->name[0]];
		st->table[id->name[0]] = f;
		st->n_files++;
		spare = excess_locked(st);
	}
	(void)pthread_mutex_unlock(&st->lock);
	if (spare)
		close_file(spare);
	*ret = f;
	return 0;
}

/* -- bytes -- */

int store_read(struct store *st, const struct store_id *id, uint64_t off, void *dst,
	       size_t len)
{
	struct file *f;
	int r = file_get(st, id, false, &f);
	if (r)
		return r;
	for (size_t done = 0; !r && done < len;) {
		ssize_t n =
			pread(f->fd, (char *)dst + done, len - done, (off_t)(off + done));
		if (n > 0)
			done += (size_t)n;
		else if (n == 0)
			r = -ENODATA; /* it was cut under us */
		else if (errno != EINTR)
			r = say(st, -errno, "read");
	}
	file_unref(st, f);
	return r;
}

int store_make(struct store *st, const struct store_id *id)
{
	struct file *f;
	int r = file_get(st, id, true, &f);
	if (!r)
		file_unref(st, f);
	return r;
}

int store_write(struct store *st, const struct store_id *id, uint64_t off,
		const void *src, size_t len)
{
	struct file *f;
	int r = file_get(st, id, false, &f);
	if (r)
		return r;
	for (size_t done = 0; !r && done < len;) {
		ssize_t n = pwrite(f->fd, (const char *)src + done, len - done,
				   (off_t)(off + done));
		if (n > 0)
			done += (size_t)n;
		else if (n == 0)
			r = -EIO;
		else if (errno != EINTR)
			r = say(st, -errno, "write");
	}
	file_unref(st, f);
	return r;
}

int store_check(struct store *st, const struct store_id *id)
{
	struct file *f;
	int r = file_get(st, id, false, &f);
	if (r)
		return r;
	r = check_fd(f->fd, id->size);
	file_unref(st, f);
	if (r)
		forget(st, id);
	return r;
}

int store_open(struct store *st, const struct store_id *id, int *ret_fd)
{
	char path[PATH_SIZE];
	path_of(id->name, path);
	return open_old(st, path, id->size, O_RDONLY, ret_fd);
}

int store_sync(struct store *st, const struct store_id *id)
{
	struct file *f;
	int r = file_get(st, id, false, &f);
	if (r)
		return r;
	if (fdatasync(f->fd))
		r = say(st, -errno, "sync");
	file_unref(st, f);
	return r;
}

int store_punch(struct store *st, const struct store_id *id, uint64_t off, uint64_t len)
{
	struct file *f;
	int r = file_get(st, id, false, &f);
	if (r)
		return r;
	if (st->sees_users)
		r = lease_try(f->fd);
	if (!r && fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
			    (off_t)len))
		r = say(st, -errno, "punch a hole");
	file_unref(st, f);
	return r;
}

static int copy_fd(struct store *st, int from, int to, uint64_t off, uint64_t len)
{
	off_t in = (off_t)off, out = (off_t)off;
	while (len) {
		ssize_t n = copy_file_range(from, &in, to, &out, len, 0);
		if (n == 0)
			return -ENODATA;
		if (n < 0 && errno != EINTR)
			return say(st, -errno, "copy");
		if (n > 0)
			len -= (uint64_t)n;
	}
	return 0;
}

int store_copy(struct store *st, const struct store_id *from, const struct store_id *to,
	       uint64_t off, uint64_t len)
{
	struct file *a, *b;
	int r = file_get(st, from, false, &a);
	if (r)
		return r;
	r = file_get(st, to, false, &b);
	if (!r) {
		r = copy_fd(st, a->fd, b->fd, off, len);
		file_unref(st, b);
	}
	file_unref(st, a);
	return r;
}

/* -- names -- */

int store_adopt(struct store *st, const struct store_id *id, const char *path)
{
	char to[PATH_SIZE];
	path_of(id->name, to);
	int r = make_dir(st, to);
	if (!r && renameat(AT_FDCWD, path, st->dir_fd, to))
		r = -errno;
	if (r)
		return say(st, r, "take over");
	forget(st, id);
	return 0;
}

int store_rename(struct store *st, const struct store_id *from, const struct store_id *to)
{
	char a[PATH_SIZE], b[PATH_SIZE];
	path_of(from->name, a);
	path_of(to->name, b);
	int r = make_dir(st, b);
	if (!r && renameat(st->dir_fd, a, st->dir_fd, b))
		r = -errno;
	if (r)
		return say(st, r, "rename");
	forget(st, from);
	forget(st, to);
	return 0;
}

void store_remove(struct store *st, const struct store_id *id)
{
	char path[PATH_SIZE];
	path_of(id->name, path);
	if (unlinkat(st->dir_fd, path, 0) && errno != ENOENT)
		(void)say(st, -errno, "remove");
	forget(st, id);
}

uint64_t store_disk_bytes(struct store *st, const struct store_id *id)
{
	char path[PATH_SIZE];
	path_of(id->name, path);
	struct stat sb;
	if (fstatat(st->dir_fd, path, &sb, AT_SYMLINK_NOFOLLOW))
		return 0;
	return (uint64_t)sb.st_blocks * 512;
}

int store_free_bytes(struct store *st, uint64_t *ret)
{
	struct statvfs vfs;
	if (fstatvfs(st->dir_fd, &vfs))
		return say(st, -errno, "statvfs");
	if (__builtin_mul_overflow((uint64_t)vfs.f_bavail, (uint64_t)vfs.f_frsize, ret))
		*ret = UINT64_MAX;
	return 0;
}

/* -- the sweep at start -- */

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_name(const char *s, uint8_t ret[STORE_NAME_BYTES])
{
	if (strlen(s) != (size_t)2 * STORE_NAME_BYTES)
		return false;
	for (size_t i = 0; i < STORE_NAME_BYTES; i++) {
		int high = digit(s[2 * i]), low = digit(s[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		ret[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static int sweep_dir(struct store *st, const char dir[3], store_keep_fn *keep, void *arg)
{
	int fd = openat(st->dir_fd, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : say(st, -errno, "open directory");
	DIR *d = fdopendir(fd);
	if (!d) {
		(void)close(fd);
		return -ENOMEM;
	}
	for (struct dirent *e; (e = readdir(d));) {
		uint8_t name[STORE_NAME_BYTES];
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		bool ours = parse_name(e->d_name, name) && e->d_name[0] == dir[0] &&
			    e->d_name[1] == dir[1];
		if ((!ours || !keep(arg, name)) && unlinkat(fd, e->d_name, 0))
			(void)say(st, -errno, "remove");
	}
	(void)closedir(d);
	return 0;
}

int store_sweep(struct store *st, store_keep_fn *keep, void *arg)
{
	static const char digits[] = "0123456789abcdef";
	int r = 0;
	for (int i = 0; !r && i < 256; i++) {
		char dir[3] = {digits[i >> 4], digits[i & 15], 0};
		r = sweep_dir(st, dir, keep, arg);
	}
	return r;
}

/* By trying it with a file that has no name. */
static bool sees_users(const struct store *st)
{
	CLEANUP_CLOSE int fd =
		openat(st->dir_fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : lease_try(fd);
	if (r)
		log_info("cache",
			 "this disk does not tell who has a file mapped (%s): the kernel "
			 "reads none of the cache's by itself",
			 strerror(-r));
	return !r;
}

bool store_sees_users(const struct store *st)
{
	return st->sees_users;
}

int store_new(const char *dir, uint32_t fds_max, struct store **ret)
{
	CLEANUP_CLOSE int parent = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct store *st = calloc(1, sizeof *st);
	if (!st)
		return -ENOMEM;
	int r = parent < 0 ? -errno : 0;
	if (!r && mkdirat(parent, "blocks", 0700) && errno != EEXIST)
		r = -errno;
	if (!r) {
		st->dir_fd = openat(parent, "blocks",
				    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		r = st->dir_fd < 0 ? -errno : 0;
	}
	if (r) {
		log_error("cache", "%s/blocks: %s", dir, strerror(-r));
		free(st);
		return r;
	}
	st->fds_max = fds_max;
	st->sees_users = sees_users(st);
	(void)pthread_mutex_init(&st->lock, NULL);
	*ret = st;
	return 0;
}

void store_free(struct store *st)
{
	if (!st)
		return;
	while (st->oldest) {
		struct file *f = st->oldest;
		unlist_idle_locked(st, f);
		unlist_locked(st, f);
		close_file(f);
	}
	(void)close(st->dir_fd);
	(void)pthread_mutex_destroy(&st->lock);
	free(st);
}
