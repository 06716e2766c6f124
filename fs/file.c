/* file.c - see file.h. */
#include "fs/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/metrics.h"
#include "fs/gate.h"
#include "fs/handle.h"
#include "fs/holders_ask.h"
#include "fs/node.h"
#include "fs/opening.h"
#include "fs/write.h"
#include "backends/util/banned.h"

static void close_handle(struct fs *fs, struct opened *o)
{
	handle_free(fs, (struct handle *)o);
}

static void count_writable(struct inode *in, int n)
{
	SCOPED_LOCK(&in->lock);
	in->handles += n;
}

int handle_new(struct fs *fs, struct inode *in, bool writable, struct handle **ret)
{
	struct handle *h = calloc(1, sizeof(*h));
	if (!h) {
		tree_put(fs->tree, in);
		return -ENOMEM;
	}
	struct object obj;
	inode_object(in, &obj);
	h->opened.close = close_handle;
	h->in = in;
	h->writable = writable;
	(void)pthread_mutex_init(&h->lock, NULL);
	ahead_init(&h->prefetch, obj.size);
	tree_opened(fs->tree, in, 1);
	if (writable) {
		count_writable(in, 1);
		inode_add_writers(in, 1);
	}
	fs_opened(fs, &h->opened);
	*ret = h;
	return 0;
}

void handle_free(struct fs *fs, struct handle *h)
{
	fs_closed(fs, &h->opened);
	if (h->writable)
		count_writable(h->in, -1);
	if (h->writable && h->idle)
		inode_rest(h->in);
	else if (h->writable)
		inode_add_writers(h->in, -1);
	if (h->opens)
		opening_end(fs, h->in);
	tree_opened(fs->tree, h->in, -1);
	tree_put(fs->tree, h->in);
	(void)pthread_mutex_destroy(&h->lock);
	free(h);
}

void handle_wake(struct handle *h)
{
	SCOPED_LOCK(&h->lock);
	if (h->idle)
		inode_add_writers(h->in, 1);
	h->idle = false;
}

/* Before close() returns: a rename that follows it must find no writer, or it would
 * leave the upload to the RELEASE and not wait for it (P2). */
static void handle_idle(struct handle *h)
{
	SCOPED_LOCK(&h->lock);
	if (!h->idle)
		inode_leave(h->in);
	h->idle = true;
}

/* A file is emptied by who may only read it, too: the kernel leaves that to the open. */
static bool wants_write(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
}

/* The version is opened with the file, so that no read asks SQLite. */
static int open_version(struct fs *fs, struct inode *in)
{
	struct staged *st = inode_staged(in);
	if (st) {
		staged_unref(st);
		return 0;
	}
	struct version *v = NULL;
	int r = inode_version(fs->tree, in, fs->bl, &v);
	if (!r)
		ahead_opened(v);
	version_unref(v);
	return r;
}

static void set_open_flags(struct fuse_file_info *fi, bool writable)
{
	/* A number belongs to one lineage of contents: what the kernel has cached
	 * of it is right. */
	fi->keep_cache = 1;
	/* Nothing to publish: spares the kernel a request at each close. */
	fi->noflush = !writable;
}

/* How the handle is open: through us or, if ret_id is there, perhaps past us. */
static int begin_opening(struct fs *fs, struct handle *h, struct call *call, int *ret_id)
{
	int r = ret_id ? opening_begin(fs, h->in, h->writable, call, ret_id)
		       : opening_begin_cached(fs, h->in, h->writable);
	h->opens = !r;
	return r;
}

/* An open handle on in (whose reference it takes over), in t->fi. */
static int open_handle(struct task *t, struct inode *in, bool writable, struct call *call,
		       int *ret_id)
{
	struct handle *h;
	const struct fuse_ctx *ctx = fuse_req_ctx(t->req);
	int r = handle_new(t->fs, in, writable, &h);
	if (r)
		return r;
	h->opener = ctx ? ctx->pid : 0;
	r = begin_opening(t->fs, h, call, ret_id);
	if (!r)
		r = t->fi.flags & O_TRUNC ? write_truncate(t->fs, in, 0, call)
					  : open_version(t->fs, in);
	if (r) {
		handle_free(t->fs, h);
		return r;
	}
	t->fi.fh = (uintptr_t)h;
	set_open_flags(&t->fi, writable);
	return 0;
}

