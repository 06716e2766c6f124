/* test_source.c - from the user's words and the environment to one bucket. */
#include "backends/source.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static const char *const variables[] = {
	"MASTFS_SOURCE",
	"STORAGE_BACKEND",
	"STORAGE_BUCKET",
	"STORAGE_PREFIX",
	"STORAGE_LOCAL_PATH",
	"STORAGE_EMULATOR_HOST",
	"S3_ENDPOINT_URL",
	"AWS_ENDPOINT_URL_S3",
	"AWS_ENDPOINT_URL",
	"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
	"AWS_PROFILE",
	"AWS_DEFAULT_PROFILE",
	"AZURE_STORAGE_ACCOUNT",
	"AZURE_STORAGE_ACCOUNT_NAME",
	"AZURE_STORAGE_BLOB_ENDPOINT",
	"AZURE_STORAGE_CONTAINER",
	"AZURE_STORAGE_CONTAINER_NAME",
	"AZURE_STORAGE_CONNECTION_STRING",
};

/* Nothing but "NAME=value", ... up to NULL, is in the environment. */
static void environment(const char *const *words)
{
	for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
		CHECK(!unsetenv(variables[i]));
	for (; words && *words; words++) {
		CLEANUP_FREE char *name = strdup(*words);
		char *value = strchr(name, '=');
		*value++ = '\0';
		CHECK(!setenv(name, value, 1));
	}
}

#define ENVIRONMENT(...) environment((const char *const[]){__VA_ARGS__, NULL})

/* The URL, or "" if it is refused. */
static const char *chosen(const char *argument)
{
	static char url[1024];
	struct settings s = {0};
	int r = source_choose(&s, argument);
	(void)snprintf(url, sizeof url, "%s", r ? "" : s.url);
	free(s.url);
	return url;
}

static const char *identity(const struct settings *given)
{
	static char text[1024];
	CLEANUP_BUF struct buf id;
	buf_init(&id, 4096);
	CHECK_EQ(source_identity(given, &id), 0);
	(void)snprintf(text, sizeof text, "%s", id.data);
	return text;
}

static const char *identity_of(const char *url)
{
	struct settings s = {.url = strdup(url)};
	const char *id = identity(&s);
	free(s.url);
	return id;
}

static void source__each_backend_of_the_environment(void)
{
	environment(NULL);
	CHECK_STR(chosen(NULL), "");
	ENVIRONMENT("STORAGE_BACKEND=s3", "STORAGE_BUCKET=b", "STORAGE_PREFIX=/p/q");
	CHECK_STR(chosen(NULL), "s3://b/p/q");
	ENVIRONMENT("STORAGE_BACKEND=S3");
	CHECK_STR(chosen(NULL), "");
	ENVIRONMENT("STORAGE_BACKEND=minio", "STORAGE_BUCKET=b");
	CHECK_STR(chosen(NULL), "");
	ENVIRONMENT("STORAGE_BACKEND=minio", "STORAGE_BUCKET=b",
		    "S3_ENDPOINT_URL=http://127.0.0.1:9000");
	CHECK_STR(chosen(NULL), "s3://b");
	ENVIRONMENT("STORAGE_BACKEND=local", "STORAGE_BUCKET=b");
	CHECK_STR(chosen(NULL), "");
	ENVIRONMENT("STORAGE_BACKEND=local", "STORAGE_LOCAL_PATH=/data/",
		    "STORAGE_PREFIX=p");
	CHECK_STR(chosen(NULL), "file:///data/p");
	ENVIRONMENT("STORAGE_BACKEND=else", "STORAGE_BUCKET=b");
	CHECK_STR(chosen(NULL), "");
	ENVIRONMENT("STORAGE_BACKEND=gcs");
	CHECK_STR(chosen(NULL), "");
}

static void source__every_store_has_its_url(void)
{
	ENVIRONMENT("STORAGE_BACKEND=gcs", "STORAGE_BUCKET=b", "STORAGE_PREFIX=p");
	CHECK_STR(chosen(NULL), "gs://b/p");
	ENVIRONMENT("MASTFS_SOURCE=gs://b/p", "STORAGE_BACKEND=s3", "STORAGE_BUCKET=c");
	CHECK_STR(chosen(NULL), "gs://b/p");
	CHECK_STR(chosen("s3://c"), "s3://c");
	ENVIRONMENT("MASTFS_SOURCE=", "STORAGE_BACKEND=s3", "STORAGE_BUCKET=c");
	CHECK_STR(chosen(NULL), "s3://c");
	ENVIRONMENT("STORAGE_BACKEND=mast", "STORAGE_BUCKET=b", "STORAGE_PREFIX=p");
	CHECK_STR(chosen(NULL), "mast:");
}

