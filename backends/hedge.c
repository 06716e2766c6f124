/* hedge.c - see hedge.h.
 *
 * Each get is a race.  The caller's own request is FIRST and runs on the caller's
 * thread.  A timer looks through the races that have no byte yet and gives those that
 * are late a SECOND, on a small pool.  Whose sink is called first has won: from then on
 * it delivers without a lock, and the other's sink refuses every byte.
 *
 * Lock order: hedge.lock > pool.lock; race.lock is taken alone.
 */
#include "backends/hedge.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "backends/request.h"
#include "backends/util/cleanup.h"
#include "backends/util/cond.h"
#include "backends/util/pool.h"
#include "backends/util/thread.h"
#include "backends/util/banned.h"

/* floor: of two round trips across a continent.  percent: what a provider's guide asks
 * clients not to pass, and more than the slow requests of a healthy store. */
const struct hedge_conf hedge_defaults = {
	.floor_ms = 100,
	.samples_min = 8,
	.percent = 3,
	.burst = 4,
	.threads = 4,
};

enum {
	TICK_MS = 20, /* how often the timer looks, while there is a race */
	SAMPLES = 64,
	LATE_TIMES = 3, /* the median */
};

enum side { FIRST, SECOND, SIDES, NOBODY, CLOSED };

struct race {
	/* set once */
	struct hedge *h;
	char *key; /* owned */
	struct object obj;
	uint64_t off, len, deadline_ns;
	sink_fn *sink; /* FIRST's caller's, as arg: while he waits (hedge (3)) */
	void *arg;

	/* guarded by hedge.lock */
	struct race *next, **link; /* among those that run */
	const struct call *call;   /* the caller's, while it is among them */
	uint64_t due_ns;
	bool asked; /* there is, or was, a SECOND */

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t ended; /* SECOND */
	uint32_t refs;
	bool second_runs;
	int second_result;
	uint64_t started_ns[SIDES];

	/* atomic; set under lock */
	_Atomic int winner; /* enum side */
	atomic_bool cancelled[SIDES];
};

struct hedge {
	/* set once */
	struct backend *inner; /* borrowed */
	struct hedge_conf conf;
	struct pool *pool; /* owned */

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t raced; /* there is one to watch, or the end */
	struct race *races;
	uint64_t first_byte_ns[SAMPLES]; /* a ring */
	uint64_t n_samples;
	uint64_t late_ns; /* CLOCK_NEVER = too few samples */
	uint32_t tokens;  /* a hundred are worth a SECOND */
	bool timing, stopping;
	pthread_t timer;
};

/* -- when a get is late -- */

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static uint64_t late_after_locked(const struct hedge *h)
{
	uint64_t sorted[SAMPLES], n = h->n_samples < SAMPLES ? h->n_samples : SAMPLES;
	if (n < h->conf.samples_min || !n)
		return CLOCK_NEVER;
	memcpy(sorted, h->first_byte_ns, n * sizeof *sorted);
	qsort(sorted, n, sizeof *sorted, by_size);
	uint64_t late = h->conf.floor_ms * NS_PER_MS;
	if (late < LATE_TIMES * sorted[n / 2])
		late = LATE_TIMES * sorted[n / 2];
	if (late < sorted[n * 95 / 100])
		late = sorted[n * 95 / 100];
	return late;
}

static void add_sample(struct hedge *h, uint64_t ns)
{
	SCOPED_LOCK(&h->lock);
	h->first_byte_ns[h->n_samples++ % SAMPLES] = ns;
	if (h->late_ns == CLOCK_NEVER || h->n_samples % 8 == 0)
		h->late_ns = late_after_locked(h);
}

/* -- the race -- */

static struct race *race_new(struct hedge *h, const char *key, const struct object *obj,
			     const struct call *call)
{
	struct race *race = calloc(1, sizeof *race);
	if (!race)
		return NULL;
	race->key = strdup(key);
	if (!race->key) {
		free(race);
		return NULL;
	}
	race->h = h;
	race->obj = *obj;
	race->call = call;
	race->deadline_ns = call ? call->deadline_ns : CLOCK_NEVER;
	race->refs = 1;
	race->winner = NOBODY;
	race->started_ns[FIRST] = clock_now_ns();
	cond_init_monotonic(&race->ended);
	(void)pthread_mutex_init(&race->lock, NULL);
	return race;
}

