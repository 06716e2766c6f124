/* request.c - see request.h. */
#include "backends/request.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/date.h"
#include "backends/retry.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum {
	URL_MAX_BYTES = 16 * 1024,  /* a key of 1024 bytes is 3072 encoded; tokens */
	AUTH_MAX_BYTES = 64 * 1024, /* bearer tokens are long */
	ASKING_CONNECTIONS = 4,
	SHOWN_MIN = 16,	      /* bytes of a credential that are one, and no chance */
	SKEW_FROM_S = 4 * 60, /* a clock off by less is not what was refused */
};

/* --- the store --- */

int store_init(struct store *st, const struct dialect *dialect,
	       const struct backend_ops *ops, const struct backend_conf *conf)
{
	struct http_conf http = {.connections = conf->connections,
				 .ca_file = conf->ca_file,
				 .allow_http = conf->allow_http};
	(void)pthread_mutex_init(&st->lock, NULL);
	st->dialect = dialect;
	st->be.ops = ops;
	st->be.caps = BACKEND_UPLOAD | BACKEND_COPY | BACKEND_PLACED;
	if (!conf->read_only)
		st->be.caps |= BACKEND_WRITE;
	int r = placement_new(conf->storage_class, &st->placement);
	if (!r)
		r = http_new(&http, &st->http);
	http.connections = ASKING_CONNECTIONS;
	return r ? r : http_new(&http, &st->asking);
}

int store_set_name(struct store *st, const char *root)
{
	CLEANUP_BUF struct buf name;
	size_t n = strlen(st->prefix);
	buf_init(&name, URL_MAX_BYTES);
	buf_addf(&name, "%s%s%.*s", root, n ? "/" : "", n ? (int)n - 1 : 0, st->prefix);
	st->root = strdup(root);
	st->be.name = buf_detach(&name);
	return st->root && st->be.name ? 0 : -ENOMEM;
}

void store_done(struct store *st)
{
	creds_free(st->creds);
	http_free(st->http);
	http_free(st->asking);
	placement_free(st->placement);
	(void)pthread_mutex_destroy(&st->lock);
	free(st->root);
	free(st->prefix);
	free(st->be.name);
}

int store_warm(struct backend *be, uint32_t n, struct call *call)
{
	return http_warm(((struct store *)be)->http, n, call);
}

int store_full_key(const struct store *st, const char *key, struct buf *ret)
{
	size_t before = ret->len;
	buf_adds(ret, st->prefix);
	buf_adds(ret, key);
	if (buf_error(ret))
		return buf_error_or(ret, -ENAMETOOLONG);
	return ret->len - before > STORE_KEY_MAX ? -ENAMETOOLONG : 0;
}

/* --- building --- */

void request_param(struct request *rq, const char *name, const char *value)
{
	assert(rq->n_params < REQUEST_PARAMS_MAX);
	rq->params[rq->n_params++] = (struct url_param){name, value};
}

void request_header(struct request *rq, const char *name, const char *value)
{
	if (!value)
		return;
	assert(rq->n_headers < REQUEST_HEADERS_MAX);
	rq->headers[rq->n_headers++] = (struct http_header){name, value};
}

void attempt_header(struct attempt *a, const char *name, const char *value)
{
	assert(a->n_headers < ATTEMPT_HEADERS_MAX);
	a->headers[a->n_headers++] = (struct http_header){name, value};
}

int attempt_url_error(const struct attempt *a)
{
	const struct buf *parts[] = {&a->host, &a->path, &a->query, &a->url};
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (buf_error(parts[i]))
			return buf_error_or(parts[i], -ENAMETOOLONG);
	return 0;
}

static void attempt_init(struct attempt *a)
{
	*a = (struct attempt){0};
	buf_init(&a->host, 512);
	buf_init(&a->path, URL_MAX_BYTES);
	buf_init(&a->query, URL_MAX_BYTES);
	buf_init(&a->url, (size_t)2 * URL_MAX_BYTES + 1024);
	buf_init(&a->auth, AUTH_MAX_BYTES);
}

/* A signature in a URL or a token is a secret, too. */
static void attempt_done(struct attempt *a)
{
	crypto_wipe(a->url.data, a->url.len);
	crypto_wipe(a->query.data, a->query.len);
	crypto_wipe(a->auth.data, a->auth.len);
	buf_done(&a->host);
	buf_done(&a->path);
	buf_done(&a->query);
	buf_done(&a->url);
	buf_done(&a->auth);
	cred_done(&a->cred);
}

