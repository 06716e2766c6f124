/* test_url.c - endpoints, buckets, percent-encoding. */
#include "backends/url.h"
#include <errno.h>
#include "backends/util/cleanup.h"
#include "tests/unit/check.h"

static void url__endpoints(void)
{
	static const struct {
		const char *url;
		bool https;
		int port;
		const char *host, *shown;
	} good[] = {
		{"https://s3.example.org", true, 443, "s3.example.org", "s3.example.org"},
		{"http://127.0.0.1:9000/", false, 9000, "127.0.0.1", "127.0.0.1:9000"},
		{"HTTP://localhost:80", false, 80, "localhost", "localhost"},
		{"https://[::1]:8443", true, 8443, "::1", "[::1]:8443"},
	};
	static const char *const bad[] = {
		"",
		"s3.example.org",
		"ftp://x",
		"http://",
		"http://a:0",
		"http://a:65536",
		"http://a:",
		"http://a/path",
		"http://a?x",
		"http://user@host",
		"http://[::1",
		"http://a b",
		"http://a:80x",
		"http://a\nb",
	};
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct endpoint ep;
		CLEANUP_BUF struct buf shown;
		buf_init(&shown, 512);
		CHECK_EQ(url_parse_endpoint(good[i].url, &ep), 0);
		CHECK_EQ(ep.https, good[i].https);
		CHECK_EQ(ep.port, good[i].port);
		CHECK_STR(ep.host, good[i].host);
		url_add_host(&shown, &ep);
		CHECK_STR(shown.data, good[i].shown);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct endpoint ep;
		CHECK_EQ(url_parse_endpoint(bad[i], &ep), -EINVAL);
	}
}

static void url__the_origin_of_a_whole_url(void)
{
	struct endpoint ep;
	CHECK_EQ(url_parse_origin("https://h:8/a?x://y", &ep), 0);
	CHECK_STR(ep.host, "h");
	CHECK_EQ(ep.port, 8);
	CHECK_EQ(url_parse_origin("http://127.0.0.1@evil.example/", &ep), -EINVAL);
	CHECK_EQ(url_parse_origin("no url", &ep), -EINVAL);
}

static void url__loopback_is_this_machine_only(void)
{
	CHECK(url_host_is_loopback("localhost"));
	CHECK(url_host_is_loopback("bucket.localhost"));
	CHECK(!url_host_is_loopback("notlocalhost"));
	CHECK(url_host_is_loopback("127.1.2.3"));
	CHECK(url_host_is_loopback("::1"));
	CHECK(!url_host_is_loopback("10.0.0.1"));
	CHECK(!url_host_is_loopback("127.0.0.1.example.org"));
	CHECK(!url_host_is_loopback("localhost.example.org"));
	CHECK(url_host_is_ip("10.0.0.1") && url_host_is_ip("fe80::1"));
	CHECK(!url_host_is_ip("example.org"));
}

static void url__buckets(void)
{
	static const char *const good[][3] = {
		{"s3://b", "b", ""},	     {"s3://b/", "b", ""},
		{"s3://b/p", "b", "p/"},     {"s3://b/p/q/", "b", "p/q/"},
		{"S3://b/a b", "b", "a b/"}, {"s3://t:b/x", "t:b", "x/"},
	};
	static const char *const bad[] = {
		"s3:/b", "s3://",    "s3:///p",		 "az://b",
		"b",	 "s3://a b", "s3://https://host"};
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		CLEANUP_FREE char *bucket = NULL;
		CLEANUP_FREE char *prefix = NULL;
		CHECK_EQ(url_parse_bucket(good[i][0], "s3", &bucket, &prefix), 0);
		CHECK_STR(bucket, good[i][1]);
		CHECK_STR(prefix, good[i][2]);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char *bucket, *prefix;
		CHECK_EQ(url_parse_bucket(bad[i], "s3", &bucket, &prefix), -EINVAL);
	}
}

static void url__every_byte_survives_encoding(void)
{
	char bytes[256];
	for (int i = 0; i < 256; i++)
		bytes[i] = (char)i;
	CLEANUP_BUF struct buf coded, back;
	buf_init(&coded, 1024);
	buf_init(&back, 1024);
	url_encode(&coded, bytes, sizeof bytes, true);
	CHECK_EQ(url_decode(&back, coded.data, coded.len, true), 0);
	CHECK_EQ(back.len, sizeof bytes);
	CHECK(!memcmp(back.data, bytes, sizeof bytes));
	buf_reset(&coded);
	url_encode(&coded, "a/b c+~%", 8, false);
	CHECK_STR(coded.data, "a%2Fb%20c%2B~%25");
}

static void url__plus_is_a_blank_only_when_told(void)
{
	CLEANUP_BUF struct buf out;
	buf_init(&out, 64);
	CHECK_EQ(url_decode(&out, "a+b%2B", 6, true), 0);
	CHECK_STR(out.data, "a b+");
	buf_reset(&out);
	CHECK_EQ(url_decode(&out, "a+b", 3, false), 0);
	CHECK_STR(out.data, "a+b");
	static const char *const bad[] = {"%", "%4", "%zz", "a%2"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CHECK_EQ(url_decode(&out, bad[i], strlen(bad[i]), false), -EBADMSG);
}

static void url__a_query_is_sorted(void)
{
	struct url_param params[] = {
		{"prefix", "a/b"}, {"list-type", "2"}, {"uploads", NULL}};
	CLEANUP_BUF struct buf out;
	buf_init(&out, 256);
	url_add_query(&out, params, 3);
	CHECK_STR(out.data, "list-type=2&prefix=a%2Fb&uploads=");
}

int main(void)
{
	RUN(url__endpoints);
	RUN(url__the_origin_of_a_whole_url);
	RUN(url__loopback_is_this_machine_only);
	RUN(url__buckets);
	RUN(url__every_byte_survives_encoding);
	RUN(url__plus_is_a_blank_only_when_told);
	RUN(url__a_query_is_sorted);
	return 0;
}
