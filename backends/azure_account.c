/* azure_account.c - see azure_account.h. */
#include "backends/azure_account.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "backends/date.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum { VALUE_MAX_BYTES = 16 * 1024 };

#define CONNECTION "AZURE_STORAGE_CONNECTION_STRING"

/* The account that every emulator has, and its key, as its manual prints them. */
#define EMULATOR_ENDPOINT "http://127.0.0.1:10000/devstoreaccount1"
#define EMULATOR_ACCOUNT  "devstoreaccount1"
#define EMULATOR_KEY                                                                 \
	"Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/" \
	"KBHBe"                                                                      \
	"ksoMGMw=="

/* What a connection string says.  Wiped: it holds the key. */
struct connection {
	bool given;
	struct secret account, key, sas, endpoint, suffix, protocol, emulator;
};

static void connection_done(struct connection *c)
{
	struct secret *all[] = {&c->account, &c->key,	   &c->sas,	&c->endpoint,
				&c->suffix,  &c->protocol, &c->emulator};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		secret_done(all[i]);
}
#define CLEANUP_CONNECTION CLEANUP(connection_done)

void azure_account_done(struct azure_account *a)
{
	free(a->account);
	free(a->container);
	free(a->prefix);
	free(a->path);
	cred_done(&a->cred);
	*a = (struct azure_account){0};
}

