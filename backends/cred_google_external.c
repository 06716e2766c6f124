/* cred_google_external.c - identities of somebody else's that Google trusts, and
 * acting as another service account.  See cred_google.h. */
#include "backends/cred_google_file.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/date.h"
#include "backends/json.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

#define STS_URL	     "https://sts.googleapis.com/v1/token"
#define EXCHANGE     "urn:ietf:params:oauth:grant-type:token-exchange"
#define ACCESS_TOKEN "urn:ietf:params:oauth:token-type:access_token"

enum { LIFETIME_S = 3600 };

/* The token itself, or a member of a JSON text, as the source's "format" says. */
static int take_token(const struct google_file *f, const struct secret *source,
		      const struct secret *text, struct secret *ret)
{
	CLEANUP_SECRET struct secret format = {0}, type = {0}, field = {0};
	int r = json_get_nested(source->bytes, source->len, "format", &format);
	if (!r)
		(void)json_get(format.bytes, format.len, "type", &type);
	if (type.bytes && !strcmp(type.bytes, "json")) {
		r = json_get(format.bytes, format.len, "subject_token_field_name",
			     &field);
		if (!r)
			r = json_get(text->bytes, text->len, field.bytes, ret);
	} else {
		size_t n = strcspn(text->bytes, "\r\n");
		r = secret_set(ret, text->bytes, n);
	}
	if (!r && (!ret->len || !cred_header_safe(ret->bytes)))
		r = -EBADMSG;
	return !r || r == -ENOMEM
		       ? r
		       : google_refuse(f, "no token where \"credential_source\" says");
}

static int token_from_path(const struct google_file *f, const struct secret *source,
			   const char *path, struct secret *ret)
{
	CLEANUP_SECRET struct secret text = {0};
	/* Read each time: it is replaced as it expires. */
	int r = cred_read_file(path, &text);
	if (!r)
		return take_token(f, source, &text, ret);
	log_error(GOOGLE_TOPIC, "key file %s: its token's file %s: %s", f->path, path,
		  strerror(-r));
	return r == -ENOMEM ? r : -EACCES;
}

/* https, or this machine's own addresses. */
static bool may_ask(const char *url)
{
	struct endpoint ep;
	return cred_url_is_safe(url) ||
	       (!url_parse_origin(url, &ep) && !strcmp(ep.host, "169.254.169.254"));
}

/* Of its "headers" those two that the services of that kind want. */
static int token_from_url(const struct google_file *f, const struct secret *source,
			  const char *url, struct secret *ret)
{
	CLEANUP_SECRET struct secret headers = {0}, auth = {0}, metadata = {0};
	CLEANUP_SECRET struct secret text = {0};
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	if (!may_ask(url) || !cred_header_safe(url))
		return google_refuse(f, "the \"url\" of its token is not https");
	int r = json_get_nested(source->bytes, source->len, "headers", &headers);
	if (!r) {
		(void)json_get(headers.bytes, headers.len, "Authorization", &auth);
		(void)json_get(headers.bytes, headers.len, "Metadata", &metadata);
	}
	struct http_header send[] = {{"Authorization", auth.bytes},
				     {"Metadata", metadata.bytes}};
	struct cred_question q = {.topic = GOOGLE_TOPIC,
				  .source = "the token's source",
				  .method = "GET",
				  .url = url,
				  .headers = send,
				  .n_headers = 2,
				  .hide = {auth.bytes},
				  .local = strncmp(url, "https:", 6) != 0};
	r = cred_ask(f->http, &q, &reply, f->call);
	if (!r)
		r = secret_set(&text, reply.body.data, reply.body.len);
	crypto_wipe(reply.body.data, reply.body.len);
	return r ? r : take_token(f, source, &text, ret);
}

static int subject_token(const struct google_file *f, struct secret *ret)
{
	CLEANUP_SECRET struct secret source = {0}, where = {0};
	int r = json_get_nested(f->text, f->len, "credential_source", &source);
	if (r)
		return r == -ENOMEM ? r
				    : google_refuse(f, "it has no \"credential_source\"");
	if (!json_get(source.bytes, source.len, "environment_id", &where))
		return google_refuse(f, "a credential_source of Amazon's is not "
					"supported; one with a file or a url is");
	if (!json_get(source.bytes, source.len, "file", &where))
		return token_from_path(f, &source, where.bytes, ret);
	if (!json_get(source.bytes, source.len, "url", &where))
		return token_from_url(f, &source, where.bytes, ret);
	return google_refuse(f, "its credential_source is neither a file nor a url (a "
				"program is not run)");
}

