/* test_cred_google.c - which credentials are Google's default, what is sent for them,
 * and which files are refused. */
#include "backends/cred_google.h"
#include <errno.h>
#include "backends/util/buf.h"
#include "backends/util/clock.h"
#include "tests/unit/cred_rig.h"
#include "tests/unit/rsa_key.h"
#include "backends/util/banned.h"

#define TOKEN \
	JSON("{\"token_type\":\"Bearer\",\"expires_in\":3599,\"access_token\":\"T\"}")
#define METADATA                                                                  \
	"HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\n\r\n{\"expires_in\":3599," \
	"\"access_token\":\"T\"}"
#define IMPERSONATED \
	JSON("{\"accessToken\":\"I\",\"expireTime\":\"2099-01-01T00:00:00Z\"}")
#define KEY	"\"private_key\":\"" TEST_RSA_KEY("\\n") "\""
#define ACCOUNT "\"type\":\"service_account\",\"client_email\":\"me@p.iam\","
#define USER                                                                          \
	"\"type\":\"authorized_user\",\"client_id\":\"id\",\"client_secret\":\"s&\"," \
	"\"refresh_token\":\"1//r\""
#define EXTERNAL                                                                 \
	"\"type\":\"external_account\",\"audience\":\"//iam.googleapis.com/p\"," \
	"\"subject_token_type\":\"urn:ietf:params:oauth:token-type:jwt\","

static int find_token(struct cred *ret)
{
	struct creds *creds;
	int r = cred_google_new(http, false, false, &creds, NULL);
	if (r)
		return r;
	r = creds_get(creds, 0, ret, NULL);
	creds_free(creds);
	return r;
}

static void token_is(const char *token, const char *project)
{
	CLEANUP_CRED struct cred cred = {0};
	CHECK_EQ(find_token(&cred), 0);
	CHECK_EQ(cred.kind, CRED_BEARER);
	CHECK_STR(cred.token.bytes, token);
	CHECK_STR(cred.access_key, project);
	CHECK(cred.expires_ns > clock_wall_ns());
}

static void start(struct server *s)
{
	start_clean();
	server_start(s, NULL);
	(void)origin_of(s);
	set("GOOGLE_APPLICATION_CREDENTIALS", path_of("key.json"));
	set("NO_GCE_CHECK", "true");
}

/* Each %s is the server's URL. */
static void write_key(const char *text, const struct server *s)
{
	CLEANUP_BUF struct buf full;
	buf_init(&full, 65536);
	for (const char *at; (at = strstr(text, "%s")); text = at + 2) {
		buf_add(&full, text, (size_t)(at - text));
		buf_adds(&full, s->url);
	}
	buf_adds(&full, text);
	write_file("key.json", full.data);
}

static void google__a_service_account_signs(void)
{
	struct server s = {.answers = {TOKEN}};
	start(&s);
	write_key("{" ACCOUNT KEY
		  ",\"private_key_id\":\"k1\",\"token_uri\":\"%s/token\"}",
		  &s);
	token_is("T", "");
	CHECK(strstr(s.seen, "POST /token HTTP/1.1\r\n"));
	CHECK(strstr(s.seen, "&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3A"
			     "jwt-bearer"));
	/* {"alg":"RS256","typ":"JWT","kid":"k1"}, then {"iss":"me@p.iam","scope" */
	CHECK(strstr(s.seen, "\r\n\r\nassertion=eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsIm"
			     "tpZCI6ImsxIn0.eyJpc3MiOiJtZUBwLmlhbSIsInNjb3BlI"));
	server_stop(&s);
}

static void google__a_clock_that_is_off_is_mended_once(void)
{
	struct server s = {.answers = {"HTTP/1.1 400 Bad\r\n"
				       "Date: Fri, 01 Jan 2038 12:00:00 GMT\r\n\r\n",
				       TOKEN}};
	start(&s);
	write_key("{" ACCOUNT KEY ",\"private_key_id\":\"k\",\"token_uri\":\"%s\"}", &s);
	token_is("T", "");
	CHECK_EQ(s.served, 2);
	server_stop(&s);
}

static void google__a_user_refreshes(void)
{
	struct server s = {.answers = {TOKEN, TOKEN}};
	start(&s);
	write_key("{" USER ",\"token_uri\":\"%s/t\",\"quota_project_id\":\"pays\"}", &s);
	token_is("T", "pays");
	CHECK(strstr(s.seen, "client_id=id&client_secret=s%26&grant_type=refresh_token&"
			     "refresh_token=1%2F%2Fr"));
	set("GOOGLE_CLOUD_QUOTA_PROJECT", "other");
	token_is("T", "other");
	server_stop(&s);
}

