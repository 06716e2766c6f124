/* cred_source.h - each place of cred_aws.h's chain, by itself.  Private to cred_*.c.
 *
 * Each returns 0 with keys, -ENOENT if the place is not configured (the next one
 * is tried), or another negative errno, logged: it is configured and fails, which
 * ends the chain, because other keys than those that were meant are worse than
 * none.
 */
#ifndef BACKENDS_CRED_SOURCE_H
#define BACKENDS_CRED_SOURCE_H
#include "backends/cred.h"
#include "backends/profile.h"

struct cred_from {
	struct http *http;
	const struct profile *profile;
	const char *region;
	struct call *call;
	bool renews; /* keys were found before: a service that is silent is late */
	const struct cred_from *above; /* whose profile names ours as its source */
};

/* {"AccessKeyId": .., "SecretAccessKey": .., token, "Expiration": ..}; the name of
 * the token differs from place to place.  -EBADMSG. */
int cred_from_json(const char *text, size_t n, const char *token_name, struct cred *ret);
int cred_from_env(const struct cred_from *from, struct cred *ret);
int cred_from_profile(const struct cred_from *from, struct cred *ret);
int cred_from_process(const struct cred_from *from, struct cred *ret);
int cred_from_role(const struct cred_from *from, struct cred *ret);
int cred_from_web_identity(const struct cred_from *from, struct cred *ret);
int cred_from_container(const struct cred_from *from, struct cred *ret);
int cred_from_instance(const struct cred_from *from, struct cred *ret);
/* The answer of the token service.  -EBADMSG. */
int cred_from_sts_xml(const char *text, size_t n, struct cred *ret);
#endif
