/* s3_request.c - see s3_request.h. */
#include "backends/s3_request.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/crc.h"
#include "backends/date.h"
#include "backends/retry.h"
#include "backends/s3_error.h"
#include "backends/xml.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum {
	ALL_HEADERS_MAX = S3_HEADERS_MAX + 8,
	URL_MAX_BYTES = 16 * 1024, /* a key of 1024 bytes is 3072 encoded; tokens */
	READ_BYTES = 256 * 1024,
	SKEW_FROM_S = 4 * 60, /* a clock off by less is not what was refused */
};

void s3_param(struct s3_request *rq, const char *name, const char *value)
{
	assert(rq->n_params < S3_PARAMS_MAX);
	rq->params[rq->n_params++] = (struct url_param){name, value};
}

void s3_header(struct s3_request *rq, const char *name, const char *value)
{
	if (!value)
		return;
	assert(rq->n_headers < S3_HEADERS_MAX);
	rq->headers[rq->n_headers++] = (struct http_header){name, value};
}

int s3_full_key(const struct s3 *s3, const char *key, struct buf *ret)
{
	size_t before = ret->len;
	buf_adds(ret, s3->prefix);
	buf_adds(ret, key);
	if (buf_error(ret))
		return buf_error(ret);
	return ret->len - before > S3_KEY_MAX ? -ENAMETOOLONG : 0;
}

/* What proves the body to the server, computed once for all tries. */
struct payload {
	char sha256[SHA256_HEX_SIZE + 1]; /* or SIGN_UNSIGNED; goes into the signature */
	struct buf check;		  /* value of check_name, or empty */
	const char *check_name;
};

struct sums {
	struct digest *digest; /* may be NULL */
	uint64_t crc;
	bool with_crc;
};

