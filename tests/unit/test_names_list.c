/* test_names_list.c - directories read while their pages arrive, and split. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "cache/names_impl.h"
#include "tests/unit/check.h"
#include "tests/unit/names_rig.h"
#include "backends/util/banned.h"

static void fill_words(struct nstore *st)
{
	static const char some[] = "0189abzAZ_-. \xc3\xa9";
	srand(7);
	for (int i = 0; i < 4000; i++) {
		char name[20];
		size_t len = 1 + (size_t)rand() % 5;
		for (size_t c = 0; c < len; c++)
			name[c] = some[(size_t)rand() % (sizeof(some) - 1)];
		name[len] = '\0';
		if (!strcmp(name, ".") || !strcmp(name, ".."))
			continue;
		if (rand() % 4 == 0)
			(void)snprintf(name + len, sizeof(name) - len, "/");
		nrig_add(st, name);
	}
}

/* Just where one would cut. */
static void fill_edges(struct nstore *st)
{
	char name[40];
	for (int i = 0; i < 2000; i++) {
		(void)snprintf(name, sizeof(name), "f%04d%s", i, i % 3 ? ".fits" : "");
		nrig_add(st, name);
	}
	for (int i = 0; i < 10; i++) {
		(void)snprintf(name, sizeof(name), "f%d", i);
		nrig_add(st, name);
		(void)snprintf(name, sizeof(name), "f%d/", i);
		nrig_add(st, name);
		(void)snprintf(name, sizeof(name), "f0%d/", i);
		nrig_add(st, name);
		(void)snprintf(name, sizeof(name), "f0%d", i);
		nrig_add(st, name);
	}
}

static void fill_hex(struct nstore *st)
{
	char name[40];
	for (uint64_t i = 0; i < 3000; i++) {
		(void)snprintf(name, sizeof(name), "%08x",
			       (unsigned)(i * UINT64_C(2654435761)));
		nrig_add(st, name);
	}
}

typedef void fill_fn(struct nstore *st);
static fill_fn *const fills[] = {nrig_fill_numbers, fill_words, fill_edges, fill_hex};
enum { FILLS = sizeof(fills) / sizeof(*fills) };

static void list__split_shows_each_name_once(void)
{
	for (size_t i = 0; i < FILLS; i++) {
		struct nrig rig;
		nrig_init(&rig, BACKEND_LIST_AFTER);
		fills[i](&rig.store);
		nrig_settle(&rig.store);
		nrig_check(&rig, 8);
		nrig_done(&rig);
	}
}

static void list__split_is_several_requests_at_once(void)
{
	struct nrig rig;
	nrig_init(&rig, BACKEND_LIST_AFTER);
	nrig_fill_numbers(&rig.store);
	nrig_settle(&rig.store);
	atomic_store(&rig.store.hold_from, 6);
	struct call call = nrig_call();
	struct listing *known = listing_new();
	struct names_stream *s;
	CHECK_EQ(names_open(rig.nm, "d", known, &s, &call), 0);
	/* Four pages, then ranges of which one more page is let through. */
	VRIG_UNTIL(atomic_load(&rig.store.lists) >= 8);
	atomic_store(&rig.store.hold_from, 0);
	names_close(s);
	listing_unref(known);
	nrig_check(&rig, 0);
	nrig_done(&rig);
}

/* Half of the names are behind the range whose first page comes last. */
static void list__cuts_are_left_for_the_range_that_is_late(void)
{
	struct nrig rig;
	nrig_init(&rig, BACKEND_LIST_AFTER);
	for (int i = 0; i < 20000; i += 4) {
		char name[32];
		(void)snprintf(name, sizeof(name), "jw%05d", i);
		nrig_add(&rig.store, name);
	}
	nrig_settle(&rig.store);
	rig.store.far = "d/jw1";
	nrig_check(&rig, 8);
	CHECK(atomic_load(&rig.store.far_starts) >= 4);
	nrig_done(&rig);
}

static void list__serial_where_the_store_cannot_start_anywhere(void)
{
	for (size_t i = 0; i < FILLS; i++) {
		struct nrig rig;
		nrig_init(&rig, 0);
		fills[i](&rig.store);
		nrig_settle(&rig.store);
		nrig_check(&rig, 0);
		nrig_done(&rig);
	}
}

