/* test_backend.c - what backend.h states, asked of a real store.
 *
 *   test_backend URL
 *
 * Opens the URL as the daemon does (retry wrapper and all), with credentials from
 * the environment and MASTFS_TEST_ENDPOINT as endpoint, and MASTFS_TEST_PUBLIC laid
 * under it as by public=.  Everything happens under a random prefix, which is removed
 * at the end.  Prints "ok NAME" or "not ok NAME" for each test and "N passed, M failed";
 * exits 1 if any failed.
 *
 * A local directory may list a marker for each parent that it had to make; entries
 * that nobody put are left out where the order of keys is looked at.
 */
#include "tests/contract/contract.h"
#include <errno.h>
#include <inttypes.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

static const struct put_opts plain;

static bool caps_agree_with_ops(void)
{
	MUST(has(BACKEND_WRITE));
	MUST(be->ops->put && be->ops->del);
	MUST(!be->ops->copy == !has(BACKEND_COPY));
	MUST(!has(BACKEND_RENAME) || be->ops->rename);
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

/* What a name is asked for with says what a head says, and brings no other bytes (P1). */
static bool names_come_with_their_first_bytes(void)
{
	static const size_t sizes[] = {0, 1, 4095, 4096, 4097, BIG};
	char bytes[4096];
	struct object head, obj;
	struct first first = {.bytes = bytes, .max = sizeof bytes};
	struct put_opts opts = {.tag = tag_a, .mtime_ns = INT64_C(1234567890123456789)};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		size_t want = sizes[i] < first.max ? sizes[i] : first.max;
		MUST_BE(put_at("first +", pattern + i, sizes[i], &opts, NULL), 0);
		MUST_BE(backend_head(be, k("first +"), &head, NULL), 0);
		MUST_BE(backend_peek(be, k("first +"), &obj, &first, NULL), 0);
		MUST(obj.size == sizes[i] && obj.mtime_ns == head.mtime_ns);
		MUST(!strcmp(obj.etag, head.etag) && !strcmp(obj.tag, head.tag));
		MUST(first.len == (be->ops->peek ? want : 0));
		MUST(!memcmp(bytes, pattern + i, first.len));
	}
	first.len = 1;
	MUST_BE(backend_peek(be, k("first none"), &obj, &first, NULL), -ENOENT);
	MUST(!first.len);
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
	NEEDS(BACKEND_PUT_IF);
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
	/* Refused before, or in the middle of, a large body; the old one stays. */
	MUST_BE(put("if large", 15, &two), 0);
	MUST_BE(put_at("if large", pattern, BIG, &absent, NULL), -EEXIST);
	MUST_BE(put_at("if large", pattern, BIG, &over, NULL), -ESTALE);
	MUST_BE(get_is("if large", &two, 0, 15, pattern), 0);
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
	struct put_opts other = {.tag = tag_b};
	MUST_BE(put_at("meta", pattern, 10, &other, &obj), 0);
	MUST_BE(backend_head(be, k("meta"), &obj, NULL), 0);
	MUST(!strcmp(obj.tag, tag_b));
	MUST(llabs(obj.mtime_ns / (int64_t)NS_PER_S - (int64_t)time(NULL)) < 3600);
	MUST_BE(put("meta", 10, &obj), 0);
	MUST_BE(backend_head(be, k("meta"), &obj, NULL), 0);
	MUST(!obj.tag[0]);
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
	struct object gone = obj;
	MUST_BE(backend_head(be, k("del"), &obj, NULL), -ENOENT);
	int r = backend_del(be, k("del"), NULL, NULL);
	MUST(r == 0 || r == -ENOENT);
	if (has(BACKEND_DEL_IF)) {
		cond.if_etag = gone.etag;
		r = backend_del(be, k("del"), &cond, NULL);
		MUST(r == -ENOENT || r == -ESTALE);
	}
	return true;
}

