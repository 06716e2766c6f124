/* test_names_list.c - directories read while their pages arrive, split, and kept. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/unit/check.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

enum { KEYS_MAX = 20000, PAGE = 20 };

/* A store with one long directory, d/, and pages of PAGE names. */
struct store {
	struct backend be; /* first */
	/* set once */
	char **keys; /* owned, sorted; below d/; a directory's ends in '/' */
	size_t n;
	bool ignores_after, unordered;
	/* changed by tests at any time */
	atomic_int fail_at;   /* the list of this number fails; 0 = none */
	atomic_int hold_from; /* from this number on they wait; 0 = none */
	/* counted */
	atomic_int lists, heads;
};

struct rig {
	struct vrig v;
	struct store store;
	struct names *nm;
	struct names_conf conf;
};

static size_t start_of(const struct store *st, const struct list_query *q,
		       const char *token)
{
	size_t at = 0;
	if (token)
		return strtoul(token, NULL, 10);
	if (q->after && !st->ignores_after)
		while (at < st->n && strcmp(st->keys[at], q->after + 2) <= 0)
			at++;
	return at;
}

static int store_list(struct backend *be, const struct list_query *q, char **token,
		      list_fn *fn, void *arg, struct call *call)
{
	struct store *st = (struct store *)be;
	int no = atomic_fetch_add(&st->lists, 1) + 1;
	for (;;) {
		int from = atomic_load(&st->hold_from);
		if (!from || no < from)
			break;
		if (call_check(call))
			return call_check(call);
		(void)usleep(1000);
	}
	if (no == atomic_load(&st->fail_at))
		return -EIO;
	size_t at = strcmp(q->prefix, "d/") ? st->n : start_of(st, q, *token);
	size_t end = at + PAGE < st->n ? at + PAGE : st->n;
	for (size_t i = at; i < end; i++) {
		char key[300];
		/* Of an unordered one the last page is the first. */
		size_t from = i, pages = st->n / PAGE;
		if (st->unordered)
			from = (pages - 1 - i / PAGE) * PAGE + i % PAGE;
		size_t len = (size_t)snprintf(key, sizeof(key), "d/%s", st->keys[from]);
		struct object obj = {.size = from, .mtime_ns = 1, .etag = "\"e\""};
		int r = fn(arg, key, len, key[len - 1] == '/' ? NULL : &obj);
		if (r < 0)
			return r;
	}
	free(*token);
	*token = NULL;
	if (end < st->n && asprintf(token, "%zu", end) < 0)
		return -ENOMEM;
	return 0;
}

static int store_head(struct backend *be, const char *key, struct object *ret,
		      struct call *call)
{
	(void)key;
	(void)ret;
	(void)call;
	atomic_fetch_add(&((struct store *)be)->heads, 1);
	return -ENOENT;
}

static const struct backend_ops store_ops = {
	.scheme = "test", .list = store_list, .head = store_head};

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_key(struct store *st, const char *name)
{
	CHECK(st->n < KEYS_MAX);
	st->keys[st->n] = strdup(name);
	CHECK(st->keys[st->n++]);
}

/* Sorts, and leaves each key once. */
static void settle_keys(struct store *st)
{
	size_t kept = 0;
	qsort(st->keys, st->n, sizeof(*st->keys), by_text);
	for (size_t i = 0; i < st->n; i++) {
		if (kept && !strcmp(st->keys[kept - 1], st->keys[i]))
			free(st->keys[i]);
		else
			st->keys[kept++] = st->keys[i];
	}
	st->n = kept;
}

static void names_start(struct rig *rig)
{
	CHECK_EQ(names_new(&rig->conf, &rig->store.be, rig->v.bl, &rig->nm), 0);
}

static void start(struct rig *rig, uint32_t caps)
{
	*rig = (struct rig){.conf = {.ttl_ns = 60 * NS_PER_S,
				     .negative_ttl_ns = NS_PER_S,
				     .timeout_ns = 20 * NS_PER_S,
				     .entries_max = 100000,
				     .keep = true}};
	rig->store.be = (struct backend){.ops = &store_ops, .caps = caps};
	rig->store.be.name = strdup("test://bucket");
	rig->store.keys = calloc(KEYS_MAX, sizeof(char *));
	CHECK(rig->store.be.name && rig->store.keys);
	vrig_init_dir(&rig->v, &rig->store.be);
	vrig_open(&rig->v);
	names_start(rig);
}

static void end(struct rig *rig)
{
	names_free(rig->nm);
	vrig_done(&rig->v);
	for (size_t i = 0; i < rig->store.n; i++)
		free(rig->store.keys[i]);
	free(rig->store.keys);
	free(rig->store.be.name);
}

