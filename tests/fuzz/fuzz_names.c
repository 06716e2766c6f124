/* fuzz_names.c - keys and paths: what a listing shows of a key, what the archive's names
 * mean, which names stay here, and what is signed of a key.  The first letter says which.
 *
 * Injective or hidden: no two keys of a directory are one name, and no name is one that a
 * path cannot hold.
 */
#include <dirent.h>
#include <errno.h>
#include "backends/beneath.h"
#include "backends/jwst.h"
#include "backends/mast_path.h"
#include "backends/placement.h"
#include "backends/sign.h"
#include "backends/url.h"
#include "cache/local_only.h"
#include "cache/names_impl.h"
#include "fs/options.h"
#include "tests/fuzz/fuzz.h"
#include "backends/util/banned.h"

/* --- keys as names --- */

/* What no part of a path may be. */
static bool is_name(const char *s, size_t n)
{
	return n && n <= 255 && !memchr(s, '/', n) && !memchr(s, '\0', n) &&
	       !(n == 1 && s[0] == '.') && !(n == 2 && !memcmp(s, "..", 2));
}

/* The key of a name is the key that it was made of; so no two keys have one name. */
static void check_shown(const char *prefix, const char *key, size_t n, bool dir,
			const char *name)
{
	size_t len = strlen(name), skip = strlen(prefix);
	MUST(is_name(name, len));
	MUST(n == skip + len + (dir ? 1 : 0));
	MUST(!memcmp(key, prefix, skip) && !memcmp(key + skip, name, len));
}

/* Keys, as a store lists the directory "d/", with NULs between lines. */
static void run_listing(struct input *in)
{
	struct listing *ls = listing_new();
	uint32_t shown = 0;
	MUST(ls);
	while (in->n) {
		size_t n;
		char name[NAME_MAX_BYTES + 1];
		char *rest = take_string(in, '\n', &n);
		char *key = malloc(n + 3);
		MUST(key);
		memcpy(key, "d/", 2);
		memcpy(key + 2, rest, n + 1);
		bool dir = n && rest[n - 1] == '/';
		bool can = names_of_key("d/", key, n + 2, dir, name);
		if (can) {
			struct object obj = {.size = n};
			check_shown("d/", key, n + 2, dir, name);
			int r = listing_add(ls, name, dir ? NULL : &obj);
			MUST(r == 0 || r == 1);
			shown += r == 0;
			uint32_t no = listing_find(ls, name);
			MUST(no < ls->n && !strcmp(listing_name(ls, no), name));
			MUST(!dir || ls->entries[no].dir); /* it wins */
		} else {
			MUST(!is_name(rest, n - (dir ? 1 : 0)));
		}
		free(key);
		free(rest);
	}
	MUST(ls->n == shown);
	listing_unref(ls);
}

/* --- the archive --- */

static bool is_within(const char *whole, struct jwst_part part)
{
	const char *end = whole + strlen(whole);
	return !part.len || (part.s >= whole && part.s + part.len <= end);
}

static void check_product(const char *s)
{
	struct jwst_name n, again;
	jwst_parse(s, &n);
	MUST(is_within(s, n.program) && is_within(s, n.visit) && is_within(s, n.group));
	MUST(is_within(s, n.obs_id) && is_within(s, n.suffix));
	MUST(n.form == JWST_NONE ? !n.obs_id.len : n.program.len == 5);
	jwst_parse_obs_id(s, &again);
	MUST(is_within(s, again.obs_id) && is_within(s, again.program));
	enum jwst_level level = jwst_level(s);
	MUST(level <= JWST_COMBINED_LEVEL);
}

/* Every part of a key of ours is a name; and a path that has a key is found again by what
 * the key is shown as. */
static void check_archive(const char *path)
{
	char key[KEY_SIZE], shown[KEY_SIZE], again[KEY_SIZE], prefix[KEY_SIZE];
	struct mast_dir dir;
	mast_path_dir(path, &dir);
	MUST(dir.kind == MAST_DIR_NONE || dir.name_at < KEY_SIZE);
	MUST(dir.kind < MAST_DIR_LISTED ||
	     (!strncmp(dir.prefix, MAST_PUBLIC, strlen(MAST_PUBLIC)) &&
	      dir.name_at <= strlen(dir.prefix)));
	(void)mast_path_is_hidden(path);
	const char *stray = mast_path_stray(path);
	MUST(!stray || is_name(stray, strlen(stray)));
	(void)mast_path_program(path);
	int r = mast_path_key(path, key);
	MUST(!r || r == -ENOENT || r == -ENAMETOOLONG);
	if (r)
		return;
	MUST(mast_path_is_key(key) && beneath_check_key(key) != -EILSEQ);
	MUST(!mast_path_of_key(key, shown));
	MUST(!mast_path_key(shown, again) && !strcmp(again, key));
	(void)mast_path_obs_prefix(path, key, prefix);
}

