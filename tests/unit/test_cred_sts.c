/* test_cred_sts.c - roles: whose keys assume them, what is refused, what is sent. */
#include "backends/cred_aws.h"
#include <errno.h>
#include "backends/cred_ask.h"
#include "backends/cred_source.h"
#include "tests/unit/cred_rig.h"
#include "backends/util/banned.h"

#define STS(access)                                                                      \
	"HTTP/1.1 200 OK\r\n\r\n<AssumeRoleResponse><AssumeRoleResult><Credentials>"     \
	"<AccessKeyId>" access "</AccessKeyId><SecretAccessKey>S-" access                \
	"</SecretAccessKey><SessionToken>T-" access "</SessionToken>"                    \
	"<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>" \
	"</AssumeRoleResponse>"
#define STS_REFUSES                                                              \
	"HTTP/1.1 403 Forbidden\r\n\r\n<ErrorResponse><Error><Code>AccessDenied" \
	"</Code><Message>no\nTOKEN</Message></Error></ErrorResponse>"
#define KEYS "aws_access_key_id=BASE\naws_secret_access_key=B\n"

static int find_keys(struct cred *ret)
{
	struct creds *creds;
	int r = cred_aws_new(http, NULL, false, "eu-west-1", false, &creds);
	if (r)
		return r;
	r = creds_get(creds, 0, ret, NULL);
	creds_free(creds);
	return r;
}

static void keys_are(const char *access)
{
	CLEANUP_CRED struct cred cred = {0};
	CHECK_EQ(find_keys(&cred), 0);
	CHECK_STR(cred.access_key, access);
}

static void refused(const char *config)
{
	CLEANUP_CRED struct cred cred = {0};
	write_file("config", config);
	CHECK_EQ(find_keys(&cred), -EACCES);
}

/* Answered with these, in turn. */
static void start_sts(struct server *s)
{
	start_clean();
	server_start(s, NULL);
	set("AWS_ENDPOINT_URL_STS", origin_of(s));
}

static void role__is_assumed_with_the_keys_of_its_source(void)
{
	struct server s = {.answers = {STS("ROLE")}};
	start_sts(&s);
	write_file("config", "[default]\nrole_arn = arn:aws:iam::1:role/x\n"
			     "source_profile = base\nexternal_id = a b\n"
			     "role_session_name = me\nduration_seconds = 900\n"
			     "[profile base]\n" KEYS "aws_session_token=TOK\n");
	keys_are("ROLE");
	CHECK(strstr(s.seen, "POST / HTTP/1.1\r\n"));
	CHECK(strstr(s.seen, "Authorization: AWS4-HMAC-SHA256 Credential=BASE/"));
	CHECK(strstr(s.seen, "/eu-west-1/sts/aws4_request,"));
	CHECK(strstr(s.seen, "content-type;host;x-amz-date;x-amz-security-token"));
	CHECK(strstr(s.seen, "X-Amz-Security-Token: TOK\r\n"));
	CHECK(strstr(s.seen, "Action=AssumeRole&DurationSeconds=900&ExternalId=a%20b&"
			     "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx&"
			     "RoleSessionName=me&Version=2011-06-15"));
	server_stop(&s);
}

static void role__of_a_role_is_assumed_in_turn(void)
{
	struct server s = {.answers = {STS("ONE"), STS("TWO")}};
	start_sts(&s);
	write_file("config", "[default]\nrole_arn = r2\nsource_profile = mid\n"
			     "[profile mid]\nrole_arn = r1\nsource_profile = base\n"
			     "[profile base]\n" KEYS);
	keys_are("TWO");
	CHECK_EQ(s.served, 2);
	CHECK(strstr(s.seen, "Credential=ONE/"));
	CHECK(strstr(s.seen, "X-Amz-Security-Token: T-ONE\r\n"));
	server_stop(&s);
}

