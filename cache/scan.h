/* scan.h - learn the layout of a FITS file from headers that are on this disk.
 *
 * Of a version: whatever header comes next is parsed as soon as its block is here,
 * on the thread that fetched it, and the next one looked for; nothing is fetched for
 * it.  Of a file that was just uploaded: all at once.  What was learnt is kept in
 * the index by key and etag, and outlives the blocks.
 *
 * Products of one kind and size are mostly laid out alike.  So a complete layout is kept
 * once more under what names of its kind have in common, which is the end of them, and a
 * version of which nothing is known gets it as `alike`: never believed, only asked for
 * ahead of the reader (ahead.h), which the real headers then confirm or do not.
 */
#ifndef CACHE_SCAN_H
#define CACHE_SCAN_H
#include "cache/version.h"

/* scan_block: it is no FITS file, all of its layout is known, or the disk does not give
 * the next header. */
#define SCAN_NEVER UINT64_MAX

/* What the index knows of a version that is being loaded. */
void scan_load(struct version *v);
/* Go on where the layout ends, as far as blocks are here; one thread at a time does.
 * Cheap if there is nothing to do.  Calls ahead_learnt if it learnt something.  The
 * caller holds or uses v, and no lock. */
void scan_ahead(struct version *v);
/* The layout of from, which has the same bytes, is to's as well. */
void scan_rekey(struct version *from, struct version *to);
/* By the flusher: write the layout to the index if it grew. */
void scan_flush(struct version *v);

/* Of a whole file; l: initialised, with nothing in it.  It is complete then, or 0
 * was not returned. */
int scan_file(int fd, struct layout *l);
#endif
