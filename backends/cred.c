/* cred.c - see cred.h.
 *
 * At most one thread renews, and the lock is not held meanwhile: the others go on
 * with what is still good, or wait for the outcome and share it.
 */
#include "backends/cred.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "backends/request.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/thread.h"
#include "backends/util/banned.h"

#define SECONDS(n) ((int64_t)(n) * (int64_t)NS_PER_S)

enum {
	RENEW_BEFORE_S = 15 * 60,  /* or a quarter of the life, if that is less */
	RETRY_AFTER_S = 60,	   /* while the old ones are good; likewise */
	FIRST_S = 3,		   /* the mount waits so long for the first ones */
	REFUSED_FOR_S = 2,	   /* what a renewal came to is everybody's for so long */
	DOUBTED_S = 10 * 60,	   /* how long those that came expired are used */
	LOOK_S = 60,		   /* the wall clock may be set while we sleep */
	ATTEMPT_S = 60,		   /* a renewal that nobody waits for */
	STACK_BYTES = 1024 * 1024, /* as the pool's threads */
};

struct creds {
	/* set once */
	struct http *http;
	cred_find_fn *find; /* NULL = static */
	void *arg;
	void (*free_arg)(void *);
	const char *topic;

	/* atomic */
	atomic_bool stopping;

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool renewing, has_thread;
	pthread_t thread;
	int64_t due_ns;	    /* wall clock: of the next renewal */
	uint64_t refused_ns; /* monotonic: until then nobody asks again */
	int last_error;
	uint64_t attempts; /* that have ended */
	struct cred now;
};

void cred_done(struct cred *c)
{
	free(c->access_key);
	secret_done(&c->secret);
	secret_done(&c->token);
	*c = (struct cred){0};
}

static int copy(const struct cred *from, struct cred *ret)
{
	struct cred to = {.kind = from->kind,
			  .source = from->source,
			  .expires_ns = from->expires_ns,
			  .outlasts = from->outlasts,
			  .generation = from->generation};
	to.access_key = strdup(from->access_key ? from->access_key : "");
	int r = to.access_key ? 0 : -ENOMEM;
	if (!r && from->secret.bytes)
		r = secret_set(&to.secret, from->secret.bytes, from->secret.len);
	if (!r && from->token.bytes)
		r = secret_set(&to.token, from->token.bytes, from->token.len);
	if (r)
		cred_done(&to);
	else
		*ret = to;
	return r;
}

static bool same_secret(const struct secret *a, const struct secret *b)
{
	return a->len == b->len && (!a->len || !memcmp(a->bytes, b->bytes, a->len));
}

static bool same(const struct cred *a, const struct cred *b)
{
	const char *x = a->access_key ? a->access_key : "";
	const char *y = b->access_key ? b->access_key : "";
	return a->kind == b->kind && !strcmp(x, y) &&
	       same_secret(&a->secret, &b->secret) && same_secret(&a->token, &b->token);
}

static int64_t quarter(int64_t left_ns, int64_t most_ns)
{
	return left_ns <= 0 ? 0 : left_ns / 4 < most_ns ? left_ns / 4 : most_ns;
}

/* Fresh and expired: our clock is off, or the source's.  They are tried for a while,
 * and the store will say. */
static void doubt_clock_locked(struct creds *c)
{
	int64_t now_ns = clock_wall_ns();
	if (!c->now.expires_ns || c->now.expires_ns > now_ns)
		return;
	c->now.expires_ns = now_ns + SECONDS(DOUBTED_S);
	log_warn(c->topic, "the credentials came expired, unless a clock is off: they "
			   "are tried");
}

/* Not by the wall clock, which may be set back by hours. */
static void refuse_locked(struct creds *c)
{
	c->refused_ns = clock_add(clock_now_ns(), REFUSED_FOR_S * NS_PER_S);
}

/* Takes the fresh ones over. */
static void replace_locked(struct creds *c, struct cred *fresh)
{
	bool changed = !c->now.generation || !same(&c->now, fresh);
	int64_t now_ns = clock_wall_ns();
	fresh->generation = c->now.generation + changed;
	/* The same once more: a store that refused them will go on doing so. */
	if (!changed)
		refuse_locked(c);
	cred_done(&c->now);
	c->now = *fresh;
	doubt_clock_locked(c);
	int64_t left_ns = c->now.expires_ns - now_ns;
	c->due_ns = c->now.expires_ns - quarter(left_ns, SECONDS(RENEW_BEFORE_S));
}

static bool usable_locked(const struct creds *c, uint64_t stale)
{
	if (!c->now.generation)
		return false; /* none were found yet */
	if (stale && stale == c->now.generation)
		return false;
	if (!c->now.expires_ns || c->now.expires_ns > clock_wall_ns())
		return true;
	/* The source's own outage is no reason to stop. */
	return c->now.outlasts && c->last_error;
}

/* The old ones stay.  A short pause keeps many requests from asking one by one. */
static void note_failure_locked(struct creds *c)
{
	int64_t now_ns = clock_wall_ns(), left_ns = c->now.expires_ns - now_ns;
	int64_t pause_ns = quarter(left_ns, SECONDS(RETRY_AFTER_S));
	if (c->now.outlasts && left_ns <= 0)
		pause_ns = SECONDS(RETRY_AFTER_S);
	if (pause_ns < SECONDS(1))
		pause_ns = SECONDS(REFUSED_FOR_S);
	c->due_ns = now_ns + pause_ns;
	refuse_locked(c);
}

