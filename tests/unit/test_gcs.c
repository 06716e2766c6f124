/* test_gcs.c - answers that a real store seldom gives, and what becomes of them. */
#include "backends/gcs.h"
#include <errno.h>
#include <sys/mman.h>
#include "backends/crc.h"
#include "backends/gcs_request.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "tests/unit/canned.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

#define OK(body) "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" body
/* crc32c of "123456789" */
#define NINE_CRC "4waSgw=="
#define NINE(generation)                                                    \
	OK("{\"kind\":\"storage#object\",\"name\":\"p/k\",\"size\":\"9\","  \
	   "\"generation\":\"" generation "\",\"crc32c\":\"" NINE_CRC "\"," \
	   "\"updated\":\"2013-05-24T00:00:01.5Z\"}")
#define ERROR(status, reason, message)                                     \
	"HTTP/1.1 " status " X\r\nConnection: close\r\n\r\n"               \
	"{\"error\":{\"code\":1,\"message\":\"" message "\",\"errors\":[{" \
	"\"reason\":\"" reason "\"}]}}"

static struct backend *open_at(const struct server *s)
{
	struct backend *be;
	char endpoint[64];
	(void)snprintf(endpoint, sizeof endpoint, "%.*s", (int)(strlen(s->url) - 4),
		       s->url);
	struct backend_conf conf = {
		.url = "gs://b/p", .endpoint = endpoint, .anonymous = true};
	CHECK_EQ(gcs_open(&conf, &be), 0);
	return be;
}

/* Nine bytes, not at the start of their file. */
static struct source nine_bytes(void)
{
	struct source src = {.fd = memfd_create("nine", MFD_CLOEXEC), .off = 2, .len = 9};
	CHECK_EQ(pwrite(src.fd, "xx123456789xx", 13, 0), 13);
	return src;
}

/* --- errors --- */

static int errno_of(int status, const char *reason, const char *message)
{
	struct store_error e = {.status = status};
	(void)snprintf(e.code, sizeof e.code, "%s", reason);
	(void)snprintf(e.message, sizeof e.message, "%s", message);
	return gcs_dialect.error(&e);
}

static void gcs__errors_are_those_of_backend_h(void)
{
	CHECK_EQ(errno_of(404, "notFound", "No such object: b/k"), -ENOENT);
	CHECK_EQ(errno_of(404, "", ""), -ENOENT);
	CHECK_EQ(errno_of(404, "notFound", "The specified bucket does not exist."),
		 -ENODEV);
	CHECK_EQ(errno_of(412, "conditionNotMet", ""), -ESTALE);
	CHECK_EQ(errno_of(412, "", ""), -ESTALE);
	CHECK_EQ(errno_of(416, "", ""), -ESTALE);
	CHECK_EQ(errno_of(401, "authError", ""), -EACCES);
	CHECK_EQ(errno_of(403, "forbidden", ""), -EACCES);
	CHECK_EQ(errno_of(403, "rateLimitExceeded", ""), -EBUSY);
	CHECK_EQ(errno_of(403, "userRateLimitExceeded", ""), -EBUSY);
	CHECK_EQ(errno_of(429, "rateLimitExceeded", ""), -EBUSY);
	CHECK_EQ(errno_of(429, "", ""), -EBUSY);
	CHECK_EQ(errno_of(503, "backendError", ""), -EBUSY);
	CHECK_EQ(errno_of(500, "backendError", ""), -EREMOTEIO);
	CHECK_EQ(errno_of(502, "", ""), -EREMOTEIO);
	CHECK_EQ(errno_of(410, "", ""), -ENXIO);
	CHECK_EQ(errno_of(408, "", ""), -ECOMM);
	CHECK_EQ(errno_of(413, "uploadTooLarge", ""), -EFBIG);
	CHECK_EQ(errno_of(400, "invalid",
			  "Provided CRC32C \"a\" doesn't match calculated CRC32C "
			  "\"b\"."),
		 -EBADMSG);
	CHECK_EQ(errno_of(400, "required",
			  "Bucket is a requester pays bucket but no user project "
			  "provided."),
		 -EACCES);
	CHECK_EQ(errno_of(400, "invalid", "Disallowed object name"), -EILSEQ);
	CHECK_EQ(errno_of(400, "invalid", ""), -EINVAL);
}

