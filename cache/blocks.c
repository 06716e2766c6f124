/* blocks.c - see blocks.h: open and close, reading, hints.
 *
 * A read walks its range from the front.  What is present is copied; for what is
 * missing in the whole rest runs are started, so that they go on in parallel, and
 * the walk waits for the first of them only.  The range is registered while the
 * walk lasts, so that nothing of it is evicted under it (blocks (4)).  Bytes are
 * read without the lock; the version's epoch tells afterwards whether they may be
 * believed.
 */
#include "cache/blocks.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/crc.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/metrics.h"
#include "cache/version.h"
#include "backends/util/banned.h"

enum {
	FDS_MAX = 256,
	RESERVED_FETCHERS = 4, /* for what somebody waits for */
	START_AHEAD = 256,     /* blocks for which one read starts runs at once */
	WARM = 4,	       /* connections that wait for the first reads */
};

/* A server that does not answer now is no help to the first reads. */
#define WARM_TIMEOUT_NS (10 * NS_PER_S)

/* -- reading -- */

struct reader {
	struct version *v;
	uint64_t id;	   /* of this read; never 0 */
	uint64_t pos, end; /* what is left */
	bool started;	   /* runs for all that is missing */
	char *dst;	   /* where pos goes; NULL = only make it present */
	struct call *call;
	uint64_t missing;    /* bytes that were not here when they were wanted */
	uint64_t missing_to; /* counted so far */
};

static uint64_t reader_last(const struct reader *rd)
{
	return (rd->end - 1) / BLOCK_SIZE;
}

/* Present bytes from pos on. */
static uint64_t ready_locked(const struct reader *rd)
{
	struct version *v = rd->v;
	uint64_t b = rd->pos / BLOCK_SIZE, last = reader_last(rd);
	uint64_t tick = atomic_load(&v->bl->tick);
	for (; b <= last && block_state_locked(v, b) == BLOCK_PRESENT; b++) {
		struct block *block = block_at_locked(v, b);
		block->tick = tick;
		if (rd->dst && !block->read)
			v->read_bytes += block_len(v, b);
		block->read |= rd->dst != NULL;
	}
	uint64_t end = b * BLOCK_SIZE;
	if (end > rd->end)
		end = rd->end;
	return end > rd->pos ? end - rd->pos : 0;
}

static void advance(struct reader *rd, uint64_t len)
{
	rd->pos += len;
	if (rd->dst)
		rd->dst += len;
}

/* The bytes go past the cache.  With the lock given up meanwhile. */
static int past_locked(struct reader *rd, uint64_t len)
{
	struct version *v = rd->v;
	(void)pthread_mutex_unlock(&v->lock);
	int r = fetch_bypass(v, rd->pos, rd->dst, len, rd->call);
	(void)pthread_mutex_lock(&v->lock);
	if (!r)
		advance(rd, len);
	return r;
}

/* With the lock given up meanwhile. */
static int copy_ready_locked(struct reader *rd, uint64_t len)
{
	struct version *v = rd->v;
	uint64_t epoch = v->epoch;
	int r = 0;
	if (rd->dst) {
		(void)pthread_mutex_unlock(&v->lock);
		r = store_read(v->bl->store, &v->id, rd->pos, rd->dst, len);
		if (r == -ENODATA)
			(void)version_check_file(v, NULL);
		(void)pthread_mutex_lock(&v->lock);
	}
	if (r == -ENODATA || epoch != v->epoch)
		return 0; /* look again: it is absent now */
	/* A disk that does not give what it took: the bucket still has it (P9). */
	if (r)
		return rd->call ? past_locked(rd, len) : -EAGAIN;
	advance(rd, len);
	return 0;
}

static int block_sum(struct version *v, uint64_t block, uint32_t *ret)
{
	size_t len = block_len(v, block);
	CLEANUP_FREE char *bytes = malloc(len);
	if (!bytes)
		return -ENOMEM;
	int r = store_read(v->bl->store, &v->id, block * BLOCK_SIZE, bytes, len);
	if (!r)
		*ret = crc32c(0, bytes, len);
	return r;
}

/* First use since start: the bytes must be those that were written (blocks (2)).
 * The lock is given up meanwhile; the block cannot come to be UNVERIFIED again
 * once it is not. */
