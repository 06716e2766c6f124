/* options.c - see options.h. */
#include "fs/options.h"
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "backends/source.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "fs/config.h"
#include "backends/util/banned.h"

#define KIB	UINT64_C(1024)
#define MIB	(KIB * KIB)
#define FOREVER (UINT64_C(10) * 365 * 24 * 3600 * NS_PER_S)

#define ALNUM "[A-Za-z0-9]"
#define HEX   "[0-9A-Fa-f]"
#define DIGIT "[0-9]"
#define LOWER "[a-z]"
/* The names that never reach the bucket (P6): the application's and editors' own,
 * rsync's .name.XXXXXX, boto3's name.0123abcd, and astropy's, asdf's, sed's and
 * zip's scratch files.  Not a date behind a name, nor a word such as "sediments". */
#define LOCAL_ONLY                                                \
	"*.part:*.tmp:*.partial:*.swp:.nfs*:.~lock*:"             \
	".*." ALNUM ALNUM ALNUM ALNUM ALNUM ALNUM ":"             \
	"*." HEX HEX HEX HEX HEX HEX HEX HEX ":"                  \
	"!*." DIGIT DIGIT DIGIT DIGIT DIGIT DIGIT DIGIT DIGIT ":" \
	"tmp????????:.___atomic_write*:sed??????:zi??????:"       \
	"!sed" LOWER LOWER LOWER LOWER LOWER LOWER ":"            \
	"!zi" LOWER LOWER LOWER LOWER LOWER LOWER ":"             \
	".download_state/"

#define AT(field) offsetof(struct config, field)

