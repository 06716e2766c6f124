/* test_nth_gcs.c - no memory, at any point of building a request to Google or of reading
 * its answer: an error, or all of the answer (P1, P2). */
#include "tests/unit/nth_canned.h"
#include "tests/unit/gcs_rig.h"
#include "backends/crc.h"
#include "tests/unit/rsa_key.h"
#include "backends/util/banned.h"

#define ID "0123456789abcdef0123456789abcdef"
#define GOT_NINE                                                               \
	"HTTP/1.1 206 X\r\nx-goog-generation: 5\r\nContent-Length: 9\r\n"      \
	"ETag: \"5\"\r\nContent-Range: bytes 0-8/9\r\n\r\n123456789"
#define SESSION                                                        \
	"HTTP/1.1 200 X\r\nConnection: close\r\nContent-Length: 0\r\n" \
	"Location: http://elsewhere.invalid/upload/x?upload_id=S\r\n\r\n"
#define GO_ON                                                          \
	"HTTP/1.1 308 X\r\nConnection: close\r\nContent-Length: 0\r\n" \
	"Range: bytes=0-3\r\n\r\n"

#define MARK OK("{\"size\":\"0\",\"generation\":\"1\",\"crc32c\":\"AAAAAA==\"}")

static const struct object nine = {.size = 9, .etag = "5"};

static int open_anonymous(const struct backend_conf *conf, struct backend **ret)
{
	struct backend_conf c = *conf;
	c.anonymous = true;
	return gcs_open(&c, ret);
}

static int head(struct backend *be)
{
	struct object obj;
	int r = be->ops->head(be, "k", &obj, NULL);
	CHECK(r || obj.size == 9);
	return r;
}

static int get(struct backend *be)
{
	return canned_get(be, &nine, "123456789");
}

static int put_max(struct backend *be, uint64_t one_request_max)
{
	gcs_set_one_request_max_for_test(be, one_request_max);
	return canned_put(be, "5");
}

static int put(struct backend *be)
{
	return put_max(be, 9);
}

static int put_session(struct backend *be)
{
	return put_max(be, 8);
}

static int del(struct backend *be)
{
	return canned_del(be, "5");
}

static int list(struct backend *be)
{
	return canned_list(be, "d/a=3 d/s/* ");
}

static int copy(struct backend *be)
{
	return canned_copy(be, &nine);
}

static int begin(struct backend *be)
{
	struct put_opts opts = {.mtime_ns = 1, .tag = "t1"};
	char *id = NULL;
	int r = be->ops->upload_begin(be, "k", 9, &opts, &id, NULL);
	CHECK(!r == !!id);
	free(id);
	return r;
}

static int finish(struct backend *be)
{
	struct part parts[2] = {{.number = 1, .size = 4}, {.number = 3, .size = 5}};
	struct put_opts opts = {.cond.if_etag = "4"};
	struct object obj;
	(void)snprintf(parts[0].receipt, ETAG_SIZE, "11 %08x", crc32c(0, "1234", 4));
	(void)snprintf(parts[1].receipt, ETAG_SIZE, "12 %08x", crc32c(0, "56789", 5));
	int r = be->ops->upload_finish(be, "k", ID, parts, 2, 9, &opts, &obj, NULL);
	CHECK(r || obj.size == 9);
	return r;
}

static const struct canned_op ops[] = {
	{"gcs-head", "gs://b/p", {NINE("5")}, head},
	{"gcs-get", "gs://b/p", {GOT_NINE}, get},
	{"gcs-put", "gs://b/p", {NINE("5")}, put},
	{"gcs-session", "gs://b/p", {SESSION, GO_ON, NINE("5")}, put_session},
	{"gcs-del", "gs://b/p", {"HTTP/1.1 204 X\r\n\r\n"}, del},
	{"gcs-list",
	 "gs://b/p",
	 {PAGE(ITEMS(ITEM("p/d/a")) ",\"prefixes\":[\"p/d/s/\"]")},
	 list},
	{"gcs-copy",
	 "gs://b/p",
	 {OK("{\"done\":false,\"rewriteToken\":\"t\"}"),
	  OK("{\"done\":true,\"resource\":{\"size\":\"9\",\"generation\":\"5\"}}")},
	 copy},
	{"gcs-begin", "gs://b/p", {MARK}, begin},
	{"gcs-finish", "gs://b/p", {NINE("7"), PAGE(), OK("")}, finish},
};

/* --- with a service account: a file, a signature, a token --- */

static char account_dir[] = "/tmp/mastfs-nth-XXXXXX", account_file[64];

static void write_account(const struct server *s)
{
	(void)snprintf(account_file, sizeof(account_file), "%s/%d.json", account_dir,
		       (int)getpid());
	FILE *f = fopen(account_file, "we");
	CHECK(f);
	CHECK(fprintf(f,
		      "{\"type\":\"service_account\",\"client_email\":\"me@p.iam\","
		      "\"private_key\":\"" TEST_RSA_KEY("\\n") "\","
		      "\"private_key_id\":\"k1\",\"token_uri\":\"%s\"}",
		      s->url) > 0);
	CHECK(!fclose(f));
	CHECK(!setenv("GOOGLE_APPLICATION_CREDENTIALS", account_file, 1));
}

static void account(void)
{
	struct server s = {
		.answers = {OK("{\"token_type\":\"Bearer\",\"expires_in\":3599,"
			       "\"access_token\":\"T\"}"),
			    NINE("5")}};
	struct backend *be = NULL;
	char endpoint[64];
	server_start(&s, NULL);
	write_account(&s);
	(void)snprintf(endpoint, sizeof(endpoint), "%.*s", (int)(strlen(s.url) - 4),
		       s.url);
	struct backend_conf conf = {.url = "gs://b/p", .endpoint = endpoint};
	nth_arm();
	int r = gcs_open(&conf, &be);
	if (!r) {
		r = head(be);
		be->ops->free(be);
	}
	nth_disarm();
	server_stop(&s);
	CHECK(r || strstr(s.seen, "uthorization: Bearer T\r\n"));
	(void)nth_step(r);
}

int main(int argc, char **argv)
{
	nth_start(argc, argv);
	CHECK(!unsetenv("STORAGE_EMULATOR_HOST"));
	CHECK(mkdtemp(account_dir));
	canned_sweeps(open_anonymous, ops, sizeof(ops) / sizeof(*ops));
	nth_sweep("gcs-account", NTH_KIND_MALLOC, 10, account);
	scratch_remove(account_dir);
	return nth_end();
}