static int verify_locked(struct reader *rd)
{
	struct version *v = rd->v;
	uint64_t block = rd->pos / BLOCK_SIZE;
	uint32_t sum = 0;
	(void)pthread_mutex_unlock(&v->lock);
	int r = block_sum(v, block, &sum);
	if (r == -ENODATA)
		(void)version_check_file(v, NULL);
	(void)pthread_mutex_lock(&v->lock);
	if (r == -ENOMEM)
		return r;

	if (block_state_locked(v, block) != BLOCK_UNVERIFIED)
		return 0;
	struct block *b = block_at_locked(v, block);
	if (!r && sum == b->crc) {
		b->state = BLOCK_PRESENT;
		return 0;
	}
	atomic_fetch_add(&v->bl->crc_errors, 1);
	if (!v->warned)
		log_warn("cache", "%s: damaged on disk at block %llu: fetching it again",
			 v->key, (unsigned long long)block);
	v->warned = true;
	block_forget_locked(v, block);
	return 0;
}

/* Blocks [b, b + n) are not here. */
static void note_missing(struct reader *rd, uint64_t b, uint64_t n)
{
	uint64_t from = b * BLOCK_SIZE, to = (b + n) * BLOCK_SIZE;
	if (from < rd->pos)
		from = rd->pos;
	if (from < rd->missing_to)
		from = rd->missing_to;
	if (to > rd->end)
		to = rd->end;
	if (from >= to)
		return;
	rd->missing += to - from;
	rd->missing_to = to;
}

/* Runs for what is missing of the rest, as far as one read may start them. */
static int start_locked(struct reader *rd)
{
	struct version *v = rd->v;
	uint64_t b = rd->pos / BLOCK_SIZE, last = reader_last(rd);
	if (last - b > START_AHEAD)
		last = b + START_AHEAD;
	int r = 0;
	rd->started = true;
	while (b <= last) {
		int64_t n = 1;
		enum block_state s = block_state_locked(v, b);
		if (s == BLOCK_ABSENT)
			n = run_start_locked(v, b, last, rd->id, rd->call->prio);
		if (s == BLOCK_ABSENT || s == BLOCK_BUSY)
			note_missing(rd, b, n < 0 ? 1 : (uint64_t)n);
		if (n < 0) {
			/* Fine if one of ours could be started: it comes back. */
			r = b == rd->pos / BLOCK_SIZE ? (int)n : 0;
			break;
		}
		b += (uint64_t)n;
	}
	return r;
}

/* No room for the run: the missing bytes go past the cache (blocks (5), P9). */
static int bypass_locked(struct reader *rd)
{
	struct version *v = rd->v;
	uint64_t b = rd->pos / BLOCK_SIZE, last = reader_last(rd);
	while (b <= last && block_state_locked(v, b) == BLOCK_ABSENT)
		b++;
	uint64_t end = b * BLOCK_SIZE < rd->end ? b * BLOCK_SIZE : rd->end;
	if (end <= rd->pos)
		return 0; /* somebody brings it after all */
	if (!rd->dst)
		return -ENOSPC;
	return past_locked(rd, end - rd->pos);
}

/* P8: another's was tried again and again, until its own deadline; ours is far off.  One
 * that failed at once would fail for us as well. */
static bool may_try_longer(const struct reader *rd, const struct run *run)
{
	return run->error == -ETIMEDOUT ||
	       (run->error == -EIO && run->spent &&
		call_left_ns(rd->call) > rd->v->bl->read_timeout_ns / 8);
}

/* What the end of a run that we waited for means to us; 0: look again. */
static int outcome_locked(struct reader *rd, const struct run *run)
{
	if (run->no_room)
		return bypass_locked(rd);
	if (!run->error || run->error == -EAGAIN || run->error == -ECANCELED)
		return 0;
	/* Another took it with him, even if it was ours: we are still here. */
	if (atomic_load(&run->cancelled))
		return 0;
	if (run->starter == rd->id)
		return run->error;
	/* Another's: it had its own patience, or nobody waited for it but a thread of
	 * ours, which gives up much sooner. */
	if (!run->starter || run->prio > rd->call->prio || may_try_longer(rd, run))
		return 0;
	return run->error;
}

/* Until pos is not BUSY any more (blocks (3)). */
static int wait_locked(struct reader *rd)
{
	struct version *v = rd->v;
	uint64_t block = rd->pos / BLOCK_SIZE;
	struct run *run = run_find_locked(v, block);
	if (run) {
		if (rd->call->prio == PRIO_DEMAND)
			run_promote_locked(run, rd->id);
		run->waiters++;
	}
	struct waiter w = {.block = block, .run = run};
	waiter_add_locked(v, &w);
	int r = call_check(rd->call);
	while (!r && block_state_locked(v, block) == BLOCK_BUSY &&
	       (!run || run->state != RUN_ENDED)) {
		cond_wait_ms(&w.wake, &v->lock, WAIT_SLICE_MS);
		r = call_check(rd->call);
	}
	waiter_del_locked(v, &w);
	if (!run)
		return r;
	/* Nobody wants it any more: its connection is needed. */
	if (!--run->waiters && r && !run->hint)
		atomic_store(&run->cancelled, true);
	if (!r && run->state == RUN_ENDED)
		r = outcome_locked(rd, run);
	run_unref_locked(run);
	return r;
}

