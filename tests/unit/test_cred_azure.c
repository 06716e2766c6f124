/* test_cred_azure.c - which of Entra's ways is taken, what is sent, what is refused. */
#include "backends/cred_azure.h"
#include <errno.h>
#include "backends/cred_ask.h"
#include "backends/util/clock.h"
#include "tests/unit/cred_rig.h"
#include "backends/util/banned.h"

#define TOKEN \
	JSON("{\"token_type\":\"Bearer\",\"expires_in\":3599,\"access_token\":\"T\"}")
#define TOKEN_ON                                                                     \
	JSON("{\"access_token\":\"T\",\"expires_on\":\"4070908800\",\"expires_in\":" \
	     "\"9\"}")

static int find_token(struct cred *ret)
{
	struct creds *creds;
	int r = cred_azure_new(http, false, &creds, NULL);
	if (r)
		return r;
	r = creds_get(creds, 0, ret, NULL);
	creds_free(creds);
	return r;
}

static void token_is_found(void)
{
	CLEANUP_CRED struct cred cred = {0};
	CHECK_EQ(find_token(&cred), 0);
	CHECK_EQ(cred.kind, CRED_BEARER);
	CHECK_STR(cred.token.bytes, "T");
	CHECK(cred.expires_ns > clock_wall_ns());
}

static void is_refused(void)
{
	CLEANUP_CRED struct cred cred = {0};
	CHECK_EQ(find_token(&cred), -EACCES);
}

static void start(struct server *s, const char *answer)
{
	start_clean();
	server_start(s, answer);
	/* no test asks the machine's own service */
	set("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1");
	set("AZURE_AUTHORITY_HOST", origin_of(s));
}

static void azure__a_client_secret_is_exchanged(void)
{
	struct server s = {0};
	start(&s, TOKEN);
	set("AZURE_TENANT_ID", "ten/ant");
	set("AZURE_CLIENT_ID", "app");
	set("AZURE_CLIENT_SECRET", "s&c~");
	token_is_found();
	CHECK(strstr(s.seen, "POST /ten%2Fant/oauth2/v2.0/token HTTP/1.1\r\n"));
	CHECK(strstr(s.seen, "client_id=app&client_secret=s%26c~&"
			     "grant_type=client_credentials&"
			     "scope=https%3A%2F%2Fstorage.azure.com%2F.default"));
	server_stop(&s);
}

static void azure__blobfuses_names_are_read(void)
{
	struct server s = {0};
	start(&s, TOKEN);
	set("AZURE_AUTHORITY_HOST", NULL);
	set("AZURE_STORAGE_AAD_ENDPOINT", s.url);
	set("AZURE_STORAGE_SPN_TENANT_ID", "t");
	set("AZURE_STORAGE_SPN_CLIENT_ID", "app");
	set("AZURE_STORAGE_SPN_CLIENT_SECRET", "secret");
	token_is_found();
	CHECK(strstr(s.seen, "client_id=app&client_secret=secret&"));
	server_stop(&s);
}

static void azure__a_workloads_token_is_read_each_time(void)
{
	struct server s = {0};
	start(&s, TOKEN);
	write_file("federated", "ey.J.x\n");
	set("AZURE_TENANT_ID", "t");
	set("AZURE_CLIENT_ID", "app");
	set("AZURE_FEDERATED_TOKEN_FILE", path_of("federated"));
	token_is_found();
	CHECK(strstr(s.seen, "client_assertion=ey.J.x&client_assertion_type=urn%3Aietf%3A"
			     "params%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&"));
	server_stop(&s);
	write_file("federated", "two\nlines\n");
	is_refused();
	set("AZURE_FEDERATED_TOKEN_FILE", path_of("missing"));
	is_refused();
}

static void azure__app_service_is_asked(void)
{
	struct server s = {0};
	start(&s, TOKEN_ON);
	set("IDENTITY_ENDPOINT", s.url);
	set("IDENTITY_HEADER", "key");
	set("AZURE_CLIENT_ID", "mine");
	token_is_found();
	CHECK(strstr(s.seen, "GET /?api-version=2019-08-01&client_id=mine&"
			     "resource=https%3A%2F%2Fstorage.azure.com%2F HTTP/1.1\r\n"));
	CHECK(strstr(s.seen, "X-IDENTITY-HEADER: key\r\n"));
	server_stop(&s);
}

static void azure__the_machines_identity_is_the_last(void)
{
	struct server s = {0};
	start(&s, TOKEN_ON);
	set("AZURE_POD_IDENTITY_AUTHORITY_HOST", s.url);
	token_is_found();
	CHECK(strstr(s.seen, "GET /metadata/identity/oauth2/token?api-version=2018-02-01&"
			     "resource=https%3A%2F%2Fstorage.azure.com%2F HTTP/1.1\r\n"));
	CHECK(strstr(s.seen, "Metadata: true\r\n"));
	server_stop(&s);
}

static void azure__half_a_client_is_refused(void)
{
	start_clean();
	set("AZURE_CLIENT_SECRET", "s");
	set("AZURE_TENANT_ID", "t");
	is_refused();
	set("AZURE_CLIENT_ID", "c");
	/* the secret does not go to a stranger in the clear */
	set("AZURE_AUTHORITY_HOST", "http://192.0.2.1");
	is_refused();
}

static void azure__a_refusal_is_final_and_an_outage_is_not(void)
{
	struct server s = {0};
	CLEANUP_CRED struct cred cred = {0};
	start(&s, "HTTP/1.1 401 Unauthorized\r\n\r\n{\"error\":\"invalid_client\","
		  "\"error_description\":\"AADSTS7000215: not secret\"}");
	set("AZURE_TENANT_ID", "t");
	set("AZURE_CLIENT_ID", "c");
	set("AZURE_CLIENT_SECRET", "secret");
	is_refused();
	server_stop(&s);
	CHECK_EQ(find_token(&cred), -ECOMM);
	static const char down[] = "HTTP/1.1 503 Busy\r\n\r\n";
	struct server busy = {.answers = {down, down, TOKEN}};
	server_start(&busy, NULL);
	set("AZURE_AUTHORITY_HOST", origin_of(&busy));
	token_is_found(); /* by the third try */
	server_stop(&busy);
}

static void azure__a_token_is_not_believed(void)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"access_token\":\"\"}",
		"{\"access_token\":\"a b\"}",
		"{\"access_token\":\"a\\r\\nx: y\"}",
		"{\"access_token\":[\"a\"]}",
		"{\"access_token\":\"a\",\"expires_in\":-1}",
		"{\"access_token\":\"a\",\"expires_in\":\"soon\"}",
		"{\"access_token\":\"a\",\"expires_in\":18446744073709551615}",
		"{\"access_token\":\"a\",\"expires_on\":\"99999999999999999\"}",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct cred cred = {0};
		CHECK_EQ(cred_from_bearer(bad[i], strlen(bad[i]), &cred), -EBADMSG);
	}
}

int main(void)
{
	rig_start();
	RUN(azure__a_client_secret_is_exchanged);
	RUN(azure__blobfuses_names_are_read);
	RUN(azure__a_workloads_token_is_read_each_time);
	RUN(azure__app_service_is_asked);
	RUN(azure__the_machines_identity_is_the_last);
	RUN(azure__half_a_client_is_refused);
	RUN(azure__a_refusal_is_final_and_an_outage_is_not);
	RUN(azure__a_token_is_not_believed);
	rig_end();
	return 0;
}
