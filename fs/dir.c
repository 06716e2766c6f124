/* dir.c - see dir.h. */
#include "fs/dir.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "fs/node.h"
#include "backends/util/banned.h"

int dir_lookup(struct task *t, struct call *call)
{
	CLEANUP_FREE char *path = NULL;
	struct view_entry e;
	int r = node_child_path(t->fs, t->ino, t->name, &path);
	if (r == -EILSEQ)
		return -ENOENT; /* no object can have this name */
	if (!r)
		r = view_lookup(t->fs->vw, path, &e, call);
	if (r)
		return r;
	struct inode *in;
	struct fuse_entry_param fe;
	r = node_entry(t->fs, path, &e, &in, &fe);
	view_entry_done(&e);
	if (!r)
		node_reply_entry(t, in, &fe);
	return r;
}

int dir_make(struct task *t, struct call *call)
{
	CLEANUP_FREE char *path = NULL;
	struct view_entry e;
	if (!t->fs->writable)
		return -EROFS;
	int r = node_child_path(t->fs, t->ino, t->name, &path);
	if (r)
		return r;
	r = view_lookup(t->fs->vw, path, &e, call);
	if (!r) {
		view_entry_done(&e);
		return -EEXIST;
	}
	if (r == -ENOENT)
		r = view_mkdir(t->fs->vw, path, call);
	if (r)
		return r;
	struct inode *in;
	struct fuse_entry_param fe;
	struct view_entry made = {.kind = NAME_DIR};
	r = node_entry(t->fs, path, &made, &in, &fe);
	if (!r)
		node_reply_entry(t, in, &fe);
	return r;
}

int dir_remove(struct task *t, struct call *call)
{
	CLEANUP_FREE char *path = NULL;
	struct view_entry e;
	if (!t->fs->writable)
		return -EROFS;
	int r = node_child_path(t->fs, t->ino, t->name, &path);
	if (!r)
		r = view_lookup(t->fs->vw, path, &e, call);
	if (r)
		return r;
	r = e.kind == NAME_DIR ? view_rmdir(t->fs->vw, path, call) : -ENOTDIR;
	view_entry_done(&e);
	if (r)
		return r;
	struct inode *in = tree_find(t->fs->tree, path);
	if (in)
		tree_unname(t->fs->tree, in);
	tree_put(t->fs->tree, in);
	reply_err(t, 0);
	return 0;
}