static int make_attempt(struct store *st, const struct request *rq,
			const struct proof *proof, uint64_t stale, struct attempt *a,
			struct call *call)
{
	{
		SCOPED_LOCK(&st->lock);
		a->now_ns = clock_wall_ns() + st->skew_ns;
	}
	for (size_t i = 0; i < rq->n_headers; i++)
		attempt_header(a, rq->headers[i].name, rq->headers[i].value);
	if (proof->name)
		attempt_header(a, proof->name, proof->value);
	int r = st->creds ? creds_get(st->creds, stale, &a->cred, call) : 0;
	if (r)
		return r == -EACCES ? -EKEYEXPIRED : r;
	return st->dialect->make(st, rq, proof, a);
}

int store_server(struct store *st, struct buf *ret)
{
	const struct request rq = {.op = "reach", .method = "HEAD"};
	const struct proof none = {0};
	struct attempt a;
	attempt_init(&a);
	int r = make_attempt(st, &rq, &none, 0, &a, NULL);
	const char *host = r ? NULL : strstr(a.url.data, "://");
	if (host)
		buf_addf(ret, "%.*s/",
			 (int)((size_t)(host + 3 - a.url.data) + strcspn(host + 3, "/?")),
			 a.url.data);
	attempt_done(&a);
	return r ? r : buf_error(ret);
}

/* --- mending --- */

/* What has been tried, so that each is tried once. */
struct mended {
	bool place, clock, creds;
	uint64_t stale; /* generation of the credentials that were refused */
};

/* A server's date that is further away is nonsense, and added to ours overflows. */
#define SKEW_MOST_NS ((int64_t)100 * 365 * 86400 * (int64_t)NS_PER_S)

/* signed_ns: by which clock it was signed.  Another request may have set it right since,
 * and this one has only to be signed anew. */
static bool mend_clock(struct store *st, const struct http_reply *reply,
		       int64_t signed_ns)
{
	const char *date = http_header(reply, "date");
	int64_t server_ns;
	if (!date || date_parse_http(date, &server_ns))
		return false;
	SCOPED_LOCK(&st->lock);
	int64_t skew_ns;
	if (__builtin_sub_overflow(server_ns, clock_wall_ns(), &skew_ns) ||
	    skew_ns > SKEW_MOST_NS || skew_ns < -SKEW_MOST_NS)
		return false;
	int64_t off_ns = server_ns - signed_ns;
	int64_t limit_ns = (int64_t)SKEW_FROM_S * (int64_t)NS_PER_S;
	if (off_ns < limit_ns && off_ns > -limit_ns)
		return false;
	off_ns = skew_ns - st->skew_ns;
	if (off_ns < limit_ns && off_ns > -limit_ns)
		return true;
	log_warn(st->dialect->log,
		 "the clock of %s is %" PRId64 " s from ours: signing by its",
		 st->be.name, skew_ns / (int64_t)NS_PER_S);
	st->skew_ns = skew_ns;
	return true;
}

/* May asking again help? */
static bool mend(struct store *st, const struct store_error *e,
		 const struct http_reply *reply, const struct attempt *a,
		 struct mended *done)
{
	const struct dialect *d = st->dialect;
	if (d->moved && !done->place && d->moved(st, a, e))
		return done->place = true;
	bool refused = e->status == 403 || !strcmp(e->code, "RequestTimeTooSkewed");
	if (st->creds && refused && !done->clock && mend_clock(st, reply, a->now_ns))
		return done->clock = true;
	if (st->creds && !done->creds && a->cred.token.len && d->expired(e)) {
		done->stale = a->cred.generation;
		return done->creds = true;
	}
	return false;
}

/* --- failing --- */

