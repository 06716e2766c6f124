/* test_s3_first.c - what an object's name comes with: answers to a range of its first
 * bytes that a real store seldom gives, and what becomes of them. */
#include "backends/s3.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "backends/util/log.h"
#include "tests/unit/canned.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

#define HEAD_OK                                                   \
	"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 5\r\n" \
	"Last-Modified: Fri, 24 May 2013 00:00:01 GMT\r\n\r\n"

static int peek_of(struct server *s, size_t max, struct object *ret, struct first *first,
		   char bytes[static 64])
{
	struct backend *be;
	char endpoint[64];
	struct backend_conf conf = {.url = "s3://b", .endpoint = endpoint};
	*first = (struct first){.bytes = bytes, .max = max, .len = 99};
	server_start(s, NULL);
	(void)snprintf(endpoint, sizeof endpoint, "%.*s", (int)(strlen(s->url) - 4),
		       s->url);
	CHECK_EQ(s3_open(&conf, &be), 0);
	int r = backend_peek(be, "k", ret, first, NULL);
	server_stop(s);
	be->ops->free(be);
	return r;
}

#define FIRST(range, rest)                                                    \
	"HTTP/1.1 206 X\r\nETag: \"e\"\r\nContent-Range: bytes " range "\r\n" \
	"Content-Length: " rest

/* What is no answer to a range is asked for as a head (P1): bytes are never believed in
 * the place of others. */
static void s3_first__P1_they_are_the_range_or_none(void)
{
	static const char *const others[] = {
		FIRST("1-3/5", "3\r\n\r\nbcd"),
		FIRST("0-3/5", "4\r\n\r\nabcd"),
		FIRST("0-1/5", "2\r\n\r\nab"),
		FIRST("0-2/5", "4\r\n\r\nabcd"),
		FIRST("0-2/*", "3\r\n\r\nabc"),
		FIRST("0-2/2", "3\r\n\r\nabc"),
		FIRST("bytes", "3\r\n\r\nabc"),
		"HTTP/1.1 206 X\r\nETag: \"e\"\r\n"
		"Content-Length: 3\r\n\r\nabc",
		"HTTP/1.1 206 X\r\nContent-Range: bytes 0-2/5\r\n"
		"Content-Length: 3\r\n\r\nabc",
		/* It knows no ranges. */
		"HTTP/1.1 200 X\r\nETag: \"e\"\r\nContent-Length: 5\r\n\r\nabcde",
		"HTTP/1.1 200 X\r\nETag: \"e\"\r\n\r\nabc",
		/* It has no bytes; it is archived; we may ask for heads alone. */
		"HTTP/1.1 416 X\r\n\r\n",
		"HTTP/1.1 403 X\r\nContent-Length: 38\r\n\r\n"
		"<Error><Code>InvalidObjectState</Code>",
		"HTTP/1.1 403 X\r\n\r\n",
	};
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		struct object obj = {0};
		struct first first;
		char bytes[64];
		struct server s = {.answers = {others[i], HEAD_OK}};
		CHECK_EQ(peek_of(&s, 3, &obj, &first, bytes), 0);
		CHECK_EQ(s.served, 2);
		CHECK(!strncmp(s.seen, "HEAD ", 5));
		CHECK_EQ(obj.size, 5);
		CHECK_EQ(first.len, 0);
	}
}

static void s3_first__they_come_with_all_that_a_head_says(void)
{
	struct object obj;
	struct first first;
	char bytes[64];
	struct server s = {.answers = {FIRST("0-2/5", "3\r\nx-amz-meta-mtime: 1.5\r\n"
						      "x-amz-meta-mastfs-tag: t\r\n"
						      "\r\nabc")}};
	CHECK_EQ(peek_of(&s, 3, &obj, &first, bytes), 0);
	CHECK(strstr(s.seen, "\r\nrange: bytes=0-2\r\n"));
	CHECK_EQ(obj.size, 5);
	CHECK_STR(obj.etag, "\"e\"");
	CHECK_STR(obj.tag, "t");
	CHECK_EQ(obj.mtime_ns, 1500000000);
	CHECK_EQ(first.len, 3);
	CHECK(!memcmp(bytes, "abc", 3));
	/* All of it, whatever the server calls that. */
	struct server t = {.answers = {FIRST("0-4/5", "5\r\n\r\nabcde")}};
	CHECK_EQ(peek_of(&t, 9, &obj, &first, bytes), 0);
	CHECK_EQ(first.len, 5);
	struct server u = {.answers = {"HTTP/1.1 200 X\r\nETag: \"e\"\r\n"
				       "Content-Length: 5\r\n\r\nabcde"}};
	CHECK_EQ(peek_of(&u, 9, &obj, &first, bytes), 0);
	CHECK_EQ(first.len, 5);
	struct server w = {.answers = {"HTTP/1.1 200 X\r\nETag: \"e\"\r\n"
				       "Content-Length: 0\r\n\r\n"}};
	CHECK_EQ(peek_of(&w, 9, &obj, &first, bytes), 0);
	CHECK_EQ(obj.size, 0);
	CHECK_EQ(first.len, 0);
}

/* What passes is for the retry wrapper, and no object is no object. */
static void s3_first__they_fail_as_a_head_does(void)
{
	struct object obj;
	struct first first;
	char bytes[64];
	struct server s = {.answers = {"HTTP/1.1 503 X\r\n\r\n"}};
	CHECK_EQ(peek_of(&s, 3, &obj, &first, bytes), -EBUSY);
	CHECK_EQ(first.len, 0);
	struct server t = {.answers = {FIRST("0-2/5", "3\r\n\r\nab")}};
	CHECK_EQ(peek_of(&t, 3, &obj, &first, bytes), -ECOMM);
	CHECK_EQ(first.len, 0);
	struct server u = {.answers = {"HTTP/1.1 404 X\r\nContent-Length: 29\r\n\r\n"
				       "<Error><Code>NoSuchKey</Code>"}};
	CHECK_EQ(peek_of(&u, 3, &obj, &first, bytes), -ENOENT);
	CHECK_EQ(u.served, 1);
}

int main(void)
{
	log_use_fd(memfd_create("log", MFD_CLOEXEC));
	CHECK(!setenv("AWS_ACCESS_KEY_ID", "A", 1));
	CHECK(!setenv("AWS_SECRET_ACCESS_KEY", "S", 1));
	CHECK(!setenv("AWS_CONFIG_FILE", "/dev/null", 1));
	CHECK(!setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null", 1));
	CHECK(!unsetenv("AWS_PROFILE") && !unsetenv("AWS_SESSION_TOKEN"));
	RUN(s3_first__P1_they_are_the_range_or_none);
	RUN(s3_first__they_come_with_all_that_a_head_says);
	RUN(s3_first__they_fail_as_a_head_does);
	return 0;
}
