/* cred_sts.c - keys that Amazon's token service gives for others: for those of another
 * profile or place (a role that is assumed), or for a web identity.  See
 * cred_source.h. */
#include "backends/cred_source.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/cred_ask.h"
#include "backends/date.h"
#include "backends/sign.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/xml.h"
#include "backends/util/banned.h"

enum {
	ROLES_MAX = 8, /* in a chain of source_profile */
	DURATION_MIN_S = 900,
	DURATION_MAX_S = 12 * 3600,
};

/* AssumeRoleResponse / AssumeRoleResult / Credentials / name */
static int find_member(const char *text, size_t n, const char *name, struct secret *ret)
{
	struct buf found;
	buf_init(&found, XML_TEXT_MAX);
	int r = xml_find(text, n, 4, name, &found);
	if (!r)
		r = buf_error(&found);
	if (!r && (!found.len || !cred_header_safe(found.data)))
		r = -EBADMSG;
	if (!r)
		r = secret_set(ret, found.data, found.len);
	cred_wipe(&found);
	return r;
}

int cred_from_sts_xml(const char *text, size_t n, struct cred *ret)
{
	CLEANUP_CRED struct cred cred = {0};
	CLEANUP_SECRET struct secret access = {0}, expires = {0};
	int r = find_member(text, n, "AccessKeyId", &access);
	if (!r)
		r = find_member(text, n, "SecretAccessKey", &cred.secret);
	if (!r)
		r = find_member(text, n, "SessionToken", &cred.token);
	if (!r)
		r = find_member(text, n, "Expiration", &expires);
	if (!r)
		r = date_parse_iso(expires.bytes, &cred.expires_ns);
	if (r)
		return r == -ENOMEM ? r : -EBADMSG;
	cred.access_key = strdup(access.bytes);
	if (!cred.access_key)
		return -ENOMEM;
	*ret = cred;
	cred = (struct cred){0};
	return 0;
}

/* A question to the service under way. */
struct sts {
	const struct cred_from *from;
	const struct cred *as; /* who signs; NULL = nobody */
	int64_t clock_off_ns;
	struct endpoint endpoint;
	struct buf url, body, host, auth;
	char date[DATE_AMZ_SIZE], hash[SHA256_HEX_SIZE];
};

static void sts_done(struct sts *s)
{
	cred_wipe(&s->body);
	buf_done(&s->url);
	buf_done(&s->host);
	buf_done(&s->auth);
}

static int sts_init(struct sts *s, const struct cred_from *from, struct url_param *params,
		    size_t n)
{
	const char *endpoint = cred_env("AWS_ENDPOINT_URL_STS");
	s->from = from;
	buf_init(&s->url, 1024);
	buf_init(&s->host, 512);
	buf_init(&s->auth, 4096);
	buf_init(&s->body, (size_t)4 * CRED_TOKEN_MAX);
	cred_form(&s->body, params, n);
	if (endpoint)
		buf_adds(&s->url, endpoint);
	else
		buf_addf(&s->url, "https://sts.%s.amazonaws.com%s", from->region,
			 strncmp(from->region, "cn-", 3) ? "" : ".cn");
	int r = buf_error(&s->url) ? buf_error(&s->url) : buf_error(&s->body);
	if (r)
		return r;
	if (url_parse_endpoint(s->url.data, &s->endpoint) ||
	    !cred_url_is_safe(s->url.data)) {
		log_error("s3", "AWS_ENDPOINT_URL_STS is not https://host[:port]: %s",
			  s->url.data);
		return -EACCES;
	}
	if (s->url.data[s->url.len - 1] != '/')
		buf_addc(&s->url, '/');
	url_add_host(&s->host, &s->endpoint);
	return buf_error(&s->host);
}

