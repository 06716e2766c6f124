/* spare.h - room on the disk that is held by a file, dir/spare, and given up for what
 * must be written when there is no other: on a disk that is full of staged bytes the
 * journal says that one of them goes, and the next mount starts and sends them (P3).
 */
#ifndef CACHE_SPARE_H
#define CACHE_SPARE_H
#include <stdbool.h>
#include <stdint.h>

/* What only a mount that starts may take: what the two databases need then. */
#define SPARE_START_BYTES (UINT64_C(4) << 20)

/* Make it as long as it should be, if the disk has twice as much: it must not take from
 * writers what it is to give them.  True: it is. */
bool spare_fill(const char *dir);
/* Give up so many bytes of it, or all that is more than keep.  False: there are none. */
bool spare_give(const char *dir, uint64_t bytes, uint64_t keep);
#endif