static void google__the_default_file_is_found(void)
{
	struct server s = {.answers = {TOKEN}};
	start(&s);
	set("GOOGLE_APPLICATION_CREDENTIALS", NULL);
	set("CLOUDSDK_CONFIG", dir);
	write_key("{" USER ",\"token_uri\":\"%s\"}", &s);
	CHECK(!rename(path_of("key.json"), path_of("application_default_credentials."
						   "json")));
	token_is("T", "");
	server_stop(&s);
}

static void google__a_file_holds_anothers_token(void)
{
	struct server s = {.answers = {TOKEN, TOKEN}};
	start(&s);
	write_file("subject", "plain\n");
	CLEANUP_BUF struct buf text;
	buf_init(&text, 4096);
	buf_addf(&text,
		 "{" EXTERNAL "\"token_url\":\"%s/sts\",\"credential_source\":"
		 "{\"file\":\"%s\"}}",
		 s.url, path_of("subject"));
	write_file("key.json", text.data);
	token_is("T", "");
	CHECK(strstr(s.seen, "subject_token=plain&subject_token_type=urn%3Aietf"));
	CHECK(strstr(s.seen, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3A"
			     "token-exchange"));
	CHECK(strstr(s.seen, "audience=%2F%2Fiam.googleapis.com%2Fp"));
	CHECK(strstr(s.seen, "scope=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fdevstorage."
			     "full_control"));
	write_file("subject", "{\"field\":\"inside\"}");
	buf_reset(&text);
	buf_addf(&text,
		 "{" EXTERNAL "\"token_url\":\"%s/sts\",\"credential_source\":"
		 "{\"file\":\"%s\",\"format\":{\"type\":\"json\","
		 "\"subject_token_field_name\":\"field\"}}}",
		 s.url, path_of("subject"));
	write_file("key.json", text.data);
	token_is("T", "");
	CHECK(strstr(s.seen, "subject_token=inside&"));
	server_stop(&s);
}

static void google__a_url_gives_anothers_token(void)
{
	struct server s = {.answers = {JSON("{\"value\":\"S\"}"), TOKEN, IMPERSONATED}};
	start(&s);
	write_key("{" EXTERNAL "\"token_url\":\"%s/sts\",\"service_account_impersonation_"
		  "url\":\"%s/sa:generateAccessToken\",\"credential_source\":{\"url\":"
		  "\"%s/subject\",\"headers\":{\"Authorization\":\"bearer x\"},"
		  "\"format\":{\"type\":\"json\",\"subject_token_field_name\":"
		  "\"value\"}}}",
		  &s);
	token_is("I", "");
	CHECK_EQ(s.served, 3);
	CHECK(strstr(s.seen, "POST /sa:generateAccessToken HTTP/1.1\r\n"));
	CHECK(strstr(s.seen, "Authorization: Bearer T\r\n"));
	CHECK(strstr(s.seen, "{\"scope\":[\"https://www.googleapis.com/auth/devstorage."
			     "full_control\"],\"lifetime\":\"3600s\"}"));
	server_stop(&s);
}

static void google__one_acts_as_another(void)
{
	struct server s = {.answers = {TOKEN, IMPERSONATED}};
	start(&s);
	write_key("{\"type\":\"impersonated_service_account\",\"delegates\":[\"d\"],"
		  "\"service_account_impersonation_url\":\"%s/sa\","
		  "\"source_credentials\":{" USER ",\"token_uri\":\"%s/t\"}}",
		  &s);
	token_is("I", "");
	CHECK(strstr(s.seen, "\"lifetime\":\"3600s\",\"delegates\":[\"d\"]}"));
	server_stop(&s);
}

static void google__the_metadata_server_is_the_last(void)
{
	struct server s = {.answers = {METADATA, TOKEN}};
	CLEANUP_CRED struct cred cred = {0};
	start(&s);
	set("GOOGLE_APPLICATION_CREDENTIALS", NULL);
	set("GCE_METADATA_HOST", s.url + strlen("http://"));
	token_is("T", "");
	CHECK(strstr(s.seen, "GET /computeMetadata/v1/instance/service-accounts/default/"
			     "token HTTP/1.1\r\n"));
	CHECK(strstr(s.seen, "Metadata-Flavor: Google\r\n"));
	/* somebody else's answer, without the header */
	CHECK_EQ(find_token(&cred), -EACCES);
	server_stop(&s);
	set("GCE_METADATA_HOST", NULL);
	CHECK_EQ(find_token(&cred), -EACCES);
}

