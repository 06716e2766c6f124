/* metrics.c - see metrics.h. */
#include "backends/util/metrics.h"
#include <stdatomic.h>
#include "backends/util/clock.h"
#include "backends/util/banned.h"

enum { RECENT_WEIGHT = 8 }; /* of so many requests about half are in the average */

static _Atomic uint64_t values[METRIC_COUNT];

const uint64_t latency_bounds_ms[LATENCY_BUCKETS - 1] = {
	5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000,
};
static _Atomic uint64_t latency_count[LATENCY_BUCKETS];
static _Atomic uint64_t latency_sum_ns, latency_recent_ns;

static uint64_t load(_Atomic uint64_t *p)
{
	return atomic_load_explicit(p, memory_order_relaxed);
}

static void add(_Atomic uint64_t *p, uint64_t n)
{
	(void)atomic_fetch_add_explicit(p, n, memory_order_relaxed);
}

void metrics_add(enum metric m, uint64_t n)
{
	add(&values[m], n);
}

void metrics_sub(enum metric m, uint64_t n)
{
	(void)atomic_fetch_sub_explicit(&values[m], n, memory_order_relaxed);
}

uint64_t metrics_get(enum metric m)
{
	return load(&values[m]);
}

void metrics_add_latency(uint64_t ns)
{
	int i = 0;
	while (i < LATENCY_BUCKETS - 1 && ns > latency_bounds_ms[i] * NS_PER_MS)
		i++;
	add(&latency_count[i], 1);
	add(&latency_sum_ns, ns);
	uint64_t was = load(&latency_recent_ns), is;
	do
		is = was ? was - was / RECENT_WEIGHT + ns / RECENT_WEIGHT : ns;
	while (!atomic_compare_exchange_weak(&latency_recent_ns, &was, is));
}

void metrics_get_latency(struct latency *ret)
{
	for (int i = 0; i < LATENCY_BUCKETS; i++)
		ret->count[i] = load(&latency_count[i]);
	ret->sum_ns = load(&latency_sum_ns);
	ret->recent_ns = load(&latency_recent_ns);
}
