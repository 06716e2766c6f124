/* cred_service.c - keys from a service: the container's, the instance's, or the
 * token service for a web identity.  See cred_source.h. */
#include "backends/cred_source.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "backends/date.h"
#include "backends/url.h"
#include "backends/util/log.h"
#include "backends/xml.h"
#include "backends/util/banned.h"

enum {
	ANSWER_MAX = 64 * 1024,
	TOKEN_MAX = 64 * 1024,
	LOCAL_TIMEOUT_MS = 2000, /* a service of this machine answers at once or never */
};

static const char *env(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

static bool is_true(const char *value)
{
	return value && !strcasecmp(value, "true");
}

/* A file with one line, its line end taken off. */
static int read_token(const char *path, struct secret *ret)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[TOKEN_MAX];
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, text, sizeof text);
	if (n < 0)
		return -errno;
	while (n && strchr("\r\n", text[n - 1]) && text[n - 1])
		n--;
	bool bad = memchr(text, '\n', (size_t)n) || memchr(text, '\r', (size_t)n);
	int r = bad ? -EBADMSG : secret_set(ret, text, (size_t)n);
	crypto_wipe(text, sizeof text);
	return r;
}

/* A GET or PUT to a service of this machine, with one header or none. */
static int ask(const struct cred_from *from, const char *method, const char *url,
	       const struct http_header *header, struct http_reply *reply)
{
	struct http_request rq = {
		.method = method,
		.url = url,
		.headers = header,
		.n_headers = header && header->value ? 1 : 0,
		.expect = HTTP_UNKNOWN,
		.body_max = ANSWER_MAX,
		.stall_ms = LOCAL_TIMEOUT_MS,
		.local = true,
	};
	struct call soon = {.prio = PRIO_DEMAND,
			    .cancelled = from->call ? from->call->cancelled : NULL};
	soon.deadline_ns = clock_add(clock_now_ns(), LOCAL_TIMEOUT_MS * NS_PER_MS);
	return http_send(from->http, &rq, reply, &soon);
}

/* Amazon's rule: the keys come over https, or from this machine's own addresses. */
static bool may_ask(const char *url)
{
	struct endpoint ep;
	static const char *const own[] = {"169.254.170.2", "169.254.170.23",
					  "fd00:ec2::23"};
	if (url_parse_origin(url, &ep))
		return false;
	if (ep.https || url_host_is_loopback(ep.host))
		return true;
	for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
		if (!strcmp(ep.host, own[i]))
			return true;
	return false;
}

static int container_token(struct secret *ret)
{
	const char *path = env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *value = env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	if (path)
		return read_token(path, ret);
	return value ? secret_set(ret, value, strlen(value)) : 0;
}

int cred_from_container(const struct cred_from *from, struct cred *ret)
{
	const char *relative = env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	CLEANUP_BUF struct buf url;
	CLEANUP_REPLY struct http_reply reply;
	CLEANUP_SECRET struct secret token = {0};
	buf_init(&url, 4096);
	http_reply_init(&reply);
	if (!relative && !full)
		return -ENOENT;
	if (relative)
		buf_addf(&url, "http://169.254.170.2%s", relative);
	else
		buf_adds(&url, full);
	int r = buf_error(&url) || !may_ask(url.data) ? -EINVAL : container_token(&token);
	struct http_header header = {"Authorization", token.bytes};
	if (!r)
		r = ask(from, "GET", url.data, &header, &reply);
	if (!r)
		r = reply.status == 200 ? cred_from_json(reply.body.data, reply.body.len,
							 "Token", ret)
					: -EACCES;
	crypto_wipe(reply.body.data, reply.body.len);
	if (!r)
		return 0;
	log_error("s3", "credentials of the container from %s: %s", url.data,
		  reply.status ? "no keys in the answer" : strerror(-r));
	return -EACCES;
}

