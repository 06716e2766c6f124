/* attr.c - see attr.h. */
#include "fs/attr.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "fs/gate.h"
#include "fs/handle.h"
#include "fs/node.h"
#include "fs/opening.h"
#include "fs/write.h"
#include "backends/util/banned.h"

int attr_get(struct task *t, struct call *call)
{
	struct inode *in = tree_get(t->fs->tree, t->ino);
	struct stat st;
	(void)call;
	if (!in)
		return -ENOENT;
	node_stat(t->fs, in, &st);
	tree_put(t->fs->tree, in);
	reply_attr(t, &st);
	return 0;
}

/* truncate(2) or utimes(2) by name: no close follows that would publish it. */
static int publish_unopened(struct fs *fs, struct inode *in, struct call *call)
{
	if (inode_writers(in))
		return 0;
	struct staged *st = inode_staged(in);
	int r = st ? staged_publish(st, !fs->conf.upload_background, call) : 0;
	if (st)
		staged_retire_if_idle(st);
	staged_unref(st);
	return r;
}

static int set_size(struct task *t, struct inode *in, struct call *call)
{
	if (in->kind == NAME_DIR)
		return -EISDIR;
	if (!fs_writable(t->fs))
		return -EROFS;
	int r = opening_make_way(t->fs, in);
	if (!r)
		r = write_truncate(t->fs, in, (uint64_t)t->attr.st_size, call);
	return r ? r : publish_unopened(t->fs, in, call);
}

/* What cannot be told is told as the nearest that can, as kernels do it. */
static int64_t wanted_mtime_ns(const struct task *t)
{
	const struct timespec *ts = &t->attr.st_mtim;
	int64_t ns;
	if (t->to_set & FUSE_SET_ATTR_MTIME_NOW)
		return clock_wall_ns();
	if (__builtin_mul_overflow((int64_t)ts->tv_sec, (int64_t)NS_PER_S, &ns) ||
	    __builtin_add_overflow(ns, ts->tv_nsec, &ns))
		return ts->tv_sec < 0 ? -INT64_MAX : INT64_MAX;
	return ns;
}

enum { LOOK_AGAIN = 1 };

/* Claimed.  LOOK_AGAIN: who had claimed it before has made it a file of ours, and with
 * the copy it would not be that any more. */
static int copy_with_mtime(struct fs *fs, struct inode *in, const struct gate_pass *pass,
			   int64_t mtime_ns, struct call *call)
{
	struct object obj, now;
	struct staged *st = inode_staged(in);
	staged_unref(st);
	if (st)
		return LOOK_AGAIN;
	inode_object(in, &obj);
	if (!pass->named || obj.mtime_ns == mtime_ns)
		return 0;
	int r = view_set_mtime(fs->vw, pass->path, &obj, mtime_ns, &now, call);
	if (!r)
		inode_set_object(in, &now);
	else if (r == -ESTALE)
		view_forget(fs->vw, pass->path);
	return r;
}

/* In the bucket: the time is changed there, by a copy within the store. */
static int set_clean_mtime(struct fs *fs, struct inode *in, int64_t mtime_ns,
			   struct call *call)
{
	struct gate_pass pass = {0};
	int r = gate_enter_inode(fs, &pass, in, call);
	if (r)
		return r;
	inode_claim(in);
	r = copy_with_mtime(fs, in, &pass, mtime_ns, call);
	inode_unclaim(in);
	gate_leave(fs, &pass);
	return r;
}

/* The file as one of ours that is uploaded again, with this time, when it is closed. */
static int reopen_with_mtime(struct fs *fs, struct inode *in, int64_t mtime_ns,
			     struct call *call)
{
	struct staged *st = NULL;
	int r = file_make_writable(fs, in, UINT64_MAX, call, &st);
	if (r)
		return r;
	staged_mark_dirty(st);
	r = staged_set_mtime(st, mtime_ns);
	staged_unref(st);
	/* Somebody's close has sent it in between. */
	return r == -ESTALE ? LOOK_AGAIN : r;
}

/* In a store that cannot copy it there: the bytes come here and go up with the time, by
 * us if nobody has it open for writing. */
