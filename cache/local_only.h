/* local_only.h - which names never reach the bucket (P6).  Pure.
 *
 * A list of glob patterns with ':' between them.  A pattern is matched against
 * the last part of the name; one that ends in '/' against every directory of the
 * name, so that everything below such a directory is local too.
 */
#ifndef CACHE_LOCAL_ONLY_H
#define CACHE_LOCAL_ONLY_H
#include <stdbool.h>

bool local_only_match(const char *patterns, const char *key);
#endif
