/* cred_azure.c - see cred_azure.h. */
#include "backends/cred_azure.h"
#include <errno.h>
#include <string.h>
#include "backends/cred_ask.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

#define TOPIC	  "credentials"
#define AUTHORITY "https://login.microsoftonline.com"
#define RESOURCE  "https://storage.azure.com/"
#define SCOPE	  RESOURCE ".default"
#define ASSERTION "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

typedef int source_fn(struct http *http, struct cred *ret, struct call *call);

static const char *either(const char *a, const char *b)
{
	const char *value = cred_env(a);
	return value ? value : cred_env(b);
}

static const char *tenant(void)
{
	return either("AZURE_TENANT_ID", "AZURE_STORAGE_SPN_TENANT_ID");
}

static const char *client(void)
{
	return either("AZURE_CLIENT_ID", "AZURE_STORAGE_SPN_CLIENT_ID");
}

/* Whose managed identity; NULL = the machine's own. */
static const char *identity(void)
{
	return either("AZURE_CLIENT_ID", "AZURE_STORAGE_IDENTITY_CLIENT_ID");
}

/* Ask, and take the token out of the answer. */
static int ask(struct http *http, const struct cred_question *q, struct cred *ret,
	       struct call *call)
{
	struct http_reply reply;
	http_reply_init(&reply);
	int r = cred_ask(http, q, &reply, call);
	if (!r) {
		r = cred_from_bearer(reply.body.data, reply.body.len, ret);
		if (r)
			r = cred_ask_failed(q, r);
	}
	crypto_wipe(reply.body.data, reply.body.len);
	http_reply_done(&reply);
	return r;
}

/* A base URL of the environment's, its last slash taken off, and what comes after. */
static int make_url(struct buf *url, const char *base, const char *variable,
		    const char *path)
{
	size_t n = strlen(base);
	if (!cred_url_is_safe(base)) {
		log_error(TOPIC, "%s is no https URL: %s", variable, base);
		return -EACCES;
	}
	while (n && base[n - 1] == '/')
		n--;
	buf_add(url, base, n);
	buf_adds(url, path);
	return buf_error(url);
}

/* An application signs in: with a secret, or with an assertion by somebody Entra
 * trusts.  hide: whichever of both it is. */
static int sign_in(struct http *http, const char *source, struct url_param *proof,
		   struct cred *ret, struct call *call)
{
	CLEANUP_BUF struct buf url, path;
	struct buf body;
	struct http_header type = {"Content-Type", "application/x-www-form-urlencoded"};
	const char *base = either("AZURE_AUTHORITY_HOST", "AZURE_STORAGE_AAD_ENDPOINT");
	struct url_param params[] = {
		{"grant_type", "client_credentials"},
		{"client_id", client()},
		{"scope", SCOPE},
		{proof->name, proof->value},
		{"client_assertion_type",
		 strcmp(proof->name, "client_assertion") ? NULL : ASSERTION},
	};
	buf_init(&url, 4096);
	buf_init(&path, 4096);
	buf_init(&body, (size_t)4 * CRED_TOKEN_MAX);
	buf_addc(&path, '/');
	url_encode(&path, tenant(), strlen(tenant()), false);
	buf_adds(&path, "/oauth2/v2.0/token");
	int r = make_url(&url, base ? base : AUTHORITY, "AZURE_AUTHORITY_HOST",
			 path.data);
	cred_form(&body, params, sizeof params / sizeof params[0]);
	struct cred_question q = {.topic = TOPIC,
				  .source = source,
				  .method = "POST",
				  .url = url.data,
				  .headers = &type,
				  .n_headers = 1,
				  .body = &body,
				  .hide = {proof->value}};
	if (!r)
		r = buf_error(&path) ? buf_error(&path) : buf_error(&body);
	if (!r)
		r = ask(http, &q, ret, call);
	cred_wipe(&body);
	return r;
}

static int from_client_secret(struct http *http, struct cred *ret, struct call *call)
{
	const char *secret =
		either("AZURE_CLIENT_SECRET", "AZURE_STORAGE_SPN_CLIENT_SECRET");
	struct url_param proof = {"client_secret", secret};
	if (!secret)
		return -ENOENT;
	if (!tenant() || !client()) {
		log_error(TOPIC, "AZURE_CLIENT_SECRET is set but %s is not",
			  tenant() ? "AZURE_CLIENT_ID" : "AZURE_TENANT_ID");
		return -EACCES;
	}
	return sign_in(http, "the client secret in AZURE_CLIENT_SECRET", &proof, ret,
		       call);
}

