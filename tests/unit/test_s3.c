/* test_s3.c - answers that a real store seldom gives, and what becomes of them. */
#include "backends/s3.h"
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backends/crc.h"
#include "backends/s3_error.h"
#include "backends/s3_request.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "tests/unit/canned.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

#define HEAD_OK                                                   \
	"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 5\r\n" \
	"Last-Modified: Fri, 24 May 2013 00:00:01 GMT\r\n\r\n"
#define XML(body) "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" body

static struct backend *open_at(struct server *s, const char *url)
{
	struct backend *be;
	char endpoint[64];
	(void)snprintf(endpoint, sizeof endpoint, "%.*s", (int)(strlen(s->url) - 4),
		       s->url);
	struct backend_conf conf = {.url = url, .endpoint = endpoint};
	CHECK_EQ(s3_open(&conf, &be), 0);
	return be;
}

static int head_of(struct server *s, struct object *ret)
{
	server_start(s, NULL);
	struct backend *be = open_at(s, "s3://b");
	int r = be->ops->head(be, "k", ret, NULL);
	server_stop(s);
	be->ops->free(be);
	return r;
}

static void s3__a_bucket_elsewhere_is_found_once(void)
{
	struct object obj;
	struct server s = {.answers = {"HTTP/1.1 301 X\r\nx-amz-bucket-region: eu-x-1\r\n"
				       "Location: http://127.0.0.1:1/\r\n\r\n",
				       HEAD_OK}};
	CHECK_EQ(head_of(&s, &obj), 0);
	CHECK_EQ(obj.size, 5);
	CHECK_STR(obj.etag, "\"e\"");
	CHECK_EQ(obj.mtime_ns, 1369353601000000000);
	CHECK(strstr(s.seen, "/eu-x-1/s3/aws4_request"));
	struct server t = {.answers = {"HTTP/1.1 301 X\r\nx-amz-bucket-region: a\r\n\r\n",
				       "HTTP/1.1 301 X\r\nx-amz-bucket-region: b\r\n\r\n",
				       HEAD_OK}};
	CHECK_EQ(head_of(&t, &obj), -EINVAL);
	CHECK_EQ(t.served, 2);
}

/* Before it is copied. */
#define LOOKED_AT "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"

/* Its parts would cost money for ever: no row of the journal knows them. */
static void s3__a_copy_that_ran_out_of_time_leaves_no_parts(void)
{
	struct object obj;
	struct put_opts opts = {0};
	struct object from = {.size = 100, .etag = "\"e\""};
	struct server s = {.delay_us = 1000000,
			   .answers = {LOOKED_AT,
				       XML("<InitiateMultipartUploadResult><UploadId>u1"
					   "</UploadId></InitiateMultipartUploadResult>"),
				       XML("too late"), "HTTP/1.1 204 X\r\n\r\n"}};
	server_start(&s, NULL);
	struct backend *be = open_at(&s, "s3://b");
	s3_set_copy_max_for_test(be, 60);
	struct call call = {.deadline_ns = clock_now_ns() + 2600 * NS_PER_MS};
	CHECK_EQ(be->ops->copy(be, "k", &from, "to", &opts, &obj, &call), -ETIMEDOUT);
	server_stop(&s);
	be->ops->free(be);
	CHECK_EQ(s.served, 4);
	CHECK(strstr(s.seen, "DELETE /b/to?uploadId=u1 "));
}

/* Two requests that were under way when it was found out: each goes there. */
static void s3__a_bucket_elsewhere_is_found_by_all_at_once(void)
{
	struct backend_conf conf = {.url = "s3://b", .region = "us-east-1"};
	struct store_error e = {.status = 400, .region = "eu-x-1"};
	struct attempt here = {.region = "us-east-1"}, there = {.region = "eu-x-1"};
	struct backend *be;
	CHECK_EQ(s3_open(&conf, &be), 0);
	CHECK(s3_dialect.moved((struct store *)be, &here, &e));
	CHECK(s3_dialect.moved((struct store *)be, &here, &e));
	CHECK_STR(s3_dialect.region((struct store *)be), "eu-x-1");
	CHECK(!s3_dialect.moved((struct store *)be, &there, &e));
	be->ops->free(be);
}

