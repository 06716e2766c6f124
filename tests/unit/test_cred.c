/* test_cred.c - the chain: who wins, what is refused, what is renewed. */
#include "backends/cred_aws.h"
#include <errno.h>
#include <signal.h>
#include "backends/cred_source.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "tests/unit/cred_rig.h"
#include "backends/util/banned.h"

static int find_keys(const char *profile, struct cred *ret)
{
	struct creds *creds;
	int r = cred_aws_new(http, profile, false, "us-east-1", false, &creds);
	if (r)
		return r;
	r = creds_get(creds, 0, ret, NULL);
	creds_free(creds);
	return r;
}

static void keys_are(const char *profile, const char *access, const char *secret,
		     const char *token)
{
	CLEANUP_CRED struct cred cred = {0};
	CHECK_EQ(find_keys(profile, &cred), 0);
	CHECK_STR(cred.access_key, access);
	CHECK_STR(cred.secret.bytes, secret);
	if (token)
		CHECK_STR(cred.token.bytes, token);
	else
		CHECK(!cred.token.bytes);
}

static void cred__the_environment_comes_first(void)
{
	start_clean();
	write_file("credentials",
		   "[default]\naws_access_key_id=F\naws_secret_access_key=G\n");
	keys_are(NULL, "F", "G", NULL);
	set("AWS_ACCESS_KEY_ID", "A");
	set("AWS_SECRET_ACCESS_KEY", "B");
	keys_are(NULL, "A", "B", NULL);
	set("AWS_SESSION_TOKEN", "T");
	keys_are(NULL, "A", "B", "T");
	/* but not before a profile that was asked for */
	keys_are("default", "F", "G", NULL);
}

static void cred__a_half_set_environment_is_refused(void)
{
	struct cred cred;
	start_clean();
	set("AWS_ACCESS_KEY_ID", "A");
	CHECK_EQ(find_keys(NULL, &cred), -EACCES);
	set("AWS_SECRET_ACCESS_KEY", "B");
	set("AWS_ACCESS_KEY_ID", "A\nx-evil: 1");
	CHECK_EQ(find_keys(NULL, &cred), -EACCES);
}

static void cred__no_keys_is_EACCES(void)
{
	struct cred cred;
	start_clean();
	CHECK_EQ(find_keys(NULL, &cred), -EACCES);
	CHECK_EQ(find_keys("missing", &cred), -EACCES);
}

static void cred__profiles_are_read_from_both_files(void)
{
	struct profile *p;
	start_clean();
	write_file("credentials",
		   "# a comment\r\n[other]\naws_access_key_id = X\n"
		   "[work]\r\naws_access_key_id = A \r\naws_secret_access_key=B=/+\r\n");
	write_file("config", "[default]\nregion = nowhere\n"
			     "[profile  work]\nregion = eu-west-2 # near\n"
			     "s3 =\n  endpoint_url = http://nested\n"
			     "endpoint_url = https://s3.example.org\n"
			     "aws_access_key_id = LOSES\n[services work]\nregion = no\n");
	set("AWS_PROFILE", "work");
	keys_are(NULL, "A", "B=/+", NULL);
	CHECK_EQ(profile_load(NULL, &p), 0);
	CHECK_STR(profile_get(p, "region"), "eu-west-2");
	CHECK_STR(profile_get(p, "endpoint_url"), "https://s3.example.org");
	CHECK(!profile_get(p, "none"));
	profile_free(p);
	CHECK_EQ(profile_load("services work", &p), -ENOENT);
}

static void cred__a_process_prints_keys(void)
{
	char text[512];
	struct cred cred;
	start_clean();
	write_file("print", "#!/bin/sh\necho '{\"Version\":1,\"AccessKeyId\":\"P'$#'\","
			    "\"SecretAccessKey\":\"S\",\"SessionToken\":\"T\","
			    "\"Expiration\":\"2099-01-01T00:00:00Z\"}'\n");
	(void)snprintf(text, sizeof text,
		       "[default]\ncredential_process = \"%s\" x \"a b\"\n",
		       path_of("print"));
	write_file("config", text);
	keys_are(NULL, "P2", "S", "T");
	/* as whoever started us may have left it */
	CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
	keys_are(NULL, "P2", "S", "T");
	CHECK(signal(SIGCHLD, SIG_DFL) != SIG_ERR);
	write_file("config", "[default]\ncredential_process = /bin/echo nothing\n");
	CHECK_EQ(find_keys(NULL, &cred), -EACCES);
	write_file("config", "[default]\ncredential_process = /bin/false\n");
	CHECK_EQ(find_keys(NULL, &cred), -EACCES);
	write_file("config", "[default]\ncredential_process = /no/such/program\n");
	CHECK_EQ(find_keys(NULL, &cred), -EACCES);
}

static void cred__a_process_that_does_not_end_is_ended(void)
{
	char text[512];
	struct creds *creds;
	struct cred cred;
	start_clean();
	write_file("stay", "#!/bin/sh\necho '{}'\nexec >&-\nexec sleep 1000\n");
	(void)snprintf(text, sizeof text, "[default]\ncredential_process = %s\n",
		       path_of("stay"));
	write_file("config", text);
	/* P8: what waits is given up after seconds, and whoever asks has his own limit.
	 */
	CHECK_EQ(cred_aws_new(http, NULL, false, "x", true, &creds), 0);
	struct call call = {.deadline_ns = clock_now_ns() + NS_PER_S / 2};
	CHECK_EQ(creds_get(creds, 0, &cred, &call), -ETIMEDOUT);
	creds_free(creds);
}

#define KEYS                                                                \
	"{\"AccessKeyId\":\"C\",\"SecretAccessKey\":\"S\",\"Token\":\"T\"," \
	"\"Expiration\":\"2099-01-01T00:00:00Z\"}"

