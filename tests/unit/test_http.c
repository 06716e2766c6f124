/* test_http.c - the lies that libcurl lets pass, and that we do not (P1).
 *
 * A canned server sends back, byte for byte, what the test wrote down.
 */
#include "backends/http.h"
#include <errno.h>
#include <netdb.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "tests/unit/canned.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static struct http *http;

/* What reached the sink. */
struct taken {
	char bytes[256];
	size_t len;
	const struct http_range *want;
};

static int take(void *arg, uint64_t off, const void *bytes, size_t len)
{
	struct taken *t = arg;
	CHECK_EQ(off, t->want->off + t->len);
	CHECK(t->len + len <= sizeof t->bytes);
	memcpy(t->bytes + t->len, bytes, len);
	t->len += len;
	return 0;
}

static int accept_range(void *arg, const struct http_reply *reply)
{
	const struct taken *t = arg;
	return http_check_range(reply, t->want);
}

#define TEN "0123456789"

/* Bytes [10, 20) of 100 of version "v". */
static const struct http_range ten = {
	.off = 10, .len = 10, .total = 100, .etag = "\"v\""};

static int get_ten(const char *answer, struct taken *taken)
{
	struct server s = {0};
	CLEANUP(http_reply_done) struct http_reply reply;
	http_reply_init(&reply);
	server_start(&s, answer);
	*taken = (struct taken){.want = &ten};
	struct http_request rq = {.method = "GET",
				  .url = s.url,
				  .accept = accept_range,
				  .sink = take,
				  .arg = taken,
				  .sink_off = 10,
				  .expect = 10};
	int r = http_send(http, &rq, &reply, NULL);
	if (r < 0)
		CHECK(*reply.cause);
	server_stop(&s);
	return r;
}

#define OK206 "HTTP/1.1 206 Partial Content\r\nETag: \"v\"\r\n"
#define RANGE "Content-Range: bytes 10-19/100\r\n"

static void http__a_true_answer_is_delivered(void)
{
	static const char *const good[] = {
		OK206 RANGE "Content-Length: 10\r\n\r\n" TEN,
		OK206 RANGE "\r\n" TEN,
		OK206 RANGE "Transfer-Encoding: chunked\r\n\r\na\r\n" TEN "\r\n0\r\n\r\n",
		OK206 RANGE "Transfer-Encoding: chunked\r\n\r\na\r\n" TEN
			    "\r\n0\r\nContent-Length: 3\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\n" OK206 RANGE
		"CONTENT-LENGTH:10\r\n\r\n" TEN,
		"HTTP/1.1 206 Partial Content\r\netag: v\r\n" RANGE
		"Content-Length: 10\r\n\r\n" TEN,
	};
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct taken taken;
		CHECK_EQ(get_ten(good[i], &taken), 0);
		CHECK_EQ(taken.len, 10);
		CHECK(!memcmp(taken.bytes, TEN, 10));
	}
}

