/* source.c - see source.h.
 *
 *   MASTFS_SOURCE is a URL, and wins.  Else
 *   STORAGE_BACKEND  becomes
 *   local            file://STORAGE_LOCAL_PATH (or STORAGE_BUCKET)/STORAGE_PREFIX
 *   s3               s3://STORAGE_BUCKET/STORAGE_PREFIX
 *   minio            the same; an endpoint is required
 *   azure            az://account/container/STORAGE_PREFIX, the container by
 *                    STORAGE_BUCKET or AZURE_STORAGE_CONTAINER; the account is the one
 *                    of azure_account.h
 *   gcs              gs://STORAGE_BUCKET/STORAGE_PREFIX
 *   mast             mast:
 */
#include "backends/source.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "backends/azure_account.h"
#include "backends/backend.h"
#include "backends/placement.h"
#include "backends/profile.h"
#include "backends/s3.h"
#include "backends/secret_file.h"
#include "backends/url.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum { URL_MAX = 8192 };

#define SOURCES                                                                   \
	"s3://bucket/prefix, az://account/container/prefix, gs://bucket/prefix, " \
	"file:///directory or mast:"

const char source_help[] =
	"SOURCE is s3://bucket/prefix, az://account/container/prefix,\n"
	"gs://bucket/prefix, file:///directory, or mast: for the public archive.\n"
	"Without it:\n"
	"  MASTFS_SOURCE           a SOURCE; wins over what follows\n"
	"  STORAGE_BACKEND=s3      STORAGE_BUCKET, STORAGE_PREFIX\n"
	"  STORAGE_BACKEND=minio   the same, and S3_ENDPOINT_URL\n"
	"  STORAGE_BACKEND=azure   AZURE_STORAGE_ACCOUNT (or the account of\n"
	"                          AZURE_STORAGE_CONNECTION_STRING), STORAGE_BUCKET (or\n"
	"                          AZURE_STORAGE_CONTAINER), STORAGE_PREFIX\n"
	"  STORAGE_BACKEND=gcs     STORAGE_BUCKET, STORAGE_PREFIX\n"
	"  STORAGE_BACKEND=local   the directory STORAGE_LOCAL_PATH (or\n"
	"                          STORAGE_BUCKET), and below it STORAGE_PREFIX\n"
	"  STORAGE_BACKEND=mast    nothing more\n";

const char source_keys_help[] =
	"Keys are never options.  They come from the environment (AWS_ACCESS_KEY_ID and\n"
	"AWS_SECRET_ACCESS_KEY, AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_KEY,\n"
	"GOOGLE_APPLICATION_CREDENTIALS), from a file that NAME_FILE names for NAME\n"
	"(AWS_SECRET_ACCESS_KEY_FILE), from ~/.aws, or from the role of the machine.\n";

const char source_keys_hint[] =
	"keys belong in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
	"AZURE_STORAGE_CONNECTION_STRING, GOOGLE_APPLICATION_CREDENTIALS) or in "
	"~/.aws/credentials";

