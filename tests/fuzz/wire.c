/* wire.c - see wire.h.  Linked in the place of backends/http.c. */
#include "tests/fuzz/wire.h"
#include <errno.h>
#include "backends/http_impl.h"
#include "backends/util/banned.h"

/* Nobody answers another thread, which may be there to renew a credential. */
static _Thread_local struct {
	const uint8_t *next;
	size_t left, piece;
	unsigned asked;
	const char *origin;
} wire;

/* As http.c and libcurl refuse it: what would end a line, or the URL. */
static int check_request(const struct http_request *rq, struct http_reply *reply)
{
	MUST(!wire.origin || !strncmp(rq->url, wire.origin, strlen(wire.origin)));
	for (const char *p = rq->url; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return -EINVAL;
	for (size_t i = 0; i < rq->n_headers; i++) {
		const char *value = rq->headers[i].value;
		if (strpbrk(rq->headers[i].name, "\r\n") ||
		    (value && strpbrk(value, "\r\n")))
			return -EINVAL;
	}
	return http_check_scheme(rq, false, reply);
}

void wire_bind(const char *origin)
{
	wire.origin = origin;
}

void wire_load(const uint8_t *bytes, size_t n, size_t piece)
{
	wire.next = bytes;
	wire.left = n;
	wire.piece = piece ? piece : SIZE_MAX;
	wire.asked = 0;
}

unsigned wire_asked(void)
{
	return wire.asked;
}

/* The next answer, cut out of the input; false: there is none. */
static bool next_answer(struct input *ret)
{
	if (!wire.left)
		return false;
	const uint8_t *end = memmem(wire.next, wire.left, WIRE_NEXT, strlen(WIRE_NEXT));
	size_t n = end ? (size_t)(end - wire.next) : wire.left;
	*ret = (struct input){wire.next, n};
	n += end ? strlen(WIRE_NEXT) : 0;
	wire.next += n;
	wire.left -= n;
	return true;
}

/* Lines up to the blank one that ends the last head. */
static int take_head(struct http_answer *a, struct input *in)
{
	while (in->n && !a->headers_done) {
		size_t n;
		char *line = take_string(in, '\n', &n);
		int r = http_answer_line(a, line, n);
		free(line);
		if (r)
			return r;
	}
	return 0;
}

static int take_body(struct http_answer *a, struct input *in)
{
	bool head = !strcmp(a->rq->method, "HEAD");
	while (in->n && a->headers_done && !head) {
		size_t n = in->n < wire.piece ? in->n : wire.piece;
		int r = http_answer_body(a, (const char *)in->p, n);
		if (r < 0)
			return r;
		in->p += n;
		in->n -= n;
	}
	return http_answer_check(a);
}

int http_send(struct http *http, const struct http_request *rq, struct http_reply *ret,
	      struct call *call)
{
	(void)http;
	struct http_answer a = {.rq = rq, .reply = ret};
	struct input in;
	buf_reset(&ret->headers);
	buf_reset(&ret->body);
	*ret = (struct http_reply){.headers = ret->headers, .body = ret->body};
	wire.asked++;
	int r = call_check(call);
	if (!r)
		r = check_request(rq, ret);
	if (!r)
		r = next_answer(&in) ? take_head(&a, &in) : -ECOMM;
	if (!r)
		r = take_body(&a, &in);
	if (r && !*ret->cause)
		(void)snprintf(ret->cause, sizeof ret->cause, "%s", strerror(-r));
	return r;
}

int http_warm(struct http *http, uint32_t n, struct call *call)
{
	(void)http;
	(void)n;
	return call_check(call);
}

int http_new(const struct http_conf *conf, struct http **ret)
{
	(void)conf;
	static char nothing;
	*ret = (struct http *)&nothing; /* never looked into */
	return 0;
}

void http_free(struct http *http)
{
	(void)http;
}
