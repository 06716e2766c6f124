/* test_names_often.c - many questions for single names are answered by one listing. */
#include <errno.h>
#include "backends/util/cleanup.h"
#include "cache/names_impl.h"
#include "tests/unit/check.h"
#include "tests/unit/names_rig.h"
#include "backends/util/banned.h"

enum { FEW = 16, LESS_OFTEN = 8 };

static void start(struct nrig *rig, uint64_t ttl_ns, uint32_t entries_max)
{
	nrig_init(rig, BACKEND_LIST_AFTER);
	nrig_fill_numbers(&rig->store);
	nrig_settle(&rig->store);
	names_free(rig->nm);
	rig->conf.ttl_ns = ttl_ns;
	rig->conf.entries_max = entries_max;
	nrig_start(rig);
}

/* For names that are not there, each another one. */
static void ask(struct nrig *rig, int times)
{
	static int n;
	for (int i = 0; i < times; i++) {
		char path[40];
		enum name_kind kind;
		struct object obj;
		struct call call = nrig_call();
		(void)snprintf(path, sizeof(path), "d/new%d.fits", n++);
		CHECK_EQ(names_lookup(rig->nm, path, &kind, &obj, &call), -ENOENT);
	}
}

static struct directory *find_locked(struct nrig *rig)
{
	struct directory *d = names_dir_find_locked(rig->nm, "d");
	CHECK(d != NULL);
	return d;
}

static bool is_listing(struct nrig *rig)
{
	SCOPED_LOCK(&rig->nm->lock);
	return find_locked(rig)->lister != NULL;
}

static bool is_listed(struct nrig *rig)
{
	SCOPED_LOCK(&rig->nm->lock);
	return find_locked(rig)->listing != NULL;
}

static void often__many_questions_become_one_listing(void)
{
	struct nrig rig;
	start(&rig, 60 * NS_PER_S, 100000);
	ask(&rig, FEW - 1);
	CHECK(!is_listing(&rig) && !is_listed(&rig));
	ask(&rig, 1);
	CHECK(is_listing(&rig) || is_listed(&rig));
	VRIG_UNTIL(!is_listing(&rig));
	CHECK(is_listed(&rig));
	int heads = rig.store.heads, lists = rig.store.lists;
	CHECK_EQ(heads, FEW);
	ask(&rig, 1000);
	CHECK_EQ(rig.store.heads, heads);
	CHECK_EQ(rig.store.lists, lists);
	nrig_done(&rig);
}

/* P9: what cannot be kept is asked for ever more seldom. */
static void often__one_that_is_too_long_is_rare(void)
{
	struct nrig rig;
	start(&rig, 60 * NS_PER_S, 500);
	ask(&rig, FEW);
	VRIG_UNTIL(!is_listing(&rig));
	CHECK(!is_listed(&rig));
	ask(&rig, FEW * LESS_OFTEN - 1);
	CHECK(!is_listing(&rig));
	int lists = rig.store.lists;
	ask(&rig, 1);
	VRIG_UNTIL(!is_listing(&rig));
	CHECK(rig.store.lists > lists + 10);
	nrig_done(&rig);
}

/* Each question costs a request, and a long listing many. */
static void often__a_long_one_takes_as_many_questions_as_pages(void)
{
	struct nrig rig;
	start(&rig, 60 * NS_PER_S, 100000);
	struct listing *got = listing_new();
	CHECK_EQ(nrig_read_all(&rig, got), 0);
	uint32_t pages;
	{
		SCOPED_LOCK(&rig.nm->lock);
		struct directory *d = find_locked(&rig);
		pages = d->pages;
		d->listed_ns = 1; /* long ago */
	}
	CHECK(pages >= got->n / NRIG_PAGE);
	listing_unref(got);
	ask(&rig, (int)pages - 1);
	CHECK(!is_listing(&rig));
	ask(&rig, 1);
	VRIG_UNTIL(!is_listing(&rig));
	int heads = rig.store.heads;
	ask(&rig, 100);
	CHECK_EQ(rig.store.heads, heads);
	nrig_done(&rig);
}

static void often__never_where_it_is_not_believed_for_long(void)
{
	struct nrig rig;
	start(&rig, NS_PER_S, 100000);
	ask(&rig, 10 * FEW);
	CHECK(!is_listing(&rig) && !is_listed(&rig));
	nrig_done(&rig);
}

int main(void)
{
	RUN(often__many_questions_become_one_listing);
	RUN(often__one_that_is_too_long_is_rare);
	RUN(often__a_long_one_takes_as_many_questions_as_pages);
	RUN(often__never_where_it_is_not_believed_for_long);
	return 0;
}
