/* test_cred_renew.c - credentials are renewed before they expire, once for all threads,
 * and what is still good is used while that fails. */
#include "backends/cred.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

enum { THREADS = 8 };
#define MS ((int64_t)NS_PER_MS)

int64_t __wrap_clock_wall_ns(void);
int64_t __real_clock_wall_ns(void);
static atomic_long clock_off_ms;

int64_t __wrap_clock_wall_ns(void)
{
	return __real_clock_wall_ns() + atomic_load(&clock_off_ms) * MS;
}

/* A source: what it gives out, and what it saw. */
struct source_of {
	atomic_int asked, inside, most_inside;
	atomic_int error;    /* what it fails with */
	atomic_long life_ms; /* of what it gives out; 0 = for ever */
	atomic_long takes_ms;
	atomic_bool same, outlasts, freed;
};

static int find(void *arg, struct http *http, struct cred *ret, struct call *call)
{
	struct source_of *s = arg;
	char token[32];
	(void)http;
	int n = atomic_fetch_add(&s->asked, 1) + 1;
	int inside = atomic_fetch_add(&s->inside, 1) + 1;
	if (inside > atomic_load(&s->most_inside))
		atomic_store(&s->most_inside, inside);
	int r = 0;
	for (long ms = 0; !r && ms < atomic_load(&s->takes_ms); ms += 10) {
		clock_sleep_ns(10 * NS_PER_MS);
		r = call_check(call);
	}
	atomic_fetch_sub(&s->inside, 1);
	if (!r)
		r = atomic_load(&s->error);
	if (r)
		return r;
	(void)snprintf(token, sizeof token, "t%d", atomic_load(&s->same) ? 0 : n);
	ret->kind = CRED_BEARER;
	ret->outlasts = atomic_load(&s->outlasts);
	if (atomic_load(&s->life_ms))
		ret->expires_ns = clock_wall_ns() + atomic_load(&s->life_ms) * MS;
	return secret_set(&ret->token, token, strlen(token));
}

static void note_free(void *arg)
{
	struct source_of *s = arg;
	atomic_store(&s->freed, true);
}

static struct creds *start(struct source_of *s)
{
	struct creds *creds = NULL;
	struct creds_conf conf = {
		.find = find, .arg = s, .free_arg = note_free, .topic = "test"};
	CHECK_EQ(creds_new(&conf, &creds, NULL), 0);
	return creds;
}

static uint64_t get(struct creds *creds, uint64_t stale)
{
	CLEANUP_CRED struct cred cred = {0};
	CHECK_EQ(creds_get(creds, stale, &cred, NULL), 0);
	CHECK_STR(cred.access_key, "");
	return cred.generation;
}

static void sleep_ms(int64_t ms)
{
	clock_sleep_ns((uint64_t)ms * NS_PER_MS);
}

static void cred__what_never_expires_is_asked_for_once(void)
{
	struct source_of s = {0};
	struct creds *creds = start(&s);
	uint64_t first = get(creds, 0);
	CHECK_EQ(get(creds, 0), first);
	CHECK_EQ(s.asked, 1);
	creds_free(creds);
	CHECK(s.freed);
}

static void cred__static_ones_are_copied(void)
{
	CLEANUP_CRED struct cred cred = {.kind = CRED_SAS}, copy = {0};
	struct creds *creds;
	CHECK_EQ(secret_set(&cred.token, "sig=x", 5), 0);
	CHECK_EQ(creds_new_static(&cred, &creds), 0);
	secret_done(&cred.token);
	CHECK_EQ(creds_get(creds, 0, &copy, NULL), 0);
	CHECK_EQ(copy.kind, CRED_SAS);
	CHECK_STR(copy.token.bytes, "sig=x");
	/* refused: there are no others, and the caller sees it by the generation */
	CHECK_EQ(get(creds, copy.generation), copy.generation);
	creds_free(creds);
}