static int head_of(const char *answer, struct object *ret)
{
	struct server s = {.answers = {answer}};
	server_start(&s, NULL);
	struct backend *be = open_at(&s);
	int r = be->ops->head(be, "k/+", ret, NULL);
	CHECK(strstr(s.seen, "GET /storage/v1/b/b/o/p%2Fk%2F%2B?fields="));
	CHECK(!strstr(s.seen, "uthorization"));
	server_stop(&s);
	be->ops->free(be);
	return r;
}

static void gcs__a_head_is_a_resource(void)
{
	struct object obj;
	CHECK_EQ(head_of(NINE("77"), &obj), 0);
	CHECK_EQ(obj.size, 9);
	CHECK_STR(obj.etag, "77");
	CHECK_EQ(obj.mtime_ns, INT64_C(1369353601500000000));
	CHECK_EQ(head_of(OK("{\"size\":\"1\",\"generation\":\"2\",\"metadata\":{"
			    "\"mtime\":\"2020-09-13T12:26:40.123456789Z\","
			    "\"mastfs-tag\":\"t\"}}"),
			 &obj),
		 0);
	CHECK_EQ(obj.mtime_ns, INT64_C(1600000000123456789));
	CHECK_STR(obj.tag, "t");
	static const char *const bad[] = {
		OK(""),
		OK("{}"),
		OK("[]"),
		OK("{\"size\":\"9\"}"),
		OK("{\"size\":\"-9\",\"generation\":\"1\"}"),
		OK("{\"size\":\"9\",\"generation\":\"0\"}"),
		OK("{\"size\":\"9\",\"generation\":\"1x\"}"),
		OK("{\"size\":\"99999999999999999999999\",\"generation\":\"1\"}"),
		OK("{\"size\":\"9\",\"size\":\"8\",\"generation\":\"1\"}"),
		OK("{\"size\":[9],\"generation\":{}}"),
		OK("<html>Sign in to the network</html>"),
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CHECK_EQ(head_of(bad[i], &obj), -EBADMSG);
	CHECK_EQ(head_of(ERROR("404", "notFound", "No such object: b/p/k"), &obj),
		 -ENOENT);
	/* P10: a bucket that is gone does not make its objects absent. */
	CHECK_EQ(head_of(ERROR("404", "notFound", "The specified bucket does not exist."),
			 &obj),
		 -ENODEV);
}

static void gcs__names_that_no_object_has(void)
{
	struct server s = {.answers = {NULL}};
	struct object obj;
	server_start(&s, NULL);
	struct backend *be = open_at(&s);
	CHECK_EQ(be->ops->head(be, "\xff", &obj, NULL), -EILSEQ);
	CHECK(gcs_is_hidden(".mastfs-parts/x"));
	CHECK(gcs_is_hidden("a/.mastfs-parts/"));
	CHECK(!gcs_is_hidden("a.mastfs-parts/x"));
	CHECK(!gcs_is_hidden(".mastfs-parts"));
	server_stop(&s);
	be->ops->free(be);
	CHECK_EQ(s.served, 0);
}

/* --- P1 --- */

static int count(void *arg, uint64_t off, const void *bytes, size_t len)
{
	(void)off;
	(void)bytes;
	*(size_t *)arg += len;
	return 0;
}

static int get(const char *answer, size_t *got)
{
	struct server s = {.answers = {answer}};
	struct object obj = {.size = 9, .etag = "77"};
	*got = 0;
	server_start(&s, NULL);
	struct backend *be = open_at(&s);
	int r = be->ops->get(be, "k", &obj, 3, 4, count, got, NULL);
	CHECK(strstr(s.seen, "alt=media&generation=77&ifGenerationMatch=77 "));
	CHECK(strstr(s.seen, "range: bytes=3-6\r\n"));
	CHECK(strstr(s.seen, "accept-encoding: gzip\r\n"));
	CHECK(!strstr(s.seen, "identity"));
	server_stop(&s);
	be->ops->free(be);
	return r;
}

#define PIECE(generation, range)                                                \
	"HTTP/1.1 206 X\r\nContent-Length: 4\r\nx-goog-generation: " generation \
	"\r\nContent-Range: bytes " range "\r\n\r\n4567"

static void gcs__P1_a_read_is_of_one_generation(void)
{
	size_t got;
	CHECK_EQ(get(PIECE("77", "3-6/9"), &got), 0);
	CHECK_EQ(got, 4);
	CHECK_EQ(get(PIECE("78", "3-6/9"), &got), -ESTALE);
	CHECK_EQ(got, 0);
	CHECK_EQ(get(PIECE("77", "2-5/9"), &got), -EBADMSG);
	CHECK_EQ(get(PIECE("77", "3-6/8"), &got), -EBADMSG);
	/* no generation; a whole object, unpacked on the way */
	CHECK_EQ(get("HTTP/1.1 206 X\r\nContent-Length: 4\r\n"
		     "Content-Range: bytes 3-6/9\r\n\r\n4567",
		     &got),
		 -EBADMSG);
	CHECK_EQ(get("HTTP/1.1 200 X\r\nConnection: close\r\n"
		     "x-goog-generation: 77\r\n\r\n4567",
		     &got),
		 -EBADMSG);
	CHECK_EQ(got, 0);
	CHECK_EQ(get("HTTP/1.1 404 X\r\nConnection: close\r\n\r\nNo such object: b/k",
		     &got),
		 -ESTALE);
	CHECK_EQ(get(ERROR("412", "conditionNotMet", ""), &got), -ESTALE);
	CHECK_EQ(get(ERROR("404", "notFound", "The specified bucket does not exist."),
		     &got),
		 -ENODEV);
}

/* --- listings --- */

struct seen {
	char text[1024];
};

static int note(void *arg, const char *key, size_t len, const struct object *obj)
{
	struct seen *seen = arg;
	size_t n = strlen(seen->text);
	(void)len;
	(void)snprintf(seen->text + n, sizeof seen->text - n, obj ? "%s=%d " : "%s ", key,
		       obj ? (int)obj->size : 0);
	return 0;
}

static int list(const char *answer, struct seen *seen, char **token)
{
	struct server s = {.answers = {answer}};
	struct list_query q = {.prefix = "d/", .delim = '/'};
	*seen = (struct seen){""};
	server_start(&s, NULL);
	struct backend *be = open_at(&s);
	int r = be->ops->list(be, &q, token, note, seen, NULL);
	CHECK(strstr(s.seen, "GET /storage/v1/b/b/o?delimiter=%2F&"));
	CHECK(strstr(s.seen, "prefix=p%2Fd%2F"));
	server_stop(&s);
	be->ops->free(be);
	return r;
}

#define ITEM(name)  "{\"name\":\"" name "\",\"size\":\"3\",\"generation\":\"1\"}"
#define PAGE(rest)  OK("{\"kind\":\"storage#objects\"" rest "}")
#define ITEMS(list) ",\"items\":[" list "]"

static void gcs__a_page_is_sorted_and_relative(void)
{
	struct seen seen;
	char *token = NULL;
	CHECK_EQ(list(PAGE(), &seen, &token), 0);
	CHECK_STR(seen.text, "");
	CHECK_EQ(list(PAGE(ITEMS(ITEM("p/d/b") "," ITEM(
			      "p/d/\\u00e9")) ",\"prefixes\":[\"p/d/c/\",\"p/d/a/\"]"),
		      &seen, &token),
		 0);
	CHECK_STR(seen.text, "d/a/ d/b=3 d/c/ d/\xc3\xa9=3 ");
	CHECK(!token);
	/* what is ours is hidden */
	CHECK_EQ(list(PAGE(ITEMS(ITEM("p/d/.mastfs-parts/x") "," ITEM(
			      "p/d/b")) ",\"prefixes\":[\"p/d/.mastfs-parts/\"]"),
		      &seen, &token),
		 0);
	CHECK_STR(seen.text, "d/b=3 ");
}

static void gcs__prefixes_wait_for_the_objects_before_them(void)
{
	struct seen seen;
	char *token = NULL;
	CHECK_EQ(list(PAGE(ITEMS(ITEM("p/d/b")) ",\"prefixes\":[\"p/d/a/\",\"p/d/d&/\"]"
						",\"nextPageToken\":\"t&/=\""),
		      &seen, &token),
		 0);
	CHECK_STR(seen.text, "d/a/ d/b=3 ");
	CHECK_STR(token, "t%26%2F%3D&p%2Fd%2Fd%26%2F");
	CHECK_EQ(list(PAGE(ITEMS(ITEM("p/d/c")) ",\"prefixes\":[\"p/d/d&/\",\"p/d/e/\"]"),
		      &seen, &token),
		 0);
	CHECK_STR(seen.text, "d/c=3 d/d&/ d/e/ ");
	CHECK(!token);
	/* a page of nothing but prefixes is Google's, in order */
	CHECK_EQ(list(PAGE(",\"prefixes\":[\"p/d/a/\"],\"nextPageToken\":\"u\""), &seen,
		      &token),
		 0);
	CHECK_STR(seen.text, "d/a/ ");
	CHECK_STR(token, "u");
	free(token);
}

static void gcs__P10_an_unsound_page_delivers_nothing(void)
{
	static const char *const bad[] = {
		OK(""),
		OK("{}"),
		OK("[]"),
		OK("{\"kind\":\"storage#objects\""),
		OK("{\"kind\":\"storage#object\"" ITEMS(ITEM("p/d/a")) "}"),
		PAGE(ITEMS(ITEM("p/d/a") "," ITEM("other"))),
		PAGE(ITEMS(ITEM("p/d/a") ",{\"size\":\"3\",\"generation\":\"1\"}")),
		PAGE(ITEMS(ITEM("p/d/a") ",{\"name\":\"p/d/b\"}")),
		PAGE(ITEMS(ITEM("p/d/a") ",7")),
		PAGE(ITEMS(ITEM("p/d/a") "," ITEM("p/d/b\\u0000c"))),
		PAGE(ITEMS(ITEM("p/d/a") "," ITEM("p/d/\xff"))),
		PAGE(ITEMS(ITEM("p/d/a")) ",\"prefixes\":[\"elsewhere/\"]"),
		PAGE(ITEMS(ITEM("p/d/a")) ",\"prefixes\":[null]"),
		PAGE(ITEMS(ITEM("p/d/a")) ",\"nextPageToken\":7"),
		OK("<html><body>Sign in to the network</body></html>"),
		"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"
		"{\"kind\":\"storage#objects\"}",
	};
	struct seen seen;
	char *token = NULL;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		int r = list(bad[i], &seen, &token);
		CHECK(r == -EBADMSG || r == -ECOMM);
		CHECK_STR(seen.text, "");
		CHECK(!token);
	}
	CHECK_EQ(list(ERROR("404", "notFound", "The specified bucket does not exist."),
		      &seen, &token),
		 -ENODEV);
	CHECK_EQ(list("HTTP/1.1 404 Not Found\r\n\r\n", &seen, &token), -EREMOTEIO);
}

