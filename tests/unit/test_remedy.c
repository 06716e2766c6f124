/* test_remedy.c - from what a store says to its cause, and from that to a command. */
#include "backends/remedy.h"
#include <errno.h>
#include <string.h>
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static enum trouble trouble(int error, int status, const char *code)
{
	struct store_error e = {.status = status};
	(void)snprintf(e.code, sizeof e.code, "%s", code);
	return trouble_of(error, &e);
}

static void trouble__goes_by_what_the_store_says(void)
{
	CHECK_EQ(trouble(-EACCES, 403, "SignatureDoesNotMatch"), TROUBLE_KEYS);
	CHECK_EQ(trouble(-EACCES, 403, "AuthenticationFailed"), TROUBLE_KEYS);
	CHECK_EQ(trouble(-EACCES, 401, "required"), TROUBLE_KEYS);
	CHECK_EQ(trouble(-EACCES, 400, "ExpiredToken"), TROUBLE_EXPIRED);
	CHECK_EQ(trouble(-EACCES, 403, "RequestTimeTooSkewed"), TROUBLE_CLOCK);
	CHECK_EQ(trouble(-EIO, 400, "AuthorizationHeaderMalformed"), TROUBLE_REGION);
	CHECK_EQ(trouble(-ENODEV, 404, ""), TROUBLE_NO_BUCKET);
	CHECK_EQ(trouble(-EACCES, 403, "AccessDenied"), TROUBLE_DENIED);
	CHECK_EQ(trouble(-EACCES, 403, "AuthorizationPermissionMismatch"),
		 TROUBLE_DENIED);
	CHECK_EQ(trouble(-EIO, 503, "SlowDown"), TROUBLE_UNREACHED);
}

static void trouble__goes_by_the_errno_where_nothing_was_said(void)
{
	CHECK_EQ(trouble(-ETIMEDOUT, 0, ""), TROUBLE_UNREACHED);
	CHECK_EQ(trouble(-ENOSPC, 0, ""), TROUBLE_FULL);
	CHECK_EQ(trouble(-ENODATA, 0, ""), TROUBLE_ARCHIVED);
	CHECK_EQ(trouble(-EROFS, 0, ""), TROUBLE_DENIED);
	CHECK_EQ(trouble(-EBADMSG, 0, ""), TROUBLE_OTHER);
}

/* The command for a source; good until the next call. */
static const char *remedy(const char *url, enum trouble t, enum wish wish)
{
	static char text[4096];
	const struct backend_conf conf = {.url = url};
	const struct store_error e = {.region = "eu-west-1"};
	struct report r;
	report_init(&r, NULL);
	remedy_tell(&r, &conf, t, wish, &e);
	(void)snprintf(text, sizeof text, "%s", r.remedy.data);
	report_done(&r);
	return text;
}

#define HAS(text, part) CHECK(strstr(text, part))

static void remedy__names_the_bucket_and_the_right(void)
{
	HAS(remedy("s3://b/p/", TROUBLE_NO_BUCKET, WISH_LIST), "aws s3 mb s3://b ");
	HAS(remedy("az://a/c/p", TROUBLE_NO_BUCKET, WISH_LIST), "create --name c ");
	HAS(remedy("gs://b", TROUBLE_NO_BUCKET, WISH_LIST), "create gs://b ");
	CHECK_STR(remedy("file:///a/b", TROUBLE_NO_BUCKET, WISH_LIST), "mkdir -p /a/b");
	HAS(remedy("s3://b/p", TROUBLE_DENIED, WISH_DELETE),
	    "arn:aws:s3:::b*\", \"Action\": \"s3:DeleteObject\"");
	HAS(remedy("az://a/c", TROUBLE_DENIED, WISH_WRITE), "containers/c --role "
							    "'Storage Blob Data "
							    "Contributor'");
	HAS(remedy("gs://b", TROUBLE_DENIED, WISH_READ),
	    "gs://b --member=WHO --role=roles/storage.objectViewer");
	HAS(remedy("s3://b", TROUBLE_REGION, WISH_LIST), "-o region=eu-west-1 s3://b");
	HAS(remedy("s3://b", TROUBLE_CLOCK, WISH_LIST), "timedatectl");
}

static void remedy__is_there_for_every_trouble(void)
{
	static const char *const urls[] = {"s3://b", "az://a/c", "gs://b", "file:///d"};
	for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++)
		for (int t = TROUBLE_KEYS; t <= TROUBLE_OTHER; t++)
			for (int w = 0; w < WISH_COUNT; w++)
				CHECK(*remedy(urls[i], (enum trouble)t, (enum wish)w));
}

int main(void)
{
	RUN(trouble__goes_by_what_the_store_says);
	RUN(trouble__goes_by_the_errno_where_nothing_was_said);
	RUN(remedy__names_the_bucket_and_the_right);
	RUN(remedy__is_there_for_every_trouble);
	return 0;
}
