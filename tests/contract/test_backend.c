/* test_backend.c - what backend.h states, asked of a real store.
 *
 *   test_backend URL
 *
 * Opens the URL as the daemon does (retry wrapper and all), with credentials from
 * the environment and MASTFS_TEST_ENDPOINT as endpoint.  Everything happens under a
 * random prefix, which is removed at the end.  Prints "ok NAME" or "not ok NAME" for
 * each test and "N passed, M failed"; exits 1 if any failed.
 *
 * A local directory may list a marker for each parent that it had to make; entries
 * that nobody put are left out where the order of keys is looked at.
 */
#include "tests/contract/contract.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sys/random.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

static const struct put_opts plain;
static const char tag_a[] = "0123456789abcdef0123456789abcdef";

static bool caps_agree_with_ops(void)
{
	MUST(has(BACKEND_WRITE));
	MUST(be->ops->put && be->ops->del);
	MUST(!be->ops->copy == !has(BACKEND_COPY));
	MUST(!be->ops->rename == !has(BACKEND_RENAME));
	MUST(!be->ops->upload_begin == !has(BACKEND_UPLOAD));
	MUST(!be->ops->upload_part == !has(BACKEND_UPLOAD));
	MUST(!be->ops->upload_finish == !has(BACKEND_UPLOAD));
	MUST(!be->ops->upload_abort == !has(BACKEND_UPLOAD));
	MUST(!has(BACKEND_FINISH_IF) || has(BACKEND_UPLOAD));
	MUST(be->limits.put_max && be->limits.object_max >= be->limits.put_max);
	if (!has(BACKEND_RENAME))
		MUST_BE(backend_rename(be, k("a"), k("b"), NULL), -EOPNOTSUPP);
	if (has(BACKEND_UPLOAD))
		MUST(backend_part_size(be, be->limits.object_max) >= 8 * MIB);
	return true;
}

static bool put_head_get_of_many_sizes(void)
{
	static const size_t sizes[] = {0, 1, 4095, 4096, BIG};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct object made, found;
		MUST_BE(put("size", sizes[i], &made), 0);
		MUST_BE(backend_head(be, k("size"), &found, NULL), 0);
		MUST(made.size == sizes[i] && found.size == sizes[i]);
		MUST(found.etag[0] && !strcmp(made.etag, found.etag));
		MUST(found.mtime_ns > INT64_C(1600000000) * (int64_t)NS_PER_S);
		if (sizes[i])
			MUST_BE(get_is("size", &found, 0, sizes[i], pattern), 0);
	}
	return true;
}

static bool ranges_at_the_edges(void)
{
	struct object obj;
	static const struct {
		uint64_t off, len;
	} ranges[] = {
		{0, 1}, {BIG - 1, 1}, {1, BIG - 1}, {MIB - 1, 2}, {BIG - 4097, 4097}};
	MUST_BE(put("range", BIG, &obj), 0);
	for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
		MUST_BE(get_is("range", &obj, ranges[i].off, ranges[i].len,
			       pattern + ranges[i].off),
			0);
	MUST_BE(get_is("range", &obj, BIG - 1, 2, pattern), -EINVAL);
	MUST_BE(get_is("range", &obj, 0, 0, pattern), -EINVAL);
	return true;
}

static bool errors_of_sinks_propagate(void)
{
	struct object obj;
	static const int errors[] = {-ENOSPC, -ECOMM, -EINTR};
	MUST_BE(put("sink", 5000, &obj), 0);
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
		struct expect e = {.bytes = pattern, .error = errors[i]};
		MUST_BE(backend_get(be, k("sink"), &obj, 0, 5000, expect_sink, &e, NULL),
			errors[i]);
	}
	return true;
}

/* P1. */
static bool other_versions_are_stale(void)
{
	struct object old, new;
	MUST_BE(put("version", 5000, &old), 0);
	MUST_BE(put_at("version", pattern + 1, 5000, &plain, &new), 0);
	MUST(strcmp(old.etag, new.etag) != 0);
	MUST_BE(get_is("version", &old, 0, 100, pattern), -ESTALE);
	MUST_BE(get_is("version", &new, 0, 5000, pattern + 1), 0);
	MUST_BE(backend_del(be, k("version"), NULL, NULL), 0);
	MUST_BE(get_is("version", &new, 0, 100, pattern + 1), -ESTALE);
	MUST_BE(backend_head(be, k("version"), &new, NULL), -ENOENT);
	return true;
}

