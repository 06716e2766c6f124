/* flush.c - see version.h: the thread that writes the index.
 *
 * A round takes each version that changed: its states are copied, then its data is
 * synced, then its rows are committed (blocks (1)).  A row may so come to claim a
 * block that was evicted meanwhile: its CRC does not match a hole, and the version
 * is dirty again, so the next round mends it.
 *
 * What could not be written stays dirty, and its version loaded, until it can be; where
 * too many are, it leaves the disk instead (P9).
 */
#include "cache/version.h"
#include <errno.h>
#include <stdlib.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/thread.h"
#include "cache/frame.h"
#include "cache/scan.h"
#include "backends/util/banned.h"

enum {
	ROUND_MS = 500,
	/* Of a version that is being fetched: to sync it took a fifth of the daemon's
	 * time at 400 MB/s (perf, 2026-11-26).  All that a crash costs is fetching again
	 * what came since. */
	BUSY_MS = 5000,
	/* After an error: what is not written is fetched again after a crash, and a disk
	 * that is full or broken is mostly so for longer. */
	RETRY_MS = 10000,
	ROWS = 64, /* in one transaction: 4 GiB of a version */
};

static void copy_extent(const struct extent *e, uint64_t no, uint64_t n_blocks,
			struct index_extent *ret)
{
	*ret = (struct index_extent){.no = no};
	for (uint64_t i = 0; i < n_blocks; i++) {
		const struct block *b = &e->block[i];
		if (b->state != BLOCK_PRESENT && b->state != BLOCK_UNVERIFIED)
			continue;
		ret->present[i / 8] |= (uint8_t)(1u << (i % 8));
		ret->crc[i] = b->crc;
	}
}

/* The next dirty extents, at most ROWS; they are clean from here on, or until they are
 * found not to have been written. */
static size_t snapshot(struct version *v, struct index_extent *rows,
		       uint64_t *ret_disk_bytes, bool *ret_settled)
{
	size_t n = 0;
	SCOPED_LOCK(&v->lock);
	for (uint64_t i = 0; i < v->n_extents && n < ROWS; i++) {
		struct extent *e = v->extents[i];
		if (!e || !e->dirty)
			continue;
		uint64_t left = v->n_blocks - i * EXTENT_BLOCKS;
		e->dirty = false;
		copy_extent(e, i, left < EXTENT_BLOCKS ? left : EXTENT_BLOCKS,
			    &rows[n++]);
	}
	*ret_disk_bytes = v->disk_bytes;
	*ret_settled = v->settled;
	return n;
}

static int flush_rows(struct version *v, const struct index_extent *rows, size_t n,
		      uint64_t disk_bytes, bool settled)
{
	struct blocks *bl = v->bl;
	struct index_version row = {
		.id = v->id,
		.key = v->key,
		.etag = v->obj.etag,
		.disk_bytes = disk_bytes,
		.atime_ns = atomic_exchange(&v->atime_ns, 0),
	};
	if (!row.atime_ns)
		row.atime_ns = clock_wall_ns();
	row.atime_ns = frame_rank(v, row.atime_ns);
	int r = settled ? store_check(bl->store, &v->id) : store_sync(bl->store, &v->id);
	if (r == -ENODATA)
		return version_check_file(v, NULL); /* dirty again, if it was so */
	if (!r)
		r = index_save(bl->index, &row, rows, n);
	if (!r)
		v->row_bytes = disk_bytes;
	return r;
}

static void mark_again(struct version *v, const struct index_extent *rows, size_t n)
{
	SCOPED_LOCK(&v->lock);
	/* A run that ended meanwhile may have given it back: the row must say so still.
	 */
	for (size_t i = 0; i < n; i++)
		if (extent_make(v, rows[i].no))
			v->extents[rows[i].no]->dirty = true;
	version_mark_dirty_locked(v);
}

/* Of what was evicted nothing stays in memory either. */
static void give_back(struct version *v, const struct index_extent *rows, size_t n)
{
	SCOPED_LOCK(&v->lock);
	for (size_t i = 0; i < n; i++)
		extent_give_back_locked(v, rows[i].no);
}

static int flush_version(struct version *v, struct index_extent *rows)
{
	uint64_t disk_bytes;
	bool settled;
	size_t n;
	scan_flush(v);
	while ((n = snapshot(v, rows, &disk_bytes, &settled))) {
		int r = flush_rows(v, rows, n, disk_bytes, settled);
		if (r) {
			mark_again(v, rows, n);
			return r;
		}
		give_back(v, rows, n);
	}
	return 0;
}