static int step_locked(struct reader *rd)
{
	uint64_t len = ready_locked(rd);
	if (len)
		return copy_ready_locked(rd, len);
	enum block_state s = block_state_locked(rd->v, rd->pos / BLOCK_SIZE);
	if (s == BLOCK_UNVERIFIED)
		return verify_locked(rd);
	if (!rd->call)
		return -EAGAIN;
	/* What is missing behind it must not wait as well. */
	if (s == BLOCK_BUSY && rd->started)
		return wait_locked(rd);
	int r = call_check(rd->call);
	return r ? r : start_locked(rd);
}

static int bring(struct version *v, uint64_t off, void *dst, uint64_t len,
		 struct call *call, uint64_t *ret_missing)
{
	uint64_t end;
	if (__builtin_add_overflow(off, len, &end) || end > v->obj.size)
		return -EINVAL;
	if (!len)
		return 0;
	struct reader rd = {
		.v = v,
		.id = atomic_fetch_add(&v->bl->readers, 1) + 1,
		.pos = off,
		.end = end,
		.dst = dst,
		.call = call,
	};
	struct active active = {.first = off / BLOCK_SIZE, .last = reader_last(&rd)};
	atomic_fetch_add(&v->bl->tick, 1);

	SCOPED_LOCK(&v->lock);
	active_add_locked(v, &active);
	int r = 0;
	while (!r && rd.pos < rd.end)
		r = step_locked(&rd);
	active_del_locked(v, &active);
	if (dst && !r)
		fill_consider_locked(v);
	*ret_missing = rd.missing;
	return r;
}

int blocks_bring(struct version *v, uint64_t off, void *dst, uint64_t len,
		 struct call *call)
{
	uint64_t missing;
	return bring(v, off, dst, len, call, &missing);
}

/* What goes on in the background leaves the link to those who wait. */
static void demand(struct blocks *bl, const struct call *call, uint32_t n)
{
	if (!call || call->prio != PRIO_DEMAND)
		return;
	atomic_fetch_add(&bl->n_demands, n);
	atomic_store(&bl->demand_ns, clock_now_ns());
}

/* A read that had to wait for a part of it was no hit; of its bytes the rest was. */
static void count_read(uint64_t len, uint64_t missing)
{
	metrics_add(missing ? METRIC_READS_FETCHED : METRIC_READS_CACHED, 1);
	metrics_add(METRIC_READ_FETCHED_BYTES, missing);
	metrics_add(METRIC_READ_CACHED_BYTES, len - missing);
}

int blocks_read(struct blocks *bl, struct version *v, uint64_t off, void *dst, size_t len,
		struct call *call)
{
	uint64_t missing = 0;
	demand(bl, call, 1);
	int r = bring(v, off, dst, len, call, &missing);
	demand(bl, call, (uint32_t)-1);
	if (r == 0)
		count_read(len, missing);
	return r;
}

/* The aligned piece of a GET's size that b is in, no further than stop. */
static uint64_t piece_last(uint64_t b, uint64_t stop)
{
	const uint64_t piece = FETCH_SIZE / BLOCK_SIZE;
	uint64_t last = (b / piece + 1) * piece - 1;
	return last < stop ? last : stop - 1;
}

uint64_t blocks_hint(struct blocks *bl, struct version *v, uint64_t off, uint64_t len)
{
	uint64_t end;
	if (off >= v->obj.size || !len)
		return len;
	if (__builtin_add_overflow(off, len, &end) || end > v->obj.size)
		end = v->obj.size;
	/* More than this would push itself out again before it is read. */
	if (end - off > bl->max_bytes / 4)
		end = off + bl->max_bytes / 4;
	uint64_t b = off / BLOCK_SIZE, stop = (end + BLOCK_SIZE - 1) / BLOCK_SIZE;

	SCOPED_LOCK(&v->lock);
	while (b < stop) {
		int64_t n = 1;
		if (block_state_locked(v, b) == BLOCK_ABSENT)
			n = atomic_load(&bl->n_hints) < HINTS_MAX
				    ? run_start_locked(v, b, piece_last(b, stop), 0,
						       PRIO_HINT)
				    : -EAGAIN;
		if (n < 0)
			return b * BLOCK_SIZE > off ? b * BLOCK_SIZE - off : 0;
		b += (uint64_t)n;
	}
	return end - off;
}

static void warm_job(void *arg)
{
	struct blocks *bl = arg;
	struct call call = {.deadline_ns = clock_add(clock_now_ns(), WARM_TIMEOUT_NS),
			    .cancelled = &bl->closing,
			    .prio = PRIO_HINT};
	(void)backend_warm(bl->be, WARM, &call);
}

