/* test_hedge.c - a late get is asked a second time: how often, and whose bytes count.
 *
 * The store is scripted: each get, by its number, waits, answers and fails as its row
 * says, and counts.
 */
#include "backends/hedge.h"
#include <errno.h>
#include <pthread.h>
#include "backends/util/clock.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

enum { LEN = 1000, PIECE = 100, SCRIPT = 64, LONG_MS = 60000 };

static const struct hedge_conf quick = {
	.floor_ms = 5, .samples_min = 1, .percent = 3, .burst = 1, .threads = 2};
static const struct object obj = {.size = LEN, .etag = "\"v\""};

/* What one get does. */
struct act {
	uint32_t wait_ms; /* before it begins, or until it is cancelled */
	uint64_t bytes;	  /* that it delivers; 0 = all */
	int error;	  /* that it ends with */
};

struct store {
	struct backend be; /* first */
	struct act acts[SCRIPT];
	_Atomic uint32_t gets, running, cancelled;
};

static int wait_cancellable(struct call *call, uint32_t ms)
{
	for (uint32_t i = 0; i < ms; i++) {
		int r = call_check(call);
		if (r)
			return r;
		clock_sleep_ns(NS_PER_MS);
	}
	return 0;
}

static int store_get(struct backend *be, const char *key, const struct object *o,
		     uint64_t off, uint64_t len, sink_fn *sink, void *arg,
		     struct call *call)
{
	struct store *st = (struct store *)be;
	uint32_t n = atomic_fetch_add(&st->gets, 1);
	const struct act *act = &st->acts[n < SCRIPT ? n : SCRIPT - 1];
	char bytes[PIECE];
	CHECK_STR(key, "k");
	CHECK_STR(o->etag, obj.etag);
	atomic_fetch_add(&st->running, 1);
	int r = wait_cancellable(call, act->wait_ms);
	uint64_t end = off + (act->bytes ? act->bytes : act->error ? 0 : len);
	for (; !r && off < end; off += PIECE) {
		memset(bytes, 'a' + (int)(off / PIECE), sizeof bytes);
		r = sink(arg, off, bytes, PIECE);
	}
	if (!r)
		r = act->error;
	if (r == -EINTR || r == -ECANCELED)
		atomic_fetch_add(&st->cancelled, 1);
	atomic_fetch_sub(&st->running, 1);
	return r;
}

static const struct backend_ops store_ops = {.scheme = "mem", .get = store_get};

static void store_init(struct store *st)
{
	*st = (struct store){.be = {.ops = &store_ops}};
}

/* What the sink got: every byte once and in order. */
struct bowl {
	uint64_t next;
	_Atomic uint32_t inside;
	int error;
};

static int bowl_sink(void *arg, uint64_t off, const void *bytes, size_t len)
{
	struct bowl *b = arg;
	const char *p = bytes;
	CHECK_EQ(atomic_fetch_add(&b->inside, 1), 0);
	CHECK_EQ(off, b->next);
	for (size_t i = 0; i < len; i++)
		CHECK_EQ(p[i], 'a' + (int)(off / PIECE));
	b->next += len;
	atomic_fetch_sub(&b->inside, 1);
	return b->error;
}

static int get(struct hedge *h, struct bowl *b, struct call *call)
{
	*b = (struct bowl){.error = b->error};
	return hedge_get(h, "k", &obj, 0, LEN, bowl_sink, b, call);
}

/* One get that begins at once, so that the next one is late soon. */
static struct hedge *new_hedge(struct store *st, const struct hedge_conf *conf)
{
	struct hedge *h;
	struct bowl b = {0};
	CHECK_EQ(hedge_new(&st->be, conf, &h), 0);
	CHECK_EQ(get(h, &b, NULL), 0);
	CHECK_EQ(b.next, LEN);
	CHECK_EQ(st->gets, 1);
	return h;
}

static void wait_running(struct store *st, uint32_t n)
{
	while (atomic_load(&st->running) != n)
		clock_sleep_ns(NS_PER_MS);
}

static void hedge__a_late_get_is_asked_again_and_the_second_wins(void)
{
	struct store st;
	struct bowl b = {0};
	store_init(&st);
	st.acts[1].wait_ms = LONG_MS;
	struct hedge *h = new_hedge(&st, &quick);
	CHECK_EQ(get(h, &b, NULL), 0);
	CHECK_EQ(b.next, LEN);
	CHECK_EQ(st.gets, 3);
	/* hedge (1): the one that lost was cancelled, it was not waited out. */
	CHECK_EQ(st.cancelled, 1);
	CHECK_EQ(st.running, 0);
	hedge_free(h);
}