/* --- puts --- */

static int put(struct server *s, uint64_t one_request_max, const struct put_opts *opts,
	       struct object *ret)
{
	struct source src = nine_bytes();
	server_start(s, NULL);
	struct backend *be = open_at(s);
	gcs_set_one_request_max_for_test(be, one_request_max);
	int r = be->ops->put(be, "k_cal.fits", &src, opts, ret, NULL);
	server_stop(s);
	be->ops->free(be);
	(void)close(src.fd);
	return r;
}

static void gcs__a_small_object_is_one_request(void)
{
	struct object obj;
	struct put_opts opts = {
		.cond.if_absent = true, .mtime_ns = INT64_C(-1500000000), .tag = "0123"};
	struct server s = {.answers = {NINE("5")}};
	CHECK_EQ(put(&s, 9, &opts, &obj), 0);
	CHECK_STR(obj.etag, "5");
	CHECK(strstr(s.seen, "POST /upload/storage/v1/b/b/o?ifGenerationMatch=0&"
			     "uploadType=multipart HTTP"));
	CHECK(strstr(s.seen, "\r\n\r\n123456789\r\n--mastfs"));
	CHECK(strstr(s.seen, "\"name\":\"p/k_cal.fits\""));
	CHECK(strstr(s.seen, "\"crc32c\":\"" NINE_CRC "\""));
	CHECK(strstr(s.seen, "\"mtime\":\"1969-12-31T23:59:58.500000000Z\""));
	CHECK(strstr(s.seen, "\"goog-reserved-file-mtime\":\"-2\""));
	CHECK(strstr(s.seen, "\"mastfs-tag\":\"0123\""));
	CHECK(strstr(s.seen, "\"" PLACEMENT_TAG "\":\""));
	struct server t = {.answers = {ERROR("412", "conditionNotMet", "")}};
	CHECK_EQ(put(&t, 9, &opts, &obj), -EEXIST);
	struct put_opts over = {.cond.if_etag = "4"};
	struct server u = {.answers = {ERROR("412", "conditionNotMet", "")}};
	CHECK_EQ(put(&u, 9, &over, &obj), -ESTALE);
	CHECK(strstr(u.seen, "ifGenerationMatch=4&"));
}

