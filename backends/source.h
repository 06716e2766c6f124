/* source.h - which bucket: from the command line or from STORAGE_*.
 *
 * What a mount says to its user about stores is here too, so that nobody above has to
 * know one by its name.
 */
#ifndef BACKENDS_SOURCE_H
#define BACKENDS_SOURCE_H
#include <stdbool.h>
#include "backends/settings.h"
#include "backends/util/buf.h"

/* For --help: what a source may be, lines that end in '\n'. */
extern const char source_help[], source_keys_help[];
/* "keys belong in ...": the end of a sentence. */
extern const char source_keys_hint[];

/* Is the text meant as a source, not as a directory? */
bool source_is_url(const char *text);
/* Does a URL in the value hold user:password@, or the value a signature or key of
 * Azure's?  Such a value is neither taken nor shown. */
bool source_holds_secret(const char *value);

/* Set s->url from the argument (NULL: from STORAGE_BACKEND and its companions), and
 * check everything about the store that needs no request.  Called while there is one
 * thread: it makes the paths in the environment absolute.  Logs; -EINVAL, or what
 * reading a profile met. */
int source_choose(struct settings *s, const char *argument);

/* What tells this bucket, and the public one below it, from every other, without
 * credentials: scheme, endpoint, bucket and prefix.  The cache is named by it, so it
 * may never change. */
int source_identity(const struct settings *s, struct buf *ret);

/* The directory of a file:// URL; NULL: it is none. */
const char *source_directory(const char *url);
#endif