static int sum_source(const struct source *src, struct sums *sums)
{
	CLEANUP_FREE char *piece = malloc(READ_BYTES);
	if (!piece)
		return -ENOMEM;
	for (uint64_t done = 0; done < src->len;) {
		uint64_t left = src->len - done;
		size_t want = left < READ_BYTES ? (size_t)left : READ_BYTES;
		ssize_t n = pread(src->fd, piece, want, (off_t)(src->off + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		int r = sums->digest ? digest_add(sums->digest, piece, (size_t)n) : 0;
		if (r)
			return r;
		if (sums->with_crc)
			sums->crc = crc64nvme(sums->crc, piece, (size_t)n);
		done += (uint64_t)n;
	}
	return 0;
}

static int sum_to_payload(const struct source *src, enum digest_kind kind, bool with_crc,
			  bool with_digest, struct payload *ret)
{
	CLEANUP_DIGEST struct digest *digest = NULL;
	uint8_t hash[DIGEST_BYTES_MAX], crc[8];
	int r = with_digest ? digest_new(kind, &digest) : 0;
	if (r)
		return r;
	struct sums sums = {.digest = digest, .with_crc = with_crc};
	r = sum_source(src, &sums);
	if (!r && digest)
		r = digest_end(digest, hash);
	if (r)
		return r;
	if (with_crc) {
		for (int i = 0; i < 8; i++)
			crc[i] = (uint8_t)(sums.crc >> (56 - 8 * i));
		ret->check_name = "x-amz-checksum-crc64nvme";
		base64_encode(&ret->check, crc, sizeof crc);
	} else if (kind == DIGEST_MD5) {
		ret->check_name = "content-md5";
		base64_encode(&ret->check, hash, MD5_BYTES);
	}
	if (with_digest && kind == DIGEST_SHA256)
		hex_encode(hash, SHA256_BYTES, ret->sha256);
	else
		(void)snprintf(ret->sha256, sizeof ret->sha256, "%s", SIGN_UNSIGNED);
	return buf_error(&ret->check);
}

/* Over http the signature covers the body.  Over https TLS does, and a checksum
 * for the server to verify is enough.  Small bodies are always signed. */
static int make_payload(const struct s3 *s3, const struct s3_request *rq,
			struct payload *ret)
{
	uint8_t hash[SHA256_BYTES];
	bool https = !*s3->endpoint.host || s3->endpoint.https;
	if (!rq->source) {
		int r = crypto_sha256(rq->body ? rq->body : "", rq->body_len, hash);
		if (!r)
			hex_encode(hash, sizeof hash, ret->sha256);
		return r;
	}
	if (!https || s3->crc64)
		return sum_to_payload(rq->source, DIGEST_SHA256, s3->crc64, !https, ret);
	int r = sum_to_payload(rq->source, DIGEST_MD5, false, true, ret);
	if (r == -ENOTSUP) /* a FIPS host has no MD5 */
		r = sum_to_payload(rq->source, DIGEST_SHA256, false, true, ret);
	return r;
}

/* Everything that is sent, for one try. */
struct attempt {
	struct buf host, path, query, url, auth;
	char date[DATE_AMZ_SIZE];
	char region[S3_REGION_SIZE];
	struct cred cred;
	struct http_header headers[ALL_HEADERS_MAX];
	size_t n_headers;
};

static void attempt_init(struct attempt *a)
{
	*a = (struct attempt){0};
	buf_init(&a->host, 512);
	buf_init(&a->path, URL_MAX_BYTES);
	buf_init(&a->query, URL_MAX_BYTES);
	buf_init(&a->url, (size_t)2 * URL_MAX_BYTES + 1024);
	buf_init(&a->auth, 4096);
}

static void attempt_done(struct attempt *a)
{
	buf_done(&a->host);
	buf_done(&a->path);
	buf_done(&a->query);
	buf_done(&a->url);
	buf_done(&a->auth);
	cred_done(&a->cred);
}

static void attempt_header(struct attempt *a, const char *name, const char *value)
{
	assert(a->n_headers < ALL_HEADERS_MAX);
	a->headers[a->n_headers++] = (struct http_header){name, value};
}

static int make_url(const struct s3 *s3, const struct s3_request *rq, struct attempt *a)
{
	bool amazon = !*s3->endpoint.host;
	if (s3->virtual_host)
		buf_addf(&a->host, "%s.", s3->bucket);
	if (amazon)
		buf_addf(&a->host, "s3.%s.amazonaws.com%s", a->region,
			 strncmp(a->region, "cn-", 3) ? "" : ".cn");
	else
		url_add_host(&a->host, &s3->endpoint);
	buf_addc(&a->path, '/');
	if (!s3->virtual_host) {
		url_encode(&a->path, s3->bucket, strlen(s3->bucket), false);
		if (rq->key)
			buf_addc(&a->path, '/');
	}
	if (rq->key) {
		CLEANUP_BUF struct buf full;
		buf_init(&full, (size_t)2 * S3_KEY_MAX + 1);
		int r = s3_full_key(s3, rq->key, &full);
		if (r)
			return r == -EMSGSIZE ? -ENAMETOOLONG : r;
		url_encode(&a->path, full.data, full.len, true);
	}
	struct url_param params[S3_PARAMS_MAX];
	memcpy(params, rq->params, sizeof params);
	url_add_query(&a->query, params, rq->n_params);
	buf_addf(&a->url, "%s://%s%s%s%s",
		 amazon || s3->endpoint.https ? "https" : "http", a->host.data,
		 a->path.data, a->query.len ? "?" : "", a->query.data);
	if (buf_error(&a->host) || buf_error(&a->path) || buf_error(&a->query))
		return -ENAMETOOLONG;
	return buf_error(&a->url);
}

/* The derived key, from the last time if nothing changed. */
static int get_key(struct s3 *s3, const struct attempt *a, struct sign_key *ret)
{
	{
		SCOPED_LOCK(&s3->lock);
		if (s3->key_generation == a->cred.generation &&
		    !strncmp(s3->key_day, a->date, 8) &&
		    !strcmp(s3->key_region, a->region)) {
			*ret = s3->key;
			return 0;
		}
	}
	int r = sign_key_derive(&a->cred.secret, a->date, a->region, "s3", ret);
	if (r)
		return r;
	SCOPED_LOCK(&s3->lock);
	s3->key = *ret;
	s3->key_generation = a->cred.generation;
	(void)snprintf(s3->key_day, sizeof s3->key_day, "%.8s", a->date);
	memcpy(s3->key_region, a->region, sizeof s3->key_region);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct http_header *ha = a, *hb = b;
	return strcmp(ha->name, hb->name);
}

static int sign(struct s3 *s3, const struct s3_request *rq, const struct payload *payload,
		struct attempt *a)
{
	struct sign_header headers[ALL_HEADERS_MAX];
	struct sign_key key;
	attempt_header(a, "x-amz-date", a->date);
	attempt_header(a, "x-amz-content-sha256", payload->sha256);
	if (a->cred.token.len)
		attempt_header(a, "x-amz-security-token", a->cred.token.bytes);
	qsort(a->headers, a->n_headers, sizeof *a->headers, by_name);
	for (size_t i = 0; i < a->n_headers; i++)
		headers[i] =
			(struct sign_header){a->headers[i].name, a->headers[i].value};
	struct sign_request to_sign = {
		.method = rq->method,
		.path = a->path.data,
		.query = a->query.data,
		.headers = headers,
		.n_headers = a->n_headers,
		.payload_hash = payload->sha256,
		.date = a->date,
		.region = a->region,
		.service = "s3",
		.access_key = a->cred.access_key,
	};
	int r = get_key(s3, a, &key);
	if (!r)
		r = sign_v4(&key, &to_sign, &a->auth);
	crypto_wipe(&key, sizeof key);
	if (!r)
		attempt_header(a, "authorization", a->auth.data);
	return r;
}

static int make_attempt(struct s3 *s3, const struct s3_request *rq,
			const struct payload *payload, uint64_t stale, struct attempt *a,
			struct call *call)
{
	{
		SCOPED_LOCK(&s3->lock);
		memcpy(a->region, s3->region, sizeof a->region);
		date_format_amz(clock_wall_ns() + s3->skew_ns, a->date);
	}
	int r = make_url(s3, rq, a);
	if (r)
		return r;
	for (size_t i = 0; i < rq->n_headers; i++)
		attempt_header(a, rq->headers[i].name, rq->headers[i].value);
	attempt_header(a, "host", a->host.data);
	if (payload->check.len)
		attempt_header(a, payload->check_name, payload->check.data);
	if (!s3->creds)
		return 0;
	r = creds_get(s3->creds, stale, &a->cred, call);
	return r ? r : sign(s3, rq, payload, a);
}

/* The bucket lives elsewhere: believe it once. */
static bool mend_region(struct s3 *s3, const struct s3_error *e)
{
	if (!*e->region)
		return false;
	SCOPED_LOCK(&s3->lock);
	if (!strcmp(s3->region, e->region))
		return false;
	log_info("s3", "bucket %s is in region %s, not %s", s3->bucket, e->region,
		 s3->region);
	(void)snprintf(s3->region, sizeof s3->region, "%s", e->region);
	return true;
}

static bool mend_clock(struct s3 *s3, const struct http_reply *reply)
{
	const char *date = http_header(reply, "date");
	int64_t server_ns;
	if (!date || date_parse_http(date, &server_ns))
		return false;
	SCOPED_LOCK(&s3->lock);
	int64_t skew_ns = server_ns - clock_wall_ns();
	int64_t off_ns = skew_ns - s3->skew_ns;
	int64_t limit_ns = (int64_t)SKEW_FROM_S * (int64_t)NS_PER_S;
	if (off_ns < limit_ns && off_ns > -limit_ns)
		return false;
	log_warn("s3", "the clock of %s is %" PRId64 " s from ours: signing by its",
		 s3->be.name, skew_ns / (int64_t)NS_PER_S);
	s3->skew_ns = skew_ns;
	return true;
}

/* What has been tried, so that each is tried once. */
struct mended {
	bool region, clock, keys;
	uint64_t stale; /* generation of keys that were refused */
};

/* May asking again help? */
static bool mend(struct s3 *s3, const struct s3_error *e, const struct http_reply *reply,
		 const struct attempt *a, struct mended *done)
{
	bool wrong_place = e->status == 400 || (e->status >= 300 && e->status < 400);
	if (wrong_place && !done->region && mend_region(s3, e))
		return done->region = true;
	bool refused = e->status == 403 || !strcmp(e->code, "RequestTimeTooSkewed");
	if (s3->creds && refused && !done->clock && mend_clock(s3, reply))
		return done->clock = true;
	if (s3->creds && !done->keys && a->cred.token.len && s3_keys_expired(e)) {
		done->stale = a->cred.generation;
		return done->keys = true;
	}
	return false;
}

int s3_log_failure(const struct s3 *s3, const struct s3_request *rq, int error,
		   const char *cause, const struct http_reply *reply)
{
	enum log_level level =
		rq->quiet || s3_errno_is_expected(error) || s3_errno_is_transient(error)
			? LOG_LEVEL_DEBUG
			: LOG_LEVEL_ERROR;
	char range[64] = "";
	if (rq->len)
		(void)snprintf(range, sizeof range, " [%" PRIu64 ",+%" PRIu64 ")",
			       rq->off, rq->len);
	log_line(level, "s3", "%s s3://%s%s%s%s%s: %s (request id %s)", rq->op,
		 s3->bucket, rq->key ? "/" : "", rq->key ? s3->prefix : "",
		 rq->key ? rq->key : "", range, cause, http_request_id(reply));
	return error;
}

static void hint_retry_after(const struct http_reply *reply)
{
	uint64_t ms;
	const char *exact = http_header(reply, "x-amz-retry-after");
	const char *seconds = http_header(reply, "retry-after");
	if (exact && !http_parse_u64(exact, &ms))
		retry_after_hint(ms);
	else if (seconds && !http_parse_u64(seconds, &ms) && ms < UINT32_MAX)
		retry_after_hint(ms * 1000);
}

/* The one place where an answer of the store becomes an errno. */
static int fail(const struct s3 *s3, const struct s3_request *rq,
		const struct s3_error *e, const struct http_reply *reply)
{
	char cause[384];
	int error = s3_errno(e);
	if (error == -ENOENT && rq->on_404)
		error = rq->on_404;
	else if (error == -ESTALE && rq->on_412)
		error = rq->on_412;
	if (error == -EBUSY)
		hint_retry_after(reply);
	(void)snprintf(cause, sizeof cause, "%d %s%s%s", e->status, e->code,
		       *e->message ? ": " : "", e->message);
	return s3_log_failure(s3, rq, error, cause, reply);
}

static int send_once(struct s3 *s3, const struct s3_request *rq, const struct attempt *a,
		     struct http_reply *reply, struct call *call)
{
	struct http_request hrq = {
		.method = rq->method,
		.url = a->url.data,
		.headers = a->headers,
		.n_headers = a->n_headers,
		.source = rq->source,
		.body = rq->body,
		.body_len = rq->body_len,
		.accept = rq->accept,
		.sink = rq->sink,
		.arg = rq->arg,
		.sink_off = rq->off,
		.expect = rq->len ? rq->len : HTTP_UNKNOWN,
		.body_max = S3_XML_MAX,
		.stall_ms = rq->slow ? S3_SLOW_MS : 0,
	};
	int r = http_send(s3->http, &hrq, reply, call);
	return r ? s3_log_failure(s3, rq, r, reply->cause, reply) : 0;
}

/* One try.  1: what was wrong is mended, ask again. */
static int try(struct s3 *s3, const struct s3_request *rq, const struct payload *payload,
	       struct mended *mended, struct http_reply *reply, struct call *call)
{
	struct attempt a;
	struct s3_error e;
	attempt_init(&a);
	int r = make_attempt(s3, rq, payload, mended->stale, &a, call);
	if (!r && mended->stale && a.cred.generation == mended->stale)
		r = s3_log_failure(s3, rq, -EACCES, "the credentials have expired",
				   reply);
	else if (!r)
		r = send_once(s3, rq, &a, reply, call);
	if (!r && (reply->status < 200 || reply->status >= 300)) {
		s3_error_parse(reply, &e);
		r = mend(s3, &e, reply, &a, mended) ? 1 : fail(s3, rq, &e, reply);
	}
	attempt_done(&a);
	return r;
}

int s3_send(struct s3 *s3, const struct s3_request *rq, struct http_reply *reply,
	    struct call *call)
{
	struct payload payload = {0};
	struct mended mended = {0};
	buf_init(&payload.check, 64);
	int r = make_payload(s3, rq, &payload);
	if (r)
		(void)s3_log_failure(s3, rq, r, strerror(-r), reply);
	else
		do
			r = try(s3, rq, &payload, &mended, reply, call);
		while (r == 1);
	buf_done(&payload.check);
	return r;
}

int s3_expect_xml(struct s3 *s3, const struct s3_request *rq,
		  const struct http_reply *reply, const char *root)
{
	struct s3_error e;
	int r = xml_root_is(reply->body.data, reply->body.len, root);
	if (!r)
		return 0;
	s3_error_parse(reply, &e);
	if (r == -ENOENT && *e.code) {
		/* As if it had come with the status that belongs to it. */
		e.status = 500;
		return fail(s3, rq, &e, reply);
	}
	return s3_log_failure(s3, rq, r == -ENOMEM ? r : -EREMOTEIO,
			      "a 200 without the answer", reply);
}