static void gcs__P2_what_arrived_is_what_was_sent(void)
{
	struct object obj;
	struct put_opts opts = {.mtime_ns = 0};
	struct server s = {.answers = {OK("{\"size\":\"9\",\"generation\":\"5\","
					  "\"crc32c\":\"AAAAAA==\"}")}};
	CHECK_EQ(put(&s, 9, &opts, &obj), -EBADMSG);
	struct server t = {.answers = {OK("{\"size\":\"8\",\"generation\":\"5\","
					  "\"crc32c\":\"" NINE_CRC "\"}")}};
	CHECK_EQ(put(&t, 9, &opts, &obj), -EBADMSG);
	struct server u = {.answers = {OK("{\"size\":\"9\",\"generation\":\"5\"}")}};
	CHECK_EQ(put(&u, 9, &opts, &obj), -EBADMSG);
}

#define SESSION(at)                                                    \
	"HTTP/1.1 200 X\r\nConnection: close\r\nContent-Length: 0\r\n" \
	"Location: " at "\r\n\r\n"
#define GO_ON(range)                                                   \
	"HTTP/1.1 308 X\r\nConnection: close\r\nContent-Length: 0\r\n" \
	"Range: bytes=0-" range "\r\n\r\n"
/* Only the path counts: our own host is asked. */
#define HERE SESSION("http://elsewhere.invalid/upload/x?upload_id=S")

