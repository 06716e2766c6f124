/* local_write.c - the writing half of the local backend; see local.h.
 *
 * Invariants:
 *   1. A file under its key is whole: it came there by rename, after its size was
 *      counted and its bytes and metadata were synced (P4).
 *   2. publish is held from the look at what lies under a key until the rename or
 *      unlink that depends on it, and never over a copy or an fsync.  It orders
 *      this process only.
 *   3. A temporary file is flocked while somebody works on it; one that can be
 *      locked belongs to nobody, whatever pid namespace its maker lived in.
 */
#include "backends/local_write.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "backends/beneath.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum {
	COPY_PIECE = 256 << 10, /* where the kernel does not copy */
	COPY_STEP = 16 << 20,	/* between two looks at the call */
	TMP_NAME_SIZE = 40,
	STALE_S = 60, /* younger ones may be just about to be locked */
};

#define TICK_NS (10 * (int64_t)NS_PER_MS) /* the kernel's coarsest: HZ=100 */

/* A file on its way to a key. */
struct temp {
	int dir, fd; /* owned; -1 = none */
	char name[TMP_NAME_SIZE];
};

/* Attributes are lost where the file system has none; then no tag is told. */
static int write_tag(int fd, const char *tag)
{
	int r = tag ? fsetxattr(fd, LOCAL_TAG_XATTR, tag, strlen(tag), 0)
		    : fremovexattr(fd, LOCAL_TAG_XATTR);
	if (!r || errno == ENODATA || errno == ENOTSUP || errno == EPERM)
		return 0;
	return -errno;
}

static int write_mtime(int fd, int64_t mtime_ns)
{
	const int64_t s = (int64_t)NS_PER_S;
	int64_t sec = mtime_ns / s - (mtime_ns % s < 0);
	struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT},
				 {.tv_sec = sec, .tv_nsec = mtime_ns - sec * s}};
	return mtime_ns && futimens(fd, ts) < 0 ? -errno : 0;
}

static int open_tmp_dir(struct local *l)
{
	int fd = beneath_open(l->root, BENEATH_TMP_DIR, O_RDONLY | O_DIRECTORY);
	if (fd != -ENOENT)
		return fd;
	if (mkdirat(l->root, BENEATH_TMP_DIR, 0700) < 0 && errno != EEXIST)
		return -errno;
	return beneath_open(l->root, BENEATH_TMP_DIR, O_RDONLY | O_DIRECTORY);
}

static void temp_done(struct temp *t)
{
	if (t->fd >= 0 && t->name[0])
		(void)unlinkat(t->dir, t->name, 0);
	cleanup_close_(&t->fd);
	cleanup_close_(&t->dir);
	*t = (struct temp){.dir = -1, .fd = -1};
}

