/* cred_google.c - see cred_google.h.  Which credentials they are, and the two kinds of
 * key file that need one question: service_account and authorized_user. */
#include "backends/cred_google.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "backends/cred_google_file.h"
#include "backends/json.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

#define TOKEN_URL   "https://oauth2.googleapis.com/token"
#define JWT_BEARER  "urn:ietf:params:oauth:grant-type:jwt-bearer"
#define SCOPE_READ  "https://www.googleapis.com/auth/devstorage.read_only"
/* read_write is not enough to change an object's metadata (objects.patch), which is how a
 * time is set: the API's description allows this one or cloud-platform. */
#define SCOPE_WRITE "https://www.googleapis.com/auth/devstorage.full_control"

enum { ASSERTION_S = 3600 };

struct google {
	const char *scope; /* a literal */
};

int google_refuse(const struct google_file *f, const char *what)
{
	log_error(GOOGLE_TOPIC, "key file %s: %s", f->path, what);
	return -EACCES;
}

/* A private key has line ends; everything else goes into URLs, headers and JSON. */
static bool is_plain(const char *name, const struct secret *s)
{
	if (!s->len || strlen(s->bytes) != s->len)
		return false;
	return !strcmp(name, "private_key") ||
	       (cred_header_safe(s->bytes) && !strpbrk(s->bytes, "\"\\"));
}

int google_need(const struct google_file *f, const char *name, struct secret *ret)
{
	char what[96];
	int r = json_get(f->text, f->len, name, ret);
	if (!r && is_plain(name, ret))
		return 0;
	(void)snprintf(what, sizeof what,
		       r ? "it has no \"%s\"" : "its \"%s\" is malformed", name);
	return r == -ENOMEM ? r : google_refuse(f, what);
}

/* 1: yes; -ENOMEM. */
static int is_googles(const char *url)
{
	static const char ours[] = ".googleapis.com";
	struct endpoint ep;
	int r = url_parse_origin(url, &ep);
	if (r)
		return r == -ENOMEM ? r : 0;
	if (url_host_is_loopback(ep.host))
		return 1;
	size_t n = strlen(ep.host), m = sizeof ours - 1;
	/* accounts.google.com: what files of before 2017 name */
	return ep.https && ((n > m && !strcmp(ep.host + n - m, ours)) ||
			    !strcmp(ep.host, "accounts.google.com"));
}

int google_need_url(const struct google_file *f, const char *name, const char *fallback,
		    struct secret *ret)
{
	char what[96];
	CLEANUP_SECRET struct secret probe = {0};
	if (fallback && json_get(f->text, f->len, name, &probe) == -ENOENT)
		return secret_set(ret, fallback, strlen(fallback));
	int r = google_need(f, name, ret);
	if (!r)
		r = is_googles(ret->bytes);
	if (r)
		return r < 0 ? r : 0;
	(void)snprintf(what, sizeof what, "\"%s\" is not a service of Google's", name);
	return google_refuse(f, what);
}

int google_post(const struct google_file *f, const struct google_form *form,
		struct cred *ret)
{
	struct buf body;
	CLEANUP_BUF struct buf source;
	CLEANUP_REPLY struct http_reply reply;
	struct http_header type = {"Content-Type", "application/x-www-form-urlencoded"};
	http_reply_init(&reply);
	buf_init(&source, 8192);
	buf_addf(&source, "key file %s", f->path);
	buf_init(&body, (size_t)4 * CRED_TOKEN_MAX);
	cred_form(&body, form->params, form->n);
	struct cred_question q = {.topic = GOOGLE_TOPIC,
				  .source = source.data,
				  .method = "POST",
				  .url = form->url,
				  .headers = &type,
				  .n_headers = 1,
				  .body = &body,
				  .hide = {form->hide[0], form->hide[1]},
				  .clock_off_ns = form->clock_off_ns};
	int r = buf_error(&source) ? buf_error(&source) : buf_error(&body);
	if (!r)
		r = cred_ask(f->http, &q, &reply, f->call);
	if (!r) {
		r = cred_from_bearer(reply.body.data, reply.body.len, ret);
		if (r)
			r = cred_ask_failed(&q, r);
	}
	crypto_wipe(reply.body.data, reply.body.len);
	cred_wipe(&body);
	return r;
}

/* What is in a service account's file. */
struct account {
	struct secret email, key, key_id, url;
};

static void account_done(struct account *a)
{
	secret_done(&a->email);
	secret_done(&a->key);
	secret_done(&a->key_id);
	secret_done(&a->url);
}