static int parse_impersonated(const struct http_reply *reply, struct cred *ret)
{
	CLEANUP_CRED struct cred cred = {.kind = CRED_BEARER};
	CLEANUP_SECRET struct secret expires = {0};
	const char *text = reply->body.data;
	size_t n = reply->body.len;
	int r = json_get(text, n, "accessToken", &cred.token);
	if (!r)
		r = json_get(text, n, "expireTime", &expires);
	if (!r)
		r = date_parse_iso(expires.bytes, &cred.expires_ns);
	if (r || !cred.token.len || !cred_header_safe(cred.token.bytes))
		return r == -ENOMEM ? r : -EBADMSG;
	*ret = cred;
	cred = (struct cred){0};
	return 0;
}

/* With the token of one account, that of another. */
static int impersonate(const struct google_file *f, const struct cred *as,
		       const char *url, struct cred *ret)
{
	CLEANUP_BUF struct buf body, source;
	CLEANUP_SECRET struct secret delegates = {0};
	struct buf auth;
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	buf_init(&body, CRED_TOKEN_MAX);
	buf_init(&source, 8192);
	buf_init(&auth, 2 * CRED_TOKEN_MAX);
	buf_addf(&body, "{\"scope\":[\"%s\"],\"lifetime\":\"%ds\"", f->scope, LIFETIME_S);
	if (!json_get_nested(f->text, f->len, "delegates", &delegates))
		buf_addf(&body, ",\"delegates\":%s", delegates.bytes);
	buf_addc(&body, '}');
	buf_addf(&source, "key file %s, acting as a service account", f->path);
	buf_addf(&auth, "Bearer %s", as->token.bytes);
	struct http_header headers[] = {{"Authorization", auth.data},
					{"Content-Type", "application/json"}};
	struct cred_question q = {.topic = GOOGLE_TOPIC,
				  .source = source.data,
				  .method = "POST",
				  .url = url,
				  .headers = headers,
				  .n_headers = 2,
				  .body = &body,
				  .hide = {as->token.bytes}};
	int r = buf_error(&body) ? buf_error(&body) : buf_error(&auth);
	if (!r)
		r = cred_ask(f->http, &q, &reply, f->call);
	if (!r) {
		r = parse_impersonated(&reply, ret);
		if (r)
			r = cred_ask_failed(&q, r);
	}
	crypto_wipe(reply.body.data, reply.body.len);
	cred_wipe(&auth);
	return r;
}

static int exchange(const struct google_file *f, const char *scope, struct cred *ret)
{
	CLEANUP_SECRET struct secret url = {0}, audience = {0}, type = {0}, token = {0};
	int r = google_need_url(f, "token_url", STS_URL, &url);
	if (!r)
		r = google_need(f, "audience", &audience);
	if (!r)
		r = google_need(f, "subject_token_type", &type);
	if (!r)
		r = subject_token(f, &token);
	if (r)
		return r;
	struct url_param params[] = {
		{"grant_type", EXCHANGE},
		{"audience", audience.bytes},
		{"scope", scope},
		{"requested_token_type", ACCESS_TOKEN},
		{"subject_token", token.bytes},
		{"subject_token_type", type.bytes},
	};
	struct google_form form = {.url = url.bytes,
				   .params = params,
				   .n = sizeof params / sizeof params[0],
				   .hide = {token.bytes}};
	return google_post(f, &form, ret);
}

int google_from_external(const struct google_file *f, struct cred *ret)
{
	CLEANUP_SECRET struct secret url = {0}, probe = {0};
	CLEANUP_CRED struct cred own = {0};
	if (json_get(f->text, f->len, "service_account_impersonation_url", &probe) ==
	    -ENOENT)
		return exchange(f, f->scope, ret);
	int r = google_need_url(f, "service_account_impersonation_url", NULL, &url);
	if (!r)
		r = exchange(f, GOOGLE_SCOPE_CLOUD, &own);
	return r ? r : impersonate(f, &own, url.bytes, ret);
}

int google_from_impersonated(const struct google_file *f, struct cred *ret)
{
	CLEANUP_SECRET struct secret url = {0}, inner = {0};
	CLEANUP_CRED struct cred own = {0};
	if (f->nested)
		return google_refuse(f, "source_credentials that impersonate again are "
					"not supported");
	int r = google_need_url(f, "service_account_impersonation_url", NULL, &url);
	if (r)
		return r;
	r = json_get_nested(f->text, f->len, "source_credentials", &inner);
	if (r)
		return r == -ENOMEM
			       ? r
			       : google_refuse(f, "it has no \"source_credentials\"");
	struct google_file of = *f;
	of.text = inner.bytes;
	of.len = inner.len;
	of.scope = GOOGLE_SCOPE_CLOUD;
	of.nested = true;
	r = google_from_file(&of, &own);
	return r ? r : impersonate(f, &own, url.bytes, ret);
}