static void http__P1_a_lie_delivers_no_byte(void)
{
	static const struct {
		const char *answer;
		int error;
	} lies[] = {
		/* range ignored */
		{"HTTP/1.1 200 OK\r\nETag: \"v\"\r\nContent-Length: 10\r\n\r\n" TEN,
		 -EBADMSG},
		/* an error page under a 200 */
		{"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n<Error/>", -EBADMSG},
		{"HTTP/1.1 200 OK\r\nETag: \"v\"\r\n\r\n<Error/>12", -EBADMSG},
		/* another range, another total, no range, a range that is none */
		{OK206 "Content-Range: bytes 30-39/100\r\n\r\n" TEN, -EBADMSG},
		{OK206 "Content-Range: bytes 10-19/101\r\n\r\n" TEN, -EBADMSG},
		{OK206 "Content-Range: bytes 10-19/*\r\n\r\n" TEN, -EBADMSG},
		{OK206 "Content-Range: bytes 10-18/100\r\n\r\n" TEN, -EBADMSG},
		{OK206 "Content-Range: bytes -10-19/100\r\n\r\n" TEN, -EBADMSG},
		{OK206 "Content-Range: bytes 10-19/100 \x01\r\n\r\n" TEN, -EBADMSG},
		{OK206 "Content-Range: bytes 99999999999999999999910-19/100\r\n\r\n" TEN,
		 -EBADMSG},
		{OK206 "\r\n" TEN, -EBADMSG},
		/* another version, or none told */
		{"HTTP/1.1 206 X\r\nETag: \"w\"\r\n" RANGE "\r\n" TEN, -ESTALE},
		{"HTTP/1.1 206 X\r\n" RANGE "\r\n" TEN, -EBADMSG},
		/* an answer that says two things */
		{OK206 "ETag: \"w\"\r\n" RANGE "\r\n" TEN, -EBADMSG},
		{OK206 RANGE "Content-Range: bytes 30-39/100\r\n\r\n" TEN, -EBADMSG},
		/* lengths */
		{OK206 RANGE "Content-Length: 5\r\n\r\n01234", -EBADMSG},
		{OK206 RANGE "Content-Length: 20\r\n\r\n" TEN TEN, -EBADMSG},
		{OK206 RANGE "Content-Length: 10\r\nContent-Length: 5\r\n\r\n" TEN,
		 -EBADMSG},
		{OK206 RANGE "Content-Length: 10\r\nContent-Length: 10\r\n\r\n" TEN,
		 -EBADMSG},
		{OK206 RANGE "Content-Length: 99999999999999999999999\r\n\r\n" TEN,
		 -EBADMSG},
		{OK206 RANGE "Content-Length: -10\r\n\r\n" TEN, -EBADMSG},
		{OK206 RANGE "Content-Length: +10\r\n\r\n" TEN, -EBADMSG},
		{OK206 RANGE "Content-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n"
			     "a\r\n" TEN "\r\n0\r\n\r\n",
		 -EBADMSG},
	};
	for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
		struct taken taken;
		int r = get_ten(lies[i].answer, &taken);
		if (r != lies[i].error || taken.len)
			(void)fprintf(stderr, "lie %zu\n", i);
		CHECK_EQ(r, lies[i].error);
		CHECK_EQ(taken.len, 0);
	}
}

static void http__P1_a_short_body_is_an_error(void)
{
	static const char *const cut[] = {
		OK206 RANGE "Content-Length: 10\r\n\r\n01234",
		OK206 RANGE "\r\n01234",
		"HTTP/1.0 206 X\r\nETag: \"v\"\r\n" RANGE "\r\n01234",
		OK206 RANGE "Transfer-Encoding: chunked\r\n\r\na\r\n01234",
	};
	for (size_t i = 0; i < sizeof cut / sizeof cut[0]; i++) {
		struct taken taken;
		int r = get_ten(cut[i], &taken);
		CHECK(r == -ECOMM || r == -EBADMSG);
		CHECK(taken.len <= 5);
	}
}

static void http__P1_a_body_that_is_too_long_is_cut_before(void)
{
	struct taken taken;
	CHECK_EQ(get_ten(OK206 RANGE "\r\n" TEN TEN, &taken), -EBADMSG);
	CHECK(taken.len <= 10);
}

static void http__no_answer_is_ECOMM(void)
{
	struct taken taken;
	CHECK_EQ(get_ten("", &taken), -ECOMM);
	CHECK_EQ(get_ten("HTTP/1.1 206 Partial Content\r\nETag:", &taken), -ECOMM);
	CHECK(get_ten("SSH-2.0-OpenSSH\r\n", &taken) < 0);
	CHECK_EQ(taken.len, 0);
}

static int status_of(const char *line, size_t n)
{
	struct http_reply reply;
	http_reply_init(&reply);
	http_reply_status_line(&reply, line, n);
	return reply.status;
}

