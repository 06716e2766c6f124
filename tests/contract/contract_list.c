/* contract_list.c - listings, directory markers and the names that a key can have. */
#include "tests/contract/contract.h"
#include <errno.h>
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

static bool is_scheme(const char *scheme)
{
	return !strcmp(be->ops->scheme, scheme);
}

static bool listings_have_order_and_pages(void)
{
	static const char *const names[] = {"l/a-b", "l/a/x", "l/a/y/z", "l/a0",
					    "l/a.c", "l/b/c", "l/Z"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		MUST_BE(put(names[i], i, NULL), 0);
	static const uint32_t pages[] = {0, 1, 3, 1000};
	for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
		uint32_t max = pages[i];
		MUST(listing_is("l/", 0, max, false,
				"l/Z l/a-b l/a.c l/a/x l/a/y/z l/a0 l/b/c "));
		MUST(listing_is("l/", '/', max, false,
				"l/Z l/a-b l/a.c l/a/* l/a0 l/b/* "));
		MUST(listing_is("l/a", '/', max, false, "l/a-b l/a.c l/a/* l/a0 "));
		MUST(listing_is("l", '/', max, false, "l/* "));
		MUST(listing_is("l/a/", '/', max, false, "l/a/x l/a/y/* "));
	}
	MUST(listing_is("l/none", 0, 0, true, ""));
	MUST(listing_is("none/", '/', 0, true, ""));
	return true;
}

static int stop_listing(void *arg, const char *key, size_t key_len,
			const struct object *obj)
{
	(void)key;
	(void)key_len;
	(void)obj;
	++*(int *)arg;
	return -ECOMM;
}

static bool errors_of_consumers_propagate(void)
{
	int n = 0;
	char *token = NULL;
	struct list_query q = {.prefix = k("stop/")};
	MUST_BE(put("stop/a", 1, NULL), 0);
	MUST_BE(put("stop/b", 1, NULL), 0);
	MUST_BE(backend_list(be, &q, &token, stop_listing, &n, NULL), -ECOMM);
	MUST(n == 1 && !token);
	return true;
}

static bool markers_are_objects(void)
{
	struct object obj;
	MUST_BE(put("mk/", 0, NULL), 0);
	MUST_BE(put("mk/x", 1, NULL), 0);
	MUST_BE(backend_head(be, k("mk/"), &obj, NULL), 0);
	MUST(obj.size == 0);
	MUST(listing_is("mk/", '/', 0, true, "mk/ mk/x "));
	MUST(listing_is("mk", '/', 0, true, "mk/* "));
	MUST(listing_is("mk", 0, 1, true, "mk/ mk/x "));
	MUST_BE(backend_del(be, k("mk/"), NULL, NULL), 0);
	MUST_BE(backend_head(be, k("mk/x"), &obj, NULL), 0);
	return true;
}

/* By their documents Google takes neither CR nor LF; Azure makes a slash of a backslash,
 * so that two keys would be one. */
static bool has_no_such_name(const char *name)
{
	return (is_scheme("gs") && strpbrk(name, "\r\n")) ||
	       (is_scheme("az") && strchr(name, '\\'));
}

static bool odd_names_are_kept(void)
{
	static const char *const names[] = {"sp ace",
					    "plus+",
					    "per%cent",
					    "per%2Fcent",
					    "a&b=c",
					    "que?stion",
					    "#hash",
					    "quo\"te'",
					    "<x>&amp;",
					    "\xc3\xbcn\xc3\xaf-\xe6\x97\xa5",
					    "semi;colon,",
					    "~*()!$@:[]{}|^`",
					    " ",
					    "tab\there",
					    "new\nline",
					    ".hidden",
					    "...",
					    "jw02731001001_02101_00001_nrcb1_uncal.fits",
					    "\xf0\x9f\x94\xad.fits",
					    "cafe\xcc\x81",
					    "caf\xc3\xa9",
					    "%",
					    "?",
					    "a%20b",
					    "back\\slash"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct object obj;
		char name[100], want[110];
		(void)snprintf(name, sizeof name, "odd%zu/%s", i, names[i]);
		(void)snprintf(want, sizeof want, "%s ", name);
		int r = put(name, 10 + i, NULL);
		if (r == -EILSEQ && has_no_such_name(names[i]))
			continue;
		MUST_BE(r, 0);
		MUST_BE(backend_head(be, k(name), &obj, NULL), 0);
		MUST(obj.size == 10 + i);
		MUST_BE(get_is(name, &obj, 0, obj.size, pattern), 0);
		MUST(listing_is(name, 0, 0, true, want));
		name[strcspn(name, "/") + 1] = '\0';
		MUST(listing_is(name, '/', 1, false, want));
	}
	return true;
}

