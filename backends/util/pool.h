/* pool.h - threads that take jobs from a queue, most urgent first.
 *
 * Threads are started when there is work and none is idle, up to the maximum,
 * and stay until pool_free.  Within a rank, jobs run in the order of their
 * submission.  The last `reserved` threads run PRIO_DEMAND only, so that what
 * somebody waits for never queues behind prefetch.
 */
#ifndef BACKENDS_UTIL_POOL_H
#define BACKENDS_UTIL_POOL_H
#include <stdint.h>
#include "backends/util/call.h"

struct pool;
typedef void pool_fn(void *arg);

struct pool_conf {
	const char *name;     /* borrowed for the call; thread name, 15 bytes at most */
	uint32_t threads_max; /* at least 1 */
	uint32_t reserved;    /* of threads_max, for PRIO_DEMAND only; one at least
				 is left for the rest */
};

int pool_new(const struct pool_conf *conf, struct pool **ret);
/* Run fn(arg) on one of the threads.  Never blocks.  -ENOMEM, -ESHUTDOWN, or
 * -EAGAIN if not even one thread could be started. */
int pool_submit(struct pool *pool, enum prio prio, pool_fn *fn, void *arg);
/* Wait until nothing is queued and nothing runs. */
void pool_drain(struct pool *pool);
/* Refuses new jobs, runs what is queued, joins the threads.  NULL is fine. */
void pool_free(struct pool *pool);
#endif