static void s3__a_region_that_is_none_is_not_believed(void)
{
	struct object obj;
	struct server s = {
		.answers = {
			"HTTP/1.1 301 X\r\nx-amz-bucket-region: evil.example/\r\n\r\n",
			HEAD_OK}};
	CHECK_EQ(head_of(&s, &obj), -EINVAL);
	CHECK_EQ(s.served, 1);
}

static void s3__a_clock_that_is_off_is_corrected_once(void)
{
	struct object obj;
	struct server s = {
		.answers = {
			"HTTP/1.1 403 X\r\nDate: Fri, 24 May 2013 00:00:01 GMT\r\n\r\n",
			HEAD_OK}};
	CHECK_EQ(head_of(&s, &obj), 0);
	CHECK(strstr(s.seen, "x-amz-date: 20130524T00000"));
	struct server t = {
		.answers = {
			"HTTP/1.1 403 X\r\nDate: Fri, 24 May 2013 00:00:01 GMT\r\n\r\n",
			"HTTP/1.1 403 X\r\nDate: Fri, 24 May 2019 00:00:01 GMT\r\n\r\n",
			HEAD_OK}};
	CHECK_EQ(head_of(&t, &obj), -EACCES);
	CHECK_EQ(t.served, 2);
}

static void s3__expired_keys_are_asked_for_once(void)
{
	struct object obj;
	CHECK(!setenv("AWS_SESSION_TOKEN", "old", 1));
	struct server s = {.answers = {"HTTP/1.1 400 X\r\n\r\n", HEAD_OK}};
	/* the environment has no others */
	CHECK_EQ(head_of(&s, &obj), -EKEYEXPIRED);
	CHECK_EQ(s.served, 1);
	CHECK(strstr(s.seen, "x-amz-security-token: old\r\n"));
	CHECK(!unsetenv("AWS_SESSION_TOKEN"));
}

static void s3__a_token_that_comes_back_is_not_logged(void)
{
	static const char token[] = "canary-token-of-the-session-0123456789";
	char text[4096] = "";
	struct server s = {
		.answers = {
			"HTTP/1.1 403 X\r\nConnection: close\r\n\r\n<Error><Code>Denied"
			"</Code><Message>you sent canary-token-of-the-session-0123456789 "
			"to me</Message></Error>"}};
	int fd = memfd_create("log", MFD_CLOEXEC);
	log_use_fd(dup(fd));
	CHECK(!setenv("AWS_SESSION_TOKEN", token, 1));
	server_start(&s, NULL);
	struct backend *be = open_at(&s, "s3://b");
	CHECK_EQ(be->ops->del(be, "k", NULL, NULL), -EACCES);
	server_stop(&s);
	be->ops->free(be);
	CHECK(!unsetenv("AWS_SESSION_TOKEN"));
	log_use_fd(dup(STDERR_FILENO));
	CHECK(pread(fd, text, sizeof text - 1, 0) > 0);
	CHECK(!close(fd));
	CHECK(strstr(text, "you sent ****"));
	CHECK(!strstr(text, "canary"));
}

#define PART_COPIED XML("<CopyPartResult><ETag>\"p\"</ETag></CopyPartResult>")

/* In two parts, onto to; wanted: of the request that finishes it. */
static void copies_in_parts(const char *to, const char *wanted, int met, uint32_t caps,
			    struct cond cond, int r)
{
	struct object obj, from = {.size = 9, .etag = "\"old\""};
	struct put_opts opts = {.cond = cond};
	struct server s = {.wanted = wanted,
			   .answers = {LOOKED_AT,
				       XML("<InitiateMultipartUploadResult><UploadId>u1"
					   "</UploadId></InitiateMultipartUploadResult>"),
				       PART_COPIED, PART_COPIED,
				       XML("<CompleteMultipartUploadResult><ETag>\"e\""
					   "</ETag></CompleteMultipartUploadResult>"),
				       "HTTP/1.1 200 OK\r\nETag: \"e\"\r\n"
				       "Content-Length: 9\r\n\r\n"}};
	server_start(&s, NULL);
	struct backend *be = open_at(&s, "s3://b");
	s3_set_copy_max_for_test(be, 5);
	be->caps |= caps;
	CHECK_EQ(be->ops->copy(be, "k", &from, to, &opts, &obj, NULL), r);
	server_stop(&s);
	be->ops->free(be);
	CHECK_EQ(s.served, r ? 0 : 6);
	CHECK_EQ(s.met, met);
}