static struct call call_10s(void)
{
	return (struct call){.deadline_ns = clock_add(clock_now_ns(), 10 * NS_PER_S)};
}

/* What a reader gets; the result of the end. */
static int read_all(struct rig *rig, struct listing *got)
{
	struct call call = call_10s();
	struct listing *known = listing_new();
	struct names_stream *s;
	struct name name;
	uint32_t place = 0;
	int r = names_open(rig->nm, "d", known, &s, &call);
	if (!r) {
		CHECK_EQ(listing_append(got, known, 0, known->n), 0);
		for (; (r = names_next(s, &place, &name, &call)) > 0; place++)
			if (listing_find(known, name.name) == LISTING_NONE)
				CHECK_EQ(listing_add(got, name.name,
						     name.kind == NAME_DIR
							     ? NULL
							     : &name.object),
					 0); /* P10: none twice */
		names_close(s);
	}
	listing_unref(known);
	return r;
}

static bool has_all(const struct rig *rig, const struct listing *got)
{
	for (size_t i = 0; i < rig->store.n; i++) {
		char name[300];
		(void)snprintf(name, sizeof(name), "%s", rig->store.keys[i]);
		bool dir = name[strlen(name) - 1] == '/';
		if (dir)
			name[strlen(name) - 1] = '\0';
		uint32_t no = listing_find(got, name);
		if (no == LISTING_NONE || (dir && !got->entries[no].dir)) {
			(void)printf("missing: %s\n", rig->store.keys[i]);
			return false;
		}
	}
	return true;
}

/* Every name once, and no more requests than pages and what splitting may waste. */
static void check_listing(struct rig *rig, int more_lists)
{
	struct listing *got = listing_new();
	int lists = atomic_load(&rig->store.lists);
	int pages = (int)((rig->store.n + PAGE - 1) / PAGE);
	CHECK_EQ(read_all(rig, got), 0);
	CHECK(has_all(rig, got));
	CHECK(got->n <= rig->store.n);
	lists = atomic_load(&rig->store.lists) - lists;
	if (lists > pages + more_lists)
		(void)printf("   %d lists for %d pages\n", lists, pages);
	CHECK(lists <= pages + more_lists);
	listing_unref(got);
}

static void fill_numbers(struct store *st)
{
	char name[40];
	for (int i = 0; i < 3000; i++) {
		(void)snprintf(name, sizeof(name), "jw%05d%06d_cal.fits", i / 40, i);
		add_key(st, name);
	}
}

static void fill_words(struct store *st)
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
		add_key(st, name);
	}
}

/* Just where one would cut. */
static void fill_edges(struct store *st)
{
	char name[40];
	for (int i = 0; i < 2000; i++) {
		(void)snprintf(name, sizeof(name), "f%04d%s", i, i % 3 ? ".fits" : "");
		add_key(st, name);
	}
	for (int i = 0; i < 10; i++) {
		(void)snprintf(name, sizeof(name), "f%d", i);
		add_key(st, name);
		(void)snprintf(name, sizeof(name), "f%d/", i);
		add_key(st, name);
		(void)snprintf(name, sizeof(name), "f0%d/", i);
		add_key(st, name);
		(void)snprintf(name, sizeof(name), "f0%d", i);
		add_key(st, name);
	}
}

static void fill_hex(struct store *st)
{
	char name[40];
	for (uint64_t i = 0; i < 3000; i++) {
		(void)snprintf(name, sizeof(name), "%08x",
			       (unsigned)(i * UINT64_C(2654435761)));
		add_key(st, name);
	}
}

typedef void fill_fn(struct store *st);
static fill_fn *const fills[] = {fill_numbers, fill_words, fill_edges, fill_hex};
enum { FILLS = sizeof(fills) / sizeof(*fills) };

static void list__split_shows_each_name_once(void)
{
	for (size_t i = 0; i < FILLS; i++) {
		struct rig rig;
		start(&rig, BACKEND_LIST_AFTER);
		fills[i](&rig.store);
		settle_keys(&rig.store);
		check_listing(&rig, 8);
		end(&rig);
	}
}

static void list__split_is_several_requests_at_once(void)
{
	struct rig rig;
	start(&rig, BACKEND_LIST_AFTER);
	fill_numbers(&rig.store);
	settle_keys(&rig.store);
	atomic_store(&rig.store.hold_from, 6);
	struct call call = call_10s();
	struct listing *known = listing_new();
	struct names_stream *s;
	CHECK_EQ(names_open(rig.nm, "d", known, &s, &call), 0);
	/* Four pages, then ranges of which one more page is let through. */
	VRIG_UNTIL(atomic_load(&rig.store.lists) >= 8);
	atomic_store(&rig.store.hold_from, 0);
	names_close(s);
	listing_unref(known);
	check_listing(&rig, 0);
	end(&rig);
}

