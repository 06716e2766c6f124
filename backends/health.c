/* health.c - see health.h. */
#include "backends/health.h"
#include <errno.h>
#include "backends/util/clock.h"
#include "backends/util/banned.h"

enum { SILENT_FROM = 2 };

static bool is_silence(int r)
{
	return r == -ECOMM || r == -ETIMEDOUT || r == -EHOSTUNREACH;
}

/* Ended by us, before the store had its say. */
static bool says_nothing(int r)
{
	return r == -EINTR || r == -ECANCELED || r == -EINVAL || r == -ENOMEM;
}

void health_note(struct health *h, int r)
{
	if (says_nothing(r))
		return;
	uint64_t now = clock_now_ns();
	if (!is_silence(r)) {
		atomic_store(&h->answered_ns, now);
		atomic_store(&h->unanswered, 0);
	} else if (atomic_fetch_add(&h->unanswered, 1) == 0) {
		atomic_store(&h->silent_ns, now);
	}
}

void health_read(struct health *h, struct store_health *ret)
{
	uint64_t now = clock_now_ns(), answered = atomic_load(&h->answered_ns);
	uint64_t silent = atomic_load(&h->silent_ns);
	ret->reachable = atomic_load(&h->unanswered) < SILENT_FROM;
	ret->silent_ns = !ret->reachable && now > silent ? now - silent : 0;
	ret->answered_ns = answered && now > answered ? now - answered : 0;
}

void health_merge(struct store_health *is, const struct store_health *other)
{
	is->reachable &= other->reachable;
	if (other->silent_ns > is->silent_ns)
		is->silent_ns = other->silent_ns;
	/* The last time that anything was heard at all. */
	if (!is->answered_ns ||
	    (other->answered_ns && other->answered_ns < is->answered_ns))
		is->answered_ns = other->answered_ns;
}