int request_log(const struct store *st, const struct request *rq, int error,
		const char *cause, const struct http_reply *reply)
{
	enum log_level level = rq->quiet || st->quiet || error == rq->expected ||
					       store_errno_is_expected(error) ||
					       store_errno_is_transient(error)
				       ? LOG_LEVEL_DEBUG
				       : LOG_LEVEL_ERROR;
	char range[64] = "";
	if (rq->len)
		(void)snprintf(range, sizeof range, " [%" PRIu64 ",+%" PRIu64 ")",
			       rq->off, rq->len);
	log_line(level, st->dialect->log, "%s %s%s%s%s%s: %s (request id %s)", rq->op,
		 st->root, rq->key ? "/" : "", rq->key ? st->prefix : "",
		 rq->key ? rq->key : "", range, cause, http_request_id(reply));
	return error;
}

static void hint_retry_after(const struct http_reply *reply)
{
	uint64_t ms;
	const char *exact = http_header(reply, "x-amz-retry-after");
	const char *seconds = http_header(reply, "retry-after");
	if (!exact)
		exact = http_header(reply, "x-ms-retry-after-ms");
	if (exact && !http_parse_u64(exact, &ms))
		retry_after_hint(ms);
	else if (seconds && !http_parse_u64(seconds, &ms) && ms < UINT32_MAX)
		retry_after_hint(ms * 1000);
}

/* Credentials that are spent have been refused, what was asked has not. */
static int error_of(const struct store *st, const struct store_error *e)
{
	int error = st->dialect->error(e);
	return error == -EACCES && st->creds && st->dialect->expired(e) ? -EKEYEXPIRED
									: error;
}

/* The one place where an answer of a store becomes an errno. */
int request_fail(const struct store *st, const struct request *rq,
		 const struct store_error *e, const struct http_reply *reply)
{
	char cause[384];
	int error = error_of(st, e);
	if (error == -ENOENT && rq->on_404)
		error = rq->on_404;
	else if (error == -ESTALE && rq->on_412)
		error = rq->on_412;
	if (error == -EBUSY)
		hint_retry_after(reply);
	(void)snprintf(cause, sizeof cause, "%d %s%s%s", e->status, e->code,
		       *e->message ? ": " : "", e->message);
	return request_log(st, rq, error, cause, reply);
}

/* --- sending --- */

static int send_once(struct store *st, const struct request *rq, const struct attempt *a,
		     struct http_reply *reply, struct call *call)
{
	struct http_request hrq = {
		.method = rq->method,
		.url = a->url.data,
		.headers = a->headers,
		.n_headers = a->n_headers,
		.source = rq->source,
		.body = rq->body,
		.body_len = rq->body_len,
		.once = rq->once,
		.accept = rq->accept,
		.sink = rq->sink,
		.arg = rq->arg,
		.sink_off = rq->off,
		.expect = rq->len ? rq->len : HTTP_UNKNOWN,
		.body_max = REQUEST_BODY_MAX,
		.stall_ms = rq->slow ? REQUEST_SLOW_MS : 0,
	};
	int r = http_send(st->http, &hrq, reply, call);
	/* What the sink ended it with is the sink's to log. */
	if (!r || r == reply->sink_error)
		return r;
	if (r == -EACCES) /* nobody was asked: it was not proved who is there */
		r = -EKEYEXPIRED;
	return request_log(st, rq, r, reply->cause, reply);
}

/* A store may repeat in its answer what it was sent; its words go to the log. */
static void hide(struct buf *text, const struct secret *s)
{
	size_t shown = s->len < SHOWN_MIN ? s->len : SHOWN_MIN;
	char *p = text->data, *end = p + text->len;
	if (!text->len || shown < SHOWN_MIN / 2)
		return;
	while ((p = memmem(p, (size_t)(end - p), s->bytes, shown)))
		for (size_t i = 0; i < s->len && p < end && *p == s->bytes[i]; i++)
			*p++ = '*';
}

static bool succeeded(const struct request *rq, const struct http_reply *reply)
{
	return (reply->status >= 200 && reply->status < 300) ||
	       (rq->also && reply->status == rq->also);
}