/* It leaves the disk: kept until now, or all of its blocks were evicted. */
static void drop(struct version *v)
{
	struct blocks *bl = v->bl;
	version_drop_files(v);
	room_unload(bl, v->disk_bytes, v->row_bytes);
	version_free(v);
	version_drop_end(bl);
}

static void touch(struct version *v)
{
	int64_t atime_ns = atomic_exchange(&v->atime_ns, 0);
	if (atime_ns && v->on_disk)
		(void)index_touch(v->bl->index, &v->id,
				  frame_rank(v, atime_ns));
}

static void unload_idle(struct blocks *bl, uint32_t max, bool failing)
{
	bool drops;
	for (struct version *v; (v = version_take_idle(bl, max, failing, &drops));) {
		if (drops) {
			drop(v);
		} else {
			touch(v);
			version_free(v);
		}
	}
}

/* Is more of it on its way, so that it may as well wait? */
static bool may_wait(struct version *v)
{
	uint64_t now = clock_now_ns();
	if (!v->put_off_ns)
		v->put_off_ns = now;
	SCOPED_LOCK(&v->lock);
	if (!v->runs || now - v->put_off_ns >= BUSY_MS * NS_PER_MS)
		return false;
	version_mark_dirty_locked(v);
	return true;
}

/* asked: somebody waits for this round, or it is the last.  False: something could not
 * be written. */
static bool flush_round(struct blocks *bl, struct index_extent *rows, bool asked)
{
	bool good = true;
	/* What becomes dirty during the round is the next one's. */
	for (size_t n = versions_dirty(bl); n && (good || asked); n--) {
		struct version *v = version_take_dirty(bl);
		if (!v)
			break;
		if (asked || !may_wait(v)) {
			good &= !flush_version(v, rows);
			v->put_off_ns = 0;
		}
		version_release(v);
	}
	return good;
}

/* Until there is a round to do; false: it is the last. */
static bool wait_round(struct blocks *bl, uint64_t ms, uint64_t *ret_round,
		       bool *ret_asked)
{
	SCOPED_LOCK(&bl->lock);
	if (!bl->stopping && bl->flush_asked == bl->flush_done)
		cond_wait_ms(&bl->flush_wanted, &bl->lock, ms);
	*ret_round = bl->flush_asked;
	*ret_asked = bl->stopping || bl->flush_asked != bl->flush_done;
	return !bl->stopping;
}

static void *flusher(void *arg)
{
	struct blocks *bl = arg;
	uint64_t round, ms = ROUND_MS;
	(void)pthread_setname_np(pthread_self(), "mastfs-index");
	struct index_extent *rows = bl->flush_rows;
	uint64_t retry_ns = 0; /* 0 = all that had to be written was */
	for (bool more = true, asked; more;) {
		more = wait_round(bl, ms, &round, &asked);
		uint64_t start = clock_now_ns();
		if (asked || start >= retry_ns)
			retry_ns = flush_round(bl, rows, asked)
					   ? 0
					   : clock_add(start, RETRY_MS * NS_PER_MS);
		unload_idle(bl, VERSIONS_IDLE_MAX, retry_ns);
		/* A slow disk is left in peace half of the time. */
		uint64_t took = (clock_now_ns() - start) / NS_PER_MS;
		ms = took > ROUND_MS ? took : ROUND_MS;

		SCOPED_LOCK(&bl->lock);
		bl->flush_done = round;
		(void)pthread_cond_broadcast(&bl->changed);
	}
	/* What the last round itself found damaged. */
	(void)flush_round(bl, rows, true);
	unload_idle(bl, 0, true);
	return NULL;
}

int flush_start(struct blocks *bl)
{
	/* Here, where it can fail: without it nothing would ever be written out or let
	 * go of. */
	bl->flush_rows = calloc(ROWS, sizeof *bl->flush_rows);
	if (!bl->flush_rows)
		return -ENOMEM;
	return thread_start(&bl->flusher, 0, flusher, bl);
}

void flush_stop(struct blocks *bl)
{
	(void)pthread_mutex_lock(&bl->lock);
	bl->stopping = true;
	(void)pthread_cond_broadcast(&bl->flush_wanted);
	(void)pthread_mutex_unlock(&bl->lock);
	(void)pthread_join(bl->flusher, NULL);
}

void flush_now(struct blocks *bl)
{
	SCOPED_LOCK(&bl->lock);
	/* A round that runs now began too early. */
	uint64_t round = ++bl->flush_asked;
	(void)pthread_cond_broadcast(&bl->flush_wanted);
	while (bl->flush_done < round && !bl->stopping)
		(void)pthread_cond_wait(&bl->changed, &bl->lock);
}
