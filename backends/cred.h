/* cred.h - where Amazon's keys come from, and when they are renewed.
 *
 * The chain, the first that has anything wins:
 *   1. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *      (not if a profile was asked for by option)
 *   2. AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN, or the profile's
 *   3. the profile's static keys
 *   4. the profile's credential_process (no shell)
 *   5. the container service, AWS_CONTAINER_CREDENTIALS_*
 *   6. the instance's service, IMDSv2; not with an endpoint that is not Amazon's,
 *      where it could only be slow and wrong
 *
 * Keys that expire are renewed by the first request that finds less than ten
 * minutes left; if that fails and they are still good, they are used on.
 */
#ifndef BACKENDS_CRED_H
#define BACKENDS_CRED_H
#include <stdbool.h>
#include <stdint.h>
#include "backends/crypto.h"
#include "backends/http.h"
#include "backends/util/call.h"

struct cred {
	char *access_key; /* owned */
	struct secret secret, token;
	int64_t expires_ns;  /* wall clock; 0 = never */
	uint64_t generation; /* changes whenever the keys do */
};
void cred_done(struct cred *c);
#define CLEANUP_CRED CLEANUP(cred_done)

struct creds; /* thread-safe */

struct creds_conf {
	struct http *http;   /* borrowed until creds_free */
	const char *profile; /* by option; NULL = by the environment; borrowed as http */
	bool instance;	     /* may the instance's service be asked? */
	const char *region;  /* borrowed for the call; of the token service */
};

/* Finds the first keys.  -EACCES if there are none: logged, with where was looked. */
int creds_new(const struct creds_conf *conf, struct creds **ret, struct call *call);
void creds_free(struct creds *c); /* NULL is fine */
/* A copy, to be cred_done.  stale: the generation that a store has just refused,
 * 0 = none; if it is still the one here, it is renewed first. */
int creds_get(struct creds *c, uint64_t stale, struct cred *ret, struct call *call);
#endif