static void gcs__a_session_goes_on_where_it_stands(void)
{
	struct object obj;
	struct put_opts opts = {.cond.if_absent = true};
	struct server s = {.answers = {HERE, GO_ON("3"), NINE("6")}};
	CHECK_EQ(put(&s, 8, &opts, &obj), 0);
	CHECK_STR(obj.etag, "6");
	CHECK_EQ(s.served, 3);
	CHECK(strstr(s.seen, "PUT /upload/x?upload_id=S HTTP"));
	CHECK(strstr(s.seen, "content-range: bytes 4-8/9\r\n"));
	CHECK(strstr(s.seen, "\r\n\r\n56789"));
	/* the answer is lost: the session is asked, and is complete */
	struct server t = {.answers = {HERE, "", NINE("7")}};
	CHECK_EQ(put(&t, 8, &opts, &obj), 0);
	CHECK_STR(obj.etag, "7");
	CHECK(strstr(t.seen, "content-range: bytes */9\r\n"));
	/* or it is not, and has nothing */
	struct server u = {.answers = {HERE, "",
				       "HTTP/1.1 308 X\r\nConnection: close\r\n"
				       "Content-Length: 0\r\n\r\n",
				       NINE("8")}};
	CHECK_EQ(put(&u, 8, &opts, &obj), 0);
	CHECK(strstr(u.seen, "content-range: bytes 0-8/9\r\n"));
	/* it has all bytes, and has not said that it is done */
	struct server v = {.answers = {HERE, GO_ON("8"), NINE("9")}};
	CHECK_EQ(put(&v, 8, &opts, &obj), 0);
	CHECK(strstr(v.seen, "content-range: bytes */9\r\n"));
}

static void gcs__a_session_that_fails_is_cancelled(void)
{
	struct object obj;
	struct put_opts opts = {.cond.if_absent = true};
#define CANCELLED "HTTP/1.1 499 X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
	static const struct {
		const char *answers[4];
		int error;
	} cases[] = {
		{{HERE, ERROR("404", "", "")}, -EREMOTEIO},
		{{HERE, ERROR("410", "", "")}, -EREMOTEIO},
		{{HERE, GO_ON("9"), CANCELLED}, -EBADMSG},
		{{HERE, GO_ON("x"), CANCELLED}, -EBADMSG},
		{{HERE, ERROR("403", "forbidden", ""), CANCELLED}, -EACCES},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct server s = {.answers = {NULL}};
		memcpy(s.answers, cases[i].answers, sizeof cases[i].answers);
		CHECK_EQ(put(&s, 8, &opts, &obj), cases[i].error);
		CHECK_EQ(s.served, cases[i].answers[2] ? 3 : 2);
		CHECK(!cases[i].answers[2] ||
		      strstr(s.seen, "DELETE /upload/x?upload_id=S "));
	}
	struct server s = {.answers = {HERE, ERROR("412", "conditionNotMet", "")}};
	CHECK_EQ(put(&s, 8, &opts, &obj), -EEXIST);
	CHECK_EQ(s.served, 2);
	struct server t = {.answers = {SESSION("nowhere")}};
	CHECK_EQ(put(&t, 8, &opts, &obj), -EREMOTEIO);
	/* it never gets anywhere */
	struct server u = {
		.answers = {HERE, GO_ON("3"), GO_ON("3"), GO_ON("3"), GO_ON("3")}};
	CHECK_EQ(put(&u, 8, &opts, &obj), -ECOMM);
	CHECK_EQ(u.served, 5);
}