/* Refused with one of the errors that say so, or kept under exactly this key. */
static bool hostile_names_do_not_escape(void)
{
	static const char *const names[] = {"../x",
					    "h/../x",
					    "./x",
					    "h/./x",
					    "h//x",
					    "h/..",
					    "../../../../../../tmp/mastfs-x"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char want[100];
		(void)snprintf(want, sizeof want, "%s ", names[i]);
		int r = put(names[i], 3, NULL);
		if (r == -EILSEQ || r == -EINVAL)
			continue;
		MUST_BE(r, 0);
		MUST(listing_is(names[i], 0, 0, true, want));
		MUST_BE(backend_del(be, k(names[i]), NULL, NULL), 0);
	}
	struct object obj;
	char key[KEY_SIZE + 1];
	memset(key, 'x', sizeof key);
	key[KEY_SIZE] = '\0';
	MUST_BE(backend_head(be, key, &obj, NULL), -ENAMETOOLONG);
	MUST_BE(backend_head(be, "", &obj, NULL), -EINVAL);
	return true;
}

/* By bytes.  Azurite has what lies beyond U+FFFF where UTF-16 puts it, on some pages. */
static bool listings_are_in_byte_order(void)
{
	static const char *const names[] = {"o/\xf0\x9f\x94\xad",
					    "o/\xef\xbf\xbd",
					    "o/\xc3\xa9",
					    "o/z",
					    "o/Z",
					    "o/ "};
	static const uint32_t pages[] = {0, 1, 4};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		MUST_BE(put(names[i], 1, NULL), 0);
	for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
		MUST(listing_is("o/", '/', pages[i], false,
				"o/  o/Z o/z o/\xc3\xa9 o/\xef\xbf\xbd "
				"o/\xf0\x9f\x94\xad ") ||
		     (is_scheme("az") &&
		      listing_is("o/", '/', pages[i], false,
				 "o/  o/Z o/z o/\xc3\xa9 o/\xf0\x9f\x94\xad "
				 "o/\xef\xbf\xbd ")));
	return true;
}

/* A directory with much in it is one entry, wherever a page ends. */
static bool prefixes_come_once(void)
{
	static const uint32_t pages[] = {0, 1, 2, 5};
	for (int i = 0; i < 12; i++) {
		char name[20];
		(void)snprintf(name, sizeof name, "pre/%c/%d", 'a' + i / 4, i);
		MUST_BE(put(name, 1, NULL), 0);
	}
	MUST_BE(put("pre/b.x", 1, NULL), 0);
	for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
		MUST(listing_is("pre/", '/', pages[i], false,
				"pre/a/* pre/b.x pre/b/* pre/c/* "));
	return true;
}

/* Everything of l/ behind a key that may be there or not. */
static bool lists_after(const char *after, uint32_t max, const char *want)
{
	char key[KEY_SIZE];
	struct listing l = {.n = 0};
	(void)snprintf(key, sizeof key, "%s", k(after));
	struct list_query q = {
		.prefix = k("af/"), .delim = '/', .max = max, .after = key};
	buf_init(&l.text, MIB);
	int r = backend_list_all(be, &q, note_entry, &l, NULL);
	bool same = !r && !strcmp(l.text.data, want);
	if (!same)
		(void)printf("  list after %s: %d, \"%s\", not \"%s\"\n", after, r,
			     l.text.data, want);
	buf_done(&l.text);
	return same;
}

