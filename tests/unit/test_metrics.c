/* test_metrics.c - counts, latencies, and whether a store answers. */
#include "backends/util/metrics.h"
#include <errno.h>
#include <pthread.h>
#include "backends/health.h"
#include "backends/util/clock.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

enum { THREADS = 4, TIMES = 10000 };

static void *count(void *arg)
{
	(void)arg;
	for (int i = 0; i < TIMES; i++) {
		metrics_add(METRIC_READS_CACHED, 1);
		metrics_add(METRIC_REQUESTS_NOW, 2);
		metrics_sub(METRIC_REQUESTS_NOW, 2);
		metrics_add_latency(NS_PER_MS);
	}
	return NULL;
}

static void metrics__lose_nothing_among_threads(void)
{
	pthread_t threads[THREADS];
	struct latency l;
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&threads[i], NULL, count, NULL));
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_join(threads[i], NULL));
	metrics_get_latency(&l);
	CHECK_EQ(metrics_get(METRIC_READS_CACHED), THREADS * TIMES);
	CHECK_EQ(metrics_get(METRIC_REQUESTS_NOW), 0);
	CHECK_EQ(l.count[0], THREADS * TIMES);
	CHECK_EQ(l.sum_ns, THREADS * TIMES * NS_PER_MS);
}

static void metrics__sort_latencies_into_buckets(void)
{
	struct latency before, after;
	metrics_get_latency(&before);
	metrics_add_latency(5 * NS_PER_MS);	/* the bound itself is within */
	metrics_add_latency(5 * NS_PER_MS + 1); /* and what is above is not */
	metrics_add_latency(700 * NS_PER_MS);
	metrics_add_latency(3600 * NS_PER_S);
	metrics_get_latency(&after);
	CHECK_EQ(after.count[0] - before.count[0], 1);
	CHECK_EQ(after.count[1] - before.count[1], 1);
	CHECK_EQ(after.count[7] - before.count[7], 1);
	CHECK_EQ(after.count[LATENCY_BUCKETS - 1] - before.count[LATENCY_BUCKETS - 1], 1);
}

static void metrics__follow_the_latest_latencies(void)
{
	struct latency l;
	for (int i = 0; i < 200; i++)
		metrics_add_latency(100 * NS_PER_MS);
	metrics_get_latency(&l);
	CHECK(l.recent_ns > 95 * NS_PER_MS && l.recent_ns < 105 * NS_PER_MS);
	for (int i = 0; i < 200; i++)
		metrics_add_latency(2 * NS_PER_MS);
	metrics_get_latency(&l);
	CHECK(l.recent_ns > NS_PER_MS && l.recent_ns < 3 * NS_PER_MS);
}

static struct store_health health_after(struct health *h, int r)
{
	struct store_health is;
	health_note(h, r);
	health_read(h, &is);
	return is;
}

static void health__takes_two_without_an_answer(void)
{
	struct health h = {0};
	CHECK(health_after(&h, 0).reachable);
	CHECK(health_after(&h, -ECOMM).reachable);
	clock_sleep_ns(NS_PER_S);
	struct store_health is = health_after(&h, -ETIMEDOUT);
	CHECK(!is.reachable);
	/* Since the first of them. */
	CHECK(is.silent_ns >= NS_PER_S && is.silent_ns < 2 * NS_PER_S);
	CHECK(is.answered_ns >= is.silent_ns);
	/* What we broke off ourselves says nothing. */
	CHECK(!health_after(&h, -EINTR).reachable);
	is = health_after(&h, 0);
	CHECK(is.reachable);
	CHECK_EQ(is.silent_ns, 0);
}

static void health__is_well_with_a_refusal(void)
{
	static const int answers[] = {-EACCES, -ENOENT, -EREMOTEIO, -EBUSY, -ESTALE};
	for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
		struct health h = {0};
		(void)health_after(&h, -ECOMM);
		(void)health_after(&h, -ECOMM);
		CHECK(health_after(&h, answers[i]).reachable);
	}
}

static void health__of_two_is_that_of_the_worse(void)
{
	struct store_health a = {.reachable = true, .answered_ns = 7};
	const struct store_health b = {.silent_ns = 5, .answered_ns = 9};
	health_merge(&a, &b);
	CHECK(!a.reachable);
	CHECK_EQ(a.silent_ns, 5);
	CHECK_EQ(a.answered_ns, 7);
}

int main(void)
{
	clock_pretend();
	RUN(metrics__lose_nothing_among_threads);
	RUN(metrics__sort_latencies_into_buckets);
	RUN(metrics__follow_the_latest_latencies);
	RUN(health__takes_two_without_an_answer);
	RUN(health__is_well_with_a_refusal);
	RUN(health__of_two_is_that_of_the_worse);
	return 0;
}
