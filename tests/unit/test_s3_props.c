/* test_s3_props.c - what a copy keeps of what others have set on its source. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "backends/s3.h"
#include "backends/s3_props.h"
#include "backends/util/log.h"
#include "tests/unit/canned.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

#define RAW	     "jw02731001001_02101_00001_nrcb1_uncal.fits"
#define CAL	     "jw02731001001_02101_00001_nrcb1_cal.fits"
#define HEAD(more)   "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 9\r\n" more "\r\n"
#define XML(body)    "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" body
#define OURS	     "x-amz-meta-mastfs-tag: t0\r\nx-amz-meta-mtime: 5\r\n"
#define COUNT(n)     "x-amz-tagging-count: " #n "\r\n"
#define TAG(k, v)    "<Tag><Key>" k "</Key><Value>" v "</Value></Tag>"
#define TAGS(inside) XML("<Tagging><TagSet>" inside "</TagSet></Tagging>")
#define REFUSED(status, code)                                                  \
	"HTTP/1.1 " status " X\r\nConnection: close\r\n\r\n<Error><Code>" code \
	"</Code><Message>m</Message></Error>"
/* So that the request before it is the last. */
#define LAST REFUSED("500", "InternalError")

static int log_fd;

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

static int count(const char *all, const char *text)
{
	int n = 0;
	for (const char *p = all; (p = strstr(p, text)); p++)
		n++;
	return n;
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
	CHECK(!ftruncate(log_fd, 0) && lseek(log_fd, 0, SEEK_SET) == 0);
	return be;
}

static void end(struct server *s, struct backend *be)
{
	server_stop(s);
	be->ops->free(be);
}

static int copy(struct backend *be, const char *from, const char *to)
{
	struct object obj, was = {.size = 9, .etag = "\"e\""};
	struct put_opts opts = {.mtime_ns = 1500000000123456789, .tag = "t1"};
	return be->ops->copy(be, from, &was, to, &opts, &obj, NULL);
}

/* Of a source that is so; s->seen is the last request then. */
static void copies(struct server *s, struct backend_conf conf, const char *from,
		   const char *to, bool in_parts, int r)
{
	struct backend *be = open_with(s, conf);
	if (in_parts)
		s3_set_copy_max_for_test(be, 5);
	CHECK_EQ(copy(be, from, to), r);
	end(s, be);
}

static bool sent(const struct server *s, const char *header)
{
	char line[1024];
	(void)snprintf(line, sizeof line, "\r\n%s\r\n", header);
	return strstr(s->seen, line);
}

#define THEIRS                                                                         \
	"Content-Type: text/csv\r\nContent-Encoding: gzip\r\nContent-Language: en\r\n" \
	"Content-Disposition: attachment; filename=\"a  b\"\r\nCache-Control: "        \
	"no-cache\r\n"                                                                 \
	"Expires: Fri, 24 May 2013 00:00:01 GMT\r\nx-amz-meta-Project:  two  blanks "  \
	"\r\n"                                                                         \
	"x-amz-website-redirect-location: /x\r\nx-amz-meta-empty:\r\n"                 \
	"Last-Modified: Fri, 24 May 2013 00:00:01 GMT\r\nServer: s\r\n"                \
	"x-amz-version-id: v\r\n"

static void all_of_theirs(const struct server *s)
{
	static const char *const want[] = {
		"content-type: text/csv",
		"content-encoding: gzip",
		"content-language: en",
		"content-disposition: attachment; filename=\"a  b\"",
		"cache-control: no-cache",
		"expires: Fri, 24 May 2013 00:00:01 GMT",
		"x-amz-meta-project: two  blanks",
		"x-amz-meta-empty:",
		"x-amz-website-redirect-location: /x",
		"x-amz-meta-mtime: 1500000000.123456789",
		"x-amz-meta-mastfs-tag: t1",
	};
	for (size_t i = 0; i < sizeof want / sizeof *want; i++)
		CHECK(sent(s, want[i]));
	CHECK_EQ(count(s->seen, "\r\ncontent-type: "), 1);
	CHECK_EQ(count(s->seen, "\r\nx-amz-meta-"), 4);
	CHECK(!strstr(s->seen, "\r\nlast-modified: ") && !strstr(s->seen, "version-id"));
	/* signed, in their order */
	CHECK(strstr(s->seen, "SignedHeaders=cache-control;content-disposition;"
			      "content-encoding;content-language;content-type;"));
	CHECK(strstr(s->seen, ";x-amz-meta-empty;x-amz-meta-mastfs-tag;x-amz-meta-mtime;"
			      "x-amz-meta-project;"));
}

