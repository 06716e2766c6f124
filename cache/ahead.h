/* ahead.h - what one read of a file tells of the next ones, turned into hints.
 *
 * The guesses are made in prefetch.h (streams and strides of one open file) and in
 * walk.h (headers and arrays of a FITS file, for all who have the version open); here
 * they meet the version's blocks.  Nothing here blocks, asks the network, or fails: what
 * cannot be asked for now is fetched when it is read.
 *
 * cfitsio reads the end of a file before anything else, and so do the data models of
 * pipelines; astropy does not.  So the last block comes together with the first one as
 * soon as somebody on this mount read it, and no more when nobody has for a while.  In
 * the same way it is learnt here that
 *
 *   - readers go from header to header: all headers of a file that was never seen, but
 *     whose kind was (scan.h), come when it is opened;
 *   - those who do read whole arrays afterwards, as data models do: the first ones
 *     come with the headers, 28 MiB of them.  It is dear where it is wrong, so it is
 *     believed for few openings, and of no file whose first array is larger than those
 *     of walk.h.
 */
#ifndef CACHE_AHEAD_H
#define CACHE_AHEAD_H
#include <pthread.h>
#include "cache/blocks.h"
#include "cache/prefetch.h"

/* What is guessed for one open file. */
void ahead_init(struct prefetch *pf, uint64_t size);
/* A file was opened: its version, before anything of it is read. */
void ahead_opened(struct version *v);
/* It was read.  lock guards *pf. */
void ahead_read(struct prefetch *pf, pthread_mutex_t *lock, struct version *v,
		uint64_t off, uint64_t len);
/* More of the version's layout is known. */
void ahead_learnt(struct version *v);
#endif
