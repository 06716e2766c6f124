/* test_nth_s3.c - no memory, at any point of building a request to S3 or of reading its
 * answer: an error, or all of the answer (P1, P2). */
#include "backends/s3.h"
#include "tests/unit/nth_canned.h"
#include "backends/util/banned.h"

#define XML(body)	   "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" body
#define OK_WITH(headers) "HTTP/1.1 200 OK\r\n" headers "Content-Length: 0\r\n\r\n"
#define HEAD_OK                                                   \
	"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 5\r\n" \
	"x-amz-meta-mtime: 2020-09-13T12:26:40Z\r\n"             \
	"Last-Modified: Fri, 24 May 2013 00:00:01 GMT\r\n\r\n"
#define FIVE                                                                      \
	"HTTP/1.1 206 Partial\r\nETag: \"e\"\r\nContent-Range: bytes 0-4/5\r\n" \
	"Content-Length: 5\r\n\r\n12345"

static const struct object five = {.size = 5, .etag = "\"e\""};

static int head(struct backend *be)
{
	struct object obj;
	int r = be->ops->head(be, "a b/c+", &obj, NULL);
	CHECK(r || obj.size == 5);
	return r;
}

static int peek(struct backend *be)
{
	return canned_peek(be, "12345");
}

static int get(struct backend *be)
{
	return canned_get(be, &five, "12345");
}

static int put(struct backend *be)
{
	return canned_put(be, "\"e\"");
}

static int del(struct backend *be)
{
	return canned_del(be, "\"e\"");
}

static int list(struct backend *be)
{
	return canned_list(be, "d/a=1 d/s/* ");
}

static int copy(struct backend *be)
{
	return canned_copy(be, &five);
}

static int copy_in_parts(struct backend *be)
{
	s3_set_copy_max_for_test(be, 3);
	return canned_copy(be, &five);
}

static int begin(struct backend *be)
{
	struct put_opts opts = {.mtime_ns = 1, .tag = "t1"};
	char *id = NULL;
	int r = be->ops->upload_begin(be, "k", 5, &opts, &id, NULL);
	CHECK(r ? !id : !strcmp(id, "u"));
	free(id);
	return r;
}

static int part(struct backend *be)
{
	struct source src = scratch_source("abcde", 5);
	struct part p = {.number = 1, .size = 5};
	int r = be->ops->upload_part(be, "k", "u", 0, &src, &p, NULL);
	(void)close(src.fd);
	CHECK(r || !strcmp(p.receipt, "\"e\""));
	return r;
}

static int finish(struct backend *be)
{
	struct part p = {.number = 1, .size = 5, .receipt = "\"p\" AAAAAAAAAAA="};
	struct put_opts opts = {.cond.if_absent = true};
	struct object obj;
	int r = be->ops->upload_finish(be, "k", "u", &p, 1, 5, &opts, &obj, NULL);
	CHECK(r || obj.size == 5);
	return r;
}

static int drop(struct backend *be)
{
	return be->ops->upload_abort(be, "k", "u", NULL);
}

static int uploads(struct backend *be)
{
	int n = 0;
	int r = be->ops->upload_list(be, "k", canned_upload, &n, NULL);
	CHECK(r || n == 1);
	return r;
}

static int refused(struct backend *be)
{
	struct object obj;
	int r = be->ops->head(be, "k", &obj, NULL);
	CHECK(r < 0);
	return r == -ENOENT ? 0 : r;
}

