/* retry.h - a backend that repeats another's transient failures (see backend.h)
 * with full-jitter back-off until the call's deadline.
 *
 * A call without a deadline gets retry_conf.deadline_ms.  Waits are cut short by
 * cancellation.  What a blind repeat of a write would break is undone here:
 *   1. a conditional put or upload_finish whose answer was lost comes back
 *      -EEXIST or -ESTALE: if the object there carries our tag, it was us: success
 *   2. upload_finish comes back -ENXIO (no such upload): the same question
 *   3. del comes back -ENOENT after a lost answer: success; whether rename was done is
 *      for its caller to find out (backend.h)
 *   4. upload_begin begins another one: told by call->repeated
 */
#ifndef BACKENDS_RETRY_H
#define BACKENDS_RETRY_H
#include "backends/backend.h"
#include "backends/hedge.h"

struct retry_conf {
	uint32_t base_ms, cap_ms; /* back-off: random in [0, min(cap, base * 2^i)] */
	uint32_t deadline_ms;	  /* for calls that bring none */
	uint32_t bad_answers_max; /* -EBADMSG is repeated this often, no more */
	const struct hedge_conf *hedge; /* borrowed for the call; NULL = no get is asked
					   twice because it is late */
};

extern const struct retry_conf retry_defaults;

/* Owns inner from here on, also when it fails. */
int retry_new(struct backend *inner, const struct retry_conf *conf, struct backend **ret);

/* How a concrete backend tells the retry wrapper of a Retry-After: the least
 * wait before the next try of the calling thread's current call. */
void retry_after_hint(uint64_t ms);
#endif