static void list__serial_where_the_store_cannot_start_anywhere(void)
{
	for (size_t i = 0; i < FILLS; i++) {
		struct rig rig;
		start(&rig, 0);
		fills[i](&rig.store);
		settle_keys(&rig.store);
		check_listing(&rig, 0);
		end(&rig);
	}
}

/* The first time costs what was asked in vain; then it is remembered. */
static void list__store_that_ignores_the_start_loses_nothing(void)
{
	for (size_t i = 0; i < FILLS; i++) {
		struct rig rig;
		start(&rig, BACKEND_LIST_AFTER);
		rig.store.ignores_after = true;
		fills[i](&rig.store);
		settle_keys(&rig.store);
		check_listing(&rig, 20);
		names_forget(rig.nm, "d/x");
		check_listing(&rig, 0);
		end(&rig);
	}
}

static void list__store_without_order_loses_nothing(void)
{
	struct rig rig;
	start(&rig, BACKEND_LIST_AFTER);
	fill_numbers(&rig.store);
	settle_keys(&rig.store);
	while (rig.store.n % PAGE)
		free(rig.store.keys[--rig.store.n]);
	rig.store.unordered = rig.store.ignores_after = true;
	check_listing(&rig, 20);
	end(&rig);
}

/* P10: what comes before the error is not the whole. */
static void list__page_that_fails_is_an_error(void)
{
	static const uint32_t caps[] = {0, BACKEND_LIST_AFTER};
	static const int fail_at[] = {1, 2, 5, 60};
	for (size_t i = 0; i < 8; i++) {
		struct rig rig;
		struct listing *got = listing_new();
		start(&rig, caps[i % 2]);
		fill_numbers(&rig.store);
		settle_keys(&rig.store);
		atomic_store(&rig.store.fail_at, fail_at[i / 2]);
		int r = read_all(&rig, got);
		/* A range's first page may fail for what we asked: then as a whole. */
		CHECK(r == -EIO || (!r && caps[i % 2] && has_all(&rig, got)));
		CHECK(r != 0 || got->n == rig.store.n);
		atomic_store(&rig.store.fail_at, 0);
		listing_unref(got);
		check_listing(&rig, 8);
		end(&rig);
	}
}

static void list__entries_come_before_the_last_page(void)
{
	struct rig rig;
	struct call call = call_10s();
	struct object mine = {.size = 3, .etag = "\"mine\""};
	struct listing *known = listing_new();
	struct names_stream *s;
	struct name name;
	uint32_t place = 0, n = 0;
	start(&rig, 0);
	fill_numbers(&rig.store);
	settle_keys(&rig.store);
	atomic_store(&rig.store.hold_from, 2);
	CHECK_EQ(names_open(rig.nm, "d", known, &s, &call), 0);
	int r;
	for (; (r = names_next(s, &place, &name, NULL)) > 0; place++)
		n++;
	CHECK_EQ(r, -EAGAIN);
	CHECK_EQ(n, PAGE - 1); /* a directory of the last one's name might follow */

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
	end(&rig);
}

/* The directory of a file's name comes pages later. */
static void list__directory_wins_across_pages(void)
{
	struct rig rig;
	struct listing *got = listing_new();
	start(&rig, 0);
	add_key(&rig.store, "a");
	for (int i = 0; i < 3 * PAGE; i++) {
		char name[20];
		(void)snprintf(name, sizeof(name), "a-%03d", i);
		add_key(&rig.store, name);
	}
	add_key(&rig.store, "a/");
	add_key(&rig.store, "b");
	settle_keys(&rig.store);
	CHECK_EQ(read_all(&rig, got), 0);
	CHECK_EQ(got->n, 3 * PAGE + 2);
	CHECK(got->entries[listing_find(got, "a")].dir);
	listing_unref(got);
	end(&rig);
}

static void list__first_page_is_asked_for_once(void)
{
	struct rig rig;
	struct call call = call_10s();
	enum name_kind kind;
	struct object obj;
	start(&rig, 0);
	fill_numbers(&rig.store);
	settle_keys(&rig.store);
	CHECK_EQ(names_lookup(rig.nm, "d", &kind, &obj, &call), 0);
	CHECK_EQ(kind, NAME_DIR);
	CHECK_EQ(rig.store.lists, 1);
	check_listing(&rig, -1);
	end(&rig);
}

