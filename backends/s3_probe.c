/* s3_probe.c - is the bucket there, are we let in, which checksums does it take? */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backends/crc.h"
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
	(void)s3_error_parse(reply, &e);
	if (error == -ENODEV)
		log_error("s3", "there is no bucket \"%s\" at %s", s3->bucket,
			  where(s3, &host));
	else if (store_errno_is_refusal(error) && reply->status)
		log_error("s3", "%s: %s (%d %s)", s3->st.be.name, why_refused(s3, e.code),
			  e.status, e.code);
	else if (error == -ECOMM || error == -ETIMEDOUT || !reply->status)
		log_error("s3", "cannot connect to %s: %s", where(s3, &host),
			  *reply->cause ? reply->cause : strerror(-error));
	else if (error != -EINTR)
		log_error("s3", "%s: %d %s: %s", s3->st.be.name, e.status, e.code,
			  *e.message ? e.message : strerror(-error));
	return probe_unreached(error, reply) ? -EHOSTUNREACH : error;
}

/* *ret_left: what probe_sweep is for is there.  Only looked for with writes. */
static int probe_bucket(struct s3 *s3, bool writes, bool *ret_left, struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	CLEANUP_FREE char *prefix = NULL;
	http_reply_init(&reply);
	if (asprintf(&prefix, "%s%s", s3->st.prefix, writes ? PROBE_NAME : "") < 0) {
		prefix = NULL;
		return -ENOMEM;
	}
	struct request rq = {
		.op = "list", .method = "GET", .quiet = true, .on_404 = -ENODEV};
	request_param(&rq, "list-type", "2");
	request_param(&rq, "max-keys", "1");
	/* Without it a key with a control byte makes the answer no XML. */
	request_param(&rq, "encoding-type", "url");
	request_param(&rq, "prefix", prefix);
	int r = request_send(&s3->st, &rq, &reply, call);
	/* Who mounts learns of it, whoever says so. */
	if ((r == -EINVAL && reply.status >= 300 && reply.status < 400) ||
	    (r == -EREMOTEIO && reply.status == 404))
		r = -ENODEV;
	if (!r)
		r = s3_expect_xml(s3, &rq, &reply, "ListBucketResult");
	*ret_left = !r && writes && memmem(reply.body.data, reply.body.len, "<Key>", 5);
	return probe_is_final(r, &reply) ? explain(s3, r, &reply) : r;
}

/* --- checksums --- */

static const char content[] = "mastfs";
enum { CONTENT_BYTES = sizeof content - 1 };

/* A checksum that is not the content's: who takes it for one refuses the object. */
static int put_with_wrong_sum(struct s3 *s3, const char *key, struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	char sum[S3_SUM_SIZE];
	http_reply_init(&reply);
	int r = s3_sum_text(~crc64nvme(0, content, CONTENT_BYTES), sum);
	if (r)
		return r;
	struct request rq = {.op = "put",
			     .method = "PUT",
			     .key = key,
			     .body = content,
			     .body_len = CONTENT_BYTES};
	request_header(&rq, S3_SUM_HEADER, sum);
	return request_send(&s3->st, &rq, &reply, call);
}

/* And are the checksums of parts put together? */
static int upload_with_sums(struct s3 *s3, const char *key, struct call *call)
{
	struct backend *be = &s3->st.be;
	struct put_opts none = {0};
	struct part part = {.number = 1, .size = CONTENT_BYTES};
	struct object obj;
	CLEANUP_FREE char *id = NULL;
	CLEANUP_CLOSE int fd = memfd_create("mastfs-probe", MFD_CLOEXEC);
	struct source src = {.fd = fd, .len = CONTENT_BYTES};
	if (fd < 0 || write(fd, content, CONTENT_BYTES) != CONTENT_BYTES)
		return errno ? -errno : -EIO;
	int r = s3_upload_begin(be, key, CONTENT_BYTES, &none, &id, call);
	if (r)
		return r;
	r = s3_upload_part(be, key, id, 0, &src, &part, call);
	if (!r)
		r = s3_upload_finish(be, key, id, &part, 1, CONTENT_BYTES, &none, &obj,
				     call);
	struct call last = probe_last_call();
	if (r)
		(void)s3_upload_abort(be, key, id, &last);
	return r;
}

/* A store that does not know CRC64NVME ignores it in silence or refuses it, so it is
 * tried.  Amazon's is known to. */
static int try_sums(struct s3 *s3, const char *key, struct call *call)
{
	int r = put_with_wrong_sum(s3, key, call);
	if (r == -EBADMSG) {
		s3->crc64 = true;
		r = upload_with_sums(s3, key, call);
		s3->crc64 = !r;
	}
	/* What the store accepted, either time, or may have. */
	if (!r || store_errno_is_transient(r))
		probe_remove(&s3->st.be, key);
	return r;
}

static int probe_sums(struct s3 *s3, struct call *call)
{
	char key[PROBE_NAME_SIZE];
	int r = probe_name(key);
	if (r)
		return r;
	s3->st.quiet = true;
	r = try_sums(s3, key, call);
	s3->st.quiet = false;
	log_debug("s3", "%s %s CRC64NVME", s3->st.be.name,
		  s3->crc64 ? "takes" : "does not take");
	/* One that was merely busy gets MD5.  That an option is wrong was said. */
	return r == -EINTR || r == -EINVAL ? r : 0;
}

int s3_probe(struct backend *be, bool writes, struct call *call)
{
	struct s3 *s3 = s3_of(be);
	bool left;
	writes = writes && be->caps & BACKEND_WRITE;
	int r = probe_bucket(s3, writes, &left, call);
	if (r || !writes)
		return r;
	r = s3->crc64 ? 0 : probe_sums(s3, call);
	if (!r)
		r = probe_writes(&s3->st, WRONG_ETAG, call);
	if (!r && left && be->caps & BACKEND_WRITE)
		probe_sweep(&s3->st, call);
	return r;
}
