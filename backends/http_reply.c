/* http_reply.c - reading an answer: headers, numbers, ranges (see http.h).  Pure. */
#include "backends/http.h"
#include <errno.h>
#include <string.h>
#include "backends/util/banned.h"

/* The largest answer that is read into memory: a page of a listing. */
enum { REPLY_BODY_MAX = 16 * 1024 * 1024 };

void http_reply_init(struct http_reply *r)
{
	*r = (struct http_reply){0};
	buf_init(&r->headers, HTTP_HEADERS_MAX);
	buf_init(&r->body, REPLY_BODY_MAX);
}

void http_reply_done(struct http_reply *r)
{
	buf_done(&r->headers);
	buf_done(&r->body);
}

const char *http_header(const struct http_reply *r, const char *name)
{
	const char *p = r->headers.data, *end = p + r->headers.len;
	while (p < end) {
		const char *value = p + strlen(p) + 1;
		if (!strcmp(p, name))
			return value;
		p = value + strlen(value) + 1;
	}
	return NULL;
}

const char *http_request_id(const struct http_reply *r)
{
	static const char *const names[] = {"x-amz-request-id", "x-ms-request-id",
					    "x-guploader-uploadid"};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		const char *id = http_header(r, names[i]);
		if (id)
			return id;
	}
	return "-";
}

/* Reads digits up to the first other byte. */
static int digits(const char **s, uint64_t *ret)
{
	uint64_t v = 0;
	const char *start = *s;
	for (; **s >= '0' && **s <= '9'; ++*s)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(**s - '0'), &v))
			return -EBADMSG;
	*ret = v;
	return *s > start ? 0 : -EBADMSG;
}

int http_parse_u64(const char *s, uint64_t *ret)
{
	uint64_t v;
	if (digits(&s, &v) || *s)
		return -EBADMSG;
	*ret = v;
	return 0;
}

int http_parse_etag(const char *s, char ret[static ETAG_SIZE])
{
	size_t n = strlen(s);
	bool bare = *s != '"' && strncmp(s, "W/\"", 3);
	if (!n || n + (bare ? 2 : 0) >= ETAG_SIZE)
		return -EBADMSG;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return -EBADMSG;
	if (bare)
		*ret++ = '"';
	memcpy(ret, s, n + 1);
	if (bare)
		memcpy(ret + n, "\"", 2);
	return 0;
}

/* "bytes 8-15/100" and nothing else. */
static int parse_content_range(const char *s, uint64_t *first, uint64_t *last,
			       uint64_t *total)
{
	if (strncmp(s, "bytes ", 6))
		return -EBADMSG;
	s += 6;
	if (digits(&s, first) || *s++ != '-' || digits(&s, last) || *s++ != '/' ||
	    digits(&s, total) || *s)
		return -EBADMSG;
	return 0;
}

/* Is the header there more than once, and not always the same?  Then it says nothing. */
static bool contradicts_itself(const struct http_reply *r, const char *name)
{
	const char *p = r->headers.data, *end = p + r->headers.len;
	const char *first = http_header(r, name);
	while (p < end) {
		const char *value = p + strlen(p) + 1;
		if (!strcmp(p, name) && strcmp(value, first) != 0)
			return true;
		p = value + strlen(value) + 1;
	}
	return false;
}

static int check_etag(const struct http_reply *reply, const struct http_range *want)
{
	char etag[ETAG_SIZE];
	const char *header = want->etag_header ? want->etag_header : "etag";
	const char *given = http_header(reply, header);
	if (!*want->etag)
		return 0;
	if (contradicts_itself(reply, header))
		return -EBADMSG;
	if (given && want->etag_header)
		return strcmp(given, want->etag) ? -ESTALE : 0;
	if (!given || http_parse_etag(given, etag))
		return -EBADMSG;
	return strcmp(etag, want->etag) ? -ESTALE : 0;
}

int http_check_range(const struct http_reply *reply, const struct http_range *want)
{
	uint64_t first = 0, last = 0, total = 0;
	int r = check_etag(reply, want);
	if (r)
		return r;
	if (reply->has_length && reply->length != want->len)
		return -EBADMSG;
	if (reply->status == 200) {
		bool whole = !want->off && want->len == want->total;
		return whole && reply->has_length ? 0 : -EBADMSG;
	}
	const char *range = http_header(reply, "content-range");
	if (reply->status != 206 || !range ||
	    contradicts_itself(reply, "content-range") ||
	    parse_content_range(range, &first, &last, &total))
		return -EBADMSG;
	if (first != want->off || last < first || last - first != want->len - 1 ||
	    total != want->total)
		return -EBADMSG;
	return 0;
}

int http_whole_size(const struct http_reply *reply, uint64_t *ret)
{
	uint64_t first, last;
	const char *range = http_header(reply, "content-range");
	if (reply->status == 206)
		return range ? parse_content_range(range, &first, &last, ret) : -EBADMSG;
	*ret = reply->length;
	return reply->has_length ? 0 : -EBADMSG;
}

/* "HTTP/1.1 206 Partial Content": three digits, no more; 0: it is none. */
static int parse_status(const char *line, size_t n)
{
	const char *space = memchr(line, ' ', n), *end = line + n;
	if (!space || end - space < 4 || memchr(line, '\0', n) ||
	    (end - space > 4 && space[4] != ' '))
		return 0;
	int status = 0;
	for (int i = 1; i <= 3; i++) {
		if (space[i] < '0' || space[i] > '9')
			return 0;
		status = status * 10 + (space[i] - '0');
	}
	return status;
}

void http_reply_status_line(struct http_reply *r, const char *line, size_t n)
{
	buf_reset(&r->headers);
	r->has_length = r->chunked = false;
	r->status = parse_status(line, n);
}

/* Content-Length is read here and not by libcurl, which lets the last of several
 * win and takes one that overflows for none. */
static int note_length(struct http_reply *r, const char *value)
{
	if (r->has_length || http_parse_u64(value, &r->length))
		return -EBADMSG;
	r->has_length = true;
	return 0;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

int http_reply_header_line(struct http_reply *r, const char *line, size_t n)
{
	const char *colon = memchr(line, ':', n), *end = line + n;
	if (!colon || memchr(line, '\0', n))
		return -EBADMSG;
	struct buf *out = &r->headers;
	size_t name_at = out->len;
	for (const char *p = line; p < colon; p++)
		buf_addc(out, lower(*p));
	buf_addc(out, '\0');
	do
		colon++;
	while (colon < end && (*colon == ' ' || *colon == '\t'));
	while (end > colon && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	size_t value_at = out->len;
	buf_add(out, colon, (size_t)(end - colon));
	buf_addc(out, '\0');
	if (buf_error(out)) {
		/* Half a header would be read past its end. */
		buf_cut(out, name_at);
		return buf_error_or(out, -EBADMSG);
	}
	if (!strcmp(out->data + name_at, "content-length"))
		return note_length(r, out->data + value_at);
	r->chunked |= !strcmp(out->data + name_at, "transfer-encoding");
	return 0;
}
