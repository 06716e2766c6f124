/* ahead.c - see ahead.h. */
#include "cache/ahead.h"
#include "backends/util/cleanup.h"
#include "cache/version.h"
#include "backends/util/banned.h"

/* How far ahead of a sequential reader blocks are fetched: enough GETs of 8 MiB in
 * flight to fill a link of 16 connections. */
#define WINDOW_BYTES (UINT64_C(128) << 20)

enum {
	TAIL_BELIEF = 8, /* openings that one read of a tail speaks for */
	TAIL_BELIEF_MAX = 64,
};

void ahead_init(struct prefetch *pf, uint64_t size)
{
	prefetch_init(pf, size, WINDOW_BYTES);
}

/* -- tails -- */

static void believe_in_tails(struct blocks *bl, int32_t by)
{
	int32_t old = atomic_load(&bl->tail_belief), new;
	do {
		new = old + by;
		new = new < 0 ? 0 : new > TAIL_BELIEF_MAX ? TAIL_BELIEF_MAX : new;
	} while (!atomic_compare_exchange_weak(&bl->tail_belief, &old, new));
}

static bool has_tail(const struct version *v)
{
	return v->is_fits && v->n_blocks > 2;
}

static void fetch_tail(struct version *v)
{
	struct blocks *bl = v->bl;
	if (!has_tail(v) || atomic_load(&bl->tail_belief) <= 0)
		return;
	believe_in_tails(bl, -1);
	(void)blocks_hint(bl, v, 0, BLOCK_SIZE);
	(void)blocks_hint(bl, v, (v->n_blocks - 1) * BLOCK_SIZE, BLOCK_SIZE);
}

/* Once a version. */
static void note_tail(struct version *v, uint64_t off)
{
	if (!has_tail(v) || off / BLOCK_SIZE + 1 != v->n_blocks ||
	    atomic_exchange(&v->tail_read, true))
		return;
	believe_in_tails(v->bl, TAIL_BELIEF);
}

/* -- headers and arrays -- */

static void ask(struct version *v, const struct range *want, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (blocks_hint(v->bl, v, want[i].off, want[i].len) >= want[i].len)
			continue;
		SCOPED_LOCK(&v->lock);
		walk_short(&v->walk, &v->layout, &want[i]);
	}
}

/* True: to a header, and all that is known of what comes next was asked for. */
static bool jumped(struct version *v, uint64_t off, uint64_t len)
{
	struct range want[WALK_RANGES];
	size_t hdu;
	if (!v->is_fits)
		return false;
	note_tail(v, off);
	(void)pthread_mutex_lock(&v->lock);
	bool hops = walk_hops(&v->layout, off, &hdu);
	size_t n = walk_jump(&v->walk, &v->layout, off, len, v->bl->array_bytes, want);
	(void)pthread_mutex_unlock(&v->lock);
	ask(v, want, n);
	return hops;
}

void ahead_learnt(struct version *v)
{
	struct range want[WALK_RANGES];
	(void)pthread_mutex_lock(&v->lock);
	size_t n = walk_learnt(&v->walk, &v->layout, want);
	(void)pthread_mutex_unlock(&v->lock);
	ask(v, want, n);
}

void ahead_opened(struct version *v)
{
	struct range want[WALK_RANGES];
	size_t n = 0;
	if (!v->is_fits)
		return;
	(void)pthread_mutex_lock(&v->lock);
	bool cold = block_state_locked(v, 0) == BLOCK_ABSENT;
	if (cold)
		n = walk_open(&v->walk, &v->layout, want);
	(void)pthread_mutex_unlock(&v->lock);
	if (!cold)
		return;
	ask(v, want, n);
	fetch_tail(v);
}

/* -- reads -- */

static struct range array_of(struct version *v, uint64_t off)
{
	struct range whole = {.len = v->obj.size};
	if (!v->is_fits)
		return whole;
	SCOPED_LOCK(&v->lock);
	const struct hdu *h = layout_at(&v->layout, off);
	return h && h->end > h->data_off
		       ? (struct range){.off = h->data_off, .len = h->end - h->data_off}
		       : whole;
}

void ahead_read(struct prefetch *pf, pthread_mutex_t *lock, struct version *v,
		uint64_t off, uint64_t len)
{
	struct prefetch_guess g;
	struct range array = array_of(v, off);
	(void)pthread_mutex_lock(lock);
	prefetch_next(pf, off, len, &array, &g);
	(void)pthread_mutex_unlock(lock);
	if (g.jump && jumped(v, off, len))
		return;
	for (size_t i = 0; i < g.n; i++) {
		uint64_t n = blocks_hint(v->bl, v, g.ranges[i].off, g.ranges[i].len);
		if (n >= g.ranges[i].len)
			continue;
		SCOPED_LOCK(lock);
		prefetch_short(pf, &g.ranges[i], n);
	}
}