static void cred__the_container_gives_keys(void)
{
	struct server s = {0};
	struct cred cred;
	start_clean();
	server_start(&s, JSON(KEYS));
	set("AWS_CONTAINER_CREDENTIALS_FULL_URI", s.url);
	set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic x");
	keys_are(NULL, "C", "S", "T");
	CHECK(strstr(s.seen, "Authorization: Basic x\r\n"));
	server_stop(&s);
	/* its keys are not fetched in the clear over a network */
	set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/keys");
	CHECK_EQ(find_keys(NULL, &cred), -EACCES);
}

static void cred__the_instance_gives_keys(void)
{
	struct server s = {.answers = {JSON("tok"), JSON("role/1\n"), JSON(KEYS)}};
	CLEANUP_CRED struct cred cred = {0};
	struct creds *creds;
	start_clean();
	server_start(&s, NULL);
	set("AWS_EC2_METADATA_SERVICE_ENDPOINT", origin_of(&s));
	CHECK_EQ(cred_aws_new(http, NULL, true, "x", false, &creds), 0);
	CHECK_EQ(creds_get(creds, 0, &cred, NULL), 0);
	CHECK_STR(cred.access_key, "C");
	CHECK(strstr(s.seen, "GET /latest/meta-data/iam/security-credentials/role%2F1 "));
	CHECK(strstr(s.seen, "x-aws-ec2-metadata-token: tok\r\n"));
	server_stop(&s);
	/* once found, and silent now: it may come up again (P8) */
	struct cred next;
	CHECK_EQ(creds_get(creds, cred.generation, &next, NULL), -ECOMM);
	creds_free(creds);
	/* nobody there */
	CHECK_EQ(cred_aws_new(http, NULL, true, "x", false, &creds), -EACCES);
	/* nor asked where the store is not Amazon's */
	struct cred none;
	CHECK_EQ(find_keys(NULL, &none), -EACCES);
}

static void cred__a_web_identity_is_exchanged(void)
{
	struct server s = {0};
	start_clean();
	server_start(&s,
		     JSON("<AssumeRoleWithWebIdentityResponse xmlns=\"x\">"
			  "<AssumeRoleWithWebIdentityResult><Credentials>"
			  "<AccessKeyId>W</AccessKeyId><SecretAccessKey>S"
			  "</SecretAccessKey><SessionToken>T</SessionToken>"
			  "<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
			  "</AssumeRoleWithWebIdentityResult>"
			  "</AssumeRoleWithWebIdentityResponse>"));
	write_file("token", "to+ken\n");
	set("AWS_WEB_IDENTITY_TOKEN_FILE", path_of("token"));
	set("AWS_ROLE_ARN", "arn:aws:iam::1:role/r");
	set("AWS_ENDPOINT_URL_STS", origin_of(&s));
	keys_are(NULL, "W", "S", "T");
	CHECK(strstr(s.seen, "Action=AssumeRoleWithWebIdentity&"));
	CHECK(strstr(s.seen, "WebIdentityToken=to%2Bken"));
	server_stop(&s);
}

static void cred__what_is_refused_is_renewed(void)
{
	struct creds *creds;
	struct cred first = {0}, same = {0}, second = {0};
	start_clean();
	write_file("credentials", "[default]\naws_access_key_id=A\n"
				  "aws_secret_access_key=B\naws_session_token=1\n");
	CHECK_EQ(cred_aws_new(http, NULL, false, "us-east-1", false, &creds), 0);
	CHECK_EQ(creds_get(creds, 0, &first, NULL), 0);
	/* nothing new: the caller sees by the generation that it need not try */
	CHECK_EQ(creds_get(creds, first.generation, &same, NULL), 0);
	CHECK_EQ(same.generation, first.generation);
	clock_sleep_ns(2100 * NS_PER_MS); /* nor does it ask again before that */
	write_file("credentials", "[default]\naws_access_key_id=A\n"
				  "aws_secret_access_key=B\naws_session_token=2\n");
	CHECK_EQ(creds_get(creds, first.generation, &second, NULL), 0);
	CHECK(second.generation != first.generation);
	CHECK_STR(second.token.bytes, "2");
	creds_free(creds);
	cred_done(&first);
	cred_done(&same);
	cred_done(&second);
}

static void cred__json_is_not_believed(void)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"AccessKeyId\":\"A\"}",
		"{\"SecretAccessKey\":\"S\"}",
		"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"\"}",
		"{\"AccessKeyId\":\"\",\"SecretAccessKey\":\"S\"}",
		"{\"AccessKeyId\":[],\"SecretAccessKey\":\"S\"}",
		"{\"AccessKeyId\":\"A\\r\\nx: y\",\"SecretAccessKey\":\"S\"}",
		"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\",\"Token\":\"a\\nb\"}",
		"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\",\"Expiration\":"
		"\"soon\"}",
		"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\"} trailing",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct cred cred = {0};
		CHECK_EQ(cred_from_json(bad[i], strlen(bad[i]), "Token", &cred),
			 -EBADMSG);
	}
}

int main(void)
{
	rig_start();
	RUN(cred__the_environment_comes_first);
	RUN(cred__a_half_set_environment_is_refused);
	RUN(cred__no_keys_is_EACCES);
	RUN(cred__profiles_are_read_from_both_files);
	RUN(cred__a_process_prints_keys);
	RUN(cred__a_process_that_does_not_end_is_ended);
	RUN(cred__the_container_gives_keys);
	RUN(cred__the_instance_gives_keys);
	RUN(cred__a_web_identity_is_exchanged);
	RUN(cred__what_is_refused_is_renewed);
	RUN(cred__json_is_not_believed);
	rig_end();
	return 0;
}