static void hedge__the_first_may_win_after_all(void)
{
	struct store st;
	struct bowl b = {0};
	store_init(&st);
	st.acts[1].wait_ms = 150;
	st.acts[2].wait_ms = LONG_MS;
	struct hedge *h = new_hedge(&st, &quick);
	CHECK_EQ(get(h, &b, NULL), 0);
	CHECK_EQ(b.next, LEN);
	CHECK_EQ(st.gets, 3);
	wait_running(&st, 0);
	CHECK_EQ(st.cancelled, 1);
	hedge_free(h);
}

static void hedge__what_is_in_time_is_asked_once(void)
{
	struct store st;
	struct hedge_conf patient = quick;
	patient.floor_ms = LONG_MS;
	store_init(&st);
	struct hedge *h = new_hedge(&st, &patient);
	st.acts[1].wait_ms = 100;
	for (uint32_t i = 2; i < 20; i++) {
		struct bowl b = {0};
		CHECK_EQ(get(h, &b, NULL), 0);
		CHECK_EQ(st.gets, i);
	}
	hedge_free(h);
}

static void hedge__nothing_is_late_before_there_is_a_usual(void)
{
	struct store st;
	struct hedge_conf conf = quick;
	struct bowl b = {0};
	conf.samples_min = 3;
	store_init(&st);
	st.acts[1].wait_ms = 100;
	struct hedge *h = new_hedge(&st, &conf);
	CHECK_EQ(get(h, &b, NULL), 0);
	CHECK_EQ(st.gets, 2);
	hedge_free(h);
}

static void hedge__P9_a_slow_store_is_not_asked_twice_as_much(void)
{
	enum { GETS = 40 };
	struct store st;
	store_init(&st);
	struct hedge_conf conf = quick;
	conf.percent = 10;
	struct hedge *h = new_hedge(&st, &conf);
	for (int i = 1; i < SCRIPT; i++)
		st.acts[i].wait_ms = 60; /* all of them late, whoever asks */
	uint32_t seconds = 0;
	for (int i = 0; i < GETS; i++) {
		struct bowl b = {0};
		uint32_t before = st.gets;
		CHECK_EQ(get(h, &b, NULL), 0);
		seconds += st.gets - before - 1;
	}
	/* hedge (4): the burst, and a tenth of the rest. */
	CHECK(seconds >= 1);
	CHECK(seconds <= 1 + GETS / 10);
	hedge_free(h);
}

static void hedge__a_failed_first_leaves_it_to_the_second(void)
{
	struct store st;
	struct bowl b = {0};
	store_init(&st);
	st.acts[1] = (struct act){.wait_ms = 100, .error = -ECOMM};
	st.acts[2].wait_ms = 200;
	struct hedge *h = new_hedge(&st, &quick);
	CHECK_EQ(get(h, &b, NULL), 0);
	CHECK_EQ(b.next, LEN);
	CHECK_EQ(st.gets, 3);
	hedge_free(h);
}

static void hedge__a_failed_second_does_not_fail_the_first(void)
{
	static const int errors[] = {-ECOMM, -EBUSY, -ESTALE};
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
		struct store st;
		struct bowl b = {0};
		store_init(&st);
		st.acts[1].wait_ms = 150;
		st.acts[2].error = errors[i];
		struct hedge *h = new_hedge(&st, &quick);
		CHECK_EQ(get(h, &b, NULL), 0);
		CHECK_EQ(b.next, LEN);
		CHECK_EQ(st.gets, 3);
		hedge_free(h);
	}
}

static void hedge__both_failing_is_the_firsts_error(void)
{
	struct store st;
	struct bowl b = {0};
	store_init(&st);
	st.acts[1] = (struct act){.wait_ms = 100, .error = -EREMOTEIO};
	st.acts[2].error = -ECOMM;
	struct hedge *h = new_hedge(&st, &quick);
	CHECK_EQ(get(h, &b, NULL), -EREMOTEIO);
	CHECK_EQ(b.next, 0);
	hedge_free(h);
}

/* The wrapper above goes on from there: what was delivered is not delivered again. */
static void hedge__a_winner_that_breaks_off_is_the_gets_error(void)
{
	struct store st;
	struct bowl b = {0};
	store_init(&st);
	st.acts[1].wait_ms = LONG_MS;
	st.acts[2] = (struct act){.bytes = 3 * PIECE, .error = -ECOMM};
	struct hedge *h = new_hedge(&st, &quick);
	CHECK_EQ(get(h, &b, NULL), -ECOMM);
	CHECK_EQ(b.next, 3 * PIECE);
	hedge_free(h);
}