static void race_unref(struct race *race)
{
	(void)pthread_mutex_lock(&race->lock);
	bool last = !--race->refs;
	(void)pthread_mutex_unlock(&race->lock);
	if (!last)
		return;
	(void)pthread_cond_destroy(&race->ended);
	(void)pthread_mutex_destroy(&race->lock);
	free(race->key);
	free(race);
}

/* Has this side won, now or before? */
static bool wins(struct race *race, enum side side)
{
	if (atomic_load(&race->winner) != NOBODY)
		return atomic_load(&race->winner) == (int)side;
	(void)pthread_mutex_lock(&race->lock);
	bool won = atomic_load(&race->winner) == NOBODY;
	if (won) {
		atomic_store(&race->winner, (int)side);
		atomic_store(&race->cancelled[side == FIRST ? SECOND : FIRST], true);
	}
	uint64_t started_ns = race->started_ns[side];
	(void)pthread_mutex_unlock(&race->lock);
	if (won)
		add_sample(race->h, clock_now_ns() - started_ns);
	return won;
}

static int deliver(struct race *race, enum side side, uint64_t off, const void *bytes,
		   size_t len)
{
	return wins(race, side) ? race->sink(race->arg, off, bytes, len) : -ECANCELED;
}

static int first_sink(void *arg, uint64_t off, const void *bytes, size_t len)
{
	return deliver(arg, FIRST, off, bytes, len);
}

static int second_sink(void *arg, uint64_t off, const void *bytes, size_t len)
{
	return deliver(arg, SECOND, off, bytes, len);
}

static void second_job(void *arg)
{
	struct race *race = arg;
	struct call call = {.deadline_ns = race->deadline_ns,
			    .cancelled = &race->cancelled[SECOND],
			    .prio = PRIO_DEMAND};
	(void)pthread_mutex_lock(&race->lock);
	race->started_ns[SECOND] = clock_now_ns();
	(void)pthread_mutex_unlock(&race->lock);
	int r = backend_get(race->h->inner, race->key, &race->obj, race->off, race->len,
			    second_sink, race, &call);
	(void)pthread_mutex_lock(&race->lock);
	race->second_runs = false;
	race->second_result = r;
	(void)pthread_cond_broadcast(&race->ended);
	(void)pthread_mutex_unlock(&race->lock);
	race_unref(race);
}

/* -- the timer -- */

static bool is_due_locked(const struct race *race, uint64_t now)
{
	return !race->asked && race->due_ns <= now &&
	       atomic_load(&race->winner) == NOBODY && call_is_waited_for(race->call);
}

/* hedge (4). */
static bool pay_locked(struct hedge *h)
{
	if (h->tokens < 100)
		return false;
	h->tokens -= 100;
	return true;
}

static void ask_again_locked(struct hedge *h, struct race *race)
{
	race->asked = true;
	(void)pthread_mutex_lock(&race->lock);
	race->refs++;
	race->second_runs = true;
	(void)pthread_mutex_unlock(&race->lock);
	if (!pool_submit(h->pool, PRIO_DEMAND, second_job, race))
		return;
	(void)pthread_mutex_lock(&race->lock);
	race->refs--; /* FIRST's is still there: it is among those that run */
	race->second_runs = false;
	(void)pthread_cond_broadcast(&race->ended);
	(void)pthread_mutex_unlock(&race->lock);
}

static void *timer(void *arg)
{
	struct hedge *h = arg;
	(void)pthread_setname_np(pthread_self(), "mastfs-hedge");
	SCOPED_LOCK(&h->lock);
	while (!h->stopping) {
		uint64_t now = clock_now_ns();
		for (struct race *race = h->races; race; race = race->next)
			if (is_due_locked(race, now) && pay_locked(h))
				ask_again_locked(h, race);
		if (h->races)
			cond_wait_ms(&h->raced, &h->lock, TICK_MS);
		else
			(void)pthread_cond_wait(&h->raced, &h->lock);
	}
	return NULL;
}