/* The first time costs what was asked in vain; then it is remembered. */
static void list__store_that_ignores_the_start_loses_nothing(void)
{
	for (size_t i = 0; i < FILLS; i++) {
		struct nrig rig;
		nrig_init(&rig, BACKEND_LIST_AFTER);
		rig.store.ignores_after = true;
		fills[i](&rig.store);
		nrig_settle(&rig.store);
		nrig_check(&rig, 20);
		names_forget(rig.nm, "d/x");
		nrig_check(&rig, 0);
		nrig_done(&rig);
	}
}

static void list__store_without_order_loses_nothing(void)
{
	struct nrig rig;
	nrig_init(&rig, BACKEND_LIST_AFTER);
	nrig_fill_numbers(&rig.store);
	nrig_settle(&rig.store);
	while (rig.store.n % NRIG_PAGE)
		free(rig.store.keys[--rig.store.n]);
	rig.store.unordered = rig.store.ignores_after = true;
	nrig_check(&rig, 20);
	nrig_done(&rig);
}

/* P9: a server that takes no notice of its own tokens ends no listing by itself. */
static void list__same_pages_without_end_are_an_error(void)
{
	static const uint32_t caps[] = {0, BACKEND_LIST_AFTER};
	for (size_t i = 0; i < 4; i++) {
		struct nrig rig;
		struct listing *got = listing_new();
		nrig_init(&rig, caps[i % 2]);
		nrig_fill_numbers(&rig.store);
		nrig_settle(&rig.store);
		rig.store.circle = i < 2 ? 1 : 3;
		CHECK_EQ(nrig_read_all(&rig, got), -EIO);
		CHECK(got->n <= rig.store.circle * NRIG_PAGE);
		CHECK(rig.store.lists < 1100);
		listing_unref(got);
		nrig_done(&rig);
	}
}

/* An outage costs one listing its ranges, and no later one. */
static void list__outage_does_not_end_the_splitting(void)
{
	struct nrig rig;
	nrig_init(&rig, BACKEND_LIST_AFTER);
	nrig_fill_numbers(&rig.store);
	nrig_settle(&rig.store);
	for (int i = 0; i < 3; i++) {
		atomic_store(&rig.store.refuses_after, true);
		nrig_check(&rig, 20);
		CHECK(!rig.nm->unsplit);
		names_forget(rig.nm, "d/x");
		atomic_store(&rig.store.refuses_after, false);
		nrig_check(&rig, 8);
		names_forget(rig.nm, "d/x");
	}
	nrig_done(&rig);
}

/* Retried, a refusal looks like an outage; but it comes again. */
static void list__store_that_refuses_the_start_is_known_soon(void)
{
	struct nrig rig;
	nrig_init(&rig, BACKEND_LIST_AFTER);
	nrig_fill_numbers(&rig.store);
	nrig_settle(&rig.store);
	atomic_store(&rig.store.refuses_after, true);
	for (int i = 0; i < 3; i++) {
		nrig_check(&rig, i < 2 ? 20 : 0);
		names_forget(rig.nm, "d/x");
	}
	nrig_done(&rig);
}

/* P10: what comes before the error is not the whole. */
static void list__page_that_fails_is_an_error(void)
{
	static const uint32_t caps[] = {0, BACKEND_LIST_AFTER};
	static const int fail_at[] = {1, 2, 5, 60};
	for (size_t i = 0; i < 8; i++) {
		struct nrig rig;
		struct listing *got = listing_new();
		nrig_init(&rig, caps[i % 2]);
		nrig_fill_numbers(&rig.store);
		nrig_settle(&rig.store);
		atomic_store(&rig.store.fail_at, fail_at[i / 2]);
		int r = nrig_read_all(&rig, got);
		/* A range's first page may fail for what we asked: then as a whole. */
		CHECK(r == -EIO || (!r && caps[i % 2] && nrig_has_all(&rig, got)));
		CHECK(r != 0 || got->n == rig.store.n);
		atomic_store(&rig.store.fail_at, 0);
		listing_unref(got);
		nrig_check(&rig, 8);
		nrig_done(&rig);
	}
}

