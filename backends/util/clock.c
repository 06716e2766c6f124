/* clock.c - see clock.h. */
#include "backends/util/clock.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>
#include "backends/util/banned.h"

static atomic_bool pretending;
static _Atomic uint64_t skipped_ns;

static int64_t read_clock(clockid_t id)
{
	struct timespec ts;
	(void)clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * (int64_t)NS_PER_S + ts.tv_nsec;
}

uint64_t clock_now_ns(void)
{
	return (uint64_t)read_clock(CLOCK_MONOTONIC) + atomic_load(&skipped_ns);
}

int64_t clock_wall_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

void clock_sleep_ns(uint64_t ns)
{
	if (atomic_load(&pretending)) {
		atomic_fetch_add(&skipped_ns, ns);
		return;
	}
	struct timespec ts = {.tv_sec = (time_t)(ns / NS_PER_S),
			      .tv_nsec = (long)(ns % NS_PER_S)};
	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &ts) == EINTR)
		;
}

uint64_t clock_add(uint64_t a_ns, uint64_t b_ns)
{
	uint64_t sum;
	return __builtin_add_overflow(a_ns, b_ns, &sum) ? CLOCK_NEVER : sum;
}

void clock_pretend(void)
{
	atomic_store(&pretending, true);
}
