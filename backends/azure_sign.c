/* azure_sign.c - see azure_sign.h. */
#include "backends/azure_sign.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/banned.h"

enum { SORTED_MAX = 64, SIGNED_MAX_BYTES = 64 * 1024 };

/* Azure sorts by .NET's culture: '-' does not count, '_' comes before the digits and
 * these before the letters.  Names are in lower case here. */
static int weight(char c)
{
	return c == '_' ? 1 : (unsigned char)c;
}

static int by_name(const void *a, const void *b)
{
	const char *na = ((const struct http_header *)a)->name;
	const char *nb = ((const struct http_header *)b)->name;
	const char *pa = na, *pb = nb;
	do {
		pa += strspn(pa, "-");
		pb += strspn(pb, "-");
		if (*pa != *pb)
			return weight(*pa) - weight(*pb);
	} while (*pa++ && *pb++);
	return strcmp(na, nb);
}

static int by_param(const void *a, const void *b)
{
	return strcmp(((const struct url_param *)a)->name,
		      ((const struct url_param *)b)->name);
}

static const char *find(const struct azure_sign_request *rq, const char *name)
{
	for (size_t i = 0; i < rq->n_headers; i++)
		if (!strcmp(rq->headers[i].name, name) && rq->headers[i].value)
			return rq->headers[i].value;
	return "";
}

/* Without the blanks around it, as the server sees it. */
static void add_trimmed(struct buf *out, const char *value)
{
	value += strspn(value, " \t");
	size_t n = strlen(value);
	while (n && strchr(" \t", value[n - 1]))
		n--;
	buf_add(out, value, n);
}

static int add_headers(const struct azure_sign_request *rq, struct buf *out)
{
	struct http_header sorted[SORTED_MAX];
	size_t n = 0;
	for (size_t i = 0; i < rq->n_headers; i++) {
		if (strncmp(rq->headers[i].name, "x-ms-", 5) || !rq->headers[i].value)
			continue;
		if (n == SORTED_MAX)
			return -E2BIG;
		sorted[n++] = rq->headers[i];
	}
	qsort(sorted, n, sizeof *sorted, by_name);
	for (size_t i = 0; i < n; i++) {
		buf_addf(out, "%s:", sorted[i].name);
		add_trimmed(out, sorted[i].value);
		buf_addc(out, '\n');
	}
	return 0;
}

/* The emulator's paths begin with the account: there it stands twice. */
static int add_resource(const struct azure_sign_request *rq, struct buf *out)
{
	struct url_param sorted[SORTED_MAX];
	if (rq->n_params > SORTED_MAX)
		return -E2BIG;
	buf_addf(out, "/%s%s", rq->account, rq->path);
	if (rq->n_params)
		memcpy(sorted, rq->params, rq->n_params * sizeof *sorted);
	qsort(sorted, rq->n_params, sizeof *sorted, by_param);
	for (size_t i = 0; i < rq->n_params; i++)
		buf_addf(out, "\n%s:%s", sorted[i].name,
			 sorted[i].value ? sorted[i].value : "");
	return 0;
}

int azure_string_to_sign(const struct azure_sign_request *rq, struct buf *ret)
{
	/* Date is empty because x-ms-date is sent, Range because x-ms-range is. */
	static const char *const slots[] = {
		"content-md5",	       "content-type", NULL,
		"if-modified-since",   "if-match",     "if-none-match",
		"if-unmodified-since", "range"};
	buf_addf(ret, "%s\n\n\n", rq->method);
	if (rq->length)
		buf_addf(ret, "%" PRIu64, rq->length);
	for (size_t i = 0; i < sizeof slots / sizeof *slots; i++)
		buf_addf(ret, "\n%s", slots[i] ? find(rq, slots[i]) : "");
	buf_addc(ret, '\n');
	int r = add_headers(rq, ret);
	if (!r)
		r = add_resource(rq, ret);
	return r ? r : buf_error(ret);
}

int azure_sign(const struct secret *key, const struct azure_sign_request *rq,
	       struct buf *ret)
{
	uint8_t mac[SHA256_BYTES];
	CLEANUP_BUF struct buf text;
	buf_init(&text, SIGNED_MAX_BYTES);
	int r = azure_string_to_sign(rq, &text);
	if (!r)
		r = crypto_hmac_sha256(key->bytes, key->len, text.data, text.len, mac);
	if (r)
		return r;
	buf_addf(ret, "SharedKey %s:", rq->account);
	base64_encode(ret, mac, sizeof mac);
	return buf_error(ret);
}
