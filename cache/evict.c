/* evict.c - see version.h: the cap, the disk's reserve, and what is given up.
 *
 * Room is taken for a whole run before its GET, so that max_bytes is never passed,
 * not even for a moment (blocks (5)).  A batch is a twentieth of the cap, so that it
 * does not run for every block.  What is given up, in each step the oldest first:
 *
 *   1  files of versions that nobody has loaded, by the index; frames stay (frame.h)
 *   2  blocks of loaded versions, by their ticks; frames stay
 *   3  frames of versions that nobody has loaded, by the index
 *   4  any block of loaded versions, by its tick
 *
 * never one that is being read (blocks (4)), kept, passed or mapped (pass (3)).  Whoever
 * has a file mapped is seen only when a hole is refused: its version is passed over then
 * for a while, or the oldest blocks would be tried and refused again and again.  Step 2
 * leaves an eighth of the cap: else a cache full of frames would give up what was fetched
 * ahead before it is read.
 *
 * What bl->used counts.  Every byte of it has one owner, who alone gives it back:
 *
 *   a run, or a caller of room_take, for what it took and did not publish
 *   a loaded version, for its PRESENT and UNVERIFIED blocks (v->disk_bytes)
 *   the evictor, for the blocks that it made BUSY
 *   the row of a version that is not loaded, for what the row says (bl->unloaded)
 *
 * and passes it on, once, at these moments and under these locks only:
 *
 *   nobody -> run           room_take
 *   run -> version          block_publish, v->lock, if the epoch is the run's
 *   run -> nobody           room_give, what is left when it ends
 *   version -> nobody       block_forget_locked, v->lock: damage
 *   version -> evictor      block_unpublish_locked, v->lock
 *   evictor -> nobody       the hole is punched, or the file was damaged meanwhile
 *   evictor -> version      block_restore_locked, v->lock: no hole could be punched
 *   row -> version          room_load, while it is being loaded
 *   version -> row          room_unload, bl->lock, as it leaves the table; or before
 *                           version_drop_end, when mostly no row is left
 *   row -> nobody           room_row, after version_drop_begin said that it is not
 *                           loaded: what the row said as it was deleted or changed,
 *                           not what a list said before, since the flusher drops
 *                           rows too
 *
 * All are 4096-rounded by block_disk_len.  Rows are numbers from outside: they take
 * no more than bl->unloaded away, so that a changed one cannot wrap the count.
 */
#include "cache/version.h"
#include <errno.h>
#include <stdlib.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "cache/frame.h"
#include "backends/util/banned.h"

enum {
	VICTIMS_MAX = 16384, /* blocks in one pass: 4 GiB */
	TRIES = 4,
};
#define STATVFS_NS (1 * NS_PER_S)
#define REFUSED_NS (5 * NS_PER_S)
#define IN_USE_NS  (5 * NS_PER_S)

/* -- room -- */

/* What may still be written, by the last look at the disk.  Who finds that it was too
 * long ago looks himself: what is not true any more, or was never said, would have him
 * evict for nothing. */
static uint64_t free_bytes(struct blocks *bl)
{
	uint64_t now = clock_now_ns(), n = UINT64_MAX;
	if (now < atomic_load(&bl->free_until_ns))
		return atomic_load(&bl->free_bytes);
	uint64_t last = atomic_load(&bl->free_bytes);
	uint64_t promised = atomic_load(&bl->reserved) + bl->reserve_bytes;
	(void)store_free_bytes(bl->store, &n);
	n = n > promised ? n - promised : 0;
	/* Unless it was taken from meanwhile: the next one looks then. */
	if (atomic_compare_exchange_strong(&bl->free_bytes, &last, n))
		atomic_store(&bl->free_until_ns, now + STATVFS_NS);
	return n;
}

/* 0: taken; else how much is missing. */
static uint64_t try_take(struct blocks *bl, uint64_t bytes)
{
	uint64_t left = free_bytes(bl);
	if (left < bytes)
		return bytes - left;
	uint64_t used = atomic_load(&bl->used);
	do {
		if (used > bl->max_bytes || bl->max_bytes - used < bytes)
			return used + bytes - bl->max_bytes;
	} while (!atomic_compare_exchange_weak(&bl->used, &used, used + bytes));

	atomic_fetch_add(&bl->reserved, bytes);
	left = atomic_load(&bl->free_bytes);
	while (!atomic_compare_exchange_weak(&bl->free_bytes, &left,
					     left > bytes ? left - bytes : 0))
		;
	return 0;
}