/* A key of theirs is shown as one path, and that is the key's. */
static void check_theirs(const char *key)
{
	char path[KEY_SIZE], again[KEY_SIZE];
	if (mast_path_of_key(key, path)) {
		MUST(!mast_path_is_key(key));
		return;
	}
	MUST(!mast_path_key(path, again) && !strcmp(again, key));
}

/* --- names that stay here --- */

static void check_local_only(const char *key)
{
	const char *patterns = option_find("local_only")->initial;
	bool local = local_only_match(patterns, key);
	const char *slash = strrchr(key, '/');
	size_t n = strlen(key);
	bool is_short = strlen(slash ? slash + 1 : key) < 256;
	/* By its own name, or by a directory that it is in. */
	if (n > 5 && !strcmp(key + n - 5, ".part") && is_short)
		MUST(local);
	if (!strncmp(key, ".download_state/", 16))
		MUST(local);
	MUST(!local_only_match("", key));
}

/* --- what is sent and signed --- */

static void check_encoding(const char *s, size_t n, bool keep_slash)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789-._~%/";
	CLEANUP_BUF struct buf coded, back;
	buf_init(&coded, 3 * n + 16);
	buf_init(&back, n + 16);
	url_encode(&coded, s, n, keep_slash);
	MUST(!buf_error(&coded) && strlen(coded.data) == coded.len);
	MUST(strspn(coded.data, plain) == coded.len);
	MUST(keep_slash || !strchr(coded.data, '/'));
	MUST(!url_decode(&back, coded.data, coded.len, true));
	MUST(back.len == n && !memcmp(back.data, s, n));
}

/* A '%' that is kept stands for a byte. */
static void check_decoding(const char *s, size_t n)
{
	CLEANUP_BUF struct buf raw;
	buf_init(&raw, n + 16);
	if (!url_decode(&raw, s, n, false))
		MUST(raw.len <= n && (memchr(s, '%', n) || raw.len == n));
}

/* By the names, each once, and nothing in a value that would end it. */
static void check_query(const char *a, const char *b)
{
	struct url_param params[] = {{"prefix", a}, {"list-type", "2"}, {"after", b}};
	CLEANUP_BUF struct buf out;
	buf_init(&out, 1 << 20);
	url_add_query(&out, params, 3);
	MUST(!buf_error(&out) && !strncmp(out.data, "after=", 6));
	const char *list = strstr(out.data, "&list-type=2&prefix=");
	MUST(list && !strpbrk(out.data, " \r\n+#?/"));
	MUST(strchr(out.data, '&') == list);
	MUST(!strpbrk(list + strlen("&list-type=2&prefix="), "&="));
}

/* One signature for one request, and one that can stand in a header. */
static void check_signature(const char *path)
{
	static struct sign_key key = {{1, 2, 3}};
	struct sign_header host = {"host", "h"};
	CLEANUP_BUF struct buf coded, one, two;
	buf_init(&coded, 1 << 16);
	buf_init(&one, 4096);
	buf_init(&two, 4096);
	url_encode(&coded, path, strlen(path), true);
	struct sign_request rq = {.method = "GET",
				  .path = coded.data,
				  .query = "",
				  .headers = &host,
				  .n_headers = 1,
				  .payload_hash = SIGN_EMPTY_HASH,
				  .date = "20130524T000000Z",
				  .region = "r",
				  .service = "s3",
				  .access_key = "A"};
	MUST(!sign_v4(&key, &rq, &one) && !strpbrk(one.data, "\r\n"));
	rq.path = "/another";
	MUST(!sign_v4(&key, &rq, &two) && (strcmp(one.data, two.data) != 0 ||
					  !strcmp(coded.data, "/another")));
}

static void run_encoding(struct input *in)
{
	size_t n;
	char *a = take_string(in, '\n', &n);
	char *b = take_string(in, '\n', NULL);
	check_encoding(a, n, false);
	check_encoding(a, n, true);
	check_decoding(a, n);
	check_query(a, b);
	check_signature(a);
	free(a);
	free(b);
}

/* --- a directory as a store --- */

static void check_beneath(const char *key)
{
	int r = beneath_check_key(key);
	MUST(!r || r == -EILSEQ || r == -ENAMETOOLONG);
	if (r)
		return;
	for (const char *p = key; *p; p++) {
		size_t n = strcspn(p, "/");
		MUST(is_name(p, n));
		p += n;
		if (!*p)
			break;
	}
	MUST(*key != '/' && strncmp(key, BENEATH_TMP_DIR "/", 12) != 0);
}

static void run_one(struct input *in, char letter)
{
	char *s = take_string(in, '\n', NULL);
	switch (letter) {
	case 'm':
		check_archive(s);
		check_theirs(s);
		check_product(s);
		break;
	case 'o':
		check_local_only(s);
		break;
	default:
		check_beneath(s);
		(void)placement_level(s);
	}
	free(s);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	char letter = (char)take_byte(&in);
	if (letter == 'l')
		run_listing(&in);
	else if (letter == 'e')
		run_encoding(&in);
	else if (letter == 'm' || letter == 'o' || letter == 'b')
		run_one(&in, letter);
	return 0;
}