/* P5. */
static bool puts_only_if(void)
{
	struct object one, two;
	struct put_opts absent = {.cond.if_absent = true};
	struct put_opts over = {.cond.if_etag = one.etag};
	if (!has(BACKEND_PUT_IF))
		return true;
	MUST_BE(put_at("if", pattern, 10, &absent, &one), 0);
	MUST_BE(put_at("if", pattern, 11, &absent, NULL), -EEXIST);
	absent.tag = tag_a;
	MUST_BE(put_at("if", pattern, 11, &absent, NULL), -EEXIST);
	MUST_BE(put_at("if", pattern, 12, &over, &two), 0);
	MUST_BE(put_at("if", pattern, 13, &over, NULL), -ESTALE);
	MUST_BE(backend_head(be, k("if"), &one, NULL), 0);
	MUST(one.size == 12 && !strcmp(one.etag, two.etag));
	MUST_BE(backend_del(be, k("if"), NULL, NULL), 0);
	MUST_BE(put_at("if", pattern, 14, &over, NULL), -ESTALE);
	MUST_BE(backend_head(be, k("if"), &one, NULL), -ENOENT);
	return true;
}

static bool mtime_and_tag_are_kept(void)
{
	static const int64_t times[] = {INT64_C(1600000000123456789), 1,
					INT64_C(4102444800000000001)};
	for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
		struct object obj;
		struct listing l = {.n = 0};
		struct put_opts opts = {.mtime_ns = times[i], .tag = tag_a};
		MUST_BE(put_at("meta", pattern, 10, &opts, &obj), 0);
		MUST(obj.mtime_ns == times[i]);
		MUST_BE(backend_head(be, k("meta"), &obj, NULL), 0);
		MUST(obj.mtime_ns == times[i]);
		MUST(!strcmp(obj.tag, tag_a));
		struct list_query q = {.prefix = k("meta")};
		buf_init(&l.text, MIB);
		int r = backend_list_all(be, &q, note_entry, &l, NULL);
		buf_done(&l.text);
		MUST_BE(r, 0);
		MUST(l.n == 1 && l.last.size == 10 && !strcmp(l.last.etag, obj.etag));
		MUST(!has(BACKEND_LIST_META) || l.last.mtime_ns == times[i]);
	}
	struct object obj;
	MUST_BE(put("meta", 10, &obj), 0);
	MUST_BE(backend_head(be, k("meta"), &obj, NULL), 0);
	MUST(!obj.tag[0]);
	return true;
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

