/* test_gcs_write.c - what a write to Google goes through, and what becomes of it. */
#include <errno.h>
#include <sys/mman.h>
#include "backends/crc.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "tests/unit/gcs_rig.h"
#include "backends/util/banned.h"

/* Nine bytes, not at the start of their file. */
static struct source nine_bytes(void)
{
	struct source src = {.fd = memfd_create("nine", MFD_CLOEXEC), .off = 2, .len = 9};
	CHECK_EQ(pwrite(src.fd, "xx123456789xx", 13, 0), 13);
	return src;
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
	CHECK_EQ(put(&s, 9, &opts, &obj), -EBADE);
	struct server t = {.answers = {OK("{\"size\":\"8\",\"generation\":\"5\","
					  "\"crc32c\":\"" NINE_CRC "\"}")}};
	CHECK_EQ(put(&t, 9, &opts, &obj), -EBADE);
	struct server u = {.answers = {OK("{\"size\":\"9\",\"generation\":\"5\"}")}};
	CHECK_EQ(put(&u, 9, &opts, &obj), -EBADE);
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
	CHECK_EQ(finish(&u, &obj), -EBADE);
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

/* An upload of last week that nobody came back for. */
static void gcs__old_uploads_are_removed(void)
{
#define MARK(id, created)                                             \
	"{\"name\":\"p/.mastfs-parts/" id ".upload\",\"size\":\"0\"," \
	"\"generation\":\"1\",\"timeCreated\":\"" created "\","       \
	"\"metadata\":{\"mastfs-key\":\"k\"}}"
	struct server s = {.answers = {PAGE(ITEMS(MARK(ID, "2013-05-24T00:00:01Z"))),
				       PAGE(), OK(""), PAGE()}};
	server_start(&s, NULL);
	struct backend *be = open_at(&s);
	CHECK_EQ(gcs_expire_uploads(gcs_of(be), NULL), 0);
	server_stop(&s);
	CHECK_EQ(s.served, 4);
	be->ops->free(be);
	struct server t = {
		.answers = {PAGE(ITEMS(MARK(ID, "2213-05-24T00:00:01Z") "," MARK(
			"../../x", "2013-05-24T00:00:01Z")))}};
	server_start(&t, NULL);
	be = open_at(&t);
	CHECK_EQ(gcs_expire_uploads(gcs_of(be), NULL), 0);
	server_stop(&t);
	CHECK_EQ(t.served, 1);
	be->ops->free(be);
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
	CHECK(!unsetenv("STORAGE_EMULATOR_HOST"));
	RUN(gcs__a_small_object_is_one_request);
	RUN(gcs__P2_what_arrived_is_what_was_sent);
	RUN(gcs__a_session_goes_on_where_it_stands);
	RUN(gcs__a_session_that_fails_is_cancelled);
	RUN(gcs__checksums_of_pieces_combine);
	RUN(gcs__P2_what_is_composed_is_the_sum_of_its_parts);
	RUN(gcs__a_part_that_comes_too_late_goes_again);
	RUN(gcs__old_uploads_are_removed);
	RUN(gcs__a_rewrite_is_asked_until_it_is_done);
	return 0;
}
