/* fuzz_json.c - answers in JSON: Google's, those of services that give out credentials,
 * and MAST's.  The first letter says which. */
#include <errno.h>
#include <unistd.h>
#include "backends/cred_azure.h"
#include "backends/cred_google_file.h"
#include "backends/cred_source.h"
#include "backends/mast_lookup.h"
#include "backends/mast_path.h"
#include "tests/fuzz/store.h"
#include "backends/util/banned.h"

static const struct {
	char letter;
	const struct store_kind *kind;
	enum store_op op;
} runs[] = {
	{'l', &store_gcs, STORE_LIST},	  {'L', &store_gcs, STORE_LIST_ALL},
	{'h', &store_gcs, STORE_HEAD},	  {'p', &store_gcs, STORE_PUT},
	{'d', &store_gcs, STORE_DEL},	  {'c', &store_gcs, STORE_COPY},
	{'b', &store_gcs, STORE_BEGIN},	  {'s', &store_gcs, STORE_PART},
	{'f', &store_gcs, STORE_FINISH},  {'a', &store_gcs, STORE_ABORT},
	{'u', &store_gcs, STORE_UPLOADS}, {'r', &store_gcs, STORE_PROBE},
	{'P', &store_gcs_session, STORE_PUT},
};

/* --- credentials --- */

static struct http *http;

/* What a store is sent is a header: no byte of it may end one. */
static bool header_safe(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == 0x7f)
			return false;
	return true;
}

static void check_cred(int r, const struct cred *cred)
{
	MUST(r <= 0);
	if (r)
		return;
	bool bearer = cred->kind == CRED_BEARER;
	MUST(!cred->token.bytes || header_safe(cred->token.bytes));
	MUST(bearer ? cred->token.len > 0 : cred->secret.len > 0);
	MUST(bearer || (*cred->access_key && header_safe(cred->access_key)));
}

static int ask_aws(const struct input *in)
{
	CLEANUP_CRED struct cred cred = {0};
	struct cred_from from = {.http = http, .region = "r"};
	wire_load(in->p, in->n, 0);
	int r = cred_from_instance(&from, &cred);
	check_cred(r, &cred);
	return r;
}

static int ask_azure(const struct input *in)
{
	struct creds *creds;
	CLEANUP_CRED struct cred cred = {0};
	wire_load(in->p, in->n, 0);
	int r = cred_azure_new(http, false, &creds, NULL);
	if (r)
		return r;
	r = creds_get(creds, 0, &cred, NULL);
	creds_free(creds);
	check_cred(r, &cred);
	return r;
}

static int ask_google(const char *text, const struct input *in)
{
	CLEANUP_CRED struct cred cred = {0};
	struct google_file f = {.path = "key.json",
				.text = text,
				.len = strlen(text),
				.scope = GOOGLE_SCOPE_CLOUD,
				.http = http};
	wire_load(in->p, in->n, 0);
	int r = google_from_file(&f, &cred);
	check_cred(r, &cred);
	return r;
}

#define USER                                                                             \
	"{\"type\":\"authorized_user\",\"client_id\":\"i\",\"client_secret\":\"s&\","    \
	"\"refresh_token\":\"1//r\",\"token_uri\":\"http://127.0.0.1:9/token\"}"
#define EXTERNAL                                                                         \
	"{\"type\":\"external_account\",\"audience\":\"//a\",\"subject_token_type\":"    \
	"\"urn:t\",\"token_url\":\"http://127.0.0.1:9/sts\",\"credential_source\":{"     \
	"\"url\":\"http://127.0.0.1:9/u\",\"format\":{\"type\":\"json\","                \
	"\"subject_token_field_name\":\"value\"}}}"
#define IMPERSONATED                                                                   \
	"{\"type\":\"impersonated_service_account\",\"service_account_impersonation_"  \
	"url\":\"http://127.0.0.1:9/v1/projects/-/serviceAccounts/"                    \
	"a:generateAccessToken\",\"source_credentials\":" USER "}"

static void direct(char letter, const struct input *in)
{
	CLEANUP_CRED struct cred cred = {0};
	const char *text = (const char *)in->p;
	check_cred(letter == 'K' ? cred_from_json(text, in->n, "Token", &cred)
				 : cred_from_bearer(text, in->n, &cred),
		   &cred);
}

/* --- MAST --- */

#define FILE_NAME "jw01_x.fits"

static void check_key(int r, const char *key)
{
	MUST(r <= 0);
	MUST(r || (mast_path_is_key(key) && strlen(key) < KEY_SIZE));
	MUST(r || !strcmp(strrchr(key, '/'), "/" FILE_NAME));
}

static void ask_mast(const struct input *in)
{
	struct backend_conf conf = {.mast_service = "http://127.0.0.1:9"};
	struct mast_lookup *l;
	char key[KEY_SIZE];
	MUST(!mast_lookup_new(&conf, &l));
	wire_load(in->p, in->n, 0);
	check_key(mast_lookup_ask(l, FILE_NAME, key, NULL), key);
	mast_lookup_free(l);
}

static void parse_mast(const struct input *in)
{
	char key[KEY_SIZE];
	check_key(mast_lookup_parse((const char *)in->p, in->n, FILE_NAME, key), key);
}

/* --- all --- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static char endpoint[] = "IDENTITY_ENDPOINT=http://127.0.0.1:9/msi?x=y";
	static char header[] = "IDENTITY_HEADER=h";
	static char imds[] = "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:9/";
	static char *variables[] = {endpoint, header, imds, NULL};
	(void)argc;
	(void)argv;
	store_start();
	environ = variables;
	MUST(!http_new(&(struct http_conf){0}, &http));
	return 0;
}

static void ask(char letter, const struct input *in)
{
	wire_bind("http://127.0.0.1:9/");
	switch (letter) {
	case 'I':
		(void)ask_aws(in);
		break;
	case 'Z':
		(void)ask_azure(in);
		break;
	case 'G':
		(void)ask_google(USER, in);
		break;
	case 'E':
		(void)ask_google(EXTERNAL, in);
		break;
	case 'J':
		(void)ask_google(IMPERSONATED, in);
		break;
	case 'K':
	case 'B':
		direct(letter, in);
		break;
	case 'M':
		parse_mast(in);
		break;
	case 'N':
		ask_mast(in);
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	char letter = (char)take_byte(&in);
	for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
		if (runs[i].letter == letter)
			store_run(runs[i].kind, runs[i].op, &in);
	ask(letter, &in);
	return 0;
}
