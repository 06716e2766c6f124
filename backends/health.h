/* health.h - does the store answer?  Learned from the requests that are made anyway.
 *
 * An answer is whatever a server says, be it a refusal; a request without one is what
 * P8 waits out.  One lost connection among others is no outage: it takes two in a row.
 */
#ifndef BACKENDS_HEALTH_H
#define BACKENDS_HEALTH_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Zero at first. */
struct health {
	/* atomic */
	_Atomic uint64_t unanswered;  /* in a row */
	_Atomic uint64_t silent_ns;   /* when the first of these ended */
	_Atomic uint64_t answered_ns; /* when the last answer came; 0 = none yet */
};

struct store_health {
	bool reachable;
	uint64_t silent_ns;   /* not reachable for so long */
	uint64_t answered_ns; /* the last answer is so old; 0 = none yet */
};

/* A try of an operation has ended with r, as backend.h has it. */
void health_note(struct health *h, int r);
void health_read(struct health *h, struct store_health *ret);
/* Of two stores the worse. */
void health_merge(struct store_health *is, const struct store_health *other);
#endif
