/* fuzz_config.c - what users and administrators write: options, config files, ~/.aws, key
 * files, variables, URLs.  The first letter says which.
 *
 * No input can run a program or name a file of the machine: profiles name programs, and
 * those are not found here; paths are those of the input's own text.
 */
#include <errno.h>
#include <spawn.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backends/azure_account.h"
#include "backends/cred_google_file.h"
#include "backends/cred_source.h"
#include "backends/placement.h"
#include "backends/source.h"
#include "backends/url.h"
#include "fs/config.h"
#include "tests/fuzz/store.h"
#include "backends/util/banned.h"

enum { VARIABLES_MAX = 16, ITEMS_MAX = 65536 };

static struct http *http;
static int text_fd;
static char text_path[64];

/* In the place of libc's: see above. */
int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
		 const posix_spawnattr_t *attr, char *const argv[], char *const env[])
{
	(void)pid, (void)file, (void)actions, (void)attr, (void)argv, (void)env;
	return ENOENT;
}

/* The rest of the input becomes the file text_path. */
static void write_text(const struct input *in)
{
	MUST(!ftruncate(text_fd, 0));
	MUST(!in->n || pwrite(text_fd, in->p, in->n, 0) == (ssize_t)in->n);
}

/* --- what was set --- */

static void check_amount(const struct option *o, const struct amount *a)
{
	MUST(a->percent ? a->percent <= 100 : a->bytes >= o->min && a->bytes <= o->max);
}

/* Of "a|b|c". */
static int count(const char *choices)
{
	int n = 1;
	for (; *choices; choices++)
		n += *choices == '|';
	return n;
}

static void check_field(const struct option *o, const void *field)
{
	uint64_t n = 0;
	const char *text;
	switch (o->type) {
	case OPTION_SIZE:
	case OPTION_DURATION:
		memcpy(&n, field, sizeof n);
		MUST(n >= o->min && n <= o->max);
		break;
	case OPTION_COUNT:
	case OPTION_OCTAL:
		memcpy(&n, field, sizeof(uint32_t));
		MUST(n >= o->min && n <= o->max);
		break;
	case OPTION_AMOUNT:
		check_amount(o, field);
		break;
	case OPTION_CHOICE:
		MUST(*(const int *)field >= 0 && *(const int *)field < count(o->choices));
		break;
	case OPTION_TEXT:
	case OPTION_LIST:
		/* Neither taken nor shown. */
		text = *(char *const *)field;
		MUST(!text || !source_holds_secret(text));
		break;
	default:
		break;
	}
}

static void check_config(const struct config *c)
{
	for (const struct option *o = options; o->name; o++)
		check_field(o, (const char *)c + o->offset);
}

/* Chosen once, a source is a URL that is chosen again as it stands, and the cache's name
 * for it is always the same. */
static void check_source(struct settings *s)
{
	CLEANUP_BUF struct buf one, two;
	buf_init(&one, ITEMS_MAX);
	buf_init(&two, ITEMS_MAX);
	MUST(source_is_url(s->url) && !source_holds_secret(s->url));
	int r = source_identity(s, &one);
	char *url = strdup(s->url);
	MUST(url && !source_choose(s, url) && !strcmp(s->url, url));
	MUST(source_identity(s, &two) == r);
	MUST(r || !strcmp(one.data, two.data));
	free(url);
}

/* items: as -o has them.  argument: the source, NULL = by the environment. */
static void load(const char *items_text, const char *argument)
{
	struct config c;
	CLEANUP_BUF struct buf items;
	buf_init(&items, ITEMS_MAX);
	MUST(!config_init(&c));
	int r = config_collect(&items, items_text);
	if (!r)
		r = config_load(&c, &items);
	MUST(r <= 0);
	if (!r) {
		check_config(&c);
		r = source_choose(&c.store, argument);
		MUST(r <= 0);
		if (!r)
			check_source(&c.store);
	}
	config_done(&c);
}

/* --- the environment --- */

static bool may_be_set(const char *line)
{
	static const char *const names[] = {
		"MASTFS_",     "STORAGE_",    "AWS_ENDPOINT_URL",
		"S3_ENDPOINT", "AWS_REGION=", "AWS_DEFAULT_REGION=",
		"MINIO_",      "AWS_PROFILE=", "AZURE_STORAGE_"};
	if (!strncmp(line, "MASTFS_CONFIG=", 14) || !strchr(line, '='))
		return false;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strncmp(line, names[i], strlen(names[i])))
			return true;
	return false;
}

/* Lines "NAME=value"; what follows a blank one is the source. */
static void run_environment(struct input *in)
{
	static char *none[] = {NULL};
	char *variables[VARIABLES_MAX + 1] = {NULL};
	int n = 0;
	while (in->n && n < VARIABLES_MAX && *in->p != '\n') {
		char *line = take_string(in, '\n', NULL);
		if (may_be_set(line))
			variables[n++] = line;
		else
			free(line);
	}
	(void)take_byte(in);
	char *argument = in->n ? take_string(in, '\n', NULL) : NULL;
	environ = variables;
	load("", argument);
	environ = none;
	free(argument);
	while (n)
		free(variables[--n]);
}

/* --- files --- */

static void run_file(const struct input *in)
{
	CLEANUP_BUF struct buf item;
	buf_init(&item, 256);
	write_text(in);
	buf_addf(&item, "config=%s", text_path);
	load(item.data, "s3://b/p");
}

static void run_items(struct input *in)
{
	char *text = take_string(in, '\0', NULL);
	if (!strcasestr(text, "config"))
		load(text, "s3://b/p");
	free(text);
}