/* --- parts --- */

static void gcs__checksums_of_pieces_combine(void)
{
	static const char text[] = "123456789";
	uint32_t whole = crc32c(0, text, 9);
	CHECK_EQ(whole, 0xe3069283);
	for (size_t i = 0; i <= 9; i++)
		CHECK_EQ(crc32c_combine(crc32c(0, text, i), crc32c(0, text + i, 9 - i),
					9 - i),
			 whole);
	char *zeros = calloc(1, 1000001);
	CHECK(zeros);
	CHECK_EQ(crc32c_combine(whole, crc32c(0, zeros, 1000001), 1000001),
		 crc32c(whole, zeros, 1000001));
	free(zeros);
}

#define ID "0123456789abcdef0123456789abcdef"

static int finish(struct server *s, struct object *ret)
{
	struct part parts[2] = {{.number = 1, .size = 4}, {.number = 3, .size = 5}};
	struct put_opts opts = {.cond.if_etag = "4"};
	(void)snprintf(parts[0].receipt, ETAG_SIZE, "11 %08x", crc32c(0, "1234", 4));
	(void)snprintf(parts[1].receipt, ETAG_SIZE, "12 %08x", crc32c(0, "56789", 5));
	server_start(s, NULL);
	struct backend *be = open_at(s);
	int r = be->ops->upload_finish(be, "k", ID, parts, 2, 9, &opts, ret, NULL);
	server_stop(s);
	be->ops->free(be);
	return r;
}

static void gcs__P2_what_is_composed_is_the_sum_of_its_parts(void)
{
	struct object obj;
	struct server s = {.answers = {ERROR("412", "conditionNotMet", "")}};
	CHECK_EQ(finish(&s, &obj), -ESTALE);
	CHECK(strstr(s.seen,
		     "POST /storage/v1/b/b/o/p%2Fk/compose?ifGenerationMatch=4 "));
	CHECK(strstr(s.seen, "{\"name\":\"p/.mastfs-parts/" ID "/p00001\","
			     "\"generation\":\"11\"},"
			     "{\"name\":\"p/.mastfs-parts/" ID "/p00003\","
			     "\"generation\":\"12\"}"));
	struct server t = {.answers = {NINE("7"), PAGE(), OK("")}};
	CHECK_EQ(finish(&t, &obj), 0);
	CHECK_STR(obj.etag, "7");
	CHECK(strstr(t.seen,
		     "DELETE /storage/v1/b/b/o/p%2F.mastfs-parts%2F" ID ".upload"));
	/* other bytes: nobody may take it for the object */
	struct server u = {.answers = {OK("{\"size\":\"9\",\"generation\":\"8\","
					  "\"crc32c\":\"AAAAAA==\"}"),
				       OK("")}};
	CHECK_EQ(finish(&u, &obj), -EBADMSG);
	CHECK(strstr(u.seen, "DELETE /storage/v1/b/b/o/p%2Fk?ifGenerationMatch=8 "));
	/* a part is gone */
	struct server v = {.answers = {ERROR("404", "notFound", "")}};
	CHECK_EQ(finish(&v, &obj), -ENXIO);
	/* a store that only says that it failed is asked for the mark */
	struct server w = {
		.answers = {ERROR("500", "", ""), ERROR("404", "notFound", "")}};
	CHECK_EQ(finish(&w, &obj), -ENXIO);
	struct server x = {.answers = {ERROR("500", "", ""), NINE("1")}};
	CHECK_EQ(finish(&x, &obj), -EREMOTEIO);
}

