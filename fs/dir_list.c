/* dir_list.c - reading a directory; see dir.h.
 *
 * Entries are handed on as they arrive.  An offset is a place in the stream, so entries
 * that come and go meanwhile neither repeat nor hide others, for as long as it is open.
 * An error of the network is an error of opendir or of readdir, never a short listing
 * (P10).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "fs/dir.h"
#include "fs/node.h"
#include "backends/util/banned.h"

/* Offsets 0 and 1 are the dots. */
enum { DOTS = 2 };

struct reader {
	struct opened opened; /* first */
	char *path;	      /* owned */
	struct view_stream *stream;
};

static struct reader *reader_of(const struct task *t)
{
	return (struct reader *)(uintptr_t)t->fi.fh;
}

static void reader_free(struct reader *rd)
{
	if (rd->stream)
		view_close(rd->stream);
	free(rd->path);
	free(rd);
}

static void close_reader(struct fs *fs, struct opened *o)
{
	fs_closed(fs, o);
	reader_free((struct reader *)o);
}

int dir_open(struct task *t, struct call *call)
{
	struct inode *in = tree_get(t->fs->tree, t->ino);
	if (!in)
		return -ENOENT;
	struct reader *rd = calloc(1, sizeof(*rd));
	if (rd)
		rd->path = inode_path(t->fs->tree, in, NULL);
	tree_put(t->fs->tree, in);
	if (!rd || !rd->path) {
		free(rd);
		return -ENOMEM;
	}
	int r = view_open(t->fs->vw, rd->path, &rd->stream, call);
	if (r) {
		reader_free(rd);
		return r;
	}
	rd->opened.close = close_reader;
	fs_opened(t->fs, &rd->opened);
	t->fi.fh = (uintptr_t)rd;
	(void)reply_open(t, 0);
	return 0;
}

int dir_release(struct task *t, struct call *call)
{
	(void)call;
	close_reader(t->fs, &reader_of(t)->opened);
	reply_err(t, 0);
	return 0;
}

/* What goes into one reply. */
struct reply {
	char *buf; /* owned */
	size_t used;
	bool plus;
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

/* As the rest of us knows it, without asking.  Else the kernel looks the name up when
 * somebody wants its attributes. */
static int enter(struct task *t, struct reply *rp, const struct shown *s,
		 struct fuse_entry_param *ret)
{
	struct view_entry e = {.kind = s->kind};
	struct inode *in;
	memcpy(rp->path + rp->path_len, s->name, strlen(s->name) + 1);
	if (s->object)
		e.object = *s->object;
	int r = s->object ? 0 : view_lookup(t->fs->vw, rp->path, &e, NULL);
	if (r)
		return r;
	r = node_entry(t->fs, rp->path, &e, &in, ret);
	if (!r)
		tree_put(t->fs->tree, in);
	view_entry_done(&e);
	return r;
}

/* false: it does not fit. */
static bool add(struct task *t, struct reply *rp, const struct shown *s, off_t next)
{
	char *at = rp->buf + rp->used;
	size_t left = t->size - rp->used, n;
	/* The number is not known before a look-up; any but 0 will do. */
	struct fuse_entry_param fe = {
		.attr = {.st_mode = mode_of(s), .st_ino = UINT32_MAX}};
	if (!rp->plus) {
		n = fuse_add_direntry(t->req, at, left, s->name, &fe.attr, next);
	} else {
		n = fuse_add_direntry_plus(t->req, NULL, 0, s->name, &fe, next);
		if (n <= left && !s->dot && enter(t, rp, s, &fe))
			fe = (struct fuse_entry_param){
				.attr = {.st_mode = mode_of(s), .st_ino = UINT32_MAX}};
		if (n <= left)
			n = fuse_add_direntry_plus(t->req, at, left, s->name, &fe, next);
	}
	if (n > left)
		return false;
	rp->used += n;
	return true;
}

static bool add_dots(struct task *t, struct reply *rp, uint64_t *at)
{
	static const char *const dots[DOTS] = {".", ".."};
	for (; *at < DOTS; ++*at) {
		struct shown s = {.name = dots[*at], .kind = NAME_DIR, .dot = true};
		if (!add(t, rp, &s, (off_t)*at + 1))
			return false;
	}
	return true;
}

/* One that is here is waited for only while there is nothing to reply with. */
static int add_names(struct task *t, struct reply *rp, uint64_t at, struct call *call)
{
	struct view_stream *stream = reader_of(t)->stream;
	struct name name;
	for (uint64_t place = at - DOTS;; place++) {
		bool clean;
		int r = view_next(stream, &place, &name, &clean, rp->used ? NULL : call);
		if (r <= 0)
			return rp->used ? 0 : r;
		bool known = clean && name.kind == NAME_FILE;
		static const struct object none;
		struct shown s = {.name = name.name, .kind = name.kind};
		if (known)
			s.object = &name.object;
		else if (clean)
			s.object = &none;
		if (!add(t, rp, &s, (off_t)(place + DOTS + 1)))
			return 0;
	}
}

static int fill(struct task *t, struct reply *rp, struct call *call)
{
	const char *dir = reader_of(t)->path;
	uint64_t at = (uint64_t)t->off;
	rp->path_len = strlen(dir);
	if (rp->path_len + 1 >= KEY_SIZE)
		return -ENAMETOOLONG;
	memcpy(rp->path, dir, rp->path_len);
	if (*dir)
		rp->path[rp->path_len++] = '/';
	return add_dots(t, rp, &at) ? add_names(t, rp, at, call) : 0;
}

static int read_entries(struct task *t, bool plus, struct call *call)
{
	struct reply rp = {.plus = plus, .buf = malloc(t->size)};
	if (!rp.buf)
		return -ENOMEM;
	int r = fill(t, &rp, call);
	if (!r)
		reply_buf(t, rp.buf, rp.used);
	free(rp.buf);
	return r;
}

int dir_read(struct task *t, struct call *call)
{
	return read_entries(t, false, call);
}

int dir_read_plus(struct task *t, struct call *call)
{
	return read_entries(t, true, call);
}
