/* cond.c - see cond.h. */
#include "backends/util/cond.h"
#include <time.h>
#include "backends/util/clock.h"
#include "backends/util/banned.h"

void cond_init_monotonic(pthread_cond_t *cond)
{
	pthread_condattr_t attr;
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(cond, &attr);
	(void)pthread_condattr_destroy(&attr);
}

void cond_wait_ms(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t ms)
{
	struct timespec ts;
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	uint64_t ns = (uint64_t)ts.tv_nsec + ms * NS_PER_MS;
	ts.tv_sec += (time_t)(ns / NS_PER_S);
	ts.tv_nsec = (long)(ns % NS_PER_S);
	(void)pthread_cond_timedwait(cond, lock, &ts);
}
