/* cred.c - see cred.h.
 *
 * One thread renews while the others go on with the keys that are still good, or
 * wait; the lock is not held meanwhile.
 */
#include "backends/cred.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "backends/cred_source.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum {
	RENEW_BEFORE_S = 600, /* the least life that a request starts with */
	RETRY_AFTER_S = 60,   /* while the old keys are still good */
};

struct creds {
	/* set once */
	struct http *http;
	const char *profile;
	bool instance;
	char *region; /* owned */

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t renewed;
	bool renewing;
	int64_t not_before_ns; /* wall clock: no renewal after a failure until then */
	struct cred now;
};

void cred_done(struct cred *c)
{
	free(c->access_key);
	secret_done(&c->secret);
	secret_done(&c->token);
	*c = (struct cred){0};
}

void creds_free(struct creds *c)
{
	if (!c)
		return;
	cred_done(&c->now);
	(void)pthread_cond_destroy(&c->renewed);
	(void)pthread_mutex_destroy(&c->lock);
	free(c->region);
	free(c);
}

static void log_nothing_found(const struct creds *c, const struct profile *profile)
{
	log_error("s3",
		  "no credentials found: looked at AWS_ACCESS_KEY_ID and "
		  "AWS_SECRET_ACCESS_KEY, profile \"%s\" in ~/.aws/credentials and "
		  "~/.aws/config, the container's service%s (a public bucket is "
		  "mounted with the option anonymous)",
		  profile_name(profile), c->instance ? " and the instance's" : "");
}

/* Go through the chain. */
static int find(const struct creds *c, struct cred *ret, struct call *call)
{
	typedef int source_fn(const struct cred_from *, struct cred *);
	source_fn *const chain[] = {
		c->profile ? NULL : cred_from_env,
		cred_from_web_identity,
		cred_from_profile,
		cred_from_process,
		cred_from_container,
		c->instance ? cred_from_instance : NULL,
	};
	struct profile *profile;
	int r = profile_load(c->profile, &profile);
	if (r)
		return r == -ENOENT ? -EACCES : r;
	struct cred_from from = {
		.http = c->http, .profile = profile, .region = c->region, .call = call};
	r = -ENOENT;
	for (size_t i = 0; r == -ENOENT && i < sizeof chain / sizeof chain[0]; i++)
		if (chain[i])
			r = chain[i](&from, ret);
	if (r == -ENOENT) {
		log_nothing_found(c, profile);
		r = -EACCES;
	}
	profile_free(profile);
	return r;
}

static bool same_keys(const struct cred *a, const struct cred *b)
{
	return a->access_key && !strcmp(a->access_key, b->access_key) &&
	       a->secret.len == b->secret.len &&
	       !memcmp(a->secret.bytes, b->secret.bytes, a->secret.len) &&
	       a->token.len == b->token.len &&
	       (!a->token.len || !memcmp(a->token.bytes, b->token.bytes, a->token.len));
}

/* Takes the fresh keys over. */
static void replace_locked(struct creds *c, struct cred *fresh)
{
	fresh->generation = c->now.generation + !same_keys(&c->now, fresh);
	cred_done(&c->now);
	c->now = *fresh;
}

static int copy_locked(const struct creds *c, struct cred *ret)
{
	struct cred copy = {.expires_ns = c->now.expires_ns,
			    .generation = c->now.generation};
	copy.access_key = strdup(c->now.access_key);
	int r = copy.access_key ? 0 : -ENOMEM;
	if (!r)
		r = secret_set(&copy.secret, c->now.secret.bytes, c->now.secret.len);
	if (!r && c->now.token.len)
		r = secret_set(&copy.token, c->now.token.bytes, c->now.token.len);
	if (r)
		cred_done(&copy);
	else
		*ret = copy;
	return r;
}

static bool wants_renewal_locked(const struct creds *c, uint64_t stale)
{
	int64_t now_ns = clock_wall_ns();
	if (stale && stale == c->now.generation)
		return true;
	return c->now.expires_ns && now_ns >= c->not_before_ns &&
	       c->now.expires_ns - now_ns < (int64_t)RENEW_BEFORE_S * (int64_t)NS_PER_S;
}

static bool usable_locked(const struct creds *c, uint64_t stale)
{
	return !(stale && stale == c->now.generation) &&
	       (!c->now.expires_ns || c->now.expires_ns > clock_wall_ns());
}

static void wait_tick_locked(struct creds *c)
{
	struct timespec until;
	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	(void)pthread_cond_timedwait(&c->renewed, &c->lock, &until);
}

/* Unlocks while it asks. */
static int renew_locked(struct creds *c, struct call *call)
{
	struct cred fresh = {0};
	c->renewing = true;
	(void)pthread_mutex_unlock(&c->lock);
	int r = find(c, &fresh, call);
	(void)pthread_mutex_lock(&c->lock);
	c->renewing = false;
	if (r)
		c->not_before_ns =
			clock_wall_ns() + (int64_t)RETRY_AFTER_S * (int64_t)NS_PER_S;
	else
		replace_locked(c, &fresh);
	(void)pthread_cond_broadcast(&c->renewed);
	return r;
}

int creds_get(struct creds *c, uint64_t stale, struct cred *ret, struct call *call)
{
	SCOPED_LOCK(&c->lock);
	int r = 0;
	while (c->renewing && !usable_locked(c, stale)) {
		r = call_check(call);
		if (r)
			return r;
		wait_tick_locked(c);
	}
	if (!c->renewing && wants_renewal_locked(c, stale))
		r = renew_locked(c, call);
	if (r && !usable_locked(c, stale))
		return r;
	return copy_locked(c, ret);
}

int creds_new(const struct creds_conf *conf, struct creds **ret, struct call *call)
{
	struct creds *c = calloc(1, sizeof *c);
	if (!c)
		return -ENOMEM;
	c->http = conf->http;
	c->profile = conf->profile;
	c->instance = conf->instance;
	c->region = strdup(conf->region);
	(void)pthread_mutex_init(&c->lock, NULL);
	(void)pthread_cond_init(&c->renewed, NULL);
	struct cred first = {0};
	int r = c->region ? find(c, &first, call) : -ENOMEM;
	if (r) {
		creds_free(c);
		return r;
	}
	replace_locked(c, &first);
	*ret = c;
	return 0;
}