static void s3_props__a_copy_has_what_others_have_set(void)
{
	struct server s = {.wanted = "\r\nif-match: \"e\"\r\n",
			   .answers = {HEAD(THEIRS OURS), LAST}};
	copies(&s, (struct backend_conf){0}, "k", "to", false, -EREMOTEIO);
	CHECK_EQ(s.met, 1);
	CHECK(sent(&s, "x-amz-metadata-directive: REPLACE"));
	all_of_theirs(&s);
	CHECK(!strstr(s.seen, "x-amz-storage-class") && !strstr(s.seen, "encryption"));
	struct server t = {.answers = {HEAD(THEIRS), LAST}};
	copies(&t, (struct backend_conf){0}, "k", "to", true, -EREMOTEIO);
	CHECK(strstr(t.seen, "POST /b/p/to?uploads"));
	all_of_theirs(&t);
}

static void s3_props__one_of_ours_comes_out_as_it_was(void)
{
	struct server s = {
		.answers = {HEAD("Content-Type: application/octet-stream\r\n" OURS),
			    LAST}};
	copies(&s, (struct backend_conf){0}, "k", "to", false, -EREMOTEIO);
	CHECK(sent(&s, "content-type: application/octet-stream"));
	CHECK_EQ(count(s.seen, "\r\nx-amz-meta-"), 2);
	struct server bare = {.answers = {HEAD(""), LAST}};
	copies(&bare, (struct backend_conf){0}, "k", "to", false, -EREMOTEIO);
	CHECK(sent(&bare, "content-type: application/octet-stream"));
	CHECK_EQ(count(bare.seen, "\r\nx-amz-meta-"), 2);
}

/* Of these tools' keys the first is believed before ours. */
static void s3_props__the_time_is_the_new_one_by_every_name(void)
{
	struct server s = {.answers = {HEAD("x-amz-meta-file-mtime: 1ns\r\n"
					    "x-amz-meta-goog-reserved-file-mtime: 1\r\n"),
				       LAST}};
	copies(&s, (struct backend_conf){0}, "k", "k", false, -EREMOTEIO);
	CHECK(sent(&s, "x-amz-meta-file-mtime: 1500000000123456789ns"));
	CHECK(sent(&s, "x-amz-meta-goog-reserved-file-mtime: 1500000000"));
}

static void s3_props__what_cannot_be_sent_again_fails_the_copy(void)
{
	static const char *const heads[] = {
		HEAD("x-amz-meta-a: b\001c\r\n"),
		HEAD("x-amz-meta-a: b\tc\r\n"),
		HEAD("x-amz-meta-a b: c\r\n"),
		HEAD("x-amz-meta-a;b: c\r\n"),
		HEAD("Cache-Control: \177\r\n"),
		HEAD("x-amz-storage-class: A\001B\r\n"),
		HEAD("x-amz-missing-meta: 1\r\n"),
		HEAD("x-amz-meta-a: b\r\nx-amz-meta-a: c\r\n"),
	};
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
		struct server s = {.answers = {heads[i], LAST}};
		copies(&s, (struct backend_conf){0}, "k", "to", i & 1, -EOPNOTSUPP);
		CHECK_EQ(s.served, 1);
		CHECK_EQ(logged("error"), 1);
	}
	struct server same = {
		.answers = {HEAD("x-amz-missing-meta: 0\r\nExpires: 0\r\n"
				 "Expires: 0\r\nx-amz-meta-a: \303\244\r\n"),
			    LAST}};
	copies(&same, (struct backend_conf){0}, "k", "to", false, -EREMOTEIO);
	CHECK(sent(&same, "x-amz-meta-a: \303\244") && sent(&same, "expires: 0"));
}

