/* opening.c - see opening.h. */
#include "fs/opening.h"
#include <errno.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "fs/passthrough.h"
#include "backends/util/banned.h"

/* What an open could pass to the kernel. */
struct offer {
	struct version *v; /* reference; NULL: nothing */
	uint64_t epoch;	   /* of its file ... */
	bool fits;	   /* ... which the kernel has already, */
	int fd;		   /* or, not -1, could have: */
	struct pass pass;
};

static void withdraw(struct offer *o)
{
	pass_end(&o->pass);
	version_unref(STEAL(o->v));
	cleanup_close_(&o->fd);
	o->fd = -1;
}

static enum iomode mode_of(struct inode *in)
{
	SCOPED_LOCK(&in->lock);
	return in->io.mode;
}

/* The clean version that the inode is, or NULL. */
static struct version *clean_version(struct fs *fs, struct inode *in)
{
	struct staged *st = inode_staged(in);
	struct version *v = NULL;
	if (!st && inode_version(fs->tree, in, fs->bl, &v))
		v = NULL;
	staged_unref(st);
	return v;
}

/* The pass that the kernel has for the inode; a copy without references, to compare. */
static struct pass pass_of(struct inode *in)
{
	SCOPED_LOCK(&in->lock);
	return in->pass;
}

static int make_offer(struct fs *fs, struct inode *in, struct call *call,
		      struct offer *ret)
{
	enum iomode mode = mode_of(in);
	if (mode == IOMODE_CACHED || !passthrough_is_on(fs->passthrough))
		return 0;
	ret->v = clean_version(fs, in);
	if (!ret->v)
		return 0;
	if (mode == IOMODE_PASSTHROUGH) {
		struct pass pass = pass_of(in);
		ret->epoch = pass.epoch;
		ret->fits = pass_is_of(&pass, ret->v);
		return 0;
	}
	int r = pass_begin(ret->v, call != NULL, &ret->pass, &ret->fd);
	ret->epoch = ret->pass.epoch;
	return r == -EAGAIN ? r : 0;
}

static bool fits_locked(const struct inode *in, const struct offer *o)
{
	/* Another open may have been first, with this file or with an older one. */
	if (in->io.mode == IOMODE_PASSTHROUGH)
		return (o->fits || o->fd >= 0) && in->pass.v == o->v &&
		       in->pass.epoch == o->epoch;
	return o->fd >= 0;
}

/* The first: the kernel learns of the file. */
static enum iomode pass_locked(struct fs *fs, struct inode *in, struct offer *o)
{
	int id = passthrough_open(fs->passthrough, o->fd);
	if (id < 0)
		return IOMODE_CACHED;
	in->pass = o->pass;
	in->backing_id = id;
	o->pass.v = NULL;
	return IOMODE_PASSTHROUGH;
}

enum { LOOK_AGAIN = 1, LOOKS_MAX = 4 };

/* Somebody wrote the file, or has begun to, while the offer was made: its bytes are not
 * the inode's any more (P1). */
static bool is_stale_locked(const struct inode *in, const struct offer *o)
{
	return o->fd >= 0 && (in->staged || in->version != o->v);
}

static int begin_locked(struct fs *fs, struct inode *in, bool writes, struct offer *o,
			int *ret_id)
{
	/* The last release came in between: a program that opens a file again at once. */
	if (in->io.mode == IOMODE_NONE && (o->fits || is_stale_locked(in, o)))
		return LOOK_AGAIN;
	enum iomode mode = iomode_next(&in->io, fits_locked(in, o));
	if (mode == IOMODE_NONE)
		return -ESTALE;
	if (mode == IOMODE_PASSTHROUGH && in->io.mode == IOMODE_NONE)
		mode = pass_locked(fs, in, o);
	iomode_opened(&in->io, mode, writes);
	*ret_id = mode == IOMODE_PASSTHROUGH ? in->backing_id : 0;
	return 0;
}

/* The name gets an inode of its own. */
static int elsewhere(struct fs *fs, struct inode *in, bool expects_write)
{
	int r = tree_split(fs->tree, in, expects_write);
	return r ? r : -ESTALE;
}

static int begin(struct fs *fs, struct inode *in, bool writes, struct offer *o,
		 int *ret_id)
{
	(void)pthread_mutex_lock(&in->lock);
	int r = begin_locked(fs, in, writes, o, ret_id);
	(void)pthread_mutex_unlock(&in->lock);
	return r == -ESTALE ? elsewhere(fs, in, writes) : r;
}

int opening_begin(struct fs *fs, struct inode *in, bool writes, struct call *call,
		  int *ret_id)
{
	int r = LOOK_AGAIN;
	for (int i = 0; r == LOOK_AGAIN && i < LOOKS_MAX; i++) {
		struct offer o = {.fd = -1};
		r = writes ? 0 : make_offer(fs, in, call, &o);
		if (!r)
			r = begin(fs, in, writes, &o, ret_id);
		withdraw(&o);
	}
	if (r != LOOK_AGAIN)
		return r;
	*ret_id = 0;
	return opening_begin_cached(fs, in, writes);
}

int opening_begin_cached(struct fs *fs, struct inode *in, bool writes)
{
	struct offer none = {.fd = -1};
	int id;
	return begin(fs, in, writes, &none, &id);
}

void opening_end(struct fs *fs, struct inode *in)
{
	struct pass pass = {0};
	struct inode *split = NULL;
	int id = 0;
	(void)pthread_mutex_lock(&in->lock);
	if (iomode_released(&in->io)) {
		pass = in->pass;
		id = in->backing_id;
		split = STEAL(in->split);
		in->pass = (struct pass){0};
		in->backing_id = 0;
	}
	(void)pthread_mutex_unlock(&in->lock);
	if (id)
		passthrough_close(fs->passthrough, id);
	pass_end(&pass);
	tree_put(fs->tree, split);
}

int opening_make_way(struct fs *fs, struct inode *in)
{
	(void)pthread_mutex_lock(&in->lock);
	bool passes = in->io.mode == IOMODE_PASSTHROUGH;
	if (!passes)
		in->io.expects_write = false;
	(void)pthread_mutex_unlock(&in->lock);
	return passes ? elsewhere(fs, in, true) : 0;
}
