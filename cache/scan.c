/* scan.c - see scan.h. */
#include "cache/scan.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/io.h"
#include "cache/ahead.h"
#include "cache/fits.h"
#include "backends/util/banned.h"

enum {
	/* Read at once: most headers; divides BLOCK_SIZE. */
	PIECE = 32768,
	/* A thread that fetches has other things to do: 0.2 s. */
	HDUS_AT_ONCE = 4096,
};

/* -- one header -- */

/* Exactly len bytes of a file, which do not cross the end of a block.  -EAGAIN: they
 * are not here. */
typedef int read_fn(void *arg, uint64_t off, void *dst, size_t len);

/* The bytes of one header, as far as they are read. */
struct header {
	char *bytes; /* owned */
	uint64_t off, len;
};

static int read_more(struct header *h, uint64_t size, read_fn *fn, void *arg)
{
	uint64_t off = h->off + h->len;
	uint64_t n = PIECE - off % PIECE;
	if (off >= size)
		return -EBADMSG; /* the file ends in its header */
	if (n > size - off)
		n = size - off;
	char *more = realloc(h->bytes, h->len + n);
	if (!more)
		return -ENOMEM;
	h->bytes = more;
	int r = fn(arg, off, h->bytes + h->len, n);
	if (!r)
		h->len += n;
	return r;
}

/* The HDU at off.  -EAGAIN: *ret_missing is where bytes are missing. */
static int read_hdu(uint64_t off, uint64_t size, read_fn *fn, void *arg, struct hdu *ret,
		    uint64_t *ret_missing)
{
	struct header h = {.off = off};
	int r = -EAGAIN;
	while (r == -EAGAIN) {
		r = read_more(&h, size, fn, arg);
		if (r)
			break;
		r = fits_hdu(h.bytes, h.len, off, !off, ret);
	}
	*ret_missing = off + h.len;
	free(h.bytes);
	return r;
}

/* Did this bring the layout on?  What is no HDU ends it. */
static bool take(struct layout *l, const struct hdu *h, int r)
{
	if (!r)
		r = layout_add(l, h);
	if (r == -EBADMSG)
		layout_end(l);
	return !r || r == -EBADMSG || r == -E2BIG;
}

/* -- a file -- */

static int read_fd(void *arg, uint64_t off, void *dst, size_t len)
{
	return io_read_all(*(const int *)arg, dst, len, off);
}

int scan_file(int fd, struct layout *l)
{
	while (!l->complete) {
		struct hdu h = {0};
		uint64_t missing;
		int r = l->size ? read_hdu(layout_next(l), l->size, read_fd, &fd, &h,
					   &missing)
				: -EBADMSG;
		if (!take(l, &h, r))
			return r ? r : -ENOMEM;
	}
	return 0;
}

/* -- what files of one kind have in common -- */

/* A row of the index's layouts whose key is the end of a name, and whose etag, which no
 * version has without quotes, the size. */
struct kind {
	char *name; /* owned */
	char size[32];
};

/* The end of the name tells: jw..._nrca1_cal.fits. */
static int kind_of(const char *key, uint64_t size, struct kind *ret)
{
	const char *slash = strrchr(key, '/'), *name = slash ? slash + 1 : key;
	const char *end = strrchr(name, '_');
	if (!end)
		end = strchr(name, '.');
	(void)snprintf(ret->size, sizeof ret->size, "size %llu",
		       (unsigned long long)size);
	return asprintf(&ret->name, "*%s", end ? end : "") < 0 ? -ENOMEM : 0;
}

static void kind_load(struct index *ix, const char *key, struct layout *l)
{
	struct kind k;
	struct layout found;
	if (kind_of(key, l->size, &k))
		return;
	if (!index_get_layout(ix, k.name, k.size, l->size, &found)) {
		layout_done(l);
		*l = found;
	}
	free(k.name);
}

/* One HDU tells nothing that is not in the first block. */
static void kind_save(struct index *ix, const char *key, const struct layout *l)
{
	struct kind k;
	if (!l->complete || l->n < 2 || kind_of(key, l->size, &k))
		return;
	(void)index_set_layout(ix, k.name, k.size, l);
	free(k.name);
}

void blocks_learn(struct blocks *bl, const char *key, const struct object *obj, int fd)
{
	struct layout l;
	if (!fits_named(key))
		return;
	layout_init(&l, obj->size);
	if (!scan_file(fd, &l) && l.n) {
		(void)index_set_layout(bl->index, key, obj->etag, &l);
		kind_save(bl->index, key, &l);
	}
	layout_done(&l);
}