/* Unlocks while it asks. */
static int renew_locked(struct creds *c, struct call *call)
{
	struct cred fresh = {.source = c->now.source};
	c->renewing = true;
	(void)pthread_mutex_unlock(&c->lock);
	int r = c->find(c->arg, c->http, &fresh, call);
	if (r)
		cred_done(&fresh); /* found, and not kept */
	(void)pthread_mutex_lock(&c->lock);
	c->renewing = false;
	c->last_error = r;
	c->attempts++;
	if (!r) {
		replace_locked(c, &fresh);
		log_debug(c->topic, "credentials renewed");
	} else if (r != -EINTR) {
		note_failure_locked(c);
	}
	(void)pthread_cond_broadcast(&c->changed);
	return r;
}

static void sleep_until_locked(struct creds *c, int64_t wall_ns)
{
	struct timespec until = {.tv_sec = (time_t)(wall_ns / SECONDS(1)),
				 .tv_nsec = (long)(wall_ns % SECONDS(1))};
	(void)pthread_cond_timedwait(&c->changed, &c->lock, &until);
}

static void *renewer(void *arg)
{
	struct creds *c = arg;
	(void)pthread_setname_np(pthread_self(), "credentials");
	SCOPED_LOCK(&c->lock);
	while (!atomic_load(&c->stopping)) {
		int64_t now_ns = clock_wall_ns(), until_ns = now_ns + SECONDS(LOOK_S);
		struct call call = {.cancelled = &c->stopping, .prio = PRIO_DEMAND};
		call.deadline_ns = clock_add(clock_now_ns(), ATTEMPT_S * NS_PER_S);
		if (c->now.expires_ns && now_ns >= c->due_ns && !c->renewing)
			(void)renew_locked(c, &call);
		else
			sleep_until_locked(c, c->now.expires_ns && !c->renewing &&
							      c->due_ns < until_ns
						      ? c->due_ns
						      : until_ns);
	}
	return NULL;
}

/* Only for what expires.  Without the thread a request renews when it must. */
static void start_thread_locked(struct creds *c)
{
	if (!c->has_thread && c->now.expires_ns && c->find)
		c->has_thread = !thread_start(&c->thread, STACK_BYTES, renewer, c);
}

/* Wait until somebody's renewal has ended, or make one.  0: go and look again. */
static int wait_or_renew_locked(struct creds *c, uint64_t stale, struct call *call)
{
	uint64_t seen = c->attempts;
	while (c->renewing) {
		int r = call_check(call);
		if (r)
			return r;
		sleep_until_locked(c, clock_wall_ns() + SECONDS(1) / 4);
	}
	if (usable_locked(c, stale))
		return 0;
	if (seen != c->attempts && c->last_error != -EINTR)
		return c->last_error;
	if (clock_now_ns() < c->refused_ns)
		return c->last_error;
	return renew_locked(c, call);
}

int creds_get(struct creds *c, uint64_t stale, struct cred *ret, struct call *call)
{
	SCOPED_LOCK(&c->lock);
	int r = 0;
	if (c->find && !usable_locked(c, stale))
		r = wait_or_renew_locked(c, stale, call);
	if (r && !usable_locked(c, stale))
		return r;
	start_thread_locked(c);
	return copy(&c->now, ret);
}

static int creds_make(const struct creds_conf *conf, struct creds **ret)
{
	struct creds *c = calloc(1, sizeof *c);
	if (!c) {
		if (conf->free_arg)
			conf->free_arg(conf->arg);
		return -ENOMEM;
	}
	c->http = conf->http;
	c->find = conf->find;
	c->arg = conf->arg;
	c->free_arg = conf->free_arg;
	c->topic = conf->topic;
	atomic_init(&c->stopping, false);
	(void)pthread_mutex_init(&c->lock, NULL);
	(void)pthread_cond_init(&c->changed, NULL);
	*ret = c;
	return 0;
}

/* That nobody answers is told by whoever asks next, if it is still so. */
static int find_soon(struct creds *c, struct cred *ret, struct call *call)
{
	struct log_held said;
	struct call soon = {
		.deadline_ns = clock_add(clock_now_ns(), FIRST_S * NS_PER_S),
		.outer = call,
	};
	log_hold(&said);
	int r = c->find(c->arg, c->http, ret, &soon);
	log_release(&said, !store_errno_is_transient(r));
	return r;
}

int creds_new(const struct creds_conf *conf, struct creds **ret, struct call *call)
{
	struct creds *c;
	struct cred first = {0};
	int r = creds_make(conf, &c);
	if (r)
		return r;
	r = conf->wait ? find_soon(c, &first, call)
		       : c->find(c->arg, c->http, &first, call);
	if (conf->wait && store_errno_is_transient(r)) {
		cred_done(&first);
		*ret = c;
		return 0;
	}
	if (r) {
		cred_done(&first); /* found, and not kept */
		creds_free(c);
		return r;
	}
	SCOPED_LOCK(&c->lock);
	replace_locked(c, &first);
	*ret = c;
	return 0;
}

int creds_new_static(const struct cred *cred, struct creds **ret)
{
	struct creds_conf conf = {0};
	struct creds *c;
	int r = creds_make(&conf, &c);
	if (r)
		return r;
	r = copy(cred, &c->now);
	if (r) {
		creds_free(c);
		return r;
	}
	c->now.generation = 1;
	*ret = c;
	return 0;
}

void creds_free(struct creds *c)
{
	if (!c)
		return;
	atomic_store(&c->stopping, true);
	(void)pthread_mutex_lock(&c->lock);
	bool has_thread = c->has_thread;
	(void)pthread_cond_broadcast(&c->changed);
	(void)pthread_mutex_unlock(&c->lock);
	if (has_thread)
		(void)pthread_join(c->thread, NULL);
	cred_done(&c->now);
	if (c->free_arg)
		c->free_arg(c->arg);
	(void)pthread_cond_destroy(&c->changed);
	(void)pthread_mutex_destroy(&c->lock);
	free(c);
}
