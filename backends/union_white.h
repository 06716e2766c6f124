/* union_white.h - what was removed from a source that takes no writes: whiteouts.
 *
 * An empty object "a/.wh.b" in the first source hides "a/b" of the second, and
 * everything below it.  So a removal lasts, every mount sees it, and a plain client
 * can take it back by removing the whiteout.  No part of a user's name may begin with
 * ".wh.".
 *
 * Invariants:
 *  - A directory's whiteouts are known whole, by one LIST, or not at all; they are
 *    believed for a while (at least a second), and what is put or cleared here is
 *    known at once.  An answer that was on its way meanwhile is not kept.
 *  - Without an answer there is an error, never "hidden" or "not hidden" (P10).
 *  - At most WHITES_MAX names are in memory; then all are forgotten and asked anew.
 */
#ifndef BACKENDS_UNION_WHITE_H
#define BACKENDS_UNION_WHITE_H
#include "backends/backend.h"

#define WHITE_PREFIX ".wh."

struct whites;
/* The whiteouts of one directory, while they are listed. */
struct white_dir;

/* own is borrowed. */
int whites_new(struct backend *own, uint64_t ttl_ns, struct whites **ret);
void whites_free(struct whites *w); /* NULL is fine */

/* Is some part of the key or prefix reserved? */
bool whites_reserved(const char *key);
/* 1: the key, or a directory above it, was removed; 0: it was not; or why nobody
 * knows.  A '/' at the end of the key is ignored. */
int whites_hide(struct whites *w, const char *key, struct call *call);
/* Hide the key, and what is below it. */
int whites_put(struct whites *w, const char *key, struct call *call);
/* Remove the whiteouts in a directory ("a/b/") that is hidden as a whole. */
int whites_clear(struct whites *w, const char *dir, struct call *call);

/* For whoever lists a directory of own anyway ("" or "a/b/"): begin, note each
 * whiteout, and whites_learn when the listing was whole (it takes d over), else
 * white_dir_free.  NULL: no memory. */
struct white_dir *whites_begin(struct whites *w, const char *dir);
int white_dir_note(struct white_dir *d, const char *name);
void whites_learn(struct whites *w, struct white_dir *d);
void white_dir_free(struct white_dir *d); /* NULL is fine */
#endif