/* True: we are the one who evicts.  False: another did, meanwhile. */
static bool evict_begin(struct blocks *bl)
{
	SCOPED_LOCK(&bl->lock);
	bool waited = bl->evicting;
	while (bl->evicting)
		(void)pthread_cond_wait(&bl->changed, &bl->lock);
	bl->evicting = !waited;
	return !waited;
}

static void evict_end(struct blocks *bl)
{
	SCOPED_LOCK(&bl->lock);
	bl->evicting = false;
	(void)pthread_cond_broadcast(&bl->changed);
}

static uint64_t evict(struct blocks *bl, uint64_t bytes);

int room_take(struct blocks *bl, uint64_t bytes)
{
	if (bytes > bl->max_bytes || clock_now_ns() < atomic_load(&bl->full_until_ns))
		return -ENOSPC;
	for (int i = 0; i < TRIES; i++) {
		uint64_t missing = try_take(bl, bytes);
		if (!missing)
			return 0;
		if (!evict_begin(bl))
			continue;
		uint64_t batch = bl->max_bytes / 20;
		uint64_t got = evict(bl, missing > batch ? missing : batch);
		evict_end(bl);
		if (!got)
			return try_take(bl, bytes) ? -ENOSPC : 0;
	}
	return -ENOSPC;
}

void room_give(struct blocks *bl, uint64_t bytes)
{
	atomic_fetch_sub(&bl->used, bytes);
	atomic_fetch_sub(&bl->reserved, bytes);
}

void room_written(struct blocks *bl, uint64_t bytes)
{
	atomic_fetch_sub(&bl->reserved, bytes);
}

void room_freed(struct blocks *bl, uint64_t bytes)
{
	atomic_fetch_sub(&bl->used, bytes);
}

/* Take a row's bytes out of bl->unloaded; returns how many of them were there. */
static uint64_t take_row(struct blocks *bl, uint64_t bytes)
{
	uint64_t have = atomic_load(&bl->unloaded), n;
	do
		n = bytes < have ? bytes : have;
	while (!atomic_compare_exchange_weak(&bl->unloaded, &have, have - n));
	return n;
}

/* One step each, so that bl->used is never short of what is on the disk. */
void room_load(struct blocks *bl, uint64_t row_bytes, uint64_t disk_bytes)
{
	atomic_fetch_add(&bl->used, disk_bytes - take_row(bl, row_bytes));
}

uint64_t room_row(struct blocks *bl, uint64_t said, uint64_t says)
{
	uint64_t counted = take_row(bl, said);
	atomic_fetch_add(&bl->unloaded, says);
	atomic_fetch_add(&bl->used, says - counted);
	uint64_t freed = counted > says ? counted - says : 0;
	atomic_fetch_add(&bl->evicted_bytes, freed);
	return freed;
}

void room_unload(struct blocks *bl, uint64_t disk_bytes, uint64_t row_bytes)
{
	atomic_fetch_add(&bl->used, row_bytes - disk_bytes);
	atomic_fetch_add(&bl->unloaded, row_bytes);
}

void room_refused(struct blocks *bl)
{
	atomic_store(&bl->full_until_ns, clock_add(clock_now_ns(), REFUSED_NS));
}

/* -- files of versions that are not loaded -- */

/* On a full disk the index has no room to say that a file goes, and what a small file
 * gives back is less than it takes to say so.  Then only files go: a row without one is
 * believed by nobody, and counts until a later walk, which gets nothing for it, drops it.
 */
int evict_version(struct blocks *bl, const struct store_id *id, uint64_t *freed)
{
	uint64_t said, disk = store_disk_bytes(bl->store, id);
	int r = bl->index_full ? -ENOSPC : index_drop(bl->index, id, &said);
	if (r && r != -ENOSPC)
		return r;
	bl->index_full = r;
	store_remove(bl->store, id);
	uint64_t counted = r ? disk : room_row(bl, said, 0);
	*freed += disk ? counted : 0;
	return r;
}

