/* cred_ask.c - see cred_ask.h. */
#include "backends/cred_ask.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "backends/date.h"
#include "backends/json.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/xml.h"
#include "backends/util/banned.h"

enum {
	/* A service of this machine answers at once or never; doubled for one that has
	 * taken the connection. */
	LOCAL_TIMEOUT_MS = 2000,
	TIMEOUT_MS = 30 * 1000,
	TRIES = 3,
	PAUSE_MS = 250,	   /* doubled each time */
	CLOCK_OFF_S = 240, /* less than any service forgives in a signature */
	WHY_MAX = 256,
	CODE_MAX = 128,
};

const char *cred_env(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

bool cred_header_safe(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s <= 0x20 || *s == 0x7f)
			return false;
	return true;
}

bool cred_url_is_safe(const char *url)
{
	struct endpoint ep;
	return !url_parse_origin(url, &ep) && (ep.https || url_host_is_loopback(ep.host));
}

void cred_wipe(struct buf *b)
{
	crypto_wipe(b->data, b->len);
	buf_done(b);
}

void cred_form(struct buf *body, struct url_param *params, size_t n)
{
	size_t kept = 0;
	for (size_t i = 0; i < n; i++)
		if (params[i].value)
			params[kept++] = params[i];
	url_add_query(body, params, kept);
}

int cred_read_file(const char *path, struct secret *ret)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	CLEANUP_FREE char *text = malloc(CRED_TOKEN_MAX + 1);
	if (!text)
		return -ENOMEM;
	size_t n = 0;
	ssize_t got = 1;
	while (got > 0 && n <= CRED_TOKEN_MAX) {
		got = read(fd, text + n, CRED_TOKEN_MAX + 1 - n);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			n += (size_t)got;
	}
	int r = got < 0 ? -errno : n > CRED_TOKEN_MAX ? -EFBIG : secret_set(ret, text, n);
	crypto_wipe(text, n);
	return r;
}

int cred_read_line(const char *path, struct secret *ret)
{
	int r = cred_read_file(path, ret);
	if (r)
		return r;
	while (ret->len && strchr("\r\n", ret->bytes[ret->len - 1]))
		ret->bytes[--ret->len] = '\0';
	if (ret->len && strlen(ret->bytes) == ret->len && cred_header_safe(ret->bytes))
		return 0;
	secret_done(ret);
	return -EBADMSG;
}

/* Seconds, as decimal digits, from an origin on. */
static int add_seconds(const char *digits, int64_t origin_ns, int64_t *ret_ns)
{
	uint64_t seconds;
	int64_t ns;
	if (http_parse_u64(digits, &seconds) ||
	    __builtin_mul_overflow(seconds, NS_PER_S, &ns) ||
	    __builtin_add_overflow(ns, origin_ns, ret_ns))
		return -EBADMSG;
	return 0;
}

int cred_from_bearer(const char *text, size_t n, struct cred *ret)
{
	CLEANUP_SECRET struct secret on = {0}, in = {0};
	CLEANUP_CRED struct cred cred = {.kind = CRED_BEARER};
	int r = json_get(text, n, "access_token", &cred.token);
	if (r || !cred.token.len || !cred_header_safe(cred.token.bytes))
		return r == -ENOMEM ? r : -EBADMSG;
	int has_on = json_get(text, n, "expires_on", &on);
	int has_in = has_on ? json_get(text, n, "expires_in", &in) : -ENOENT;
	if (has_on == -ENOMEM || has_in == -ENOMEM)
		return -ENOMEM;
	if (!has_on)
		r = add_seconds(on.bytes, 0, &cred.expires_ns);
	else if (!has_in)
		r = add_seconds(in.bytes, clock_wall_ns(), &cred.expires_ns);
	if (r)
		return r;
	*ret = cred;
	cred = (struct cred){0};
	return 0;
}

/* Amazon's token service says with a 400 that it is too busy, or that it did not reach
 * whoever vouches for us. */
static bool is_busy(const struct http_reply *reply)
{
	static const char *const codes[] = {"Throttling", "ThrottlingException",
					    "RequestLimitExceeded",
					    "IDPCommunicationError"};
	CLEANUP_BUF struct buf code;
	buf_init(&code, CODE_MAX);
	if (reply->status != 400 || !reply->body.len || *reply->body.data != '<' ||
	    xml_find(reply->body.data, reply->body.len, 3, "Code", &code))
		return false;
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		if (!strcmp(code.data, codes[i]))
			return true;
	return false;
}

static int error_of(const struct http_reply *reply)
{
	int status = reply->status;
	if (status >= 200 && status < 300)
		return 0;
	if (status == 429 || status == 503 || is_busy(reply))
		return -EBUSY;
	if (status >= 500 || status == 408 || status == 410)
		return -EREMOTEIO;
	return -EACCES;
}

static bool is_transient(int error)
{
	return error == -EBUSY || error == -EREMOTEIO || error == -ECOMM ||
	       error == -ETIMEDOUT || error == -EBADMSG;
}

static void add_member(const char *text, size_t n, const char *name, struct buf *why)
{
	CLEANUP_SECRET struct secret value = {0};
	if (!json_get(text, n, name, &value) && value.len)
		buf_addf(why, "%s%.*s", why->len ? ": " : "",
			 (int)strcspn(value.bytes, "\r\n"), value.bytes);
}