/* Is the version that the kernel looked up still the one to open?  -ESTALE makes it look
 * the name up once more, which gives a new version a new number: whoever has the old
 * one open keeps its bytes. */
static int check_version(struct fs *fs, struct inode *in, struct call *call)
{
	struct object obj;
	bool named;
	if (!fs->be->ops->check)
		return 0;
	struct staged *st = inode_staged(in);
	staged_unref(st);
	if (st)
		return 0;
	CLEANUP_FREE char *path = inode_path(fs->tree, in, &named);
	inode_object(in, &obj);
	if (!path)
		return -ENOMEM;
	return named ? view_check(fs->vw, path, &obj, call) : 0;
}

int file_open(struct task *t, struct call *call)
{
	bool writable = wants_write(t->fi.flags);
	if (writable && !fs_writable(t->fs))
		return -EROFS;
	/* It waits for whoever is changing the file right now. */
	if ((t->fi.flags & O_TRUNC) && !call)
		return -EAGAIN;
	struct inode *in = tree_get(t->fs->tree, t->ino);
	if (!in)
		return -ENOENT;
	if (in->kind == NAME_DIR) {
		tree_put(t->fs->tree, in);
		return -EISDIR;
	}
	int r = check_version(t->fs, in, call);
	if (r) {
		tree_put(t->fs->tree, in);
		return r;
	}
	int id = 0;
	r = open_handle(t, in, writable, call, &id);
	if (r)
		return r;
	struct handle *h = handle_of(t);
	metrics_add(METRIC_OPENS, 1);
	metrics_add(METRIC_OPENS_PASSED, id > 0);
	if (reply_open(t, id))
		handle_free(t->fs, h);
	return 0;
}

/* made: by this call, earlier. */
static int find_or_make(struct task *t, const char *path, bool *made,
			struct view_entry *ret, struct call *call)
{
	int r = view_make_way(t->fs->vw, path, NAME_FILE, call);
	if (!r)
		r = view_lookup(t->fs->vw, path, ret, call);
	if (r == -ENOENT) {
		*ret = (struct view_entry){.kind = NAME_FILE};
		r = view_create(t->fs->vw, path, NULL, &ret->staged);
		*made = *made || !r;
		return r;
	}
	if (r)
		return r;
	/* Somebody made it since the kernel looked. */
	bool excluded = (t->fi.flags & O_EXCL) && !*made;
	r = excluded ? -EEXIST : ret->kind == NAME_DIR ? -EISDIR : 0;
	if (r)
		view_entry_done(ret);
	return r;
}

static int create_at(struct task *t, const char *path, struct inode **ret_in,
		     struct fuse_entry_param *ret, bool *ret_made, struct call *call)
{
	int r;
	/* Its DELETE may have to be waited for. */
	if (!call && view_is_going(t->fs->vw, path))
		return -EAGAIN;
	do {
		struct view_entry e;
		struct tree_mark mark = tree_mark(t->fs->tree, path);
		r = find_or_make(t, path, ret_made, &e, call);
		if (r)
			return r;
		r = node_entry(t->fs, path, &e, &mark, ret_in, ret);
		view_entry_done(&e);
	} while (r == TREE_CHANGED);
	return r;
}

int file_create(struct task *t, struct call *call)
{
	struct gate_pass pass = {0};
	struct inode *in;
	struct fuse_entry_param fe;
	bool made = false;
	if (!fs_writable(t->fs))
		return -EROFS;
	int r = gate_enter_child(t->fs, &pass, t->ino, t->name, call);
	if (!r)
		r = create_at(t, pass.path, &in, &fe, &made, call);
	gate_leave(t->fs, &pass);
	if (r)
		return r;
	uint64_t id = in->id;
	/* Who made it publishes it, though he may only read it. */
	r = open_handle(t, in, made || wants_write(t->fi.flags), call, NULL);
	if (r) {
		tree_forget(t->fs->tree, id, 1);
		return r;
	}
	struct handle *h = handle_of(t);
	if (reply_create(t, &fe)) {
		handle_free(t->fs, h);
		tree_forget(t->fs->tree, id, 1);
	}
	return 0;
}

/* --- reading --- */

static size_t clip(uint64_t size, uint64_t off, size_t len)
{
	if (off >= size)
		return 0;
	return size - off < len ? (size_t)(size - off) : len;
}

static void forget_stale(struct fs *fs, struct inode *in)
{
	CLEANUP_FREE char *path = inode_path(fs->tree, in, NULL);
	if (path)
		view_forget(fs->vw, path);
}

