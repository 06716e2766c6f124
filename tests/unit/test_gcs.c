/* test_gcs.c - answers that a real store seldom gives, and what becomes of them. */
#include <errno.h>
#include <sys/mman.h>
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "tests/unit/gcs_rig.h"
#include "backends/util/banned.h"

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
	CHECK_EQ(be->ops->head(be, "d/.mastfs-parts/x", &obj, NULL), -ENOENT);
	CHECK(gcs_is_hidden(".mastfs-parts/x"));
	CHECK(gcs_is_hidden("a/.mastfs-parts/"));
	CHECK(!gcs_is_hidden("a.mastfs-parts/x"));
	CHECK(!gcs_is_hidden(".mastfs-parts"));
	server_stop(&s);
	be->ops->free(be);
	CHECK_EQ(s.served, 0);
}

/* --- who we are, and who pays --- */

static void give_token(struct backend *be)
{
	struct cred c = {.kind = CRED_BEARER, .access_key = strdup("quota-project")};
	CHECK(c.access_key);
	CHECK_EQ(secret_set(&c.token, "tok", 3), 0);
	CHECK_EQ(creds_new_static(&c, &gcs_of(be)->st.creds), 0);
	cred_done(&c);
}

static int head_as(const char *billing, const char *answer, struct server *s)
{
	struct object obj;
	*s = (struct server){.answers = {answer}};
	server_start(s, NULL);
	struct backend *be = open_at(s);
	give_token(be);
	gcs_of(be)->billing = billing ? strdup(billing) : NULL;
	int r = be->ops->head(be, "k", &obj, NULL);
	server_stop(s);
	be->ops->free(be);
	return r;
}

static void gcs__the_token_and_who_pays_go_along(void)
{
	struct server s;
	CHECK_EQ(head_as(NULL, NINE("1"), &s), 0);
	CHECK(strstr(s.seen, "authorization: Bearer tok\r\n"));
	CHECK(strstr(s.seen, "x-goog-user-project: quota-project\r\n"));
	CHECK_EQ(head_as("my-project", NINE("1"), &s), 0);
	CHECK(strstr(s.seen, "&userProject=my-project "));
	CHECK(!strstr(s.seen, "x-goog-user-project"));
	/* refused, and there is no other: not asked again */
	CHECK_EQ(head_as(NULL, ERROR("401", "authError", "Invalid Credentials"), &s),
		 -EKEYEXPIRED);
	CHECK_EQ(s.served, 1);
}

static void gcs__the_endpoint_is_where_it_should_be(void)
{
	struct backend *be;
	struct backend_conf conf = {.url = "gs://b", .anonymous = true};
	CHECK_EQ(gcs_open(&conf, &be), 0);
	CHECK_STR(gcs_of(be)->endpoint.host, "storage.googleapis.com");
	CHECK(gcs_of(be)->endpoint.https);
	CHECK_STR(be->name, "gs://b");
	be->ops->free(be);
	CHECK(!setenv("STORAGE_EMULATOR_HOST", "localhost:4443", 1));
	conf = (struct backend_conf){.url = "gs://b/x"};
	CHECK_EQ(gcs_open(&conf, &be), 0);
	CHECK_STR(gcs_of(be)->endpoint.host, "localhost");
	CHECK_EQ(gcs_of(be)->endpoint.port, 4443);
	CHECK(!gcs_of(be)->st.creds);
	CHECK_STR(be->name, "gs://b/x");
	be->ops->free(be);
	CHECK(!setenv("STORAGE_EMULATOR_HOST", "http://store.example:80", 1));
	CHECK_EQ(gcs_open(&conf, &be), -EINVAL);
	conf.allow_http = true;
	CHECK_EQ(gcs_open(&conf, &be), 0);
	be->ops->free(be);
	CHECK(!unsetenv("STORAGE_EMULATOR_HOST"));
	static const char *const bad[] = {"gs://", "gs:///x", "gs://b ad", "gs://b\n"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		conf = (struct backend_conf){.url = bad[i], .anonymous = true};
		CHECK_EQ(gcs_open(&conf, &be), -EINVAL);
	}
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

int main(void)
{
	log_use_fd(memfd_create("log", MFD_CLOEXEC));
	CHECK(!unsetenv("STORAGE_EMULATOR_HOST"));
	RUN(gcs__errors_are_those_of_backend_h);
	RUN(gcs__a_head_is_a_resource);
	RUN(gcs__names_that_no_object_has);
	RUN(gcs__the_token_and_who_pays_go_along);
	RUN(gcs__the_endpoint_is_where_it_should_be);
	RUN(gcs__P1_a_read_is_of_one_generation);
	RUN(gcs__a_page_is_sorted_and_relative);
	RUN(gcs__prefixes_wait_for_the_objects_before_them);
	RUN(gcs__P10_an_unsound_page_delivers_nothing);
	return 0;
}
