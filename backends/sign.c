/* sign.c - see sign.h.  The words (canonical request, string to sign, scope) are
 * those of Amazon's description, so that the two can be read side by side. */
#include "backends/sign.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include "backends/util/banned.h"

enum { CANONICAL_MAX = 64 * 1024 };

int sign_key_derive(const struct secret *secret, const char *date, const char *region,
		    const char *service, struct sign_key *ret)
{
	struct buf start;
	buf_init(&start, 4 + 1024);
	buf_adds(&start, "AWS4");
	buf_add(&start, secret->bytes, secret->len);
	int r = buf_error(&start);
	uint8_t *k = ret->bytes;
	if (!r)
		r = crypto_hmac_sha256(start.data, start.len, date, 8, k);
	crypto_wipe(start.data, start.len);
	buf_done(&start);
	if (!r)
		r = crypto_hmac_sha256(k, SHA256_BYTES, region, strlen(region), k);
	if (!r)
		r = crypto_hmac_sha256(k, SHA256_BYTES, service, strlen(service), k);
	if (!r)
		r = crypto_hmac_sha256(k, SHA256_BYTES, "aws4_request", 12, k);
	return r;
}

/* Without the blanks at both ends, and runs of them within as one. */
static void add_trimmed(struct buf *out, const char *s)
{
	bool blank = false, any = false;
	for (; *s; s++) {
		if (*s == ' ' || *s == '\t') {
			blank = true;
			continue;
		}
		if (blank && any)
			buf_addc(out, ' ');
		blank = false;
		any = true;
		buf_addc(out, *s);
	}
}

static void add_names(struct buf *out, const struct sign_request *rq)
{
	for (size_t i = 0; i < rq->n_headers; i++)
		buf_addf(out, "%s%s", i ? ";" : "", rq->headers[i].name);
}

static void add_canonical(struct buf *out, const struct sign_request *rq)
{
	buf_addf(out, "%s\n%s\n%s\n", rq->method, rq->path, rq->query);
	for (size_t i = 0; i < rq->n_headers; i++) {
		buf_addf(out, "%s:", rq->headers[i].name);
		add_trimmed(out, rq->headers[i].value);
		buf_addc(out, '\n');
	}
	buf_addc(out, '\n');
	add_names(out, rq);
	buf_addf(out, "\n%s", rq->payload_hash);
}

int sign_v4(const struct sign_key *key, const struct sign_request *rq, struct buf *ret)
{
	CLEANUP_BUF struct buf canonical, scope, to_sign;
	uint8_t hash[SHA256_BYTES];
	char hex[SHA256_HEX_SIZE];
	buf_init(&canonical, CANONICAL_MAX);
	buf_init(&scope, 512);
	buf_init(&to_sign, 1024);

	add_canonical(&canonical, rq);
	buf_addf(&scope, "%.8s/%s/%s/aws4_request", rq->date, rq->region, rq->service);
	if (buf_error(&canonical) || buf_error(&scope))
		return buf_error(&canonical) ? buf_error(&canonical) : buf_error(&scope);
	int r = crypto_sha256(canonical.data, canonical.len, hash);
	if (r)
		return r;
	hex_encode(hash, sizeof hash, hex);
	buf_addf(&to_sign, "AWS4-HMAC-SHA256\n%s\n%s\n%s", rq->date, scope.data, hex);
	if (buf_error(&to_sign))
		return buf_error(&to_sign);
	r = crypto_hmac_sha256(key->bytes, SHA256_BYTES, to_sign.data, to_sign.len, hash);
	if (r)
		return r;
	hex_encode(hash, sizeof hash, hex);
	buf_addf(ret, "AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=", rq->access_key,
		 scope.data);
	add_names(ret, rq);
	buf_addf(ret, ",Signature=%s", hex);
	return buf_error(ret);
}