static void source__account_is_found_where_it_is_said(void)
{
	ENVIRONMENT("STORAGE_BACKEND=azure", "STORAGE_BUCKET=c");
	CHECK_STR(chosen(NULL), "");
	ENVIRONMENT("STORAGE_BACKEND=azure", "AZURE_STORAGE_ACCOUNT=a");
	CHECK_STR(chosen(NULL), "");
	ENVIRONMENT("STORAGE_BACKEND=azure", "AZURE_STORAGE_ACCOUNT=a",
		    "AZURE_STORAGE_CONTAINER=c", "STORAGE_PREFIX=p");
	CHECK_STR(chosen(NULL), "az://a/c/p/");
	ENVIRONMENT(
		"STORAGE_BACKEND=azure", "STORAGE_BUCKET=c",
		"AZURE_STORAGE_CONNECTION_STRING=DefaultEndpointsProtocol=https;"
		"AccountName=acct;AccountKey=a2V5PT0=;EndpointSuffix=core.windows.net");
	CHECK_STR(chosen(NULL), "az://acct/c");
	ENVIRONMENT("STORAGE_BACKEND=azure", "STORAGE_BUCKET=c",
		    "AZURE_STORAGE_CONNECTION_STRING=XAccountName=no;AccountKey=x");
	CHECK_STR(chosen(NULL), "");
	ENVIRONMENT("STORAGE_BACKEND=azure", "STORAGE_BUCKET=c",
		    "AZURE_STORAGE_CONNECTION_STRING=UseDevelopmentStorage=true");
	CHECK_STR(chosen(NULL), "az://devstoreaccount1/c");
	CHECK_STR(chosen("az:///c/p"), "az://devstoreaccount1/c/p/");
}

static void source__argument_is_a_known_url(void)
{
	environment(NULL);
	static const char *const bad[] = {
		"dir",
		"ftp://x/y",
		"http://host/bucket",
		"s3://me:pw@bucket/x",
		"s3://",
		"az://a/c?sv=1&sig=abc",
		"",
	};
	for (size_t i = 0; i < 4; i++)
		CHECK_STR(chosen(bad[i]), "");
	CHECK_STR(chosen("s3://b/p"), "s3://b/p");
	CHECK_STR(chosen("file:///a@b"), "file:///a@b");
	CHECK(source_is_url("mast:") && source_is_url("s3://b"));
	CHECK(!source_is_url("/mnt/x") && !source_is_url("mastfs"));
	CHECK_STR(source_directory("file:///d"), "/d");
	CHECK(source_directory("s3://d") == NULL);
}

static void source__secrets_are_refused(void)
{
	CHECK(source_holds_secret("https://me:pw@host/"));
	CHECK(source_holds_secret("az://a/c?sv=1&sig=abc"));
	CHECK(source_holds_secret("AccountName=a;AccountKey=k"));
	CHECK(!source_holds_secret("file:///a@b"));
	CHECK(!source_holds_secret("s3://bucket/a@b"));
	environment(NULL);
	CHECK_STR(chosen("az://a/c?sv=1&sig=abc"), "");
	ENVIRONMENT("AWS_ENDPOINT_URL=http://me:pw@host");
	CHECK_STR(chosen("s3://b"), "");
	/* it is not asked */
	CHECK_STR(chosen("file:///d"), "file:///d");
}

static int check_with(struct settings s)
{
	s.url = NULL;
	int r = source_choose(&s, "s3://b/p");
	free(s.url);
	return r;
}

static char *text(const char *s)
{
	static char texts[8][128];
	static size_t i;
	char *t = texts[i++ % 8];
	(void)snprintf(t, sizeof texts[0], "%s", s);
	return t;
}

static void source__settings_are_checked_together(void)
{
	environment(NULL);
	CHECK_EQ(check_with((struct settings){.path_style = true, .virtual_host = true}),
		 -EINVAL);
	CHECK_EQ(check_with((struct settings){.sse = text("DES")}), -EINVAL);
	CHECK_EQ(check_with((struct settings){.sse = text("AES256")}), 0);
	CHECK_EQ(check_with((struct settings){.sse = text("AES256"),
					      .sse_kms_key = text("k")}),
		 -EINVAL);
	CHECK_EQ(check_with((struct settings){.sse = text("aws:kms"),
					      .sse_kms_key = text("k")}),
		 0);
	CHECK_EQ(check_with((struct settings){.sse_kms_key = text("k")}), -EINVAL);
	CHECK_EQ(check_with((struct settings){.sse = text("aws:kms"),
					      .sse_kms_key = text("k\r\nx: y")}),
		 -EINVAL);
	CHECK_EQ(check_with((struct settings){.storage_class = text("cooked=A")}),
		 -EINVAL);
	CHECK_EQ(check_with((struct settings){.public_url = text("ftp://x")}), -EINVAL);
	CHECK_EQ(check_with((struct settings){.public_url = text("s3://b/p/")}), -EINVAL);
	CHECK_EQ(check_with((struct settings){.public_url = text("s3://a:b@c")}),
		 -EINVAL);
	CHECK_EQ(check_with((struct settings){.public_url = text("s3://other")}), 0);
	/* whose would it be? */
	CHECK_EQ(check_with((struct settings){.public_url = text("gs://other"),
					      .endpoint = text("http://127.0.0.1")}),
		 -EINVAL);
	CHECK_EQ(check_with((struct settings){.public_url = text("mast:"),
					      .endpoint = text("http://127.0.0.1")}),
		 0);
	CHECK_EQ(check_with((struct settings){.requester_pays = true, .anonymous = true}),
		 -EINVAL);
	CHECK_EQ(check_with((struct settings){.endpoint = text("http://a:b@c")}),
		 -EINVAL);
}