static void list__entries_come_before_the_last_page(void)
{
	struct nrig rig;
	struct call call = nrig_call();
	struct object mine = {.size = 3, .etag = "\"mine\""};
	struct listing *known = listing_new();
	struct names_stream *s;
	struct name name;
	uint32_t place = 0, n = 0;
	nrig_init(&rig, 0);
	nrig_fill_numbers(&rig.store);
	nrig_settle(&rig.store);
	atomic_store(&rig.store.hold_from, 2);
	CHECK_EQ(names_open(rig.nm, "d", known, &s, &call), 0);
	int r;
	for (; (r = names_next(s, &place, &name, NULL)) > 0; place++)
		n++;
	CHECK_EQ(r, -EAGAIN);
	CHECK_EQ(n, NRIG_PAGE - 1); /* a directory of the last one's name might follow */

	/* What we do meanwhile neither hides others nor comes twice. */
	char path[300];
	(void)snprintf(path, sizeof(path), "d/%s", rig.store.keys[100]);
	names_removed(rig.nm, path);
	(void)snprintf(path, sizeof(path), "d/%s", rig.store.keys[5]);
	names_put(rig.nm, path, &mine);
	(void)snprintf(path, sizeof(path), "d/%s", rig.store.keys[200]);
	names_put(rig.nm, path, &mine);
	atomic_store(&rig.store.hold_from, 0);
	for (; (r = names_next(s, &place, &name, &call)) > 0; place++) {
		CHECK(strcmp(name.name, rig.store.keys[100]) != 0);
		if (!strcmp(name.name, rig.store.keys[200]))
			CHECK_EQ(name.object.size, 3);
		n++;
	}
	CHECK_EQ(r, 0);
	CHECK_EQ(n, rig.store.n - 1);
	/* Back to the start: the same places. */
	place = 7;
	CHECK_EQ(names_next(s, &place, &name, NULL), 1);
	CHECK_STR(name.name, rig.store.keys[7]);
	names_close(s);
	listing_unref(known);
	nrig_done(&rig);
}

/* The directory of a file's name comes pages later. */
static void list__directory_wins_across_pages(void)
{
	struct nrig rig;
	struct listing *got = listing_new();
	nrig_init(&rig, 0);
	nrig_add(&rig.store, "a");
	for (int i = 0; i < 3 * NRIG_PAGE; i++) {
		char name[20];
		(void)snprintf(name, sizeof(name), "a-%03d", i);
		nrig_add(&rig.store, name);
	}
	nrig_add(&rig.store, "a/");
	nrig_add(&rig.store, "b");
	nrig_settle(&rig.store);
	CHECK_EQ(nrig_read_all(&rig, got), 0);
	CHECK_EQ(got->n, 3 * NRIG_PAGE + 2);
	CHECK(got->entries[listing_find(got, "a")].dir);
	listing_unref(got);
	nrig_done(&rig);
}

static void list__first_page_is_asked_for_once(void)
{
	struct nrig rig;
	struct call call = nrig_call();
	enum name_kind kind;
	struct object obj;
	nrig_init(&rig, 0);
	nrig_fill_numbers(&rig.store);
	nrig_settle(&rig.store);
	CHECK_EQ(names_lookup(rig.nm, "d", &kind, &obj, &call), 0);
	CHECK_EQ(kind, NAME_DIR);
	CHECK_EQ(rig.store.lists, 1);
	nrig_check(&rig, -1);
	nrig_done(&rig);
}

static bool is_listing(struct nrig *rig)
{
	SCOPED_LOCK(&rig->nm->lock);
	return rig->nm->listers != NULL;
}

static int try_open(struct nrig *rig, struct names_stream **ret, uint64_t ms)
{
	struct call call = {.deadline_ns = clock_add(clock_now_ns(), ms * NS_PER_MS)};
	struct listing *known = listing_new();
	int r = names_open(rig->nm, "d", known, ret, &call);
	listing_unref(known);
	return r;
}

static struct names_stream *open_it(struct nrig *rig)
{
	struct names_stream *s = NULL;
	CHECK_EQ(try_open(rig, &s, 20000), 0);
	return s;
}

