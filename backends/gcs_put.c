/* gcs_put.c - one object from bytes: small ones in one request, larger ones by a
 * resumable session, which goes on where an interruption left it.
 *
 * The checksum goes out before the bytes, so the store refuses what arrives damaged;
 * what it says of the object in the end is compared all the same (P2).  A session's
 * precondition is fixed when it begins and decides when it ends (P5).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/crc.h"
#include "backends/crypto.h"
#include "backends/gcs_request.h"
#include "backends/sums.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

enum {
	STALLS_MAX = 3,		  /* rounds of a session without progress */
	PERMANENT_REDIRECT = 308, /* of a session: send the rest */
	CLIENT_CLOSED = 499,	  /* of a session: it is cancelled */
	CANCEL_MS = 5000,
};

/* An object on its way. */
struct sending {
	struct gcs *gcs;
	const char *op, *key;
	const struct source *src;
	const struct cond *cond;
	struct gcs_new resource;
	uint32_t crc32c;
};

/* Is what the store made what was sent?  Else -EBADE. */
static int check_made(const struct sending *s, const struct request *rq,
		      const struct http_reply *reply, struct gcs_object *ret)
{
	struct gcs_object o;
	int r = gcs_object_of(s->gcs, rq, reply, &o);
	if (r)
		return r;
	if (o.obj.size != s->src->len || !o.has_crc32c || o.crc32c != s->crc32c)
		return request_log(&s->gcs->st, rq, -EBADE,
				   "the object is not what was sent", reply);
	*ret = o;
	return 0;
}

/* "/upload/storage/v1/b/BUCKET/o" */
static int add_upload_path(const struct gcs *gcs, struct buf *ret)
{
	buf_adds(ret, "/upload");
	return gcs_add_path(gcs, NULL, ret);
}

/* --- in one request --- */

