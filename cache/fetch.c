/* fetch.c - see version.h: runs, one GET each.
 *
 * A run claims its blocks, waits in the pool's queue, takes room, and publishes
 * each block as soon as the last byte of it was written: a reader is served while
 * the GET goes on (blocks (3)).  What was published stays when the run fails.
 *
 * A hint that a reader runs into while it is queued is submitted a second time, at
 * the reader's rank.  Whichever job comes first runs it; the other finds it taken.
 */
#include "cache/version.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/crc.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "cache/scan.h"
#include "backends/util/banned.h"

/* Nobody waits for a hint that does not get through. */
#define HINT_TIMEOUT_NS (30 * NS_PER_S)

static uint64_t run_end(const struct run *run)
{
	const struct version *v = run->v;
	uint64_t last = run->first + run->n - 1;
	return last * BLOCK_SIZE + block_len(v, last);
}

void run_unref_locked(struct run *run)
{
	struct version *v = run->v;
	if (--run->refs)
		return;
	free(run);
	SCOPED_LOCK(&v->bl->lock);
	v->n_holds--;
}

static void unlink_locked(struct run *run)
{
	struct run **p = &run->v->runs;
	while (*p != run)
		p = &(*p)->next;
	*p = run->next;
}

/* -- receiving -- */

/* The block is whole: to the disk in one write, and to whoever waits for it. */
static int publish(struct run *run)
{
	struct version *v = run->v;
	size_t len = block_len(v, run->block);
	int r = store_write(v->bl->store, &v->id, run->block * BLOCK_SIZE, run->buffer,
			    len);
	if (r == -ENODATA)
		return -EAGAIN;
	if (r == -ENOSPC || r == -EDQUOT)
		room_refused(v->bl);
	if (r)
		return -ENOSPC; /* whatever it was: the file takes no bytes */
	r = block_publish(v, run->block, crc32c(0, run->buffer, len), BLOCK_PRESENT,
			  run->epoch);
	if (r)
		return r;
	run->reserved -= block_disk_len(v, run->block);
	run->block++;
	return 0;
}

/* The backend's pieces are small (libcurl's: 16 KiB), and a write of each would cost
 * more than a copy: it takes the inode's lock, which all runs of a file share. */
static int receive(struct run *run, const char *bytes, size_t len)
{
	while (len) {
		uint64_t start = run->block * BLOCK_SIZE;
		uint64_t end = start + block_len(run->v, run->block);
		size_t n = end - run->pos < len ? (size_t)(end - run->pos) : len;
		memcpy(run->buffer + (run->pos - start), bytes, n);
		run->pos += n;
		bytes += n;
		len -= n;
		int r = run->pos == end ? publish(run) : 0;
		if (r)
			return r;
	}
	return 0;
}

static int run_sink(void *arg, uint64_t off, const void *bytes, size_t len)
{
	struct run *run = arg;
	if (off != run->pos || len > run_end(run) - run->pos)
		return -EINVAL; /* the backend broke its word: no byte of it counts */
	atomic_fetch_add(&run->v->bl->fetched_bytes, len);
	run->fault = receive(run, bytes, len);
	/* To the backend both mean: stop, and do not try again. */
	return run->fault ? -ENOSPC : 0;
}

static int get(struct run *run, enum prio prio)
{
	struct version *v = run->v;
	struct blocks *bl = v->bl;
	uint64_t timeout = bl->read_timeout_ns;
	if (prio != PRIO_DEMAND && timeout > HINT_TIMEOUT_NS)
		timeout = HINT_TIMEOUT_NS;
	struct call call = {
		.deadline_ns = clock_add(clock_now_ns(), timeout),
		.cancelled = &run->cancelled,
		.prio = prio,
		.wanted = &run->wanted,
	};
	atomic_fetch_add(&bl->gets, 1);
	int r = backend_get(bl->be, v->key, &v->obj, run->pos, run_end(run) - run->pos,
			    run_sink, run, &call);
	if (run->fault)
		return run->fault;
	return !r && run->pos != run_end(run) ? -EIO : r;
}

