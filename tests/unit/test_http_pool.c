/* test_http_pool.c - whose turn it is, and how many may be under way (P9). */
#include "backends/http_pool.h"
#include <errno.h>
#include <pthread.h>
#include "backends/util/clock.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

enum { MAX = 32 };

static int freed;

static void free_handle(void *handle)
{
	(void)handle;
	freed++;
}

static struct http_pool *new_pool(uint32_t max)
{
	struct http_pool *pool;
	CHECK_EQ(http_pool_new(max, free_handle, &pool), 0);
	return pool;
}

/* Does one more fit, right now? */
static int try_enter(struct http_pool *pool, enum prio prio)
{
	void *handle;
	struct call call = {.deadline_ns = clock_now_ns() + 20 * NS_PER_MS, .prio = prio};
	return http_pool_enter(pool, &call, &handle);
}

static void leave(struct http_pool *pool, enum prio prio)
{
	struct call call = {.deadline_ns = CLOCK_NEVER, .prio = prio};
	http_pool_leave(pool, &call, NULL);
}

static void pool__the_last_handle_goes_out_first(void)
{
	struct http_pool *pool = new_pool(4);
	int a, b;
	void *handle = &a;
	CHECK_EQ(http_pool_enter(pool, NULL, &handle), 0);
	CHECK(!handle);
	CHECK_EQ(http_pool_enter(pool, NULL, &handle), 0);
	http_pool_leave(pool, NULL, &a);
	http_pool_leave(pool, NULL, &b);
	CHECK_EQ(http_pool_enter(pool, NULL, &handle), 0);
	CHECK(handle == &b);
	http_pool_leave(pool, NULL, handle);
	freed = 0;
	http_pool_free(pool);
	CHECK_EQ(freed, 2);
}

static void pool__P9_no_more_than_the_limit(void)
{
	struct http_pool *pool = new_pool(3);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(try_enter(pool, PRIO_DEMAND), 0);
	CHECK_EQ(try_enter(pool, PRIO_DEMAND), -ETIMEDOUT);
	leave(pool, PRIO_DEMAND);
	CHECK_EQ(try_enter(pool, PRIO_DEMAND), 0);
	for (int i = 0; i < 3; i++)
		leave(pool, PRIO_DEMAND);
	http_pool_free(pool);
}

static void pool__some_slots_are_for_demand_only(void)
{
	struct http_pool *pool = new_pool(MAX);
	int n = 0;
	while (!try_enter(pool, n % 2 ? PRIO_HINT : PRIO_FILL))
		n++;
	CHECK_EQ(n, MAX - HTTP_POOL_RESERVED);
	for (int i = 0; i < HTTP_POOL_RESERVED; i++)
		CHECK_EQ(try_enter(pool, PRIO_DEMAND), 0);
	CHECK_EQ(try_enter(pool, PRIO_DEMAND), -ETIMEDOUT);
	leave(pool, PRIO_DEMAND);
	CHECK_EQ(try_enter(pool, PRIO_HINT), -ETIMEDOUT);
	http_pool_free(pool);
}

struct waiter {
	struct http_pool *pool;
	struct call call;
	_Atomic int *order;
	int came;
	pthread_t thread;
};

static void *wait_turn(void *arg)
{
	struct waiter *w = arg;
	void *handle;
	CHECK_EQ(http_pool_enter(w->pool, &w->call, &handle), 0);
	w->came = atomic_fetch_add(w->order, 1);
	http_pool_leave(w->pool, &w->call, NULL);
	return NULL;
}

static void pool__demand_goes_before_hint_before_fill(void)
{
	struct http_pool *pool = new_pool(1);
	_Atomic int order = 0;
	struct waiter w[PRIO_COUNT];
	void *handle;
	CHECK_EQ(http_pool_enter(pool, NULL, &handle), 0);
	for (int prio = PRIO_COUNT - 1; prio >= 0; prio--) {
		w[prio] = (struct waiter){
			.pool = pool,
			.order = &order,
			.call = {.deadline_ns = CLOCK_NEVER, .prio = (enum prio)prio}};
		CHECK(!pthread_create(&w[prio].thread, NULL, wait_turn, &w[prio]));
		clock_sleep_ns(20 * NS_PER_MS);
	}
	http_pool_leave(pool, NULL, NULL);
	for (int prio = 0; prio < PRIO_COUNT; prio++) {
		CHECK(!pthread_join(w[prio].thread, NULL));
		CHECK_EQ(w[prio].came, prio);
	}
	http_pool_free(pool);
}

