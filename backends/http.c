/* http.c - see http.h.
 *
 * One blocking request runs on one handle of the pool.  A handle whose request failed
 * in any way is thrown away with its connections: what such a connection would say
 * next cannot be trusted.
 *
 * DNS and TLS sessions are shared between the handles; connections are not,
 * because libcurl's sharing of those is not thread-safe.
 */
#include "backends/http.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <curl/curl.h>
#include "backends/http_impl.h"
#include "backends/http_pool.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/metrics.h"
#include "backends/util/banned.h"

enum {
	ORIGIN_SIZE = 512,
	DEFAULT_CONNECTIONS = 72,
	DEFAULT_CONNECT_MS = 10 * 1000,
	DEFAULT_STALL_MS = 30 * 1000,
	TICK_MS = 100, /* how often a silent transfer looks whether it was cancelled */
	IDLE_MAX_S =
		55, /* servers hang up on idle connections, the first after a minute */
	BUFFER_BYTES = 256 * 1024,
	EXPECT_FROM_BYTES = 1024 * 1024, /* ask before sending bodies from this size */
	EXPECT_WAIT_MS = 300,
};

struct http {
	/* set once */
	struct http_conf conf; /* ca_file is owned */
	CURLSH *share;
	pthread_mutex_t share_locks[CURL_LOCK_DATA_LAST];
	struct http_pool *pool; /* owned; of struct handle */

	/* guarded by lock */
	pthread_mutex_t lock;
	char origin[ORIGIN_SIZE]; /* of the last good answer: "https://host:port/" */
};

/* What one request at a time runs on, with the connections that it left open. */
struct handle {
	CURL *easy;
	CURLM *multi;
};

/* One request under way. */
struct transfer {
	const struct http *http;
	const struct http_request *rq;
	struct http_answer answer;
	const struct call *call;
	struct curl_slist *headers; /* owned */
	uint64_t sent;		    /* bytes of rq->source */
	uint32_t sends;		    /* libcurl sends again what a kept connection lost */
	int error;		    /* that one of our callbacks met */
};

static void share_lock(CURL *easy, curl_lock_data data, curl_lock_access access,
		       void *arg)
{
	(void)easy;
	(void)access;
	struct http *http = arg;
	(void)pthread_mutex_lock(&http->share_locks[data]);
}

static void share_unlock(CURL *easy, curl_lock_data data, void *arg)
{
	(void)easy;
	struct http *http = arg;
	(void)pthread_mutex_unlock(&http->share_locks[data]);
}

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_start(void)
{
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void handle_free(void *arg)
{
	struct handle *h = arg;
	curl_easy_cleanup(h->easy);
	(void)curl_multi_cleanup(h->multi);
	free(h);
}

void http_free(struct http *http)
{
	if (!http)
		return;
	http_pool_free(http->pool);
	if (http->share)
		(void)curl_share_cleanup(http->share);
	for (int i = 0; i < CURL_LOCK_DATA_LAST; i++)
		(void)pthread_mutex_destroy(&http->share_locks[i]);
	(void)pthread_mutex_destroy(&http->lock);
	free((char *)(uintptr_t)http->conf.ca_file);
	free(http);
}

static bool init_share(struct http *http)
{
	http->share = curl_share_init();
	if (!http->share)
		return false;
	return !curl_share_setopt(http->share, CURLSHOPT_USERDATA, http) &&
	       !curl_share_setopt(http->share, CURLSHOPT_LOCKFUNC, share_lock) &&
	       !curl_share_setopt(http->share, CURLSHOPT_UNLOCKFUNC, share_unlock) &&
	       !curl_share_setopt(http->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS) &&
	       !curl_share_setopt(http->share, CURLSHOPT_SHARE,
				  CURL_LOCK_DATA_SSL_SESSION);
}

int http_new(const struct http_conf *conf, struct http **ret)
{
	(void)pthread_once(&curl_once, curl_start);
	struct http *http = calloc(1, sizeof *http);
	if (!http)
		return -ENOMEM;
	http->conf = *conf;
	http->conf.ca_file = conf->ca_file ? strdup(conf->ca_file) : NULL;
	if (!http->conf.connections)
		http->conf.connections = DEFAULT_CONNECTIONS;
	http->conf.connect_ms = conf->connect_ms ? conf->connect_ms : DEFAULT_CONNECT_MS;
	http->conf.stall_ms = conf->stall_ms ? conf->stall_ms : DEFAULT_STALL_MS;
	(void)pthread_mutex_init(&http->lock, NULL);
	for (int i = 0; i < CURL_LOCK_DATA_LAST; i++)
		(void)pthread_mutex_init(&http->share_locks[i], NULL);
	int r = http_pool_new(http->conf.connections, handle_free, &http->pool);
	if (r || !init_share(http) || (conf->ca_file && !http->conf.ca_file)) {
		http_free(http);
		return -ENOMEM;
	}
	*ret = http;
	return 0;
}

static struct handle *handle_new(void)
{
	struct handle *h = calloc(1, sizeof *h);
	if (!h)
		return NULL;
	h->easy = curl_easy_init();
	h->multi = curl_multi_init();
	if (h->easy && h->multi)
		return h;
	handle_free(h);
	return NULL;
}

static int acquire(struct http *http, const struct call *call, struct handle **ret)
{
	void *idle;
	int r = http_pool_enter(http->pool, call, &idle);
	if (r)
		return r;
	*ret = idle ? idle : handle_new();
	if (!*ret)
		http_pool_leave(http->pool, call, NULL);
	return *ret ? 0 : -ENOMEM;
}

static void release(struct http *http, const struct call *call, struct handle *h,
		    bool keep)
{
	if (keep)
		curl_easy_reset(h->easy);
	else
		handle_free(h);
	http_pool_leave(http->pool, call, keep ? h : NULL);
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	t->error = http_answer_line(&t->answer, line, size * n);
	return t->error ? 0 : size * n;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	t->error = http_answer_body(&t->answer, p, size * n);
	return t->error < 0 ? 0 : size * n;
}

static size_t on_read(char *p, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
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
	struct transfer *t = arg;
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
	struct transfer *t = arg;
	/* It is also called on the way out, after another callback's error. */
	if (!t->error)
		t->error = call_check(t->call);
	return t->error ? 1 : 0;
}

static int add_header(struct transfer *t, const char *name, const char *value)
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

static int make_headers(struct transfer *t)
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
	struct transfer *t = arg;
	t->sends++;
	return CURL_PREREQFUNC_OK;
}