void blocks_warm(struct blocks *bl)
{
	for (int i = 0; i < WARM; i++)
		if (pool_submit(bl->pool, PRIO_HINT, warm_job, bl))
			return; /* then the reads open their own */
}

/* -- the small calls -- */

void blocks_set_mtime(struct blocks *bl, const char *key, const char *etag,
		      int64_t mtime_ns)
{
	(void)index_set_mtime(bl->index, key, etag, mtime_ns);
}

int blocks_get_mtime(struct blocks *bl, const char *key, const char *etag,
		     int64_t *ret_mtime_ns)
{
	return index_get_mtime(bl->index, key, etag, ret_mtime_ns);
}

struct index *blocks_index(struct blocks *bl)
{
	return bl->index;
}

uint64_t blocks_shrink(struct blocks *bl, uint64_t bytes)
{
	return evict_bytes(bl, bytes);
}

void blocks_stats(struct blocks *bl, struct blocks_stats *ret)
{
	uint64_t reserved = atomic_load(&bl->reserved), used = atomic_load(&bl->used);
	*ret = (struct blocks_stats){
		.max_bytes = bl->max_bytes,
		.used_bytes = used > reserved ? used - reserved : 0,
		.fetched_bytes = atomic_load(&bl->fetched_bytes),
		.gets = atomic_load(&bl->gets),
		.evicted_bytes = atomic_load(&bl->evicted_bytes),
		.bypassed = atomic_load(&bl->bypassed),
		.crc_errors = atomic_load(&bl->crc_errors),
	};
}

void blocks_sync(struct blocks *bl)
{
	flush_now(bl);
}

/* -- open -- */

static void bl_init(struct blocks *bl, const struct blocks_conf *conf, struct backend *be)
{
	bl->be = be;
	bl->max_bytes = conf->max_bytes;
	bl->reserve_bytes = conf->reserve_bytes;
	bl->array_bytes = conf->array_bytes;
	bl->read_timeout_ns = conf->read_timeout_ns;
	/* A small cache must hold several runs at once. */
	uint64_t most = conf->max_bytes / 8 / BLOCK_SIZE;
	bl->run_blocks = FETCH_SIZE / BLOCK_SIZE;
	if (bl->run_blocks > most)
		bl->run_blocks = most ? most : 1;
	bl->dirty_tail = &bl->dirty;
	(void)pthread_mutex_init(&bl->lock, NULL);
	cond_init_monotonic(&bl->changed);
	cond_init_monotonic(&bl->flush_wanted);
}

static void bl_done(struct blocks *bl)
{
	fill_free(bl);
	pool_free(bl->pool);
	free(bl->flush_rows);
	index_free(bl->index);
	store_free(bl->store);
	(void)pthread_cond_destroy(&bl->flush_wanted);
	(void)pthread_cond_destroy(&bl->changed);
	(void)pthread_mutex_destroy(&bl->lock);
	free(bl);
}

int blocks_new(const struct blocks_conf *conf, struct backend *be, struct blocks **ret)
{
	struct blocks *bl = calloc(1, sizeof *bl);
	if (!bl)
		return -ENOMEM;
	bl_init(bl, conf, be);
	struct pool_conf pool = {
		.name = "mastfs-fetch",
		.threads_max = conf->fetchers ? conf->fetchers : 1,
		.reserved = conf->fetchers > 2 * RESERVED_FETCHERS ? RESERVED_FETCHERS
								   : conf->fetchers / 2,
	};
	int r = index_new(conf->dir, &bl->index);
	if (!r)
		r = store_new(conf->dir, FDS_MAX, &bl->store);
	if (!r)
		r = recover(bl);
	if (!r)
		r = pool_new(&pool, &bl->pool);
	if (!r)
		r = fill_start(bl, conf->fill);
	if (!r)
		r = flush_start(bl);
	if (r) {
		bl_done(bl);
		return r;
	}
	*ret = bl;
	return 0;
}

static void cancel_runs(struct blocks *bl)
{
	struct version **all;
	size_t n;
	if (versions_snapshot(bl, &all, &n))
		return; /* then they run to their end */
	for (size_t i = 0; i < n; i++) {
		SCOPED_LOCK(&all[i]->lock);
		for (struct run *run = all[i]->runs; run; run = run->next)
			atomic_store(&run->cancelled, true);
	}
	versions_done(all, n);
}

void blocks_stop_filling(struct blocks *bl)
{
	fill_stop(bl);
}

void blocks_free(struct blocks *bl)
{
	if (!bl)
		return;
	fill_stop(bl);
	atomic_store(&bl->closing, true);
	cancel_runs(bl);
	pool_free(bl->pool);
	bl->pool = NULL;
	flush_stop(bl);
	bl_done(bl);
}
