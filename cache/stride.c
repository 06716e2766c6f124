/* stride.c - see stride.h. */
#include "cache/stride.h"
#include <stdbool.h>
#include "cache/blocks.h"
#include "backends/util/banned.h"

#define PAGE	  UINT64_C(4096)
#define TOLERANCE (2 * PAGE)	    /* what rounding can do to a distance */
#define READ_MAX  UINT64_C(1048576) /* larger reads hide what is behind a round trip */

enum { JUMPS_MIN = 3, PLACES_FIRST = 4 };

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

/* The mean of the jumps so far. */
static uint64_t step(const struct stride *st)
{
	return (st->last - st->first) / (st->n - 1);
}

static bool goes_on(const struct stride *st, uint64_t off)
{
	return st->n >= 2 && off > st->last &&
	       distance(off - st->last, step(st)) <= TOLERANCE;
}

/* Another distance, which this may be the first of. */
static void begin(struct stride *st, uint64_t off)
{
	bool forward = st->n && off > st->last && off - st->last >= BLOCK_SIZE;
	*st = (struct stride){
		.first = forward ? st->last : off,
		.last = off,
		.n = forward ? 2 : 1,
	};
}

static uint64_t places_wanted(const struct stride *st)
{
	uint64_t doubled = st->n - JUMPS_MIN;
	uint64_t n = doubled > 3 ? STRIDE_PLACES : (uint64_t)PLACES_FIRST << doubled;
	return n < STRIDE_PLACES ? n : STRIDE_PLACES;
}

/* Where the read after so many jumps from first would be; false: past the end.  How the
 * pages were rounded is multiplied with the distance. */
static bool place(const struct stride *st, uint64_t jumps, uint64_t len, uint64_t size,
		  struct range *ret)
{
	unsigned __int128 span = (unsigned __int128)(st->last - st->first) * jumps;
	unsigned __int128 off = st->first + span / (st->n - 1);
	if (off >= size)
		return false;
	uint64_t slack = PAGE + PAGE * jumps / (st->n - 1);
	if (slack > off)
		slack = (uint64_t)off;
	ret->off = (uint64_t)off - slack;
	ret->len = len + 2 * slack;
	if (ret->len > size - ret->off)
		ret->len = size - ret->off;
	return true;
}

size_t stride_jump(struct stride *st, uint64_t off, uint64_t len, uint64_t size,
		   struct range ret[static STRIDE_PLACES])
{
	if (!goes_on(st, off)) {
		begin(st, off);
		return 0;
	}
	st->last = off;
	st->n++;
	if (st->n < JUMPS_MIN || len > READ_MAX)
		return 0;
	size_t n = 0;
	uint64_t end = st->n + places_wanted(st);
	if (st->asked < st->n)
		st->asked = st->n;
	while (st->asked < end && n < STRIDE_PLACES &&
	       place(st, st->asked, len, size, &ret[n])) {
		st->asked++;
		n++;
	}
	return n;
}
