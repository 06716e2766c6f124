/* ahead.c - see ahead.h. */
#include "cache/ahead.h"
#include "backends/util/cleanup.h"
#include "cache/scan.h"
#include "cache/version.h"
#include "backends/util/banned.h"

/* How far ahead of a sequential reader blocks are fetched: enough GETs of 8 MiB in flight
 * that those which wait a round trip for their first byte are few beside the others.
 * They share the link evenly and end together, wave after wave, and each wave costs a
 * round trip: with 24 of them 75 ms of 500 MB at 200 MB/s, with 32 of them 30 (simulated;
 * measured 2026-11-27 over slowlink at 30 ms and 55 MB/s a connection: 500 MB in 1.25 s
 * with 256 MiB, 1.27 with 192, 1.31 with 384, where the first of them comes too slowly). */
#define WINDOW_BYTES (UINT64_C(256) << 20)

/* So much of the arrays comes early: what a link of 200 MB/s carries while the headers
 * are on their way and are read, and until what is asked for then arrives. */
#define EARLY_BYTES (UINT64_C(28) << 20)

/* For how many openings one reader speaks, and all of them together. */
enum {
	BELIEF = 8,
	BELIEF_MAX = 64,
	ARRAY_BELIEF = 2,
	ARRAY_BELIEF_MAX = 4,
};

void ahead_init(struct prefetch *pf, uint64_t size)
{
	prefetch_init(pf, size, WINDOW_BYTES);
}

/* -- what readers on this mount do -- */

static void believe(_Atomic int32_t *belief, int32_t by, int32_t max)
{
	int32_t old = atomic_load(belief), new;
	do
		new = old + by < max ? old + by : max;
	while (!atomic_compare_exchange_weak(belief, &old, new));
}

/* Is it believed?  Acting on it uses it up. */
static bool use(_Atomic int32_t *belief)
{
	int32_t old = atomic_load(belief);
	while (old > 0)
		if (atomic_compare_exchange_weak(belief, &old, old - 1))
			return true;
	return false;
}

/* -- tails -- */

static bool has_tail(const struct version *v)
{
	return v->is_fits && v->n_blocks > 2;
}

static void fetch_tail(struct version *v)
{
	struct blocks *bl = v->bl;
	if (!has_tail(v) || !use(&bl->tail_belief))
		return;
	(void)blocks_hint(bl, v, 0, BLOCK_SIZE);
	(void)blocks_hint(bl, v, (v->n_blocks - 1) * BLOCK_SIZE, BLOCK_SIZE);
}

/* Once a version. */
static void note_tail(struct version *v, uint64_t off)
{
	if (!has_tail(v) || off / BLOCK_SIZE + 1 != v->n_blocks ||
	    atomic_exchange(&v->tail_read, true))
		return;
	believe(&v->bl->tail_belief, BELIEF, BELIEF_MAX);
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

/* Does the reader have its first block, or what it needs of that? */
static bool is_begun_locked(struct version *v, const struct range *array)
{
	uint64_t last = array->len < BLOCK_SIZE ? array->len : BLOCK_SIZE;
	uint64_t block = (array->off + last - 1) / BLOCK_SIZE;
	return block_state_locked(v, block) != BLOCK_ABSENT;
}

static struct range first_array(const struct layout *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->hdus[i].end > l->hdus[i].data_off)
			return (struct range){
				.off = l->hdus[i].data_off,
				.len = l->hdus[i].end - l->hdus[i].data_off,
			};
	return (struct range){0};
}

/* l: of v, or alike. */
static void fetch_first_array(struct version *v, const struct layout *l)
{
	struct range want[PREFETCH_RANGES];
	(void)pthread_mutex_lock(&v->lock);
	want[0] = first_array(l);
	bool due = !v->early && want[0].len && want[0].len <= v->bl->array_bytes &&
		   want[0].off < v->obj.size && !is_begun_locked(v, &want[0]) &&
		   use(&v->bl->array_belief);
	v->early |= due;
	(void)pthread_mutex_unlock(&v->lock);
	if (!due)
		return;
	/* Those behind it are read as well. */
	want[0].len = v->obj.size - want[0].off;
	if (want[0].len > EARLY_BYTES)
		want[0].len = EARLY_BYTES;
	ask(v, want, prefetch_cut(want, PREFETCH_ALL_MOST));
}

