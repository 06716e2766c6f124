/* tries.h - one call and its tries: what is tried again, after what wait, for how long.
 *
 * Of retry.c.  Transient errors (backend.h) are tried again with full jitter until the
 * deadline; then they become -EIO if somebody answered, else -ETIMEDOUT.
 */
#ifndef BACKENDS_TRIES_H
#define BACKENDS_TRIES_H
#include <stdbool.h>
#include <stdint.h>
#include "backends/health.h"
#include "backends/retry.h"

struct tries {
	/* set by the caller; borrowed */
	const struct retry_conf *conf;
	struct health *health;
	const char *scheme, *op, *key; /* for the log */

	struct call call; /* the caller's, with a deadline */
	uint64_t start_ns;
	uint32_t n, bad_answers;
	bool answered; /* some try brought an answer */
	bool lost;     /* some try may have been done all the same */
	bool told;     /* of a wait, in the log */
};

/* call: the caller's; NULL is fine. */
void tries_start(struct tries *t, const struct call *call);
/* After a try that ended with *r: true = it was waited for the next one; false =
 * *r is what the caller gets. */
bool tries_more(struct tries *t, int *r);
#endif