/* Without a timer nothing is asked twice: that is no failure. */
static void start_timer_locked(struct hedge *h)
{
	h->timing = !thread_start(&h->timer, 0, timer, h);
}

static void enter(struct hedge *h, struct race *race)
{
	SCOPED_LOCK(&h->lock);
	uint32_t most = 100 * h->conf.burst;
	h->tokens =
		h->tokens + h->conf.percent < most ? h->tokens + h->conf.percent : most;
	race->due_ns = clock_add(race->started_ns[FIRST], h->late_ns);
	bool idle = !h->races;
	race->next = h->races;
	race->link = &h->races;
	if (race->next)
		race->next->link = &race->next;
	h->races = race;
	if (!h->timing)
		start_timer_locked(h);
	else if (idle)
		(void)pthread_cond_signal(&h->raced);
}

static void leave(struct hedge *h, struct race *race)
{
	SCOPED_LOCK(&h->lock);
	*race->link = race->next;
	if (race->next)
		race->next->link = race->link;
}

/* -- the get -- */

/* FIRST has ended with r.  What the caller gets: from here on no SECOND can win, and
 * one that has won is over (hedge (3)). */
static int settle(struct race *race, int r, const struct call *call)
{
	SCOPED_LOCK(&race->lock);
	/* hedge (2): only what may go better on another connection. */
	bool hopes = store_errno_is_transient(r);
	while (race->second_runs && (atomic_load(&race->winner) == SECOND ||
				     (atomic_load(&race->winner) == NOBODY && hopes))) {
		if (call_check(call))
			atomic_store(&race->cancelled[SECOND], true);
		cond_wait_ms(&race->ended, &race->lock, TICK_MS);
	}
	if (atomic_load(&race->winner) == SECOND)
		return race->second_result;
	if (atomic_load(&race->winner) == NOBODY)
		atomic_store(&race->winner, CLOSED);
	atomic_store(&race->cancelled[SECOND], true);
	return r;
}

int hedge_get(struct hedge *h, const char *key, const struct object *obj, uint64_t off,
	      uint64_t len, sink_fn *sink, void *arg, struct call *call)
{
	struct race *race = race_new(h, key, obj, call);
	if (!race)
		return -ENOMEM;
	race->off = off;
	race->len = len;
	race->sink = sink;
	race->arg = arg;
	struct call own = {.deadline_ns = race->deadline_ns,
			   .cancelled = &race->cancelled[FIRST],
			   .prio = call ? call->prio : PRIO_DEMAND,
			   .outer = call};
	enter(h, race);
	int r = backend_get(h->inner, key, obj, off, len, first_sink, race, &own);
	leave(h, race);
	r = settle(race, r, call);
	race_unref(race);
	return r;
}

/* -- open and close -- */

int hedge_new(struct backend *inner, const struct hedge_conf *conf, struct hedge **ret)
{
	struct pool_conf pool = {.name = "mastfs-second", .threads_max = conf->threads};
	struct hedge *h = calloc(1, sizeof *h);
	int r = h ? pool_new(&pool, &h->pool) : -ENOMEM;
	if (r) {
		free(h);
		return r;
	}
	h->inner = inner;
	h->conf = *conf;
	h->late_ns = CLOCK_NEVER;
	h->tokens = 100 * conf->burst;
	(void)pthread_mutex_init(&h->lock, NULL);
	cond_init_monotonic(&h->raced);
	*ret = h;
	return 0;
}

void hedge_free(struct hedge *h)
{
	if (!h)
		return;
	(void)pthread_mutex_lock(&h->lock);
	h->stopping = true;
	bool timing = h->timing;
	(void)pthread_cond_signal(&h->raced);
	(void)pthread_mutex_unlock(&h->lock);
	if (timing)
		(void)pthread_join(h->timer, NULL);
	/* SECONDs that lost may still be on their way out. */
	pool_free(h->pool);
	(void)pthread_cond_destroy(&h->raced);
	(void)pthread_mutex_destroy(&h->lock);
	free(h);
}