/* False: nothing came of it, its row is as it was. */
static bool evict_file(struct blocks *bl, const struct store_id *id, bool frame,
		       uint64_t *freed)
{
	if (!version_drop_begin(bl, id))
		return false;
	int r = frame ? evict_version(bl, id, freed) : frame_keep(bl, id, freed);
	version_drop_end(bl);
	return !r;
}

/* frames: those that are nothing else any more; else what is more than that. */
static uint64_t evict_files(struct blocks *bl, bool frames, uint64_t bytes)
{
	enum { N = 32 };
	struct store_id ids[N];
	uint64_t freed = 0, before;
	size_t skip = 0;
	int n;
	do {
		before = freed;
		n = index_oldest(bl->index, frames, skip, ids, N);
		for (int i = 0; i < n && freed < bytes; i++)
			skip += !evict_file(bl, &ids[i], frames, &freed);
		/* Of a very large file a part was given up, the rest is next. */
	} while (freed < bytes && (n == N || freed > before));
	return freed;
}

/* -- blocks of loaded versions -- */

struct victim {
	uint64_t tick, block;
	struct version *v;
};

/* The youngest of the victims so far is on top. */
struct heap {
	struct victim *at; /* owned */
	size_t n, max;
};

static void sift_down(struct heap *h, size_t i)
{
	for (;;) {
		size_t child = 2 * i + 1;
		if (child >= h->n)
			return;
		if (child + 1 < h->n && h->at[child + 1].tick > h->at[child].tick)
			child++;
		if (h->at[i].tick >= h->at[child].tick)
			return;
		struct victim tmp = h->at[i];
		h->at[i] = h->at[child];
		h->at[child] = tmp;
		i = child;
	}
}

static void heap_pop(struct heap *h)
{
	h->at[0] = h->at[--h->n];
	sift_down(h, 0);
}

static void heap_offer(struct heap *h, struct victim x)
{
	if (h->n < h->max) {
		size_t i = h->n++;
		for (; i && h->at[(i - 1) / 2].tick < x.tick; i = (i - 1) / 2)
			h->at[i] = h->at[(i - 1) / 2];
		h->at[i] = x;
	} else if (x.tick < h->at[0].tick) {
		h->at[0] = x;
		sift_down(h, 0);
	}
}

static bool evictable_locked(const struct version *v, uint64_t block,
			     const struct block *b)
{
	return (b->state == BLOCK_PRESENT || b->state == BLOCK_UNVERIFIED) &&
	       !atomic_load(&v->pinned) && !v->passes && !active_covers_locked(v, block);
}

/* Returns how many bytes it could give up. */
static uint64_t offer_version(struct heap *h, struct version *v, bool frames)
{
	uint64_t sum = 0;
	SCOPED_LOCK(&v->lock);
	/* The kernel has the file: to unlink it whole would free nothing either. */
	if (!v->disk_bytes || atomic_load(&v->pinned) || v->passes ||
	    clock_now_ns() < v->in_use_until_ns)
		return 0;
	for (uint64_t i = 0; i < v->n_blocks; i++) {
		const struct block *b = block_at_locked(v, i);
		if (!b)
			i |= EXTENT_BLOCKS - 1; /* nothing in this extent */
		else if (evictable_locked(v, i, b) &&
			 (frames || !frame_has_locked(v, i))) {
			heap_offer(h, (struct victim){b->tick, i, v});
			sum += block_disk_len(v, i);
		}
	}
	return sum;
}

static int by_place(const void *pa, const void *pb)
{
	const struct victim *a = pa, *b = pb;
	if (a->v != b->v)
		return (uintptr_t)a->v < (uintptr_t)b->v ? -1 : 1;
	return a->block < b->block ? -1 : a->block > b->block;
}