static int add_bytes(struct buf *out, const struct source *src)
{
	char piece[16 * 1024];
	for (uint64_t done = 0; done < src->len;) {
		uint64_t left = src->len - done;
		size_t want = left < sizeof piece ? (size_t)left : sizeof piece;
		ssize_t n = pread(src->fd, piece, want, (off_t)(src->off + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		buf_add(out, piece, (size_t)n);
		done += (uint64_t)n;
	}
	return buf_error(out);
}

/* Random, because it must not occur in the bytes. */
static int make_boundary(char ret[static 40])
{
	uint8_t random[16];
	char hex[2 * sizeof random + 1];
	int r = crypto_random(random, sizeof random);
	if (r)
		return r;
	hex_encode(random, sizeof random, hex);
	(void)snprintf(ret, 40, "mastfs%s", hex);
	return 0;
}

static int make_body(const struct sending *s, const char *boundary, struct buf *body)
{
	buf_addf(body, "--%s\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n",
		 boundary);
	int r = gcs_add_resource(body, &s->resource);
	if (r)
		return r;
	buf_addf(body, "\r\n--%s\r\nContent-Type: %s\r\n\r\n", boundary,
		 s->resource.is_dir ? "application/x-directory"
				    : "application/octet-stream");
	r = add_bytes(body, s->src);
	buf_addf(body, "\r\n--%s--\r\n", boundary);
	return r ? r : buf_error(body);
}

static int send_at_once(const struct sending *s, struct gcs_object *ret,
			struct call *call)
{
	CLEANUP_BUF struct buf path, body;
	CLEANUP_REPLY struct http_reply reply;
	char boundary[40], type[80];
	http_reply_init(&reply);
	buf_init(&path, GCS_PATH_MAX);
	buf_init(&body, (size_t)s->src->len + GCS_JSON_MAX);
	int r = add_upload_path(s->gcs, &path);
	if (!r)
		r = make_boundary(boundary);
	if (!r)
		r = make_body(s, boundary, &body);
	if (r)
		return r;
	(void)snprintf(type, sizeof type, "multipart/related; boundary=%s", boundary);
	struct request rq = {.op = s->op,
			     .method = "POST",
			     .key = s->key,
			     .target = path.data,
			     .body = body.data,
			     .body_len = body.len};
	request_param(&rq, "uploadType", "multipart");
	request_header(&rq, "content-type", type);
	gcs_add_cond(&rq, s->cond);
	r = request_send(&s->gcs->st, &rq, &reply, call);
	return r ? r : check_made(s, &rq, &reply, ret);
}

/* --- by a session --- */

/* Of the address of a session only what follows the host: it is sent to our own. */
static int session_of(const struct http_reply *reply, struct buf *ret)
{
	const char *at = http_header(reply, "location");
	const char *host = at ? strstr(at, "://") : NULL;
	if (host)
		at = strchr(host + 3, '/');
	if (!at || *at != '/' || !strchr(at, '?'))
		return -EBADMSG;
	for (const char *p = at; *p; p++)
		if (*p <= ' ' || *p > '~')
			return -EBADMSG;
	buf_adds(ret, at);
	return buf_error_or(ret, -EBADMSG);
}

static int begin_session(const struct sending *s, struct buf *ret, struct call *call)
{
	CLEANUP_BUF struct buf path, body;
	CLEANUP_REPLY struct http_reply reply;
	char length[24];
	http_reply_init(&reply);
	buf_init(&path, GCS_PATH_MAX);
	buf_init(&body, GCS_JSON_MAX);
	int r = add_upload_path(s->gcs, &path);
	if (!r)
		r = gcs_add_resource(&body, &s->resource);
	if (r)
		return r;
	(void)snprintf(length, sizeof length, "%" PRIu64, s->src->len);
	struct request rq = {.op = s->op,
			     .method = "POST",
			     .key = s->key,
			     .target = path.data,
			     .body = body.data,
			     .body_len = body.len};
	request_param(&rq, "uploadType", "resumable");
	request_header(&rq, "content-type", "application/json; charset=UTF-8");
	request_header(&rq, "x-upload-content-type", "application/octet-stream");
	request_header(&rq, "x-upload-content-length", length);
	gcs_add_cond(&rq, s->cond);
	r = request_send(&s->gcs->st, &rq, &reply, call);
	if (r)
		return r;
	r = session_of(&reply, ret);
	return r ? request_log(&s->gcs->st, &rq, r == -ENOMEM ? r : -EREMOTEIO,
			       "no session in the answer", &reply)
		 : 0;
}

/* What a 308 says that it has: "bytes=0-N", or nothing. */
static int stored_of(const struct http_reply *reply, uint64_t total, uint64_t *ret)
{
	const char *range = http_header(reply, "range");
	uint64_t last;
	if (!range) {
		*ret = 0;
		return 0;
	}
	if (strncmp(range, "bytes=0-", 8) || http_parse_u64(range + 8, &last) ||
	    last >= total)
		return -EBADMSG;
	*ret = last + 1;
	return 0;
}

/* Send [*off, total) to the session, or with *off == total ask how far it is.  0: done,
 * *ret is the object.  1: not yet, *off is where it goes on. */
static int continue_session(const struct sending *s, const char *session, bool ask,
			    uint64_t *off, struct gcs_object *ret, struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	uint64_t total = s->src->len;
	struct source rest = {
		.fd = s->src->fd, .off = s->src->off + *off, .len = total - *off};
	char range[80];
	http_reply_init(&reply);
	if (ask)
		(void)snprintf(range, sizeof range, "bytes */%" PRIu64, total);
	else
		(void)snprintf(range, sizeof range,
			       "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, *off, total - 1,
			       total);
	struct request rq = {.op = s->op,
			     .method = "PUT",
			     .key = s->key,
			     .target = session,
			     .source = ask ? NULL : &rest,
			     .also = PERMANENT_REDIRECT,
			     .on_404 = -ENXIO,
			     .on_412 = s->cond->if_absent ? -EEXIST : -ESTALE};
	request_header(&rq, "content-range", range);
	int r = request_send(&s->gcs->st, &rq, &reply, call);
	if (r)
		return r;
	if (reply.status != PERMANENT_REDIRECT)
		return check_made(s, &rq, &reply, ret);
	r = stored_of(&reply, total, off);
	return r ? request_log(&s->gcs->st, &rq, r, "the session is elsewhere", &reply)
		 : 1;
}

/* Where that can be hoped for.  It would leave nothing that anybody sees, and be gone a
 * week later. */
static void cancel_session(const struct sending *s, const char *session)
{
	CLEANUP_REPLY struct http_reply reply;
	struct call call = {.deadline_ns =
				    clock_add(clock_now_ns(), CANCEL_MS * NS_PER_MS)};
	http_reply_init(&reply);
	struct request rq = {.op = "cancel",
			     .method = "DELETE",
			     .key = s->key,
			     .target = session,
			     .also = CLIENT_CLOSED,
			     .quiet = true};
	(void)request_send(&s->gcs->st, &rq, &reply, &call);
}

/* After an answer that was lost, the session is asked how far it came: it may be
 * complete, and then it tells of the object.  That it cannot be asked either, or that
 * there is no such session any more, is for the retry wrapper, which begins another. */
static int run_session(const struct sending *s, const char *session,
		       struct gcs_object *ret, struct call *call)
{
	uint64_t off = 0;
	bool ask = false;
	for (int stalls = 0; stalls < STALLS_MAX;) {
		uint64_t before = off;
		int r = continue_session(s, session, ask, &off, ret, call);
		bool lost = r < 0 && !ask && store_errno_is_transient(r) && r != -EBADMSG;
		if (r != 1 && !lost)
			return r;
		ask = lost || off == s->src->len;
		stalls = off > before ? 0 : stalls + 1;
	}
	return -ECOMM;
}

static int send_by_session(const struct sending *s, struct gcs_object *ret,
			   struct call *call)
{
	CLEANUP_BUF struct buf session;
	buf_init(&session, GCS_PATH_MAX);
	int r = begin_session(s, &session, call);
	if (r)
		return r;
	r = run_session(s, session.data, ret, call);
	if (store_errno_is_refusal(r) || r == -EBADMSG || r == -EINVAL || r == -EINTR)
		cancel_session(s, session.data);
	return r == -ENXIO ? -EREMOTEIO : r;
}

/* --- both --- */

int gcs_send_object(struct gcs *gcs, const char *op, const char *key,
		    const struct source *src, struct gcs_new resource,
		    struct gcs_object *ret, struct call *call)
{
	CLEANUP_BUF struct buf full;
	struct sums sums = {.want_crc32c = true};
	buf_init(&full, (size_t)2 * STORE_KEY_MAX + 1);
	struct sending s = {.gcs = gcs,
			    .op = op,
			    .key = key,
			    .src = src,
			    .cond = &resource.opts->cond,
			    .resource = resource};
	int r = store_full_key(&gcs->st, key, &full);
	if (!r)
		r = sums_of_source(src, &sums);
	if (r)
		return r;
	s.crc32c = sums.crc32c;
	s.resource.name = full.data;
	s.resource.crc32c = &s.crc32c;
	return src->len <= gcs->one_request_max ? send_at_once(&s, ret, call)
						: send_by_session(&s, ret, call);
}

int gcs_put(struct backend *be, const char *key, const struct source *src,
	    const struct put_opts *opts, struct object *ret, struct call *call)
{
	struct gcs *gcs = gcs_of(be);
	struct gcs_object o;
	if (gcs_is_hidden(key))
		return -EILSEQ;
	int r = gcs_send_object(gcs, "put", key, src, gcs_new_for(gcs, key, opts), &o,
				call);
	if (!r)
		*ret = o.obj;
	return r;
}