static void restart_with(struct nrig *rig, uint32_t entries_max, uint64_t ttl_ns)
{
	names_free(rig->nm);
	rig->conf.entries_max = entries_max;
	rig->conf.ttl_ns = ttl_ns;
	rig->conf.timeout_ns = 0; /* what is held does not end by itself */
	nrig_start(rig);
}

/* P9: `ls | head` of a directory that is longer than what may be remembered. */
static void list__for_nobody_no_more_than_can_be_kept(void)
{
	static const uint32_t caps[] = {0, BACKEND_LIST_AFTER};
	for (size_t i = 0; i < 4; i++) {
		struct nrig rig;
		nrig_init(&rig, caps[i % 2]);
		restart_with(&rig, 5 * NRIG_PAGE, 60 * NS_PER_S);
		nrig_fill_numbers(&rig.store);
		nrig_settle(&rig.store);
		/* It goes on when nobody reads it any more, or it is too long by then. */
		int from = i < 2 ? 3 : 30;
		atomic_store(&rig.store.hold_from, from);
		struct names_stream *s = open_it(&rig);
		VRIG_UNTIL(atomic_load(&rig.store.lists) >= from);
		names_close(s);
		if (i < 2)
			atomic_store(&rig.store.hold_from, 0);
		VRIG_UNTIL(!is_listing(&rig));
		CHECK(atomic_load(&rig.store.lists) <= from + 16);
		atomic_store(&rig.store.hold_from, 0);
		nrig_check(&rig, 8); /* who comes then gets all of it */
		nrig_done(&rig);
	}
}

/* P9: it would push out all that is known of others, and is too much all the same. */
static void list__one_that_is_too_long_is_not_kept(void)
{
	struct nrig rig;
	struct object mine = {.size = 3, .etag = "\"mine\""}, obj;
	enum name_kind kind;
	nrig_init(&rig, 0);
	restart_with(&rig, 5 * NRIG_PAGE, 60 * NS_PER_S);
	names_put(rig.nm, "e/x", &mine);
	nrig_fill_numbers(&rig.store);
	nrig_settle(&rig.store);
	nrig_check(&rig, 0);
	CHECK(names_count(rig.nm) <= 5 * NRIG_PAGE);
	CHECK_EQ(names_lookup(rig.nm, "e/x", &kind, &obj, NULL), 0);
	nrig_done(&rig);
}

/* Whoever comes when it is older than ttl wants to see what has changed since. */
static void list__one_that_is_too_old_is_not_joined(void)
{
	struct nrig rig;
	struct name name;
	struct names_stream *s, *other;
	struct call call = nrig_call();
	uint32_t place = 0, n = 0;
	nrig_init(&rig, 0);
	restart_with(&rig, 100000, 50 * NS_PER_MS);
	nrig_fill_numbers(&rig.store);
	nrig_settle(&rig.store);
	atomic_store(&rig.store.hold_from, 3);
	s = open_it(&rig);
	VRIG_UNTIL(atomic_load(&rig.store.lists) == 3);
	(void)usleep(60000);
	CHECK_EQ(try_open(&rig, &other, 200), -ETIMEDOUT);
	CHECK_EQ(rig.store.lists, 4);
	/* Who reads it already gets it all. */
	atomic_store(&rig.store.hold_from, 0);
	for (; names_next(s, &place, &name, &call) > 0; place++)
		n++;
	CHECK_EQ(n, rig.store.n);
	names_close(s);
	nrig_done(&rig);
}

/* And nobody comes for it any more. */
static void list__one_that_is_too_old_ends_without_readers(void)
{
	struct nrig rig;
	struct names_stream *s, *other;
	nrig_init(&rig, 0);
	restart_with(&rig, 100000, 50 * NS_PER_MS);
	nrig_fill_numbers(&rig.store);
	nrig_settle(&rig.store);
	for (int i = 0; i < 2; i++) {
		int from = atomic_load(&rig.store.lists) + 3;
		atomic_store(&rig.store.hold_from, from);
		s = open_it(&rig);
		VRIG_UNTIL(atomic_load(&rig.store.lists) == from);
		if (i)
			names_close(s);
		(void)usleep(60000);
		CHECK_EQ(try_open(&rig, &other, 200), -ETIMEDOUT);
		if (!i)
			names_close(s);
		VRIG_UNTIL(!is_listing(&rig));
	}
	nrig_done(&rig);
}