/* Claim the victims from x on that are neighbours and still not used. */
static size_t claim_victims(const struct victim *x, size_t n, uint64_t *ret_epoch)
{
	struct version *v = x->v;
	size_t got = 0;
	SCOPED_LOCK(&v->lock);
	*ret_epoch = v->epoch;
	if (clock_now_ns() < v->in_use_until_ns)
		return 0;
	while (got < n && x[got].v == v && x[got].block == x->block + got) {
		const struct block *b = block_at_locked(v, x[got].block);
		if (!b || b->tick != x[got].tick || !evictable_locked(v, x[got].block, b))
			break;
		block_unpublish_locked(v, x[got].block);
		got++;
	}
	return got;
}

/* The blocks that the evictor made BUSY: true, they are ABSENT and their bytes
 * free; else they are still on the disk and go on counting. */
static bool end_victims(const struct victim *x, size_t n, uint64_t epoch, int r)
{
	struct version *v = x->v;
	SCOPED_LOCK(&v->lock);
	bool gone = !r || r == -ENODATA || epoch != v->epoch;
	if (r == -EBUSY)
		v->in_use_until_ns = clock_add(clock_now_ns(), IN_USE_NS);
	for (size_t i = 0; i < n; i++)
		if (gone)
			block_release_locked(v, x->block + i);
		else
			block_restore_locked(v, x->block + i);
	return gone;
}

/* Returns how many victims this took care of; at least one.  *ret_refused: one is passed
 * over from now on. */
static size_t punch(const struct victim *x, size_t n, uint64_t *freed, bool *ret_refused)
{
	struct version *v = x->v;
	struct blocks *bl = v->bl;
	uint64_t epoch;
	size_t got = claim_victims(x, n, &epoch);
	if (!got)
		return 1;
	uint64_t disk = range_disk_len(v, x->block, got);
	uint64_t off = x->block * BLOCK_SIZE;
	/* To the end of its page, or the last page of a file stays on the disk. */
	int r = store_punch(bl->store, &v->id, off, disk);
	*ret_refused |= r == -EBUSY;
	if (!end_victims(x, got, epoch, r))
		return got;
	room_freed(bl, disk);
	atomic_fetch_add(&bl->evicted_bytes, disk);
	*freed += disk;
	return got;
}

/* So many bytes are that many blocks, the last perhaps in part. */
static uint64_t blocks_of(uint64_t bytes)
{
	return bytes / BLOCK_SIZE + (bytes % BLOCK_SIZE != 0);
}

/* Without frames: no more than leaves an eighth of the cap.  *ret_refused: others may be
 * given up instead. */
static uint64_t evict_blocks(struct blocks *bl, bool frames, uint64_t bytes,
			     bool *ret_refused)
{
	uint64_t max = blocks_of(bytes), freed = 0, sum = 0;
	uint64_t stay = frames ? 0 : bl->max_bytes / 8;
	struct heap h = {.max = max < VICTIMS_MAX ? max : VICTIMS_MAX};
	struct version **all;
	size_t n_all;
	if (versions_snapshot(bl, &all, &n_all))
		return 0;
	h.at = calloc(h.max, sizeof *h.at);
	for (size_t i = 0; h.at && i < n_all; i++)
		sum += offer_version(&h, all[i], frames);
	while (h.n > blocks_of(sum > stay ? sum - stay : 0))
		heap_pop(&h); /* the youngest */
	if (h.n)
		qsort(h.at, h.n, sizeof *h.at, by_place);
	for (size_t i = 0; i < h.n;)
		i += punch(&h.at[i], h.n - i, &freed, ret_refused);
	free(h.at);
	versions_done(all, n_all);
	return freed;
}

static uint64_t evict(struct blocks *bl, uint64_t bytes)
{
	uint64_t freed = 0;
	bl->index_full = false;
	for (int frames = 0; frames < 2; frames++) {
		if (freed < bytes)
			freed += evict_files(bl, frames, bytes - freed);
		/* Blocks of small files are small: several passes. */
		bool more = true;
		while (freed < bytes && more) {
			more = false;
			uint64_t got = evict_blocks(bl, frames, bytes - freed, &more);
			more |= got > 0;
			freed += got;
		}
	}
	atomic_store(&bl->free_until_ns, 0); /* look at the disk again */
	return freed;
}

uint64_t evict_bytes(struct blocks *bl, uint64_t bytes)
{
	while (!evict_begin(bl))
		;
	uint64_t freed = evict(bl, bytes);
	evict_end(bl);
	return freed;
}