static bool is_another(struct fs *fs, struct inode *in, const struct version *was)
{
	struct version *v = NULL;
	struct staged *st = inode_staged(in);
	bool is = st || (!inode_version(fs->tree, in, fs->bl, &v) && v != was);
	version_unref(v);
	staged_unref(st);
	return is;
}

/* While we read its directory got another name here, or it another time: the same bytes
 * are another version now, and the one that we asked for is gone.  Waits for who is at
 * it: the bucket tells before he does.  1, 0, or what ended the wait. */
static int is_another_now(struct fs *fs, struct inode *in, const struct version *was,
			  struct call *call)
{
	struct gate_pass pass = {0};
	int r = gate_enter_inode(fs, &pass, in, call);
	if (r)
		return r;
	r = inode_await(in, call);
	if (!r)
		r = is_another(fs, in, was);
	gate_leave(fs, &pass);
	return r;
}

/* When reading ahead has failed, the kernel asks at once for the page alone: whoever
 * reads would wait for a second deadline (P8).  Asking later, or again, tries again. */
enum { SPENT_FROM_NS = NS_PER_S, SPENT_FOR_NS = NS_PER_S / 4 };

static void note_spent(const struct task *t, struct handle *h, int r,
		       const struct call *call)
{
	uint64_t now = clock_now_ns(), end = (uint64_t)t->off + t->size;
	uint64_t timeout = t->fs->conf.read_timeout_ns;
	if ((r != -EIO && r != -ETIMEDOUT) ||
	    now < clock_add(call->deadline_ns - timeout, SPENT_FROM_NS))
		return;
	SCOPED_LOCK(&h->lock);
	struct spent *s = &h->spent;
	bool fresh = s->error && now - s->at_ns < SPENT_FOR_NS;
	/* What lies between two that are apart has not been tried. */
	bool grows = fresh && (uint64_t)t->off <= s->to && end >= s->from;
	*s = (struct spent){
		.from = grows && s->from < (uint64_t)t->off ? s->from : (uint64_t)t->off,
		.to = grows && s->to > end ? s->to : end,
		.at_ns = now,
		.error = r,
	};
}

static int take_spent(const struct task *t, struct handle *h)
{
	SCOPED_LOCK(&h->lock);
	struct spent *s = &h->spent;
	if (!s->error || (uint64_t)t->off < s->from || (uint64_t)t->off >= s->to)
		return 0;
	int r = clock_now_ns() - s->at_ns < SPENT_FOR_NS ? s->error : 0;
	s->error = 0;
	return r;
}

/* P1: the bytes of the version that was opened, all of them, or an error.  1: its
 * contents are something else by now. */
static int read_version(struct task *t, struct handle *h, void *buf, struct call *call)
{
	struct fs *fs = t->fs;
	struct version *v = NULL;
	int spent, r = inode_version(fs->tree, h->in, fs->bl, &v);
	if (r)
		return r;
	size_t len = clip(version_object(v)->size, (uint64_t)t->off, t->size);
	/* Once for each read: the first try is the one that may not wait. */
	if (len && !call)
		ahead_read(&h->prefetch, &h->lock, v, (uint64_t)t->off, len);
	r = len ? blocks_read(fs->bl, v, (uint64_t)t->off, buf, len, call) : 0;
	int moved = 0;
	if (r == -ESTALE && !call)
		r = -EAGAIN;
	if (r == -ESTALE && (moved = is_another_now(fs, h->in, v, call)) < 0)
		r = moved;
	if (r == -EAGAIN && !call && (spent = take_spent(t, h)))
		r = spent;
	else if (r && call)
		note_spent(t, h, r, call);
	version_unref(v);
	if (moved > 0)
		return 1;
	if (r == -ESTALE)
		forget_stale(fs, h->in);
	if (!r)
		reply_buf(t, buf, len);
	return r;
}

/* Where nothing may wait, the pool does. */
static ssize_t read_staged(struct task *t, struct staged *st, void *buf,
			   const struct call *call)
{
	uint64_t off = (uint64_t)t->off;
	return call ? staged_read(st, buf, t->size, off)
		    : staged_try_read(st, buf, t->size, off);
}