static void http__a_status_is_three_digits(void)
{
	CHECK_EQ(status_of("HTTP/1.1 206", 12), 206);
	CHECK_EQ(status_of("HTTP/1.1 206 X", 14), 206);
	CHECK_EQ(status_of("HTTP/1.1 2060 X", 15), 0);
	CHECK_EQ(status_of("HTTP/1.1 20", 11), 0);
	CHECK_EQ(status_of("HTTP\0 1.1 206 X", 16), 0);
}

/* With the quotes that a store forgot. */
static void http__an_etag_that_fits_is_kept(void)
{
	char given[2 * ETAG_SIZE], etag[ETAG_SIZE];
	for (size_t n = 1; n < ETAG_SIZE + 8; n++) {
		memset(given, 'e', n);
		given[n] = '\0';
		CHECK_EQ(http_parse_etag(given, etag), n + 2 < ETAG_SIZE ? 0 : -EBADMSG);
		given[0] = '"';
		CHECK_EQ(http_parse_etag(given, etag), n < ETAG_SIZE ? 0 : -EBADMSG);
	}
}

static void http__the_whole_object_may_come_as_200(void)
{
	struct http_reply reply;
	http_reply_init(&reply);
	http_reply_status_line(&reply, "HTTP/1.1 200 OK", 15);
	CHECK_EQ(http_reply_header_line(&reply, "ETag: \"v\"", 9), 0);
	CHECK_EQ(http_reply_header_line(&reply, "Content-Length: 100", 19), 0);
	struct http_range whole = {.len = 100, .total = 100, .etag = "\"v\""};
	struct http_range part = {.off = 1, .len = 99, .total = 100, .etag = "\"v\""};
	struct http_range longer = {.len = 100, .total = 200, .etag = ""};
	CHECK_EQ(http_check_range(&reply, &whole), 0);
	CHECK_EQ(http_check_range(&reply, &part), -EBADMSG);
	CHECK_EQ(http_check_range(&reply, &longer), -EBADMSG);
	whole.etag = "\"w\"";
	CHECK_EQ(http_check_range(&reply, &whole), -ESTALE);
	http_reply_done(&reply);
}

static void http__numbers_are_strict(void)
{
	static const char *const bad[] = {"",	"-1",  "+1",  " 1",
					  "1 ", "0x1", "1,1", "18446744073709551616"};
	uint64_t v;
	CHECK_EQ(http_parse_u64("18446744073709551615", &v), 0);
	CHECK(v == UINT64_MAX);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CHECK_EQ(http_parse_u64(bad[i], &v), -EBADMSG);
}

/* The body of an error is kept, bounded, and goes to no sink. */
static void http__an_error_page_is_kept_within_bounds(void)
{
	static char answer[200000];
	int n = snprintf(answer, sizeof answer,
			 "HTTP/1.1 503 Slow\r\nContent-Length: 100000\r\n"
			 "X-Amz-Request-Id: R1\r\n\r\n");
	memset(answer + n, 'x', 100000);
	struct server s = {0};
	struct taken taken = {.want = &ten};
	struct http_reply reply;
	http_reply_init(&reply);
	server_start(&s, answer);
	struct http_request rq = {.method = "GET",
				  .url = s.url,
				  .accept = accept_range,
				  .sink = take,
				  .arg = &taken,
				  .expect = 10};
	CHECK_EQ(http_send(http, &rq, &reply, NULL), 0);
	CHECK_EQ(reply.status, 503);
	CHECK_EQ(reply.body.len, HTTP_ERROR_BODY_MAX);
	CHECK_EQ(reply.received, 100000);
	CHECK_EQ(taken.len, 0);
	CHECK_STR(http_request_id(&reply), "R1");
	server_stop(&s);
	http_reply_done(&reply);
}