static int sts_sign(struct sts *s, const char *type)
{
	uint8_t digest[SHA256_BYTES];
	struct sign_key key;
	date_format_amz(clock_wall_ns() + s->clock_off_ns, s->date);
	int r = crypto_sha256(s->body.data, s->body.len, digest);
	hex_encode(digest, sizeof digest, s->hash);
	struct sign_header headers[] = {
		{"content-type", type},
		{"host", s->host.data},
		{"x-amz-date", s->date},
		{"x-amz-security-token", s->as->token.bytes},
	};
	struct sign_request rq = {
		.method = "POST",
		.path = "/",
		.query = "",
		.headers = headers,
		.n_headers = s->as->token.len ? 4 : 3,
		.payload_hash = s->hash,
		.date = s->date,
		.region = s->from->region,
		.service = "sts",
		.access_key = s->as->access_key,
	};
	if (!r)
		r = sign_key_derive(&s->as->secret, s->date, rq.region, rq.service, &key);
	buf_reset(&s->auth);
	if (!r)
		r = sign_v4(&key, &rq, &s->auth);
	crypto_wipe(&key, sizeof key);
	return r;
}

static int sts_ask_once(struct sts *s, const char *source, const char *hide,
			struct cred *ret)
{
	static const char type[] = "application/x-www-form-urlencoded";
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	int r = s->as ? sts_sign(s, type) : 0;
	struct http_header headers[] = {
		{"Content-Type", type},
		{"Authorization", s->as ? s->auth.data : NULL},
		{"X-Amz-Date", s->as ? s->date : NULL},
		{"X-Amz-Security-Token", s->as ? s->as->token.bytes : NULL},
	};
	struct cred_question q = {.topic = "s3",
				  .source = source,
				  .method = "POST",
				  .url = s->url.data,
				  .headers = headers,
				  .n_headers = sizeof headers / sizeof headers[0],
				  .body = &s->body,
				  .hide = {hide, s->as ? s->as->token.bytes : NULL},
				  .clock_off_ns = s->as ? &s->clock_off_ns : NULL};
	if (!r)
		r = cred_ask(s->from->http, &q, &reply, s->from->call);
	if (!r) {
		r = cred_from_sts_xml(reply.body.data, reply.body.len, ret);
		if (r)
			r = cred_ask_failed(&q, r);
	}
	crypto_wipe(reply.body.data, reply.body.len);
	return r;
}

/* as NULL: unsigned; then the body holds the proof, which is hidden. */
static int sts_ask(const struct cred_from *from, const char *source,
		   const struct cred *as, struct url_param *params, size_t n,
		   const char *hide, struct cred *ret)
{
	CLEANUP(sts_done) struct sts s = {.as = as};
	int r = sts_init(&s, from, params, n);
	if (!r)
		r = sts_ask_once(&s, source, hide, ret);
	return r == -EAGAIN ? sts_ask_once(&s, source, hide, ret) : r;
}

int cred_from_web_identity(const struct cred_from *from, struct cred *ret)
{
	/* The variables are about us, not about a profile that another one names. */
	const char *path = from->above ? NULL : cred_env("AWS_WEB_IDENTITY_TOKEN_FILE");
	const char *role = cred_env("AWS_ROLE_ARN");
	const char *session = cred_env("AWS_ROLE_SESSION_NAME");
	CLEANUP_SECRET struct secret token = {0};
	CLEANUP_BUF struct buf source = {0};
	if (!path || !role) {
		path = profile_get(from->profile, "web_identity_token_file");
		role = profile_get(from->profile, "role_arn");
		session = profile_get(from->profile, "role_session_name");
	}
	if (!path || !role)
		return -ENOENT;
	/* Read each time: it is replaced as it expires. */
	int r = cred_read_line(path, &token);
	if (r) {
		log_error("s3", "the web identity's token file %s: %s", path,
			  r == -EBADMSG ? "not one line" : strerror(-r));
		return r == -ENOMEM ? r : -EACCES;
	}
	struct url_param params[] = {
		{"Action", "AssumeRoleWithWebIdentity"},
		{"Version", "2011-06-15"},
		{"RoleArn", role},
		{"RoleSessionName", session ? session : "mastfs"},
		{"WebIdentityToken", token.bytes},
	};
	buf_init(&source, 8192);
	buf_addf(&source, "credentials for role %s with the token in %s", role, path);
	if (buf_error(&source))
		return buf_error(&source);
	return sts_ask(from, source.data, NULL, params, sizeof params / sizeof params[0],
		       token.bytes, ret);
}

static int refuse(const struct cred_from *from, const char *what, const char *operand)
{
	log_error("s3", "profile \"%s\" %s%s", profile_name(from->profile), what,
		  operand);
	return -EACCES;
}

