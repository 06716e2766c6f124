/* dir.c - see dir.h.
 *
 * A listing is taken once, at opendir, and read from there: entries that come and
 * go meanwhile neither repeat nor hide others, and an error of the network is one
 * of opendir, never a short listing (P10). */
#include "fs/dir.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "fs/node.h"
#include "backends/util/banned.h"

struct listed {
	char *name; /* owned */
	enum name_kind kind;
};

struct listing {
	struct opened opened; /* first */
	char *path;	      /* owned */
	struct listed *entries;
	size_t n, alloc;
};

/* One that the kernel was never told of. */
static void listing_free(struct listing *ls)
{
	for (size_t i = 0; i < ls->n; i++)
		free(ls->entries[i].name);
	free(ls->entries);
	free(ls->path);
	free(ls);
}

static void close_listing(struct fs *fs, struct opened *o)
{
	fs_closed(fs, o);
	listing_free((struct listing *)o);
}

static int listing_add(void *arg, const char *name, enum name_kind kind)
{
	struct listing *ls = arg;
	if (ls->n == ls->alloc) {
		size_t alloc = ls->alloc ? ls->alloc * 2 : 64;
		struct listed *p = reallocarray(ls->entries, alloc, sizeof(*p));
		if (!p)
			return -ENOMEM;
		ls->entries = p;
		ls->alloc = alloc;
	}
	char *copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	ls->entries[ls->n++] = (struct listed){.name = copy, .kind = kind};
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;
	return strcmp(x->name, y->name);
}

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

int dir_open(struct task *t, struct call *call)
{
	struct inode *in = tree_get(t->fs->tree, t->ino);
	if (!in)
		return -ENOENT;
	struct listing *ls = calloc(1, sizeof(*ls));
	if (ls)
		ls->path = inode_path(t->fs->tree, in, NULL);
	tree_put(t->fs->tree, in);
	if (!ls || !ls->path) {
		free(ls);
		return -ENOMEM;
	}
	int r = view_list(t->fs->vw, ls->path, listing_add, ls, call);
	if (r) {
		listing_free(ls);
		return r;
	}
	if (ls->n)
		qsort(ls->entries, ls->n, sizeof(*ls->entries), by_name);
	ls->opened.close = close_listing;
	fs_opened(t->fs, &ls->opened);
	t->fi.fh = (uintptr_t)ls;
	(void)reply_open(t, 0);
	return 0;
}

static struct listing *listing_of(const struct task *t)
{
	return (struct listing *)(uintptr_t)t->fi.fh;
}

/* Fill one entry; its size in the reply.  More than left: it did not fit. */
typedef size_t add_fn(struct task *t, char *buf, size_t left, const char *name,
		      const struct listed *entry, off_t next);

static mode_t kind_mode(const struct listed *entry)
{
	return !entry || entry->kind == NAME_DIR ? S_IFDIR : S_IFREG;
}

static size_t add_plain(struct task *t, char *buf, size_t left, const char *name,
			const struct listed *entry, off_t next)
{
	/* The number is not known before a look-up; any but 0 will do. */
	struct stat st = {.st_mode = kind_mode(entry), .st_ino = UINT32_MAX};
	return fuse_add_direntry(t->req, buf, left, name, &st, next);
}

static size_t add_plus(struct task *t, char *buf, size_t left, const char *name,
		       const struct listed *entry, off_t next)
{
	struct fuse_entry_param fe = {
		.attr = {.st_mode = kind_mode(entry), .st_ino = UINT32_MAX}};
	size_t size = fuse_add_direntry_plus(t->req, NULL, 0, name, &fe, next);
	if (size > left || !entry)
		return size > left ? size
				   : fuse_add_direntry_plus(t->req, buf, left, name, &fe,
							    next);
	/* Without attributes (they would have to be asked for) the kernel looks the
	 * name up when somebody wants it. */
	CLEANUP_FREE char *path = NULL;
	struct view_entry e;
	if (!node_child_path(t->fs, t->ino, name, &path) &&
	    !view_lookup(t->fs->vw, path, &e, NULL)) {
		struct inode *in;
		if (!node_entry(t->fs, path, &e, &in, &fe))
			tree_put(t->fs->tree, in);
		view_entry_done(&e);
	}
	return fuse_add_direntry_plus(t->req, buf, left, name, &fe, next);
}

static int read_entries(struct task *t, add_fn *add)
{
	const struct listing *ls = listing_of(t);
	CLEANUP_FREE char *buf = malloc(t->size);
	size_t used = 0;
	if (!buf)
		return -ENOMEM;
	/* 0 and 1 are the dots, then the entries. */
	for (size_t at = (size_t)t->off; at < ls->n + 2; at++) {
		const struct listed *entry = at < 2 ? NULL : &ls->entries[at - 2];
		const char *name = at == 0 ? "." : at == 1 ? ".." : entry->name;
		size_t n = add(t, buf + used, t->size - used, name, entry, (off_t)at + 1);
		if (n > t->size - used)
			break;
		used += n;
	}
	reply_buf(t, buf, used);
	return 0;
}

int dir_read(struct task *t, struct call *call)
{
	(void)call;
	return read_entries(t, add_plain);
}

int dir_read_plus(struct task *t, struct call *call)
{
	(void)call;
	return read_entries(t, add_plus);
}

int dir_release(struct task *t, struct call *call)
{
	(void)call;
	close_listing(t->fs, &listing_of(t)->opened);
	reply_err(t, 0);
	return 0;
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
