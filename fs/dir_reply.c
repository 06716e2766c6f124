/* dir_reply.c - see dir_reply.h. */
#include "fs/dir_reply.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "fs/node.h"
#include "backends/util/banned.h"

/* Offsets 0 and 1 are the dots. */
enum { DOTS = 2 };

struct filling {
	const struct dir_place *dp;
	struct dir_reply *rp;
	size_t path_len; /* of the directory in path, with the slash */
	char path[KEY_SIZE + NAME_MAX_BYTES + 1];
};

struct shown {
	const char *name;
	enum name_kind kind;
	const struct object *object; /* NULL: to be looked up */
	bool dot;
};

static mode_t mode_of(const struct shown *s)
{
	return s->kind == NAME_DIR ? S_IFDIR : S_IFREG;
}

/* By what the stream says, which was true when the directory was opened: what became
 * known since is better. */
static int enter_listed(struct fs *fs, const char *path, const struct shown *s,
			struct inode **ret_in, struct fuse_entry_param *ret)
{
	const struct tree_mark none = {0};
	struct view_entry e = {.kind = s->kind, .object = *s->object};
	int r = node_entry(fs, path, &e, &none, ret_in, ret);
	return r == TREE_CHANGED ? -ESTALE : r;
}

/* As the rest of us knows it, without asking.  Else the kernel looks the name up when
 * somebody wants its attributes. */
static int enter(struct filling *fl, const struct shown *s, struct fuse_entry_param *ret)
{
	struct fs *fs = fl->dp->fs;
	struct inode *in;
	memcpy(fl->path + fl->path_len, s->name, strlen(s->name) + 1);
	int r = s->object ? enter_listed(fs, fl->path, s, &in, ret)
			  : node_look_up(fs, fl->path, &in, ret, NULL);
	if (r)
		return r;
	/* The directory may have another name since it was opened. */
	CLEANUP_FREE char *now = NULL;
	if (node_child_path(fs, fl->dp->ino, s->name, &now) ||
	    strcmp(now, fl->path) != 0) {
		node_take_back(fs, in);
		return -ESTALE;
	}
	tree_put(fs->tree, in);
	return 0;
}

/* false: it does not fit.  libfuse has no use for a request here, and there is none
 * when nobody has asked yet. */
static bool add(struct filling *fl, const struct shown *s, uint64_t next)
{
	struct dir_reply *rp = fl->rp;
	char *at = rp->bytes + rp->used;
	size_t left = rp->size - rp->used, n;
	/* The number is not known before a look-up; any but 0 will do. */
	struct fuse_entry_param fe = {
		.attr = {.st_mode = mode_of(s), .st_ino = UINT32_MAX}};
	if (!rp->plus) {
		n = fuse_add_direntry(NULL, at, left, s->name, &fe.attr, (off_t)next);
	} else {
		n = fuse_add_direntry_plus(NULL, NULL, 0, s->name, &fe, (off_t)next);
		if (n <= left && !s->dot && enter(fl, s, &fe))
			fe = (struct fuse_entry_param){
				.attr = {.st_mode = mode_of(s), .st_ino = UINT32_MAX}};
		if (n <= left)
			n = fuse_add_direntry_plus(NULL, at, left, s->name, &fe,
						   (off_t)next);
	}
	if (n > left)
		return false;
	rp->used += n;
	rp->next = next;
	return true;
}

static bool add_dots(struct filling *fl)
{
	static const char *const dots[DOTS] = {".", ".."};
	for (uint64_t at = fl->rp->off; at < DOTS; at++) {
		struct shown s = {.name = dots[at], .kind = NAME_DIR, .dot = true};
		if (!add(fl, &s, at + 1))
			return false;
	}
	return true;
}

/* One that is here is waited for only while there is nothing to reply with. */
static int add_names(struct filling *fl, struct call *call)
{
	struct dir_reply *rp = fl->rp;
	struct name name;
	for (uint64_t place = rp->next - DOTS;; place++) {
		bool clean;
		int r = view_next(fl->dp->stream, &place, &name, &clean,
				  rp->used ? NULL : call);
		if (r <= 0)
			return rp->used ? 0 : r;
		bool known = clean && name.kind == NAME_FILE;
		static const struct object none;
		struct shown s = {.name = name.name, .kind = name.kind};
		if (known)
			s.object = &name.object;
		else if (clean)
			s.object = &none;
		if (!add(fl, &s, place + DOTS + 1))
			return 0;
	}
}

static int fill(const struct dir_place *dp, struct dir_reply *rp, struct call *call)
{
	struct filling fl = {.dp = dp, .rp = rp, .path_len = strlen(dp->path)};
	if (fl.path_len + 1 >= KEY_SIZE)
		return -ENAMETOOLONG;
	memcpy(fl.path, dp->path, fl.path_len);
	if (fl.path_len)
		fl.path[fl.path_len++] = '/';
	return add_dots(&fl) ? add_names(&fl, call) : 0;
}

int dir_reply_new(const struct dir_place *dp, uint64_t off, size_t size, bool plus,
		  struct call *call, struct dir_reply **ret)
{
	struct dir_reply *rp = malloc(sizeof(*rp) + size);
	if (!rp)
		return -ENOMEM;
	*rp = (struct dir_reply){.off = off,
				 .size = size,
				 .plus = plus,
				 .next = off,
				 .changes = atomic_load(&dp->fs->changes),
				 .begun_ns = clock_now_ns()};
	int r = fill(dp, rp, call);
	if (r)
		free(rp);
	else
		*ret = rp;
	return r;
}

void dir_reply_take_back(struct fs *fs, struct dir_reply *rp)
{
	for (size_t at = 0; rp && rp->plus && at < rp->used;) {
		const struct fuse_direntplus *e = (const void *)(rp->bytes + at);
		if (e->entry_out.nodeid)
			tree_forget(fs->tree, e->entry_out.nodeid, 1);
		at += FUSE_DIRENTPLUS_SIZE(e);
	}
	free(rp);
}