/* Everything with a body but a file's goes out as POST with another name, which
 * is what makes libcurl send a Content-Length, also of 0. */
static void set_method(CURL *easy, const struct transfer *t)
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

static void set_limits(CURL *easy, const struct transfer *t)
{
	const struct http_conf *conf = &t->http->conf;
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
	(void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	(void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "mastfs/" MASTFS_VERSION);
}

static void set_options(CURL *easy, struct transfer *t, char *cause)
{
	const struct http *http = t->http;
	(void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, cause);
	(void)curl_easy_setopt(easy, CURLOPT_URL, t->rq->url);
	(void)curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	http_set_policy(easy);
	(void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)IDLE_MAX_S);
	(void)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)BUFFER_BYTES);
	(void)curl_easy_setopt(easy, CURLOPT_SHARE, http->share);
	if (http->conf.ca_file)
		(void)curl_easy_setopt(easy, CURLOPT_CAINFO, http->conf.ca_file);
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

/* The one place where libcurl's errors become ours. */
static int curl_errno(CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	case CURLE_URL_MALFORMAT:
		return -EINVAL;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
		return -EACCES;
	case CURLE_UNSUPPORTED_PROTOCOL: /* of the answer: ours is HTTP */
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_BAD_CONTENT_ENCODING:
		return -EBADMSG;
	default:
		return -ECOMM;
	}
}

static bool is_no_connection(CURLcode code)
{
	return code == CURLE_COULDNT_RESOLVE_PROXY ||
	       code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT ||
	       code == CURLE_SSL_CONNECT_ERROR;
}

static int judge(const struct transfer *t, CURLcode code, const char *cause)
{
	t->answer.reply->unreached = !t->error && is_no_connection(code);
	t->answer.reply->resent = t->sends > 1;
	int r = t->error < 0 ? t->error : curl_errno(code);
	/* libcurl's word for a header line that is too long, too. */
	if (!t->error && code == CURLE_OUT_OF_MEMORY && t->answer.reply->status)
		r = -EBADMSG;
	/* A server may refuse a body half-way and hang up: its answer counts. */
	if (code == CURLE_SEND_ERROR && t->answer.headers_done &&
	    t->answer.reply->status >= 400)
		r = 0;
	else if (!r)
		r = http_answer_check(&t->answer);
	if (r == -EBADMSG)
		cause = "the answer is not what was asked for";
	else if (t->error < 0)
		cause = ""; /* libcurl only knows that a callback failed */
	if (r)
		(void)snprintf(t->answer.reply->cause, sizeof t->answer.reply->cause,
			       "%s", *cause ? cause : strerror(-r));
	return r;
}

/* curl_easy_perform, but it looks at the call more often than once a second. */
static CURLcode perform(const struct handle *h)
{
	int running = 1, left;
	CURLMcode m = curl_multi_add_handle(h->multi, h->easy);
	while (!m && running) {
		m = curl_multi_perform(h->multi, &running);
		if (!m && running)
			m = curl_multi_poll(h->multi, NULL, 0, TICK_MS, NULL);
	}
	const CURLMsg *end = curl_multi_info_read(h->multi, &left);
	CURLcode code = !m && end ? end->data.result : CURLE_OUT_OF_MEMORY;
	(void)curl_multi_remove_handle(h->multi, h->easy);
	return code;
}

