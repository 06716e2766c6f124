/* staged_io.c - the bytes of one staged file.  See staged.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cache/staged_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/io.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

/* The file grows to size: that counts from now on (staged (5)). */
static void charge(struct staged *st, uint64_t size)
{
	uint64_t have = atomic_load(&st->charged_bytes);
	while (size > have)
		if (atomic_compare_exchange_weak(&st->charged_bytes, &have, size)) {
			atomic_fetch_add(&st->sg->used_bytes, size - have);
			return;
		}
}

void staged_refund(struct staged *st, uint64_t size)
{
	uint64_t had = atomic_exchange(&st->charged_bytes, size);
	staged_unsend(st, size);
	if (had >= size)
		atomic_fetch_sub(&st->sg->used_bytes, had - size);
	else
		atomic_fetch_add(&st->sg->used_bytes, size - had);
}

void staged_make_room(const struct staged *st, uint64_t need)
{
	(void)blocks_shrink(st->sg->bl, need + (UINT64_C(64) << 20));
}

/* Bytes written; *ret_error: why not all of them were. */
static size_t write_some(const struct staged *st, const char *p, size_t len, uint64_t off,
			 int *ret_error)
{
	size_t done = 0;
	*ret_error = 0;
	while (done < len && !*ret_error) {
		ssize_t n = pwrite(st->fd, p + done, len - done, (off_t)(off + done));
		if (n >= 0)
			done += (size_t)n;
		else if (errno != EINTR)
			*ret_error = -errno;
	}
	return done;
}

static bool is_being_written(const struct staged *st)
{
	enum staged_state state = staged_get_state(st);
	return state == STAGED_OPEN || state == STAGED_DROPPED;
}

/* Writable in place: being written, or unlinked and private to its handles.  Not where
 * the next mount may find it sealed: it would upload whatever is in it by then. */
static bool may_change(const struct staged *st)
{
	return is_being_written(st) && !atomic_load(&st->unsure);
}

static void io_unlock(pthread_rwlock_t **l)
{
	(void)pthread_rwlock_unlock(*l);
}

static pthread_rwlock_t *io_rdlock(struct staged *st)
{
	(void)pthread_rwlock_rdlock(&st->io);
	return &st->io;
}

static pthread_rwlock_t *io_wrlock(struct staged *st)
{
	(void)pthread_rwlock_wrlock(&st->io);
	return &st->io;
}

#define SCOPED_IO(st)                                                              \
	__attribute__((unused, cleanup(io_unlock))) pthread_rwlock_t *scoped_io_ = \
		io_rdlock(st)
/* Nobody else reads or writes a byte. */
#define SCOPED_IO_ALONE(st)                                                        \
	__attribute__((unused, cleanup(io_unlock))) pthread_rwlock_t *scoped_io_ = \
		io_wrlock(st)

void staged_log_error(struct staged *st, const char *what, int r)
{
	SCOPED_LOCK(&st->sg->lock);
	log_error("journal", "%s %s (%s): %s", what, st->key, st->path, strerror(-r));
}

/* A write that failed leaves a file that its program may take for whole and
 * close.  It is not published (staged (7)) until all missing bytes are written, or
 * cut off. */
static void note_torn(struct staged *st, uint64_t off, uint64_t end, int error)
{
	SCOPED_LOCK(&st->sg->lock);
	torn_add(&st->missing, off, end);
	st->torn_error = error;
	atomic_store(&st->torn, true);
}

static void note_mended(struct staged *st, uint64_t off, uint64_t end)
{
	if (!atomic_load(&st->torn))
		return;
	SCOPED_LOCK(&st->sg->lock);
	torn_remove(&st->missing, off, end);
	if (st->missing.n)
		return;
	st->torn_error = 0;
	atomic_store(&st->torn, false);
}

static size_t write_charged(struct staged *st, const char *bytes, size_t len,
			    uint64_t off, int *ret_error)
{
	charge(st, off + len);
	atomic_store(&st->dirty, true);
	size_t done = write_some(st, bytes, len, off, ret_error);
	if (*ret_error == -ENOSPC) {
		staged_make_room(st, len - done);
		done += write_some(st, bytes + done, len - done, off + done, ret_error);
	}
	if (*ret_error)
		staged_log_error(st, "write", *ret_error);
	return done;
}

static ssize_t write_shared(struct staged *st, const void *bytes, size_t len,
			    uint64_t off)
{
	SCOPED_IO(st);
	if (!may_change(st))
		return -EAGAIN;
	int error;
	size_t n = write_charged(st, bytes, len, off, &error);
	/* Who is told of fewer bytes writes the others, or cuts them off. */
	if (error)
		note_torn(st, off + n, off + len, error);
	if (error && !n)
		return error;
	note_mended(st, off, off + n);
	atomic_store(&st->mtime_set, false);
	early_wrote(st, off, n);
	return (ssize_t)n;
}