static int rewrite_with_mtime(struct fs *fs, struct inode *in, int64_t mtime_ns,
			      struct call *call)
{
	int r = reopen_with_mtime(fs, in, mtime_ns, call);
	return r ? r : publish_unopened(fs, in, call);
}

static int set_files_mtime(struct fs *fs, struct inode *in, int64_t mtime_ns,
			   struct call *call)
{
	struct staged *st = inode_staged(in);
	int r = st ? staged_set_mtime(st, mtime_ns) : -ESTALE;
	/* Without a writer nobody would close it: its object gets the time. */
	bool ours = st && staged_writers(st) > 0 && !staged_retired(st);
	if (r == -ESTALE && st && !ours)
		staged_retire_if_idle(st);
	staged_unref(st);
	if (r != -ESTALE)
		return r;
	/* Written, uploaded, and still open for writing. */
	if (ours)
		return reopen_with_mtime(fs, in, mtime_ns, call);
	r = set_clean_mtime(fs, in, mtime_ns, call);
	return r == -EXDEV || r == -EOPNOTSUPP
		       ? rewrite_with_mtime(fs, in, mtime_ns, call)
		       : r;
}

static int set_mtime(struct fs *fs, struct inode *in, int64_t mtime_ns, struct call *call)
{
	int r;
	if (in->kind == NAME_DIR)
		return 0; /* a prefix has no time of its own */
	if (!fs_writable(fs))
		return -EROFS;
	do {
		r = set_files_mtime(fs, in, mtime_ns, call);
	} while (r == LOOK_AGAIN);
	return r;
}

/* Owner and mode are the mount's, not the file's: chmod and chown are taken
 * quietly, as programs that copy files expect. */
int attr_set(struct task *t, struct call *call)
{
	struct inode *in = tree_get(t->fs->tree, t->ino);
	if (!in)
		return -ENOENT;
	int r = 0;
	if (t->to_set & FUSE_SET_ATTR_SIZE)
		r = set_size(t, in, call);
	if (!r && (t->to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)))
		r = set_mtime(t->fs, in, wanted_mtime_ns(t), call);
	struct stat st;
	if (!r)
		node_stat(t->fs, in, &st);
	tree_put(t->fs->tree, in);
	if (!r)
		reply_attr(t, &st);
	return r;
}

/* A bucket has no size; programs that look for room before they write find it. */
int attr_statfs(struct task *t, struct call *call)
{
	const fsblkcnt_t blocks = UINT64_C(1) << 38; /* of 4 KiB: 1 PiB */
	(void)call;
	struct statvfs sv = {.f_bsize = 4096,
			     .f_frsize = 4096,
			     .f_blocks = blocks,
			     .f_bfree = blocks,
			     .f_bavail = blocks,
			     .f_files = 1000000000,
			     .f_ffree = 1000000000,
			     .f_namemax = NAME_MAX_BYTES};
	reply_statfs(t, &sv);
	return 0;
}

/* --- user.mastfs.* --- */

static int show_etag(struct fs *fs, struct inode *in, struct buf *out)
{
	struct staged *st = inode_staged(in);
	struct object obj;
	(void)fs;
	bool clean = !st || staged_object(st, &obj);
	staged_unref(st);
	if (!clean)
		return -ENODATA;
	inode_object(in, &obj);
	buf_adds(out, obj.etag);
	return 0;
}

static int show_state(struct fs *fs, struct inode *in, struct buf *out)
{
	struct staged *st = inode_staged(in);
	(void)fs;
	buf_adds(out, st ? staged_state_name(st) : "clean");
	staged_unref(st);
	return 0;
}

static int show_cached(struct fs *fs, struct inode *in, struct buf *out)
{
	uint64_t size;
	int64_t mtime_ns;
	struct staged *st = inode_staged(in);
	struct version *v = NULL;
	inode_stat(in, &size, &mtime_ns);
	int r = st ? 0 : inode_version(fs->tree, in, fs->bl, &v);
	if (!r)
		buf_addf(out, "%" PRIu64, st ? size : version_cached_bytes(v));
	version_unref(v);
	staged_unref(st);
	return r;
}

