/* frame.h - the frame of a FITS file: what is given up last.
 *
 * Its blocks are the first, the last, and those with a byte of a header that is known:
 * what every open of the file reads (2 to 12 of the 450 blocks of a usual image).  A
 * directory of files can be looked through long after their arrays are gone.
 */
#ifndef CACHE_FRAME_H
#define CACHE_FRAME_H
#include "cache/version.h"

bool frame_has(const struct layout *l, uint64_t block);
bool frame_has_locked(const struct version *v, uint64_t block);
/* The atime for its row: later than all others if nothing but its frame is here. */
int64_t frame_rank(struct version *v, int64_t atime_ns);

/* Give up what a version that is not loaded has besides its frame, 4 GiB of it at
 * most; all of it, if it is no FITS file.  The caller has begun to drop it.  *freed
 * grows by what the disk got back. */
int frame_keep(struct blocks *bl, const struct store_id *id, uint64_t *freed);
#endif