static int look(struct rig *rig, const char *path)
{
	struct call call = call_10s();
	enum name_kind kind;
	struct object obj;
	int r = names_lookup(rig->nm, path, &kind, &obj, &call);
	return r ? r : (int)kind;
}

static void restart(struct rig *rig)
{
	names_free(rig->nm);
	names_start(rig);
	atomic_store(&rig->store.lists, 0);
	atomic_store(&rig->store.heads, 0);
}

/* P7 */
static void keep__next_mount_asks_nothing(void)
{
	struct rig rig;
	start(&rig, 0);
	fill_words(&rig.store);
	settle_keys(&rig.store);
	check_listing(&rig, 0);
	restart(&rig);
	struct listing *got = listing_new();
	CHECK_EQ(read_all(&rig, got), 0);
	CHECK(has_all(&rig, got));
	CHECK_EQ(look(&rig, "d/none.fits"), -ENOENT);
	CHECK_EQ(rig.store.lists, 0);
	CHECK_EQ(rig.store.heads, 0);
	listing_unref(got);
	end(&rig);
}

/* A prefix "../" is a directory that no path leads to, and two entries of one name for
 * who reads the directory. */
static void list__dots_are_no_directories(void)
{
	struct rig rig;
	static const char *const keys[] = {"./", "../", "...", ".../", "a", "/", "."};
	start(&rig, 0);
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		add_key(&rig.store, keys[i]);
	settle_keys(&rig.store);
	struct listing *got = listing_new();
	CHECK_EQ(read_all(&rig, got), 0);
	CHECK_EQ(got->n, 2);
	CHECK(listing_find(got, "...") != LISTING_NONE);
	CHECK(listing_find(got, "a") != LISTING_NONE);
	listing_unref(got);
	end(&rig);
}

/* K1: nothing removed is shown, nothing put is hidden. */
static void keep__own_changes_are_not_undone(void)
{
	struct object mine = {.size = 3, .etag = "\"mine\""};
	for (int kept_before = 0; kept_before < 2; kept_before++) {
		struct rig rig;
		start(&rig, 0);
		fill_numbers(&rig.store);
		settle_keys(&rig.store);
		check_listing(&rig, 0);
		if (kept_before) {
			restart(&rig);
			CHECK_EQ(look(&rig, "d/none.fits"), -ENOENT);
			CHECK_EQ(rig.store.heads, 0);
		}
		names_put(rig.nm, "d/new.fits", &mine);
		restart(&rig);
		(void)look(&rig, "d/new.fits");
		CHECK_EQ(rig.store.heads, 1); /* asked, not believed to be absent */
		end(&rig);
	}
}

static void keep__old_ones_are_not_believed(void)
{
	struct rig rig;
	start(&rig, 0);
	fill_numbers(&rig.store);
	settle_keys(&rig.store);
	check_listing(&rig, 0);
	rig.conf.ttl_ns = 50 * NS_PER_MS;
	(void)usleep(60000);
	restart(&rig);
	check_listing(&rig, 0);
	CHECK(rig.store.lists > 0);
	end(&rig);
}

/* Not of another store, not with a page that was changed. */
static void keep__strange_ones_are_not_believed(void)
{
	struct rig rig;
	start(&rig, 0);
	fill_numbers(&rig.store);
	settle_keys(&rig.store);
	check_listing(&rig, 0);
	names_free(rig.nm);
	rig.nm = NULL;
	char *name = rig.store.be.name;
	rig.store.be.name = strdup("test://other");
	names_start(&rig);
	atomic_store(&rig.store.lists, 0);
	check_listing(&rig, 0);
	CHECK(rig.store.lists > 0);
	free(name);
	end(&rig);
}

int main(void)
{
	RUN(list__split_shows_each_name_once);
	RUN(list__split_is_several_requests_at_once);
	RUN(list__serial_where_the_store_cannot_start_anywhere);
	RUN(list__store_that_ignores_the_start_loses_nothing);
	RUN(list__store_without_order_loses_nothing);
	RUN(list__page_that_fails_is_an_error);
	RUN(list__entries_come_before_the_last_page);
	RUN(list__directory_wins_across_pages);
	RUN(list__first_page_is_asked_for_once);
	RUN(list__dots_are_no_directories);
	RUN(keep__next_mount_asks_nothing);
	RUN(keep__own_changes_are_not_undone);
	RUN(keep__old_ones_are_not_believed);
	RUN(keep__strange_ones_are_not_believed);
	return 0;
}