static int from_workload(struct http *http, struct cred *ret, struct call *call)
{
	const char *path = either("AZURE_FEDERATED_TOKEN_FILE",
				  "AZURE_STORAGE_SPN_FEDERATED_TOKEN_FILE");
	CLEANUP_SECRET struct secret token = {0};
	CLEANUP_BUF struct buf source = {0};
	if (!path || !tenant() || !client())
		return -ENOENT;
	/* Read each time: it is replaced as it expires. */
	int r = cred_read_line(path, &token);
	if (r) {
		log_error(TOPIC, "the token file %s (AZURE_FEDERATED_TOKEN_FILE): %s",
			  path, r == -EBADMSG ? "not one line" : strerror(-r));
		return r == -ENOMEM ? r : -EACCES;
	}
	struct url_param proof = {"client_assertion", token.bytes};
	buf_init(&source, 8192);
	buf_addf(&source, "the federated token in %s", path);
	return buf_error(&source) ? buf_error(&source)
				  : sign_in(http, source.data, &proof, ret, call);
}

static void add_query(struct buf *url, const char *version)
{
	struct url_param params[] = {
		{"api-version", version},
		{"resource", RESOURCE},
		{"client_id", identity()},
	};
	buf_addc(url, strchr(url->data, '?') ? '&' : '?');
	cred_form(url, params, sizeof params / sizeof params[0]);
}

static int from_app_service(struct http *http, struct cred *ret, struct call *call)
{
	const char *endpoint = cred_env("IDENTITY_ENDPOINT");
	struct http_header header = {"X-IDENTITY-HEADER", cred_env("IDENTITY_HEADER")};
	CLEANUP_BUF struct buf url = {0};
	if (!endpoint || !header.value)
		return -ENOENT;
	buf_init(&url, 8192);
	buf_adds(&url, endpoint);
	add_query(&url, "2019-08-01");
	struct cred_question q = {
		.topic = TOPIC,
		.source = "the managed identity at IDENTITY_ENDPOINT",
		.method = "GET",
		.url = url.data,
		.headers = &header,
		.n_headers = 1,
		.hide = {header.value},
		.local = true,
	};
	return buf_error(&url) ? buf_error(&url) : ask(http, &q, ret, call);
}

/* Nobody there is no error yet: most machines are not Azure's. */
static int from_instance(struct http *http, struct cred *ret, struct call *call)
{
	const char *base = cred_env("AZURE_POD_IDENTITY_AUTHORITY_HOST");
	struct http_header header = {"Metadata", "true"};
	CLEANUP_BUF struct buf url;
	buf_init(&url, 8192);
	size_t n = base ? strlen(base) : 0;
	while (n && base[n - 1] == '/')
		n--;
	buf_addf(&url, "%.*s/metadata/identity/oauth2/token",
		 base ? (int)n : (int)sizeof "http://169.254.169.254" - 1,
		 base ? base : "http://169.254.169.254");
	add_query(&url, "2018-02-01");
	struct cred_question q = {
		.topic = TOPIC,
		.source = "the managed identity of this machine",
		.method = "GET",
		.url = url.data,
		.headers = &header,
		.n_headers = 1,
		.local = true,
		.absent_ok = !base && !identity() && !ret->source,
	};
	return buf_error(&url) ? buf_error(&url) : ask(http, &q, ret, call);
}

static int azure_find(void *arg, struct http *http, struct cred *ret, struct call *call)
{
	static const struct {
		source_fn *find;
		const char *source;
	} chain[] = {
		{from_client_secret, "AZURE_CLIENT_SECRET"},
		{from_workload, "AZURE_FEDERATED_TOKEN_FILE"},
		{from_app_service, "the managed identity at IDENTITY_ENDPOINT"},
		{from_instance, "the managed identity of this machine"},
	};
	(void)arg;
	const char *source = NULL;
	int r = -ENOENT;
	for (size_t i = 0; r == -ENOENT && i < sizeof chain / sizeof chain[0]; i++) {
		r = chain[i].find(http, ret, call);
		source = chain[i].source;
	}
	ret->source = source;
	if (r != -ENOENT)
		return r;
	log_error(TOPIC,
		  "no credentials found: looked at AZURE_STORAGE_CONNECTION_STRING, "
		  "AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_CLIENT_SECRET, "
		  "AZURE_FEDERATED_TOKEN_FILE, IDENTITY_ENDPOINT and the identity of "
		  "this machine (a public container is mounted with the option "
		  "anonymous)");
	return -EACCES;
}

int cred_azure_new(struct http *http, bool wait, struct creds **ret, struct call *call)
{
	struct creds_conf conf = {
		.http = http, .find = azure_find, .topic = TOPIC, .wait = wait};
	return creds_new(&conf, ret, call);
}
