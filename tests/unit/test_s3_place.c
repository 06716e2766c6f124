/* test_s3_place.c - tags, classes and encryption of uploads, and what is done when a
 * store wants none of them. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "backends/s3.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "tests/unit/canned.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include "backends/util/banned.h"

#define RAW    "d/jw02731001001_02101_00001_nrcb1_uncal.fits"
#define PUT_OK "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 0\r\n\r\n"
#define REFUSED(status, code)                                                  \
	"HTTP/1.1 " status " X\r\nConnection: close\r\n\r\n<Error><Code>" code \
	"</Code><Message>m</Message></Error>"

static int log_fd;

/* How often the text was logged since the last time. */
static int logged(const char *text)
{
	static char all[65536];
	ssize_t n = pread(log_fd, all, sizeof all - 1, 0);
	int count = 0;
	CHECK(n >= 0);
	all[n] = '\0';
	for (const char *p = all; (p = strstr(p, text)); p++)
		count++;
	return count;
}

static void forget_log(void)
{
	CHECK(!ftruncate(log_fd, 0) && lseek(log_fd, 0, SEEK_SET) == 0);
}

static struct backend *open_with(struct server *s, struct backend_conf conf)
{
	struct backend *be;
	char endpoint[64];
	server_start(s, NULL);
	(void)snprintf(endpoint, sizeof endpoint, "%.*s", (int)(strlen(s->url) - 4),
		       s->url);
	conf.url = "s3://b/p";
	conf.endpoint = endpoint;
	CHECK_EQ(s3_open(&conf, &be), 0);
	return be;
}

static void end(struct server *s, struct backend *be)
{
	server_stop(s);
	be->ops->free(be);
}

static int put(struct backend *be, const char *key)
{
	struct source src = scratch_source("text", 4);
	struct put_opts opts = {.mtime_ns = 1};
	struct object obj;
	int r = be->ops->put(be, key, &src, &opts, &obj, NULL);
	(void)close(src.fd);
	return r;
}

static void s3_place__every_upload_says_what_it_is(void)
{
	struct server s = {.answers = {PUT_OK, PUT_OK, PUT_OK}};
	struct backend *be =
		open_with(&s, (struct backend_conf){.storage_class = "raw=GLACIER_IR",
						    .sse = "aws:kms",
						    .sse_kms_key = "alias/k"});
	CHECK_EQ(put(be, RAW), 0);
	CHECK(strstr(s.seen, "\r\nx-amz-tagging: processing_level=raw\r\n"));
	CHECK(strstr(s.seen, "\r\nx-amz-storage-class: GLACIER_IR\r\n"));
	CHECK(strstr(s.seen, "\r\nx-amz-server-side-encryption: aws:kms\r\n"));
	CHECK(strstr(s.seen,
		     "\r\nx-amz-server-side-encryption-aws-kms-key-id: alias/k\r\n"));
	CHECK(strstr(s.seen, ";x-amz-tagging,")); /* signed */
	CHECK(!strstr(s.seen, "x-amz-request-payer"));
	CHECK_EQ(put(be, "notes.txt"), 0);
	CHECK(strstr(s.seen, "\r\nx-amz-tagging: processing_level=ancillary\r\n"));
	CHECK(!strstr(s.seen, "x-amz-storage-class"));
	/* a directory is nothing to a lifecycle rule */
	CHECK_EQ(put(be, "dir/"), 0);
	CHECK(!strstr(s.seen, "x-amz-tagging") && !strstr(s.seen, "x-amz-storage"));
	end(&s, be);
}

static void s3_place__uploads_in_parts_say_it_at_their_begin(void)
{
	struct server s = {
		.answers = {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
			    "<InitiateMultipartUploadResult><UploadId>u</UploadId>"
			    "</InitiateMultipartUploadResult>"}};
	struct backend *be =
		open_with(&s, (struct backend_conf){.storage_class = "STANDARD_IA"});
	struct put_opts opts = {0};
	CLEANUP_FREE char *id = NULL;
	CHECK_EQ(be->ops->upload_begin(be, RAW, 100, &opts, &id, NULL), 0);
	CHECK_STR(id, "u");
	CHECK(strstr(s.seen, "\r\nx-amz-tagging: processing_level=raw\r\n"));
	CHECK(strstr(s.seen, "\r\nx-amz-storage-class: STANDARD_IA\r\n"));
	end(&s, be);
}

static void s3_place__copies_get_the_tag_of_their_new_name(void)
{
	struct server s = {.answers = {PUT_OK, REFUSED("500", "InternalError")}};
	struct backend *be = open_with(&s, (struct backend_conf){.sse = "AES256"});
	struct object from = {.size = 4, .etag = "\"e\""}, obj;
	struct put_opts opts = {0};
	CHECK_EQ(be->ops->copy(be, "x.part", &from, RAW, &opts, &obj, NULL), -EREMOTEIO);
	CHECK(strstr(s.seen, "\r\nx-amz-tagging: processing_level=raw\r\n"));
	CHECK(strstr(s.seen, "\r\nx-amz-tagging-directive: REPLACE\r\n"));
	CHECK(strstr(s.seen, "\r\nx-amz-server-side-encryption: AES256\r\n"));
	CHECK_EQ(s.served, 2); /* the HEAD of x.part, and that was not the tag */
	end(&s, be);
}