/* Was this profile's source asked for on the way to it? */
static bool is_loop(const struct cred_from *from, const char *source)
{
	int depth = 0;
	for (const struct cred_from *f = from; f; f = f->above, depth++)
		if (!strcmp(profile_name(f->profile), source))
			return true;
	return depth >= ROLES_MAX;
}

static int keys_of_profile(const struct cred_from *from, const char *source,
			   struct cred *ret)
{
	typedef int source_fn(const struct cred_from *, struct cred *);
	static source_fn *const chain[] = {cred_from_profile, cred_from_role,
					   cred_from_web_identity, cred_from_process};
	struct profile *profile;
	int r;
	/* Its own keys, with which the role is assumed. */
	if (!strcmp(profile_name(from->profile), source)) {
		r = cred_from_profile(from, ret);
		return r == -ENOENT ? refuse(from,
					     "is its own source_profile and has "
					     "no keys",
					     "")
				    : r;
	}
	if (is_loop(from, source))
		return refuse(from, "goes round in circles: source_profile = ", source);
	r = profile_load(source, &profile);
	if (r)
		return r == -ENOENT ? -EACCES : r;
	struct cred_from next = *from;
	next.profile = profile;
	next.above = from;
	r = -ENOENT;
	for (size_t i = 0; r == -ENOENT && i < sizeof chain / sizeof chain[0]; i++)
		r = chain[i](&next, ret);
	if (r == -ENOENT)
		r = refuse(from, "has a source without keys: source_profile = ", source);
	profile_free(profile);
	return r;
}

static int keys_of_place(const struct cred_from *from, const char *place,
			 struct cred *ret)
{
	int r;
	if (!strcmp(place, "Environment"))
		r = cred_from_env(from, ret);
	else if (!strcmp(place, "Ec2InstanceMetadata"))
		r = cred_from_instance(from, ret);
	else if (!strcmp(place, "EcsContainer"))
		r = cred_from_container(from, ret);
	else
		return refuse(from, "has an unknown credential_source = ", place);
	return r == -ENOENT ? refuse(from,
				     "has a source without keys: "
				     "credential_source = ",
				     place)
			    : r;
}

static int assume(const struct cred_from *from, const char *role, const struct cred *as,
		  struct cred *ret)
{
	const char *session = profile_get(from->profile, "role_session_name");
	const char *duration = profile_get(from->profile, "duration_seconds");
	CLEANUP_BUF struct buf source = {0};
	uint64_t s;
	struct url_param params[] = {
		{"Action", "AssumeRole"},
		{"Version", "2011-06-15"},
		{"RoleArn", role},
		{"RoleSessionName", session ? session : "mastfs"},
		{"ExternalId", profile_get(from->profile, "external_id")},
		{"DurationSeconds", duration},
	};
	if (duration &&
	    (http_parse_u64(duration, &s) || s < DURATION_MIN_S || s > DURATION_MAX_S))
		return refuse(from, "has duration_seconds that are not 900 to 43200: ",
			      duration);
	buf_init(&source, 8192);
	buf_addf(&source, "role %s of profile \"%s\"", role, profile_name(from->profile));
	if (buf_error(&source))
		return buf_error(&source);
	return sts_ask(from, source.data, as, params, sizeof params / sizeof params[0],
		       NULL, ret);
}

int cred_from_role(const struct cred_from *from, struct cred *ret)
{
	const char *role = profile_get(from->profile, "role_arn");
	const char *source = profile_get(from->profile, "source_profile");
	const char *place = profile_get(from->profile, "credential_source");
	CLEANUP_CRED struct cred as = {0};
	if (!role || profile_get(from->profile, "web_identity_token_file"))
		return -ENOENT;
	if (profile_get(from->profile, "mfa_serial"))
		return refuse(from,
			      "asks for a code (mfa_serial), which a mount cannot do: "
			      "give it credential_process = aws configure "
			      "export-credentials --profile ",
			      profile_name(from->profile));
	if (!source == !place)
		return refuse(from,
			      "has a role_arn, which needs source_profile or "
			      "credential_source, one of both",
			      "");
	int r = source ? keys_of_profile(from, source, &as)
		       : keys_of_place(from, place, &as);
	return r ? r : assume(from, role, &as, ret);
}
