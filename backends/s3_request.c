/* s3_request.c - see s3_request.h. */
#include "backends/s3_request.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/date.h"
#include "backends/s3_error.h"
#include "backends/sums.h"
#include "backends/xml.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

static int text_of(const void *bytes, size_t n, char ret[static 64])
{
	CLEANUP_BUF struct buf text;
	buf_init(&text, 64);
	base64_encode(&text, bytes, n);
	if (!buf_error(&text))
		(void)snprintf(ret, 64, "%s", text.data);
	return buf_error(&text);
}

int s3_sum_text(uint64_t crc, char ret[static S3_SUM_SIZE])
{
	uint8_t bytes[8];
	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(crc >> (56 - 8 * i));
	return text_of(bytes, sizeof bytes, ret);
}

int s3_sum_parse(const char *text, uint64_t *ret)
{
	CLEANUP_BUF struct buf bytes;
	buf_init(&bytes, S3_SUM_SIZE);
	if (base64_decode(&bytes, text, strlen(text)) || bytes.len != 8)
		return -EBADMSG;
	uint64_t crc = 0;
	for (int i = 0; i < 8; i++)
		crc = crc << 8 | (uint8_t)bytes.data[i];
	*ret = crc;
	return 0;
}

static int prove_source(const struct source *src, struct sums *s, struct proof *ret)
{
	int r = sums_of_source(src, s);
	if (!r && s->want_crc64nvme) {
		ret->name = S3_SUM_HEADER;
		r = s3_sum_text(s->crc64nvme, ret->value);
	}
	if (!r && s->want_md5) {
		ret->name = "content-md5";
		r = text_of(s->md5, sizeof s->md5, ret->value);
	}
	if (!r && s->want_sha256)
		hex_encode(s->sha256, sizeof s->sha256, ret->sha256);
	return r;
}

/* A checksum for the server to verify comes with every body.  Over http the signature
 * covers it as well, over https TLS does.  Small bodies are always signed. */
static int prove(struct store *st, const struct request *rq, struct proof *ret)
{
	const struct s3 *s3 = s3_of(&st->be);
	uint8_t hash[SHA256_BYTES];
	bool https = !*s3->endpoint.host || s3->endpoint.https;
	(void)snprintf(ret->sha256, sizeof ret->sha256, "%s", SIGN_UNSIGNED);
	if (!rq->source) {
		int r = crypto_sha256(rq->body ? rq->body : "", rq->body_len, hash);
		if (!r)
			hex_encode(hash, sizeof hash, ret->sha256);
		return r;
	}
	struct sums sums = {.want_sha256 = !https,
			    .want_crc64nvme = s3->crc64,
			    .want_md5 = !s3->crc64};
	int r = prove_source(rq->source, &sums, ret);
	if (r != -ENOTSUP)
		return r;
	/* a FIPS host has no MD5 */
	sums = (struct sums){.want_sha256 = true};
	return prove_source(rq->source, &sums, ret);
}

static int make_url(const struct s3 *s3, const struct request *rq, struct attempt *a)
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
		buf_init(&full, (size_t)2 * STORE_KEY_MAX + 1);
		int r = store_full_key(&s3->st, rq->key, &full);
		if (r)
			return r;
		url_encode(&a->path, full.data, full.len, true);
	}
	struct url_param params[REQUEST_PARAMS_MAX];
	memcpy(params, rq->params, sizeof params);
	url_add_query(&a->query, params, rq->n_params);
	buf_addf(&a->url, "%s://%s%s%s%s",
		 amazon || s3->endpoint.https ? "https" : "http", a->host.data,
		 a->path.data, a->query.len ? "?" : "", a->query.data);
	return attempt_url_error(a);
}

/* The derived key, from the last time if nothing changed. */
static int get_key(struct s3 *s3, const struct attempt *a, struct sign_key *ret)
{
	{
		SCOPED_LOCK(&s3->st.lock);
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
	SCOPED_LOCK(&s3->st.lock);
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

static int sign(struct s3 *s3, const struct request *rq, const struct proof *proof,
		struct attempt *a)
{
	struct sign_header headers[ATTEMPT_HEADERS_MAX];
	struct sign_key key;
	attempt_header(a, "x-amz-date", a->date);
	attempt_header(a, "x-amz-content-sha256", proof->sha256);
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
		.payload_hash = proof->sha256,
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

static int make(struct store *st, const struct request *rq, const struct proof *proof,
		struct attempt *a)
{
	struct s3 *s3 = s3_of(&st->be);
	{
		SCOPED_LOCK(&st->lock);
		memcpy(a->region, s3->region, sizeof a->region);
	}
	date_format_amz(a->now_ns, a->date);
	int r = make_url(s3, rq, a);
	if (r)
		return r;
	attempt_header(a, "host", a->host.data);
	if (s3->requester_pays)
		attempt_header(a, "x-amz-request-payer", "requester");
	return st->creds ? sign(s3, rq, proof, a) : 0;
}

/* The bucket lives elsewhere: believe it once.  Another request may have found it out
 * since, and this one has only to go there. */
static bool moved(struct store *st, const struct attempt *a, const struct store_error *e)
{
	struct s3 *s3 = s3_of(&st->be);
	bool wrong_place = e->status == 400 || (e->status >= 300 && e->status < 400);
	if (!wrong_place || !*e->region || !strcmp(a->region, e->region))
		return false;
	SCOPED_LOCK(&st->lock);
	if (!strcmp(s3->region, e->region))
		return true;
	log_info("s3", "bucket %s is in region %s, not %s", s3->bucket, e->region,
		 s3->region);
	(void)snprintf(s3->region, sizeof s3->region, "%s", e->region);
	return true;
}

static const char *region(const struct store *st)
{
	return ((const struct s3 *)st)->region;
}

static bool untagged(const struct store *st)
{
	return ((const struct s3 *)st)->tags_refused;
}

const struct dialect s3_dialect = {
	.log = "s3",
	.prove = prove,
	.make = make,
	.parse = s3_error_parse,
	.error = s3_errno,
	.expired = s3_keys_expired,
	.moved = moved,
	.region = region,
	.untagged = untagged,
};

int s3_expect_xml(struct s3 *s3, const struct request *rq, const struct http_reply *reply,
		  const char *root)
{
	struct store_error e;
	int r = xml_root_is(reply->body.data, reply->body.len, root);
	if (!r)
		return 0;
	int parsed = r == -ENOENT ? s3_error_parse(reply, &e) : r;
	if (!parsed && *e.code) {
		/* As if it had come with the status that belongs to it. */
		e.status = 500;
		return request_fail(&s3->st, rq, &e, reply);
	}
	return request_log(&s3->st, rq, parsed == -ENOMEM ? parsed : -EREMOTEIO,
			   "a 200 without the answer", reply);
}