static const struct canned_op ops[] = {
	{"s3-head", "s3://b/p", {HEAD_OK}, head},
	{"s3-peek", "s3://b/p", {FIVE, HEAD_OK}, peek},
	{"s3-elsewhere",
	 "s3://b",
	 {"HTTP/1.1 301 X\r\nx-amz-bucket-region: eu-x-1\r\nContent-Length: 0\r\n\r\n",
	  HEAD_OK},
	 head},
	{"s3-absent",
	 "s3://b",
	 {"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n",
	  "HTTP/1.1 404 X\r\nConnection: close\r\n\r\n"
	  "<Error><Code>NoSuchKey</Code></Error>"},
	 refused},
	{"s3-get", "s3://b/p", {FIVE}, get},
	{"s3-put", "s3://b/p", {OK_WITH("ETag: \"e\"\r\n"), HEAD_OK}, put},
	{"s3-del", "s3://b", {"HTTP/1.1 204 X\r\n\r\n", "HTTP/1.1 204 X\r\n\r\n"}, del},
	{"s3-list",
	 "s3://b/p",
	 {XML("<ListBucketResult><EncodingType>url</EncodingType><Contents>"
	      "<Key>p%2Fd%2Fa</Key><Size>1</Size><ETag>\"x\"</ETag>"
	      "<LastModified>2013-05-24T00:00:01.000Z</LastModified>"
	      "</Contents><CommonPrefixes><Prefix>p%2Fd%2Fs%2F</Prefix>"
	      "</CommonPrefixes><IsTruncated>true</IsTruncated>"
	      "<NextContinuationToken>next</NextContinuationToken>"
	      "</ListBucketResult>")},
	 list},
	{"s3-copy",
	 "s3://b/p",
	 {HEAD_OK, XML("<CopyObjectResult><ETag>\"e\"</ETag></CopyObjectResult>"),
	  HEAD_OK},
	 copy},
	{"s3-copy-in-parts",
	 "s3://b/p",
	 {"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 5\r\n"
	  "x-amz-meta-a: b\r\nx-amz-tagging-count: 2\r\n\r\n",
	  XML("<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag><Tag><Key>c</Key>"
	      "<Value>d</Value></Tag></TagSet></Tagging>"),
	  XML("<InitiateMultipartUploadResult><UploadId>u</UploadId>"
	      "</InitiateMultipartUploadResult>"),
	  XML("<CopyPartResult><ETag>\"p\"</ETag></CopyPartResult>"),
	  XML("<CopyPartResult><ETag>\"p\"</ETag></CopyPartResult>"),
	  XML("<CompleteMultipartUploadResult><ETag>\"e\"</ETag>"
	      "</CompleteMultipartUploadResult>"),
	  HEAD_OK},
	 copy_in_parts},
	{"s3-begin",
	 "s3://b",
	 {XML("<InitiateMultipartUploadResult><UploadId>u</UploadId>"
	      "</InitiateMultipartUploadResult>")},
	 begin},
	{"s3-part", "s3://b", {OK_WITH("ETag: \"e\"\r\n")}, part},
	{"s3-finish",
	 "s3://b",
	 {XML("<CompleteMultipartUploadResult><ETag>\"e\"</ETag>"
	      "</CompleteMultipartUploadResult>"),
	  HEAD_OK},
	 finish},
	{"s3-abort", "s3://b", {"HTTP/1.1 204 X\r\n\r\n"}, drop},
	{"s3-uploads",
	 "s3://b/p",
	 {XML("<ListMultipartUploadsResult><EncodingType>url</EncodingType><Upload>"
	      "<Key>p%2Fk</Key><UploadId>u</UploadId>"
	      "<Initiated>2013-05-24T00:00:01.000Z</Initiated>"
	      "</Upload><IsTruncated>false</IsTruncated>"
	      "</ListMultipartUploadsResult>")},
	 uploads},
};

/* Keys in a file, as most people have them. */
static char dir[] = "/tmp/mastfs-nth-XXXXXX", file[64];

static void use_profile(void)
{
	static const char text[] =
		"[default]\naws_access_key_id = AK\naws_secret_access_key = SK\n"
		"[other]\nregion = x\n";
	CHECK(mkdtemp(dir));
	(void)snprintf(file, sizeof(file), "%s/credentials", dir);
	FILE *f = fopen(file, "we");
	CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
	CHECK(!setenv("AWS_SHARED_CREDENTIALS_FILE", file, 1));
	CHECK(!setenv("AWS_CONFIG_FILE", "/dev/null", 1));
	CHECK(!setenv("AWS_EC2_METADATA_DISABLED", "true", 1));
	CHECK(!setenv("AWS_REGION", "us-east-1", 1));
	CHECK(!unsetenv("AWS_ACCESS_KEY_ID") && !unsetenv("AWS_PROFILE"));
}

int main(int argc, char **argv)
{
	nth_start(argc, argv);
	use_profile();
	canned_sweeps(s3_open, ops, sizeof(ops) / sizeof(*ops));
	scratch_remove(dir);
	return nth_end();
}
