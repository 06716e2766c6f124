/* stride.h - reads that jump by the same distance: a pixel through the planes of a
 * cube, a header after each of many equal arrays.
 *
 * Pure, as prefetch.h.  Knows no format: three jumps of one length foretell the next
 * ones.  The distance is measured from the first of them, because pages round each
 * offset by up to 4 KiB.
 */
#ifndef CACHE_STRIDE_H
#define CACHE_STRIDE_H
#include <stddef.h>
#include <stdint.h>

enum {
	STRIDE_PLACES = 32, /* foretold at once, at most */
};

struct range {
	uint64_t off, len; /* bytes */
};

/* Zero at open. */
struct stride {
	uint64_t first, last; /* offsets */
	uint64_t n;	      /* jumps of one length so far, and one */
	uint64_t asked;	      /* places from first on that were foretold */
};

/* A read that goes on from no other, in a file of this size.  Returns how many places
 * to ask for. */
size_t stride_jump(struct stride *st, uint64_t off, uint64_t len, uint64_t size,
		   struct range ret[static STRIDE_PLACES]);
#endif
