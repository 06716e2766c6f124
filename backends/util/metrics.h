/* metrics.h - what is counted while the mount runs: one fixed array of numbers.
 *
 * Of the process, which has one mount.  Relaxed atomic additions: none orders anything,
 * and a reader may see one count a moment before another.
 */
#ifndef BACKENDS_UTIL_METRICS_H
#define BACKENDS_UTIL_METRICS_H
#include <stdint.h>

enum metric {
	/* HTTP */
	METRIC_REQUESTS,	/* ended, whatever came of them */
	METRIC_REQUESTS_FAILED, /* of these: no answer, or 429 or 5xx */
	METRIC_REQUESTS_NOW,	/* in flight */
	METRIC_REQUESTS_LIMIT,	/* of those, as it is now */
	METRIC_RECEIVED_BYTES,	/* bodies, both */
	METRIC_SENT_BYTES,

	/* reads that the kernel asked us for, of what the bucket has */
	METRIC_READS_CACHED, /* all of it was on this disk */
	METRIC_READS_FETCHED,
	METRIC_READ_CACHED_BYTES,
	METRIC_READ_FETCHED_BYTES, /* those that had to be waited for */

	METRIC_OPENS,
	METRIC_OPENS_PASSED, /* of these: the kernel reads the cache's file itself */

	METRIC_UPLOADS, /* files that have arrived */
	METRIC_UPLOADED_BYTES,
	METRIC_UPLOADS_FAILED, /* attempts */

	METRIC_COUNT
};

void metrics_add(enum metric m, uint64_t n);
void metrics_sub(enum metric m, uint64_t n);
uint64_t metrics_get(enum metric m);

/* How long the store thinks: from the end of a request to the first byte of its
 * answer. */
enum { LATENCY_BUCKETS = 12 };
/* The upper bounds of all but the last bucket, which has none. */
extern const uint64_t latency_bounds_ms[LATENCY_BUCKETS - 1];

struct latency {
	uint64_t count[LATENCY_BUCKETS]; /* each bucket's own, not cumulated */
	uint64_t sum_ns;
	uint64_t recent_ns; /* a moving average; 0 = none yet */
};
void metrics_add_latency(uint64_t ns);
void metrics_get_latency(struct latency *ret);
#endif
