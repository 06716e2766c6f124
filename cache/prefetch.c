/* prefetch.c - see prefetch.h.
 *
 * A read is contiguous if it starts within SLACK of where the furthest one ended:
 * read-ahead comes out of order, page faults come from half a window behind.  What
 * is handed out ends where a GET of FETCH_SIZE would, and is handed out only once
 * it is worth a GET: `ahead` moves in steps, not with every read.
 */
#include "cache/prefetch.h"
#include <stdbool.h>
#include "cache/blocks.h"
#include "backends/util/banned.h"

#define SLACK	     UINT64_C(1048576)
#define FIRST_WINDOW UINT64_C(16777216)

void prefetch_init(struct prefetch *pf, uint64_t size, uint64_t window_max)
{
	*pf = (struct prefetch){.size = size, .window_max = window_max};
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t add(uint64_t a, uint64_t b)
{
	uint64_t sum;
	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static bool contiguous(const struct prefetch *pf, uint64_t off)
{
	return pf->streak && off <= add(pf->next, SLACK) && add(off, SLACK) >= pf->next;
}

/* Somewhere else: a new stream may start here. */
static void restart(struct prefetch *pf, uint64_t end)
{
	pf->next = pf->ahead = end;
	pf->window = 0;
	pf->streak = 1;
}

/* A read that goes no further than an earlier one says nothing about the speed of
 * the reader: many threads of the kernel ask for one window. */
static void widen(struct prefetch *pf, uint64_t end)
{
	if (end <= pf->next)
		return;
	pf->next = end;
	if (pf->streak < UINT32_MAX)
		pf->streak++;
	uint64_t wider = pf->window ? add(pf->window, pf->window) : FIRST_WINDOW;
	pf->window = least(wider, pf->window_max);
}

int prefetch_next(struct prefetch *pf, uint64_t off, uint64_t len, struct range *ret)
{
	uint64_t end = least(add(off, len), pf->size);
	if (!len || off >= pf->size)
		return false;
	if (!contiguous(pf, off)) {
		restart(pf, end);
		return false;
	}
	widen(pf, end);
	if (pf->ahead < pf->next)
		pf->ahead = pf->next;
	uint64_t goal = least(add(pf->next, pf->window), pf->size);
	/* To the end of the file, or of a whole GET. */
	if (goal < pf->size && pf->window >= FETCH_SIZE)
		goal -= goal % FETCH_SIZE;
	uint64_t worth = least(FETCH_SIZE, pf->window) / 2;
	if (goal <= pf->ahead || (goal < pf->size && goal - pf->ahead < worth))
		return false;
	*ret = (struct range){.off = pf->ahead, .len = goal - pf->ahead};
	pf->ahead = goal;
	return true;
}
