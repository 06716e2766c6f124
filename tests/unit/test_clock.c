/* test_clock.c - time, deadlines, cancellation. */
#include <errno.h>
#include <unistd.h>
#include "backends/util/call.h"
#include "tests/unit/check.h"

static void clock__sleeps_and_goes_on(void)
{
	uint64_t start = clock_now_ns();
	clock_sleep_ns(2 * NS_PER_MS);
	CHECK(clock_now_ns() - start >= 2 * NS_PER_MS);
	CHECK(clock_wall_ns() > INT64_C(1700000000) * (int64_t)NS_PER_S);
}

static void clock__never_is_the_largest_sum(void)
{
	CHECK_EQ(clock_add(1, 2), 3);
	CHECK(clock_add(CLOCK_NEVER, 1) == CLOCK_NEVER);
	CHECK(clock_add(CLOCK_NEVER - 1, 5) == CLOCK_NEVER);
}

static void clock__pretended_sleep_takes_no_time(void)
{
	int64_t wall = clock_wall_ns();
	clock_pretend();
	uint64_t start = clock_now_ns();
	clock_sleep_ns(3600 * NS_PER_S);
	CHECK(clock_now_ns() - start >= 3600 * NS_PER_S);
	CHECK(clock_wall_ns() - wall < 60 * (int64_t)NS_PER_S);
}

static void call__tells_deadline_and_cancellation(void)
{
	atomic_bool cancelled = false;
	struct call call = {.deadline_ns = CLOCK_NEVER, .cancelled = &cancelled};
	CHECK_EQ(call_check(NULL), 0);
	CHECK(call_left_ns(NULL) == CLOCK_NEVER);
	CHECK_EQ(call_check(&call), 0);
	call.deadline_ns = clock_now_ns();
	CHECK_EQ(call_check(&call), -ETIMEDOUT);
	CHECK_EQ(call_left_ns(&call), 0);
	cancelled = true;
	CHECK_EQ(call_check(&call), -EINTR);
}

int main(void)
{
	RUN(clock__sleeps_and_goes_on);
	RUN(clock__never_is_the_largest_sum);
	RUN(clock__pretended_sleep_takes_no_time);
	RUN(call__tells_deadline_and_cancellation);
	return 0;
}