void staged_lose(struct staged *st, uint64_t off, size_t len, int error)
{
	SCOPED_IO(st);
	if (may_change(st))
		note_torn(st, off, off + len, error);
}

/* What was charged for bytes that did not come.  A file that is sealed meanwhile pays for
 * them until it goes. */
static void recharge(struct staged *st)
{
	uint64_t size;
	int64_t mtime_ns;
	SCOPED_IO_ALONE(st);
	if (!may_change(st))
		return;
	staged_stat(st, &size, &mtime_ns);
	staged_refund(st, size);
}

ssize_t staged_write(struct staged *st, const void *bytes, size_t len, uint64_t off)
{
	uint64_t end;
	if (__builtin_add_overflow(off, len, &end) || end > INT64_MAX)
		return -EFBIG;
	ssize_t n = write_shared(st, bytes, len, off);
	if (n != (ssize_t)len && n != -EAGAIN)
		recharge(st);
	return n;
}

void staged_mark_dirty(struct staged *st)
{
	atomic_store(&st->dirty, true);
}

int staged_truncate(struct staged *st, uint64_t size)
{
	if (size > INT64_MAX)
		return -EFBIG;
	/* Alone, or a write in between would not be charged. */
	SCOPED_IO_ALONE(st);
	if (!may_change(st))
		return -EAGAIN;
	atomic_store(&st->dirty, true);
	if (ftruncate(st->fd, (off_t)size))
		return -errno;
	staged_refund(st, size);
	atomic_store(&st->mtime_set, false);
	early_cut(st, size);
	/* Nothing is missing after the new end. */
	note_mended(st, size, UINT64_MAX);
	return 0;
}

int staged_allocate(struct staged *st, int mode, uint64_t off, uint64_t len)
{
	uint64_t end;
	if (mode & ~FALLOC_FL_KEEP_SIZE)
		return -EOPNOTSUPP;
	if (__builtin_add_overflow(off, len, &end) || end > INT64_MAX)
		return -EFBIG;
	SCOPED_IO(st);
	if (!may_change(st))
		return -EAGAIN;
	int r = fallocate(st->fd, mode, (off_t)off, (off_t)len) ? -errno : 0;
	if (r == -ENOSPC) {
		staged_make_room(st, len);
		r = fallocate(st->fd, mode, (off_t)off, (off_t)len) ? -errno : 0;
	}
	if (r)
		return r;
	if (!mode) {
		charge(st, end);
		atomic_store(&st->dirty, true);
	}
	return 0;
}

static int set_file_mtime(struct staged *st, int64_t mtime_ns)
{
	struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT},
				 {.tv_sec = mtime_ns / (int64_t)NS_PER_S,
				  .tv_nsec = mtime_ns % (int64_t)NS_PER_S}};
	if (ts[1].tv_nsec < 0) {
		ts[1].tv_nsec += (long)NS_PER_S;
		ts[1].tv_sec--;
	}
	SCOPED_IO(st);
	if (staged_retired(st))
		return -ESTALE;
	if (st->fd < 0)
		return -EIO;
	if (futimens(st->fd, ts))
		return -errno;
	atomic_store(&st->mtime_set, true);
	return 0;
}

int staged_set_mtime(struct staged *st, int64_t mtime_ns)
{
	struct staging *sg = st->sg;
	/* The time goes into the bucket with the bytes: one that is on its way is
	 * stopped and sent with the new one. */
	(void)pthread_mutex_lock(&sg->lock);
	staged_claim_locked(st);
	staged_stop_sending_locked(st);
	bool done = staged_get_state(st) == STAGED_DONE;
	(void)pthread_mutex_unlock(&sg->lock);
	int r = done ? -ESTALE : set_file_mtime(st, mtime_ns);
	SCOPED_LOCK(&sg->lock);
	staged_unclaim_locked(st);
	staged_submit_locked(st);
	return r;
}