/* n keys, and as many as go through. */
static int copy_with_keys(int n, struct server *s)
{
	char head[8192] = "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 9\r\n";
	for (int i = 0; i < n; i++)
		(void)snprintf(head + strlen(head), sizeof head - strlen(head),
			       "x-amz-meta-k%d: v\r\n", i);
	(void)snprintf(
		head + strlen(head), sizeof head - strlen(head),
		"x-amz-storage-class: C\r\nx-amz-server-side-encryption: aws:kms\r\n"
		"x-amz-server-side-encryption-aws-kms-key-id: k\r\n"
		"x-amz-server-side-encryption-bucket-key-enabled: true\r\n\r\n");
	s->answers[0] = head;
	s->answers[1] = LAST;
	struct backend *be = open_with(s, (struct backend_conf){0});
	int r = copy(be, "k", "to");
	end(s, be);
	return r;
}

static void s3_props__more_metadata_than_there_is_room_for(void)
{
	struct server s = {.served = 0}, t = {.served = 0};
	CHECK_EQ(copy_with_keys(S3_PROPS_MAX, &s), -EREMOTEIO);
	CHECK_EQ(count(s.seen, "\r\nx-amz-meta-"), S3_PROPS_MAX + 2);
	CHECK(sent(&s, "x-amz-server-side-encryption-bucket-key-enabled: true"));
	CHECK(strstr(s.seen, "\r\nx-amz-tagging: "));
	CHECK_EQ(copy_with_keys(S3_PROPS_MAX + 1, &t), -EOPNOTSUPP);
	CHECK_EQ(t.served, 1);
}

static void s3_props__another_version_is_stale(void)
{
	static const char *const heads[] = {
		"HTTP/1.1 412 X\r\nx-amz-request-id: 1\r\n\r\n",
		"HTTP/1.1 404 X\r\nx-amz-request-id: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nETag: \"other\"\r\nContent-Length: 9\r\n\r\n",
	};
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
		struct server s = {.answers = {heads[i], LAST}};
		copies(&s, (struct backend_conf){0}, "k", "to", false, -ESTALE);
		CHECK_EQ(s.served, 1);
	}
	/* P10: nobody says who sent that */
	struct server bare = {
		.answers = {"HTTP/1.1 404 X\r\n\r\n", REFUSED("404", "NoSuchKey")}};
	copies(&bare, (struct backend_conf){0}, "k", "to", false, -ESTALE);
	CHECK_EQ(bare.served, 2);
}

#define KMS                                                    \
	"x-amz-server-side-encryption: aws:kms\r\n"            \
	"x-amz-server-side-encryption-aws-kms-key-id: key\r\n" \
	"x-amz-server-side-encryption-bucket-key-enabled: true\r\n"

static void s3_props__class_and_encryption_stay(void)
{
	struct server s = {
		.answers = {HEAD("x-amz-storage-class: GLACIER_IR\r\n" KMS), LAST}};
	copies(&s, (struct backend_conf){0}, "k", "to", false, -EREMOTEIO);
	CHECK(sent(&s, "x-amz-storage-class: GLACIER_IR"));
	CHECK(sent(&s, "x-amz-server-side-encryption: aws:kms"));
	CHECK(sent(&s, "x-amz-server-side-encryption-aws-kms-key-id: key"));
	CHECK(sent(&s, "x-amz-server-side-encryption-bucket-key-enabled: true"));
	/* what goes without saying */
	struct server t = {.answers = {HEAD("x-amz-storage-class: STANDARD\r\n"
					    "x-amz-server-side-encryption: AES256\r\n"),
				       LAST}};
	copies(&t, (struct backend_conf){0}, "k", "to", false, -EREMOTEIO);
	CHECK(!strstr(t.seen, "x-amz-storage-class") && !strstr(t.seen, "encryption"));
}