/* -- a version; v->layout changes only under v->lock -- */

static void aim_locked(struct version *v)
{
	v->scan_block = v->layout.complete ? SCAN_NEVER
					   : layout_next(&v->layout) / BLOCK_SIZE;
}

void scan_load(struct version *v)
{
	v->scan_block = SCAN_NEVER;
	v->is_fits = v->obj.size && fits_named(v->key);
	if (!v->is_fits)
		return;
	struct layout l;
	if (!index_get_layout(v->bl->index, v->key, v->obj.etag, v->obj.size, &l))
		v->layout = l;
	else
		kind_load(v->bl->index, v->key, &v->alike);
	aim_locked(v);
}

static int read_version(void *arg, uint64_t off, void *dst, size_t len)
{
	return blocks_bring(arg, off, dst, len, NULL);
}

static bool ready_locked(struct version *v)
{
	if (v->scan_block == SCAN_NEVER)
		return false;
	enum block_state s = block_state_locked(v, v->scan_block);
	return s == BLOCK_PRESENT || s == BLOCK_UNVERIFIED;
}

/* Bytes are missing of this block.  It comes while we look, or who brings it comes here;
 * one that was here already is what the disk does not give (blocks (5)), and would not
 * give the next time either. */
static bool go_on_at_locked(struct version *v, uint64_t block)
{
	bool was_here = v->scan_block == block;
	v->scan_block = block;
	if (!ready_locked(v))
		return false;
	if (was_here)
		v->scan_block = SCAN_NEVER;
	return !was_here;
}

/* One more HDU, with the lock given up meanwhile; false: not now. */
static bool step_locked(struct version *v)
{
	uint64_t off = layout_next(&v->layout), missing;
	struct hdu h = {0};
	(void)pthread_mutex_unlock(&v->lock);
	int r = read_hdu(off, v->obj.size, read_version, v, &h, &missing);
	(void)pthread_mutex_lock(&v->lock);
	if (layout_next(&v->layout) != off)
		return true; /* another told us, see scan_rekey */
	if (r == -EAGAIN)
		return go_on_at_locked(v, missing / BLOCK_SIZE);
	if (!take(&v->layout, &h, r))
		return false;
	aim_locked(v);
	if (v->layout.n) {
		v->layout_dirty = true;
		version_mark_dirty_locked(v);
	}
	return true;
}

void scan_ahead(struct version *v)
{
	(void)pthread_mutex_lock(&v->lock);
	bool mine = !v->scanning && ready_locked(v);
	size_t knew = v->layout.n;
	v->scanning |= mine;
	/* A block that comes after the last look brings its own thread here: it must
	 * find that nobody scans any more. */
	for (int i = 0; mine && i < HDUS_AT_ONCE && ready_locked(v); i++)
		if (!step_locked(v))
			break;
	if (mine)
		v->scanning = false;
	bool learnt = mine && (v->layout.n > knew || v->layout.none);
	(void)pthread_mutex_unlock(&v->lock);
	if (learnt)
		ahead_learnt(v);
}

void scan_rekey(struct version *from, struct version *to)
{
	struct layout l;
	if (from->obj.size != to->obj.size || !to->is_fits)
		return;
	layout_init(&l, from->obj.size);
	(void)pthread_mutex_lock(&from->lock);
	int r = layout_copy(&l, &from->layout);
	(void)pthread_mutex_unlock(&from->lock);

	(void)pthread_mutex_lock(&to->lock);
	if (!r && l.n > to->layout.n) {
		struct layout old = to->layout;
		to->layout = l;
		l = old;
		aim_locked(to);
		to->layout_dirty = true;
		version_mark_dirty_locked(to);
	}
	(void)pthread_mutex_unlock(&to->lock);
	layout_done(&l);
}

void scan_flush(struct version *v)
{
	struct layout l;
	layout_init(&l, v->obj.size);
	(void)pthread_mutex_lock(&v->lock);
	int r = v->layout_dirty ? layout_copy(&l, &v->layout) : -ENOENT;
	v->layout_dirty = false;
	(void)pthread_mutex_unlock(&v->lock);
	/* What could not be written is learnt again. */
	if (!r)
		(void)index_set_layout(v->bl->index, v->key, v->obj.etag, &l);
	if (!r && !layout_same(&l, &v->alike))
		kind_save(v->bl->index, v->key, &l);
	layout_done(&l);
}