static void forget_key(struct nstore *st, size_t no)
{
	free(st->keys[no]);
	st->n--;
	memmove(st->keys + no, st->keys + no + 1, (st->n - no) * sizeof(*st->keys));
}

/* P10 the other way round: what was removed does not come back, nor an old version, in
 * an open stream of before.  Each object's size is its place in the store. */
static void list__a_later_one_tells_an_open_stream_what_has_gone(void)
{
	struct nrig rig;
	struct name name;
	struct call call = nrig_call();
	uint32_t place = 0, n = 0;
	char gone[64];
	nrig_init(&rig, 0);
	restart_with(&rig, 100000, 50 * NS_PER_MS);
	nrig_fill_numbers(&rig.store);
	nrig_settle(&rig.store);
	struct names_stream *s = open_it(&rig);
	VRIG_UNTIL(!is_listing(&rig));
	CHECK_EQ(names_next(s, &place, &name, &call), 1);
	(void)snprintf(gone, sizeof(gone), "d/%s", rig.store.keys[1]);
	names_removed(rig.nm, gone);
	forget_key(&rig.store, 1);
	(void)usleep(60000);
	struct names_stream *later = open_it(&rig);
	VRIG_UNTIL(!is_listing(&rig));
	names_close(later);
	struct name lost = {.kind = NAME_FILE};
	(void)snprintf(lost.name, sizeof(lost.name), "%s", gone + 2);
	CHECK(names_lost(s, &lost));
	for (place = 0; names_next(s, &place, &name, &call) > 0; place++, n++) {
		CHECK(strcmp(name.name, gone + 2) != 0);
		CHECK_EQ(name.object.size, n);
	}
	CHECK_EQ(n, rig.store.n);
	names_close(s);
	nrig_done(&rig);
}

/* P9: nor if it has no end, and nobody comes at all. */
static void list__endless_one_ends_without_readers(void)
{
	struct nrig rig;
	nrig_init(&rig, 0);
	restart_with(&rig, 100000, 200 * NS_PER_MS);
	nrig_fill_numbers(&rig.store);
	nrig_settle(&rig.store);
	rig.store.endless = true;
	names_close(open_it(&rig));
	VRIG_UNTIL(!is_listing(&rig));
	nrig_done(&rig);
}

/* A prefix "../" is a directory that no path leads to, and two entries of one name for
 * who reads the directory. */
static void list__dots_are_no_directories(void)
{
	struct nrig rig;
	static const char *const keys[] = {"./", "../", "...", ".../", "a", "/", "."};
	nrig_init(&rig, 0);
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		nrig_add(&rig.store, keys[i]);
	nrig_settle(&rig.store);
	struct listing *got = listing_new();
	CHECK_EQ(nrig_read_all(&rig, got), 0);
	CHECK_EQ(got->n, 2);
	CHECK(listing_find(got, "...") != LISTING_NONE);
	CHECK(listing_find(got, "a") != LISTING_NONE);
	listing_unref(got);
	nrig_done(&rig);
}

int main(void)
{
	RUN(list__split_shows_each_name_once);
	RUN(list__split_is_several_requests_at_once);
	RUN(list__cuts_are_left_for_the_range_that_is_late);
	RUN(list__serial_where_the_store_cannot_start_anywhere);
	RUN(list__store_that_ignores_the_start_loses_nothing);
	RUN(list__store_without_order_loses_nothing);
	RUN(list__same_pages_without_end_are_an_error);
	RUN(list__outage_does_not_end_the_splitting);
	RUN(list__store_that_refuses_the_start_is_known_soon);
	RUN(list__page_that_fails_is_an_error);
	RUN(list__entries_come_before_the_last_page);
	RUN(list__directory_wins_across_pages);
	RUN(list__first_page_is_asked_for_once);
	RUN(list__for_nobody_no_more_than_can_be_kept);
	RUN(list__one_that_is_too_long_is_not_kept);
	RUN(list__one_that_is_too_old_is_not_joined);
	RUN(list__one_that_is_too_old_ends_without_readers);
	RUN(list__a_later_one_tells_an_open_stream_what_has_gone);
	RUN(list__endless_one_ends_without_readers);
	RUN(list__dots_are_no_directories);
	return 0;
}
