/* clock.h - the time, and waiting.
 *
 * Monotonic time for deadlines, wall-clock time for what users and servers see.
 * clock_pretend is for unit tests: a test of a five-minute deadline takes no five
 * minutes.
 */
#ifndef BACKENDS_UTIL_CLOCK_H
#define BACKENDS_UTIL_CLOCK_H
#include <stdint.h>

#define CLOCK_NEVER UINT64_MAX
#define NS_PER_MS   UINT64_C(1000000)
#define NS_PER_S    UINT64_C(1000000000)

/* Monotonic. */
uint64_t clock_now_ns(void);
/* Since the epoch. */
int64_t clock_wall_ns(void);
void clock_sleep_ns(uint64_t ns);
/* a + b without wrapping past CLOCK_NEVER. */
uint64_t clock_add(uint64_t a_ns, uint64_t b_ns);

/* Tests only: from now on sleeping advances a pretended clock and returns at once. */
void clock_pretend(void);
#endif