/* One try.  1: what was wrong is mended, ask again. */
static int try(struct store *st, const struct request *rq, const struct proof *proof,
	       struct mended *mended, struct http_reply *reply, struct call *call)
{
	struct attempt a;
	struct store_error e;
	attempt_init(&a);
	int r = make_attempt(st, rq, proof, mended->stale, &a, call);
	if (!r && mended->stale && a.cred.generation == mended->stale)
		r = request_log(st, rq, -EKEYEXPIRED, "the credentials have expired",
				reply);
	else if (!r)
		r = send_once(st, rq, &a, reply, call);
	if (!r && !succeeded(rq, reply)) {
		hide(&reply->body, &a.cred.token);
		hide(&reply->body, &a.cred.secret);
		r = st->dialect->parse(reply, &e);
		if (!r && st->told)
			*st->told = e;
		if (r)
			r = request_log(st, rq, r, strerror(-r), reply);
		else if (mend(st, &e, reply, &a, mended))
			r = 1;
		else
			r = request_fail(st, rq, &e, reply);
	}
	attempt_done(&a);
	return r;
}

int request_send(struct store *st, const struct request *rq, struct http_reply *reply,
		 struct call *call)
{
	struct proof proof = {0};
	struct mended mended = {0};
	int r = st->dialect->prove ? st->dialect->prove(st, rq, &proof) : 0;
	if (r)
		return request_log(st, rq, r, strerror(-r), reply);
	do
		r = try(st, rq, &proof, &mended, reply, call);
	while (r == 1);
	return r;
}

/* A get under way: what its answer must be, and where its bytes go. */
struct get {
	const struct http_range *want;
	sink_fn *sink;
	void *arg;
};

static int get_accept(void *arg, const struct http_reply *reply)
{
	const struct get *g = arg;
	return http_check_range(reply, g->want);
}

static int get_sink(void *arg, uint64_t off, const void *bytes, size_t len)
{
	const struct get *g = arg;
	return g->sink(g->arg, off, bytes, len);
}

int request_get(struct store *st, struct request *rq, const char *range_header,
		const struct http_range *want, sink_fn *sink, void *arg,
		struct call *call)
{
	struct get g = {.want = want, .sink = sink, .arg = arg};
	CLEANUP_REPLY struct http_reply reply;
	char range[64];
	http_reply_init(&reply);
	(void)snprintf(range, sizeof range, "bytes=%" PRIu64 "-%" PRIu64, want->off,
		       want->off + want->len - 1);
	request_header(rq, range_header, range);
	rq->off = want->off;
	rq->len = want->len;
	rq->accept = get_accept;
	rq->sink = get_sink;
	rq->arg = &g;
	rq->on_404 = -ESTALE;
	rq->on_412 = -ESTALE;
	return request_send(st, rq, &reply, call);
}

/* A peek under way, and how many bytes its answer must have: 0 of an object that has
 * none. */
struct peek {
	struct first *first;
	uint64_t len;
};

static int peek_accept(void *arg, const struct http_reply *reply)
{
	struct peek *p = arg;
	char etag[ETAG_SIZE];
	const char *given = http_header(reply, "etag");
	struct http_range want = {.etag = etag};
	int r = given ? http_parse_etag(given, etag) : -EBADMSG;
	if (!r)
		r = http_whole_size(reply, &want.total);
	if (r)
		return r;
	want.len = want.total < p->first->max ? want.total : p->first->max;
	p->len = want.len;
	return http_check_range(reply, &want);
}

static int peek_sink(void *arg, uint64_t off, const void *bytes, size_t len)
{
	struct first *first = ((struct peek *)arg)->first;
	if (off != first->len || len > first->max - first->len)
		return -EBADMSG;
	memcpy((char *)first->bytes + first->len, bytes, len);
	first->len += len;
	return 0;
}

/* What is no answer to a range may be one to a head: 416 of an object without bytes, that
 * of an archived one, all of it from a server that knows no ranges. */
static bool peek_is_answered(int r)
{
	return !r || r == -ENOENT || r == -EINTR ||
	       (r != -EBADMSG && store_errno_is_transient(r));
}

int request_peek(struct store *st, struct request *rq, const char *range_header,
		 struct first *first, struct http_reply *reply, struct call *call)
{
	struct peek p = {.first = first};
	char range[64];
	(void)snprintf(range, sizeof range, "bytes=0-%zu", first->max - 1);
	request_header(rq, range_header, range);
	rq->accept = peek_accept;
	rq->sink = peek_sink;
	rq->arg = &p;
	rq->quiet = true;
	first->len = 0;
	int r = request_send(st, rq, reply, call);
	if (!r && first->len != p.len)
		r = -EBADMSG;
	return peek_is_answered(r) ? r : -EOPNOTSUPP;
}
