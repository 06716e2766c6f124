/* staged_copy.c - see staged_copy.h. */
#include "cache/staged_copy.h"
#include <errno.h>
#include "cache/staged_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

static bool is_blank_locked(struct staged *st)
{
	uint64_t size;
	int64_t mtime_ns;
	staged_stat(st, &size, &mtime_ns);
	/* Nor was it promised to be there, empty, whatever happens. */
	return staged_get_state(st) == STAGED_OPEN && st->mapped && !st->local &&
	       !st->synced && !size && !atomic_load(&st->torn) && !*st->base_tags &&
	       !st->uncertain;
}

/* Bytes that were promised wait for their upload, or are on their way: st must go
 * after them.  To freeze it would stop them. */
static bool has_older(struct staged *st)
{
	SCOPED_LOCK(&st->sg->lock);
	return st->older != NULL;
}

int staged_copy_begin(struct staged *st, struct staged_copy *ret)
{
	struct staging *sg = st->sg;
	int r = has_older(st) ? -EOPNOTSUPP : staged_freeze(st);
	if (r)
		return r;
	(void)pthread_rwlock_wrlock(&st->io);
	(void)pthread_mutex_lock(&sg->lock);
	bool blank = is_blank_locked(st);
	/* Who would write it now must make it writable first, and waits. */
	if (blank)
		staged_set_state_locked(st, STAGED_SEALED);
	staged_copy_string(ret->base, sizeof(ret->base), st->base);
	(void)pthread_mutex_unlock(&sg->lock);
	(void)pthread_rwlock_unlock(&st->io);
	if (!blank)
		staged_thaw(st, false);
	return blank ? 0 : -EOPNOTSUPP;
}

void staged_copy_end(struct staged *st, bool copied, const char *tag)
{
	struct staging *sg = st->sg;
	if (!copied) {
		SCOPED_LOCK(&sg->lock);
		staged_set_state_locked(st, STAGED_OPEN);
		tags_add(st->base_tags, tag);
	}
	staged_thaw(st, copied);
}