static void s3__P5_a_copy_in_parts_is_conditional(void)
{
	const uint32_t can = BACKEND_FINISH_IF;
	const struct cond none = {0}, absent = {.if_absent = true};
	const struct cond same = {.if_etag = "\"there\""};
	/* the HEAD of the source is, always; onto itself: not over what another client
	 * has put there meanwhile */
	copies_in_parts("k", "\r\nif-match: \"old\"", 2, can, none, 0);
	copies_in_parts("k", "\r\nif-match: ", 1, 0, none, 0);
	copies_in_parts("to", "\r\nif-match: ", 1, can, none, 0);
	copies_in_parts("to", "\r\nif-match: \"there\"", 1, can, same, 0);
	copies_in_parts("to", "\r\nif-none-match: *", 1, can, absent, 0);
	copies_in_parts("to", NULL, 0, 0, absent, -EOPNOTSUPP);
}

#define ABSENT	 "HTTP/1.1 404 X\r\n\r\n<Error><Code>NoSuchKey</Code></Error>"
#define NOT_HERE "HTTP/1.1 404 Not Found\r\n\r\n404 page not found\n"

static void s3__P10_a_404_counts_if_the_store_sent_it(void)
{
	static const char bare[] = "HTTP/1.1 404 X\r\n\r\n";
	struct object obj;
	struct server known = {
		.answers = {"HTTP/1.1 404 X\r\nx-amz-request-id: 1\r\n\r\n"}};
	CHECK_EQ(head_of(&known, &obj), -ENOENT);
	CHECK_EQ(known.served, 1);
	struct server told = {.answers = {bare, ABSENT}};
	CHECK_EQ(head_of(&told, &obj), -ENOENT);
	CHECK_EQ(told.served, 2);
	struct server proxy = {.answers = {bare, NOT_HERE}};
	CHECK_EQ(head_of(&proxy, &obj), -EREMOTEIO);
	struct server there = {.answers = {bare, XML("x")}};
	CHECK_EQ(head_of(&there, &obj), -EREMOTEIO);
}

