/* http_impl.h - what the files behind http.h tell one another. */
#ifndef BACKENDS_HTTP_IMPL_H
#define BACKENDS_HTTP_IMPL_H
#include "backends/http.h"

/* One answer on its way in, whoever carries it: zero but for these two at first. */
struct http_answer {
	const struct http_request *rq; /* borrowed */
	struct http_reply *reply;      /* borrowed; reset */
	bool headers_done;
};
bool http_is_2xx(const struct http_reply *reply);
/* A line of the head, with its line end; the blank line asks accept.  -EBADMSG, or what
 * accept said. */
int http_answer_line(struct http_answer *a, const char *line, size_t n);
/* Bytes of the body, to the sink or to reply->body.  < 0: -EBADMSG (more than was
 * announced or asked for), or what the sink said. */
int http_answer_body(struct http_answer *a, const char *p, size_t n);
/* It has ended: is the whole of it there, and does it agree with itself?  -ECOMM,
 * -EBADMSG. */
int http_answer_check(const struct http_answer *a);

/* What each connection of ours keeps to, on libcurl's handle of it. */
void http_set_policy(void *easy);

/* Credentials and data do not cross a network in the clear by mistake.  -EACCES, with
 * the cause in the reply; -EINVAL: the URL. */
int http_check_scheme(const struct http_request *rq, bool allow_http,
		      struct http_reply *reply);
/* One line, at debug level; r and reply are how it ended. */
void http_log_request(const struct http_request *rq, const struct http_reply *reply,
		      int r, uint64_t started_ns);
#endif
