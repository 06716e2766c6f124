/* s3_probe.c - is the bucket there, and which promises does the store keep?
 *
 * A store that does not implement a condition ignores it in silence, so every one
 * is tried on an object of our own, whose name nobody else has.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/crypto.h"
#include "backends/s3_error.h"
#include "backends/s3_request.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

/* An ETag that no object of ours has. */
#define WRONG_ETAG "\"00000000000000000000000000000000\""

static const char *where(const struct s3 *s3, struct buf *out)
{
	if (*s3->endpoint.host)
		url_add_host(out, &s3->endpoint);
	else
		buf_addf(out, "%s.amazonaws.com", s3->region);
	return out->data;
}

static const char *why_refused(const struct s3 *s3, const char *code)
{
	if (!s3->creds)
		return "the bucket is not open to everybody";
	if (!strcmp(code, "InvalidAccessKeyId"))
		return "the store does not know this access key";
	if (!strcmp(code, "SignatureDoesNotMatch"))
		return "the secret key is wrong";
	if (!strcmp(code, "AccessDenied"))
		return "these credentials may not list the bucket";
	return "the store refuses these credentials";
}

/* One line for the person who starts the mount. */
static int explain(struct s3 *s3, int error, const struct http_reply *reply)
{
	CLEANUP_BUF struct buf host;
	struct s3_error e;
	buf_init(&host, 512);
	s3_error_parse(reply, &e);
	if (error == -ENODEV)
		log_error("s3", "there is no bucket \"%s\" at %s", s3->bucket,
			  where(s3, &host));
	else if (error == -EACCES && reply->status)
		log_error("s3", "%s: %s (%d %s)", s3->be.name, why_refused(s3, e.code),
			  e.status, e.code);
	else if (error == -ECOMM || error == -ETIMEDOUT || !reply->status)
		log_error("s3", "cannot connect to %s: %s", where(s3, &host),
			  *reply->cause ? reply->cause : strerror(-error));
	else if (error != -EINTR)
		log_error("s3", "%s: %d %s: %s", s3->be.name, e.status, e.code,
			  *e.message ? e.message : strerror(-error));
	return error;
}

static int probe_bucket(struct s3 *s3, struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct s3_request rq = {
		.op = "list", .method = "GET", .quiet = true, .on_404 = -ENODEV};
	s3_param(&rq, "list-type", "2");
	s3_param(&rq, "max-keys", "1");
	/* Without it a key with a control byte makes the answer no XML. */
	s3_param(&rq, "encoding-type", "url");
	s3_param(&rq, "prefix", s3->prefix);
	int r = s3_send(s3, &rq, &reply, call);
	if (r == -EINVAL && reply.status >= 300 && reply.status < 400)
		r = -ENODEV;
	if (!r)
		r = s3_expect_xml(s3, &rq, &reply, "ListBucketResult");
	return r ? explain(s3, r, &reply) : 0;
}

/* The object that the experiments are made on. */
struct probe {
	struct s3 *s3;
	struct call *call;
	char key[64];
	char etag[ETAG_SIZE];
};

static int probe_put(const struct probe *p, const struct cond *cond, char *ret_etag)
{
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct s3_request rq = {.op = "probe",
				.method = "PUT",
				.key = p->key,
				.body = "mastfs",
				.body_len = 6,
				.quiet = true};
	s3_cond_headers(&rq, cond);
	int r = s3_send(p->s3, &rq, &reply, p->call);
	const char *etag = http_header(&reply, "etag");
	if (!r && (!etag || http_parse_etag(etag, ret_etag)))
		r = -EREMOTEIO;
	return r;
}

/* What an experiment shows: 1 the condition held, 0 it was not honoured.  A server
 * that was merely busy has shown nothing: the error, so that it is tried again. */
static int verdict(int r, int want)
{
	if (r == want)
		return 1;
	return s3_errno_is_transient(r) || r == -EINTR ? r : 0;
}

static int puts_conditionally(const struct probe *p)
{
	char etag[ETAG_SIZE];
	struct cond absent = {.if_absent = true}, wrong = {.if_etag = WRONG_ETAG};
	int r = verdict(probe_put(p, &absent, etag), -EEXIST);
	return r == 1 ? verdict(probe_put(p, &wrong, etag), -ESTALE) : r;
}

