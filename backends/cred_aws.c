/* cred_aws.c - see cred_aws.h. */
#include "backends/cred_aws.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/cred_source.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

struct aws {
	char *profile; /* NULL = by the environment */
	char *region;
	bool instance;
};

static void aws_free(void *arg)
{
	struct aws *aws = arg;
	free(aws->profile);
	free(aws->region);
	free(aws);
}

static void log_nothing_found(const struct aws *aws, const struct profile *profile)
{
	log_error("s3",
		  "no credentials found: looked at AWS_ACCESS_KEY_ID and "
		  "AWS_SECRET_ACCESS_KEY, profile \"%s\" in ~/.aws/credentials and "
		  "~/.aws/config, the container's service%s (a public bucket is "
		  "mounted with the option anonymous)",
		  profile_name(profile), aws->instance ? " and the instance's" : "");
}

/* Go through the chain. */
static int aws_find(void *arg, struct http *http, struct cred *ret, struct call *call)
{
	const struct aws *aws = arg;
	const struct {
		int (*find)(const struct cred_from *, struct cred *);
		const char *source;
	} chain[] = {
		{aws->profile ? NULL : cred_from_env, "AWS_ACCESS_KEY_ID"},
		{cred_from_role, "the role of the profile"},
		{cred_from_web_identity, "AWS_WEB_IDENTITY_TOKEN_FILE"},
		{cred_from_profile, "the profile in ~/.aws"},
		{cred_from_process, "the profile's credential_process"},
		{cred_from_container, "the container's service"},
		{aws->instance ? cred_from_instance : NULL, "the instance's service"},
	};
	struct profile *profile;
	int r = profile_load(aws->profile, &profile);
	if (r)
		return r == -ENOENT ? -EACCES : r;
	struct cred_from from = {.http = http,
				 .profile = profile,
				 .region = aws->region,
				 .call = call,
				 .renews = ret->source};
	const char *source = NULL;
	r = -ENOENT;
	for (size_t i = 0; r == -ENOENT && i < sizeof chain / sizeof chain[0]; i++)
		if (chain[i].find) {
			r = chain[i].find(&from, ret);
			source = chain[i].source;
		}
	ret->source = source;
	if (r == -ENOENT) {
		log_nothing_found(aws, profile);
		r = -EACCES;
	}
	profile_free(profile);
	return r;
}

int cred_aws_new(struct http *http, const char *profile, bool instance,
		 const char *region, bool wait, struct creds **ret)
{
	struct aws *aws = calloc(1, sizeof *aws);
	if (!aws)
		return -ENOMEM;
	aws->instance = instance;
	aws->profile = profile ? strdup(profile) : NULL;
	aws->region = strdup(region);
	if (!aws->region || (profile && !aws->profile)) {
		aws_free(aws);
		return -ENOMEM;
	}
	struct creds_conf conf = {.http = http,
				  .find = aws_find,
				  .arg = aws,
				  .free_arg = aws_free,
				  .topic = "s3",
				  .wait = wait};
	return creds_new(&conf, ret, NULL);
}