static void note_hop(struct version *v)
{
	if (!atomic_exchange(&v->hopped, true))
		believe(&v->bl->hop_belief, BELIEF, BELIEF_MAX);
	fetch_first_array(v, &v->layout);
}

/* Who copies a file reads all of it too, but needs no header first. */
static void note_through(struct version *v)
{
	if (atomic_load(&v->hopped) && !atomic_exchange(&v->read_through, true))
		believe(&v->bl->array_belief, ARRAY_BELIEF, ARRAY_BELIEF_MAX);
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
	if (hops)
		note_hop(v);
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

/* The layout that the headers and arrays of a cold file are asked for by. */
static const struct layout *guess_locked(struct version *v)
{
	bool guesses = !v->layout.complete && v->alike.n && use(&v->bl->hop_belief);
	return guesses ? &v->alike : &v->layout;
}

/* Nothing of it is here but what came with its name (first.c), and that was not read: who
 * opens it first reads the header in it. */
static bool is_named_only(struct version *v)
{
	SCOPED_LOCK(&v->lock);
	return block_state_locked(v, 0) == BLOCK_PRESENT &&
	       !block_at_locked(v, 0)->read && v->bytes == block_len(v, 0);
}

void ahead_opened(struct version *v)
{
	struct range want[WALK_RANGES];
	struct walk once = {0}; /* what is asked for by a guess may not be there */
	if (!v->is_fits)
		return;
	bool named = is_named_only(v);
	if (named)
		scan_ahead(v);
	(void)pthread_mutex_lock(&v->lock);
	bool cold = named || block_state_locked(v, 0) == BLOCK_ABSENT;
	const struct layout *l = cold ? guess_locked(v) : &v->layout;
	size_t n = !cold ? 0 : walk_open(l == &v->alike ? &once : &v->walk, l, want);
	(void)pthread_mutex_unlock(&v->lock);
	if (!cold)
		return;
	ask(v, want, n);
	fetch_tail(v);
	if (n)
		fetch_first_array(v, l);
}

/* -- reads -- */

/* Who has looked at the headers and begins with an array in a large read goes on with
 * the next one.  The kernel may have its first pages already, from reading its header.
 * *ret_here: all of the array is here, or on its way. */
static struct place place_of(struct version *v, uint64_t off, uint64_t len,
			     bool *ret_here)
{
	struct place whole = {.array = {.len = v->obj.size}};
	bool large = len >= BLOCK_SIZE && atomic_load(&v->hopped);
	if (!v->is_fits)
		return whole;
	SCOPED_LOCK(&v->lock);
	const struct hdu *h = layout_at(&v->layout, off);
	if (!h || h->end == h->data_off)
		return whole;
	*ret_here = walk_has_whole(&v->walk, &v->layout, off);
	return (struct place){
		.array = {.off = h->data_off, .len = h->end - h->data_off},
		.all = large && off < h->data_off + BLOCK_SIZE,
	};
}

void ahead_read(struct prefetch *pf, pthread_mutex_t *lock, struct version *v,
		uint64_t off, uint64_t len)
{
	struct prefetch_guess g;
	bool here = false;
	struct place at = place_of(v, off, len, &here);
	(void)pthread_mutex_lock(lock);
	prefetch_next(pf, off, len, &at, &g);
	(void)pthread_mutex_unlock(lock);
	if (g.through)
		note_through(v);
	if (g.jump && jumped(v, off, len))
		return;
	/* A cutout, whose rows look as the beginning of a copy does. */
	if (here && !g.through) {
		SCOPED_LOCK(lock);
		if (g.n)
			prefetch_short(pf, &g.ranges[0], 0);
		return;
	}
	for (size_t i = 0; i < g.n; i++) {
		uint64_t n = blocks_hint(v->bl, v, g.ranges[i].off, g.ranges[i].len);
		if (n >= g.ranges[i].len)
			continue;
		SCOPED_LOCK(lock);
		prefetch_short(pf, &g.ranges[i], n);
	}
}
