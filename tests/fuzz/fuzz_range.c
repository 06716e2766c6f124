/* fuzz_range.c - the status line, the headers and the bytes that answer a ranged GET, and
 * the values of single headers.
 *
 * P1: what is accepted is exactly the bytes that were asked for, of the version that was
 * asked for.  What the answer says is read a second time here, by other code, from the
 * input itself.
 *
 * The same of what comes with a name, of whatever version it says that it is.
 *
 * An input: the store, offset, length, bytes behind the range, pieces; then the answer.
 */
#include <errno.h>
#include <strings.h>
#include "backends/date.h"
#include "backends/http.h"
#include "tests/fuzz/store.h"
#include "backends/util/banned.h"

#define ORIGIN "http://127.0.0.1:9"

/* --- the answer, read again --- */

struct answer {
	const struct http_range *want;
	const uint8_t *body; /* NULL: the head does not end */
	size_t body_len;
	int status;
	unsigned ranges, good_ranges; /* Content-Range: how many, and as asked */
	unsigned etags, good_etags;
};

static bool value_is(const char *line, const char *value)
{
	line += strspn(line, " \t");
	size_t n = strlen(line);
	while (n && strchr(" \t\r", line[n - 1]))
		n--;
	return n == strlen(value) && !memcmp(line, value, n);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A number may begin with zeros. */
static void strip_zeros(char *s)
{
	char *to = s;
	for (const char *from = s; *from; from++) {
		bool leads = to == s || !is_digit(to[-1]);
		if (*from != '0' || !leads || !is_digit(from[1]))
			*to++ = *from;
	}
	*to = 0;
}

static bool range_is(const char *line, const char *value)
{
	char *copy = strdup(line);
	MUST(copy);
	strip_zeros(copy);
	bool is = value_is(copy, value);
	free(copy);
	return is;
}

static void read_line(struct answer *a, const char *line, const char *etag_name,
		      const char *const *etags)
{
	char range[80];
	size_t n = strlen(etag_name);
	const struct http_range *w = a->want;
	(void)snprintf(range, sizeof range, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
		       w->off, w->off + w->len - 1, w->total);
	if (!strncmp(line, "HTTP/", 5)) {
		const char *space = strchr(line, ' ');
		*a = (struct answer){.want = a->want};
		a->status = space ? atoi(space + 1) : 0;
	} else if (!strncasecmp(line, "content-range:", 14)) {
		a->ranges++;
		a->good_ranges += range_is(line + 14, range);
	} else if (!strncasecmp(line, etag_name, n) && line[n] == ':') {
		a->etags++;
		a->good_etags += value_is(line + n + 1, etags[0]) ||
				 value_is(line + n + 1, etags[1]);
	}
}

/* The last head before a body, and the body. */
static void read_answer(struct answer *a, const struct input *given,
			const char *etag_name, const char *const *etags)
{
	struct input in = *given;
	const uint8_t *end = memmem(in.p, in.n, WIRE_NEXT, strlen(WIRE_NEXT));
	if (end)
		in.n = (size_t)(end - in.p);
	while (in.n && !a->body) {
		size_t n;
		char *line = take_string(&in, '\n', &n);
		bool blank = strspn(line, "\r") == n;
		if (strlen(line) != n)
			*a = (struct answer){.want = a->want}; /* nobody's head */
		else if (!blank)
			read_line(a, line, etag_name, etags);
		else if (a->status >= 200) {
			a->body = in.p;
			a->body_len = in.n;
		}
		free(line);
	}
}

/* --- the get --- */

struct got {
	const struct http_range *want;
	const uint8_t *body;
	size_t body_len;
	uint64_t n;
};

/* In order, without a gap, never past what was asked for, and each the answer's own. */
static int on_bytes(void *arg, uint64_t off, const void *bytes, size_t len)
{
	struct got *got = arg;
	MUST(off == got->want->off + got->n);
	MUST(len <= got->want->len - got->n);
	MUST(got->body && got->n + len <= got->body_len);
	MUST(!memcmp(bytes, got->body + got->n, len));
	got->n += len;
	return 0;
}

struct dialect_of {
	const struct store_kind *kind;
	const char *etag_name;
	const char *etags[2]; /* as it may be written */
};

static const struct dialect_of dialects[] = {
	{&store_s3, "etag", {"\"e\"", "e"}},
	{&store_azure, "etag", {"\"0x1\"", "0x1"}},
	{&store_gcs, "x-goog-generation", {"1", "1"}},
};

/* What it is sent is the rest of the input. */
static struct backend *open_before(const struct dialect_of *d, const struct input *in,
				   size_t piece)
{
	struct backend_conf conf = {
		.url = d->kind->url,
		.endpoint = ORIGIN,
		.region = "r",
		.anonymous = true,
	};
	struct backend *be;
	MUST(!d->kind->open(&conf, &be));
	wire_load(in->p, in->n, piece);
	wire_bind(ORIGIN "/");
	return be;
}

static void check_accepted(const struct answer *a)
{
	const struct http_range *w = a->want;
	bool whole = !w->off && w->len == w->total;
	MUST(a->body && a->body_len == w->len);
	MUST(a->status == 206 || (a->status == 200 && whole));
	MUST(a->status == 200 || (a->ranges && a->good_ranges == a->ranges));
	MUST(a->etags && a->good_etags == a->etags);
}

static void run_get(struct backend *be, const struct dialect_of *d,
		    const struct http_range *want, const struct input *in)
{
	struct object obj = {.size = want->total};
	struct answer a = {.want = want};
	(void)snprintf(obj.etag, sizeof obj.etag, "%s", d->kind->etag);
	read_answer(&a, in, d->etag_name, d->etags);
	struct got got = {.want = want, .body = a.body, .body_len = a.body_len};
	int r = be->ops->get(be, "d/k", &obj, want->off, want->len, on_bytes, &got, NULL);
	MUST(r <= 0);
	/* More than one request is made only if the first was refused. */
	if (!r && wire_asked() == 1)
		check_accepted(&a);
	MUST(r || got.n == want->len);
}

static void get(struct input *in, unsigned store)
{
	const struct dialect_of *d = &dialects[store % 3];
	bool far = take_byte(in) == 'F';
	struct http_range want = {.off = take_byte(in) % 64};
	want.len = 1 + take_byte(in) % 64;
	/* What does not fit 32 bits, or only just a signed 64. */
	if (far)
		want.off += take_byte(in) % 2 ? UINT64_C(1) << 40
					       : (UINT64_C(1) << 62);
	want.total = want.off + want.len + take_byte(in) % 64;
	size_t piece = take_byte(in) % 16;
	struct backend *be = open_before(d, in, piece);
	run_get(be, d, &want, in);
	be->ops->free(be);
}

static void run_peek(struct backend *be, size_t max, const struct input *in)
{
	char bytes[64];
	struct object obj;
	struct first first = {.bytes = bytes, .max = max};
	struct http_range want = {0};
	struct answer a = {.want = &want};
	int r = be->ops->peek(be, "d/k", &obj, &first, NULL);
	MUST(r <= 0 && first.len <= max);
	if (r || !first.len || wire_asked() != 1)
		return;
	want.len = first.len;
	want.total = obj.size;
	MUST(want.len == (obj.size < max ? obj.size : max));
	/* As it may have been written: in quotes, or not. */
	char bare[ETAG_SIZE];
	(void)snprintf(bare, sizeof bare, "%s", obj.etag + (*obj.etag == '"'));
	size_t n = strlen(bare);
	if (n && *obj.etag == '"')
		bare[n - 1] = '\0';
	read_answer(&a, in, "etag", (const char *const[]){obj.etag, bare});
	check_accepted(&a);
	MUST(!memcmp(bytes, a.body, first.len));
}

static void peek(struct input *in)
{
	const struct dialect_of *d = &dialects[take_byte(in) % 2];
	size_t max = 1 + take_byte(in) % 64, piece = take_byte(in) % 16;
	struct backend *be = open_before(d, in, piece);
	run_peek(be, max, in);
	be->ops->free(be);
}

/* --- single values --- */

static void check_number(const char *s)
{
	uint64_t v;
	char again[32];
	if (http_parse_u64(s, &v))
		return;
	(void)snprintf(again, sizeof again, "%" PRIu64, v);
	MUST(!strcmp(s + strspn(s, "0"), *again == '0' ? "" : again));
}

static void check_etag(const char *s)
{
	char etag[ETAG_SIZE], again[ETAG_SIZE];
	memset(etag, 'x', sizeof etag);
	if (http_parse_etag(s, etag))
		return;
	MUST(memchr(etag, '\0', sizeof etag) && strstr(etag, s));
	MUST(*etag == '"' || !strncmp(etag, "W/\"", 3));
	/* What is kept is the same when it is read again. */
	MUST(!http_parse_etag(etag, again) && !strcmp(etag, again));
}

/* A time that is read is the same when it is written and read again. */
static void check_dates(const char *s)
{
	int64_t ns, again;
	char text[DATE_ISO_SIZE], http_text[DATE_HTTP_SIZE], amz[DATE_AMZ_SIZE];
	if (!date_parse_http(s, &ns)) {
		date_format_http(ns, http_text);
		MUST(!date_parse_http(http_text, &again) && again == ns);
		date_format_amz(ns, amz);
		MUST(strlen(amz) == DATE_AMZ_SIZE - 1);
	}
	if (!date_parse_iso(s, &ns)) {
		date_format_iso(ns, text);
		MUST(!date_parse_iso(text, &again) && again == ns);
	}
	if (!date_parse_seconds(s, &ns)) {
		date_format_seconds(ns, text);
		MUST(!date_parse_seconds(text, &again) && again == ns);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	store_start();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint8_t what = take_byte(&in);
	if (what == 'p') {
		peek(&in);
		return 0;
	}
	if (what != 'v') {
		get(&in, what);
		return 0;
	}
	char *s = take_string(&in, '\0', NULL);
	check_number(s);
	check_etag(s);
	check_dates(s);
	free(s);
	return 0;
}