static void gcs__a_part_that_comes_too_late_goes_again(void)
{
	struct source src = nine_bytes();
	struct part part = {.number = 7, .size = 9};
	struct server s = {.answers = {NINE("1"), ERROR("404", "notFound", ""), OK("")}};
	server_start(&s, NULL);
	struct backend *be = open_at(&s);
	CHECK_EQ(be->ops->upload_part(be, "k", ID, 0, &src, &part, NULL), -ENXIO);
	CHECK(strstr(s.seen,
		     "DELETE /storage/v1/b/b/o/p%2F.mastfs-parts%2F" ID "%2Fp00007 "));
	CHECK_EQ(be->ops->upload_part(be, "k", "../x", 0, &src, &part, NULL), -ENXIO);
	server_stop(&s);
	be->ops->free(be);
	(void)close(src.fd);
}

/* --- copies --- */

static int copy(struct server *s, const char *to, struct object *ret)
{
	struct object from = {.size = 9, .etag = "4"};
	struct put_opts opts = {.mtime_ns = 1};
	server_start(s, NULL);
	struct backend *be = open_at(s);
	be->caps |= BACKEND_DEL_IF; /* as probed */
	int r = be->ops->copy(be, "a/b", &from, to, &opts, ret, NULL);
	server_stop(s);
	be->ops->free(be);
	return r;
}

#define REWRITTEN(size) \
	OK("{\"done\":true,\"resource\":{\"size\":\"" size "\",\"generation\":\"5\"}}")

static void gcs__a_rewrite_is_asked_until_it_is_done(void)
{
	struct object obj;
	struct server s = {.answers = {OK("{\"done\":false,\"rewriteToken\":\"t\"}"),
				       REWRITTEN("9")}};
	CHECK_EQ(copy(&s, "c", &obj), 0);
	CHECK_STR(obj.etag, "5");
	CHECK(strstr(s.seen, "POST /storage/v1/b/b/o/p%2Fa%2Fb/rewriteTo/b/b/o/p%2Fc?"
			     "ifSourceGenerationMatch=4&rewriteToken=t&"
			     "sourceGeneration=4 "));
	struct server t = {.answers = {REWRITTEN("8")}};
	CHECK_EQ(copy(&t, "c", &obj), -EBADMSG);
	struct server u = {.answers = {OK("{\"done\":false}")}};
	CHECK_EQ(copy(&u, "c", &obj), -EBADMSG);
	struct server v = {.answers = {OK("{\"done\":\"yes\"}")}};
	CHECK_EQ(copy(&v, "c", &obj), -EBADMSG);
	struct server w = {.answers = {ERROR("404", "notFound", "")}};
	CHECK_EQ(copy(&w, "c", &obj), -ESTALE);
	/* onto itself: only what is said of it changes */
	struct server x = {.answers = {NINE("4"), NINE("4")}};
	CHECK_EQ(copy(&x, "a/b", &obj), 0);
	struct server y = {.answers = {ERROR("412", "conditionNotMet", "")}};
	CHECK_EQ(copy(&y, "a/b", &obj), -ESTALE);
	CHECK(strstr(y.seen, "PATCH /storage/v1/b/b/o/p%2Fa%2Fb?ifGenerationMatch=4 "));
	CHECK(strstr(y.seen, "\"mtime\":\"1970-01-01T00:00:00.000000001Z\""));
}

int main(void)
{
	log_use_fd(memfd_create("log", MFD_CLOEXEC));
	RUN(gcs__errors_are_those_of_backend_h);
	RUN(gcs__a_head_is_a_resource);
	RUN(gcs__names_that_no_object_has);
	RUN(gcs__P1_a_read_is_of_one_generation);
	RUN(gcs__a_page_is_sorted_and_relative);
	RUN(gcs__prefixes_wait_for_the_objects_before_them);
	RUN(gcs__P10_an_unsound_page_delivers_nothing);
	RUN(gcs__a_small_object_is_one_request);
	RUN(gcs__P2_what_arrived_is_what_was_sent);
	RUN(gcs__a_session_goes_on_where_it_stands);
	RUN(gcs__a_session_that_fails_is_cancelled);
	RUN(gcs__checksums_of_pieces_combine);
	RUN(gcs__P2_what_is_composed_is_the_sum_of_its_parts);
	RUN(gcs__a_part_that_comes_too_late_goes_again);
	RUN(gcs__a_rewrite_is_asked_until_it_is_done);
	return 0;
}
