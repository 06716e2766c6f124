/* local_only.h - which names never reach the bucket (P6).  Pure.
 *
 * A list of glob patterns with ':' between them.  A pattern is matched against
 * the last part of the name; one that ends in '/' against every directory of the
 * name, so that everything below such a directory is local too.  One that begins with
 * '!' takes back what those before it say.
 */
#ifndef CACHE_LOCAL_ONLY_H
#define CACHE_LOCAL_ONLY_H
#include <stdbool.h>
#include "backends/backend.h"

/* How it is local: the first two may still be names of others, in the bucket. */
enum local_only {
	LOCAL_NOT,
	LOCAL_BY_SHAPE, /* by a pattern with '?' or '[', and it is not hidden */
	LOCAL_BY_WORD,
	LOCAL_BELOW, /* a directory, or it is one */
};
enum local_only local_only_kind(const char *patterns, const char *key);
bool local_only_match(const char *patterns, const char *key);
/* The name that a temporary one will be renamed to, as far as that can be told from it:
 * "name.part" by a pattern "*.part", rsync's ".name.XXXXXX", s3transfer's "name." and 8
 * hex digits.  False: it cannot, or it would be local as well. */
bool local_only_target(const char *patterns, const char *key, char ret[static KEY_SIZE]);
#endif
