/* pressure.c - while more than staging_size waits for the bucket, what is written goes no
 * faster than what is sent.  See staged.h.
 *
 * What counts is what is kept and was not sent: of a file larger than staging_size each
 * byte that is sent is leave for another to be written.  Without any, because the bucket
 * is down or because nothing is to go up, a write waits a while and is done all the same:
 * only a full disk fails it (staged (5)).
 */
#include <errno.h>
#include "cache/staged_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/cond.h"
#include "backends/util/banned.h"

enum {
	LOOK_MS = 20,
	PATIENCE_MS = 1000,	/* of one write, while something is on its way */
	PATIENCE_STUCK_MS = 100 /* while nothing is */
};

void staged_sent(struct staged *st, uint64_t bytes)
{
	uint64_t had = atomic_load(&st->sent_bytes), has;
	do {
		uint64_t most = atomic_load(&st->charged_bytes);
		has = bytes < most && had < most - bytes ? had + bytes : most;
		if (has <= had)
			return;
	} while (!atomic_compare_exchange_weak(&st->sent_bytes, &had, has));
	atomic_fetch_add(&st->sg->sent_bytes, has - had);
}

void staged_unsend(struct staged *st, uint64_t size)
{
	uint64_t had = atomic_load(&st->sent_bytes);
	while (had > size)
		if (atomic_compare_exchange_weak(&st->sent_bytes, &had, size)) {
			atomic_fetch_sub(&st->sg->sent_bytes, had - size);
			return;
		}
}

static bool may_write(struct staging *sg)
{
	uint64_t sent = atomic_load(&sg->sent_bytes);
	uint64_t used = atomic_load(&sg->used_bytes);
	return used < sent || used - sent < sg->conf.max_bytes;
}

static bool is_on_its_way(const struct staged *st)
{
	struct parts *p = atomic_load(&st->parts);
	return st->sending || (p && parts_working(p));
}

static bool any_on_its_way_locked(struct staging *sg)
{
	struct map_node *node = NULL;
	while ((node = map_next(&sg->by_key, node))) {
		struct staged *st = container_of(node, struct staged, node);
		for (; st; st = st->older)
			if (is_on_its_way(st))
				return true;
	}
	return false;
}

int staging_wait_room(struct staging *sg, struct call *call)
{
	if (may_write(sg))
		return 0;
	if (!call)
		return -EAGAIN;
	uint64_t start = clock_now_ns();
	SCOPED_LOCK(&sg->lock);
	while (!sg->closing && !may_write(sg)) {
		uint64_t ms = (clock_now_ns() - start) / NS_PER_MS;
		if (call_cancelled(call))
			return -EINTR;
		if (ms >= PATIENCE_MS ||
		    (ms >= PATIENCE_STUCK_MS && !any_on_its_way_locked(sg)))
			return 0;
		cond_wait_ms(&sg->changed, &sg->lock, LOOK_MS);
	}
	return 0;
}