/* ret was { -1, -1 }; temp_done() whatever happens. */
static int temp_open(struct local *l, struct temp *ret)
{
	uint64_t random[2];
	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		return -EIO;
	(void)snprintf(ret->name, sizeof ret->name, "%016" PRIx64 "%016" PRIx64,
		       random[0], random[1]);
	ret->dir = open_tmp_dir(l);
	if (ret->dir < 0)
		return ret->dir;
	ret->fd = openat(ret->dir, ret->name,
			 O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (ret->fd < 0)
		return -errno;
	/* Where there are no locks, age alone keeps the sweep away. */
	(void)flock(ret->fd, LOCK_EX | LOCK_NB);
	return 0;
}

/* One pread and what it takes to write it all.  0 at the end of the file. */
static ssize_t copy_plain(int from, uint64_t from_off, int to, uint64_t to_off,
			  size_t len)
{
	CLEANUP_FREE char *piece = malloc(COPY_PIECE);
	if (!piece)
		return -ENOMEM;
	ssize_t n =
		pread(from, piece, len < COPY_PIECE ? len : COPY_PIECE, (off_t)from_off);
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	for (ssize_t done = 0; done < n;) {
		ssize_t w = pwrite(to, piece + done, (size_t)(n - done),
				   (off_t)to_off + done);
		if (w < 0 && errno != EINTR)
			return -errno;
		done += w > 0 ? w : 0;
	}
	return n;
}

/* Exactly len bytes, shared with the source where the file system can. */
static int copy_bytes(const struct source *src, int to, struct call *call)
{
	bool plain = false;
	for (uint64_t done = 0; done < src->len;) {
		int r = call_check(call);
		if (r < 0)
			return r;
		uint64_t left = src->len - done;
		size_t len = left < COPY_STEP ? (size_t)left : COPY_STEP;
		off_t in = (off_t)(src->off + done), out = (off_t)done;
		ssize_t n = plain ? copy_plain(src->fd, (uint64_t)in, to, done, len)
				  : copy_file_range(src->fd, &in, to, &out, len, 0);
		if (plain && n == -EAGAIN)
			continue;
		if (!plain && n <= 0) {
			/* Not between these two, or so it says: a full disk and an
			 * early end come back from the plain way. */
			plain = true;
			continue;
		}
		if (n <= 0)
			return n < 0 ? (int)n : -ENODATA;
		done += (uint64_t)n;
	}
	return 0;
}

/* Bytes and metadata into a temporary file, counted and synced (invariant 1). */
static int temp_fill(struct temp *t, const struct source *src,
		     const struct put_opts *opts, struct call *call)
{
	struct stat st;
	int r = copy_bytes(src, t->fd, call);
	if (!r && fstat(t->fd, &st) < 0)
		r = -errno;
	if (!r && (uint64_t)st.st_size != src->len)
		r = -EIO;
	if (!r)
		r = write_tag(t->fd, opts->tag);
	if (!r)
		r = write_mtime(t->fd, opts->mtime_ns);
	if (!r && fsync(t->fd) < 0)
		r = -errno;
	return r;
}

/* An inode that is freed can come back as the next temporary file's, and what
 * rename stamps on it is the kernel's clock, which stands still for a tick.  So
 * that two versions never share an etag: note the time stamp of what is about to
 * be freed, and publish nothing before that tick is over.  Waits only where one
 * key is rewritten within a tick. */
static void settle(struct local *l)
{
	int64_t left = atomic_load(&l->freed_ctime_ns) + TICK_NS - clock_wall_ns();
	if (left > 0 && left <= TICK_NS)
		clock_sleep_ns((uint64_t)left);
}

static void note_freed(struct local *l, const struct stat *st)
{
	int64_t ns =
		(int64_t)st->st_ctim.tv_sec * (int64_t)NS_PER_S + st->st_ctim.tv_nsec;
	int64_t seen = atomic_load(&l->freed_ctime_ns);
	while (ns > seen && !atomic_compare_exchange_weak(&l->freed_ctime_ns, &seen, ns))
		;
}

/* The object at the place in *st.  -ENOENT: none, or something else lies there. */
static int look_locked(const struct beneath_place *p, const char *key, struct stat *st)
{
	int r = beneath_stat(p->dir, p->name, st);
	return r < 0 || local_is_object(st, key) ? r : -ENOENT;
}

/* 0 or -ESTALE.  No etag: any version will do. */
static int check_version(const struct stat *st, const char *if_etag)
{
	struct object now;
	beneath_object(st, &now);
	return if_etag && strcmp(now.etag, if_etag) != 0 ? -ESTALE : 0;
}

/* Why there can be no object where something else lies. */
static int conflict(const struct stat *st, const char *key)
{
	if (local_is_marker(key))
		return -ENOTDIR;
	return S_ISDIR(st->st_mode) ? -EISDIR : -EEXIST;
}

/* May the key be written?  *ret_there: it replaces the object in *st. */
static int check_target_locked(const struct beneath_place *p, const char *key,
			       const struct cond *cond, struct stat *st, bool *ret_there)
{
	int r = beneath_stat(p->dir, p->name, st);
	*ret_there = !r;
	if (r == -ENOENT)
		return cond->if_etag ? -ESTALE : 0;
	if (r < 0)
		return r;
	if (!local_is_object(st, key))
		return conflict(st, key);
	return cond->if_absent ? -EEXIST : check_version(st, cond->if_etag);
}

/* renameat2 refuses the flag on some file systems: then our look has to do. */
static int rename_to(int dir, const char *name, const struct beneath_place *to,
		     bool absent)
{
	if (!absent)
		return renameat(dir, name, to->dir, to->name) < 0 ? -errno : 0;
	if (!renameat2(dir, name, to->dir, to->name, RENAME_NOREPLACE))
		return 0;
	return errno == EINVAL ? rename_to(dir, name, to, false) : -errno;
}

static int publish_temp(struct local *l, struct temp *t, const char *key,
			const struct beneath_place *to, const struct cond *cond)
{
	struct stat st;
	bool there;
	settle(l);
	SCOPED_LOCK(&l->publish);
	int r = check_target_locked(to, key, cond, &st, &there);
	if (!r && there)
		note_freed(l, &st);
	if (!r)
		r = rename_to(t->dir, t->name, to, !there);
	/* Somebody else's file came in between: another process's put. */
	if (r == -EEXIST && !there && !cond->if_absent)
		r = -EBUSY;
	if (!r)
		t->name[0] = '\0';
	return r;
}

static int put_file(struct local *l, const char *key, const struct source *src,
		    const struct put_opts *opts, struct object *ret, struct call *call)
{
	struct stat st;
	CLEANUP_PLACE struct beneath_place place = {.dir = -1};
	CLEANUP(temp_done) struct temp t = {.dir = -1, .fd = -1};
	int r = beneath_check_key(key);
	if (!r)
		r = temp_open(l, &t);
	if (!r)
		r = temp_fill(&t, src, opts, call);
	if (!r)
		r = beneath_place(l->root, key, true, &place);
	if (!r)
		r = publish_temp(l, &t, key, &place, &opts->cond);
	if (!r && (fsync(place.dir) < 0 || fstat(t.fd, &st) < 0))
		r = -errno;
	if (r < 0)
		return r;
	beneath_object(&st, ret);
	local_read_tag(t.fd, ret);
	return 0;
}

/* The marker "d/" is the directory d. */
static int put_marker(struct local *l, const char *key, const struct put_opts *opts,
		      struct object *ret)
{
	CLEANUP_PLACE struct beneath_place place = {.dir = -1};
	struct stat st;
	bool there;
	int r = beneath_check_key(key);
	if (!r)
		r = beneath_place(l->root, key, true, &place);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&l->publish);
	r = check_target_locked(&place, key, &opts->cond, &st, &there);
	if (!r && !there && mkdirat(place.dir, place.name, 0777) < 0)
		r = errno == EEXIST && !opts->cond.if_absent ? -EBUSY : -errno;
	(void)pthread_mutex_unlock(&l->publish);
	if (!r && fsync(place.dir) < 0)
		r = -errno;
	CLEANUP_CLOSE int fd = r < 0 ? -1 : local_open_object(l, key, ret);
	if (!r && fd < 0)
		r = fd;
	if (!r)
		r = write_tag(fd, opts->tag);
	if (!r)
		r = write_mtime(fd, opts->mtime_ns);
	if (!r && (fsync(fd) < 0 || fstat(fd, &st) < 0))
		r = -errno;
	if (r < 0)
		return r;
	beneath_object(&st, ret);
	local_read_tag(fd, ret);
	return 0;
}