/* Where its bytes come from: the bucket, what lies under it, or only this disk. */
static int show_origin(struct fs *fs, struct inode *in, struct buf *out)
{
	struct staged *st = inode_staged(in);
	struct object obj;
	bool clean = !st || staged_object(st, &obj);
	staged_unref(st);
	if (!clean) {
		buf_adds(out, "here, not uploaded yet");
		return 0;
	}
	CLEANUP_FREE char *path = inode_path(fs->tree, in, NULL);
	inode_object(in, &obj);
	return path ? view_origin(fs->vw, path, &obj, out) : -ENOMEM;
}

/* How it is open: through the daemon, or by the kernel itself. */
static int show_io(struct fs *fs, struct inode *in, struct buf *out)
{
	(void)fs;
	SCOPED_LOCK(&in->lock);
	buf_adds(out, iomode_name(in->io.mode));
	return 0;
}

static int show_pid(struct fs *fs, struct inode *in, struct buf *out)
{
	(void)fs;
	if (in->id != INODE_ROOT)
		return -ENODATA;
	buf_addf(out, "%d", (int)getpid());
	return 0;
}

/* Where 'mastfs umount' looks for what was left behind. */
static int show_cache_dir(struct fs *fs, struct inode *in, struct buf *out)
{
	if (in->id != INODE_ROOT)
		return -ENODATA;
	buf_adds(out, fs->cache_dir);
	return 0;
}

static const struct {
	const char *name;
	int (*show)(struct fs *fs, struct inode *in, struct buf *out);
	bool of_files, listed;
} xattrs[] = {
	{"user.mastfs.etag", show_etag, true, true},
	{"user.mastfs.state", show_state, true, true},
	{"user.mastfs.cached", show_cached, true, true},
	{"user.mastfs.origin", show_origin, true, true},
	{"user.mastfs.io", show_io, true, true},
	{"user.mastfs.pid", show_pid, false, false},
	{"user.mastfs.cache_dir", show_cache_dir, false, false},
};

static void reply_sized(struct task *t, const struct buf *out)
{
	if (!t->size)
		reply_xattr_size(t, out->len);
	else if (out->len > t->size)
		reply_err(t, -ERANGE);
	else
		reply_buf(t, out->data, out->len);
}

/* Whoever we see as pid 0 is in another pid namespace, and our number there is nobody's,
 * or somebody else's. */
static bool is_in_our_namespace(const struct task *t)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(t->req);
	return ctx && ctx->pid > 0;
}

static int show(struct task *t, struct inode *in, struct buf *out)
{
	for (size_t i = 0; i < sizeof(xattrs) / sizeof(*xattrs); i++)
		if (!strcmp(t->name, xattrs[i].name) &&
		    (xattrs[i].show != show_pid || is_in_our_namespace(t)) &&
		    (in->kind == NAME_FILE) == xattrs[i].of_files)
			return xattrs[i].show(t->fs, in, out);
	return -ENODATA;
}

/* The kernel asks for security.* before a first write: answered from here.  What is not
 * user.* there is none of: EOPNOTSUPP, at which ls stops asking for labels and access
 * lists of each file (coreutils 9.1: 2 requests a file else, 2026-11-26). */
int attr_get_xattr(struct task *t, struct call *call)
{
	CLEANUP_BUF struct buf out;
	(void)call;
	if (strncmp(t->name, "user.", strlen("user.")) != 0)
		return -EOPNOTSUPP;
	buf_init(&out, 4096);
	struct inode *in = tree_get(t->fs->tree, t->ino);
	if (!in)
		return -ENOENT;
	int r = show(t, in, &out);
	tree_put(t->fs->tree, in);
	if (r == -ENODATA) {
		/* Not "archived", as that errno means further down. */
		(void)fuse_reply_err(t->req, ENODATA);
		return 0;
	}
	if (!r)
		reply_sized(t, &out);
	return r;
}

int attr_list_xattr(struct task *t, struct call *call)
{
	CLEANUP_BUF struct buf out;
	(void)call;
	buf_init(&out, 4096);
	struct inode *in = tree_get(t->fs->tree, t->ino);
	if (!in)
		return -ENOENT;
	for (size_t i = 0; i < sizeof(xattrs) / sizeof(*xattrs); i++)
		if (xattrs[i].listed && in->kind == NAME_FILE)
			buf_add(&out, xattrs[i].name, strlen(xattrs[i].name) + 1);
	tree_put(t->fs->tree, in);
	reply_sized(t, &out);
	return 0;
}