/* clang-format off */
/* The rows of settings.h. */
#define TEXT_ROW(name, field, meaning) \
	{#name, OPTION_TEXT, AT(store.field), NULL, 0, 0, NULL, meaning},
#define BOOL_ROW(name, field, meaning) \
	{#name, OPTION_BOOL, AT(store.field), "no", 0, 0, NULL, meaning},
#define COUNT_ROW(name, field, initial, min, max, meaning) \
	{#name, OPTION_COUNT, AT(store.field), initial, min, max, NULL, meaning},

const struct option options[] = {
	/* name, type, field, default, min, max, choices, meaning */
	{"ro", OPTION_BOOL, AT(read_only), "no", 0, 0, NULL,
	 "write nothing"},
	{"allow_other", OPTION_BOOL, AT(allow_other), "no", 0, 0, NULL,
	 "let other users in; the modes decide what they may do"},
	{"uid", OPTION_UID, AT(uid), NULL, 0, UINT32_MAX - 1, NULL,
	 "owner of every file (who mounts)"},
	{"gid", OPTION_GID, AT(gid), NULL, 0, UINT32_MAX - 1, NULL,
	 "group of every file (who mounts)"},
	{"umask", OPTION_OCTAL, AT(umask), "022", 0, 0777, NULL,
	 "mode bits that no file has"},
	{"ttl", OPTION_DURATION, AT(ttl_ns), "60s", 0, FOREVER, NULL,
	 "how long what the bucket told is believed"},
	{"read_timeout", OPTION_DURATION, AT(read_timeout_ns), "5m", NS_PER_S, FOREVER, NULL,
	 "how long a read goes on trying when the network fails"},
	{"require_backend", OPTION_BOOL, AT(require_backend), "no", 0, 0, NULL,
	 "no mount if nobody answers at its start"},
	{"upload", OPTION_CHOICE, AT(upload), "close", 0, 0, "close|background",
	 "close: close() waits until the file is in the bucket"},
	{"drain", OPTION_DURATION, AT(drain_ns), "60s", 0, FOREVER, NULL,
	 "how long unmounting waits for uploads"},
	{"local_only", OPTION_LIST, AT(local_only), LOCAL_ONLY, 0, 0, NULL,
	 "names that never reach the bucket; +a:b adds to the list, !a takes back"},
	{"nonempty", OPTION_BOOL, AT(nonempty), "no", 0, 0, NULL,
	 "mount over a directory that holds files"},

	{"cache_dir", OPTION_TEXT, AT(cache_dir), NULL, 0, 0, NULL,
	 "root: /var/cache/mastfs, others: ~/.cache/mastfs"},
	{"cache_size", OPTION_AMOUNT, AT(cache_size), "10G", 0, INT64_MAX, NULL,
	 "of clean bytes on this disk, at most; 20% = of the disk"},
	{"cache_reserve", OPTION_AMOUNT, AT(cache_reserve), "1G", 0, INT64_MAX, NULL,
	 "of the disk that stay free; 5% of a small disk"},
	{"staging_size", OPTION_AMOUNT, AT(staging_size), "20G", MIB, INT64_MAX, NULL,
	 "of written bytes that wait for their upload; more slow their writers"},
	{"fill", OPTION_BOOL, AT(fill), "yes", 0, 0, NULL,
	 "fetch the rest of a file when a third of it was read"},
	{"passthrough", OPTION_BOOL, AT(passthrough), "yes", 0, 0, NULL,
	 "let the kernel read complete files itself (root, Linux 6.9)"},
	{"read_ahead", OPTION_SIZE, AT(read_ahead_bytes), "512K", 0, 64 * MIB, NULL,
	 "of the kernel (root only)"},
	{"whole_array", OPTION_SIZE, AT(array_bytes), "64M", 0, INT64_MAX, NULL,
	 "an array of a FITS file that is read in several places is fetched whole up to "
	 "this size"},

	SETTINGS(TEXT_ROW, BOOL_ROW, COUNT_ROW)

	{"fetchers", OPTION_COUNT, AT(fetchers), "64", 1, 256, NULL,
	 "requests that read, at most"},
	{"uploaders", OPTION_COUNT, AT(uploaders), "16", 1, 256, NULL,
	 "requests that upload, at most"},
	{"rename_max", OPTION_COUNT, AT(rename_max), "10000", 0, 1000000, NULL,
	 "files in a directory that is renamed, at most; else EXDEV"},

	{"max_threads", OPTION_COUNT, AT(max_threads), "10", 2, 256, NULL,
	 "threads that answer the kernel"},
	{"log_level", OPTION_CHOICE, AT(log_level), "info", 0, 0, "error|warn|info|debug",
	 "how much is logged"},
	{"log_file", OPTION_TEXT, AT(log_file), NULL, 0, 0, NULL,
	 "log there, not to syslog"},
	{"log_format", OPTION_CHOICE, AT(log_format), "text", 0, 0, "text|json",
	 "json: an object a line"},
	{"metrics", OPTION_TEXT, AT(metrics), NULL, 0, 0, NULL,
	 "for Prometheus: /file.prom, written each 15 s, or 127.0.0.1:PORT"},
	{"debug", OPTION_BOOL, AT(debug), "no", 0, 0, NULL,
	 "log_level=debug, and allow core dumps (they hold keys)"},
	{"config", OPTION_TEXT, AT(config), NULL, 0, 0, NULL,
	 "read this file, not /etc/mastfs.conf and ~/.config/mastfs.conf"},
	{0},
};
/* clang-format on */

/* What fstab and mount(8) pass to every file system. */
static const struct {
	const char *name;
	bool pass; /* to the kernel */
} mount_words[] = {
	{"noexec", true},      {"noatime", true},
	{"nodiratime", true},  {"nosuid", false},
	{"nodev", false},      {"defaults", false},
	{"rw", false},	       {"_netdev", false},
	{"auto", false},       {"noauto", false},
	{"nofail", false},     {"user", false},
	{"users", false},      {"nouser", false},
	{"owner", false},      {"group", false},
	{"exec", false},       {"suid", false},
	{"dev", false},	       {"async", false},
	{"atime", false},      {"relatime", false},
	{"norelatime", false}, {"strictatime", false},
	{"lazytime", false},   {"nolazytime", false},
	{"diratime", false},   {"nostrictatime", false},
};

bool mount_word(const char *word, bool *ret_pass)
{
	*ret_pass = false;
	if (!strncmp(word, "x-", 2) || !strncmp(word, "X-", 2) ||
	    !strncmp(word, "comment=", 8) || !strncmp(word, "user=", 5))
		return true;
	for (size_t i = 0; i < sizeof mount_words / sizeof mount_words[0]; i++) {
		if (!strcmp(word, mount_words[i].name)) {
			*ret_pass = mount_words[i].pass;
			return true;
		}
	}
	return false;
}

const struct option *option_find(const char *name)
{
	for (const struct option *o = options; o->name; o++) {
		if (!strcmp(o->name, name))
			return o;
	}
	return NULL;
}

enum { WORD_MAX = 32 };

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;
	return ab < c ? ab : c;
}

/* Letters to change, add or leave out to make b of a (Levenshtein). */
static size_t distance(const char *a, const char *b)
{
	size_t row[WORD_MAX + 1];
	size_t na = strlen(a), nb = strlen(b);
	if (na > WORD_MAX || nb > WORD_MAX)
		return WORD_MAX;
	for (size_t j = 0; j <= nb; j++)
		row[j] = j;
	for (size_t i = 1; i <= na; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			size_t above = row[j];
			row[j] = min3(above + 1, row[j - 1] + 1,
				      diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[nb];
}

const char *option_nearest(const char *name)
{
	const char *best = NULL;
	size_t best_distance = strlen(name) / 3 + 1;
	if (best_distance >= strlen(name))
		return NULL;
	for (const struct option *o = options; o->name; o++) {
		size_t d = distance(name, o->name);
		if (d < best_distance || (d == best_distance && !best)) {
			best = o->name;
			best_distance = d;
		}
	}
	return best;
}

bool option_is_secret(const char *name)
{
	static const char *const smells[] = {"secret", "passw", "key", "token",
					     "credential"};
	if (option_find(name))
		return false;
	for (size_t i = 0; i < sizeof smells / sizeof smells[0]; i++) {
		if (strcasestr(name, smells[i]))
			return true;
	}
	return false;
}

static int parse_bool(const char *value, bool *ret)
{
	static const char *const words[] = {"no",  "yes", "false", "true",
					    "off", "on",  "0",	   "1"};
	if (!value) {
		*ret = true;
		return 0;
	}
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (!strcasecmp(value, words[i])) {
			*ret = i % 2;
			return 0;
		}
	}
	return -EINVAL;
}

/* Digits of the base at *s, which is moved past them. */
static int parse_digits(const char **s, unsigned base, uint64_t *ret)
{
	uint64_t n = 0;
	const char *p = *s;
	for (; *p >= '0' && *p < (char)('0' + base); p++) {
		if (__builtin_mul_overflow(n, base, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return -EINVAL;
	}
	if (p == *s)
		return -EINVAL;
	*s = p;
	*ret = n;
	return 0;
}

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {
	{"", 1},	   {"b", 1},	      {"k", KIB},   {"m", MIB},
	{"g", KIB *MIB},   {"t", MIB *MIB},   {"kib", KIB}, {"mib", MIB},
	{"gib", KIB *MIB}, {"tib", MIB *MIB}, {0},
};
static const struct unit duration_units[] = {
	{"", NS_PER_S},		 {"ms", NS_PER_MS},
	{"s", NS_PER_S},	 {"m", 60 * NS_PER_S},
	{"min", 60 * NS_PER_S},	 {"h", 3600 * NS_PER_S},
	{"d", 86400 * NS_PER_S}, {0},
};

static int parse_scaled(const char *value, const struct unit *units, uint64_t *ret)
{
	uint64_t n;
	if (parse_digits(&value, 10, &n) < 0)
		return -EINVAL;
	for (; units->name; units++) {
		if (!strcasecmp(value, units->name))
			return __builtin_mul_overflow(n, units->factor, ret) ? -EINVAL
									     : 0;
	}
	return -EINVAL;
}

static int parse_whole(const char *value, unsigned base, uint64_t *ret)
{
	return parse_digits(&value, base, ret) < 0 || *value ? -EINVAL : 0;
}

static int parse_amount(const char *value, struct amount *ret)
{
	size_t len = strlen(value);
	struct amount a = {0};
	if (len && value[len - 1] == '%') {
		uint64_t n;
		if (parse_digits(&value, 10, &n) < 0 || strcmp(value, "%") || n < 1 ||
		    n > 100)
			return -EINVAL;
		a.percent = (uint32_t)n;
	} else if (parse_scaled(value, size_units, &a.bytes) < 0) {
		return -EINVAL;
	}
	*ret = a;
	return 0;
}

static int parse_user(const char *value, bool group, uint64_t *ret)
{
	if (parse_whole(value, 10, ret) == 0)
		return 0;
	if (group) {
		const struct group *gr = getgrnam(value);
		if (!gr)
			return -EINVAL;
		*ret = gr->gr_gid;
		return 0;
	}
	const struct passwd *pw = getpwnam(value);
	if (!pw)
		return -EINVAL;
	*ret = pw->pw_uid;
	return 0;
}

static int parse_choice(const char *value, const char *choices, int *ret)
{
	size_t len = strlen(value);
	for (int i = 0;; i++) {
		size_t n = strcspn(choices, "|");
		if (n == len && !memcmp(choices, value, n)) {
			*ret = i;
			return 0;
		}
		if (!choices[n])
			return -EINVAL;
		choices += n + 1;
	}
}

static int set_text(char **field, const struct option *o, const char *value)
{
	CLEANUP_BUF struct buf b;
	buf_init(&b, 65536);
	if (o->type == OPTION_LIST && value[0] == '+')
		buf_addf(&b, "%s:%s", o->initial, value + 1);
	else
		buf_adds(&b, value);
	char *text = buf_detach(&b);
	if (!text)
		return -ENOMEM;
	free(*field);
	*field = text;
	return 0;
}

static const char *form(const struct option *o)
{
	switch (o->type) {
	case OPTION_BOOL:
		return "yes or no";
	case OPTION_SIZE:
		return "a size such as 4096, 256K, 10G";
	case OPTION_AMOUNT:
		return "a size such as 10G, or a part of the disk such as 20%";
	case OPTION_DURATION:
		return "a time such as 60, 500ms, 5m";
	case OPTION_COUNT:
		return "a number";
	case OPTION_OCTAL:
		return "octal digits such as 022";
	case OPTION_CHOICE:
		return o->choices;
	case OPTION_UID:
		return "a user's name or number";
	case OPTION_GID:
		return "a group's name or number";
	default:
		return "text";
	}
}

/* The types whose value is one number; 1: the option is of another type. */
static int parse_number(const struct option *o, const char *value, uint64_t *ret)
{
	switch (o->type) {
	case OPTION_SIZE:
		return parse_scaled(value, size_units, ret);
	case OPTION_DURATION:
		return parse_scaled(value, duration_units, ret);
	case OPTION_COUNT:
		return parse_whole(value, 10, ret);
	case OPTION_OCTAL:
		return parse_whole(value, 8, ret);
	case OPTION_UID:
	case OPTION_GID:
		return parse_user(value, o->type == OPTION_GID, ret);
	default:
		return 1;
	}
}

static void store_number(const struct option *o, void *field, uint64_t n)
{
	if (o->type == OPTION_SIZE || o->type == OPTION_DURATION)
		*(uint64_t *)field = n;
	else
		*(uint32_t *)field = (uint32_t)n;
}

static int set_number(const struct option *o, void *field, const char *value,
		      struct buf *why)
{
	uint64_t n;
	if (parse_number(o, value, &n) < 0)
		return -EINVAL;
	if (n < o->min || n > o->max) {
		buf_addf(why, "too %s", n < o->min ? "small" : "large");
		return -EINVAL;
	}
	store_number(o, field, n);
	return 0;
}

static int set_amount(const struct option *o, struct amount *field, const char *value,
		      struct buf *why)
{
	struct amount a;
	if (parse_amount(value, &a) < 0)
		return -EINVAL;
	if (!a.percent && (a.bytes < o->min || a.bytes > o->max)) {
		buf_addf(why, "too %s", a.bytes < o->min ? "small" : "large");
		return -EINVAL;
	}
	*field = a;
	return 0;
}

static int set_field(const struct option *o, void *field, const char *value,
		     struct buf *why)
{
	switch (o->type) {
	case OPTION_BOOL:
		return parse_bool(value, field);
	case OPTION_CHOICE:
		return parse_choice(value, o->choices, field);
	case OPTION_AMOUNT:
		return set_amount(o, field, value, why);
	case OPTION_TEXT:
	case OPTION_LIST:
		return set_text(field, o, value);
	default:
		return set_number(o, field, value, why);
	}
}

int option_set(const struct option *o, void *conf, const char *value, struct buf *why)
{
	if (!value && o->type != OPTION_BOOL) {
		buf_addf(why, "needs a value: %s", form(o));
		return -EINVAL;
	}
	if (value && source_holds_secret(value)) {
		buf_addf(why, "a URL with a password in it is refused: %s",
			 source_keys_hint);
		return -EINVAL;
	}
	int r = set_field(o, (char *)conf + o->offset, value, why);
	if (r == -EINVAL && !why->len)
		buf_addf(why, "not %s", form(o));
	return r;
}

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

void option_variable(const struct option *o, struct buf *ret)
{
	buf_adds(ret, "MASTFS_");
	for (const char *p = o->name; *p; p++)
		buf_addc(ret, upper(*p));
}

static const char *placeholder(const struct option *o)
{
	static const char *const names[] = {
		[OPTION_SIZE] = "SIZE",	    [OPTION_AMOUNT] = "SIZE|N%",
		[OPTION_DURATION] = "TIME", [OPTION_COUNT] = "N",
		[OPTION_OCTAL] = "OCTAL",   [OPTION_UID] = "USER",
		[OPTION_GID] = "GROUP",	    [OPTION_TEXT] = "TEXT",
		[OPTION_LIST] = "PATTERNS",
	};
	return o->type == OPTION_CHOICE ? o->choices : names[o->type];
}

void options_help(FILE *out)
{
	for (const struct option *o = options; o->name; o++) {
		CLEANUP_BUF struct buf left;
		buf_init(&left, 256);
		buf_adds(&left, o->name);
		if (o->type != OPTION_BOOL)
			buf_addf(&left, "=%s", placeholder(o));
		(void)fprintf(out, "  %-24s  %s", left.data, o->meaning);
		if (o->initial && o->type == OPTION_LIST)
			(void)fprintf(out, "\n  %-24s  (%s)", "", o->initial);
		else if (o->initial && strcmp(o->initial, "no") != 0)
			(void)fprintf(out, " (%s)", o->initial);
		(void)fputc('\n', out);
	}
}