static ssize_t read_locked(struct staged *st, void *dst, size_t len, uint64_t off)
{
	size_t got = 0;
	if (staged_retired(st))
		return -ESTALE;
	if (st->fd < 0)
		return -EIO;
	while (got < len) {
		ssize_t n =
			pread(st->fd, (char *)dst + got, len - got, (off_t)(off + got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

ssize_t staged_read(struct staged *st, void *dst, size_t len, uint64_t off)
{
	SCOPED_IO(st);
	return read_locked(st, dst, len, off);
}

ssize_t staged_try_read(struct staged *st, void *dst, size_t len, uint64_t off)
{
	if (pthread_rwlock_tryrdlock(&st->io))
		return -EAGAIN;
	ssize_t n = read_locked(st, dst, len, off);
	(void)pthread_rwlock_unlock(&st->io);
	return n;
}

void staged_stat(struct staged *st, uint64_t *ret_size, int64_t *ret_mtime_ns)
{
	struct stat sb;
	SCOPED_LOCK(&st->fd_lock);
	if (st->fd < 0 || fstat(st->fd, &sb)) {
		*ret_size = st->last_bytes;
		*ret_mtime_ns = st->last_mtime_ns;
		return;
	}
	*ret_size = (uint64_t)sb.st_size;
	*ret_mtime_ns =
		(int64_t)sb.st_mtim.tv_sec * (int64_t)NS_PER_S + sb.st_mtim.tv_nsec;
}

int staged_fill(struct staged *st, struct version *v, uint64_t len, struct call *call)
{
	if (!len)
		return 0;
	charge(st, len);
	int r = blocks_export(st->sg->bl, v, len, st->fd, call);
	if (r == -ENOSPC) {
		staged_make_room(st, len);
		r = blocks_export(st->sg->bl, v, len, st->fd, call);
	}
	return r;
}

/* --- becoming writable --- */

bool staged_is_open(const struct staged *st)
{
	return may_change(st);
}

/* Bytes of a sealed file, in a new file.  The disk shares the blocks
 * where it can (copy_file_range). */
static int copy_bytes(struct staged *from, uint64_t keep, struct staged *to)
{
	uint64_t size;
	int64_t mtime_ns;
	if (from->fd < 0) /* lost; an empty file must not take its place */
		return -EIO;
	staged_stat(from, &size, &mtime_ns);
	size = size < keep ? size : keep;
	charge(to, size);
	int r = 0;
	bool tried = false;
	off_t in = 0, out = 0;
	while (!r && (uint64_t)in < size) {
		ssize_t n = copy_file_range(from->fd, &in, to->fd, &out,
					    size - (uint64_t)in, 0);
		int error = n < 0 ? errno : 0;
		if (error == ENOSPC && !tried) {
			tried = true;
			staged_make_room(to, size - (uint64_t)in);
		} else if (error && error != EINTR) {
			r = -error;
		} else if (!n) {
			r = -EIO;
		}
	}
	if (r)
		staged_log_error(from, "copy to go on writing", r);
	return r;
}

/* What the next generation starts from, and after whom it is uploaded. */
static void follow_locked(struct staged *next, struct staged *st, struct object *ret_base)
{
	*ret_base = (struct object){0};
	if (staged_get_state(st) != STAGED_DONE)
		staged_copy_string(next->base_tags, sizeof(next->base_tags),
				   st->base_tags);
	tags_add(next->base_tags, st->tag);
	if (staged_get_state(st) == STAGED_DONE) {
		*ret_base = st->object;
		return;
	}
	staged_copy_string(ret_base->etag, sizeof(ret_base->etag), st->base);
	next->older = staged_ref(st);
}

/* The next generation of a file that is on its way (staged (2), (3)).  The caller
 * has claimed st, so its key stands. */
static int fork_generation(struct staged *st, uint64_t keep, struct staged **ret)
{
	struct staged *next = NULL;
	struct object base;
	int r = staged_prepare(st->sg, st->key, &next);
	if (r)
		return r;
	r = copy_bytes(st, keep, next);
	if (!r) {
		(void)pthread_mutex_lock(&st->sg->lock);
		follow_locked(next, st, &base);
		(void)pthread_mutex_unlock(&st->sg->lock);
		r = staged_enlist(next, &base);
	}
	if (r)
		staged_unref(next);
	else
		*ret = next;
	return r;
}

static int commit_open_locked(struct staged *st)
{
	struct staging *sg = st->sg;
	struct row_image image;
	staged_row_locked(st, &image);
	(void)pthread_mutex_unlock(&sg->lock);
	struct journal_change c = {.kind = JOURNAL_PUT_ROW, .row = &image.row};
	int r = journal_commit(sg->jn, &c, 1, true);
	(void)pthread_mutex_lock(&sg->lock);
	return r;
}

/* In the bucket, and its file is still ours: go on in the same file.  Not a byte of
 * it may change before the journal knows, whatever happens: until then it is the
 * object's, and a row that says so would make other bytes that version's (P1). */
static int reopen_locked(struct staged *st)
{
	staged_copy_string(st->base, sizeof(st->base), st->object.etag);
	staged_copy_string(st->base_tags, sizeof(st->base_tags), st->tag);
	st->synced = false;
	int r = commit_open_locked(st);
	if (r)
		return r;
	/* Whether anything is written then or not: its close makes it the cache's again.
	 */
	atomic_store(&st->dirty, true);
	staged_set_state_locked(st, STAGED_OPEN);
	return 0;
}

/* What the journal may have of its failed commit is overwritten by the next. */
static int reassure_locked(struct staged *st)
{
	int r = commit_open_locked(st);
	if (!r)
		atomic_store(&st->unsure, false);
	return r;
}

int staged_writable(struct staged *st, uint64_t keep, struct staged **ret)
{
	struct staging *sg = st->sg;
	(void)pthread_mutex_lock(&sg->lock);
	staged_claim_locked(st);
	int r = 0;
	enum staged_state state = staged_get_state(st);
	if (staged_retired(st))
		r = -ESTALE;
	else if (state == STAGED_DONE)
		r = reopen_locked(st);
	else if (state == STAGED_OPEN && atomic_load(&st->unsure))
		r = reassure_locked(st);
	(void)pthread_mutex_unlock(&sg->lock);

	bool fork = !r && (state == STAGED_SEALED || state == STAGED_CONFLICT);
	if (fork)
		r = fork_generation(st, keep, ret);
	else if (!r)
		*ret = staged_ref(st);
	(void)pthread_mutex_lock(&sg->lock);
	staged_unclaim_locked(st);
	(void)pthread_mutex_unlock(&sg->lock);
	return r;
}

/* Once for each file: ext4 and others have done it with its bytes, and this costs little
 * then. */
static int sync_entry(struct staged *st)
{
	if (atomic_load(&st->entered))
		return 0;
	int r = io_sync_names(st->sg->dir_fd);
	if (r)
		staged_log_error(st, "sync the directory of", r);
	else
		atomic_store(&st->entered, true);
	return r;
}

int staged_sync_bytes(struct staged *st)
{
	uint64_t size;
	int64_t mtime_ns;
	if (st->fd < 0)
		return -EIO;
	if (!fdatasync(st->fd))
		return sync_entry(st);
	int r = -errno;
	/* Which of its bytes the kernel has given up nobody knows, and the next sync
	 * would say that all is well. */
	staged_stat(st, &size, &mtime_ns);
	note_torn(st, 0, size, r);
	staged_log_error(st, "sync", r);
	return r;
}

int staged_keep_torn(struct staged *st)
{
	struct row_image image;
	struct journal_change c = {.kind = JOURNAL_PUT_ROW, .row = &image.row};
	{
		SCOPED_LOCK(&st->sg->lock);
		if (!atomic_load(&st->torn) || !st->synced || st->local)
			return 0;
		staged_row_locked(st, &image);
	}
	int r = journal_commit(st->sg->jn, &c, 1, true);
	if (r == -ENOSPC) {
		staged_make_room(st, 0);
		r = journal_commit(st->sg->jn, &c, 1, true);
	}
	return r;
}

/* From here on a crash does not drop it (P3). */
static int commit_synced(struct staged *st)
{
	struct row_image image;
	(void)pthread_mutex_lock(&st->sg->lock);
	staged_row_locked(st, &image);
	(void)pthread_mutex_unlock(&st->sg->lock);
	image.row.synced = true;
	struct journal_change c = {.kind = JOURNAL_PUT_ROW, .row = &image.row};
	int r = journal_commit(st->sg->jn, &c, 1, true);
	SCOPED_LOCK(&st->sg->lock);
	st->synced = st->synced || !r;
	return r;
}

int staged_sync(struct staged *st)
{
	struct staging *sg = st->sg;
	(void)pthread_mutex_lock(&sg->lock);
	staged_claim_locked(st);
	int r = atomic_load(&st->torn) ? st->torn_error : 0;
	(void)pthread_mutex_unlock(&sg->lock);
	/* What is sealed is durable already, and what is removed has no row: a row
	 * made here would bring the name back. */
	if (!r && is_being_written(st)) {
		r = staged_sync_bytes(st);
		if (r && !atomic_load(&st->nameless))
			(void)staged_keep_torn(st);
	}
	if (!r && staged_get_state(st) == STAGED_OPEN && !atomic_load(&st->nameless))
		r = commit_synced(st);
	(void)pthread_mutex_lock(&sg->lock);
	staged_unclaim_locked(st);
	(void)pthread_mutex_unlock(&sg->lock);
	return r;
}
