/* http.h - one HTTP request, done.  The only user of libcurl is http.c.
 *
 * Knows connections, timeouts, TLS and cancellation; knows nothing of buckets,
 * signatures or retries.  Never follows a redirect: libcurl would send the
 * session token along to the other host.  A whole answer of any status is
 * success here; a negative errno means that no whole and consistent answer came.
 *
 * What libcurl does not check is checked here (P1): a Content-Length that is
 * given twice or is no number, a body that is shorter or longer than it says or
 * than was asked for.  No byte of a body reaches the sink before accept() has
 * seen the status and the headers.
 */
#ifndef BACKENDS_HTTP_H
#define BACKENDS_HTTP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "backends/backend.h"
#include "backends/util/buf.h"

enum {
	HTTP_ERROR_BODY_MAX = 16 * 1024,
	HTTP_HEADERS_MAX = 64 * 1024,
	HTTP_CAUSE_SIZE = 256,
};
#define HTTP_UNKNOWN UINT64_MAX

struct http; /* a pool of connections; thread-safe */

struct http_conf {
	uint32_t connections; /* requests in flight at most; 0 = 72 */
	uint32_t connect_ms;  /* 0 = 10 s */
	uint32_t stall_ms;    /* less than 1 byte a second for so long; 0 = 30 s */
	const char *ca_file;  /* borrowed for the call; NULL = the system's */
	bool allow_http;      /* plain http to a host that is not loopback */
};

struct http_header {
	const char *name, *value; /* borrowed */
};

/* What came back.  Reused for the next request by http_reply_reset. */
struct http_reply {
	int status;
	struct buf headers; /* "name\0value\0" each; names in lower case */
	struct buf body;    /* unless it went to the sink; errors cut at 16 KiB */
	uint64_t received;  /* bytes of body */
	bool has_length, chunked;
	uint64_t length; /* Content-Length */
	int sink_error;	 /* what the sink ended the transfer with; it is its to log */
	char cause[HTTP_CAUSE_SIZE]; /* of a negative errno, for the log */
	bool unreached;		     /* there was no connection to send it over */
	bool connected;		     /* there was one, whatever became of it */
	bool resent;		     /* one that was kept was dead, or died of it */
};
void http_reply_init(struct http_reply *r);
void http_reply_done(struct http_reply *r);
/* The value of a header, by its name in lower case; NULL if there is none.
 * Borrowed until the reply is used again. */
const char *http_header(const struct http_reply *r, const char *name);
/* Whatever the store calls its request id; "-" if it gave none. */
const char *http_request_id(const struct http_reply *r);
#define CLEANUP_REPLY CLEANUP(http_reply_done)

/* May the body of this 2xx answer be delivered?  < 0: no, with that error. */
typedef int http_accept_fn(void *arg, const struct http_reply *reply);

struct http_request {
	const char *method, *url; /* the URL is sent as it stands */
	const struct http_header *headers;
	size_t n_headers;
	/* The body: bytes of a file, or in memory, or neither. */
	const struct source *source;
	const void *body;
	size_t body_len;
	bool once; /* a body in memory that must not be sent twice by libcurl */
	/* The answer. */
	http_accept_fn *accept; /* NULL = any */
	sink_fn *sink;		/* of a 2xx body; NULL = reply->body */
	void *arg;		/* of both */
	uint64_t sink_off;	/* of the first byte, as told to the sink */
	uint64_t expect;	/* bytes of a 2xx body, or HTTP_UNKNOWN */
	size_t body_max;	/* of reply->body; more is -EBADMSG */
	uint32_t stall_ms;	/* 0 = the pool's */
	bool local;		/* a credential service of this machine: no proxy, and
				   plain http is no fault */
};

int http_new(const struct http_conf *conf, struct http **ret);
/* No request may be in flight.  NULL is fine. */
void http_free(struct http *http);

/* -ECOMM, -ETIMEDOUT, -EBADMSG, -EINTR, -EACCES (the certificate, or plain http
 * where that is refused), -ENOMEM, -EINVAL (the URL), -EIO (the source), or what
 * accept or the sink returned.  Logs one line a request at debug level only. */
int http_send(struct http *http, const struct http_request *rq, struct http_reply *ret,
	      struct call *call);

/* Open one more connection to where the last good answer came from, for the requests to
 * come; nothing to do if there are n already, or if there was no answer yet.  Asks for
 * HEAD of "/", without credentials: whatever the answer is, the connection stays.
 * Errors as http_send's. */
int http_warm(struct http *http, uint32_t n, struct call *call);

/* What was asked of a ranged GET. */
struct http_range {
	uint64_t off, len, total; /* bytes; total: the size of the version */
	const char *etag;	  /* "" = not known */
	const char *etag_header;  /* lower case; NULL = "etag".  Another header's value is
				     compared as it stands, and must be there */
};
/* Is this answer the one?  206 with exactly that Content-Range, total, length and
 * etag; or 200 if the range is the whole object.  -ESTALE: the answer is sound but
 * of another version.  -EBADMSG: it is not what was asked for.  Pure. */
int http_check_range(const struct http_reply *reply, const struct http_range *want);
/* How large the whole object is by this answer: the total of a 206's Content-Range, else
 * its Content-Length.  -EBADMSG: it does not tell.  Pure. */
int http_whole_size(const struct http_reply *reply, uint64_t *ret);
/* Take in one line of an answer, without its line end.  The first forgets what came
 * before it.  -EBADMSG: no header, two lengths, or too much. */
void http_reply_status_line(struct http_reply *r, const char *line, size_t n);
int http_reply_header_line(struct http_reply *r, const char *line, size_t n);
/* Strict: decimal digits only, no sign, no blank.  -EBADMSG. */
int http_parse_u64(const char *s, uint64_t *ret);
/* An ETag as we keep it: in quotes even where a store forgets them.  -EBADMSG. */
int http_parse_etag(const char *s, char ret[static ETAG_SIZE]);
#endif