/* The service's own words, wherever its kind puts them. */
static void add_words(const struct http_reply *reply, struct buf *why)
{
	static const char *const names[] = {"error", "error_description", "status",
					    "code", "message"};
	const char *text = reply->body.data;
	size_t n = reply->body.len;
	CLEANUP_SECRET struct secret inner = {0};
	if (!json_get_nested(text, n, "error", &inner)) {
		text = inner.bytes;
		n = inner.len;
	}
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		add_member(text, n, names[i], why);
	if (why->len || *text != '<')
		return;
	/* ErrorResponse / Error / Code */
	(void)xml_find(text, n, 3, "Code", why);
	buf_adds(why, why->len ? ": " : "");
	(void)xml_find(text, n, 3, "Message", why);
}

/* A service may repeat what it was sent. */
static bool repeats(const struct cred_question *q, const char *why)
{
	for (size_t i = 0; i < sizeof q->hide / sizeof q->hide[0]; i++)
		if (q->hide[i] && *q->hide[i] && strstr(why, q->hide[i]))
			return true;
	return false;
}

static void log_failure(const struct cred_question *q, const struct http_reply *reply,
			int r)
{
	struct buf why;
	char status[32] = "";
	buf_init(&why, HTTP_ERROR_BODY_MAX + WHY_MAX);
	if (!reply->status)
		buf_adds(&why, reply->cause[0] ? reply->cause : strerror(-r));
	else
		add_words(reply, &why);
	if (repeats(q, why.data)) {
		cred_wipe(&why);
		buf_init(&why, WHY_MAX);
	}
	if (reply->status)
		(void)snprintf(status, sizeof status, "status %d%s", reply->status,
			       why.len ? ", " : "");
	log_error(q->topic, "%s, %.*s: %s%.*s", q->source, (int)strcspn(q->url, "?"),
		  q->url, status, WHY_MAX, why.data);
	cred_wipe(&why);
}

static int ask_once(struct http *http, const struct cred_question *q, uint32_t limit_ms,
		    struct http_reply *reply, struct call *call)
{
	struct http_header headers[8];
	struct http_request rq = {
		.method = q->method,
		.url = q->url,
		.headers = headers,
		.body = q->body ? q->body->data : NULL,
		.body_len = q->body ? q->body->len : 0,
		.expect = HTTP_UNKNOWN,
		.body_max = CRED_ANSWER_MAX,
		.stall_ms = q->local ? limit_ms : 0,
		.local = q->local,
	};
	uint64_t until_ns = clock_add(clock_now_ns(), limit_ms * NS_PER_MS);
	struct call soon = {.prio = PRIO_DEMAND, .outer = call};
	soon.deadline_ns =
		call && call->deadline_ns < until_ns ? call->deadline_ns : until_ns;
	for (size_t i = 0; i < q->n_headers && rq.n_headers < 8; i++)
		if (q->headers[i].value)
			headers[rq.n_headers++] = q->headers[i];
	int r = http_send(http, &rq, reply, &soon);
	return r ? r : error_of(reply);
}

/* Is it far from the service's, and is that not mended yet? */
static bool clock_is_off(const struct cred_question *q, const struct http_reply *reply)
{
	const char *date = http_header(reply, "date");
	int64_t theirs_ns;
	if (!q->clock_off_ns || *q->clock_off_ns || !date ||
	    date_parse_http(date, &theirs_ns))
		return false;
	int64_t off_ns = theirs_ns - clock_wall_ns();
	if (llabs(off_ns) < CLOCK_OFF_S * (int64_t)NS_PER_S)
		return false;
	*q->clock_off_ns = off_ns;
	return true;
}

int cred_ask(struct http *http, const struct cred_question *q, struct http_reply *reply,
	     struct call *call)
{
	uint64_t pause_ms = PAUSE_MS;
	uint32_t limit_ms = q->local ? LOCAL_TIMEOUT_MS : TIMEOUT_MS;
	int r;
	for (int i = 1;; i++, pause_ms *= 2) {
		r = ask_once(http, q, limit_ms, reply, call);
		/* Most machines are no instances. */
		if (is_transient(r) && q->absent_ok && !reply->connected)
			return -ENOENT;
		if (q->local && reply->connected)
			limit_ms *= 2;
		if (!is_transient(r) || i == TRIES || call_check(call))
			break;
		clock_sleep_ns(pause_ms * NS_PER_MS);
	}
	if (!r || r == -EINTR || r == -ENOMEM)
		return r;
	if (r == -EACCES && q->refused_ok)
		return -ENOENT;
	if (r == -EACCES && clock_is_off(q, reply))
		return -EAGAIN;
	log_failure(q, reply, r);
	return is_transient(r) ? r : -EACCES;
}

int cred_ask_failed(const struct cred_question *q, int error)
{
	log_error(q->topic, "%s, %.*s: %s", q->source, (int)strcspn(q->url, "?"), q->url,
		  error == -EBADMSG ? "no credentials in the answer" : strerror(-error));
	return error == -ENOMEM ? error : -EACCES;
}