static void role__of_a_profile_that_names_itself_uses_its_keys(void)
{
	struct server s = {.answers = {STS("SELF")}};
	start_sts(&s);
	write_file("config", "[default]\nrole_arn = r\nsource_profile = default\n" KEYS);
	keys_are("SELF");
	CHECK(strstr(s.seen, "Credential=BASE/"));
	server_stop(&s);
	refused("[default]\nrole_arn = r\nsource_profile = default\n");
}

static void role__comes_before_keys_but_not_before_the_environment(void)
{
	struct server s = {.answers = {STS("ROLE")}};
	start_sts(&s);
	write_file("config", "[default]\nrole_arn = r\ncredential_source=Environment\n");
	set("AWS_ACCESS_KEY_ID", "ENV");
	set("AWS_SECRET_ACCESS_KEY", "E");
	keys_are("ENV");
	/* asked for by option, the profile is what is meant */
	struct creds *creds;
	CHECK_EQ(cred_aws_new(http, "default", false, "eu-west-1", false, &creds), 0);
	creds_free(creds);
	CHECK(strstr(s.seen, "Credential=ENV/"));
	server_stop(&s);
}

static void role__that_cannot_be_assumed_is_refused(void)
{
	static const char *const configs[] = {
		/* loops, of two and of three */
		"[default]\nrole_arn=r\nsource_profile=b\n"
		"[profile b]\nrole_arn=r\nsource_profile=default\n",
		"[default]\nrole_arn=r\nsource_profile=b\n"
		"[profile b]\nrole_arn=r\nsource_profile=c\n"
		"[profile c]\nrole_arn=r\nsource_profile=b\n",
		/* neither or both */
		"[default]\nrole_arn=r\n",
		"[default]\nrole_arn=r\nsource_profile=b\ncredential_source="
		"Environment\n",
		/* a source that is not there, or has nothing */
		"[default]\nrole_arn=r\nsource_profile=missing\n",
		"[default]\nrole_arn=r\nsource_profile=b\n[profile b]\nregion=x\n",
		"[default]\nrole_arn=r\ncredential_source=Environment\n",
		"[default]\nrole_arn=r\ncredential_source=Elsewhere\n",
		/* somebody would have to type */
		"[default]\nrole_arn=r\nsource_profile=b\nmfa_serial=m\n"
		"[profile b]\n" KEYS,
		"[default]\nrole_arn=r\nsource_profile=b\nduration_seconds=1h\n"
		"[profile b]\n" KEYS,
		"[default]\nsso_session=s\nsso_account_id=1\n",
		"[default]\nrole_arn=r\nsource_profile=b\n[profile b]\nsso_session=s\n",
		/* half of a key */
		"[default]\naws_access_key_id=A\n",
	};
	start_clean();
	for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++)
		refused(configs[i]);
}

static void sso__with_a_process_is_the_process(void)
{
	start_clean();
	write_file("print", "#!/bin/sh\necho '{\"Version\":1,\"AccessKeyId\":\"P\","
			    "\"SecretAccessKey\":\"S\"}'\n");
	write_file("config", "[default]\nsso_session = s\ncredential_process = ");
	int fd = open(path_of("config"), O_WRONLY | O_APPEND | O_CLOEXEC);
	CHECK(fd >= 0 && dprintf(fd, "%s\n", path_of("print")) > 0);
	CHECK(!close(fd));
	keys_are("P");
}

static void sts__refusals_and_outages_differ(void)
{
	struct server s = {.answers = {STS_REFUSES}};
	CLEANUP_CRED struct cred cred = {0};
	start_sts(&s);
	write_file("config",
		   "[default]\nrole_arn=r\nsource_profile=b\n[profile b]\n" KEYS);
	CHECK_EQ(find_keys(&cred), -EACCES);
	server_stop(&s);
	/* nobody there: another try may do */
	CHECK_EQ(find_keys(&cred), -ECOMM);
	/* and nothing is signed for a stranger in the clear */
	set("AWS_ENDPOINT_URL_STS", "http://192.0.2.1");
	CHECK_EQ(find_keys(&cred), -EACCES);
}