static bool listings_start_where_asked(void)
{
	static const char *const names[] = {"af/a",   "af/b", "af/b1",	    "af/d/x",
					    "af/d/y", "af/e", "af/\xc3\xa9"};
	static const uint32_t pages[] = {0, 1, 2};
	if (!(be->caps & BACKEND_LIST_AFTER)) {
		struct list_query q = {.prefix = k(""), .after = "x"};
		MUST_BE(backend_list_all(be, &q, note_entry, NULL, NULL), -EOPNOTSUPP);
		return true;
	}
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		MUST_BE(put(names[i], 1, NULL), 0);
	for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
		MUST(lists_after("af/b", pages[i], "af/b1 af/d/* af/e af/\xc3\xa9 "));
		MUST(lists_after("af/b0", pages[i], "af/b1 af/d/* af/e af/\xc3\xa9 "));
		MUST(lists_after("af/d", pages[i], "af/d/* af/e af/\xc3\xa9 "));
		MUST(lists_after("af/d0", pages[i], "af/e af/\xc3\xa9 "));
		MUST(lists_after("af/e", pages[i], "af/\xc3\xa9 "));
		MUST(lists_after("af/\xc3\xa9", pages[i], ""));
	}
	return true;
}

/* One page, its text in *ret, the token moved on. */
static int one_page(const char *name, uint32_t max, char **token, char *ret, size_t size)
{
	struct listing l = {.n = 0};
	struct list_query q = {.prefix = k(name), .max = max};
	buf_init(&l.text, MIB);
	int r = backend_list(be, &q, token, note_entry, &l, NULL);
	(void)snprintf(ret, size, "%s", r < 0 ? "" : l.text.data);
	buf_done(&l.text);
	return r;
}

/* Where a page ends is the store's affair; that nothing is lost or told twice is not. */
static bool a_page_can_be_asked_for_again(void)
{
	static const char *const names[] = {"t/a", "t/b", "t/c", "t/d", "t/e", "t/f"};
	char text[200], second[80], again[80];
	CLEANUP_FREE char *token = NULL;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		MUST_BE(put(names[i], i, NULL), 0);
	MUST_BE(one_page("t/", 2, &token, text, sizeof text), 0);
	MUST(token && text[0]);
	CLEANUP_FREE char *kept = strdup(token);
	MUST_BE(one_page("t/", 2, &token, second, sizeof second), 0);
	MUST_BE(one_page("t/", 2, &kept, again, sizeof again), 0);
	MUST(token && kept && second[0] && !strcmp(second, again));
	/* What changes behind the token, the last name told included, moves nothing. */
	again[strlen(again) - 1] = '\0';
	const char *last = strrchr(again, ' ');
	MUST_BE(backend_del(be, k(last ? last + 1 : again), NULL, NULL), 0);
	MUST_BE(put("t/0", 1, NULL), 0);
	for (;;) {
		MUST(strlen(text) + strlen(second) < sizeof text);
		memcpy(text + strlen(text), second, strlen(second) + 1);
		if (!token)
			break;
		MUST_BE(one_page("t/", 2, &token, second, sizeof second), 0);
	}
	MUST(!strcmp(text, "t/a t/b t/c t/d t/e t/f "));
	return true;
}

static bool markers_come_and_go(void)
{
	struct object obj;
	struct put_opts opts = {.mtime_ns = INT64_C(1600000000000000000), .tag = tag_a};
	MUST_BE(put_at("dir/sub/", "", 0, &opts, NULL), 0);
	MUST_BE(backend_head(be, k("dir/sub/"), &obj, NULL), 0);
	MUST(!obj.size && obj.mtime_ns == opts.mtime_ns);
	MUST(listing_is("dir/", '/', 0, false, "dir/sub/* "));
	MUST(listing_is("dir/sub/", '/', 0, true, "dir/sub/ "));
	MUST_BE(backend_head(be, k("dir/sub"), &obj, NULL), -ENOENT);
	MUST_BE(backend_del(be, k("dir/sub/"), NULL, NULL), 0);
	MUST_BE(backend_head(be, k("dir/sub/"), &obj, NULL), -ENOENT);
	MUST(listing_is("dir/sub/", '/', 0, true, ""));
	return true;
}

const struct test list_tests[] = {
	TEST(listings_have_order_and_pages),
	TEST(listings_are_in_byte_order),
	TEST(prefixes_come_once),
	TEST(listings_start_where_asked),
	TEST(a_page_can_be_asked_for_again),
	TEST(errors_of_consumers_propagate),
	TEST(markers_are_objects),
	TEST(markers_come_and_go),
	TEST(odd_names_are_kept),
	TEST(hostile_names_do_not_escape),
	{0},
};