/* P8: it takes the connection, and more time than one that is there mostly does. */
static void google__a_slow_metadata_server_is_there(void)
{
	struct server s = {.delay_us = 2300000, .answers = {METADATA, METADATA}};
	start(&s);
	set("GOOGLE_APPLICATION_CREDENTIALS", NULL);
	set("NO_GCE_CHECK", NULL);
	set("GCE_METADATA_IP", s.url + strlen("http://"));
	token_is("T", "");
	server_stop(&s);
	CHECK_EQ(s.served, 2);
}

static void google__files_are_not_believed(void)
{
	static const char *const bad[] = {
		"",
		"-----BEGIN PRIVATE KEY-----\n",
		"[]",
		"{}",
		"{\"type\":7}",
		"{\"type\":\"gdch_service_account\"}",
		/* no key, or not one */
		"{" ACCOUNT "\"private_key_id\":\"k\"}",
		"{" ACCOUNT "\"private_key_id\":\"k\",\"private_key\":\"none\"}",
		"{\"type\":\"service_account\",\"client_email\":\"a\\\"b\"," KEY
		",\"private_key_id\":\"k\"}",
		/* the token would go to a stranger */
		"{" USER ",\"token_uri\":\"https://example.org/t\"}",
		"{" USER ",\"token_uri\":\"https://googleapis.com.example.org/t\"}",
		"{" USER ",\"token_uri\":\"https://evilgoogleapis.com/t\"}",
		"{" USER ",\"token_uri\":\"https://a.googleapis.com@example.org/t\"}",
		"{" USER ",\"token_uri\":\"https://example.org\\\\.googleapis.com/t\"}",
		"{" USER ",\"token_uri\":\"http://oauth2.googleapis.com/t\"}",
		"{" USER ",\"token_uri\":\"ftp://oauth2.googleapis.com/t\"}",
		"{" EXTERNAL
		"\"token_url\":\"https://example.org\",\"credential_source\":"
		"{\"file\":\"/dev/null\"}}",
		"{" EXTERNAL
		"\"service_account_impersonation_url\":\"https://example.org\""
		",\"credential_source\":{\"file\":\"/dev/null\"}}",
		"{" EXTERNAL "\"credential_source\":{\"url\":\"http://192.0.2.1/\"}}",
		/* nothing, or what is not done */
		"{" EXTERNAL "\"x\":1}",
		"{" EXTERNAL "\"credential_source\":{}}",
		"{" EXTERNAL "\"credential_source\":{\"file\":\"/dev/null\"}}",
		"{" EXTERNAL "\"credential_source\":{\"file\":\"/no/such/file\"}}",
		"{" EXTERNAL
		"\"credential_source\":{\"executable\":{\"command\":\"x\"}}}",
		"{" EXTERNAL "\"credential_source\":{\"environment_id\":\"aws1\","
		"\"url\":\"http://169.254.169.254\"}}",
		"{\"type\":\"impersonated_service_account\",\"source_credentials\":{}}",
		"{\"type\":\"impersonated_service_account\","
		"\"service_account_impersonation_url\":\"https://iamcredentials."
		"googleapis.com/v1/x\",\"source_credentials\":{\"type\":"
		"\"impersonated_service_account\"}}",
	};
	CLEANUP_CRED struct cred cred = {0};
	start_clean();
	set("NO_GCE_CHECK", "true");
	set("GOOGLE_APPLICATION_CREDENTIALS", path_of("key.json"));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		write_file("key.json", bad[i]);
		CHECK_EQ(find_token(&cred), -EACCES);
	}
	/* named, so it must be there */
	set("GOOGLE_APPLICATION_CREDENTIALS", path_of("missing"));
	CHECK_EQ(find_token(&cred), -EACCES);
}

int main(void)
{
	rig_start();
	RUN(google__a_service_account_signs);
	RUN(google__a_clock_that_is_off_is_mended_once);
	RUN(google__a_user_refreshes);
	RUN(google__the_default_file_is_found);
	RUN(google__a_file_holds_anothers_token);
	RUN(google__a_url_gives_anothers_token);
	RUN(google__one_acts_as_another);
	RUN(google__the_metadata_server_is_the_last);
	RUN(google__a_slow_metadata_server_is_there);
	RUN(google__files_are_not_believed);
	rig_end();
	return 0;
}