/* Where the bytes come from. */
static int bring(struct run *run, enum prio prio)
{
	if (!run->given)
		return get(run, prio);
	atomic_fetch_add(&run->v->bl->gets, 1);
	atomic_fetch_add(&run->v->bl->fetched_bytes, run_end(run) - run->pos);
	return receive(run, run->given, run_end(run) - run->pos);
}

static int fetch(struct run *run, enum prio prio)
{
	struct version *v = run->v;
	if (atomic_load(&run->cancelled) || (prio == PRIO_HINT && !version_used(v)))
		return -ECANCELED;
	uint64_t bytes = range_disk_len(v, run->first, run->n);
	int r = room_take(v->bl, bytes);
	if (r)
		return r;
	run->reserved = bytes;
	/* Perhaps this file alone, which is too long for the disk: of the others nothing
	 * is known (P9). */
	if (version_check_file(v, &run->epoch))
		return -ENOSPC;
	/* As many of them as the pool has threads (P9). */
	CLEANUP_FREE char *buffer = malloc(BLOCK_SIZE);
	if (!buffer)
		return -ENOMEM;
	run->buffer = buffer;
	return bring(run, prio);
}

/* P9: a file that is read past a full cache would leave all of its extents in memory. */
static void give_back_locked(struct run *run)
{
	uint64_t last = (run->first + run->n - 1) / EXTENT_BLOCKS;
	for (uint64_t no = run->first / EXTENT_BLOCKS; no <= last; no++)
		extent_give_back_locked(run->v, no);
}

static void end(struct run *run, int r)
{
	struct version *v = run->v;
	/* -ENOSPC comes from our disk only: a store's is about writes. */
	bool no_room = r == -ENOSPC;
	/* Half a block is no block, and the cap counts what is on the disk. */
	if (run->reserved)
		(void)store_punch(v->bl->store, &v->id, run->block * BLOCK_SIZE,
				  block_disk_len(v, run->block));
	room_give(v->bl, run->reserved);
	if (run->hint)
		atomic_fetch_sub(&v->bl->n_hints, 1);

	SCOPED_LOCK(&v->lock);
	for (uint64_t b = run->block; b < run->first + run->n; b++)
		block_release_locked(v, b);
	give_back_locked(run);
	run->error = r;
	run->no_room = no_room;
	run->spent = clock_now_ns() - run->started_ns >= v->bl->read_timeout_ns / 2;
	run->state = RUN_ENDED;
	unlink_locked(run);
	waiters_wake_locked(v, run);
}

/* The version must outlive its last run, until its lock is free. */
static void run_unref(struct run *run)
{
	struct version *v = run->v;
	version_hold(v);
	(void)pthread_mutex_lock(&v->lock);
	run_unref_locked(run);
	(void)pthread_mutex_unlock(&v->lock);
	version_release(v);
}

static void run_job(void *arg)
{
	struct run *run = arg;
	struct version *v = run->v;
	(void)pthread_mutex_lock(&v->lock);
	bool mine = run->state == RUN_QUEUED;
	enum prio prio = run->prio;
	if (mine)
		run->state = RUN_STARTED;
	(void)pthread_mutex_unlock(&v->lock);
	if (mine) {
		run->started_ns = clock_now_ns();
		end(run, fetch(run, prio));
		scan_ahead(v);
	}
	run_unref(run);
}

/* -- starting -- */

static uint64_t claim_locked(struct version *v, uint64_t first, uint64_t last)
{
	uint64_t n = 0;
	while (n < v->bl->run_blocks && first + n <= last &&
	       block_state_locked(v, first + n) == BLOCK_ABSENT &&
	       !block_claim_locked(v, first + n))
		n++;
	return n;
}

static int submit_locked(struct run *run)
{
	struct version *v = run->v;
	int r = pool_submit(v->bl->pool, run->prio, run_job, run);
	if (!r)
		run->refs++;
	return r;
}