#define STS_IS_BUSY(code)                                                           \
	"HTTP/1.1 400 Bad Request\r\n\r\n<ErrorResponse><Error><Type>Sender</Type>" \
	"<Code>" code "</Code></Error></ErrorResponse>"

/* P8: it says with a 400 what passes. */
static void sts__is_asked_again_if_it_is_busy(void)
{
	struct server s = {.answers = {STS_IS_BUSY("Throttling"),
				       STS_IS_BUSY("IDPCommunicationError"),
				       STS("LATER")}};
	start_sts(&s);
	write_file("config",
		   "[default]\nrole_arn=r\nsource_profile=b\n[profile b]\n" KEYS);
	keys_are("LATER");
	server_stop(&s);
	CHECK_EQ(s.served, 3);
}

/* P8: also when it is another's call that was interrupted, of which this one is a part.
 */
static void sts__a_question_ends_when_interrupted(void)
{
	struct server s = {.answers = {STS("LATE")}};
	atomic_bool cancelled = true;
	struct call outer = {.deadline_ns = CLOCK_NEVER, .cancelled = &cancelled};
	struct call call = {.deadline_ns = CLOCK_NEVER, .outer = &outer};
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	start_sts(&s);
	struct cred_question q = {
		.topic = "s3", .source = "them", .method = "GET", .url = origin_of(&s)};
	CHECK_EQ(cred_ask(http, &q, &reply, &call), -EINTR);
	server_stop(&s);
	CHECK_EQ(s.served, 0);
}

static void sts__a_clock_that_is_off_is_mended_once(void)
{
	struct server s = {.answers = {"HTTP/1.1 403 Forbidden\r\n"
				       "Date: Fri, 01 Jan 2038 12:00:00 GMT\r\n\r\n",
				       STS("LATER")}};
	start_sts(&s);
	write_file("config",
		   "[default]\nrole_arn=r\nsource_profile=b\n[profile b]\n" KEYS);
	keys_are("LATER");
	CHECK(strstr(s.seen, "X-Amz-Date: 20380101T12"));
	server_stop(&s);
}

static void sts__an_answer_is_not_believed(void)
{
	static const char *const bad[] = {
		"",
		"<a/>",
		"<a><b><Credentials><AccessKeyId>A</AccessKeyId></Credentials></b></a>",
		"<a><b><c><AccessKeyId>A B</AccessKeyId><SecretAccessKey>S"
		"</SecretAccessKey><SessionToken>T</SessionToken>"
		"<Expiration>2099-01-01T00:00:00Z</Expiration></c></b></a>",
		"<a><b><c><AccessKeyId>A</AccessKeyId><SecretAccessKey>S"
		"</SecretAccessKey><SessionToken>T&#10;x: y</SessionToken>"
		"<Expiration>2099-01-01T00:00:00Z</Expiration></c></b></a>",
		"<a><b><c><AccessKeyId>A</AccessKeyId><SecretAccessKey>S"
		"</SecretAccessKey><SessionToken>T</SessionToken>"
		"<Expiration>soon</Expiration></c></b></a>",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct cred cred = {0};
		CHECK_EQ(cred_from_sts_xml(bad[i], strlen(bad[i]), &cred), -EBADMSG);
	}
}

int main(void)
{
	rig_start();
	RUN(role__is_assumed_with_the_keys_of_its_source);
	RUN(role__of_a_role_is_assumed_in_turn);
	RUN(role__of_a_profile_that_names_itself_uses_its_keys);
	RUN(role__comes_before_keys_but_not_before_the_environment);
	RUN(role__that_cannot_be_assumed_is_refused);
	RUN(sso__with_a_process_is_the_process);
	RUN(sts__refusals_and_outages_differ);
	RUN(sts__is_asked_again_if_it_is_busy);
	RUN(sts__a_question_ends_when_interrupted);
	RUN(sts__a_clock_that_is_off_is_mended_once);
	RUN(sts__an_answer_is_not_believed);
	rig_end();
	return 0;
}
