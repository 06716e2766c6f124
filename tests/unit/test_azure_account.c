/* test_azure_account.c - what is signed, and what is made of URL and environment. */
#include <errno.h>
#include "backends/azure_account.h"
#include "backends/azure_sign.h"
#include "backends/util/cleanup.h"
#include "tests/unit/azure_rig.h"
#include "backends/util/banned.h"

#define EMULATOR_KEY                                                                 \
	"Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/" \
	"KBHBe"                                                                      \
	"ksoMGMw=="

/* --- the signature --- */

static void azure__signs_what_the_emulator_signs(void)
{
	static const struct url_param params[] = {{"restype", "container"},
						  {"prefix", "a b"},
						  {"comp", "list"},
						  {"delimiter", "/"}};
	static const struct http_header headers[] = {
		{"x-ms-version", "2021-12-02"},
		{"x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT"}};
	struct azure_sign_request rq = {.method = "GET",
					.account = "devstoreaccount1",
					.path = "/devstoreaccount1/mycontainer",
					.params = params,
					.n_params = 4,
					.headers = headers,
					.n_headers = 2};
	CLEANUP_BUF struct buf key, out;
	buf_init(&key, 256);
	buf_init(&out, 1024);
	CHECK_EQ(base64_decode(&key, EMULATOR_KEY, strlen(EMULATOR_KEY)), 0);
	struct secret secret = {.bytes = key.data, .len = key.len};
	CHECK_EQ(azure_sign(&secret, &rq, &out), 0);
	CHECK_STR(out.data, "SharedKey devstoreaccount1:"
			    "3Q2MqXOG7LJIShq/BXv8LFrtD/0KNWoqi9vwvWH+RO8=");
}

static void azure__what_is_signed_has_its_order(void)
{
	static const struct http_header headers[] = {{"x-ms-meta-aa", "3"},
						     {"x-ms-meta-a1", "2"},
						     {"x-ms-meta-a_b", " 1  "},
						     {"if-match", "\"e\""},
						     {"content-type", "t/t"},
						     {"content-md5", "m"},
						     {"x-ms-date", "d"},
						     {"x-ms-copy-source", "s"},
						     {"range", "r"},
						     {"other", "no"}};
	struct azure_sign_request rq = {.method = "PUT",
					.account = "a",
					.path = "/c/k%20",
					.headers = headers,
					.n_headers = 10,
					.length = 12};
	CLEANUP_BUF struct buf out;
	buf_init(&out, 1024);
	CHECK_EQ(azure_string_to_sign(&rq, &out), 0);
	CHECK_STR(out.data, "PUT\n\n\n12\nm\nt/t\n\n\n\"e\"\n\n\nr\n"
			    "x-ms-copy-source:s\nx-ms-date:d\nx-ms-meta-a_b:1\n"
			    "x-ms-meta-a1:2\nx-ms-meta-aa:3\n/a/c/k%20");
}

/* --- the environment --- */

