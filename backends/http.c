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
#include "backends/http_transfer.h"
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
};
#define SILENT_NS NS_PER_S /* without a byte: it is no load for the server */

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

static int judge(const struct http_transfer *t, CURLcode code, const char *cause)
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

/* When did it last move? */
struct pulse {
	uint64_t bytes, since_ns;
	bool silent;
};

static void feel_pulse(struct pulse *p, struct http *http, const struct http_transfer *t)
{
	const struct http_reply *reply = t->answer.reply;
	uint64_t bytes = t->sent + reply->headers.len + reply->received;
	uint64_t now = clock_now_ns();
	if (bytes != p->bytes || !p->since_ns)
		*p = (struct pulse){bytes, now, p->silent};
	bool silent = now - p->since_ns >= SILENT_NS;
	if (silent != p->silent)
		http_pool_silent(http->pool, t->call, silent);
	p->silent = silent;
}

/* curl_easy_perform, but it looks at the call more often than once a second. */
static CURLcode perform(struct http *http, const struct handle *h,
			const struct http_transfer *t)
{
	struct pulse pulse = {0};
	int running = 1, left;
	CURLMcode m = curl_multi_add_handle(h->multi, h->easy);
	while (!m && running) {
		m = curl_multi_perform(h->multi, &running);
		if (!m && running)
			m = curl_multi_poll(h->multi, NULL, 0, TICK_MS, NULL);
		feel_pulse(&pulse, http, t);
	}
	if (pulse.silent)
		http_pool_silent(http->pool, t->call, false);
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
static void count_latency(CURL *easy, const struct http_transfer *t)
{
	curl_off_t ready = 0, answered = 0;
	if (t->sent || !t->answer.headers_done ||
	    curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &ready) ||
	    curl_easy_getinfo(easy, CURLINFO_STARTTRANSFER_TIME_T, &answered) ||
	    answered < ready)
		return;
	metrics_add_latency((uint64_t)(answered - ready) * 1000);
}

static void count(const struct http_transfer *t, int r)
{
	const struct http_reply *reply = t->answer.reply;
	bool ours = r == -EINTR || r == -ECANCELED; /* we broke it off */
	metrics_add(METRIC_REQUESTS, 1);
	if ((r && !ours) || reply->status == 429 || reply->status >= 500)
		metrics_add(METRIC_REQUESTS_FAILED, 1);
	metrics_add(METRIC_RECEIVED_BYTES, reply->received);
	metrics_add(METRIC_SENT_BYTES, t->sent);
}

/* Also where the time was over before anything came. */
static bool was_connected(CURL *easy)
{
	curl_off_t ready_us = 0;
	return !curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &ready_us) &&
	       ready_us > 0;
}

static int send_on(struct http *http, struct handle *h, struct http_transfer *t)
{
	char cause[CURL_ERROR_SIZE] = "";
	uint64_t started_ns = clock_now_ns();
	http_transfer_set(h->easy, t, cause);
	metrics_add(METRIC_REQUESTS_NOW, 1);
	int r = judge(t, perform(http, h, t), cause);
	t->answer.reply->connected = was_connected(h->easy);
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

static int send_on_new(struct http *http, struct http_transfer *t)
{
	struct handle *h = handle_new();
	int r = http_transfer_headers(t);
	if (!h)
		r = -ENOMEM;
	if (!r)
		r = send_on(http, h, t);
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
	struct http_transfer t = {.conf = &http->conf,
				  .share = http->share,
				  .rq = &rq,
				  .answer = {.rq = &rq, .reply = &reply},
				  .call = call};
	return send_on_new(http, &t);
}

int http_send(struct http *http, const struct http_request *rq, struct http_reply *ret,
	      struct call *call)
{
	struct http_transfer t = {.conf = &http->conf,
				  .share = http->share,
				  .rq = rq,
				  .answer = {.rq = rq, .reply = ret},
				  .call = call};
	struct handle *h;
	buf_reset(&ret->headers);
	buf_reset(&ret->body);
	*ret = (struct http_reply){.headers = ret->headers, .body = ret->body};

	int r = http_check_scheme(rq, http->conf.allow_http, ret);
	if (!r)
		r = http_transfer_headers(&t);
	if (!r)
		r = acquire(http, call, &h);
	if (!r) {
		r = send_on(http, h, &t);
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