static int probe_part(const struct probe *p, const char *id, char *ret_etag)
{
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct s3_request rq = {.op = "probe part",
				.method = "PUT",
				.key = p->key,
				.body = "mastfs",
				.body_len = 6,
				.quiet = true};
	s3_param(&rq, "partNumber", "1");
	s3_param(&rq, "uploadId", id);
	int r = s3_send(p->s3, &rq, &reply, p->call);
	const char *etag = http_header(&reply, "etag");
	return !r && (!etag || http_parse_etag(etag, ret_etag)) ? -EREMOTEIO : r;
}

static int try_finish(const struct probe *p, const char *id, const struct part *part,
		      const struct cond *cond)
{
	struct put_opts opts = {.cond = *cond};
	struct object obj;
	return s3_upload_finish(&p->s3->be, p->key, id, part, 1, 6, &opts, &obj, p->call);
}

static int finishes_conditionally(const struct probe *p)
{
	struct put_opts none = {0};
	struct cond absent = {.if_absent = true}, wrong = {.if_etag = WRONG_ETAG};
	struct part part = {.number = 1, .size = 6};
	CLEANUP_FREE char *id = NULL;
	int r = s3_upload_begin(&p->s3->be, p->key, 6, &none, &id, p->call);
	if (r)
		return verdict(r, 1);
	r = verdict(probe_part(p, id, part.receipt), 0);
	if (r == 1)
		r = verdict(try_finish(p, id, &part, &absent), -EEXIST);
	if (r == 1)
		r = verdict(try_finish(p, id, &part, &wrong), -ESTALE);
	(void)s3_upload_abort(&p->s3->be, p->key, id, p->call);
	return r;
}

/* A store that takes the condition for an error of ours has not honoured it. */
static int deletes_conditionally(const struct probe *p)
{
	struct object obj;
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct s3_request rq = {
		.op = "probe delete", .method = "DELETE", .key = p->key, .quiet = true};
	s3_header(&rq, "if-match", WRONG_ETAG);
	int r = verdict(s3_send(p->s3, &rq, &reply, p->call), -ESTALE);
	return r == 1 ? verdict(s3_head(&p->s3->be, p->key, &obj, p->call), 0) : r;
}

static int name_probe(struct probe *p)
{
	uint8_t random[8];
	char hex[2 * sizeof random + 1];
	int r = crypto_random(random, sizeof random);
	if (r)
		return r;
	hex_encode(random, sizeof random, hex);
	(void)snprintf(p->key, sizeof p->key, ".mastfs-probe-%s", hex);
	return 0;
}

static int find_conditions(const struct probe *p)
{
	static const struct {
		int (*holds)(const struct probe *p);
		uint32_t cap;
	} experiments[] = {
		{puts_conditionally, BACKEND_PUT_IF},
		{finishes_conditionally, BACKEND_FINISH_IF},
		{deletes_conditionally, BACKEND_DEL_IF},
	};
	for (size_t i = 0; i < sizeof experiments / sizeof experiments[0]; i++) {
		int r = experiments[i].holds(p);
		if (r < 0)
			return r;
		if (r)
			p->s3->be.caps |= experiments[i].cap;
	}
	return 0;
}

static int probe_writes(struct s3 *s3, struct call *call)
{
	struct probe p = {.s3 = s3, .call = call};
	struct cond absent = {.if_absent = true};
	int r = name_probe(&p);
	if (r)
		return r;
	r = probe_put(&p, &absent, p.etag);
	if (r == -EACCES || r == -EOPNOTSUPP || r == -EROFS) {
		s3->be.caps &= ~(uint32_t)BACKEND_WRITE;
		log_warn("s3", "%s takes no writes from us: mounted read-only",
			 s3->be.name);
		return 0;
	}
	if (r)
		return r;
	r = find_conditions(&p);
	(void)s3_del(&s3->be, p.key, NULL, call);
	return r;
}

int s3_probe(struct backend *be, bool writes, struct call *call)
{
	struct s3 *s3 = s3_of(be);
	int r = probe_bucket(s3, call);
	if (r || !writes || !(be->caps & BACKEND_WRITE))
		return r;
	return probe_writes(s3, call);
}