static const char *env(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

/* The first variable that is set; *ret_name is its name. */
static const char *env_of(const char *const *names, size_t n, const char **ret_name)
{
	for (size_t i = 0; i < n; i++) {
		const char *value = env(names[i]);
		if (!value)
			continue;
		*ret_name = names[i];
		return value;
	}
	return NULL;
}

static int bad(const char *name, const char *what)
{
	log_error("azure", "%s: %s", name, what);
	return -EINVAL;
}

static bool name_is(const char *s, size_t n, const char *more)
{
	static const char least[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	for (size_t i = 0; i < n; i++)
		if (!s[i] || (!strchr(least, s[i]) && !strchr(more, s[i])))
			return false;
	return n > 0 && n <= 63;
}

/* --- the connection string --- */

static int keep_part(struct connection *c, const char *name, size_t name_len,
		     const char *value, size_t len)
{
	const struct {
		const char *name;
		struct secret *to;
	} parts[] = {
		{"AccountName", &c->account},
		{"AccountKey", &c->key},
		{"SharedAccessSignature", &c->sas},
		{"BlobEndpoint", &c->endpoint},
		{"EndpointSuffix", &c->suffix},
		{"DefaultEndpointsProtocol", &c->protocol},
		{"UseDevelopmentStorage", &c->emulator},
	};
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (strlen(parts[i].name) == name_len &&
		    !strncasecmp(parts[i].name, name, name_len))
			return secret_set(parts[i].to, value, len);
	return 0; /* of the other services */
}

static int emulate(struct connection *c)
{
	int r = secret_set(&c->account, EMULATOR_ACCOUNT, strlen(EMULATOR_ACCOUNT));
	if (!r)
		r = secret_set(&c->key, EMULATOR_KEY, strlen(EMULATOR_KEY));
	if (!r && !c->endpoint.len)
		r = secret_set(&c->endpoint, EMULATOR_ENDPOINT,
			       strlen(EMULATOR_ENDPOINT));
	return r;
}

static int parse_connection(struct connection *c)
{
	const char *s = env(CONNECTION);
	c->given = s;
	while (s && *s) {
		size_t len = strcspn(s, ";"), name_len = strcspn(s, "=");
		if (name_len < len) {
			int r = keep_part(c, s, name_len, s + name_len + 1,
					  len - name_len - 1);
			if (r)
				return r;
		} else if (strspn(s, " \t\r\n") < len) {
			return bad(CONNECTION, "a part of it is no Name=value");
		}
		s += len + (s[len] == ';');
	}
	if (!c->given)
		return 0;
	if (c->emulator.len && !strcasecmp(c->emulator.bytes, "true"))
		return emulate(c);
	if (!c->key.len && !c->sas.len)
		return bad(CONNECTION,
			   "it has neither AccountKey nor SharedAccessSignature");
	return c->account.len || c->endpoint.len
		       ? 0
		       : bad(CONNECTION, "it has neither AccountName nor BlobEndpoint");
}

/* --- the account and the container --- */

static int default_account(const struct connection *c, const char **ret)
{
	static const char *const names[] = {"AZURE_STORAGE_ACCOUNT",
					    "AZURE_STORAGE_ACCOUNT_NAME"};
	const char *from;
	*ret = c->account.len ? c->account.bytes : env_of(names, 2, &from);
	return *ret ? 0 : bad("AZURE_STORAGE_ACCOUNT", "not set, and the URL has none");
}

static int parse_url(const char *url, const struct connection *c, struct azure_account *a)
{
	static const char scheme[] = "az://";
	const char *account = url + strlen(scheme);
	size_t n = 0;
	int r = strncasecmp(url, scheme, strlen(scheme)) ? -EINVAL : 0;
	const char *rest = r ? NULL : strchr(account, '/');
	if (rest)
		n = (size_t)(rest - account);
	if (!r && rest && !n) {
		r = default_account(c, &account);
		if (r)
			return r;
		n = strlen(account);
	}
	/* A container's name is 3 to 63 letters, digits and '-'; or "$web", "$root". */
	size_t container = rest ? strcspn(rest + 1, "/") : 0;
	if (r || !rest || !name_is(account, n, "-") ||
	    !name_is(rest + 1, container, "-$")) {
		log_error("azure", "\"%s\" is not az://account/container[/prefix]", url);
		return -EINVAL;
	}
	const char *prefix = rest + 1 + container + (rest[1 + container] == '/');
	size_t len = strlen(prefix);
	a->account = strndup(account, n);
	a->container = strndup(rest + 1, container);
	a->prefix = malloc(len + 2);
	if (!a->account || !a->container || !a->prefix)
		return -ENOMEM;
	memcpy(a->prefix, prefix, len + 1);
	if (len && prefix[len - 1] != '/')
		memcpy(a->prefix + len, "/", 2);
	return 0;
}

/* --- the endpoint --- */

static int parse_endpoint(const char *text, const char *from, struct azure_account *a)
{
	const char *host = strstr(text, "://");
	const char *path = host ? strchr(host + 3, '/') : NULL;
	size_t n = path ? strlen(path) : 0;
	while (n && path[n - 1] == '/')
		n--;
	int r = url_parse_origin(text, &a->endpoint);
	if (r == -ENOMEM)
		return r;
	if (r || (n && !name_is(path + 1, n - 1, "-")))
		return bad(from, "not http(s)://host[:port][/account]");
	/* An address has no room for the account: it is in the path. */
	bool by_path = n || url_host_is_ip(a->endpoint.host) ||
		       !strcasecmp(a->endpoint.host, "localhost");
	size_t len = n ? n - 1 : strlen(a->account);
	a->path = calloc(1, len + 2);
	if (!a->path)
		return -ENOMEM;
	if (by_path) {
		a->path[0] = '/';
		memcpy(a->path + 1, n ? path + 1 : a->account, len);
	}
	return 0;
}

static int find_endpoint(const char *option, const struct connection *c,
			 struct azure_account *a)
{
	static const char *const names[] = {"AZURE_STORAGE_BLOB_ENDPOINT",
					    "AZURE_STORAGE_SERVICE_ENDPOINT"};
	CLEANUP_BUF struct buf made;
	const char *from = "endpoint";
	buf_init(&made, VALUE_MAX_BYTES);
	if (option)
		return parse_endpoint(option, from, a);
	if (c->endpoint.len)
		return parse_endpoint(c->endpoint.bytes, CONNECTION " (BlobEndpoint)", a);
	const char *text = env_of(names, 2, &from);
	if (text)
		return parse_endpoint(text, from, a);
	buf_addf(&made, "%s://%s.blob.%s", c->protocol.len ? c->protocol.bytes : "https",
		 a->account, c->suffix.len ? c->suffix.bytes : "core.windows.net");
	if (buf_error(&made))
		return buf_error(&made);
	return parse_endpoint(made.data, CONNECTION " (EndpointSuffix)", a);
}

/* --- the credentials --- */

static int use_key(const char *text, const char *from, struct azure_account *a)
{
	CLEANUP_BUF struct buf bytes;
	buf_init(&bytes, 256);
	size_t n = strlen(text);
	while (n && strchr(" \t\r\n", text[n - 1]))
		n--;
	int r = base64_decode(&bytes, text, n);
	if (r != -ENOMEM && (r || !bytes.len))
		r = bad(from, "it holds no key: not base64");
	if (!r)
		r = secret_set(&a->cred.secret, bytes.data, bytes.len);
	crypto_wipe(bytes.data, bytes.len);
	if (r)
		return r;
	a->cred.access_key = strdup(a->account);
	a->cred.kind = CRED_KEYS;
	a->source = from;
	a->cred.source = from;
	return a->cred.access_key ? 0 : -ENOMEM;
}

/* It goes into the URL as it stands. */
static int use_sas(const char *text, const char *from, struct azure_account *a)
{
	text += *text == '?';
	size_t n = strlen(text);
	for (size_t i = 0; i < n; i++)
		if (text[i] <= ' ' || text[i] > '~' || text[i] == '#')
			return bad(from, "it holds no SAS: a byte that no query has");
	if (strncmp(text, "sig=", 4) && !strstr(text, "&sig="))
		return bad(from, "it holds no SAS: it has no sig=");
	a->cred.kind = CRED_SAS;
	a->source = from;
	a->cred.source = from;
	return secret_set(&a->cred.token, text, n);
}

/* The keys of another account would only be refused. */
static int check_account(const char *whose, const char *from,
			 const struct azure_account *a)
{
	if (!whose || !strcmp(whose, a->account))
		return 0;
	log_error("azure", "%s is of the account %s, not of %s", from, whose, a->account);
	return -EINVAL;
}

static int use_environment(struct azure_account *a)
{
	static const char *const keys[] = {"AZURE_STORAGE_KEY",
					   "AZURE_STORAGE_ACCESS_KEY",
					   "AZURE_STORAGE_ACCOUNT_KEY"};
	static const char *const accounts[] = {"AZURE_STORAGE_ACCOUNT",
					       "AZURE_STORAGE_ACCOUNT_NAME"};
	const char *from, *of = NULL;
	const char *key = env_of(keys, 3, &from);
	const char *sas = env("AZURE_STORAGE_SAS_TOKEN");
	if (!key && !sas)
		return 0;
	const char *account = env_of(accounts, 2, &of);
	int r = check_account(account, of, a);
	if (r)
		return r;
	return key ? use_key(key, from, a) : use_sas(sas, "AZURE_STORAGE_SAS_TOKEN", a);
}

static bool asks_for_token(void)
{
	static const char *const types[] = {"msi", "spn", "azcli", "workload"};
	const char *type = env("AZURE_STORAGE_AUTH_TYPE");
	for (size_t i = 0; type && i < sizeof types / sizeof *types; i++)
		if (!strncasecmp(type, types[i], strlen(types[i])))
			return true;
	return false;
}

static int find_credentials(const struct connection *c, struct azure_account *a)
{
	a->cred.kind = CRED_BEARER;
	a->source = "the token from Entra";
	if (asks_for_token())
		return 0;
	if (!c->given)
		return use_environment(a);
	int r = check_account(c->account.len ? c->account.bytes : NULL, CONNECTION, a);
	if (r)
		return r;
	return c->key.len
		       ? use_key(c->key.bytes, CONNECTION " (AccountKey)", a)
		       : use_sas(c->sas.bytes, CONNECTION " (SharedAccessSignature)", a);
}

int azure_account_read(const char *url, const char *endpoint, bool anonymous,
		       struct azure_account *ret)
{
	struct azure_account a = {0};
	CLEANUP_CONNECTION struct connection c = {0};
	int r = parse_connection(&c);
	if (!r)
		r = parse_url(url, &c, &a);
	if (!r)
		r = find_endpoint(endpoint, &c, &a);
	if (!r && !anonymous)
		r = find_credentials(&c, &a);
	if (r)
		azure_account_done(&a);
	else
		*ret = a;
	return r;
}

int azure_sas_expiry(const char *sas, int64_t *ret_ns)
{
	CLEANUP_BUF struct buf text;
	buf_init(&text, 128);
	const char *se = !strncmp(sas, "se=", 3) ? sas : strstr(sas, "&se=");
	if (!se)
		return -ENOENT;
	se = strchr(se, '=') + 1;
	if (url_decode(&text, se, strcspn(se, "&"), false))
		return -ENOENT;
	/* "2026-11-23", "2026-11-23T20:48Z", "2026-11-23T20:48:37Z" */
	if (text.len == 10)
		buf_adds(&text, "T00:00:00Z");
	else if (text.len == 17) {
		text.data[--text.len] = '\0';
		buf_adds(&text, ":00Z");
	}
	return buf_error(&text) || date_parse_iso(text.data, ret_ns) ? -ENOENT : 0;
}