static void check_keys(int r, const struct cred *cred)
{
	MUST(r <= 0);
	MUST(r || (cred->access_key && *cred->access_key && cred->secret.len));
	MUST(r || !strpbrk(cred->access_key, "\r\n "));
	MUST(r || !cred->token.len || !strpbrk(cred->token.bytes, "\r\n "));
}

static void run_profile(const struct input *in, bool config)
{
	static char other[] = "AWS_CONFIG_FILE=/dev/null";
	static char other_config[] = "AWS_SHARED_CREDENTIALS_FILE=/dev/null";
	static char *none[] = {NULL};
	char path[128];
	char *variables[] = {path, config ? other_config : other, NULL};
	struct profile *profile;
	typedef int source_fn(const struct cred_from *, struct cred *);
	static source_fn *const chain[] = {cred_from_role, cred_from_web_identity,
					   cred_from_profile, cred_from_process};
	(void)snprintf(path, sizeof path, "%s=%s",
		       config ? "AWS_CONFIG_FILE" : "AWS_SHARED_CREDENTIALS_FILE",
		       text_path);
	write_text(in);
	environ = variables;
	wire_load(NULL, 0, 0);
	MUST(!profile_load(NULL, &profile));
	struct cred_from from = {.http = http, .profile = profile, .region = "r"};
	for (size_t i = 0; i < sizeof chain / sizeof *chain; i++) {
		CLEANUP_CRED struct cred cred = {0};
		check_keys(chain[i](&from, &cred), &cred);
	}
	profile_free(profile);
	environ = none;
}

static void run_key_file(const struct input *in)
{
	CLEANUP_CRED struct cred cred = {0};
	struct google_file f = {.path = "key.json",
				.text = (const char *)in->p,
				.len = in->n,
				.scope = GOOGLE_SCOPE_CLOUD,
				.http = http};
	wire_load(NULL, 0, 0);
	MUST(google_from_file(&f, &cred) < 0); /* nobody answers */
}

/* --- single values --- */

static void check_endpoint(const char *s)
{
	struct endpoint ep, again;
	CLEANUP_BUF struct buf out;
	buf_init(&out, 1024);
	/* The zone of an address is written as libcurl wants it. */
	if (url_parse_endpoint(s, &ep) || strchr(ep.host, '%'))
		return;
	buf_addf(&out, "http%s://", ep.https ? "s" : "");
	url_add_host(&out, &ep);
	MUST(!buf_error(&out) && !url_parse_endpoint(out.data, &again));
	MUST(again.https == ep.https && again.port == ep.port && ep.port);
	MUST(!strcmp(again.host, ep.host));
	MUST(!strpbrk(ep.host, "/@?#[] \r\n\\"));
}

static void check_bucket(const char *s)
{
	char *bucket, *prefix;
	if (url_parse_bucket(s, "s3", &bucket, &prefix))
		return;
	size_t n = strlen(prefix);
	MUST(*bucket && !strpbrk(bucket, "/?#@ \r\n"));
	MUST(!n || prefix[n - 1] == '/');
	free(bucket);
	free(prefix);
}

static void check_account(const char *url)
{
	struct azure_account a;
	if (azure_account_read(url, NULL, true, &a))
		return;
	MUST(*a.account && *a.container && *a.endpoint.host);
	MUST(!strpbrk(a.account, "/.@:?#") && !strpbrk(a.container, "/?#@"));
	MUST(!*a.prefix || a.prefix[strlen(a.prefix) - 1] == '/');
	azure_account_done(&a);
}

static void run_url(struct input *in)
{
	char *s = take_string(in, '\0', NULL);
	struct endpoint ep;
	int64_t ns;
	check_endpoint(s);
	check_bucket(s);
	check_account(s);
	if (cred_url_is_safe(s))
		MUST(!url_parse_origin(s, &ep) &&
		     (ep.https || url_host_is_loopback(ep.host)));
	(void)azure_sas_expiry(s, &ns);
	free(s);
}

/* One value for each option that there is. */
static void run_values(struct input *in)
{
	char *s = take_string(in, '\0', NULL);
	for (const struct option *o = options; o->name; o++) {
		struct config c = {0};
		CLEANUP_BUF struct buf why;
		buf_init(&why, 1024);
		/* Those of names ask the machine's database of users. */
		bool named = o->type == OPTION_UID || o->type == OPTION_GID;
		int r = named ? -EINVAL : option_set(o, &c, s, &why);
		MUST(!r || (r == -EINVAL && (named || why.len)));
		if (!r)
			check_field(o, (char *)&c + o->offset);
		if (!r && (o->type == OPTION_TEXT || o->type == OPTION_LIST))
			free(*(char **)((char *)&c + o->offset));
	}
	struct placement *p = NULL;
	if (!placement_new(s, &p)) {
		static const char key[] = "jw02731001001_02101_00001_nrcb1_cal.fits";
		const char *class = placement_class(p, key);
		MUST(!class || !strpbrk(class, ":= \r\n"));
	}
	placement_free(p);
	(void)option_nearest(s);
	(void)option_is_secret(s);
	free(s);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	store_start();
	wire_bind(NULL);
	text_fd = memfd_create("text", MFD_CLOEXEC);
	MUST(text_fd >= 0 && !http_new(&(struct http_conf){0}, &http));
	(void)snprintf(text_path, sizeof text_path, "/proc/self/fd/%d", text_fd);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	switch (take_byte(&in)) {
	case 'o':
		run_items(&in);
		break;
	case 'f':
		run_file(&in);
		break;
	case 'e':
		run_environment(&in);
		break;
	case 'a':
		run_profile(&in, false);
		break;
	case 'A':
		run_profile(&in, true);
		break;
	case 'g':
		run_key_file(&in);
		break;
	case 'u':
		run_url(&in);
		break;
	case 'v':
		run_values(&in);
		break;
	default:
		break;
	}
	return 0;
}