static void s3__a_head_without_a_size_is_no_answer(void)
{
	struct object obj;
	struct server s = {.answers = {"HTTP/1.1 200 OK\r\nETag: \"e\"\r\n\r\n"}};
	struct server t = {.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"}};
	CHECK_EQ(head_of(&s, &obj), -EBADMSG);
	CHECK_EQ(head_of(&t, &obj), -EBADMSG);
}

static int finish(const char *answer, const char *head)
{
	struct server s = {.answers = {answer, head}};
	struct part part = {.number = 1, .size = 5, .receipt = "\"p\" AAAAAAAAAAA="};
	struct put_opts opts = {.cond.if_absent = true};
	struct object obj;
	server_start(&s, NULL);
	struct backend *be = open_at(&s, "s3://b");
	int r = be->ops->upload_finish(be, "k", "id", &part, 1, 5, &opts, &obj, NULL);
	if (!head)
		CHECK(strstr(s.seen,
			     "<PartNumber>1</PartNumber><ETag>&quot;p&quot;</ETag>"
			     "<ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME>"));
	server_stop(&s);
	be->ops->free(be);
	return r;
}

#define COMPLETE                                              \
	"<CompleteMultipartUploadResult><ETag>\"e\"</ETag></" \
	"CompleteMultipartUploadResult>"

static void s3__P2_200_is_not_success(void)
{
	CHECK_EQ(finish(XML(""), NULL), -EREMOTEIO);
	CHECK_EQ(finish(XML("  \n"), NULL), -EREMOTEIO);
	CHECK_EQ(finish(XML("<html></html>"), NULL), -EREMOTEIO);
	CHECK_EQ(finish(XML(" <Error><Code>InternalError</Code></Error>"), NULL),
		 -EREMOTEIO);
	CHECK_EQ(finish(XML("<Error><Code>PreconditionFailed</Code></Error>"), NULL),
		 -EEXIST);
	CHECK_EQ(finish(XML("<Error><Code>NoSuchUpload</Code></Error>"), NULL), -ENXIO);
	CHECK_EQ(finish(XML("<Error><Code>SlowDown</Code></Error>"), NULL), -EBUSY);
	/* cut short */
	CHECK_EQ(finish(XML("<CompleteMultipartUploadResult><ETag>"), NULL), -EREMOTEIO);
	/* true, but the object is not what was sent */
	CHECK_EQ(finish(XML(COMPLETE), HEAD_OK), 0);
	CHECK_EQ(finish(XML(COMPLETE), "HTTP/1.1 200 OK\r\nETag: \"e\"\r\n"
				       "Content-Length: 4\r\n\r\n"),
		 -EBADE);
	CHECK_EQ(finish(XML(COMPLETE), "HTTP/1.1 404 X\r\nx-amz-request-id: 1\r\n\r\n"),
		 -EREMOTEIO);
}

/* The whole is what the parts are, and the store says what it has. */
static int finish_with_sums(const char *head, bool takes)
{
	struct server s = {.answers = {XML(COMPLETE), head}};
	struct part parts[] = {
		{.number = 1, .size = 5, .receipt = "\"p\" rosUhgp5mIg="},
		{.number = 2, .size = 4, .receipt = "\"q\" rosUhgp5mIg="}};
	struct put_opts opts = {0};
	struct object obj;
	server_start(&s, NULL);
	struct backend *be = open_at(&s, "s3://b");
	s3_set_crc64_for_test(be, takes);
	int r = be->ops->upload_finish(be, "k", "id", parts, 2, 9, &opts, &obj, NULL);
	CHECK(!strstr(s.seen, "x-amz-checksum-mode: ENABLED") == !takes);
	server_stop(&s);
	be->ops->free(be);
	return r;
}

#define HEAD_SUM(sum)                                             \
	"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 9\r\n" \
	"x-amz-checksum-crc64nvme: " sum "\r\n\r\n"

static void s3__P2_the_finished_object_has_the_checksum_of_its_parts(void)
{
	char right[64], head[256];
	uint64_t one = UINT64_C(0xae8b14860a799888);
	CHECK_EQ(s3_sum_text(crc64nvme_combine(one, one, 4), right), 0);
	(void)snprintf(head, sizeof head, HEAD_SUM("%s"), right);
	CHECK_EQ(finish_with_sums(head, true), 0);
	CHECK_EQ(finish_with_sums(HEAD_SUM("rosUhgp5mIg="), true), -EBADE);
	/* one that tells no checksum, one that was not asked for it */
	CHECK_EQ(finish_with_sums("HTTP/1.1 200 OK\r\nETag: \"e\"\r\n"
				  "Content-Length: 9\r\n\r\n",
				  true),
		 0);
	CHECK_EQ(finish_with_sums(HEAD_SUM("rosUhgp5mIg="), false), 0);
}

/* What proves the bytes of a put, in the request that was seen. */
static bool put_shows(bool crc64, bool anonymous, const char *proof)
{
	struct server s = {.answers = {"HTTP/1.1 200 OK\r\nETag: \"e\"\r\n"
				       "Content-Length: 0\r\n\r\n"}};
	struct put_opts opts = {0};
	struct object obj;
	char endpoint[64];
	CLEANUP_CLOSE int fd = memfd_create("source", MFD_CLOEXEC);
	CHECK_EQ(write(fd, "123456789", 9), 9);
	server_start(&s, NULL);
	(void)snprintf(endpoint, sizeof endpoint, "%.*s", (int)(strlen(s.url) - 4),
		       s.url);
	struct backend_conf conf = {
		.url = "s3://b", .endpoint = endpoint, .anonymous = anonymous};
	struct backend *be;
	CHECK_EQ(s3_open(&conf, &be), 0);
	s3_set_crc64_for_test(be, crc64);
	struct source src = {.fd = fd, .len = 9};
	CHECK_EQ(be->ops->put(be, "k", &src, &opts, &obj, NULL), 0);
	server_stop(&s);
	be->ops->free(be);
	return strstr(s.seen, proof);
}

static void s3__every_body_comes_with_a_checksum(void)
{
	for (int anonymous = 0; anonymous <= 1; anonymous++) {
		CHECK(put_shows(true, anonymous,
				"x-amz-checksum-crc64nvme: rosUhgp5mIg=\r\n"));
		CHECK(put_shows(false, anonymous,
				"content-md5: JfnnlDI7RTiF9RgfG2JNCw==\r\n"));
	}
	CHECK(put_shows(true, false,
			"x-amz-content-sha256: 15e2b0d3c33891ebb0f1ef609ec419420c20e3"));
}

struct seen {
	char text[1024];
};

static int note(void *arg, const char *key, size_t len, const struct object *obj)
{
	struct seen *seen = arg;
	size_t n = strlen(seen->text);
	for (size_t i = 0; i < len; i++)
		seen->text[n++] = key[i] ? key[i] : '@';
	(void)snprintf(seen->text + n, sizeof seen->text - n, obj ? "=%d " : " ",
		       obj ? (int)obj->size : 0);
	return 0;
}

static int list(const char *answer, struct seen *seen, char **token)
{
	struct server s = {.answers = {answer}};
	struct list_query q = {.prefix = "d/", .delim = '/'};
	*seen = (struct seen){""};
	*token = NULL;
	server_start(&s, NULL);
	struct backend *be = open_at(&s, "s3://b/p");
	int r = be->ops->list(be, &q, token, note, seen, NULL);
	CHECK(strstr(s.seen, "prefix=p%2Fd%2F"));
	server_stop(&s);
	be->ops->free(be);
	return r;
}

#define PAGE(body) XML("<ListBucketResult>" body "</ListBucketResult>")
#define KEY(key)   "<Contents><Key>" key "</Key><Size>3</Size></Contents>"
#define DIR(key)   "<CommonPrefixes><Prefix>" key "</Prefix></CommonPrefixes>"

static void s3__a_page_is_sorted_decoded_and_relative(void)
{
	struct seen seen;
	char *token;
	CHECK_EQ(list(PAGE("<Prefix>p/d/</Prefix><EncodingType>url</EncodingType>" KEY(
			      "p/d/b+c") KEY("p/d/a%00x%2B") DIR("p/d/aa/")),
		      &seen, &token),
		 0);
	CHECK_STR(seen.text, "d/a@x+=3 d/aa/ d/b c=3 ");
	CHECK(!token);
	/* not told to be encoded: as it stands */
	CHECK_EQ(list(PAGE(KEY("p/d/b+%41")), &seen, &token), 0);
	CHECK_STR(seen.text, "d/b+%41=3 ");
	CHECK_EQ(list(PAGE("<IsTruncated>true</IsTruncated>"
			   "<NextContinuationToken>t&amp;/=</NextContinuationToken>"),
		      &seen, &token),
		 0);
	CHECK_STR(token, "t&/=");
	free(token);
}

/* P10: whether a page is the last is told by a boolean, in whichever of its forms, or,
 * where that is missing, by where the next one starts. */
static void s3__P10_a_page_is_the_last_only_if_it_says_so(void)
{
#define NEXT "<NextContinuationToken>t</NextContinuationToken>"
	static const struct {
		const char *page;
		bool more;
		int r;
	} cases[] = {
		{PAGE("<IsTruncated>True</IsTruncated>" NEXT), true, 0},
		{PAGE("<IsTruncated>1</IsTruncated>" NEXT), true, 0},
		{PAGE(NEXT), true, 0},
		{PAGE(KEY("p/d/a")), false, 0},
		{PAGE("<IsTruncated>False</IsTruncated>"), false, 0},
		{PAGE("<IsTruncated>false</IsTruncated>" NEXT), false, 0},
		{PAGE("<IsTruncated>yes</IsTruncated>" NEXT), false, -EBADMSG},
		{PAGE("<IsTruncated>yes</IsTruncated>"), false, -EBADMSG},
		{PAGE("<IsTruncated>True</IsTruncated>"), false, -EBADMSG},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct seen seen;
		char *token;
		CHECK_EQ(list(cases[i].page, &seen, &token), cases[i].r);
		CHECK_EQ(token != NULL, cases[i].more);
		free(token);
	}
}

static void s3__P10_an_unsound_page_delivers_nothing(void)
{
	static const char *const bad[] = {
		PAGE(KEY("p/d/a") KEY("other")),
		PAGE(KEY("p/d/a") "<Contents><Size>3</Size></Contents>"),
		PAGE(KEY("p/d/a") "<Contents><Key>p/d/b</Key><Size>-1</Size></Contents>"),
		PAGE(KEY("p/d/a") "<Contents><Key>p/d/b</Key></Contents>"),
		PAGE(KEY("p/d/a") "<IsTruncated>true</IsTruncated>"),
		PAGE("<EncodingType>url</EncodingType>" KEY("p/d/a") KEY("p/d/%4")),
		XML("<ListBucketResult>" KEY("p/d/a")),
		XML("<Other>" KEY("p/d/a") "</Other>"),
		XML(""),
		XML("<html><body>Sign in to the network</body></html>"),
		"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n<ListBucketResult>",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct seen seen;
		char *token;
		int r = list(bad[i], &seen, &token);
		CHECK(r == -EBADMSG || r == -ECOMM);
		CHECK_STR(seen.text, "");
		CHECK(!token);
	}
	struct seen seen;
	char *token;
	/* nor does a bucket that is gone make its directories empty */
	CHECK_EQ(list("HTTP/1.1 404 X\r\n\r\n<Error><Code>NoSuchBucket</Code></Error>",
		      &seen, &token),
		 -ENODEV);
	CHECK_EQ(list("HTTP/1.1 404 Not Found\r\n\r\n", &seen, &token), -EREMOTEIO);
}

static int errno_of(int status, const char *code)
{
	struct store_error e = {.status = status};
	(void)snprintf(e.code, sizeof e.code, "%s", code);
	return s3_errno(&e);
}

static void s3__errors_are_those_of_backend_h(void)
{
	CHECK_EQ(errno_of(404, "NoSuchKey"), -ENOENT);
	CHECK_EQ(errno_of(404, ""), -ENOENT);
	CHECK_EQ(errno_of(404, "NoSuchBucket"), -ENODEV);
	CHECK_EQ(errno_of(404, "NoSuchUpload"), -ENXIO);
	CHECK_EQ(errno_of(403, "AccessDenied"), -EACCES);
	CHECK_EQ(errno_of(400, "ExpiredToken"), -EKEYEXPIRED);
	CHECK_EQ(errno_of(403, "RequestTimeTooSkewed"), -EKEYEXPIRED);
	CHECK_EQ(errno_of(403, "InvalidObjectState"), -ENODATA);
	CHECK_EQ(errno_of(412, "PreconditionFailed"), -ESTALE);
	CHECK_EQ(errno_of(409, "ConditionalRequestConflict"), -EBUSY);
	CHECK_EQ(errno_of(503, "SlowDown"), -EBUSY);
	CHECK_EQ(errno_of(500, "InternalError"), -EREMOTEIO);
	CHECK_EQ(errno_of(502, ""), -EREMOTEIO);
	CHECK_EQ(errno_of(400, "BadDigest"), -EBADMSG);
	CHECK_EQ(errno_of(400, "RequestTimeout"), -ECOMM);
	CHECK_EQ(errno_of(400, "EntityTooLarge"), -EFBIG);
	CHECK_EQ(errno_of(416, "InvalidRange"), -ESTALE);
	CHECK_EQ(errno_of(507, ""), -ENOSPC);
}

int main(void)
{
	log_use_fd(memfd_create("log", MFD_CLOEXEC));
	CHECK(!setenv("AWS_ACCESS_KEY_ID", "A", 1));
	CHECK(!setenv("AWS_SECRET_ACCESS_KEY", "S", 1));
	CHECK(!setenv("AWS_CONFIG_FILE", "/dev/null", 1));
	CHECK(!setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null", 1));
	CHECK(!unsetenv("AWS_PROFILE") && !unsetenv("AWS_SESSION_TOKEN"));
	RUN(s3__a_bucket_elsewhere_is_found_once);
	RUN(s3__a_bucket_elsewhere_is_found_by_all_at_once);
	RUN(s3__a_region_that_is_none_is_not_believed);
	RUN(s3__a_clock_that_is_off_is_corrected_once);
	RUN(s3__expired_keys_are_asked_for_once);
	RUN(s3__a_token_that_comes_back_is_not_logged);
	RUN(s3__P5_a_copy_in_parts_is_conditional);
	RUN(s3__P10_a_404_counts_if_the_store_sent_it);
	RUN(s3__a_head_without_a_size_is_no_answer);
	RUN(s3__P2_200_is_not_success);
	RUN(s3__P2_the_finished_object_has_the_checksum_of_its_parts);
	RUN(s3__a_copy_that_ran_out_of_time_leaves_no_parts);
	RUN(s3__every_body_comes_with_a_checksum);
	RUN(s3__a_page_is_sorted_decoded_and_relative);
	RUN(s3__P10_a_page_is_the_last_only_if_it_says_so);
	RUN(s3__P10_an_unsound_page_delivers_nothing);
	RUN(s3__errors_are_those_of_backend_h);
	return 0;
}
