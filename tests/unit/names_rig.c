/* names_rig.c - see names_rig.h. */
#include "tests/unit/names_rig.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static size_t start_of(const struct nstore *st, const struct list_query *q,
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

/* Where the next page starts; 0 = nowhere. */
static size_t next_of(const struct nstore *st, size_t end)
{
	return end < st->n || st->endless || st->circle ? end : 0;
}

/* Key number i, into key. */
static int make_key(const struct nstore *st, size_t i, char key[static 400])
{
	size_t page = i / NRIG_PAGE, pages = st->n / NRIG_PAGE;
	/* Of an unordered one the last page is the first. */
	if (st->unordered)
		page = pages - 1 - page;
	if (st->circle)
		page %= st->circle;
	size_t from = page * NRIG_PAGE + i % NRIG_PAGE;
	return from < st->n ? snprintf(key, 400, "d/%s", st->keys[from])
			    : snprintf(key, 400, "d/%0300zu", from);
}

static int store_list(struct backend *be, const struct list_query *q, char **token,
		      list_fn *fn, void *arg, struct call *call)
{
	struct nstore *st = (struct nstore *)be;
	int no = atomic_fetch_add(&st->lists, 1) + 1;
	for (;;) {
		int from = atomic_load(&st->hold_from);
		if (!from || no < from)
			break;
		if (call_check(call))
			return call_check(call);
		(void)usleep(1000);
	}
	bool behind = q->after && !*token;
	if (no == atomic_load(&st->fail_at) ||
	    (behind && atomic_load(&st->refuses_after)))
		return -EIO;
	if (st->far && behind && strcmp(q->after, st->far) >= 0) {
		atomic_fetch_add(&st->far_starts, 1);
		(void)usleep(30000);
	}
	size_t at = strcmp(q->prefix, "d/") ? st->n : start_of(st, q, *token);
	size_t end = at + NRIG_PAGE < st->n || st->circle || st->endless ? at + NRIG_PAGE
									 : st->n;
	for (size_t i = at; i < end; i++) {
		char key[400];
		size_t len = (size_t)make_key(st, i, key);
		struct object obj = {.size = i, .mtime_ns = 1, .etag = "\"e\""};
		int r = fn(arg, key, len, key[len - 1] == '/' ? NULL : &obj);
		if (r < 0)
			return r;
	}
	free(*token);
	*token = NULL;
	if (next_of(st, end) && asprintf(token, "%zu", end) < 0)
		return -ENOMEM;
	return 0;
}

static int store_head(struct backend *be, const char *key, struct object *ret,
		      struct call *call)
{
	(void)key;
	(void)ret;
	(void)call;
	atomic_fetch_add(&((struct nstore *)be)->heads, 1);
	return -ENOENT;
}

static const struct backend_ops store_ops = {
	.scheme = "test", .list = store_list, .head = store_head};

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void nrig_add(struct nstore *st, const char *name)
{
	CHECK(st->n < NRIG_KEYS_MAX);
	st->keys[st->n] = strdup(name);
	CHECK(st->keys[st->n++]);
}

void nrig_settle(struct nstore *st)
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

void nrig_start(struct nrig *rig)
{
	CHECK_EQ(names_new(&rig->conf, &rig->store.be, rig->v.bl, &rig->nm), 0);
}

void nrig_init(struct nrig *rig, uint32_t caps)
{
	*rig = (struct nrig){.conf = {.ttl_ns = 60 * NS_PER_S,
				      .negative_ttl_ns = NS_PER_S,
				      .timeout_ns = 20 * NS_PER_S,
				      .entries_max = 100000,
				      .keep = true}};
	rig->store.be = (struct backend){.ops = &store_ops, .caps = caps};
	rig->store.be.name = strdup("test://bucket");
	rig->store.keys = calloc(NRIG_KEYS_MAX, sizeof(char *));
	CHECK(rig->store.be.name && rig->store.keys);
	vrig_init_dir(&rig->v, &rig->store.be);
	vrig_open(&rig->v);
	nrig_start(rig);
}

void nrig_done(struct nrig *rig)
{
	names_free(rig->nm);
	vrig_done(&rig->v);
	for (size_t i = 0; i < rig->store.n; i++)
		free(rig->store.keys[i]);
	free(rig->store.keys);
	free(rig->store.be.name);
}

struct call nrig_call(void)
{
	return (struct call){.deadline_ns = clock_add(clock_now_ns(), 10 * NS_PER_S)};
}

int nrig_read_all(struct nrig *rig, struct listing *got)
{
	struct call call = nrig_call();
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

bool nrig_has_all(const struct nrig *rig, const struct listing *got)
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

void nrig_check(struct nrig *rig, int more_lists)
{
	struct listing *got = listing_new();
	int lists = atomic_load(&rig->store.lists);
	int pages = (int)((rig->store.n + NRIG_PAGE - 1) / NRIG_PAGE);
	CHECK_EQ(nrig_read_all(rig, got), 0);
	CHECK(nrig_has_all(rig, got));
	CHECK(got->n <= rig->store.n);
	lists = atomic_load(&rig->store.lists) - lists;
	if (lists > pages + more_lists)
		(void)printf("   %d lists for %d pages\n", lists, pages);
	CHECK(lists <= pages + more_lists);
	listing_unref(got);
}

void nrig_fill_numbers(struct nstore *st)
{
	char name[40];
	for (int i = 0; i < 3000; i++) {
		(void)snprintf(name, sizeof(name), "jw%05d%06d_cal.fits", i / 40, i);
		nrig_add(st, name);
	}
}
