/* dir.c - see dir.h. */
#include "fs/dir.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "fs/gate.h"
#include "fs/node.h"
#include "backends/util/banned.h"

/* A directory above it may get another name while we look, and what was entered
 * before then is at the new one: else nobody would ever take it away from the old. */
int dir_lookup(struct task *t, struct call *call)
{
	for (;;) {
		CLEANUP_FREE char *path = NULL;
		CLEANUP_FREE char *now = NULL;
		struct inode *in = NULL;
		struct fuse_entry_param fe;
		int r = node_child_path(t->fs, t->ino, t->name, &path);
		if (r == -EILSEQ)
			return -ENOENT; /* no object can have this name */
		if (!r)
			r = node_look_up(t->fs, path, &in, &fe, call);
		int gone = r && r != -ENOENT
				   ? r
				   : node_child_path(t->fs, t->ino, t->name, &now);
		if (!gone && !strcmp(now, path)) {
			if (!r)
				node_reply_entry(t, in, &fe);
			return r;
		}
		if (in)
			node_take_back(t->fs, in);
		if (gone)
			return gone;
	}
}

static int enter_dir(struct fs *fs, const char *path, struct inode **ret_in,
		     struct fuse_entry_param *ret)
{
	struct view_entry made = {.kind = NAME_DIR};
	int r;
	do {
		struct tree_mark mark = tree_mark(fs->tree, path);
		r = node_entry(fs, path, &made, &mark, ret_in, ret);
	} while (r == TREE_CHANGED);
	return r;
}

static int make(struct fs *fs, const char *path, struct inode **ret_in,
		struct fuse_entry_param *ret, struct call *call)
{
	struct view_entry e;
	int r = view_make_way(fs->vw, path, NAME_DIR, call);
	if (r)
		return r;
	r = view_lookup(fs->vw, path, &e, call);
	if (!r) {
		view_entry_done(&e);
		return -EEXIST;
	}
	if (r == -ENOENT)
		r = view_mkdir(fs->vw, path, call);
	return r ? r : enter_dir(fs, path, ret_in, ret);
}

int dir_make(struct task *t, struct call *call)
{
	struct gate_pass pass = {0};
	struct inode *in;
	struct fuse_entry_param fe;
	if (!fs_writable(t->fs))
		return -EROFS;
	int r = gate_enter_child(t->fs, &pass, t->ino, t->name, call);
	if (!r)
		r = make(t->fs, pass.path, &in, &fe, call);
	gate_leave(t->fs, &pass);
	if (!r)
		node_reply_entry(t, in, &fe);
	return r;
}

static int remove_path(struct fs *fs, const char *path, struct call *call)
{
	struct view_entry e;
	int r = view_lookup(fs->vw, path, &e, call);
	if (r)
		return r;
	r = e.kind == NAME_DIR ? view_rmdir(fs->vw, path, call) : -ENOTDIR;
	view_entry_done(&e);
	if (r)
		return r;
	struct inode *in = tree_find(fs->tree, path);
	if (in)
		tree_unname(fs->tree, in);
	tree_put(fs->tree, in);
	return 0;
}

int dir_remove(struct task *t, struct call *call)
{
	struct gate_pass pass = {0};
	if (!fs_writable(t->fs))
		return -EROFS;
	int r = gate_enter_child(t->fs, &pass, t->ino, t->name, call);
	if (!r)
		r = remove_path(t->fs, pass.path, call);
	gate_leave(t->fs, &pass);
	if (!r)
		reply_err(t, 0);
	return r;
}

int dir_sync(struct task *t, struct call *call)
{
	(void)call;
	int r = view_sync(t->fs->vw);
	if (!r)
		reply_err(t, 0);
	return r;
}
