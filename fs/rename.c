/* rename.c - see rename.h. */
#include "fs/rename.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "cache/dir_move.h"
#include "fs/gate.h"
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

static int unlink_inode(struct fs *fs, const char *path, struct inode *in,
			struct call *call)
{
	struct view_entry e;
	int r = view_lookup(fs->vw, path, &e, call);
	if (r)
		return r;
	struct version *v = open_version_of(fs, in);
	r = e.kind == NAME_DIR ? -EISDIR : view_unlink(fs->vw, &e, path, v);
	if (!r && in)
		tree_unname(fs->tree, in);
	version_unref(v);
	view_entry_done(&e);
	return r;
}

/* A page of a mapping may be written back meanwhile, for which the kernel keeps nobody
 * out: what is staged for it has the name before the name is looked up, or never. */
static int unlink_path(struct fs *fs, const char *path, struct call *call)
{
	struct inode *in = tree_find(fs->tree, path);
	if (in)
		inode_hold_name(in);
	int r = unlink_inode(fs, path, in, call);
	if (in)
		inode_release_name(in);
	tree_put(fs->tree, in);
	return r;
}

int rename_unlink(struct task *t, struct call *call)
{
	struct gate_pass pass = {0};
	if (!fs_writable(t->fs))
		return -EROFS;
	int r = gate_enter_child(t->fs, &pass, t->ino, t->name, call);
	if (!r)
		r = unlink_path(t->fs, pass.path, call);
	gate_leave(t->fs, &pass);
	if (!r)
		reply_err(t, 0);
	return r;
}