static void s3_props__the_options_come_before(void)
{
	struct server s = {
		.answers = {HEAD("x-amz-storage-class: GLACIER_IR\r\n" KMS), LAST}};
	copies(&s,
	       (struct backend_conf){.sse = "AES256",
				     .storage_class = "ancillary=STANDARD"},
	       "k", "to", false, -EREMOTEIO);
	CHECK(sent(&s, "x-amz-storage-class: STANDARD"));
	CHECK(sent(&s, "x-amz-server-side-encryption: AES256"));
	CHECK_EQ(count(s.seen, "\r\nx-amz-server-side-encryption"), 1);
	CHECK_EQ(count(s.seen, "\r\nx-amz-storage-class"), 1);
	/* one that says nothing of this level */
	struct server t = {
		.answers = {HEAD("x-amz-storage-class: GLACIER_IR\r\n"), LAST}};
	copies(&t, (struct backend_conf){.storage_class = "raw=STANDARD"}, "k", "to",
	       false, -EREMOTEIO);
	CHECK(sent(&t, "x-amz-storage-class: GLACIER_IR"));
}

/* The name of a tier, which is no class. */
static void s3_props__a_class_that_cannot_be_asked_for(void)
{
	struct server s = {.answers = {HEAD("x-amz-storage-class: WARM\r\n"),
				       REFUSED("400", "InvalidStorageClass"), LAST}};
	copies(&s, (struct backend_conf){0}, "k", "to", false, -EREMOTEIO);
	CHECK_EQ(s.served, 3);
	CHECK(!strstr(s.seen, "x-amz-storage-class"));
	CHECK(strstr(s.seen, "\r\nx-amz-tagging: "));
}

