/* http_transfer.c - see http_transfer.h. */
#include "backends/http_transfer.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/banned.h"

enum {
	IDLE_MAX_S =
		55, /* servers hang up on idle connections, the first after a minute */
	BUFFER_BYTES = 256 * 1024,
	EXPECT_FROM_BYTES = 1024 * 1024, /* ask before sending bodies from this size */
	EXPECT_WAIT_MS = 300,
};

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct http_transfer *t = arg;
	t->error = http_answer_line(&t->answer, line, size * n);
	return t->error ? 0 : size * n;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct http_transfer *t = arg;
	t->error = http_answer_body(&t->answer, p, size * n);
	return t->error < 0 ? 0 : size * n;
}

static size_t on_read(char *p, size_t size, size_t n, void *arg)
{
	struct http_transfer *t = arg;
	const struct source *src = t->rq->source;
	uint64_t left = (src ? src->len : t->rq->body_len) - t->sent;
	n = n * size > left ? (size_t)left : n * size;
	if (!n)
		return 0;
	if (!src) {
		memcpy(p, (const char *)t->rq->body + t->sent, n);
		t->sent += n;
		return n;
	}
	ssize_t got;
	do
		got = pread(src->fd, p, n, (off_t)(src->off + t->sent));
	while (got < 0 && errno == EINTR);
	if (got <= 0) {
		/* Shorter than it was said to be, or the disk fails. */
		t->error = got ? -errno : -EIO;
		return CURL_READFUNC_ABORT;
	}
	t->sent += (uint64_t)got;
	return (size_t)got;
}

/* libcurl repeats a request that a used connection lost, if the body can be rewound. */
static int on_seek(void *arg, curl_off_t off, int origin)
{
	struct http_transfer *t = arg;
	if (t->rq->once || origin != SEEK_SET || off < 0 ||
	    (uint64_t)off > t->rq->source->len)
		return CURL_SEEKFUNC_FAIL;
	t->sent = (uint64_t)off;
	return CURL_SEEKFUNC_OK;
}

static int on_progress(void *arg, curl_off_t dl_total, curl_off_t dl, curl_off_t ul_total,
		       curl_off_t ul)
{
	(void)dl_total;
	(void)dl;
	(void)ul_total;
	(void)ul;
	struct http_transfer *t = arg;
	/* It is also called on the way out, after another callback's error. */
	if (!t->error)
		t->error = call_check(t->call);
	return t->error ? 1 : 0;
}

static int add_header(struct http_transfer *t, const char *name, const char *value)
{
	CLEANUP_BUF struct buf line;
	buf_init(&line, HTTP_HEADERS_MAX);
	/* "Name:" removes what libcurl would send, "Name;" sends it empty. */
	if (!value)
		buf_addf(&line, "%s:", name);
	else if (!*value)
		buf_addf(&line, "%s;", name);
	else
		buf_addf(&line, "%s: %s", name, value);
	if (strpbrk(line.data, "\r\n"))
		return -EINVAL;
	if (buf_error(&line))
		return buf_error(&line);
	struct curl_slist *more = curl_slist_append(t->headers, line.data);
	if (!more)
		return -ENOMEM;
	t->headers = more;
	return 0;
}

int http_transfer_headers(struct http_transfer *t)
{
	const struct http_request *rq = t->rq;
	uint64_t len = rq->source ? rq->source->len : rq->body_len;
	bool typed = false, coded = false;
	int r = 0;
	for (size_t i = 0; !r && i < rq->n_headers; i++) {
		typed |= !strcasecmp(rq->headers[i].name, "content-type");
		coded |= !strcasecmp(rq->headers[i].name, "accept-encoding");
		r = add_header(t, rq->headers[i].name, rq->headers[i].value);
	}
	if (!r && !coded)
		r = add_header(t, "Accept-Encoding", "identity");
	if (!r && !typed)
		r = add_header(t, "Content-Type", NULL);
	if (!r)
		r = add_header(t, "Expect",
			       len >= EXPECT_FROM_BYTES ? "100-continue" : NULL);
	return r;
}

static int on_send(void *arg, char *ip, char *local_ip, int port, int local_port)
{
	(void)ip;
	(void)local_ip;
	(void)port;
	(void)local_port;
	struct http_transfer *t = arg;
	t->sends++;
	return CURL_PREREQFUNC_OK;
}

/* Everything with a body but a file's goes out as POST with another name, which
 * is what makes libcurl send a Content-Length, also of 0. */
static void set_method(CURL *easy, const struct http_transfer *t)
{
	const struct http_request *rq = t->rq;
	(void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, rq->method);
	(void)curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
	(void)curl_easy_setopt(easy, CURLOPT_READDATA, t);
	(void)curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
	(void)curl_easy_setopt(easy, CURLOPT_SEEKDATA, t);
	if (rq->source) {
		(void)curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
		(void)curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE,
				       (curl_off_t)rq->source->len);
		(void)curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE,
				       (long)BUFFER_BYTES);
	} else if (!strcmp(rq->method, "HEAD")) {
		(void)curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	} else if (rq->body || !strcmp(rq->method, "PUT") ||
		   !strcmp(rq->method, "POST")) {
		(void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
				       (curl_off_t)rq->body_len);
		(void)curl_easy_setopt(easy, CURLOPT_POST, 1L);
		if (!rq->once)
			(void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
					       rq->body ? rq->body : "");
	}
}

static void set_limits(CURL *easy, const struct http_transfer *t)
{
	const struct http_conf *conf = t->conf;
	uint64_t left_ns = call_left_ns(t->call);
	uint64_t connect_ms = conf->connect_ms;
	uint32_t stall_ms = t->rq->stall_ms ? t->rq->stall_ms : conf->stall_ms;
	if (left_ns != CLOCK_NEVER) {
		/* A day is as good as any longer deadline, and fits a long. */
		uint64_t left_ms = left_ns / NS_PER_MS + 1;
		if (left_ms > 86400000)
			left_ms = 86400000;
		if (connect_ms > left_ms)
			connect_ms = left_ms;
		(void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)left_ms);
	}
	(void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
	(void)curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME,
			       (long)(stall_ms + 999) / 1000);
	(void)curl_easy_setopt(easy, CURLOPT_EXPECT_100_TIMEOUT_MS, (long)EXPECT_WAIT_MS);
	(void)curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
	(void)curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
	(void)curl_easy_setopt(easy, CURLOPT_XFERINFODATA, t);
}

void http_set_policy(void *easy)
{
	(void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	/* A proxy's answer to CONNECT is not the store's. */
	(void)curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	/* A nameserver that hangs is left behind, or its thread would be waited for past
	 * deadline and interrupt; the thread ends with getaddrinfo's own time limit. */
	(void)curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	(void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "mastfs/" MASTFS_VERSION);
}

void http_transfer_set(CURL *easy, struct http_transfer *t, char *cause)
{
	(void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, cause);
	(void)curl_easy_setopt(easy, CURLOPT_URL, t->rq->url);
	(void)curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	http_set_policy(easy);
	(void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)IDLE_MAX_S);
	(void)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)BUFFER_BYTES);
	(void)curl_easy_setopt(easy, CURLOPT_SHARE, t->share);
	if (t->conf->ca_file)
		(void)curl_easy_setopt(easy, CURLOPT_CAINFO, t->conf->ca_file);
	if (t->rq->local)
		(void)curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	(void)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
	(void)curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_send);
	(void)curl_easy_setopt(easy, CURLOPT_PREREQDATA, t);
	(void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->headers);
	set_method(easy, t);
	set_limits(easy, t);
}