static int account_read(const struct google_file *f, struct account *ret)
{
	int r = google_need(f, "client_email", &ret->email);
	if (!r)
		r = google_need(f, "private_key", &ret->key);
	if (!r)
		r = google_need(f, "private_key_id", &ret->key_id);
	return r ? r : google_need_url(f, "token_uri", TOKEN_URL, &ret->url);
}

/* A JSON Web Token that says who asks for what, signed. */
static int make_assertion(const struct google_file *f, const struct account *a,
			  int64_t now_ns, struct buf *ret)
{
	CLEANUP_BUF struct buf text, signature;
	int64_t iat = now_ns / (int64_t)NS_PER_S;
	buf_init(&text, CRED_TOKEN_MAX);
	buf_init(&signature, 4096);
	buf_addf(&text, "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"%s\"}",
		 a->key_id.bytes);
	base64url_encode(ret, text.data, text.len);
	int r = buf_error(&text);
	buf_reset(&text);
	buf_addf(&text,
		 "{\"iss\":\"%s\",\"scope\":\"%s\",\"aud\":\"%s\",\"iat\":%" PRId64
		 ",\"exp\":%" PRId64 "}",
		 a->email.bytes, f->scope, a->url.bytes, iat, iat + ASSERTION_S);
	buf_addc(ret, '.');
	base64url_encode(ret, text.data, text.len);
	if (!r)
		r = buf_error(&text) ? buf_error(&text) : buf_error(ret);
	if (!r)
		r = crypto_rsa_sign(a->key.bytes, a->key.len, ret->data, ret->len,
				    &signature);
	if (r == -EBADMSG)
		return google_refuse(f, "\"private_key\" is not a private RSA key");
	buf_addc(ret, '.');
	base64url_encode(ret, signature.data, signature.len);
	return r ? r : buf_error(ret);
}

/* One try, by our clock and that much. */
static int exchange_assertion(const struct google_file *f, const struct account *a,
			      int64_t *clock_off_ns, struct cred *ret)
{
	struct buf assertion;
	buf_init(&assertion, CRED_TOKEN_MAX);
	int r = make_assertion(f, a, clock_wall_ns() + *clock_off_ns, &assertion);
	struct url_param params[] = {{"grant_type", JWT_BEARER},
				     {"assertion", assertion.data}};
	struct google_form form = {.url = a->url.bytes,
				   .params = params,
				   .n = 2,
				   .hide = {assertion.data},
				   .clock_off_ns = clock_off_ns};
	if (!r)
		r = google_post(f, &form, ret);
	cred_wipe(&assertion);
	return r;
}

static int from_service_account(const struct google_file *f, struct cred *ret)
{
	CLEANUP(account_done) struct account a = {0};
	int64_t clock_off_ns = 0;
	int r = account_read(f, &a);
	if (!r)
		r = exchange_assertion(f, &a, &clock_off_ns, ret);
	return r == -EAGAIN ? exchange_assertion(f, &a, &clock_off_ns, ret) : r;
}

static int from_authorized_user(const struct google_file *f, struct cred *ret)
{
	CLEANUP_SECRET struct secret id = {0}, secret = {0}, refresh = {0}, url = {0};
	int r = google_need(f, "client_id", &id);
	if (!r)
		r = google_need(f, "client_secret", &secret);
	if (!r)
		r = google_need(f, "refresh_token", &refresh);
	if (!r)
		r = google_need_url(f, "token_uri", TOKEN_URL, &url);
	if (r)
		return r;
	struct url_param params[] = {{"grant_type", "refresh_token"},
				     {"client_id", id.bytes},
				     {"client_secret", secret.bytes},
				     {"refresh_token", refresh.bytes}};
	struct google_form form = {.url = url.bytes,
				   .params = params,
				   .n = 4,
				   .hide = {refresh.bytes, secret.bytes}};
	return google_post(f, &form, ret);
}

int google_from_file(const struct google_file *f, struct cred *ret)
{
	CLEANUP_SECRET struct secret type = {0};
	int r = json_get(f->text, f->len, "type", &type);
	if (r == -ENOMEM)
		return r;
	if (r)
		return google_refuse(f, "not a key file of Google's: no JSON with a "
					"\"type\"");
	if (!strcmp(type.bytes, "service_account"))
		return from_service_account(f, ret);
	if (!strcmp(type.bytes, "authorized_user"))
		return from_authorized_user(f, ret);
	if (!strcmp(type.bytes, "external_account"))
		return google_from_external(f, ret);
	if (!strcmp(type.bytes, "impersonated_service_account"))
		return google_from_impersonated(f, ret);
	return google_refuse(f, "its \"type\" is not one that mastfs knows");
}

