/* rename.c - see rename.h. */
#include "fs/rename.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "fs/node.h"
#include "backends/util/banned.h"

/* Somebody has the inode open, its name is about to be another's, and the bucket
 * will not have its bytes then: bring them all here and keep them (P1).  What
 * cannot be had is ESTALE for that reader, and no reason to refuse the change. */
static void keep_for_readers(struct fs *fs, struct inode *in, struct call *call)
{
	if (!in || in->kind == NAME_DIR || !tree_opens(fs->tree, in))
		return;
	struct staged *st = inode_staged(in);
	struct version *v = NULL;
	if (!st && !inode_version(fs->tree, in, fs->bl, &v) &&
	    !view_lasts(fs->vw, version_object(v)) && !blocks_complete(fs->bl, v, call))
		version_keep(v);
	version_unref(v);
	staged_unref(st);
}

/* For unlink the removal does this, when it is about to send the DELETE. */
static struct version *open_version_of(struct fs *fs, struct inode *in)
{
	struct version *v = NULL;
	if (!in || in->kind == NAME_DIR || !tree_opens(fs->tree, in))
		return NULL;
	struct staged *st = inode_staged(in);
	if (!st && inode_version(fs->tree, in, fs->bl, &v))
		v = NULL;
	staged_unref(st);
	return v;
}

int rename_unlink(struct task *t, struct call *call)
{
	struct fs *fs = t->fs;
	CLEANUP_FREE char *path = NULL;
	struct view_entry e;
	if (!fs->writable)
		return -EROFS;
	int r = node_child_path(fs, t->ino, t->name, &path);
	if (!r)
		r = view_lookup(fs->vw, path, &e, call);
	if (r)
		return r;
	struct inode *in = tree_find(fs->tree, path);
	struct version *v = open_version_of(fs, in);
	r = e.kind == NAME_DIR ? -EISDIR : view_unlink(fs->vw, &e, path, v);
	if (!r && in)
		tree_unname(fs->tree, in);
	version_unref(v);
	tree_put(fs->tree, in);
	view_entry_done(&e);
	if (!r)
		reply_err(t, 0);
	return r;
}

/* The inode follows: its contents are what is at the new name now. */
static int follow(struct fs *fs, const char *from, const char *to, bool clean,
		  const struct object *obj)
{
	struct inode *in = tree_find(fs->tree, from);
	if (!in)
		return 0;
	if (clean) {
		inode_set_object(in, obj);
	} else {
		struct view_entry now;
		if (!view_lookup(fs->vw, to, &now, NULL)) {
			if (now.staged)
				inode_set_staged(in, staged_ref(now.staged));
			else
				inode_set_object(in, &now.object);
			view_entry_done(&now);
		}
	}
	int r = tree_move(fs->tree, in, to);
	tree_put(fs->tree, in);
	return r;
}

static int move_file(struct fs *fs, const char *from, const struct view_entry *e,
		     const char *to, const struct view_entry *over, struct call *call)
{
	struct object obj;
	bool clean;
	if (over && over->kind == NAME_DIR)
		return -EISDIR;
	struct inode *replaced = over ? tree_find(fs->tree, to) : NULL;
	struct inode *moved = tree_find(fs->tree, from);
	keep_for_readers(fs, replaced, call);
	if (moved)
		inode_claim(moved);
	int r = view_rename(fs->vw, e, from, over, to, &clean, &obj, call);
	if (!r)
		r = follow(fs, from, to, clean, &obj);
	if (moved)
		inode_unclaim(moved);
	tree_put(fs->tree, moved);
	tree_put(fs->tree, replaced);
	return r;
}

/* An object store has no directories to rename: an empty one is made anew, of a
 * full one the caller (mv) copies what is in it. */
static int move_directory(struct fs *fs, const char *from, const char *to,
			  const struct view_entry *over, struct call *call)
{
	size_t len = strlen(from);
	if (!strncmp(to, from, len) && to[len] == '/')
		return -EINVAL;
	if (over && over->kind != NAME_DIR)
		return -ENOTDIR;
	int r = over ? view_rmdir(fs->vw, to, call) : 0;
	if (!r)
		r = view_rmdir(fs->vw, from, call);
	if (r)
		return r == -ENOTEMPTY && !over ? -EXDEV : r;
	r = view_mkdir(fs->vw, to, call);
	struct inode *in = r ? NULL : tree_find(fs->tree, from);
	if (in)
		r = tree_move(fs->tree, in, to);
	tree_put(fs->tree, in);
	return r;
}

static int move(struct fs *fs, const char *from, const char *to, unsigned flags,
		struct call *call)
{
	struct view_entry e, over;
	int r = view_lookup(fs->vw, from, &e, call);
	if (r)
		return r;
	r = view_lookup(fs->vw, to, &over, call);
	bool exists = !r;
	if (r == -ENOENT || (exists && !(flags & RENAME_NOREPLACE)))
		r = e.kind == NAME_DIR
			    ? move_directory(fs, from, to, exists ? &over : NULL, call)
			    : move_file(fs, from, &e, to, exists ? &over : NULL, call);
	else if (exists)
		r = -EEXIST;
	if (exists)
		view_entry_done(&over);
	view_entry_done(&e);
	return r;
}

int rename_file(struct task *t, struct call *call)
{
	struct fs *fs = t->fs;
	CLEANUP_FREE char *from = NULL;
	CLEANUP_FREE char *to = NULL;
	if (!fs->writable)
		return -EROFS;
	if (t->flags & ~(unsigned)RENAME_NOREPLACE)
		return -EINVAL;
	int r = node_child_path(fs, t->ino, t->name, &from);
	if (!r)
		r = node_child_path(fs, t->ino2, t->name2, &to);
	if (!r && strcmp(from, to))
		r = move(fs, from, to, t->flags, call);
	if (!r)
		reply_err(t, 0);
	return r;
}