static const struct {
	const char *env[4], *url, *endpoint;
	enum cred_kind kind;
	const char *account, *host, *path, *prefix;
} spellings[] = {
	{{NULL},
	 "az://acc/cont",
	 NULL,
	 CRED_BEARER,
	 "acc",
	 "https acc.blob.core.windows.net 443",
	 "",
	 ""},
	{{"AZURE_STORAGE_KEY=" SECRET},
	 "az://acc/cont/a/b",
	 NULL,
	 CRED_KEYS,
	 "acc",
	 "https acc.blob.core.windows.net 443",
	 "",
	 "a/b/"},
	{{"AZURE_STORAGE_ACCOUNT_NAME=acc", "AZURE_STORAGE_ACCOUNT_KEY=" SECRET},
	 "az:///cont/",
	 NULL,
	 CRED_KEYS,
	 "acc",
	 "https acc.blob.core.windows.net 443",
	 "",
	 ""},
	{{"AZURE_STORAGE_ACCESS_KEY=" SECRET, "AZURE_STORAGE_AUTH_TYPE=msi"},
	 "az://acc/cont",
	 NULL,
	 CRED_BEARER,
	 "acc",
	 "https acc.blob.core.windows.net 443",
	 "",
	 ""},
	{{"AZURE_STORAGE_SAS_TOKEN=?" SAS},
	 "az://acc/cont",
	 "https://acc.blob.core.usgovcloudapi.net/",
	 CRED_SAS,
	 "acc",
	 "https acc.blob.core.usgovcloudapi.net 443",
	 "",
	 ""},
	{{"AZURE_STORAGE_CONNECTION_STRING=DefaultEndpointsProtocol=https;"
	  "AccountName=acc;AccountKey=" SECRET ";EndpointSuffix=core.chinacloudapi.cn"},
	 "az://acc/cont",
	 NULL,
	 CRED_KEYS,
	 "acc",
	 "https acc.blob.core.chinacloudapi.cn 443",
	 "",
	 ""},
	{{"AZURE_STORAGE_CONNECTION_STRING=BlobEndpoint=https://x.example:81/;"
	  "QueueEndpoint=https://q/;SharedAccessSignature=" SAS ";"},
	 "az://acc/$web",
	 NULL,
	 CRED_SAS,
	 "acc",
	 "https x.example 81",
	 "",
	 ""},
	{{"AZURE_STORAGE_CONNECTION_STRING=UseDevelopmentStorage=true"},
	 "az:///cont",
	 NULL,
	 CRED_KEYS,
	 "devstoreaccount1",
	 "http 127.0.0.1 10000",
	 "/devstoreaccount1",
	 ""},
	{{"AZURE_STORAGE_KEY=" SECRET, "AZURE_STORAGE_BLOB_ENDPOINT=http://127.0.0.1:99"},
	 "az://acc/cont",
	 NULL,
	 CRED_KEYS,
	 "acc",
	 "http 127.0.0.1 99",
	 "/acc",
	 ""},
	{{"AZURE_STORAGE_KEY=" SECRET},
	 "az://acc/cont",
	 "http://store.example:99/acc/",
	 CRED_KEYS,
	 "acc",
	 "http store.example 99",
	 "/acc",
	 ""},
};

static void azure__account_is_found_in_every_spelling(void)
{
	for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
		struct azure_account a;
		char host[300];
		set_environment(spellings[i].env);
		CHECK_EQ(azure_account_read(spellings[i].url, spellings[i].endpoint,
					    false, &a),
			 0);
		(void)snprintf(host, sizeof host, "%s %s %d",
			       a.endpoint.https ? "https" : "http", a.endpoint.host,
			       a.endpoint.port);
		CHECK_STR(a.account, spellings[i].account);
		CHECK_STR(host, spellings[i].host);
		CHECK_STR(a.path, spellings[i].path);
		CHECK_STR(a.prefix, spellings[i].prefix);
		CHECK_EQ(a.cred.kind, spellings[i].kind);
		if (a.cred.kind == CRED_SAS)
			CHECK_STR(a.cred.token.bytes, SAS);
		azure_account_done(&a);
	}
	forget_environment();
}