/* It has claimed its blocks; NULL: no memory, or there are none to claim. */
static struct run *run_new_locked(struct version *v, uint64_t first, uint64_t last,
				  uint64_t starter, enum prio prio)
{
	struct run *run = calloc(1, sizeof *run);
	uint64_t n = run ? claim_locked(v, first, last) : 0;
	if (!n) {
		free(run);
		return NULL;
	}
	*run = (struct run){
		.v = v,
		.first = first,
		.n = n,
		.hint = !starter,
		.starter = starter,
		.prio = prio,
		.pos = first * BLOCK_SIZE,
		.block = first,
		.next = v->runs,
		.refs = 1,
	};
	v->runs = run;
	version_hold(v);
	if (run->hint)
		atomic_fetch_add(&v->bl->n_hints, 1);
	return run;
}

int64_t run_start_locked(struct version *v, uint64_t first, uint64_t last,
			 uint64_t starter, enum prio prio)
{
	struct run *run = run_new_locked(v, first, last, starter, prio);
	if (!run)
		return -ENOMEM;
	uint64_t n = run->n;
	int r = submit_locked(run);
	if (r) {
		for (uint64_t b = first; b < first + n; b++)
			block_release_locked(v, b);
		if (run->hint)
			atomic_fetch_sub(&v->bl->n_hints, 1);
		unlink_locked(run);
	}
	run_unref_locked(run);
	/* -EAGAIN is a word that readers know otherwise. */
	return r == -EAGAIN ? -ENOMEM : r ? r : (int64_t)n;
}

void run_given(struct version *v, const void *bytes)
{
	(void)pthread_mutex_lock(&v->lock);
	struct run *run = run_new_locked(v, 0, 0, 0, PRIO_DEMAND);
	if (run) {
		run->state = RUN_STARTED;
		run->given = bytes;
	}
	(void)pthread_mutex_unlock(&v->lock);
	if (!run)
		return;
	run->started_ns = clock_now_ns();
	end(run, fetch(run, PRIO_DEMAND));
	run_unref(run);
}

struct run *run_find_locked(struct version *v, uint64_t block)
{
	for (struct run *run = v->runs; run; run = run->next)
		if (block >= run->first && block - run->first < run->n) {
			run->refs++;
			return run;
		}
	return NULL;
}

void run_promote_locked(struct run *run, uint64_t reader)
{
	atomic_store(&run->wanted, true);
	if (run->state != RUN_QUEUED || run->prio == PRIO_DEMAND)
		return;
	run->prio = PRIO_DEMAND;
	run->starter = reader;
	/* If this fails, it comes in its turn. */
	(void)submit_locked(run);
}

/* -- past the cache -- */

struct direct {
	char *dst;
	uint64_t off, len, done;
};

static int direct_sink(void *arg, uint64_t off, const void *bytes, size_t len)
{
	struct direct *d = arg;
	if (off != d->off + d->done || len > d->len - d->done)
		return -EINVAL;
	memcpy(d->dst + d->done, bytes, len);
	d->done += len;
	return 0;
}

static int bypass_begin(struct blocks *bl, struct call *call)
{
	SCOPED_LOCK(&bl->lock);
	while (bl->n_bypasses >= BYPASSES_MAX) {
		int r = call_check(call);
		if (r)
			return r;
		cond_wait_ms(&bl->changed, &bl->lock, WAIT_SLICE_MS);
	}
	bl->n_bypasses++;
	return 0;
}

int fetch_bypass(struct version *v, uint64_t off, void *dst, uint64_t len,
		 struct call *call)
{
	struct blocks *bl = v->bl;
	int r = bypass_begin(bl, call);
	if (r)
		return r;
	uint64_t limit = clock_add(clock_now_ns(), bl->read_timeout_ns);
	struct call own = {
		.deadline_ns = call->deadline_ns < limit ? call->deadline_ns : limit,
		.cancelled = call->cancelled,
		.prio = PRIO_DEMAND,
	};
	struct direct d = {.dst = dst, .off = off, .len = len};
	atomic_fetch_add(&bl->gets, 1);
	atomic_fetch_add(&bl->bypassed, 1);
	r = backend_get(bl->be, v->key, &v->obj, off, len, direct_sink, &d, &own);
	atomic_fetch_add(&bl->fetched_bytes, d.done);
	if (!r && d.done != len)
		r = -EIO;

	SCOPED_LOCK(&bl->lock);
	bl->n_bypasses--;
	(void)pthread_cond_broadcast(&bl->changed);
	return r;
}
