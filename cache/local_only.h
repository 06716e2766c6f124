/* local_only.h - which names never reach the bucket (P6).  Pure.
 *
 * A list of glob patterns with ':' between them.  A pattern is matched against
 * the last part of the name; one that ends in '/' against every directory of the
 * name, so that everything below such a directory is local too.
 */
#ifndef CACHE_LOCAL_ONLY_H
#define CACHE_LOCAL_ONLY_H
#include <stdbool.h>
#include "backends/backend.h"

bool local_only_match(const char *patterns, const char *key);
/* The name that a temporary one will be renamed to, as far as that can be told from it:
 * "name.part" by a pattern "*.part", rsync's ".name.XXXXXX", s3transfer's "name." and 8
 * hex digits.  False: it cannot, or it would be local as well. */
bool local_only_target(const char *patterns, const char *key, char ret[static KEY_SIZE]);
#endif
