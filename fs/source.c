/* source.c - see source.h.
 *
 *   STORAGE_BACKEND  STORAGE_BUCKET       becomes
 *   s3               bucket               s3://bucket/STORAGE_PREFIX
 *   minio            bucket               the same; an endpoint is required
 *   local            directory, absolute  file://directory/STORAGE_PREFIX
 * With local, STORAGE_LOCAL_PATH names the directory if it is set.
 */
#include "fs/source.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "backends/backend.h"
#include "backends/profile.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum { URL_MAX = 8192 };

/* An empty variable counts as not set. */
static const char *variable(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

static int set(char **field, const char *value)
{
	char *copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static int not_yet(const char *what)
{
	log_error("mount", "%s: not in this version yet; there are s3, minio and local",
		  what);
	return -EINVAL;
}

static int check_url(const char *url)
{
	if (option_holds_password(url)) {
		log_error("mount", "the source holds a password: refused; keys belong in "
				   "the environment or in ~/.aws/credentials");
		return -EINVAL;
	}
	if (backend_known_url(url))
		return 0;
	if (!strncmp(url, "az://", 5) || !strncmp(url, "gs://", 5) ||
	    !strncmp(url, "mast:", 5))
		return not_yet(url);
	log_error("mount",
		  "source %s: not a URL such as s3://bucket/prefix or file:///dir", url);
	return -EINVAL;
}

static bool ignores_configured(void)
{
	const char *ignore = variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
	return ignore && !strcasecmp(ignore, "true");
}

static int profile_endpoint(struct config *c)
{
	struct profile *profile;
	int r = profile_load(c->profile, &profile);
	if (r < 0)
		return r;
	const char *endpoint = profile_get(profile, "endpoint_url");
	if (endpoint)
		r = set(&c->endpoint, endpoint);
	profile_free(profile);
	return r;
}

/* In Amazon's order, the informal variable last.  Settled here and not left to
 * the backend, because it is part of what the bucket is. */
static int find_endpoint(struct config *c)
{
	static const char *const configured[] = {"AWS_ENDPOINT_URL_S3",
						 "AWS_ENDPOINT_URL"};
	int r = 0;
	for (size_t i = 0; i < 2 && !c->endpoint && !ignores_configured(); i++) {
		if (variable(configured[i]))
			r = set(&c->endpoint, variable(configured[i]));
		if (r < 0)
			return r;
	}
	if (!c->endpoint && !ignores_configured())
		r = profile_endpoint(c);
	if (r == 0 && !c->endpoint && variable("S3_ENDPOINT_URL"))
		r = set(&c->endpoint, variable("S3_ENDPOINT_URL"));
	return r;
}

static int set_endpoint(struct config *c)
{
	int r = find_endpoint(c);
	if (r == 0 && c->endpoint && option_holds_password(c->endpoint)) {
		log_error("mount",
			  "the endpoint holds a password: refused; keys belong in "
			  "the environment or in ~/.aws/credentials");
		return -EINVAL;
	}
	return r;
}

static int compose(struct config *c, const char *start, const char *place)
{
	const char *prefix = variable("STORAGE_PREFIX");
	CLEANUP_BUF struct buf url;
	buf_init(&url, URL_MAX);
	buf_addf(&url, "%s%s", start, place);
	if (prefix)
		buf_addf(&url, "%s%s", place[strlen(place) - 1] == '/' ? "" : "/",
			 prefix + strspn(prefix, "/"));
	if (buf_error(&url))
		return buf_error(&url);
	int r = check_url(url.data);
	return r < 0 ? r : set(&c->source, url.data);
}

static int local_from_environment(struct config *c)
{
	const char *dir = variable("STORAGE_LOCAL_PATH");
	if (!dir)
		dir = variable("STORAGE_BUCKET");
	if (!dir || dir[0] != '/') {
		log_error("mount", "STORAGE_BACKEND=local: STORAGE_LOCAL_PATH or "
				   "STORAGE_BUCKET must be an absolute directory");
		return -EINVAL;
	}
	return compose(c, "file://", dir);
}

static int s3_from_environment(struct config *c, const char *backend)
{
	const char *bucket = variable("STORAGE_BUCKET");
	if (!bucket) {
		log_error("mount", "STORAGE_BACKEND=%s: STORAGE_BUCKET is not set",
			  backend);
		return -EINVAL;
	}
	int r = set_endpoint(c);
	if (r < 0)
		return r;
	if (!strcasecmp(backend, "minio") && !c->endpoint) {
		log_error("mount", "STORAGE_BACKEND=minio: S3_ENDPOINT_URL is not set");
		return -EINVAL;
	}
	return compose(c, "s3://", bucket);
}

static int from_environment(struct config *c)
{
	const char *backend = variable("STORAGE_BACKEND");
	if (!backend) {
		log_error("mount",
			  "no source: give s3://bucket/prefix or file:///dir, or "
			  "set STORAGE_BACKEND");
		return -EINVAL;
	}
	if (!strcasecmp(backend, "local"))
		return local_from_environment(c);
	if (!strcasecmp(backend, "s3") || !strcasecmp(backend, "minio"))
		return s3_from_environment(c, backend);
	if (!strcasecmp(backend, "azure") || !strcasecmp(backend, "gcs") ||
	    !strcasecmp(backend, "mast"))
		return not_yet(backend);
	log_error("mount", "STORAGE_BACKEND=%s: unknown; there are s3, minio and local",
		  backend);
	return -EINVAL;
}

int source_choose(struct config *c, const char *argument)
{
	int r = argument ? check_url(argument) : from_environment(c);
	if (r == 0 && argument)
		r = set(&c->source, argument);
	if (r == 0 && argument && !source_directory(c))
		r = set_endpoint(c);
	return r;
}

const char *source_directory(const struct config *c)
{
	return strncmp(c->source, "file://", 7) ? NULL : c->source + 7;
}

static void add_trimmed(struct buf *b, const char *s)
{
	size_t n = strlen(s);
	while (n && s[n - 1] == '/')
		n--;
	buf_add(b, s, n);
}

int source_identity(const struct config *c, struct buf *ret)
{
	const char *dir = source_directory(c);
	if (dir) {
		CLEANUP_FREE char *real = realpath(dir, NULL);
		buf_adds(ret, "file://");
		add_trimmed(ret, real ? real : dir);
	} else {
		add_trimmed(ret, c->source);
		if (c->endpoint) {
			buf_adds(ret, " at ");
			add_trimmed(ret, c->endpoint);
		}
	}
	return buf_error(ret);
}