/* An empty variable counts as not set. */
static const char *variable(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

static const char *either(const char *a, const char *b)
{
	return a ? a : b;
}

static bool starts(const char *s, const char *start)
{
	return !strncmp(s, start, strlen(start));
}

/* A daemon lives in "/": the files that the environment names are found from there,
 * too.  One that is not there is left for its reader to complain of. */
static int settle_paths(void)
{
	static const char *const names[] = {
		"AWS_CONFIG_FILE",
		"AWS_SHARED_CREDENTIALS_FILE",
		"AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
		"AZURE_FEDERATED_TOKEN_FILE",
		"CLOUDSDK_CONFIG",
		"GOOGLE_APPLICATION_CREDENTIALS",
	};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		const char *path = variable(names[i]);
		CLEANUP_FREE char *real =
			path && *path != '/' ? realpath(path, NULL) : NULL;
		if (real && setenv(names[i], real, 1) < 0)
			return -errno;
	}
	return 0;
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

bool source_is_url(const char *text)
{
	return strstr(text, "://") || starts(text, "mast:");
}

bool source_holds_secret(const char *value)
{
	const char *authority = strstr(value, "://");
	if (strcasestr(value, "AccountKey=") || strcasestr(value, "SharedAccessSig") ||
	    strcasestr(value, "?sig=") || strcasestr(value, "&sig="))
		return true;
	if (!authority)
		return false;
	authority += 3;
	return memchr(authority, '@', strcspn(authority, "/?#")) != NULL;
}

const char *source_directory(const char *url)
{
	return starts(url, "file://") ? url + 7 : NULL;
}

static int add_s3_place(const struct settings *s, struct buf *ret)
{
	struct profile *profile;
	int r = profile_load(s->profile, &profile);
	if (r < 0)
		return r;
	const char *endpoint = s3_endpoint(s->endpoint, profile);
	if (endpoint)
		buf_adds(ret, endpoint);
	profile_free(profile);
	return 0;
}

/* Credentials are left alone: the place is the same without. */
static int add_azure_place(const struct settings *s, const char *url, struct buf *ret)
{
	struct azure_account a;
	CLEANUP_BUF struct buf usual, host;
	buf_init(&usual, URL_MAX);
	buf_init(&host, URL_MAX);
	int r = azure_account_read(url, s->endpoint, true, &a);
	if (r < 0)
		return r;
	buf_addf(&usual, "%s.blob.core.windows.net", a.account);
	url_add_host(&host, &a.endpoint);
	if (!a.endpoint.https || *a.path || strcmp(host.data, usual.data) != 0)
		buf_addf(ret, "%s://%s%s", a.endpoint.https ? "https" : "http", host.data,
			 a.path);
	azure_account_done(&a);
	return buf_error(&host) ? buf_error(&host) : buf_error(&usual);
}

/* Where the bucket of a URL is, appended; nothing if it is where it always is. */
static int add_place(const struct settings *s, const char *url, struct buf *ret)
{
	const char *at = NULL;
	if (starts(url, "s3://"))
		return add_s3_place(s, ret);
	if (starts(url, "az://"))
		return add_azure_place(s, url, ret);
	if (starts(url, "gs://"))
		at = either(s->endpoint, variable("STORAGE_EMULATOR_HOST"));
	else if (starts(url, "mast:"))
		at = s->mast_endpoint;
	if (at)
		buf_adds(ret, at);
	return 0;
}

static int compose(struct settings *s, const char *start, const char *place)
{
	const char *prefix = variable("STORAGE_PREFIX");
	CLEANUP_BUF struct buf url;
	buf_init(&url, URL_MAX);
	buf_addf(&url, "%s%s", start, place);
	if (prefix)
		buf_addf(&url, "%s%s", place[strlen(place) - 1] == '/' ? "" : "/",
			 prefix + strspn(prefix, "/"));
	return buf_error(&url) ? buf_error(&url) : set(&s->url, url.data);
}

static int not_set(const char *backend, const char *what)
{
	log_error("mount", "STORAGE_BACKEND=%s: %s", backend, what);
	return -EINVAL;
}

static int local_from_environment(struct settings *s)
{
	const char *dir =
		either(variable("STORAGE_LOCAL_PATH"), variable("STORAGE_BUCKET"));
	if (!dir || dir[0] != '/')
		return not_set("local", "STORAGE_LOCAL_PATH or STORAGE_BUCKET must be an "
					"absolute directory");
	return compose(s, "file://", dir);
}

static int bucket_from_environment(struct settings *s, const char *backend,
				   const char *start)
{
	const char *bucket = variable("STORAGE_BUCKET");
	if (!bucket)
		return not_set(backend, "STORAGE_BUCKET is not set");
	return compose(s, start, bucket);
}

static int minio_from_environment(struct settings *s)
{
	CLEANUP_BUF struct buf endpoint;
	buf_init(&endpoint, URL_MAX);
	int r = bucket_from_environment(s, "minio", "s3://");
	if (r == 0)
		r = add_s3_place(s, &endpoint);
	if (r == 0 && !endpoint.len)
		r = not_set("minio", "S3_ENDPOINT_URL is not set");
	return r;
}

/* The account is the one that the URL does not name: see azure_account.h. */
static int azure_from_environment(struct settings *s)
{
	const char *container = either(variable("STORAGE_BUCKET"),
				       either(variable("AZURE_STORAGE_CONTAINER"),
					      variable("AZURE_STORAGE_CONTAINER_NAME")));
	if (!container)
		return not_set("azure", "neither STORAGE_BUCKET nor "
					"AZURE_STORAGE_CONTAINER is set");
	return compose(s, "az:///", container);
}

/* With the account in it, whoever named it: the cache is named by the URL. */
static int complete_azure_url(const struct settings *s, char **field)
{
	struct azure_account a;
	CLEANUP_BUF struct buf url;
	buf_init(&url, URL_MAX);
	int r = azure_account_read(*field, s->endpoint, s->anonymous, &a);
	if (r < 0)
		return r;
	buf_addf(&url, "az://%s/%s%s%s", a.account, a.container, *a.prefix ? "/" : "",
		 a.prefix);
	azure_account_done(&a);
	return buf_error(&url) ? buf_error(&url) : set(field, url.data);
}

/* what: "source", or an option's name. */
static int check_url(const struct settings *s, const char *what, char **field)
{
	const char *url = *field;
	if (source_holds_secret(url))
		log_error("mount", "the %s holds a password: refused; %s", what,
			  source_keys_hint);
	else if (!backend_known_url(url))
		log_error("mount", "%s %s: not a URL such as " SOURCES, what, url);
	else
		return starts(url, "az://") ? complete_azure_url(s, field) : 0;
	return -EINVAL;
}

static int from_environment(struct settings *s)
{
	const char *url = variable("MASTFS_SOURCE");
	const char *backend = variable("STORAGE_BACKEND");
	if (url)
		return set(&s->url, url);
	if (!backend) {
		log_error("mount", "no source: give " SOURCES ", or set STORAGE_BACKEND");
		return -EINVAL;
	}
	if (!strcasecmp(backend, "local"))
		return local_from_environment(s);
	if (!strcasecmp(backend, "s3"))
		return bucket_from_environment(s, "s3", "s3://");
	if (!strcasecmp(backend, "minio"))
		return minio_from_environment(s);
	if (!strcasecmp(backend, "azure"))
		return azure_from_environment(s);
	if (!strcasecmp(backend, "gcs"))
		return bucket_from_environment(s, "gcs", "gs://");
	if (!strcasecmp(backend, "mast"))
		return set(&s->url, "mast:");
	return not_set(backend,
		       "unknown; there are local, s3, minio, azure, gcs and mast");
}

static size_t trimmed(const char *s)
{
	size_t n = strlen(s);
	while (n && s[n - 1] == '/')
		n--;
	return n;
}

static bool takes_endpoint(const char *url)
{
	return starts(url, "s3://") || starts(url, "az://") || starts(url, "gs://");
}

/* One option cannot be the place of two stores. */
static bool endpoint_is_clear(const struct settings *s)
{
	return !s->endpoint || !takes_endpoint(s->url) ||
	       !takes_endpoint(s->public_url) || !strncmp(s->url, s->public_url, 5);
}

static int check_public(struct settings *s)
{
	int r = check_url(s, "public", &s->public_url);
	if (r < 0)
		return r;
	if (!endpoint_is_clear(s)) {
		log_error("mount",
			  "endpoint: of the source or of public=%s?  Set them in the "
			  "environment: AWS_ENDPOINT_URL, AZURE_STORAGE_BLOB_ENDPOINT, "
			  "STORAGE_EMULATOR_HOST",
			  s->public_url);
		return -EINVAL;
	}
	size_t n = trimmed(s->public_url);
	if (n != trimmed(s->url) || memcmp(s->public_url, s->url, n) != 0)
		return 0;
	log_error("mount", "public=%s: that is the source itself", s->public_url);
	return -EINVAL;
}

static int check_endpoint(const struct settings *s, const char *url)
{
	CLEANUP_BUF struct buf endpoint;
	buf_init(&endpoint, URL_MAX);
	int r = add_place(s, url, &endpoint);
	if (r == 0 && endpoint.len && source_holds_secret(endpoint.data)) {
		log_error("mount", "the endpoint holds a password: refused; %s",
			  source_keys_hint);
		return -EINVAL;
	}
	return r < 0 ? r : buf_error(&endpoint);
}

/* It becomes a header. */
static bool is_key_id(const char *s)
{
	static const char more[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789-_:/.";
	return *s && !s[strspn(s, more)];
}

static int check_encryption(const struct settings *s)
{
	bool kms = s->sse && !strcmp(s->sse, "aws:kms");
	if (s->sse && !kms && strcmp(s->sse, "AES256") != 0)
		log_error("mount", "sse=%s: there are AES256 and aws:kms", s->sse);
	else if (s->sse_kms_key && !kms)
		log_error("mount", "sse_kms_key: needs sse=aws:kms");
	else if (s->sse_kms_key && !is_key_id(s->sse_kms_key))
		log_error("mount", "sse_kms_key: not the id, ARN or alias of a key");
	else
		return 0;
	return -EINVAL;
}

static int check_class(const struct settings *s)
{
	struct placement *p = NULL;
	int r = placement_new(s->storage_class, &p);
	placement_free(p);
	return r;
}

static int check(struct settings *s)
{
	if (s->path_style && s->virtual_host) {
		log_error("mount", "path_style and virtual_host exclude each other");
		return -EINVAL;
	}
	if (s->requester_pays && s->anonymous) {
		log_error("mount", "requester_pays and anonymous exclude each other: "
				   "somebody has to pay");
		return -EINVAL;
	}
	int r = check_url(s, "source", &s->url);
	if (r == 0)
		r = check_endpoint(s, s->url);
	if (r == 0 && s->public_url)
		r = check_public(s);
	if (r == 0 && s->public_url)
		r = check_endpoint(s, s->public_url);
	if (r == 0)
		r = check_encryption(s);
	return r == 0 ? check_class(s) : r;
}

int source_choose(struct settings *s, const char *argument)
{
	int r = secret_files_load();
	if (r == 0)
		r = settle_paths();
	if (r == 0)
		r = argument ? set(&s->url, argument) : from_environment(s);
	return r == 0 ? check(s) : r;
}

static int add_identity(const struct settings *s, const char *url, struct buf *ret)
{
	const char *dir = source_directory(url);
	if (dir) {
		CLEANUP_FREE char *real = realpath(dir, NULL);
		const char *name = real ? real : dir;
		buf_adds(ret, "file://");
		buf_add(ret, name, trimmed(name));
		return 0;
	}
	CLEANUP_BUF struct buf place;
	buf_init(&place, URL_MAX);
	int r = add_place(s, url, &place);
	buf_add(ret, url, trimmed(url));
	if (starts(url, "mast:") && s->mast_bucket)
		buf_addf(ret, " in %s", s->mast_bucket);
	if (place.len) {
		buf_adds(ret, " at ");
		buf_add(ret, place.data, trimmed(place.data));
	}
	return r < 0 ? r : buf_error(&place);
}

int source_identity(const struct settings *s, struct buf *ret)
{
	int r = add_identity(s, s->url, ret);
	if (r == 0 && s->public_url) {
		buf_adds(ret, " over ");
		r = add_identity(s, s->public_url, ret);
	}
	return r < 0 ? r : buf_error(ret);
}