static void hedge__the_sinks_error_ends_it(void)
{
	struct store st;
	struct bowl b = {0};
	store_init(&st);
	st.acts[1].wait_ms = LONG_MS;
	struct hedge *h = new_hedge(&st, &quick);
	b.error = -ENOSPC;
	CHECK_EQ(get(h, &b, NULL), -ENOSPC);
	CHECK_EQ(b.next, PIECE);
	hedge_free(h);
}

static void hedge__P8_a_cancelled_call_takes_both_along(void)
{
	struct store st;
	struct bowl b = {0};
	store_init(&st);
	st.acts[1].wait_ms = st.acts[2].wait_ms = LONG_MS;
	struct hedge *h = new_hedge(&st, &quick);
	struct call call = {.deadline_ns = clock_now_ns() + 100 * NS_PER_MS};
	CHECK_EQ(get(h, &b, &call), -ETIMEDOUT);
	atomic_bool cancelled = true;
	call = (struct call){.deadline_ns = CLOCK_NEVER, .cancelled = &cancelled};
	CHECK_EQ(get(h, &b, &call), -EINTR);
	CHECK_EQ(b.next, 0);
	wait_running(&st, 0);
	hedge_free(h);
}

/* hedge (3): the loser wakes up when the get, its sink and its caller are gone. */
static void hedge__a_loser_touches_nothing_after_the_return(void)
{
	struct store st;
	store_init(&st);
	st.acts[1].wait_ms = 100;
	st.acts[2].wait_ms = 130; /* it begins while the first one ends */
	for (int i = 3; i < SCRIPT; i += 2) {
		st.acts[i].wait_ms = 20;
		st.acts[i + 1 < SCRIPT ? i + 1 : i].wait_ms = 14;
	}
	struct hedge_conf conf = quick;
	conf.percent = 100;
	struct hedge *h = new_hedge(&st, &conf);
	for (int i = 0; i < 30; i++) {
		struct bowl *b = calloc(1, sizeof *b);
		CHECK_EQ(get(h, b, NULL), 0);
		CHECK_EQ(b->next, LEN);
		b->next = UINT64_MAX; /* whatever comes now fails the check of off */
		free(b);
	}
	hedge_free(h);
	CHECK_EQ(st.running, 0);
}

struct late_wish {
	struct store *st;
	atomic_bool wanted;
};

static void *want_later(void *arg)
{
	struct late_wish *w = arg;
	while (atomic_load(&w->st->gets) < 2)
		clock_sleep_ns(NS_PER_MS);
	clock_sleep_ns(100 * NS_PER_MS);
	CHECK_EQ(w->st->gets, 2); /* nobody waits for it: it is left alone */
	atomic_store(&w->wanted, true);
	return NULL;
}

static void hedge__a_hint_is_asked_again_once_somebody_waits_for_it(void)
{
	struct store st;
	struct bowl b = {0};
	struct late_wish w = {.st = &st};
	pthread_t thread;
	store_init(&st);
	struct hedge *h = new_hedge(&st, &quick);
	st.acts[1].wait_ms = LONG_MS;
	CHECK(!pthread_create(&thread, NULL, want_later, &w));
	struct call call = {
		.deadline_ns = CLOCK_NEVER, .prio = PRIO_HINT, .wanted = &w.wanted};
	CHECK_EQ(get(h, &b, &call), 0);
	CHECK_EQ(st.gets, 3);
	CHECK(!pthread_join(thread, NULL));
	hedge_free(h);
}

int main(void)
{
	RUN(hedge__a_late_get_is_asked_again_and_the_second_wins);
	RUN(hedge__the_first_may_win_after_all);
	RUN(hedge__what_is_in_time_is_asked_once);
	RUN(hedge__nothing_is_late_before_there_is_a_usual);
	RUN(hedge__P9_a_slow_store_is_not_asked_twice_as_much);
	RUN(hedge__a_failed_first_leaves_it_to_the_second);
	RUN(hedge__a_failed_second_does_not_fail_the_first);
	RUN(hedge__both_failing_is_the_firsts_error);
	RUN(hedge__a_winner_that_breaks_off_is_the_gets_error);
	RUN(hedge__the_sinks_error_ends_it);
	RUN(hedge__P8_a_cancelled_call_takes_both_along);
	RUN(hedge__a_loser_touches_nothing_after_the_return);
	RUN(hedge__a_hint_is_asked_again_once_somebody_waits_for_it);
	return 0;
}