int local_put(struct backend *be, const char *key, const struct source *src,
	      const struct put_opts *opts, struct object *ret, struct call *call)
{
	struct local *l = local_of(be);
	struct object obj;
	int r = -EINVAL; /* a directory holds no bytes */
	if (!local_is_marker(key))
		r = put_file(l, key, src, opts, &obj, call);
	else if (!src->len)
		r = put_marker(l, key, opts, &obj);
	if (r == -ENODATA) /* the source is shorter than it was said to be */
		r = -EINVAL;
	if (r < 0)
		return local_errno(l, "put", key, r);
	*ret = obj;
	return 0;
}

/* Entries below keep the prefix alive, as in an object store. */
static int remove_locked(const struct beneath_place *place, bool marker)
{
	if (!unlinkat(place->dir, place->name, marker ? AT_REMOVEDIR : 0))
		return 0;
	if (marker && (errno == ENOTEMPTY || errno == EEXIST || errno == EBUSY))
		return 0;
	return -errno;
}

int local_del(struct backend *be, const char *key, const struct cond *cond,
	      struct call *call)
{
	(void)call;
	struct local *l = local_of(be);
	struct stat st;
	CLEANUP_PLACE struct beneath_place place = {.dir = -1};
	int r = beneath_check_key(key);
	if (!r)
		r = beneath_place(l->root, key, false, &place);
	if (r < 0)
		return local_read_errno(l, "del", key, r);

	(void)pthread_mutex_lock(&l->publish);
	r = look_locked(&place, key, &st);
	if (!r)
		r = check_version(&st, cond ? cond->if_etag : NULL);
	if (!r)
		note_freed(l, &st);
	if (!r)
		r = remove_locked(&place, local_is_marker(key));
	(void)pthread_mutex_unlock(&l->publish);
	if (!r && fsync(place.dir) < 0)
		r = -errno;
	return r < 0 ? local_read_errno(l, "del", key, r) : 0;
}

static int same_etag(const struct object *a, const struct object *b)
{
	return strcmp(a->etag, b->etag) != 0 ? -ESTALE : 0;
}

/* New metadata for the version that is there, on the file itself.  -EPERM: only
 * its owner may, so make a new one. */
static int copy_in_place(struct local *l, const char *key, const struct object *obj,
			 const struct put_opts *opts, struct object *ret)
{
	struct stat st;
	struct object now;
	CLEANUP_CLOSE int fd = local_open_object(l, key, &now);
	if (fd < 0)
		return fd;
	if (same_etag(&now, obj) < 0 ||
	    (opts->cond.if_etag && strcmp(now.etag, opts->cond.if_etag) != 0))
		return -ESTALE;
	if (opts->cond.if_absent)
		return -EEXIST;
	int r = write_mtime(fd, opts->mtime_ns);
	if (!r)
		r = write_tag(fd, opts->tag);
	if (!r && (fsync(fd) < 0 || fstat(fd, &st) < 0))
		r = -errno;
	if (r < 0)
		return r;
	beneath_object(&st, ret);
	local_read_tag(fd, ret);
	return 0;
}