static bool odd_names_are_kept(void)
{
	static const char *const names[] = {
		"sp ace",      "plus+",
		"per%cent",    "per%2Fcent",
		"a&b=c",       "que?stion",
		"#hash",       "quo\"te'",
		"<x>&amp;",    "\xc3\xbcn\xc3\xaf-\xe6\x97\xa5",
		"semi;colon,", "~*()!$@:[]{}|^`",
		" ",	       "tab\there",
		"new\nline",   ".hidden",
		"..."};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct object obj;
		char name[100], want[110];
		(void)snprintf(name, sizeof name, "odd%zu/%s", i, names[i]);
		(void)snprintf(want, sizeof want, "%s ", name);
		MUST_BE(put(name, 10 + i, NULL), 0);
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

static bool deletes_twice_and_only_if(void)
{
	struct object obj;
	struct cond cond = {.if_etag = obj.etag};
	MUST_BE(put("del", 5, &obj), 0);
	if (has(BACKEND_DEL_IF)) {
		struct object old = obj;
		cond.if_etag = old.etag;
		MUST_BE(put_at("del", pattern + 1, 5, &plain, &obj), 0);
		MUST_BE(backend_del(be, k("del"), &cond, NULL), -ESTALE);
		MUST_BE(backend_head(be, k("del"), &obj, NULL), 0);
		cond.if_etag = obj.etag;
		MUST_BE(backend_del(be, k("del"), &cond, NULL), 0);
	} else {
		MUST_BE(backend_del(be, k("del"), NULL, NULL), 0);
	}
	MUST_BE(backend_head(be, k("del"), &obj, NULL), -ENOENT);
	int r = backend_del(be, k("del"), NULL, NULL);
	MUST(r == 0 || r == -ENOENT);
	return true;
}

static bool copies(void)
{
	struct object obj, made, found;
	struct put_opts opts = {.mtime_ns = INT64_C(1500000000000000001), .tag = tag_a};
	if (!has(BACKEND_COPY))
		return true;
	MUST_BE(put("copy a", 5000, &obj), 0);
	MUST_BE(backend_copy(be, k("copy a"), &obj, k("d/copy b+"), &opts, &made, NULL),
		0);
	MUST_BE(backend_head(be, k("d/copy b+"), &found, NULL), 0);
	MUST(found.size == 5000 && !strcmp(found.etag, made.etag));
	MUST(found.mtime_ns == opts.mtime_ns && !strcmp(found.tag, tag_a));
	MUST_BE(get_is("d/copy b+", &found, 0, 5000, pattern), 0);

	opts.mtime_ns++;
	MUST_BE(backend_copy(be, k("copy a"), &obj, k("copy a"), &opts, &made, NULL), 0);
	MUST_BE(backend_head(be, k("copy a"), &found, NULL), 0);
	MUST(found.mtime_ns == opts.mtime_ns && found.size == 5000);
	MUST(!strcmp(found.etag, made.etag));
	MUST_BE(get_is("copy a", &found, 0, 5000, pattern), 0);

	MUST_BE(put_at("copy a", pattern + 1, 5000, &plain, NULL), 0);
	MUST_BE(backend_copy(be, k("copy a"), &obj, k("copy c"), &plain, &made, NULL),
		-ESTALE);
	MUST_BE(backend_head(be, k("copy c"), &found, NULL), -ENOENT);
	return true;
}

static bool renames(void)
{
	struct object obj;
	if (!has(BACKEND_RENAME))
		return true;
	MUST_BE(put("from", 100, NULL), 0);
	MUST_BE(put("to/there", 200, NULL), 0);
	MUST_BE(backend_rename(be, k("from"), k("to/there"), NULL), 0);
	MUST_BE(backend_head(be, k("from"), &obj, NULL), -ENOENT);
	MUST_BE(backend_head(be, k("to/there"), &obj, NULL), 0);
	MUST(obj.size == 100);
	MUST_BE(backend_rename(be, k("from"), k("x"), NULL), -ENOENT);
	return true;
}

static bool uploads_in_parts(void)
{
	struct object obj, made;
	struct part parts[2], lost;
	CLEANUP_FREE char *id = NULL;
	struct put_opts opts = {.mtime_ns = INT64_C(1500000000000000007), .tag = tag_a};
	if (!has(BACKEND_UPLOAD))
		return true;
	MUST_BE(backend_upload_begin(be, k("up +"), 0, &opts, &id, NULL), 0);
	if (!has(BACKEND_IN_ORDER)) {
		MUST_BE(send_part("up +", id, 2, 0, TAIL, PART, &parts[1]), 0);
		MUST_BE(send_part("up +", id, 1, 1, PART, 0, &lost), 0);
	}
	MUST_BE(send_part("up +", id, 1, 0, PART, 0, &parts[0]), 0);
	if (has(BACKEND_IN_ORDER))
		MUST_BE(send_part("up +", id, 2, 0, TAIL, PART, &parts[1]), 0);
	MUST(parts[0].receipt[0] && parts[1].receipt[0]);
	MUST_BE(backend_head(be, k("up +"), &obj, NULL), -ENOENT);
	MUST_BE(backend_upload_finish(be, k("up +"), id, parts, 2, PART + TAIL, &opts,
				      &made, NULL),
		0);
	MUST_BE(backend_head(be, k("up +"), &obj, NULL), 0);
	MUST(obj.size == PART + TAIL && !strcmp(obj.etag, made.etag));
	MUST(obj.mtime_ns == opts.mtime_ns && !strcmp(obj.tag, tag_a));
	MUST_BE(get_is("up +", &obj, 0, PART, pattern), 0);
	MUST_BE(get_is("up +", &obj, PART, TAIL, pattern), 0);
	/* Finished again with our tag: it was us.  With another: gone. */
	MUST_BE(backend_upload_finish(be, k("up +"), id, parts, 2, PART + TAIL, &opts,
				      &made, NULL),
		0);
	return true;
}

struct sought {
	const char *key, *id;
	bool found;
};

static int seek_upload(void *arg, const char *key, const char *id, int64_t started_ns)
{
	struct sought *s = arg;
	if (!strcmp(key, s->key) && !strcmp(id, s->id) &&
	    started_ns > INT64_C(1600000000) * (int64_t)NS_PER_S)
		s->found = true;
	return 0;
}

static bool unfinished_uploads_are_known(void)
{
	struct object obj;
	struct part part;
	CLEANUP_FREE char *id = NULL;
	if (!has(BACKEND_UPLOAD))
		return true;
	MUST_BE(backend_upload_begin(be, k("un/fin"), 0, &plain, &id, NULL), 0);
	MUST_BE(send_part("un/fin", id, 1, 0, TAIL, 0, &part), 0);
	struct sought sought = {.key = k("un/fin"), .id = id};
	if (be->ops->upload_list) {
		MUST_BE(backend_upload_list(be, k("un/fin"), seek_upload, &sought, NULL),
			0);
		MUST(sought.found);
	}
	MUST_BE(backend_upload_abort(be, k("un/fin"), id, NULL), 0);
	MUST_BE(backend_upload_abort(be, k("un/fin"), id, NULL), 0);
	MUST_BE(backend_upload_finish(be, k("un/fin"), id, &part, 1, TAIL, &plain, &obj,
				      NULL),
		-ENXIO);
	MUST_BE(send_part("un/fin", id, 1, 0, TAIL, 0, &part), -ENXIO);
	MUST_BE(backend_head(be, k("un/fin"), &obj, NULL), -ENOENT);
	return true;
}

static bool uploads_only_if(void)
{
	struct object obj, made;
	struct part part;
	CLEANUP_FREE char *id = NULL;
	struct put_opts absent = {.cond.if_absent = true};
	struct put_opts over = {.cond.if_etag = obj.etag};
	if (!has(BACKEND_FINISH_IF))
		return true;
	MUST_BE(put("up if", 10, &obj), 0);
	MUST_BE(backend_upload_begin(be, k("up if"), TAIL, &absent, &id, NULL), 0);
	MUST_BE(send_part("up if", id, 1, 0, TAIL, 0, &part), 0);
	MUST_BE(backend_upload_finish(be, k("up if"), id, &part, 1, TAIL, &absent, &made,
				      NULL),
		-EEXIST);
	(void)backend_upload_abort(be, k("up if"), id, NULL);
	free(STEAL(id));
	MUST_BE(backend_upload_begin(be, k("up if"), TAIL, &over, &id, NULL), 0);
	MUST_BE(send_part("up if", id, 1, 0, TAIL, 0, &part), 0);
	MUST_BE(backend_upload_finish(be, k("up if"), id, &part, 1, TAIL, &over, &made,
				      NULL),
		0);
	MUST(made.size == TAIL);
	return true;
}

static bool one_thread(int number)
{
	char name[40];
	struct object obj;
	(void)snprintf(name, sizeof name, "par/%d", number);
	for (int round = 0; round < 10; round++) {
		const unsigned char *bytes = pattern + number * 100 + round;
		MUST_BE(put_at(name, bytes, 70000, &plain, NULL), 0);
		MUST_BE(backend_head(be, k(name), &obj, NULL), 0);
		MUST_BE(get_is(name, &obj, 1000, 69000, bytes + 1000), 0);
		MUST_BE(backend_del(be, k(name), NULL, NULL), 0);
	}
	return true;
}

static void *thread_main(void *arg)
{
	int *number = arg;
	*number = one_thread(*number);
	return NULL;
}

static bool calls_run_in_parallel(void)
{
	pthread_t threads[THREADS];
	int numbers[THREADS];
	bool good = true;
	for (int i = 0; i < THREADS; i++) {
		numbers[i] = i;
		MUST(!pthread_create(&threads[i], NULL, thread_main, &numbers[i]));
	}
	for (int i = 0; i < THREADS; i++) {
		(void)pthread_join(threads[i], NULL);
		good &= numbers[i];
	}
	return good;
}

static bool calls_can_be_cancelled(void)
{
	struct object obj;
	atomic_bool cancelled = true;
	struct call call = {.deadline_ns = CLOCK_NEVER, .cancelled = &cancelled};
	MUST_BE(put("cancel", BIG, &obj), 0);
	MUST_BE(backend_head(be, k("cancel"), &obj, &call), -EINTR);
	atomic_store(&cancelled, false);
	struct expect e = {.bytes = pattern, .cancel = &cancelled};
	MUST_BE(backend_get(be, k("cancel"), &obj, 0, BIG, expect_sink, &e, &call),
		-EINTR);
	MUST(!e.wrong); /* how many came until then is up to the store */
	return true;
}

static bool deadlines_hold(void)
{
	struct object obj;
	struct call call = {.deadline_ns = clock_now_ns()};
	MUST_BE(put("late", 10, &obj), 0);
	MUST_BE(backend_head(be, k("late"), &obj, &call), -ETIMEDOUT);
	MUST_BE(backend_del(be, k("late"), NULL, &call), -ETIMEDOUT);
	call.deadline_ns = clock_now_ns() + 60 * NS_PER_S;
	MUST_BE(backend_head(be, k("late"), &obj, &call), 0);
	return true;
}

static const struct test {
	const char *name;
	bool (*run)(void);
} tests[] = {
#define TEST(fn)        \
	{               \
#fn, fn \
	}
	TEST(caps_agree_with_ops),
	TEST(put_head_get_of_many_sizes),
	TEST(ranges_at_the_edges),
	TEST(errors_of_sinks_propagate),
	TEST(other_versions_are_stale),
	TEST(puts_only_if),
	TEST(mtime_and_tag_are_kept),
	TEST(listings_have_order_and_pages),
	TEST(errors_of_consumers_propagate),
	TEST(markers_are_objects),
	TEST(odd_names_are_kept),
	TEST(hostile_names_do_not_escape),
	TEST(deletes_twice_and_only_if),
	TEST(copies),
	TEST(renames),
	TEST(uploads_in_parts),
	TEST(unfinished_uploads_are_known),
	TEST(uploads_only_if),
	TEST(calls_run_in_parallel),
	TEST(calls_can_be_cancelled),
	TEST(deadlines_hold),
#undef TEST
};

static int open_store(const char *url)
{
	struct backend_conf conf = {.url = url,
				    .endpoint = getenv("MASTFS_TEST_ENDPOINT"),
				    .allow_http = true};
	struct call call = {.deadline_ns = clock_now_ns() + 60 * NS_PER_S};
	int r = backend_open(&conf, &be);
	if (!r)
		r = backend_probe(be, true, &call);
	if (r < 0)
		(void)fprintf(stderr, "%s: %s\n", url, strerror(-r));
	return r;
}

int main(int argc, char **argv)
{
	uint64_t random[2], x = 1;
	int passed = 0, failed = 0;
	if (argc != 2 || open_store(argv[1]) < 0 ||
	    getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		return 2;
	(void)snprintf(prefix, sizeof prefix, "contract-%016" PRIx64 "/", random[0]);
	pattern = malloc(PATTERN);
	if (!pattern)
		return 2;
	for (size_t i = 0; i < PATTERN; i++) {
		x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		pattern[i] = (unsigned char)(x >> 33);
	}
	(void)printf("%s: caps %#" PRIx32 "\n", be->name, be->caps);
	for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
		bool good = tests[i].run();
		(void)printf("%s %s\n", good ? "ok" : "not ok", tests[i].name);
		(void)fflush(stdout);
		passed += good;
		failed += !good;
	}
	bool clean = remove_all();
	(void)printf("%s remove_all\n%d passed, %d failed\n", clean ? "ok" : "not ok",
		     passed + clean, failed + !clean);
	free(pattern);
	backend_free(be);
	return failed || !clean;
}