static const struct {
	const char *env[3], *url, *endpoint, *named;
} malformed[] = {
	{{NULL}, "az://acc", NULL, "az://acc"},
	{{NULL}, "az://Acc/cont", NULL, "az://Acc/cont"},
	{{NULL}, "az://acc/", NULL, "az://acc/"},
	{{NULL}, "az:///cont", NULL, "AZURE_STORAGE_ACCOUNT"},
	{{NULL}, "az://acc/cont", "ftp://x", "endpoint"},
	{{NULL}, "az://acc/cont", "https://x/a/b", "endpoint"},
	{{"AZURE_STORAGE_KEY=canary"}, "az://acc/cont", NULL, "AZURE_STORAGE_KEY: "},
	{{"AZURE_STORAGE_ACCESS_KEY=canary canary="},
	 "az://acc/cont",
	 NULL,
	 "AZURE_STORAGE_ACCESS_KEY: "},
	{{"AZURE_STORAGE_SAS_TOKEN=sv=canary"},
	 "az://acc/cont",
	 NULL,
	 "AZURE_STORAGE_SAS_TOKEN: "},
	{{"AZURE_STORAGE_SAS_TOKEN=sig=canary canary"},
	 "az://acc/cont",
	 NULL,
	 "AZURE_STORAGE_SAS_TOKEN: "},
	{{"AZURE_STORAGE_CONNECTION_STRING=canary"},
	 "az://acc/cont",
	 NULL,
	 "AZURE_STORAGE_CONNECTION_STRING: "},
	{{"AZURE_STORAGE_CONNECTION_STRING=AccountName=acc"},
	 "az://acc/cont",
	 NULL,
	 "AZURE_STORAGE_CONNECTION_STRING: "},
	{{"AZURE_STORAGE_CONNECTION_STRING=AccountKey=canary"},
	 "az://acc/cont",
	 NULL,
	 "AZURE_STORAGE_CONNECTION_STRING: "},
	{{"AZURE_STORAGE_CONNECTION_STRING=AccountName=acc;AccountKey=canary;"
	  "EndpointSuffix=not a host"},
	 "az://acc/cont",
	 NULL,
	 "AZURE_STORAGE_CONNECTION_STRING (EndpointSuffix): "},
	{{"AZURE_STORAGE_CONNECTION_STRING=AccountName=other;"
	  "AccountKey=Y2FuYXJ5"},
	 "az://acc/cont",
	 NULL,
	 "AZURE_STORAGE_CONNECTION_STRING is of the account other"},
	{{"AZURE_STORAGE_ACCOUNT=other", "AZURE_STORAGE_KEY=Y2FuYXJ5"},
	 "az://acc/cont",
	 NULL,
	 "AZURE_STORAGE_ACCOUNT is of the account other"},
};

static void azure__malformed_is_one_line_without_the_secret(void)
{
	for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
		struct azure_account a;
		set_environment(malformed[i].env);
		CHECK_EQ(azure_account_read(malformed[i].url, malformed[i].endpoint,
					    false, &a),
			 -EINVAL);
		const char *text = logged();
		CHECK(strstr(text, malformed[i].named));
		CHECK(strchr(text, '\n') == strrchr(text, '\n'));
		CHECK(!strstr(text, "canary") && !strstr(text, "Y2FuYXJ5"));
	}
	forget_environment();
}

static void azure__the_end_of_a_sas_is_read(void)
{
	int64_t ns;
	CHECK_EQ(azure_sas_expiry(SAS, &ns), 0);
	CHECK_EQ(ns, 1577934240000000000);
	CHECK_EQ(azure_sas_expiry("se=2020-01-02&sig=x", &ns), 0);
	CHECK_EQ(ns, 1577923200000000000);
	CHECK_EQ(azure_sas_expiry("a=b&se=2020-01-02T03%3A04%3A05Z", &ns), 0);
	CHECK_EQ(ns, 1577934245000000000);
	CHECK_EQ(azure_sas_expiry("si=policy&sig=x", &ns), -ENOENT);
	CHECK_EQ(azure_sas_expiry("se=soon&sig=x", &ns), -ENOENT);
}

static int open_with(const struct backend_conf *conf)
{
	struct backend *be;
	int r = azure_open(conf, &be);
	if (!r)
		be->ops->free(be);
	return r;
}

static void azure__plain_http_is_for_this_machine(void)
{
	static const char *const env[] = {"AZURE_STORAGE_KEY=" SECRET, NULL};
	struct backend_conf conf = {.url = "az://acc/cont",
				    .endpoint = "http://store.example"};
	set_environment(env);
	CHECK_EQ(open_with(&conf), -EINVAL);
	CHECK(strstr(logged(), "allow_http"));
	conf.allow_http = true;
	CHECK_EQ(open_with(&conf), 0);
	conf.allow_http = false;
	conf.endpoint = "http://127.0.0.1:1";
	CHECK_EQ(open_with(&conf), 0);
	(void)logged();
}

int main(void)
{
	log_start();
	RUN(azure__signs_what_the_emulator_signs);
	RUN(azure__what_is_signed_has_its_order);
	RUN(azure__account_is_found_in_every_spelling);
	RUN(azure__malformed_is_one_line_without_the_secret);
	RUN(azure__the_end_of_a_sas_is_read);
	RUN(azure__plain_http_is_for_this_machine);
	return 0;
}
