/* staged_copy.h - a new, empty file becomes a copy of an object, within the store.
 *
 * Done at once and not when it is closed: from then on it is an object like any other,
 * which no journal must remember and whose source may change or go.  Before that it is
 * an empty staged file, of which nothing was promised (P3); whatever fails leaves it
 * that, to be filled with bytes.
 */
#ifndef CACHE_STAGED_COPY_H
#define CACHE_STAGED_COPY_H
#include "cache/staged.h"

/* What the upload of the file would have been conditional on (P5); "" = no object. */
struct staged_copy {
	char base[ETAG_SIZE];
};

/* From here on nothing of it is written, sealed, renamed or dropped.  -EOPNOTSUPP: it
 * has bytes, or is local, or was synced, or follows what is not uploaded yet, or earlier
 * uploads of ours may be in its place. */
int staged_copy_begin(struct staged *st, struct staged_copy *ret);
/* copied: the store has it in its place, and the file is forgotten.  Else it is what it
 * was; tag: an object tagged so may be there yet, and is ours. */
void staged_copy_end(struct staged *st, bool copied, const char *tag);
#endif
