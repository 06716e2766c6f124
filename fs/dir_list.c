/* dir_list.c - reading a directory; see dir.h.
 *
 * Entries are handed on as they arrive.  An offset is a place in the stream, so entries
 * that come and go meanwhile neither repeat nor hide others, for as long as it is open.
 * An error of the network is an error of opendir or of readdir, never a short listing
 * (P10).  Who goes back to the start (rewinddir) has it opened anew, and so has who
 * begins to read it when something may have changed since it was opened (fdopendir).
 *
 * While the kernel makes inodes of one reply, the thread that sent it makes the next one.
 * It is sent if just that is asked for, soon, and no operation that may change what is
 * shown has been replied to since it was begun (fs.changes): so nobody is shown less than
 * what he has done or seen before he asked.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "fs/dir.h"
#include "fs/dir_reply.h"
#include "fs/node.h"
#include "backends/util/banned.h"

enum {
	AHEAD_BYTES_MAX = 1 << 16, /* of one reply: what C libraries ask for, twice */
	AHEAD_MAX = 32,		   /* replies, of all directories */
};

struct reader {
	struct opened opened; /* first */

	/* only who reads, of whom the kernel sends one at a time, and who makes ahead */
	char *path;		    /* owned */
	struct view_stream *stream; /* owned */
	bool begun;		    /* something of it was read */
	uint64_t changes;	    /* fs.changes when the stream was opened */

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t rests;
	bool busy;		 /* a thread makes the next reply */
	struct dir_reply *ahead; /* owned; that reply, or NULL */
};

static struct reader *reader_of(const struct task *t)
{
	return (struct reader *)(uintptr_t)t->fi.fh;
}

static struct reader *reader_new(void)
{
	struct reader *rd = calloc(1, sizeof(*rd));
	if (!rd)
		return NULL;
	(void)pthread_mutex_init(&rd->lock, NULL);
	(void)pthread_cond_init(&rd->rests, NULL);
	return rd;
}

static void reader_free(struct reader *rd)
{
	if (rd->stream)
		view_close(rd->stream);
	(void)pthread_cond_destroy(&rd->rests);
	(void)pthread_mutex_destroy(&rd->lock);
	free(rd->path);
	free(rd);
}

/* --- the reply after this one --- */

/* Owned by the caller, or NULL.  Whoever makes it waits for no network. */
static struct dir_reply *take_ahead(struct fs *fs, struct reader *rd)
{
	SCOPED_LOCK(&rd->lock);
	while (rd->busy)
		(void)pthread_cond_wait(&rd->rests, &rd->lock);
	if (rd->ahead)
		atomic_fetch_sub(&fs->replies_ahead, 1);
	return STEAL(rd->ahead);
}

static bool is_good(struct fs *fs, const struct dir_reply *rp, const struct task *t)
{
	double age_s = (double)(clock_now_ns() - rp->begun_ns) / (double)NS_PER_S;
	return rp->off == (uint64_t)t->off && rp->size == t->size &&
	       rp->changes == atomic_load(&fs->changes) && age_s < node_kernel_ttl_s(fs);
}

/* Before the reply that it follows is sent: afterwards the directory may be closed. */
static bool begin_ahead(struct fs *fs, struct reader *rd, const struct dir_reply *rp)
{
	if (!rp->plus || !rp->used || rp->size > AHEAD_BYTES_MAX)
		return false;
	SCOPED_LOCK(&rd->lock);
	if (rd->busy || rd->ahead)
		return false;
	if (atomic_fetch_add(&fs->replies_ahead, 1) >= AHEAD_MAX) {
		atomic_fetch_sub(&fs->replies_ahead, 1);
		return false;
	}
	rd->busy = true;
	return true;
}

static void make_ahead(const struct dir_place *dp, struct reader *rd, uint64_t off,
		       size_t size)
{
	struct dir_reply *rp = NULL;
	if (dir_reply_new(dp, off, size, true, NULL, &rp))
		atomic_fetch_sub(&dp->fs->replies_ahead, 1);
	SCOPED_LOCK(&rd->lock);
	rd->ahead = rp;
	rd->busy = false;
	(void)pthread_cond_signal(&rd->rests);
}

/* --- operations --- */

/* The directory as it is now, under the name that it has now.  One that was removed stays
 * as it was opened: its name may be another's. */
static int open_stream(struct task *t, struct reader *rd, struct call *call)
{
	bool named;
	struct view_stream *stream;
	struct inode *in = tree_get(t->fs->tree, t->ino);
	if (!in)
		return -ENOENT;
	CLEANUP_FREE char *path = inode_path(t->fs->tree, in, &named);
	tree_put(t->fs->tree, in);
	if (path && !named && rd->stream)
		return 0;
	uint64_t changes = atomic_load(&t->fs->changes);
	int r = path ? view_open(t->fs->vw, path, &stream, call) : -ENOMEM;
	if (r)
		return r;
	if (rd->stream)
		view_close(rd->stream);
	free(rd->path);
	rd->path = STEAL(path);
	rd->stream = stream;
	rd->begun = false;
	rd->changes = changes;
	return 0;
}

static void close_reader(struct fs *fs, struct opened *o)
{
	struct reader *rd = (struct reader *)o;
	fs_closed(fs, o);
	dir_reply_take_back(fs, take_ahead(fs, rd));
	reader_free(rd);
}

int dir_open(struct task *t, struct call *call)
{
	struct reader *rd = reader_new();
	int r = rd ? open_stream(t, rd, call) : -ENOMEM;
	if (r) {
		if (rd)
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

static int read_entries(struct task *t, bool plus, struct call *call)
{
	struct fs *fs = t->fs;
	struct reader *rd = reader_of(t);
	size_t size = t->size;
	struct dir_reply *rp = take_ahead(fs, rd);
	bool ahead = !rp || (plus && is_good(fs, rp, t));
	if (rp && !ahead)
		dir_reply_take_back(fs, STEAL(rp));
	bool anew = !t->off && (rd->begun || rd->changes != atomic_load(&fs->changes));
	int r = anew ? open_stream(t, rd, call) : 0;
	struct dir_place dp = {fs, t->ino, rd->path, rd->stream};
	if (!r && !rp)
		r = dir_reply_new(&dp, (uint64_t)t->off, t->size, plus, call, &rp);
	if (r)
		return r;
	rd->begun = true;
	/* One that was in vain says that more are likely to be. */
	ahead = ahead && begin_ahead(fs, rd, rp);
	uint64_t next = rp->next;
	if (reply_buf(t, rp->bytes, rp->used))
		dir_reply_take_back(fs, rp);
	else
		free(rp);
	if (ahead)
		make_ahead(&dp, rd, next, size);
	return 0;
}

int dir_read(struct task *t, struct call *call)
{
	return read_entries(t, false, call);
}

int dir_read_plus(struct task *t, struct call *call)
{
	return read_entries(t, true, call);
}