static void cred__a_failure_at_the_start_is_the_answer(void)
{
	struct source_of s = {.error = -EACCES};
	struct creds *creds = NULL;
	struct creds_conf conf = {
		.find = find, .arg = &s, .free_arg = note_free, .topic = "test"};
	CHECK_EQ(creds_new(&conf, &creds, NULL), -EACCES);
	CHECK(!creds && s.freed);
}

/* Unless it may come up later: then whoever asks is told, until it has. */
static void cred__a_source_that_is_away_may_come_up(void)
{
	struct source_of s = {.error = -ECOMM};
	struct creds *creds = NULL;
	struct cred cred = {0};
	struct creds_conf conf = {.find = find,
				  .arg = &s,
				  .free_arg = note_free,
				  .topic = "test",
				  .wait = true};
	CHECK_EQ(creds_new(&conf, &creds, NULL), 0);
	CHECK_EQ(creds_get(creds, 0, &cred, NULL), -ECOMM);
	atomic_store(&s.error, 0);
	int r = -ECOMM;
	for (int i = 0; i < 100 && r; i++) {
		sleep_ms(100);
		r = creds_get(creds, 0, &cred, NULL);
	}
	CHECK_EQ(r, 0);
	CHECK(cred.generation);
	cred_done(&cred);
	creds_free(creds);
	s.freed = false;
	atomic_store(&s.error, -EACCES);
	creds = NULL;
	CHECK_EQ(creds_new(&conf, &creds, NULL), -EACCES);
	CHECK(!creds && s.freed);
}

struct reader {
	struct creds *creds;
	uint64_t stale;
	int64_t for_ms, slowest_ns;
	int error;
	uint64_t last;
};

static void *read_on(void *arg)
{
	struct reader *rd = arg;
	uint64_t end_ns = clock_now_ns() + (uint64_t)rd->for_ms * NS_PER_MS;
	do {
		CLEANUP_CRED struct cred cred = {0};
		uint64_t t0 = clock_now_ns();
		int r = creds_get(rd->creds, rd->stale, &cred, NULL);
		int64_t took_ns = (int64_t)(clock_now_ns() - t0);
		rd->slowest_ns = took_ns > rd->slowest_ns ? took_ns : rd->slowest_ns;
		rd->last = cred.generation;
		rd->error = r ? r : rd->error;
		sleep_ms(5);
	} while (clock_now_ns() < end_ns);
	return NULL;
}

static void run_readers(struct reader rd[static THREADS], struct creds *creds,
			uint64_t stale, int64_t for_ms)
{
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++) {
		rd[i] = (struct reader){.creds = creds, .stale = stale, .for_ms = for_ms};
		CHECK(!pthread_create(&threads[i], NULL, read_on, &rd[i]));
	}
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_join(threads[i], NULL));
}

static void cred__renewal_is_in_the_background_once_for_all(void)
{
	struct source_of s = {.life_ms = 2000, .takes_ms = 200};
	struct creds *creds = start(&s);
	struct reader rd[THREADS];
	run_readers(rd, creds, 0, 3500);
	for (int i = 0; i < THREADS; i++) {
		CHECK_EQ(rd[i].error, 0);
		/* nobody waited for the source, which takes 200 ms */
		CHECK(rd[i].slowest_ns < 150 * MS);
		CHECK(rd[i].last >= 2);
	}
	CHECK_EQ(s.most_inside, 1);
	CHECK(s.asked >= 3 && s.asked <= 4);
	creds_free(creds);
}

static void cred__what_a_store_refused_is_renewed_once(void)
{
	struct source_of s = {.life_ms = 3600 * 1000, .takes_ms = 200};
	struct creds *creds = start(&s);
	struct reader rd[THREADS];
	uint64_t first = get(creds, 0);
	run_readers(rd, creds, first, 0);
	for (int i = 0; i < THREADS; i++) {
		CHECK_EQ(rd[i].error, 0);
		CHECK_EQ(rd[i].last, first + 1);
	}
	CHECK_EQ(s.asked, 2);
	creds_free(creds);
}