static void http__an_answer_in_memory_is_bounded(void)
{
	struct server s = {0};
	struct http_reply reply;
	http_reply_init(&reply);
	server_start(&s, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" TEN);
	struct http_request rq = {
		.method = "GET", .url = s.url, .expect = HTTP_UNKNOWN, .body_max = 9};
	CHECK_EQ(http_send(http, &rq, &reply, NULL), -EBADMSG);
	server_stop(&s);
	http_reply_done(&reply);
}

static void http__a_redirect_is_not_followed(void)
{
	struct server s = {0};
	struct http_reply reply;
	http_reply_init(&reply);
	server_start(&s, "HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/\r\n"
			 "Content-Length: 0\r\n\r\n");
	struct http_header token = {"x-amz-security-token", "secret"};
	struct http_request rq = {.method = "GET",
				  .url = s.url,
				  .headers = &token,
				  .n_headers = 1,
				  .expect = HTTP_UNKNOWN};
	CHECK_EQ(http_send(http, &rq, &reply, NULL), 0);
	CHECK_EQ(reply.status, 307);
	server_stop(&s);
	http_reply_done(&reply);
}

static void http__a_put_says_its_length(void)
{
	struct server s = {0};
	struct http_reply reply;
	http_reply_init(&reply);
	server_start(&s, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	CLEANUP_CLOSE int fd = memfd_create("body", MFD_CLOEXEC);
	CHECK_EQ(write(fd, "xxhelloyy", 9), 9);
	struct source src = {.fd = fd, .off = 2, .len = 5};
	struct http_request rq = {
		.method = "PUT", .url = s.url, .source = &src, .expect = HTTP_UNKNOWN};
	CHECK_EQ(http_send(http, &rq, &reply, NULL), 0);
	CHECK(strstr(s.seen, "Content-Length: 5\r\n"));
	CHECK(strstr(s.seen, "\r\n\r\nhello"));
	CHECK(!strstr(s.seen, "Expect:"));
	CHECK(!strstr(s.seen, "Content-Type:"));
	CHECK(strstr(s.seen, "Accept-Encoding: identity\r\n"));
	server_stop(&s);
	http_reply_done(&reply);
}

static void http__a_source_that_is_too_short_is_EIO(void)
{
	struct server s = {0};
	struct http_reply reply;
	http_reply_init(&reply);
	server_start(&s, "");
	CLEANUP_CLOSE int fd = memfd_create("body", MFD_CLOEXEC);
	CHECK_EQ(write(fd, "abc", 3), 3);
	struct source src = {.fd = fd, .len = 5};
	struct http_request rq = {
		.method = "PUT", .url = s.url, .source = &src, .expect = HTTP_UNKNOWN};
	CHECK_EQ(http_send(http, &rq, &reply, NULL), -EIO);
	server_stop(&s);
	http_reply_done(&reply);
}

static void http__a_header_cannot_be_smuggled(void)
{
	struct http_reply reply;
	http_reply_init(&reply);
	struct http_header bad = {"x-amz-meta-tag", "a\r\nx-evil: 1"};
	struct http_request rq = {.method = "GET",
				  .url = "http://127.0.0.1:1/",
				  .headers = &bad,
				  .n_headers = 1,
				  .expect = HTTP_UNKNOWN};
	CHECK_EQ(http_send(http, &rq, &reply, NULL), -EINVAL);
	http_reply_done(&reply);
}

static void http__plain_http_stays_on_this_machine(void)
{
	struct http_reply reply;
	http_reply_init(&reply);
	struct http_request rq = {
		.method = "GET", .url = "http://192.0.2.1/x", .expect = HTTP_UNKNOWN};
	CHECK_EQ(http_send(http, &rq, &reply, NULL), -EACCES);
	rq.url = "ftp://127.0.0.1/x";
	CHECK(http_send(http, &rq, &reply, NULL) < 0);
	rq.url = "file:///etc/passwd";
	CHECK(http_send(http, &rq, &reply, NULL) < 0);
	CHECK_EQ(reply.body.len, 0);
	http_reply_done(&reply);
}

static void http__P8_a_deadline_and_a_cancellation_end_a_wait(void)
{
	struct server s = {.delay_us = 1000000};
	struct http_reply reply;
	http_reply_init(&reply);
	server_start(&s, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	struct http_request rq = {.method = "GET", .url = s.url, .expect = HTTP_UNKNOWN};
	uint64_t start_ns = clock_now_ns();
	struct call call = {.deadline_ns = start_ns + 200 * NS_PER_MS};
	CHECK_EQ(http_send(http, &rq, &reply, &call), -ETIMEDOUT);
	CHECK(clock_now_ns() - start_ns < 900 * NS_PER_MS);
	atomic_bool cancelled = true;
	call = (struct call){.deadline_ns = CLOCK_NEVER, .cancelled = &cancelled};
	CHECK_EQ(http_send(http, &rq, &reply, &call), -EINTR);
	server_stop(&s);
	http_reply_done(&reply);
}

static void http__half_a_header_is_none(void)
{
	static char line[HTTP_HEADERS_MAX];
	struct http_reply reply;
	http_reply_init(&reply);
	memset(line, 'v', sizeof line);
	memcpy(line, "first: ", 7);
	/* there is room for the next one's name, and no more */
	size_t n = HTTP_HEADERS_MAX - 5;
	CHECK_EQ(http_reply_header_line(&reply, line, n), 0);
	CHECK_EQ(http_reply_header_line(&reply, "last: x", 7), -EBADMSG);
	CHECK(!http_header(&reply, "last"));
	CHECK(http_header(&reply, "first"));
	CHECK_STR(http_request_id(&reply), "-");
	http_reply_done(&reply);
}

/* libcurl's: a nameserver that is silent. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
		struct addrinfo **ret)
{
	(void)service;
	(void)hints;
	(void)ret;
	(void)name;
	clock_sleep_ns(20 * NS_PER_S);
	return EAI_AGAIN;
}

static void http__P8_a_silent_nameserver_is_not_waited_for(void)
{
	struct http_reply reply;
	http_reply_init(&reply);
	struct http_request rq = {.method = "GET",
				  .url = "https://store.invalid/b/k",
				  .expect = HTTP_UNKNOWN};
	uint64_t start_ns = clock_now_ns();
	struct call call = {.deadline_ns = start_ns + NS_PER_S / 2};
	CHECK_EQ(http_send(http, &rq, &reply, &call), -ETIMEDOUT);
	CHECK(clock_now_ns() - start_ns < 10 * NS_PER_S);
	http_reply_done(&reply);
}

int main(void)
{
	struct http_conf conf = {.connections = 2};
	CHECK_EQ(http_new(&conf, &http), 0);
	RUN(http__a_true_answer_is_delivered);
	RUN(http__P1_a_lie_delivers_no_byte);
	RUN(http__P1_a_short_body_is_an_error);
	RUN(http__P1_a_body_that_is_too_long_is_cut_before);
	RUN(http__no_answer_is_ECOMM);
	RUN(http__a_status_is_three_digits);
	RUN(http__an_etag_that_fits_is_kept);
	RUN(http__the_whole_object_may_come_as_200);
	RUN(http__numbers_are_strict);
	RUN(http__an_error_page_is_kept_within_bounds);
	RUN(http__an_answer_in_memory_is_bounded);
	RUN(http__a_redirect_is_not_followed);
	RUN(http__a_put_says_its_length);
	RUN(http__a_source_that_is_too_short_is_EIO);
	RUN(http__a_header_cannot_be_smuggled);
	RUN(http__plain_http_stays_on_this_machine);
	RUN(http__P8_a_deadline_and_a_cancellation_end_a_wait);
	RUN(http__half_a_header_is_none);
	RUN(http__P8_a_silent_nameserver_is_not_waited_for);
	http_free(http);
	return 0;
}
