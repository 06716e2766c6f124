/* azure_request.c - how Azure is spoken to: addresses, headers, authorisation.  See
 * azure_store.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "backends/azure_sign.h"
#include "backends/azure_store.h"
#include "backends/crc.h"
#include "backends/sums.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

/* The newest that has everything that is used here, and that every emulator knows. */
#define API_VERSION "2021-12-02"

static int text_of(const uint8_t *bytes, size_t n, char ret[static 64])
{
	CLEANUP_BUF struct buf text;
	buf_init(&text, 63);
	base64_encode(&text, bytes, n);
	(void)snprintf(ret, 64, "%s", text.data);
	return buf_error(&text);
}

/* Azure's CRC64 is Amazon's, written the other way round. */
static int prove_crc64(uint64_t crc, struct proof *ret)
{
	uint8_t bytes[8];
	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(crc >> (8 * i));
	ret->name = "x-ms-content-crc64";
	return text_of(bytes, sizeof bytes, ret->value);
}

static int prove(struct store *st, const struct request *rq, struct proof *ret)
{
	uint8_t md5[MD5_BYTES];
	struct sums sums = {.want_md5 = true};
	(void)st;
	if (!rq->source && !rq->body_len)
		return 0;
	int r = rq->source ? sums_of_source(rq->source, &sums)
			   : crypto_md5(rq->body, rq->body_len, md5);
	if (!r) {
		ret->name = "content-md5";
		return text_of(rq->source ? sums.md5 : md5, MD5_BYTES, ret->value);
	}
	if (r != -ENOTSUP)
		return r;
	/* a FIPS host has no MD5 */
	if (!rq->source)
		return prove_crc64(crc64nvme(0, rq->body, rq->body_len), ret);
	sums = (struct sums){.want_crc64nvme = true};
	r = sums_of_source(rq->source, &sums);
	return r ? r : prove_crc64(sums.crc64nvme, ret);
}

/* No blob can have it, or the server would make another key of it: it resolves dots,
 * takes '\' for '/', and drops a dot at the end (the emulator keeps it). */
static bool is_impossible(const struct azure *az, const char *key)
{
	for (const char *s = key;; s++) {
		size_t n = strcspn(s, "/");
		if ((n == 1 && *s == '.') || (n == 2 && !strncmp(s, "..", 2)))
			return true;
		if (n && s[n - 1] == '.' && !*az->at.path)
			return true;
		s += n;
		if (!*s)
			break;
	}
	return strchr(key, '\\');
}

/* No XML can hold it as it stands: a listing with it in it is a riddle to most programs,
 * and the emulator has none at all.  So no such name is made here. */
static bool is_unlistable(const char *key)
{
	for (const char *s = key; *s; s++)
		if (*s > 0 && *s < ' ' && *s != '\t' && *s != '\n')
			return true;
	return strstr(key, "\xef\xbf\xbe") || strstr(key, "\xef\xbf\xbf");
}

int azure_add_path(const struct azure *az, const char *key, struct buf *ret)
{
	CLEANUP_BUF struct buf full;
	buf_init(&full, (size_t)2 * STORE_KEY_MAX);
	buf_addf(ret, "%s/%s", az->at.path, az->at.container);
	if (!key)
		return buf_error(ret);
	int r = store_full_key(&az->st, key, &full);
	if (r)
		return r;
	if (is_impossible(az, full.data))
		return -EILSEQ;
	buf_addc(ret, '/');
	url_encode(ret, full.data, full.len, true);
	return buf_error(ret);
}

void azure_add_origin(const struct azure *az, struct buf *ret)
{
	buf_addf(ret, "%s://", az->at.endpoint.https ? "https" : "http");
	url_add_host(ret, &az->at.endpoint);
}

/* The Data Lake service's name differs from Blob's in one label. */
static void add_lake_host(const struct azure *az, struct buf *ret)
{
	static const char blob[] = ".blob.";
	const struct endpoint *ep = &az->at.endpoint;
	const char *label = strstr(ep->host, blob);
	if (!label) {
		url_add_host(ret, ep);
		return;
	}
	struct endpoint lake = {.https = ep->https, .port = ep->port};
	(void)snprintf(lake.host, sizeof lake.host, "%.*s.dfs.%s",
		       (int)(label - ep->host), ep->host, label + sizeof blob - 1);
	url_add_host(ret, &lake);
}