static void cred__the_same_again_is_the_same_generation(void)
{
	struct source_of s = {.same = true};
	struct creds *creds = start(&s);
	struct reader rd[THREADS];
	s.takes_ms = 100;
	run_readers(rd, creds, get(creds, 0), 0);
	CHECK_EQ(rd[0].last, get(creds, 0));
	CHECK_EQ(s.asked, 2);
	/* a store that goes on refusing them does not make each request ask */
	for (int i = 0; i < 20; i++)
		(void)get(creds, get(creds, 0));
	CHECK_EQ(s.asked, 2);
	creds_free(creds);
}

static void cred__the_old_ones_are_used_while_they_are_good(void)
{
	CLEANUP_CRED struct cred cred = {0};
	struct source_of s = {.life_ms = 3000};
	struct creds *creds = start(&s);
	uint64_t first = get(creds, 0);
	s.error = -ECOMM;
	sleep_ms(2500); /* renewal was due at 2250 and has failed */
	CHECK(s.asked >= 2);
	CHECK_EQ(get(creds, 0), first);
	sleep_ms(700); /* now they are not */
	CHECK_EQ(creds_get(creds, 0, &cred, NULL), -ECOMM);
	int asked = s.asked;
	for (int i = 0; i < 20; i++)
		CHECK_EQ(creds_get(creds, 0, &cred, NULL), -ECOMM);
	CHECK(s.asked <= asked + 1); /* not by every request */
	s.error = 0;
	sleep_ms(2500); /* the pause is over, the thread has asked */
	CHECK_EQ(get(creds, 0), first + 1);
	creds_free(creds);
}

static void cred__expired_keys_of_an_instance_that_is_down_are_used_on(void)
{
	struct source_of s = {.life_ms = 400, .outlasts = true};
	struct creds *creds = start(&s);
	uint64_t first = get(creds, 0);
	s.error = -ETIMEDOUT;
	sleep_ms(800);
	CHECK_EQ(get(creds, 0), first);
	creds_free(creds);
}

static void cred__fresh_ones_that_seem_expired_are_tried(void)
{
	/* our clock is off, or the source's: the store will say */
	struct source_of s = {.life_ms = -1000};
	struct creds *creds = start(&s);
	for (int i = 0; i < 10; i++)
		(void)get(creds, 0);
	CHECK_EQ(s.asked, 1);
	creds_free(creds);
}

static void cred__a_clock_set_back_does_not_stop_renewals(void)
{
	struct source_of s = {.life_ms = 3600 * 1000};
	struct creds *creds = start(&s);
	uint64_t first = get(creds, 0);
	s.error = -ECOMM;
	struct cred cred;
	CHECK_EQ(creds_get(creds, first, &cred, NULL), -ECOMM); /* a pause begins */
	s.error = 0;
	clock_off_ms = -8 * 3600 * 1000;
	sleep_ms(2500); /* and is over */
	CHECK_EQ(get(creds, first), first + 1);
	creds_free(creds);
	clock_off_ms = 0;
}

static void cred__the_end_does_not_wait_for_the_source(void)
{
	struct source_of s = {.life_ms = 100};
	struct creds *creds = start(&s);
	s.takes_ms = 20 * 1000;
	(void)get(creds, 0);
	sleep_ms(200);
	CHECK_EQ(s.inside, 1);
	uint64_t t0 = clock_now_ns();
	creds_free(creds);
	CHECK(clock_now_ns() - t0 < NS_PER_S);
}

int main(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	RUN(cred__what_never_expires_is_asked_for_once);
	RUN(cred__static_ones_are_copied);
	RUN(cred__a_failure_at_the_start_is_the_answer);
	RUN(cred__a_source_that_is_away_may_come_up);
	RUN(cred__renewal_is_in_the_background_once_for_all);
	RUN(cred__what_a_store_refused_is_renewed_once);
	RUN(cred__the_same_again_is_the_same_generation);
	RUN(cred__the_old_ones_are_used_while_they_are_good);
	RUN(cred__expired_keys_of_an_instance_that_is_down_are_used_on);
	RUN(cred__fresh_ones_that_seem_expired_are_tried);
	RUN(cred__a_clock_set_back_does_not_stop_renewals);
	RUN(cred__the_end_does_not_wait_for_the_source);
	return 0;
}
