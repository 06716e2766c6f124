/* cred.h - what proves to a store who we are, and when it is renewed.
 *
 * Where credentials come from differs from provider to provider: cred_aws.h,
 * cred_azure.h, cred_google.h.  What is alike is here: one copy for all threads,
 * renewed before it expires by a thread of its own, so that no request waits for it.
 * Renewal is due when a quarter of the life is left, 15 minutes at most.  If it fails,
 * the old credentials are used on while they are good, and it is tried again after a
 * pause; a request waits for a renewal only if nothing usable is left.  Nothing runs
 * for credentials that do not expire.
 */
#ifndef BACKENDS_CRED_H
#define BACKENDS_CRED_H
#include <stdbool.h>
#include <stdint.h>
#include "backends/crypto.h"
#include "backends/http.h"
#include "backends/util/call.h"

enum cred_kind {
	CRED_KEYS,   /* access_key and secret.  Amazon: token is the session's.  Azure:
			the account, and the key's bytes, decoded */
	CRED_SAS,    /* token: the query, without '?' */
	CRED_BEARER, /* token; access_key: who pays (Google's quota project), or "" */
};

struct cred {
	enum cred_kind kind;
	char *access_key; /* owned; from creds_get never NULL */
	struct secret secret, token;
	const char *source;  /* where it was found, for people; static; NULL = not told */
	int64_t expires_ns;  /* wall clock; 0 = never */
	bool outlasts;	     /* used on past expires_ns while the source is down */
	uint64_t generation; /* changes whenever the credentials do */
};
void cred_done(struct cred *c);
#define CLEANUP_CRED CLEANUP(cred_done)

/* Gets fresh credentials; *ret is all zero before, but for source: where those before
 * were found, NULL if there were none.  Called by one thread at a time.
 * -EACCES: there are none, or they were refused.  A transient error of backend.h's
 * list: ask again later.  Logged, with the source's name. */
typedef int cred_find_fn(void *arg, struct http *http, struct cred *ret,
			 struct call *call);

struct creds; /* thread-safe */

struct creds_conf {
	struct http *http; /* borrowed until creds_free */
	cred_find_fn *find;
	void *arg;		  /* owned from creds_new on, even if that fails */
	void (*free_arg)(void *); /* NULL = not needed */
	const char *topic;	  /* of the log lines; a literal */
	bool wait;		  /* a source that does not answer now may do later */
};

/* Finds the first ones: fails as find does.  With wait, not if the source does not
 * answer, within seconds: then creds_get asks again, and fails so. */
int creds_new(const struct creds_conf *conf, struct creds **ret, struct call *call);
/* The same for ever.  c is copied. */
int creds_new_static(const struct cred *c, struct creds **ret);
void creds_free(struct creds *c); /* NULL is fine */
/* A copy, to be cred_done.  stale: the generation that a store has just refused,
 * 0 = none; if it is still the one here, it is renewed first. */
int creds_get(struct creds *c, uint64_t stale, struct cred *ret, struct call *call);
#endif