static void s3_place__a_refused_tag_costs_a_warning(void)
{
	static const char *const refusals[] = {
		REFUSED("403", "AccessDenied"),
		REFUSED("400", "InvalidArgument"),
		REFUSED("501", "NotImplemented"),
	};
	for (size_t i = 0; i < 3; i++) {
		struct server s = {.answers = {refusals[i], PUT_OK, PUT_OK}};
		struct backend *be = open_with(&s, (struct backend_conf){0});
		forget_log();
		CHECK_EQ(put(be, RAW), 0);
		CHECK(!strstr(s.seen, "x-amz-tagging"));
		CHECK_EQ(logged("warn"), 1);
		CHECK_EQ(logged("error"), 0);
		/* remembered */
		CHECK_EQ(put(be, RAW), 0);
		CHECK(!strstr(s.seen, "x-amz-tagging"));
		CHECK_EQ(s.served, 3);
		CHECK_EQ(logged("warn"), 1);
		end(&s, be);
	}
}

static void s3_place__a_refused_write_is_not_the_tags_fault(void)
{
	struct server s = {.answers = {REFUSED("403", "AccessDenied"),
				       REFUSED("403", "AccessDenied"), PUT_OK}};
	struct backend *be = open_with(&s, (struct backend_conf){0});
	forget_log();
	CHECK_EQ(put(be, RAW), -EACCES);
	CHECK_EQ(logged("error"), 1);
	CHECK_EQ(logged("warn"), 0);
	CHECK_EQ(put(be, RAW), 0);
	CHECK(strstr(s.seen, "x-amz-tagging"));
	end(&s, be);
}

static void s3_place__a_refused_class_names_the_option(void)
{
	struct server s = {.answers = {REFUSED("400", "InvalidStorageClass")}};
	struct backend *be =
		open_with(&s, (struct backend_conf){.storage_class = "raw=NO_SUCH"});
	forget_log();
	CHECK_EQ(put(be, RAW), -EINVAL);
	CHECK_EQ(s.served, 1);
	CHECK_EQ(logged("error"), 1);
	CHECK_EQ(logged("NO_SUCH"), 1);
	CHECK_EQ(logged("option storage_class"), 1);
	end(&s, be);
}

static void s3_place__a_refused_encryption_names_the_option(void)
{
	struct server s = {.answers = {REFUSED("501", "NotImplemented"),
				       REFUSED("501", "NotImplemented")}};
	struct backend *be = open_with(&s, (struct backend_conf){.sse = "AES256"});
	forget_log();
	CHECK_EQ(put(be, RAW), -EINVAL);
	CHECK_EQ(logged("error"), 1);
	CHECK_EQ(logged("sse=AES256"), 1);
	end(&s, be);
}

static void s3_place__a_requester_pays_for_every_request(void)
{
	static const char list[] = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
				   "<ListBucketResult></ListBucketResult>";
	struct server s = {
		.answers = {
			"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 5\r\n\r\n",
			list, PUT_OK,
			"HTTP/1.1 404 X\r\n\r\n<Error><Code>NoSuchKey</Code></Error>"}};
	struct backend *be = open_with(&s, (struct backend_conf){.requester_pays = true});
	struct list_query q = {.prefix = ""};
	struct object obj;
	CLEANUP_FREE char *token = NULL;
	CHECK_EQ(be->ops->head(be, "k", &obj, NULL), 0);
	CHECK(strstr(s.seen, "\r\nx-amz-request-payer: requester\r\n"));
	CHECK(strstr(s.seen, ";x-amz-request-payer,"));
	CHECK_EQ(be->ops->list(be, &q, &token, NULL, NULL, NULL), 0);
	CHECK(strstr(s.seen, "\r\nx-amz-request-payer: requester\r\n"));
	CHECK_EQ(put(be, "k"), 0);
	CHECK(strstr(s.seen, "\r\nx-amz-request-payer: requester\r\n"));
	CHECK_EQ(be->ops->get(be, "k", &obj, 0, 1, NULL, NULL, NULL), -ESTALE);
	CHECK(strstr(s.seen, "\r\nx-amz-request-payer: requester\r\n"));
	end(&s, be);
}

int main(void)
{
	log_fd = memfd_create("log", MFD_CLOEXEC);
	log_use_fd(log_fd);
	CHECK(!setenv("AWS_ACCESS_KEY_ID", "A", 1));
	CHECK(!setenv("AWS_SECRET_ACCESS_KEY", "S", 1));
	CHECK(!setenv("AWS_CONFIG_FILE", "/dev/null", 1));
	CHECK(!setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null", 1));
	CHECK(!unsetenv("AWS_PROFILE") && !unsetenv("AWS_SESSION_TOKEN"));
	RUN(s3_place__every_upload_says_what_it_is);
	RUN(s3_place__uploads_in_parts_say_it_at_their_begin);
	RUN(s3_place__copies_get_the_tag_of_their_new_name);
	RUN(s3_place__a_refused_tag_costs_a_warning);
	RUN(s3_place__a_refused_write_is_not_the_tags_fault);
	RUN(s3_place__a_refused_class_names_the_option);
	RUN(s3_place__a_refused_encryption_names_the_option);
	RUN(s3_place__a_requester_pays_for_every_request);
	return 0;
}
