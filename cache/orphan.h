/* orphan.h - uploads in parts that were begun here and will not be finished.
 *
 * Their parts cost money until they are aborted.  Each has a row in the journal, which
 * goes when the store says that there is no such upload (parts (1)).  What cannot be
 * aborted now is tried again later, by the next mount if need be.
 *
 * One whose id is not known (PARTS_UNKNOWN) is looked for, by this mount if another try
 * of the same brought an answer, else by the mount after: whatever was begun for its key
 * between the intent and that answer, or the start of that mount, is aborted, if no file
 * of ours goes on with it.  Another client that began one in that time, for a key that we
 * were about to replace, loses it; one that begins later does not.
 */
#ifndef CACHE_ORPHAN_H
#define CACHE_ORPHAN_H
#include <stdbool.h>
#include <stdint.h>
#include "backends/backend.h"
#include "cache/journal.h"

struct orphans;

struct orphan_conf {
	struct backend *be; /* borrowed, as jn */
	struct journal *jn;
	uint64_t retry_ns; /* after a failure */
	int64_t born_ns;   /* wall clock: when this mount started */
	/* Does a file here go on with this upload? */
	bool (*is_live)(void *arg, const char *id);
	void *arg;
};

int orphans_new(const struct orphan_conf *conf, struct orphans **ret);
void orphans_free(struct orphans *o); /* NULL is fine */
/* row: of the journal; 0 = it has none.  If there is no memory for it, the next mount
 * aborts it. */
void orphans_add(struct orphans *o, uint64_t row, const char *key, const char *id);
/* Is there one to abort now? */
bool orphans_due(struct orphans *o);
/* So many were not tried yet. */
uint64_t orphans_fresh(struct orphans *o);
/* Abort what is due, one after the other. */
void orphans_run(struct orphans *o);
/* Return from orphans_run soon, now and ever after. */
void orphans_stop(struct orphans *o);
#endif