/* Its answer lies in reply->body. */
static int ask_instance(const struct cred_from *from, const char *method,
			const char *path, const struct http_header *header,
			struct http_reply *reply)
{
	const char *base = env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	const char *mode = env("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
	CLEANUP_BUF struct buf url;
	buf_init(&url, 4096);
	if (!base)
		base = mode && !strcasecmp(mode, "ipv6") ? "http://[fd00:ec2::254]"
							 : "http://169.254.169.254";
	size_t n = strlen(base);
	buf_add(&url, base, n && base[n - 1] == '/' ? n - 1 : n);
	buf_adds(&url, path);
	if (buf_error(&url))
		return buf_error(&url);
	int r = ask(from, method, url.data, header, reply);
	return r ? r : reply->status == 200 ? 0 : -ENOENT;
}

/* Nobody there is no error: most machines are no instances. */
int cred_from_instance(const struct cred_from *from, struct cred *ret)
{
	static const char list[] = "/latest/meta-data/iam/security-credentials/";
	CLEANUP_REPLY struct http_reply reply;
	CLEANUP_SECRET struct secret token = {0};
	CLEANUP_BUF struct buf path;
	http_reply_init(&reply);
	buf_init(&path, 1024);
	if (is_true(env("AWS_EC2_METADATA_DISABLED")))
		return -ENOENT;
	struct http_header header = {"x-aws-ec2-metadata-token-ttl-seconds", "21600"};
	if (ask_instance(from, "PUT", "/latest/api/token", &header, &reply) ||
	    secret_set(&token, reply.body.data, reply.body.len) ||
	    strpbrk(token.bytes, "\r\n"))
		return -ENOENT;
	header = (struct http_header){"x-aws-ec2-metadata-token", token.bytes};
	if (ask_instance(from, "GET", list, &header, &reply) || !reply.body.len)
		return -ENOENT;
	buf_adds(&path, list);
	url_encode(&path, reply.body.data, strcspn(reply.body.data, "\r\n"), false);
	int r = buf_error(&path) ? -ENOENT
				 : ask_instance(from, "GET", path.data, &header, &reply);
	if (!r)
		r = cred_from_json(reply.body.data, reply.body.len, "Token", ret);
	crypto_wipe(reply.body.data, reply.body.len);
	if (!r)
		return 0;
	log_error("s3", "the instance has a role, but no keys come with it: %s",
		  reply.cause[0] ? reply.cause : strerror(-r));
	return -EACCES;
}

static int find_text(const struct http_reply *reply, const char *name, struct buf *ret)
{
	/* AssumeRoleWithWebIdentityResponse / ..Result / Credentials / name */
	return xml_find(reply->body.data, reply->body.len, 4, name, ret);
}

static int parse_sts(const struct http_reply *reply, struct cred *ret)
{
	struct buf text[4];
	static const char *const names[] = {"AccessKeyId", "SecretAccessKey",
					    "SessionToken", "Expiration"};
	struct cred cred = {0};
	int r = 0;
	for (int i = 0; i < 4; i++) {
		buf_init(&text[i], TOKEN_MAX);
		if (!r)
			r = find_text(reply, names[i], &text[i]);
	}
	if (!r)
		r = date_parse_iso(text[3].data, &cred.expires_ns);
	if (!r && strpbrk(text[2].data, "\r\n"))
		r = -EBADMSG;
	if (!r)
		r = secret_set(&cred.secret, text[1].data, text[1].len);
	if (!r)
		r = secret_set(&cred.token, text[2].data, text[2].len);
	cred.access_key = r ? NULL : buf_detach(&text[0]);
	if (!r && !cred.access_key)
		r = -ENOMEM;
	for (int i = 0; i < 4; i++) {
		crypto_wipe(text[i].data, text[i].len);
		buf_done(&text[i]);
	}
	if (r)
		cred_done(&cred);
	else
		*ret = cred;
	return r;
}

static int post_sts(const struct cred_from *from, const char *role,
		    const struct secret *token, struct http_reply *reply)
{
	const char *session = env("AWS_ROLE_SESSION_NAME");
	const char *endpoint = env("AWS_ENDPOINT_URL_STS");
	struct buf url, body;
	struct url_param params[] = {
		{"Action", "AssumeRoleWithWebIdentity"},
		{"Version", "2011-06-15"},
		{"RoleArn", role},
		{"RoleSessionName", session ? session : "mastfs"},
		{"WebIdentityToken", token->bytes},
	};
	struct http_header type = {"Content-Type", "application/x-www-form-urlencoded"};
	buf_init(&url, 1024);
	buf_init(&body, (size_t)4 * TOKEN_MAX);
	if (endpoint)
		buf_adds(&url, endpoint);
	else
		buf_addf(&url, "https://sts.%s.amazonaws.com%s/", from->region,
			 strncmp(from->region, "cn-", 3) ? "" : ".cn");
	url_add_query(&body, params, sizeof params / sizeof params[0]);
	struct http_request rq = {.method = "POST",
				  .url = url.data,
				  .headers = &type,
				  .n_headers = 1,
				  .body = body.data,
				  .body_len = body.len,
				  .expect = HTTP_UNKNOWN,
				  .body_max = ANSWER_MAX};
	int r = buf_error(&url) ? buf_error(&url) : buf_error(&body);
	if (!r)
		r = http_send(from->http, &rq, reply, from->call);
	crypto_wipe(body.data, body.len);
	buf_done(&body);
	buf_done(&url);
	return r;
}

int cred_from_web_identity(const struct cred_from *from, struct cred *ret)
{
	const char *path = env("AWS_WEB_IDENTITY_TOKEN_FILE");
	const char *role = env("AWS_ROLE_ARN");
	CLEANUP_SECRET struct secret token = {0};
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	if (!path || !role) {
		path = profile_get(from->profile, "web_identity_token_file");
		role = profile_get(from->profile, "role_arn");
	}
	if (!path || !role)
		return -ENOENT;
	int r = read_token(path, &token);
	if (!r)
		r = post_sts(from, role, &token, &reply);
	if (!r)
		r = reply.status == 200 ? parse_sts(&reply, ret) : -EACCES;
	if (!r)
		return 0;
	CLEANUP_BUF struct buf code;
	buf_init(&code, 256);
	if (reply.status >= 400)
		(void)xml_find(reply.body.data, reply.body.len, 3, "Code", &code);
	log_error("s3", "credentials for role %s with the token in %s: %s %s", role, path,
		  reply.cause[0] ? reply.cause : strerror(-r), code.data);
	return -EACCES;
}
