/* source.h - which bucket: from the command line or from STORAGE_*.
 */
#ifndef FS_SOURCE_H
#define FS_SOURCE_H
#include "backends/util/buf.h"
#include "fs/config.h"

/* Set c->source from the argument (NULL: from STORAGE_BACKEND and its
 * companions) and c->endpoint, where no option gave it, from the environment.
 * Logs; -EINVAL. */
int source_choose(struct config *c, const char *argument);

/* What tells this bucket from every other, without credentials: scheme, endpoint,
 * bucket and prefix.  The cache is named by it, so it may never change. */
int source_identity(const struct config *c, struct buf *ret);

/* The directory of a file:// source; NULL: it is none. */
const char *source_directory(const struct config *c);
#endif