static int copy_file(struct local *l, const char *from, const struct object *from_obj,
		     const char *to, const struct put_opts *opts, struct object *ret,
		     struct call *call)
{
	struct object now;
	CLEANUP_CLOSE int fd = local_open_object(l, from, &now);
	if (fd < 0)
		return fd;
	if (same_etag(&now, from_obj) < 0)
		return -ESTALE;
	struct source src = {.fd = fd, .len = now.size};
	int r = put_file(l, to, &src, opts, ret, call);
	/* An early end: the file was cut while it was copied. */
	return r == -ENODATA ? -ESTALE : r;
}

int local_copy(struct backend *be, const char *from, const struct object *from_obj,
	       const char *to, const struct put_opts *opts, struct object *ret,
	       struct call *call)
{
	struct local *l = local_of(be);
	struct object obj;
	int r = -EPERM;
	if (local_is_marker(from) != local_is_marker(to))
		return -EINVAL;
	if (local_is_marker(from)) {
		CLEANUP_CLOSE int fd = local_open_object(l, from, &obj);
		r = fd < 0 ? fd : same_etag(&obj, from_obj);
		if (!r)
			r = put_marker(l, to, opts, &obj);
	} else {
		if (!strcmp(from, to))
			r = copy_in_place(l, from, from_obj, opts, &obj);
		if (r == -EPERM)
			r = copy_file(l, from, from_obj, to, opts, &obj, call);
	}
	if (r < 0)
		return local_errno(l, "copy", from, r);
	*ret = obj;
	return 0;
}

static int rename_file(struct local *l, const char *from, const char *to)
{
	struct stat st;
	bool there;
	const struct cond any = {0};
	CLEANUP_PLACE struct beneath_place a = {.dir = -1}, b = {.dir = -1};
	int r = beneath_check_key(from);
	if (!r)
		r = beneath_check_key(to);
	if (!r)
		r = beneath_place(l->root, from, false, &a);
	if (r == -ENOTDIR || r == -ELOOP)
		r = -ENOENT;
	if (!r)
		r = beneath_place(l->root, to, true, &b);
	if (r < 0)
		return r;
	settle(l);
	(void)pthread_mutex_lock(&l->publish);
	r = look_locked(&a, from, &st);
	if (!r)
		r = check_target_locked(&b, to, &any, &st, &there);
	if (!r && there)
		note_freed(l, &st);
	if (!r)
		r = rename_to(a.dir, a.name, &b, false);
	(void)pthread_mutex_unlock(&l->publish);
	if (!r && (fsync(b.dir) < 0 || fsync(a.dir) < 0))
		r = -errno;
	return r;
}

int local_rename(struct backend *be, const char *from, const char *to, struct call *call)
{
	(void)call;
	/* A directory's rename would take everything below along. */
	if (local_is_marker(from) || local_is_marker(to))
		return -EOPNOTSUPP;
	int r = rename_file(local_of(be), from, to);
	return r < 0 ? local_errno(local_of(be), "rename", from, r) : 0;
}

/* Files that a process left behind when it died (invariant 3). */
static void sweep_stale(struct local *l)
{
	int fd = open_tmp_dir(l);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		cleanup_close_(&fd);
		return;
	}
	struct dirent *de;
	while ((de = readdir(d))) {
		struct stat st;
		CLEANUP_CLOSE int f = beneath_open(fd, de->d_name, O_RDONLY | O_NONBLOCK);
		if (f < 0 || fstat(f, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		int64_t age_s = clock_wall_ns() / (int64_t)NS_PER_S - st.st_ctim.tv_sec;
		if (age_s > STALE_S && !flock(f, LOCK_EX | LOCK_NB))
			(void)unlinkat(fd, de->d_name, 0);
	}
	(void)closedir(d);
}

/* A store that refuses the write loses BACKEND_WRITE and that is no error. */
void local_probe_writes(struct local *l)
{
	CLEANUP(temp_done) struct temp t = {.dir = -1, .fd = -1};
	int r = temp_open(l, &t);
	if (r < 0) {
		log_warn("file", "%s: cannot be written (%s): read-only", l->dir,
			 strerror(-r));
		l->base.caps &= ~(uint32_t)BACKEND_WRITE;
		return;
	}
	sweep_stale(l);
}
