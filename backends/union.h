/* union.h - a second source, read-only, laid under the user's own bucket.
 *
 * A name is there if the own bucket has it, or the second source has it and it was not
 * removed (union_white.h).  What is written goes to the own bucket and hides the public
 * object of that name; the second source gets no write.  An own file hides a public
 * directory of its name, but a listing has both.
 *
 * Invariants:
 *  - The etag of a version of the second source begins with "under:"; no own etag does.
 *    That is how get, check, copy and the conditions of writes know the source.
 *  - Over a public version means: only if the own bucket has nothing there (P5).
 *  - What the own bucket has is answered without the second source, so own files stay
 *    usable while it is down.  For a name or a listing that needs both, an error of
 *    either is an error (P10).
 *  - A directory with whiteouts in it is there, if only empty, until it is removed.
 */
#ifndef BACKENDS_UNION_H
#define BACKENDS_UNION_H
#include "backends/backend.h"

/* Both are its own from here on, also when it fails; each is retried inside.  ttl_ns: how
 * long removals that other mounts make may go unnoticed. */
int union_new(struct backend *own, struct backend *under, uint64_t ttl_ns,
	      struct backend **ret);
#endif
