/* copy.c - see copy.h. */
#include "fs/copy.h"
#include <errno.h>
#include "backends/util/cleanup.h"
#include "fs/gate.h"
#include "fs/handle.h"
#include "backends/util/banned.h"

/* As the bucket has it, if nobody has changed it since. */
static bool clean_object(struct inode *in, struct object *ret)
{
	struct staged *st = inode_staged(in);
	bool clean = !st || staged_object(st, ret);
	staged_unref(st);
	if (!st)
		inode_object(in, ret);
	return clean;
}

static int copy_into(struct fs *fs, struct inode *from, const struct object *obj,
		     struct inode *to, const char *to_path, struct call *call)
{
	struct object now;
	bool named;
	CLEANUP_FREE char *path = inode_path(fs->tree, from, &named);
	struct staged *st = inode_staged(to);
	int r = !path ? -ENOMEM : -EOPNOTSUPP;
	if (path && named && st)
		r = view_copy(fs->vw, path, obj, st, to_path, &now, call);
	staged_unref(st);
	if (!r)
		inode_set_object(to, &now);
	return r;
}

int copy_range(struct task *t, struct call *call)
{
	struct handle *to = handle_of(t);
	struct handle *from = (struct handle *)(uintptr_t)t->fh_in;
	struct gate_pass pass = {0};
	struct object obj;
	if (!to->writable)
		return -EBADF;
	/* The answer has 32 bits (struct fuse_write_out): a larger one would be cut. */
	if (from->in == to->in || !clean_object(from->in, &obj) || !obj.size ||
	    t->size < obj.size || obj.size > UINT32_MAX)
		return -EOPNOTSUPP;
	handle_wake(to);
	int r = gate_enter_inode(t->fs, &pass, to->in, call);
	if (r)
		return r;
	inode_claim(to->in);
	r = pass.named ? copy_into(t->fs, from->in, &obj, to->in, pass.path, call)
		       : -EOPNOTSUPP;
	inode_unclaim(to->in);
	gate_leave(t->fs, &pass);
	if (!r)
		reply_write(t, (size_t)obj.size);
	return r;
}
