/* http_pool.c - see http_pool.h. */
#include "backends/http_pool.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/cond.h"
#include "backends/util/metrics.h"
#include "backends/util/banned.h"

enum {
	WAIT_TICK_MS = 50, /* how often a waiter looks whether it was cancelled */
	/* A limit that is too low costs more than a second "slow down": from 4 back to 64
	 * takes 480 requests, 4 GB of them. */
	GROW_AFTER = 8,
};
#define SHRINK_EVERY_NS NS_PER_S

struct http_pool {
	/* set once */
	uint32_t max;
	http_pool_free_fn *free_handle;

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t freed[PRIO_COUNT];
	void **idle; /* a stack of max */
	uint32_t n_idle, n_busy;
	uint32_t n_low; /* of n_busy: below PRIO_DEMAND */
	uint32_t n_silent, n_low_silent; /* of these */
	uint32_t n_waiting[PRIO_COUNT];
	uint32_t limit;
	uint32_t n_well;    /* since the limit changed */
	uint64_t shrunk_ns; /* when it last did; 0 = never */
};

void http_pool_free(struct http_pool *p)
{
	if (!p)
		return;
	for (uint32_t i = 0; i < p->n_idle; i++)
		p->free_handle(p->idle[i]);
	free(p->idle);
	metrics_sub(METRIC_REQUESTS_LIMIT, p->limit);
	for (int i = 0; i < PRIO_COUNT; i++)
		(void)pthread_cond_destroy(&p->freed[i]);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
}

int http_pool_new(uint32_t max, http_pool_free_fn *free_handle, struct http_pool **ret)
{
	struct http_pool *p = calloc(1, sizeof *p);
	void **idle = calloc(max, sizeof *idle);
	if (!p || !idle) {
		free(p);
		free(idle);
		return -ENOMEM;
	}
	p->max = p->limit = max;
	metrics_add(METRIC_REQUESTS_LIMIT, max);
	p->free_handle = free_handle;
	p->idle = idle;
	for (int i = 0; i < PRIO_COUNT; i++)
		cond_init_monotonic(&p->freed[i]);
	(void)pthread_mutex_init(&p->lock, NULL);
	*ret = p;
	return 0;
}

static enum prio prio_of(const struct call *call)
{
	return call ? call->prio : PRIO_DEMAND;
}

static uint32_t reserved_locked(const struct http_pool *p)
{
	uint32_t most = p->limit / 4;
	return most < HTTP_POOL_RESERVED ? most : HTTP_POOL_RESERVED;
}

static bool is_room_locked(const struct http_pool *p, enum prio prio)
{
	if (p->n_busy >= p->max || p->n_busy - p->n_silent >= p->limit)
		return false;
	return prio == PRIO_DEMAND ||
	       p->n_low - p->n_low_silent < p->limit - reserved_locked(p);
}

static bool may_go_locked(const struct http_pool *p, enum prio prio)
{
	for (int above = 0; above < (int)prio; above++)
		if (p->n_waiting[above])
			return false;
	return is_room_locked(p, prio);
}

/* Whoever leaves the queue or gives a handle back passes the turn on. */
static void wake_next_locked(struct http_pool *p)
{
	for (int prio = 0; prio < PRIO_COUNT; prio++) {
		if (!p->n_waiting[prio])
			continue;
		if (is_room_locked(p, (enum prio)prio))
			(void)pthread_cond_signal(&p->freed[prio]);
		return;
	}
}

static int wait_turn_locked(struct http_pool *p, const struct call *call)
{
	enum prio prio = prio_of(call);
	p->n_waiting[prio]++;
	int r = call_check(call);
	while (!r && !may_go_locked(p, prio)) {
		cond_wait_ms(&p->freed[prio], &p->lock, WAIT_TICK_MS);
		r = call_check(call);
	}
	p->n_waiting[prio]--;
	return r;
}

static void take_turn_locked(struct http_pool *p, const struct call *call)
{
	p->n_busy++;
	p->n_low += prio_of(call) != PRIO_DEMAND;
}

int http_pool_enter(struct http_pool *p, const struct call *call, void **ret)
{
	SCOPED_LOCK(&p->lock);
	int r = wait_turn_locked(p, call);
	if (!r) {
		take_turn_locked(p, call);
		*ret = p->n_idle ? p->idle[--p->n_idle] : NULL;
	}
	wake_next_locked(p);
	return r;
}

int http_pool_enter_new(struct http_pool *p, uint32_t n, const struct call *call)
{
	SCOPED_LOCK(&p->lock);
	int r = wait_turn_locked(p, call);
	/* All of them must find a place on the stack. */
	if (!r && p->n_idle + p->n_busy >= (n < p->max ? n : p->max))
		r = -EALREADY;
	if (!r)
		take_turn_locked(p, call);
	wake_next_locked(p);
	return r;
}

void http_pool_leave(struct http_pool *p, const struct call *call, void *handle)
{
	SCOPED_LOCK(&p->lock);
	if (handle)
		p->idle[p->n_idle++] = handle;
	p->n_busy--;
	p->n_low -= prio_of(call) != PRIO_DEMAND;
	wake_next_locked(p);
}

void http_pool_silent(struct http_pool *p, const struct call *call, bool silent)
{
	SCOPED_LOCK(&p->lock);
	uint32_t low = prio_of(call) != PRIO_DEMAND;
	p->n_silent += silent ? 1 : -1U;
	p->n_low_silent += silent ? low : -low;
	wake_next_locked(p);
}

void http_pool_went_well(struct http_pool *p)
{
	SCOPED_LOCK(&p->lock);
	if (p->limit >= p->max || ++p->n_well < GROW_AFTER)
		return;
	p->n_well = 0;
	p->limit++;
	metrics_add(METRIC_REQUESTS_LIMIT, 1);
	wake_next_locked(p);
}

void http_pool_overloaded(struct http_pool *p, uint64_t now_ns)
{
	SCOPED_LOCK(&p->lock);
	p->n_well = 0;
	/* The requests that were under way together fail together: that is once. */
	if (p->shrunk_ns && now_ns - p->shrunk_ns < SHRINK_EVERY_NS)
		return;
	uint32_t fewer = p->limit - (p->limit + 3) / 4;
	uint32_t least = p->max < HTTP_POOL_FLOOR ? p->max : HTTP_POOL_FLOOR;
	fewer = fewer > least ? fewer : least;
	metrics_sub(METRIC_REQUESTS_LIMIT, p->limit - fewer);
	p->limit = fewer;
	p->shrunk_ns = now_ns;
}

uint32_t http_pool_limit(struct http_pool *p)
{
	SCOPED_LOCK(&p->lock);
	return p->limit;
}