/* The inode follows: its contents are what is at the new name now. */
static int follow(struct fs *fs, const char *from, const char *to, bool clean,
		  const struct object *obj, struct call *call)
{
	struct inode *in = tree_find(fs->tree, from);
	if (!in)
		return 0;
	if (clean) {
		inode_set_object(in, obj);
	} else {
		struct view_entry now;
		if (!view_lookup(fs->vw, to, &now, call)) {
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
	keep_for_readers(fs, replaced, call);
	int r = view_rename(fs->vw, e, from, over, to, &clean, &obj, call);
	if (!r)
		r = follow(fs, from, to, clean, &obj, call);
	/* A copy is there; a file of ours may yet have to get there (P4). */
	if (!r && clean)
		view_renamed(fs->vw, from, call);
	tree_put(fs->tree, replaced);
	return r;
}

struct tree_change {
	struct fs *fs;
	const char *from, *to; /* borrowed */
};

/* Whoever has it open, clean, reads the same bytes as a version of the new name; who
 * has it open for writing never had another file. */
static void follow_object(void *arg, const char *to, const struct object *was,
			  const struct object *is)
{
	const struct tree_change *tc = arg;
	struct fs *fs = tc->fs;
	struct object now;
	struct inode *in = tree_find(fs->tree, to);
	struct staged *st = in ? inode_staged(in) : NULL;
	if (in && !st) {
		inode_object(in, &now);
		if (!strcmp(now.etag, was->etag))
			inode_set_object(in, is);
	}
	staged_unref(st);
	tree_put(fs->tree, in);
}

static void follow_names(void *arg)
{
	const struct tree_change *tc = arg;
	if (tree_move_below(tc->fs->tree, tc->from, tc->to))
		log_error("rename", "%s is %s now, but what is open in it: no memory",
			  tc->from, tc->to);
}

/* Nobody else changes a name below the two. */
static int move_directory(struct fs *fs, const char *from, const char *to, unsigned flags,
			  struct call *call)
{
	struct tree_change tc = {fs, from, to};
	struct dir_followers followers = {
		.arg = &tc, .renamed = follow_names, .moved = follow_object};
	struct view_entry over;
	int r = view_make_way(fs->vw, to, NAME_DIR, call);
	if (!r)
		r = view_lookup(fs->vw, to, &over, call);
	if (r && r != -ENOENT)
		return r;
	bool exists = !r;
	bool is_dir = exists && over.kind == NAME_DIR;
	if (exists)
		view_entry_done(&over);
	if (exists && (flags & RENAME_NOREPLACE || !is_dir))
		return flags & RENAME_NOREPLACE ? -EEXIST : -ENOTDIR;
	return view_rename_dir(fs->vw, from, to, exists, &followers, call);
}

static int move_named(struct fs *fs, const char *from, const struct view_entry *e,
		      const char *to, unsigned flags, struct call *call)
{
	struct view_entry over;
	int r = view_make_way(fs->vw, to, NAME_FILE, call);
	if (r)
		return r;
	r = view_lookup(fs->vw, to, &over, call);
	bool exists = !r;
	if (r == -ENOENT || (exists && !(flags & RENAME_NOREPLACE)))
		r = move_file(fs, from, e, to, exists ? &over : NULL, call);
	else if (exists)
		r = -EEXIST;
	/* Nobody here has seen what it would replace.  After -ESTALE the kernel looks
	 * anew and tries again by itself, and that would be lost. */
	if (r == -EEXIST && !(flags & RENAME_NOREPLACE))
		r = -EBUSY;
	if (exists)
		view_entry_done(&over);
	return r;
}

enum { IS_DIRECTORY = 1 };

static int move_looked_up(struct fs *fs, const char *from, const char *to, unsigned flags,
			  struct call *call)
{
	struct view_entry e;
	int r = view_lookup(fs->vw, from, &e, call);
	if (r)
		return r;
	r = e.kind == NAME_DIR ? IS_DIRECTORY : move_named(fs, from, &e, to, flags, call);
	view_entry_done(&e);
	return r;
}

/* As unlink_path: what is staged for a mapping has its name before that is looked up, or
 * not before it is another. */
static int move_held(struct fs *fs, const char *from, const char *to, unsigned flags,
		     struct call *call)
{
	struct inode *moved = tree_find(fs->tree, from);
	struct inode *replaced = tree_find(fs->tree, to);
	if (moved)
		inode_claim(moved);
	if (replaced)
		inode_hold_name(replaced);
	int r = move_looked_up(fs, from, to, flags, call);
	if (replaced)
		inode_release_name(replaced);
	if (moved)
		inode_unclaim(moved);
	tree_put(fs->tree, replaced);
	tree_put(fs->tree, moved);
	return r;
}

/* Where a path of it is nobody else's to change. */
static int rename_a_file(struct task *t, struct call *call)
{
	struct fs *fs = t->fs;
	struct gate_pass from = {0}, to = {0};
	int r = gate_enter_both(t, &from, &to, call);
	if (!r && strcmp(from.path, to.path))
		r = move_held(fs, from.path, to.path, t->flags, call);
	gate_leave(fs, &to);
	gate_leave(fs, &from);
	return r;
}

static int rename_a_directory(struct task *t, struct call *call)
{
	struct fs *fs = t->fs;
	for (;;) {
		CLEANUP_FREE char *from = NULL;
		CLEANUP_FREE char *to = NULL;
		CLEANUP_FREE char *from_now = NULL;
		CLEANUP_FREE char *to_now = NULL;
		int r = gate_paths(t, &from, &to);
		if (!r)
			r = gate_close(fs, from, to, call);
		if (r)
			return r;
		r = gate_paths(t, &from_now, &to_now);
		bool same = !r && !strcmp(from, from_now) && !strcmp(to, to_now);
		if (same)
			r = move_directory(fs, from, to, t->flags, call);
		gate_open(fs);
		if (r || same)
			return r;
	}
}

int rename_file(struct task *t, struct call *call)
{
	if (!fs_writable(t->fs))
		return -EROFS;
	if (t->flags & ~(unsigned)RENAME_NOREPLACE)
		return -EINVAL;
	int r = rename_a_file(t, call);
	if (r == IS_DIRECTORY)
		r = rename_a_directory(t, call);
	if (!r)
		reply_err(t, 0);
	return r;
}
