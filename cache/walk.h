/* walk.h - guess which headers and arrays of a FITS file will be read next.
 *
 * Pure: it knows where HDUs lie (layout.h), is told of reads, and returns ranges for
 * blocks_hint().  What readers do, by traces of astropy, cfitsio and ds9:
 *
 *   - They hop from header to header; where the next one is, they know only when they
 *     have read this one.  If all are known when a file is opened that nothing is here
 *     of, all come at once.  Else from the first hop on the headers behind it are asked
 *     for: those that are known, the next one, and guesses at the distance of the last
 *     two, since images of one file are mostly of one size.  A reader of the first
 *     header alone of an unknown file costs nothing more.
 *   - They cut pieces out of an image, row by row: the first touch brings so much that
 *     100 rows of 2048 floats are one round and not four, and who comes back to the data
 *     of one HDU gets the rest of it, if it is not too large.
 *
 * A guess that is wrong costs the bytes of a block; after a few of them there are no
 * more.
 */
#ifndef CACHE_WALK_H
#define CACHE_WALK_H
#include <stdbool.h>
#include "cache/layout.h"
#include "cache/stride.h"

enum {
	WALK_RANGES = 64, /* asked for at once, at most */
	WALK_ARRAYS = 64, /* HDUs whose data are looked at */
};

/* Zero at first. */
struct walk {
	bool walking;	  /* somebody hops */
	size_t hop;	  /* to this HDU, at last */
	uint64_t asked;	  /* headers that start before this were asked for */
	uint64_t guessed; /* guesses up to here were made */
	uint64_t step;	  /* their distance */
	uint32_t wrong;	  /* how often that changed */
	uint64_t touched; /* bit i: somebody read of the data of HDU i */
	uint64_t whole;	  /* bit i: all of it was asked for */
};

/* Does a read from off begin at a header, other than those that the first block has?
 * Which one's: *ret. */
bool walk_hops(const struct layout *l, uint64_t off, size_t *ret);
/* It is opened, and not even its first header is here. */
size_t walk_open(struct walk *w, const struct layout *l,
		 struct range ret[static WALK_RANGES]);
/* One read that went on from no other (prefetch.h).  Data of an HDU larger than array_max
 * bytes is left alone.  Returns how many ranges to ask for. */
size_t walk_jump(struct walk *w, const struct layout *l, uint64_t off, uint64_t len,
		 uint64_t array_max, struct range ret[static WALK_RANGES]);
/* More of the layout is known. */
size_t walk_learnt(struct walk *w, const struct layout *l,
		   struct range ret[static WALK_RANGES]);
/* Was all of the data at off asked for, since somebody came back to it? */
bool walk_has_whole(const struct walk *w, const struct layout *l, uint64_t off);
/* A range that it returned could not be asked for now. */
void walk_short(struct walk *w, const struct layout *l, const struct range *asked);
#endif
