/* fill.c - see version.h: what nobody asked for, but is worth having.
 *
 * One thread takes versions from a queue and walks through each from its front: what
 * is missing is fetched, what was not verified since start is verified, so that the
 * next open can hand its file to the kernel (pass.h).  It has RUNS requests in flight
 * at most, and none is started while somebody waits for the network, or did a moment
 * ago, or while hints are on their way.
 *
 * A version is completed when a third of it was read by somebody.  Its header alone,
 * or a few cutouts, never are as much.  And only if it takes no more than a quarter of
 * the cache: what it pushes out was read as well.
 */
#include "cache/version.h"
#include <errno.h>
#include <stdlib.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/thread.h"
#include "backends/util/banned.h"

enum {
	QUEUE_MAX = 64, /* versions; more are not remembered */
	RUNS = 2,
	PART_READ = 3,	/* a third */
	PART_CACHE = 4, /* a quarter */
};
#define QUIET_NS (100 * NS_PER_MS) /* after the last read that waited */
#define AGAIN_NS (60 * NS_PER_S)   /* one attempt at a version in this time */

struct item {
	struct version *v; /* held */
	bool completes;	   /* false: verify only */
};

struct fill {
	/* set once */
	struct blocks *bl;
	bool completes;
	pthread_t thread;

	/* guarded by lock, which is below version.lock */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct item queue[QUEUE_MAX]; /* a ring */
	uint32_t first, n;
	bool started;

	/* atomic */
	atomic_bool stopping;
};

/* -- the queue -- */

static bool put(struct fill *f, struct version *v, bool completes)
{
	SCOPED_LOCK(&f->lock);
	if (f->n == QUEUE_MAX || !f->started || atomic_load(&f->stopping))
		return false;
	version_hold(v);
	f->queue[(f->first + f->n++) % QUEUE_MAX] =
		(struct item){.v = v, .completes = completes};
	(void)pthread_cond_signal(&f->changed);
	return true;
}

/* False: it is over. */
static bool take(struct fill *f, struct item *ret)
{
	SCOPED_LOCK(&f->lock);
	while (!f->n && !atomic_load(&f->stopping))
		(void)pthread_cond_wait(&f->changed, &f->lock);
	if (!f->n)
		return false;
	*ret = f->queue[f->first];
	f->first = (f->first + 1) % QUEUE_MAX;
	f->n--;
	return true;
}

static void offer_locked(struct version *v, bool completes)
{
	if (!v->filling && clock_now_ns() >= v->fill_not_before_ns)
		v->filling = put(v->bl->fill, v, completes);
}

void fill_consider_locked(struct version *v)
{
	const struct blocks *bl = v->bl;
	if (!bl->fill->completes || v->bytes == v->obj.size ||
	    v->read_bytes < v->obj.size / PART_READ ||
	    v->obj.size > bl->max_bytes / PART_CACHE)
		return;
	offer_locked(v, true);
}

void fill_verify(struct version *v)
{
	SCOPED_LOCK(&v->lock);
	offer_locked(v, false);
}

/* -- the thread -- */

static bool is_quiet(struct blocks *bl)
{
	return !atomic_load(&bl->n_demands) && !atomic_load(&bl->n_hints) &&
	       clock_now_ns() - atomic_load(&bl->demand_ns) >= QUIET_NS;
}

/* False: it is over. */
static bool wait_quiet(struct fill *f)
{
	SCOPED_LOCK(&f->lock);
	while (!atomic_load(&f->stopping) && !is_quiet(f->bl))
		cond_wait_ms(&f->changed, &f->lock, WAIT_SLICE_MS);
	return !atomic_load(&f->stopping);
}

/* As much as RUNS requests bring. */
static int fill_piece(struct fill *f, const struct item *it, uint64_t off, uint64_t len)
{
	struct call call = {
		.deadline_ns = clock_add(clock_now_ns(), f->bl->read_timeout_ns),
		.cancelled = &f->stopping,
		.prio = PRIO_FILL,
	};
	if (it->completes && !wait_quiet(f))
		return -EINTR;
	if (atomic_load(&f->stopping))
		return -EINTR;
	/* Without a call, what is missing is not asked for. */
	return blocks_bring(it->v, off, NULL, len, it->completes ? &call : NULL);
}

static void fill_version(struct fill *f, const struct item *it)
{
	struct version *v = it->v;
	const uint64_t piece = RUNS * f->bl->run_blocks * BLOCK_SIZE;
	int r = 0;
	for (uint64_t off = 0; !r && off < v->obj.size; off += piece) {
		uint64_t left = v->obj.size - off;
		r = fill_piece(f, it, off, left < piece ? left : piece);
	}
	if (!r)
		log_debug("fill", "%s: all %llu bytes are here", v->key,
			  (unsigned long long)v->obj.size);
	(void)pthread_mutex_lock(&v->lock);
	v->filling = false;
	v->fill_not_before_ns = clock_add(clock_now_ns(), AGAIN_NS);
	(void)pthread_mutex_unlock(&v->lock);
	version_release(v);
}

static void *filler(void *arg)
{
	struct fill *f = arg;
	struct item it;
	(void)pthread_setname_np(pthread_self(), "mastfs-fill");
	while (take(f, &it))
		fill_version(f, &it);
	return NULL;
}

int fill_start(struct blocks *bl, bool completes)
{
	struct fill *f = calloc(1, sizeof *f);
	if (!f)
		return -ENOMEM;
	f->bl = bl;
	f->completes = completes;
	(void)pthread_mutex_init(&f->lock, NULL);
	cond_init_monotonic(&f->changed);
	bl->fill = f;
	int r = thread_start(&f->thread, 0, filler, f);
	f->started = !r;
	return r;
}

void fill_stop(struct blocks *bl)
{
	struct fill *f = bl->fill;
	(void)pthread_mutex_lock(&f->lock);
	bool started = f->started;
	f->started = false;
	atomic_store(&f->stopping, true);
	(void)pthread_cond_broadcast(&f->changed);
	(void)pthread_mutex_unlock(&f->lock);
	/* What is queued ends with its first piece: none holds its version longer. */
	if (started)
		(void)pthread_join(f->thread, NULL);
}

void fill_free(struct blocks *bl)
{
	struct fill *f = bl->fill;
	if (!f)
		return;
	fill_stop(bl);
	(void)pthread_cond_destroy(&f->changed);
	(void)pthread_mutex_destroy(&f->lock);
	free(f);
	bl->fill = NULL;
}
