/* s3_probe.c - is the bucket there, and are we let in? */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "backends/probe.h"
#include "backends/s3_error.h"
#include "backends/s3_request.h"
#include "backends/util/cleanup.h"
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
	if (!s3->st.creds)
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
	struct store_error e;
	buf_init(&host, 512);
	s3_error_parse(reply, &e);
	if (error == -ENODEV)
		log_error("s3", "there is no bucket \"%s\" at %s", s3->bucket,
			  where(s3, &host));
	else if (error == -EACCES && reply->status)
		log_error("s3", "%s: %s (%d %s)", s3->st.be.name, why_refused(s3, e.code),
			  e.status, e.code);
	else if (error == -ECOMM || error == -ETIMEDOUT || !reply->status)
		log_error("s3", "cannot connect to %s: %s", where(s3, &host),
			  *reply->cause ? reply->cause : strerror(-error));
	else if (error != -EINTR)
		log_error("s3", "%s: %d %s: %s", s3->st.be.name, e.status, e.code,
			  *e.message ? e.message : strerror(-error));
	return error;
}

static int probe_bucket(struct s3 *s3, struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {
		.op = "list", .method = "GET", .quiet = true, .on_404 = -ENODEV};
	request_param(&rq, "list-type", "2");
	request_param(&rq, "max-keys", "1");
	/* Without it a key with a control byte makes the answer no XML. */
	request_param(&rq, "encoding-type", "url");
	request_param(&rq, "prefix", s3->st.prefix);
	int r = request_send(&s3->st, &rq, &reply, call);
	if (r == -EINVAL && reply.status >= 300 && reply.status < 400)
		r = -ENODEV;
	if (!r)
		r = s3_expect_xml(s3, &rq, &reply, "ListBucketResult");
	return r ? explain(s3, r, &reply) : 0;
}

int s3_probe(struct backend *be, bool writes, struct call *call)
{
	struct s3 *s3 = s3_of(be);
	int r = probe_bucket(s3, call);
	if (r || !writes || !(be->caps & BACKEND_WRITE))
		return r;
	return probe_writes(&s3->st, WRONG_ETAG, call);
}