static bool copies(void)
{
	struct object obj, made, found;
	struct put_opts opts = {.mtime_ns = INT64_C(1500000000000000001), .tag = tag_a};
	NEEDS(BACKEND_COPY);
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

static bool copies_replace_and_may_be_large(void)
{
	struct object obj, old, made, found;
	NEEDS(BACKEND_COPY);
	MUST_BE(put("copy large", BIG, &obj), 0);
	MUST_BE(put("there", 10, &old), 0);
	MUST_BE(backend_copy(be, k("copy large"), &obj, k("there"), &plain, &made, NULL),
		0);
	MUST_BE(backend_head(be, k("there"), &found, NULL), 0);
	MUST(found.size == BIG && !strcmp(found.etag, made.etag) && !found.tag[0]);
	MUST_BE(get_is("there", &found, 0, BIG, pattern), 0);
	MUST_BE(get_is("there", &old, 0, 10, pattern), -ESTALE);
	MUST_BE(put("none", 0, &obj), 0);
	MUST_BE(backend_copy(be, k("none"), &obj, k("none too"), &plain, &made, NULL), 0);
	MUST_BE(backend_head(be, k("none too"), &found, NULL), 0);
	MUST(!found.size);
	return true;
}

static bool renames(void)
{
	struct object obj, old;
	NEEDS(BACKEND_RENAME);
	struct put_opts opts = {.mtime_ns = INT64_C(1500000000000000003), .tag = tag_a};
	MUST_BE(put_at("from", pattern, 100, &opts, NULL), 0);
	MUST_BE(put("to/there", 200, &old), 0);
	MUST_BE(backend_rename(be, k("from"), k("to/there"), NULL), 0);
	MUST_BE(backend_head(be, k("from"), &obj, NULL), -ENOENT);
	MUST_BE(backend_head(be, k("to/there"), &obj, NULL), 0);
	MUST(obj.size == 100 && obj.mtime_ns == opts.mtime_ns && !strcmp(obj.tag, tag_a));
	MUST_BE(get_is("to/there", &obj, 0, 100, pattern), 0);
	MUST_BE(get_is("to/there", &old, 0, 100, pattern), -ESTALE);
	MUST_BE(backend_rename(be, k("from"), k("x"), NULL), -ENOENT);
	MUST_BE(put("odd +%?", 10, NULL), 0);
	MUST_BE(backend_rename(be, k("odd +%?"), k("new #&\xc3\xa9"), NULL), 0);
	MUST_BE(backend_head(be, k("new #&\xc3\xa9"), &obj, NULL), 0);
	return true;
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
	MUST_BE(put("deadline", 10, &obj), 0);
	MUST_BE(backend_head(be, k("deadline"), &obj, &call), -ETIMEDOUT);
	MUST_BE(backend_del(be, k("deadline"), NULL, &call), -ETIMEDOUT);
	call.deadline_ns = clock_now_ns() + 60 * NS_PER_S;
	MUST_BE(backend_head(be, k("deadline"), &obj, &call), 0);
	return true;
}

const struct test object_tests[] = {
	TEST(caps_agree_with_ops),
	TEST(put_head_get_of_many_sizes),
	TEST(names_come_with_their_first_bytes),
	TEST(ranges_at_the_edges),
	TEST(errors_of_sinks_propagate),
	TEST(other_versions_are_stale),
	TEST(puts_only_if),
	TEST(mtime_and_tag_are_kept),
	TEST(deletes_twice_and_only_if),
	TEST(copies),
	TEST(copies_replace_and_may_be_large),
	TEST(renames),
	TEST(calls_can_be_cancelled),
	TEST(deadlines_hold),
	{0},
};

/* The caps in words, and whether they are those of MASTFS_TEST_CAPS: a store that forgets
 * what it can do would pass with half of the tests left out. */
static bool caps_are_expected(void)
{
	/* Not what no caller can tell: that objects are tagged. */
	static const char *const names[] = {
		"write",  "put_if",   "finish_if", "del_if", "upload",	  "copy",
		"rename", "in_order", "list_meta", NULL,     "list_after"};
	const char *want = getenv("MASTFS_TEST_CAPS");
	char got[200] = "";
	for (size_t i = 0, n = 0; i < sizeof names / sizeof *names; i++)
		if (names[i] && has(UINT32_C(1) << i))
			n += (size_t)snprintf(got + n, sizeof got - n, "%s%s",
					      n ? " " : "", names[i]);
	(void)printf("%s: %s\n", be->name, got);
	if (want && strcmp(want, got) != 0)
		(void)printf("not ok caps: should be \"%s\"\n", want);
	return !want || !strcmp(want, got);
}

static int open_store(const char *url)
{
	struct backend_conf conf = {.url = url,
				    .endpoint = getenv("MASTFS_TEST_ENDPOINT"),
				    .public_url = getenv("MASTFS_TEST_PUBLIC"),
				    .allow_http = true};
	struct call call = {.deadline_ns = clock_now_ns() + 60 * NS_PER_S};
	int r = backend_open(&conf, &be);
	if (!r)
		r = backend_probe(be, true, &call);
	if (r < 0)
		(void)fprintf(stderr, "%s: %s\n", url, strerror(-r));
	return r;
}

/* How many failed. */
static int run_all(const struct test *test)
{
	int failed = 0;
	for (; test->name; test++) {
		bool good = test->run();
		(void)printf("%s %s\n", good ? "ok" : "not ok", test->name);
		(void)fflush(stdout);
		failed += !good;
	}
	return failed;
}

int main(int argc, char **argv)
{
	uint64_t random[2], x = 1;
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
	int failed = !caps_are_expected();
	failed += run_all(object_tests) + run_all(list_tests) + run_all(upload_tests) +
		  run_all(race_tests);
	bool clean = remove_all();
	(void)printf("%s remove_all\n%d failed\n", clean ? "ok" : "not ok",
		     failed + !clean);
	free(pattern);
	backend_free(be);
	return failed || !clean;
}
