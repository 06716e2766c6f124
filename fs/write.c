/* write.c - see write.h, and file_make_writable of handle.h. */
#include "fs/write.h"
#include <errno.h>
#include <stdlib.h>
#include "backends/util/cleanup.h"
#include "fs/gate.h"
#include "fs/handle.h"
#include "backends/util/banned.h"

/* Unless the name went while the bytes came: a name that is gone needs none in the
 * bucket. */
static int take_name(struct fs *fs, struct inode *in, struct staged *st,
		     const struct object *base)
{
	inode_hold_name(in);
	int r = tree_named(fs->tree, in) ? staged_enlist(st, base) : 0;
	inode_release_name(in);
	return r;
}

/* A clean file becomes a staged one: its bytes are brought here, then it takes the
 * name.  Nobody sees it half filled. */
static int stage(struct fs *fs, struct inode *in, const struct gate_pass *pass,
		 uint64_t keep, struct call *call, struct staged **ret)
{
	struct object obj;
	struct version *v = NULL;
	struct staged *st = NULL;
	inode_object(in, &obj);
	keep = keep < obj.size ? keep : obj.size;
	if (keep && !call)
		return -EAGAIN;
	/* What is written could replace nothing any more, and would be lost. */
	if (!pass->named && tree_superseded(fs->tree, in))
		return -ESTALE;
	int r = keep ? inode_version(fs->tree, in, fs->bl, &v) : 0;
	if (!r)
		r = staged_prepare(view_staging(fs->vw), pass->path, &st);
	if (!r)
		r = staged_fill(st, v, keep, call);
	if (!r)
		r = take_name(fs, in, st, &obj);
	version_unref(v);
	if (r) {
		staged_unref(st);
		return r;
	}
	*ret = st;
	return 0;
}

/* What was uploaded, and removed or replaced here since, must not get its name back: it
 * would hide what has that now. */
static int stage_anew(struct fs *fs, struct inode *in, struct staged *st, uint64_t keep,
		      struct staged **ret)
{
	inode_hold_name(in);
	if (!tree_named(fs->tree, in) && !tree_superseded(fs->tree, in))
		staged_disown(st);
	int r = staged_writable(st, keep, ret);
	inode_release_name(in);
	return r;
}

static int make_writable_claimed(struct fs *fs, struct inode *in,
				 const struct gate_pass *pass, uint64_t keep,
				 struct call *call, struct staged **ret)
{
	for (;;) {
		struct staged *now = inode_staged(in), *st = NULL;
		int r = now ? stage_anew(fs, in, now, keep, &st)
			    : stage(fs, in, pass, keep, call, &st);
		bool changed = st != now;
		bool was_staged = now != NULL;
		staged_unref(now);
		if (r == -ESTALE && was_staged) /* retired meanwhile: it is clean now */
			continue;
		if (r)
			return r;
		if (changed)
			inode_set_staged(in, staged_ref(st));
		*ret = st;
		return 0;
	}
}

int file_make_writable(struct fs *fs, struct inode *in, uint64_t keep, struct call *call,
		       struct staged **ret)
{
	struct gate_pass pass = {0};
	int r = gate_enter_inode(fs, &pass, in, call);
	if (r)
		return r;
	inode_claim(in);
	r = make_writable_claimed(fs, in, &pass, keep, call, ret);
	inode_unclaim(in);
	gate_leave(fs, &pass);
	return r;
}

typedef int change_fn(struct staged *st, void *arg);

/* Do it to the staged file as it is, or to what it must become first.  Sealing
 * may come in between: then once more. */
static int change(struct fs *fs, struct inode *in, uint64_t keep, change_fn *fn,
		  void *arg, struct call *call)
{
	for (;;) {
		struct staged *st = inode_staged(in);
		if (!st || !staged_is_open(st)) {
			staged_unref(st);
			st = NULL;
			/* It may copy a whole file: not on the kernel's thread. */
			if (!call)
				return -EAGAIN;
			int r = file_make_writable(fs, in, keep, call, &st);
			if (r)
				return r;
		}
		int r = fn(st, arg);
		staged_unref(st);
		if (r != -EAGAIN)
			return r;
	}
}

static int put_bytes(struct staged *st, void *arg)
{
	struct task *t = arg;
	size_t done = 0;
	/* The kernel takes fewer for all of them where it writes a mapping back. */
	do {
		ssize_t n = staged_write(st, t->data + done, t->size - done,
					 (uint64_t)t->off + done);
		if (n < 0)
			return (int)n;
		done += (size_t)n;
	} while (t->fi.writepage && done < t->size);
	t->size = done;
	return 0;
}

/* Of a mapping: after an error the kernel neither writes them again nor tells us that the
 * file is closed, only that it is let go, and then it would be published without them. */
static void lose(const struct task *t, int r)
{
	struct staged *st = inode_staged(handle_of(t)->in);
	if (st)
		staged_lose(st, (uint64_t)t->off, t->size, r);
	staged_unref(st);
}

int write_bytes(struct task *t, struct call *call)
{
	struct handle *h = handle_of(t);
	if (!h->writable)
		return -EBADF;
	handle_wake(h);
	int r = staging_wait_room(view_staging(t->fs->vw), call);
	if (!r)
		r = change(t->fs, h->in, UINT64_MAX, put_bytes, t, call);
	if (r && r != -EAGAIN && t->fi.writepage)
		lose(t, r);
	if (!r)
		reply_write(t, t->size);
	return r;
}

static int allocate(struct staged *st, void *arg)
{
	const struct task *t = arg;
	return staged_allocate(st, t->mode, (uint64_t)t->off, (uint64_t)t->len);
}

int write_allocate(struct task *t, struct call *call)
{
	struct handle *h = handle_of(t);
	if (t->off < 0 || t->len <= 0)
		return -EINVAL;
	handle_wake(h);
	int r = change(t->fs, h->in, UINT64_MAX, allocate, t, call);
	if (!r)
		reply_err(t, 0);
	return r;
}

static int truncate_to(struct staged *st, void *arg)
{
	return staged_truncate(st, *(const uint64_t *)arg);
}

int write_truncate(struct fs *fs, struct inode *in, uint64_t size, struct call *call)
{
	return change(fs, in, size, truncate_to, &size, call);
}