/* Who pays for the requests: the variable, then the file. */
static int set_quota_project(const struct google_file *f, struct cred *ret)
{
	CLEANUP_SECRET struct secret inside = {0};
	const char *project = cred_env("GOOGLE_CLOUD_QUOTA_PROJECT");
	if (!project && f && !json_get(f->text, f->len, "quota_project_id", &inside))
		project = inside.bytes;
	if (project && !cred_header_safe(project))
		project = NULL;
	ret->access_key = strdup(project ? project : "");
	return ret->access_key ? 0 : -ENOMEM;
}

static int from_path(const struct google *g, const char *path, bool must,
		     struct http *http, struct cred *ret, struct call *call)
{
	CLEANUP_SECRET struct secret text = {0};
	int r = cred_read_file(path, &text);
	if (r == -ENOMEM || (!must && (r == -ENOENT || r == -ENOTDIR)))
		return r == -ENOTDIR ? -ENOENT : r;
	struct google_file f = {.path = path,
				.text = text.bytes,
				.len = text.len,
				.scope = g->scope,
				.http = http,
				.call = call};
	if (r)
		return google_refuse(&f, strerror(-r));
	r = google_from_file(&f, ret);
	return r ? r : set_quota_project(&f, ret);
}

static int from_default_path(const struct google *g, struct http *http, struct cred *ret,
			     struct call *call)
{
	CLEANUP_BUF struct buf path = {0};
	const char *config = cred_env("CLOUDSDK_CONFIG"), *home = cred_env("HOME");
	if (!config && !home)
		return -ENOENT;
	buf_init(&path, 8192);
	buf_adds(&path, config ? config : home);
	buf_adds(&path, config ? "" : "/.config/gcloud");
	buf_adds(&path, "/application_default_credentials.json");
	return buf_error(&path) ? buf_error(&path)
				: from_path(g, path.data, false, http, ret, call);
}

static int from_metadata(struct http *http, struct cred *ret, struct call *call)
{
	const char *no = cred_env("NO_GCE_CHECK"), *host = cred_env("GCE_METADATA_HOST");
	const char *ip = cred_env("GCE_METADATA_IP");
	struct http_header flavor = {"Metadata-Flavor", "Google"};
	CLEANUP_BUF struct buf url;
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	buf_init(&url, 1024);
	if (!host && no && !strcasecmp(no, "true"))
		return -ENOENT;
	buf_addf(&url,
		 "http://%s/computeMetadata/v1/instance/service-accounts/default/token",
		 host ? host
		 : ip ? ip
		      : "169.254.169.254");
	struct cred_question q = {.topic = GOOGLE_TOPIC,
				  .source = "the metadata server",
				  .method = "GET",
				  .url = url.data,
				  .headers = &flavor,
				  .n_headers = 1,
				  .local = true,
				  .absent_ok = !host && !ret->source};
	int r = buf_error(&url) ? buf_error(&url) : cred_ask(http, &q, &reply, call);
	if (r)
		return r;
	/* Whatever else answers at that address is not asked again. */
	const char *theirs = http_header(&reply, "metadata-flavor");
	r = theirs && !strcmp(theirs, "Google")
		    ? cred_from_bearer(reply.body.data, reply.body.len, ret)
		    : -EBADMSG;
	crypto_wipe(reply.body.data, reply.body.len);
	if (r)
		return cred_ask_failed(&q, r);
	return set_quota_project(NULL, ret);
}

static int google_find(void *arg, struct http *http, struct cred *ret, struct call *call)
{
	const struct google *g = arg;
	const char *path = cred_env("GOOGLE_APPLICATION_CREDENTIALS");
	int r = path ? from_path(g, path, true, http, ret, call)
		     : from_default_path(g, http, ret, call);
	const char *source = path ? "GOOGLE_APPLICATION_CREDENTIALS"
				  : "gcloud's application_default_credentials.json";
	if (r == -ENOENT) {
		r = from_metadata(http, ret, call);
		source = "the metadata server";
	}
	ret->source = source;
	if (r != -ENOENT)
		return r;
	log_error(GOOGLE_TOPIC,
		  "no credentials found: looked at GOOGLE_APPLICATION_CREDENTIALS, "
		  "~/.config/gcloud/application_default_credentials.json and the "
		  "metadata server (a public bucket is mounted with the option "
		  "anonymous)");
	return -EACCES;
}

int cred_google_new(struct http *http, bool read_only, bool wait, struct creds **ret,
		    struct call *call)
{
	struct google *g = malloc(sizeof *g);
	if (!g)
		return -ENOMEM;
	g->scope = read_only ? SCOPE_READ : SCOPE_WRITE;
	struct creds_conf conf = {.http = http,
				  .find = google_find,
				  .arg = g,
				  .free_arg = free,
				  .topic = GOOGLE_TOPIC,
				  .wait = wait};
	return creds_new(&conf, ret, call);
}