static void pool__P9_overload_shrinks_it_once_a_second(void)
{
	struct http_pool *pool = new_pool(MAX);
	uint64_t now = 5 * NS_PER_S;
	CHECK_EQ(http_pool_limit(pool), MAX);
	for (int i = 0; i < 10; i++) /* all that were under way */
		http_pool_overloaded(pool, now + (uint64_t)i);
	CHECK_EQ(http_pool_limit(pool), MAX * 3 / 4);
	http_pool_overloaded(pool, now + NS_PER_S);
	CHECK_EQ(http_pool_limit(pool), MAX * 9 / 16);
	for (uint64_t i = 2; i < 30; i++)
		http_pool_overloaded(pool, now + i * NS_PER_S);
	CHECK_EQ(http_pool_limit(pool), HTTP_POOL_FLOOR);
	for (int i = 0; i < HTTP_POOL_FLOOR; i++)
		CHECK_EQ(try_enter(pool, PRIO_DEMAND), 0);
	CHECK_EQ(try_enter(pool, PRIO_DEMAND), -ETIMEDOUT);
	http_pool_free(pool);
}

static void pool__success_gives_the_limit_back_slowly(void)
{
	struct http_pool *pool = new_pool(MAX);
	http_pool_overloaded(pool, NS_PER_S);
	uint32_t least = http_pool_limit(pool), n = 0;
	http_pool_went_well(pool);
	CHECK_EQ(http_pool_limit(pool), least); /* one good answer proves nothing */
	while (http_pool_limit(pool) < MAX && n < 10000) {
		http_pool_went_well(pool);
		n++;
	}
	CHECK_EQ(http_pool_limit(pool), MAX);
	CHECK(n >= 2 * (MAX - least));
	for (int i = 0; i < 1000; i++)
		http_pool_went_well(pool);
	CHECK_EQ(http_pool_limit(pool), MAX);
	http_pool_free(pool);
}

/* P8: hung requests leave the few that a busy server is still sent to others. */
static void pool__P8_silent_requests_hold_no_turn(void)
{
	struct http_pool *pool = new_pool(8);
	struct call hint = {.deadline_ns = CLOCK_NEVER, .prio = PRIO_HINT};
	CHECK_EQ(try_enter(pool, PRIO_HINT), 0);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(try_enter(pool, PRIO_DEMAND), 0);
	for (uint64_t s = 1; s < 20; s++)
		http_pool_overloaded(pool, s * 2 * NS_PER_S);
	CHECK_EQ(http_pool_limit(pool), HTTP_POOL_FLOOR);
	CHECK_EQ(try_enter(pool, PRIO_DEMAND), -ETIMEDOUT);
	http_pool_silent(pool, &hint, true);
	CHECK_EQ(try_enter(pool, PRIO_DEMAND), 0);
	CHECK_EQ(try_enter(pool, PRIO_DEMAND), -ETIMEDOUT);
	http_pool_silent(pool, NULL, true);
	CHECK_EQ(try_enter(pool, PRIO_HINT), 0);
	CHECK_EQ(try_enter(pool, PRIO_DEMAND), -ETIMEDOUT);
	/* The maximum holds whatever they do. */
	http_pool_silent(pool, NULL, true);
	http_pool_silent(pool, NULL, true);
	CHECK_EQ(try_enter(pool, PRIO_DEMAND), 0);
	CHECK_EQ(try_enter(pool, PRIO_DEMAND), 0);
	CHECK_EQ(try_enter(pool, PRIO_DEMAND), -ETIMEDOUT);
	http_pool_silent(pool, &hint, false);
	for (int i = 0; i < 3; i++)
		http_pool_silent(pool, NULL, false);
	for (int i = 0; i < 2; i++)
		leave(pool, PRIO_HINT);
	for (int i = 0; i < 6; i++)
		leave(pool, PRIO_DEMAND);
	http_pool_free(pool);
}

static void pool__a_small_pool_has_no_floor_above_it(void)
{
	struct http_pool *pool = new_pool(2);
	for (uint64_t i = 1; i < 9; i++)
		http_pool_overloaded(pool, i * NS_PER_S);
	CHECK_EQ(http_pool_limit(pool), 2);
	/* And nothing is kept from a lower rank for good. */
	CHECK_EQ(try_enter(pool, PRIO_FILL), 0);
	leave(pool, PRIO_FILL);
	http_pool_free(pool);
}

int main(void)
{
	RUN(pool__the_last_handle_goes_out_first);
	RUN(pool__P9_no_more_than_the_limit);
	RUN(pool__some_slots_are_for_demand_only);
	RUN(pool__demand_goes_before_hint_before_fill);
	RUN(pool__P9_overload_shrinks_it_once_a_second);
	RUN(pool__success_gives_the_limit_back_slowly);
	RUN(pool__P8_silent_requests_hold_no_turn);
	RUN(pool__a_small_pool_has_no_floor_above_it);
	return 0;
}