static int make_url(const struct azure *az, const struct request *rq, struct attempt *a)
{
	struct url_param params[REQUEST_PARAMS_MAX];
	int r = 0;
	if (rq->key && !strcmp(rq->method, "PUT") && is_unlistable(rq->key))
		return -EILSEQ;
	if (rq->target && !strcmp(rq->target, AZURE_TARGET_LAKE))
		add_lake_host(az, &a->host);
	else
		url_add_host(&a->host, &az->at.endpoint);
	if (rq->target && !strcmp(rq->target, AZURE_TARGET_ACCOUNT))
		buf_addf(&a->path, "%s/", az->at.path);
	else
		r = azure_add_path(az, rq->key, &a->path);
	if (r)
		return r;
	memcpy(params, rq->params, sizeof params);
	url_add_query(&a->query, params, rq->n_params);
	if (a->cred.kind == CRED_SAS && a->cred.token.len)
		buf_addf(&a->query, "%s%s", a->query.len ? "&" : "", a->cred.token.bytes);
	buf_addf(&a->url, "%s://%s%s%s%s", az->at.endpoint.https ? "https" : "http",
		 a->host.data, a->path.data, a->query.len ? "?" : "", a->query.data);
	return attempt_url_error(a);
}

static int sign(const struct azure *az, const struct request *rq, struct attempt *a)
{
	struct azure_sign_request to_sign = {
		.method = rq->method,
		.account = az->at.account,
		.path = a->path.data,
		.params = rq->params,
		.n_params = rq->n_params,
		.headers = a->headers,
		.n_headers = a->n_headers,
		.length = rq->source ? rq->source->len : rq->body_len,
	};
	return azure_sign(&a->cred.secret, &to_sign, &a->auth);
}

/* The source of a copy lies in the same account, and needs the same SAS. */
static int extend_source(struct attempt *a)
{
	for (size_t i = 0; i < a->n_headers; i++) {
		struct http_header *h = &a->headers[i];
		if (strcmp(h->name, "x-ms-copy-source") != 0 &&
		    strcmp(h->name, "x-ms-rename-source") != 0)
			continue;
		buf_addf(&a->auth, "%s?%s", h->value, a->cred.token.bytes);
		h->value = a->auth.data;
	}
	return buf_error(&a->auth);
}

static int authorise(const struct azure *az, const struct request *rq, struct attempt *a)
{
	int r = 0;
	if (a->cred.kind == CRED_SAS)
		return extend_source(a);
	if (a->cred.kind == CRED_BEARER)
		buf_addf(&a->auth, "Bearer %s", a->cred.token.bytes);
	else
		r = sign(az, rq, a);
	if (!r)
		r = buf_error(&a->auth);
	if (!r)
		attempt_header(a, "authorization", a->auth.data);
	return r;
}

static int make(struct store *st, const struct request *rq, const struct proof *proof,
		struct attempt *a)
{
	const struct azure *az = azure_of(&st->be);
	uint8_t id[16];
	(void)proof;
	int r = make_url(az, rq, a);
	if (!r)
		r = crypto_random(id, sizeof id);
	if (r)
		return r;
	/* The room for a region is free: Azure has none. */
	hex_encode(id, sizeof id, a->region);
	date_format_http(a->now_ns, a->date);
	attempt_header(a, "x-ms-version", API_VERSION);
	attempt_header(a, "x-ms-date", a->date);
	attempt_header(a, "x-ms-client-request-id", a->region);
	return st->creds ? authorise(az, rq, a) : 0;
}

static bool untagged(const struct store *st)
{
	const struct azure *az = (const struct azure *)st;
	return atomic_load(&az->tags) == AZURE_TAGS_REFUSED;
}

const struct dialect azure_dialect = {
	.log = "azure",
	.prove = prove,
	.make = make,
	.parse = azure_error_parse,
	.error = azure_errno,
	.expired = azure_expired,
	.untagged = untagged,
};
