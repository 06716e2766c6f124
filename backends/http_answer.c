/* http_answer.c - an answer as it comes in, line by line and piece by piece: what libcurl
 * does not check of it (see http_impl.h, http.h).  Pure but for accept and the sink. */
#include <errno.h>
#include <string.h>
#include "backends/http_impl.h"
#include "backends/util/banned.h"

bool http_is_2xx(const struct http_reply *reply)
{
	return reply->status >= 200 && reply->status < 300;
}

/* The blank line after the headers of the final answer (not of a 100). */
static int end_headers(struct http_answer *a)
{
	if (a->reply->status < 100) /* no status line that we understand came before */
		return -EBADMSG;
	if (a->reply->status < 200)
		return 0;
	a->headers_done = true;
	if (a->reply->chunked && a->reply->has_length)
		return -EBADMSG;
	if (!http_is_2xx(a->reply) || !a->rq->accept)
		return 0;
	return a->rq->accept(a->rq->arg, a->reply);
}

int http_answer_line(struct http_answer *a, const char *line, size_t n)
{
	while (n && (line[n - 1] == '\n' || line[n - 1] == '\r'))
		n--;
	if (a->headers_done)
		return 0; /* trailers: nobody reads them */
	if (!n)
		return end_headers(a);
	if (n <= 5 || strncmp(line, "HTTP/", 5) != 0)
		return http_reply_header_line(a->reply, line, n);
	http_reply_status_line(a->reply, line, n);
	return 0;
}

static int keep_body(struct http_answer *a, const char *p, size_t n)
{
	struct buf *body = &a->reply->body;
	if (!http_is_2xx(a->reply)) {
		size_t room = HTTP_ERROR_BODY_MAX - body->len;
		buf_add(body, p, n < room ? n : room);
	} else if (n > a->rq->body_max || body->len > a->rq->body_max - n) {
		return -EBADMSG;
	} else {
		buf_add(body, p, n);
	}
	return buf_error(body);
}

int http_answer_body(struct http_answer *a, const char *p, size_t n)
{
	struct http_reply *reply = a->reply;
	bool good = http_is_2xx(reply);
	uint64_t before = reply->received;
	reply->received += n;
	if (!a->headers_done || (reply->has_length && reply->received > reply->length) ||
	    (good && reply->received > a->rq->expect))
		return -EBADMSG;
	if (good && a->rq->sink)
		return reply->sink_error =
			       a->rq->sink(a->rq->arg, a->rq->sink_off + before, p, n);
	return keep_body(a, p, n);
}

int http_answer_check(const struct http_answer *a)
{
	const struct http_reply *reply = a->reply;
	bool head = !strcmp(a->rq->method, "HEAD");
	if (!a->headers_done)
		return -ECOMM;
	if (!head && reply->has_length && reply->received != reply->length)
		return -EBADMSG;
	if (!head && http_is_2xx(reply) && a->rq->expect != HTTP_UNKNOWN &&
	    reply->received != a->rq->expect)
		return -EBADMSG;
	return 0;
}
