/* cred_service.c - keys from a service that is near: the container's, or the
 * instance's.  See cred_source.h. */
#include "backends/cred_source.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "backends/cred_ask.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

static bool is_true(const char *value)
{
	return value && !strcasecmp(value, "true");
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

/* Its Authorization, as it stands.  -ENOENT: it wants none. */
static int container_token(struct secret *ret)
{
	const char *path = cred_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *value = cred_env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	if (path) {
		/* Read each time: it is replaced as it expires. */
		int r = cred_read_line(path, ret);
		if (r)
			log_error("s3", "the container's token file %s: %s", path,
				  r == -EBADMSG ? "not one line" : strerror(-r));
		return !r || r == -ENOMEM ? r : -EACCES;
	}
	if (!value)
		return -ENOENT;
	if (!strpbrk(value, "\r\n"))
		return secret_set(ret, value, strlen(value));
	log_error("s3", "AWS_CONTAINER_AUTHORIZATION_TOKEN is not one line");
	return -EACCES;
}

/* Ask, and take the keys out of the answer. */
static int ask(const struct cred_from *from, const struct cred_question *q,
	       struct cred *ret)
{
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	int r = cred_ask(from->http, q, &reply, from->call);
	if (!r) {
		r = cred_from_json(reply.body.data, reply.body.len, "Token", ret);
		if (r)
			r = cred_ask_failed(q, r);
	}
	crypto_wipe(reply.body.data, reply.body.len);
	return r;
}

int cred_from_container(const struct cred_from *from, struct cred *ret)
{
	const char *relative = cred_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = cred_env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	CLEANUP_BUF struct buf url = {0};
	CLEANUP_SECRET struct secret token = {0};
	if (!relative && !full)
		return -ENOENT;
	buf_init(&url, 4096);
	buf_adds(&url, relative ? "http://169.254.170.2" : full);
	buf_adds(&url, relative ? relative : "");
	if (buf_error(&url))
		return buf_error(&url);
	if (!may_ask(url.data)) {
		log_error("s3",
			  "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor on "
			  "this machine: %s",
			  url.data);
		return -EACCES;
	}
	int r = container_token(&token);
	if (r && r != -ENOENT)
		return r;
	struct http_header header = {"Authorization", token.bytes};
	struct cred_question q = {.topic = "s3",
				  .source = "credentials of the container",
				  .method = "GET",
				  .url = url.data,
				  .headers = &header,
				  .n_headers = 1,
				  .hide = {token.bytes},
				  .local = true};
	return ask(from, &q, ret);
}

static int instance_url(struct buf *url, const char *path)
{
	const char *base = cred_env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	const char *mode = cred_env("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
	if (!base)
		base = mode && !strcasecmp(mode, "ipv6") ? "http://[fd00:ec2::254]"
							 : "http://169.254.169.254";
	size_t n = strlen(base);
	buf_reset(url);
	buf_add(url, base, n && base[n - 1] == '/' ? n - 1 : n);
	buf_adds(url, path);
	return buf_error(url);
}

/* A PUT or GET whose answer is a line of text.  Nobody there, or nothing for us, is
 * -ENOENT: most machines are no instances, and most instances have no role. */
static int instance_line(const struct cred_from *from, const char *method,
			 const char *path, const struct http_header *header,
			 struct secret *ret)
{
	CLEANUP_BUF struct buf url;
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	buf_init(&url, 4096);
	int r = instance_url(&url, path);
	struct cred_question q = {.topic = "s3",
				  .source = "credentials of the instance",
				  .method = method,
				  .url = url.data,
				  .headers = header,
				  .n_headers = 1,
				  .local = true,
				  .absent_ok = !from->renews,
				  .refused_ok = true};
	if (!r)
		r = cred_ask(from->http, &q, &reply, from->call);
	if (!r)
		r = secret_set(ret, reply.body.data, strcspn(reply.body.data, "\r\n"));
	crypto_wipe(reply.body.data, reply.body.len);
	return !r && (!ret->len || !cred_header_safe(ret->bytes)) ? -ENOENT : r;
}

int cred_from_instance(const struct cred_from *from, struct cred *ret)
{
	static const char list[] = "/latest/meta-data/iam/security-credentials/";
	CLEANUP_SECRET struct secret token = {0}, role = {0};
	CLEANUP_BUF struct buf path = {0}, url = {0};
	if (is_true(cred_env("AWS_EC2_METADATA_DISABLED")))
		return -ENOENT;
	struct http_header header = {"x-aws-ec2-metadata-token-ttl-seconds", "21600"};
	int r = instance_line(from, "PUT", "/latest/api/token", &header, &token);
	header = (struct http_header){"x-aws-ec2-metadata-token", token.bytes};
	if (!r)
		r = instance_line(from, "GET", list, &header, &role);
	if (r)
		return r;
	buf_init(&path, 1024);
	buf_init(&url, 4096);
	buf_adds(&path, list);
	url_encode(&path, role.bytes, role.len, false);
	r = buf_error(&path) ? buf_error(&path) : instance_url(&url, path.data);
	struct cred_question q = {.topic = "s3",
				  .source =
					  "the instance has a role, but no keys with it",
				  .method = "GET",
				  .url = url.data,
				  .headers = &header,
				  .n_headers = 1,
				  .hide = {token.bytes},
				  .local = true};
	if (!r)
		r = ask(from, &q, ret);
	ret->outlasts = !r;
	return r;
}