int file_read(struct task *t, struct call *call)
{
	struct handle *h = handle_of(t);
	CLEANUP_FREE void *buf = malloc(t->size ? t->size : 1);
	if (!buf)
		return -ENOMEM;
	for (;;) {
		struct staged *st = inode_staged(h->in);
		if (!st) {
			int r = read_version(t, h, buf, call);
			if (r <= 0)
				return r;
			continue;
		}
		ssize_t n = read_staged(t, st, buf, call);
		staged_unref(st);
		if (n == -ESTALE) /* it became the cache's meanwhile: look again */
			continue;
		if (n < 0)
			return (int)n;
		reply_buf(t, buf, (size_t)n);
		return 0;
	}
}

/* --- closing --- */

static int publish(struct task *t, struct call *call)
{
	struct handle *h = handle_of(t);
	struct staged *st = inode_staged(h->in);
	int r = 0;
	if (st)
		r = staged_publish(st, !t->fs->conf.upload_background, call);
	staged_unref(st);
	handle_idle(h);
	if (!r)
		reply_err(t, 0);
	return r;
}

static int other_handles(struct inode *in)
{
	SCOPED_LOCK(&in->lock);
	return in->handles - 1;
}

/* FLUSH comes for each descriptor that is closed.  While the process has another
 * one of this opening, the file is still being written: numpy and shells
 * duplicate and close in the middle.  Every other writable handle of the file
 * accounts for one of the descriptors that we see, so more than those means that
 * this handle lives on: an idle one too, which another process may have closed and
 * this one has open.  When in doubt, publish; but not for a process in execve, most often
 * a child of the one that writes: nobody hears what that close says, and if it was the
 * last one RELEASE publishes. */
static bool is_still_held(struct task *t, struct handle *h)
{
	bool named;
	CLEANUP_FREE char *path = inode_path(t->fs->tree, h->in, &named);
	const struct fuse_ctx *ctx = fuse_req_ctx(t->req);
	if (!path || !ctx || ctx->pid <= 0)
		return false;
	const struct holder who = {ctx->pid, ctx->uid, ctx->gid};
	/* Most often nobody else has had it, and no thread is needed to see that. */
	int n = ctx->pid == h->opener
			? holders_count(&who, t->fs->device, h->in->id, NULL)
			: -EOPNOTSUPP;
	if (n == -EOPNOTSUPP)
		n = holders_ask(&who, t->fs->device, h->in->id, path);
	return n == -EDEADLK || n > other_handles(h->in);
}

/* Sealing waits for this disk; what may wait for the bucket, on a thread of its own. */
static void go_on(struct task *t, task_fn *fn, bool asks)
{
	t->fn = fn;
	if (asks)
		task_later(t);
	else
		task_here(t);
}

int file_flush(struct task *t, struct call *call)
{
	struct handle *h = handle_of(t);
	(void)call;
	if (!h->writable || is_still_held(t, h)) {
		reply_err(t, 0);
		return 0;
	}
	struct staged *st = inode_staged(h->in);
	bool due = st && staged_wants_publishing(st);
	bool asks = due && !(t->fs->conf.upload_background && staged_asks_nothing(st));
	staged_unref(st);
	if (!due) {
		handle_idle(h);
		reply_err(t, 0);
		return 0;
	}
	go_on(t, publish, asks);
	return 0;
}

static int release_writer(struct task *t, struct call *call)
{
	struct handle *h = handle_of(t);
	(void)call;
	/* First, or of two at once each leaves it to the other. */
	handle_idle(h);
	struct staged *st = inode_staged(h->in);
	/* Written after the last close (a mapping), or closed by a process that we
	 * could not see: nobody waits for this upload any more. */
	if (st && !inode_writers(h->in))
		(void)staged_publish(st, false, NULL);
	staged_unref(st);
	handle_free(t->fs, h);
	reply_err(t, 0);
	return 0;
}

int file_release(struct task *t, struct call *call)
{
	struct handle *h = handle_of(t);
	(void)call;
	if (h->writable) {
		struct staged *st = inode_staged(h->in);
		bool asks = st && !staged_asks_nothing(st);
		staged_unref(st);
		go_on(t, release_writer, asks);
		return 0;
	}
	handle_free(t->fs, h);
	reply_err(t, 0);
	return 0;
}

int file_fsync(struct task *t, struct call *call)
{
	struct handle *h = handle_of(t);
	struct staged *st = inode_staged(h->in);
	(void)call;
	int r = st ? staged_sync(st) : 0;
	staged_unref(st);
	if (!r)
		reply_err(t, 0);
	return r;
}