static void s3_props__tags_stay_unless_they_are_ours_and_old(void)
{
	static const struct {
		const char *head, *from, *to;
		const char *tag; /* NULL: the store copies them */
	} rows[] = {
		/* onto itself */
		{HEAD(OURS COUNT(1)), RAW, RAW, NULL},
		{HEAD(COUNT(3)), RAW, RAW, NULL},
		{HEAD(""), RAW, RAW, NULL},
		/* to another name */
		{HEAD(COUNT(2)), RAW, CAL, NULL},
		{HEAD(OURS COUNT(2)), RAW, CAL, NULL},
		{HEAD(OURS COUNT(1)), RAW, "sub/" RAW, NULL},
		{HEAD(COUNT(1)), RAW, CAL, NULL},
		{HEAD(OURS COUNT(1)), RAW, CAL, "processing_level=calibrated"},
		{HEAD(OURS), RAW, RAW "2", "processing_level=ancillary"},
		{HEAD(""), RAW, CAL, "processing_level=calibrated"},
		{HEAD(COUNT(0)), RAW, CAL, "processing_level=calibrated"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char line[128];
		struct server s = {.answers = {rows[i].head, LAST}};
		copies(&s, (struct backend_conf){0}, rows[i].from, rows[i].to, false,
		       -EREMOTEIO);
		CHECK_EQ(s.served, 2);
		if (!rows[i].tag) {
			CHECK(!strstr(s.seen, "x-amz-tagging"));
			continue;
		}
		(void)snprintf(line, sizeof line, "x-amz-tagging: %s", rows[i].tag);
		CHECK(sent(&s, line));
		CHECK(sent(&s, "x-amz-tagging-directive: REPLACE"));
	}
}

/* Nor copy them. */
static void s3_props__who_may_not_read_tags_sets_ours(void)
{
	struct server s = {.answers = {HEAD(""), REFUSED("403", "AccessDenied"), LAST}};
	copies(&s, (struct backend_conf){0}, RAW, RAW, false, -EREMOTEIO);
	CHECK_EQ(s.served, 3);
	CHECK(sent(&s, "x-amz-tagging: processing_level=raw"));
	CHECK(sent(&s, "x-amz-tagging-directive: REPLACE"));
	/* it was told how many there are, so it is not that */
	struct server t = {
		.answers = {HEAD(COUNT(2)), REFUSED("403", "AccessDenied"), LAST}};
	copies(&t, (struct backend_conf){0}, RAW, RAW, false, -EACCES);
	CHECK_EQ(t.served, 2);
}

static void s3_props__tags_of_a_copy_in_parts(void)
{
	static const struct {
		const char *head, *tags, *to, *want;
	} rows[] = {
		{HEAD(COUNT(3)),
		 TAGS(TAG("processing_level", "raw") TAG("a b", "1&amp;2") TAG("c", "")),
		 CAL, "a%20b=1%262&c=&processing_level=calibrated"},
		{HEAD(COUNT(1)), TAGS(TAG("a", "1")), CAL,
		 "a=1&processing_level=calibrated"},
		/* onto itself: as they are */
		{HEAD(COUNT(2)), TAGS(TAG("a", "1") TAG("processing_level", "x")), RAW,
		 "a=1&processing_level=x"},
		/* there is no room for ours */
		{HEAD(COUNT(10)),
		 TAGS(TAG("a", "") TAG("b", "") TAG("c", "") TAG("d", "") TAG("e", "")
			      TAG("f", "") TAG("g", "") TAG("h", "") TAG("i", "")
				      TAG("j", "")),
		 CAL, "a=&b=&c=&d=&e=&f=&g=&h=&i=&j="},
		/* nobody asks for one that is ours, or for none */
		{HEAD(OURS COUNT(1)), NULL, CAL, "processing_level=calibrated"},
		{HEAD(""), NULL, CAL, "processing_level=calibrated"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char line[256];
		struct server s = {.wanted = "GET /b/p/" RAW "?tagging",
				   .answers = {rows[i].head,
					       rows[i].tags ? rows[i].tags : LAST,
					       rows[i].tags ? LAST : NULL}};
		copies(&s, (struct backend_conf){0}, RAW, rows[i].to, true, -EREMOTEIO);
		CHECK_EQ(s.met, rows[i].tags ? 1 : 0);
		(void)snprintf(line, sizeof line, "x-amz-tagging: %s", rows[i].want);
		CHECK(sent(&s, line));
		CHECK(!strstr(s.seen, "x-amz-tagging-directive"));
	}
}

static void s3_props__tags_of_a_copy_in_parts_that_are_hidden(void)
{
	struct server s = {.answers = {HEAD(COUNT(2)), REFUSED("403", "AccessDenied"),
				       LAST, HEAD(COUNT(2)),
				       REFUSED("501", "NotImplemented"), LAST}};
	struct backend *be = open_with(&s, (struct backend_conf){0});
	s3_set_copy_max_for_test(be, 5);
	CHECK_EQ(copy(be, RAW, CAL), -EREMOTEIO);
	CHECK(sent(&s, "x-amz-tagging: processing_level=calibrated"));
	CHECK_EQ(copy(be, RAW, CAL), -EREMOTEIO);
	CHECK(sent(&s, "x-amz-tagging: processing_level=calibrated"));
	CHECK_EQ(s.served, 6);
	CHECK_EQ(logged("warn"), 1);
	end(&s, be);
	/* what is no answer is none, and what may not be set again is not left out */
	struct server t = {.answers = {HEAD(COUNT(2)), XML("<html></html>")}};
	copies(&t, (struct backend_conf){0}, RAW, CAL, true, -EREMOTEIO);
	struct server u = {.answers = {HEAD(COUNT(2)), TAGS(TAG("a", "b")),
				       REFUSED("403", "AccessDenied"), LAST}};
	copies(&u, (struct backend_conf){0}, RAW, CAL, true, -EACCES);
	CHECK_EQ(u.served, 3);
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
	RUN(s3_props__a_copy_has_what_others_have_set);
	RUN(s3_props__one_of_ours_comes_out_as_it_was);
	RUN(s3_props__the_time_is_the_new_one_by_every_name);
	RUN(s3_props__what_cannot_be_sent_again_fails_the_copy);
	RUN(s3_props__more_metadata_than_there_is_room_for);
	RUN(s3_props__another_version_is_stale);
	RUN(s3_props__class_and_encryption_stay);
	RUN(s3_props__the_options_come_before);
	RUN(s3_props__a_class_that_cannot_be_asked_for);
	RUN(s3_props__tags_stay_unless_they_are_ours_and_old);
	RUN(s3_props__who_may_not_read_tags_sets_ours);
	RUN(s3_props__tags_of_a_copy_in_parts);
	RUN(s3_props__tags_of_a_copy_in_parts_that_are_hidden);
	return 0;
}