static void source__identity_is_what_makes_the_bucket(void)
{
	environment(NULL);
	CHECK_STR(identity_of("s3://b/p/"), "s3://b/p");
	ENVIRONMENT("S3_ENDPOINT_URL=http://127.0.0.1:9000/");
	CHECK_STR(identity_of("s3://b/p"), "s3://b/p at http://127.0.0.1:9000");
	/* Amazon's own variable wins; another store does not listen to it. */
	ENVIRONMENT("S3_ENDPOINT_URL=http://h1", "AWS_ENDPOINT_URL=http://h2");
	CHECK_STR(identity_of("s3://b"), "s3://b at http://h2");
	ENVIRONMENT("S3_ENDPOINT_URL=http://h1", "AWS_ENDPOINT_URL=http://h2",
		    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true");
	CHECK_STR(identity_of("s3://b"), "s3://b at http://h1");
	CHECK_STR(identity_of("gs://b"), "gs://b");
	CHECK_STR(identity_of("az://a/c"), "az://a/c");
	CHECK_STR(identity_of("mast:"), "mast:");
	ENVIRONMENT("STORAGE_EMULATOR_HOST=127.0.0.1:4443");
	CHECK_STR(identity_of("gs://b"), "gs://b at 127.0.0.1:4443");
	CHECK_STR(identity_of("s3://b"), "s3://b");
	ENVIRONMENT("AZURE_STORAGE_CONNECTION_STRING=AccountName=a;AccountKey=SECRET;"
		    "BlobEndpoint=http://127.0.0.1:10000/a");
	CHECK_STR(identity_of("az://a/c/p/"), "az://a/c/p at http://127.0.0.1:10000/a");
}

static void source__identity_has_the_public_one(void)
{
	environment(NULL);
	struct settings s = {.url = text("s3://b/p"), .public_url = text("mast:")};
	CHECK_STR(identity(&s), "s3://b/p over mast:");
	s.mast_bucket = text("copy");
	s.mast_endpoint = text("http://127.0.0.1:9000/");
	CHECK_STR(identity(&s), "s3://b/p over mast: in copy at http://127.0.0.1:9000");
	s.endpoint = text("https://h");
	CHECK_STR(identity(&s),
		  "s3://b/p at https://h over mast: in copy at http://127.0.0.1:9000");
}

/* The daemon will live in "/". */
static void source__paths_of_the_environment_become_absolute(void)
{
	char dir[] = "/tmp/mastfs-test-XXXXXX", path[64];
	CHECK(mkdtemp(dir) && !chdir(dir));
	(void)snprintf(path, sizeof path, "%s/key.json", dir);
	int fd = open("key.json", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && !close(fd));
	CHECK(!setenv("GOOGLE_APPLICATION_CREDENTIALS", "./key.json", 1));
	CHECK(!setenv("AZURE_FEDERATED_TOKEN_FILE", "none", 1));
	CHECK_STR(chosen("s3://b"), "s3://b");
	CHECK_STR(getenv("GOOGLE_APPLICATION_CREDENTIALS"), path);
	CHECK_STR(getenv("AZURE_FEDERATED_TOKEN_FILE"), "none");
	CHECK(!unlink(path) && !chdir("/") && !rmdir(dir));
}

int main(void)
{
	log_use_fd(memfd_create("log", MFD_CLOEXEC));
	CHECK(!setenv("AWS_CONFIG_FILE", "/dev/null", 1));
	CHECK(!setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null", 1));
	RUN(source__each_backend_of_the_environment);
	RUN(source__every_store_has_its_url);
	RUN(source__account_is_found_where_it_is_said);
	RUN(source__argument_is_a_known_url);
	RUN(source__secrets_are_refused);
	RUN(source__settings_are_checked_together);
	RUN(source__identity_is_what_makes_the_bucket);
	RUN(source__identity_has_the_public_one);
	RUN(source__paths_of_the_environment_become_absolute);
	return 0;
}
