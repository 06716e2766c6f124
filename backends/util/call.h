/* call.h - what a blocking call may cost: its deadline, its cancellation, its rank.
 *
 * Borrowed for the call.  A NULL call has no deadline and cannot be cancelled.
 */
#ifndef BACKENDS_UTIL_CALL_H
#define BACKENDS_UTIL_CALL_H
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "backends/util/clock.h"

enum prio {
	PRIO_DEMAND, /* somebody waits for it */
	PRIO_HINT,   /* nobody waits yet: prefetch */
	PRIO_FILL,   /* nobody asked: background completion */
	PRIO_COUNT,
};

struct call {
	uint64_t deadline_ns;	/* monotonic; CLOCK_NEVER = none */
	atomic_bool *cancelled; /* borrowed; NULL = cannot be cancelled */
	enum prio prio;
	atomic_bool *wanted;	  /* borrowed; true: somebody waits for it now, whatever
				     prio says; NULL = never */
	const struct call *outer; /* borrowed; cancelled with it; NULL = none */
	bool repeated;		  /* told by upload_begin, see backend.h */
};

static inline bool call_cancelled(const struct call *call)
{
	for (; call; call = call->outer)
		if (call->cancelled && atomic_load(call->cancelled))
			return true;
	return false;
}

static inline bool call_is_waited_for(const struct call *call)
{
	return !call || call->prio == PRIO_DEMAND ||
	       (call->wanted && atomic_load(call->wanted));
}

/* Nanoseconds left; CLOCK_NEVER without a deadline; 0 = it has passed. */
static inline uint64_t call_left_ns(const struct call *call)
{
	if (!call || call->deadline_ns == CLOCK_NEVER)
		return CLOCK_NEVER;
	uint64_t now = clock_now_ns();
	return call->deadline_ns > now ? call->deadline_ns - now : 0;
}

/* 0, -EINTR (cancelled) or -ETIMEDOUT (deadline passed). */
static inline int call_check(const struct call *call)
{
	if (call_cancelled(call))
		return -EINTR;
	return call_left_ns(call) ? 0 : -ETIMEDOUT;
}
#endif