/* Too much for the server?  Every store says it in these words of HTTP. */
static void tell_pool(struct http *http, const struct http_reply *reply, int r)
{
	if (r == -ETIMEDOUT || (!r && (reply->status == 503 || reply->status == 429)))
		http_pool_overloaded(http->pool, clock_now_ns());
	else if (!r && http_is_2xx(reply))
		http_pool_went_well(http->pool);
}

/* How long the server thought.  A body that is sent would count as well. */
static void count_latency(CURL *easy, const struct transfer *t)
{
	curl_off_t ready = 0, answered = 0;
	if (t->sent || !t->answer.headers_done ||
	    curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &ready) ||
	    curl_easy_getinfo(easy, CURLINFO_STARTTRANSFER_TIME_T, &answered) ||
	    answered < ready)
		return;
	metrics_add_latency((uint64_t)(answered - ready) * 1000);
}

static void count(const struct transfer *t, int r)
{
	const struct http_reply *reply = t->answer.reply;
	bool ours = r == -EINTR || r == -ECANCELED; /* we broke it off */
	metrics_add(METRIC_REQUESTS, 1);
	if ((r && !ours) || reply->status == 429 || reply->status >= 500)
		metrics_add(METRIC_REQUESTS_FAILED, 1);
	metrics_add(METRIC_RECEIVED_BYTES, reply->received);
	metrics_add(METRIC_SENT_BYTES, t->sent);
}

static int send_on(struct handle *h, struct transfer *t)
{
	char cause[CURL_ERROR_SIZE] = "";
	uint64_t started_ns = clock_now_ns();
	set_options(h->easy, t, cause);
	metrics_add(METRIC_REQUESTS_NOW, 1);
	int r = judge(t, perform(h), cause);
	metrics_sub(METRIC_REQUESTS_NOW, 1);
	count_latency(h->easy, t);
	count(t, r);
	http_log_request(t->rq, t->answer.reply, r, started_ns);
	return r;
}

/* Where more connections go to (http_warm). */
static void note_origin(struct http *http, const struct http_request *rq)
{
	const char *host = strstr(rq->url, "://");
	size_t n = host ? (size_t)(host + 3 - rq->url) + strcspn(host + 3, "/?") : 0;
	if (!n || n + 2 > ORIGIN_SIZE || rq->local)
		return;
	SCOPED_LOCK(&http->lock);
	memcpy(http->origin, rq->url, n);
	memcpy(http->origin + n, "/", 2);
}

static int send_on_new(struct http *http, struct transfer *t)
{
	struct handle *h = handle_new();
	int r = make_headers(t);
	if (!h)
		r = -ENOMEM;
	if (!r)
		r = send_on(h, t);
	curl_slist_free_all(t->headers);
	if (h)
		release(http, t->call, h, !r);
	else
		http_pool_leave(http->pool, t->call, NULL);
	return r;
}

int http_warm(struct http *http, uint32_t n, struct call *call)
{
	char origin[ORIGIN_SIZE];
	CLEANUP_REPLY struct http_reply reply;
	struct http_request rq = {
		.method = "HEAD", .url = origin, .expect = HTTP_UNKNOWN};
	http_reply_init(&reply);
	{
		SCOPED_LOCK(&http->lock);
		memcpy(origin, http->origin, sizeof origin);
	}
	if (!*origin)
		return 0;
	int r = http_pool_enter_new(http->pool, n, call);
	if (r)
		return r == -EALREADY ? 0 : r;
	struct transfer t = {.http = http,
			     .rq = &rq,
			     .answer = {.rq = &rq, .reply = &reply},
			     .call = call};
	return send_on_new(http, &t);
}

int http_send(struct http *http, const struct http_request *rq, struct http_reply *ret,
	      struct call *call)
{
	struct transfer t = {
		.http = http, .rq = rq, .answer = {.rq = rq, .reply = ret}, .call = call};
	struct handle *h;
	buf_reset(&ret->headers);
	buf_reset(&ret->body);
	*ret = (struct http_reply){.headers = ret->headers, .body = ret->body};

	int r = http_check_scheme(rq, http->conf.allow_http, ret);
	if (!r)
		r = make_headers(&t);
	if (!r)
		r = acquire(http, call, &h);
	if (!r) {
		r = send_on(h, &t);
		tell_pool(http, ret, r);
		if (!r && http_is_2xx(ret))
			note_origin(http, rq);
		release(http, call, h, !r);
	}
	if (r && !*ret->cause)
		(void)snprintf(ret->cause, sizeof ret->cause, "%s", strerror(-r));
	curl_slist_free_all(t.headers);
	return r;
}
