/* test_names_keep.c - listings that are kept for the next mount. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "cache/names_impl.h"
#include "tests/unit/check.h"
#include "tests/unit/names_rig.h"
#include "backends/util/banned.h"

static int look(struct nrig *rig, const char *path)
{
	struct call call = nrig_call();
	enum name_kind kind;
	struct object obj;
	int r = names_lookup(rig->nm, path, &kind, &obj, &call);
	return r ? r : (int)kind;
}

static void restart(struct nrig *rig)
{
	names_free(rig->nm);
	nrig_start(rig);
	atomic_store(&rig->store.lists, 0);
	atomic_store(&rig->store.heads, 0);
}

/* P7 */
static void keep__next_mount_asks_nothing(void)
{
	struct nrig rig;
	nrig_init(&rig, 0);
	nrig_fill_numbers(&rig.store);
	nrig_settle(&rig.store);
	nrig_check(&rig, 0);
	restart(&rig);
	struct listing *got = listing_new();
	CHECK_EQ(nrig_read_all(&rig, got), 0);
	CHECK(nrig_has_all(&rig, got));
	CHECK_EQ(look(&rig, "d/none.fits"), -ENOENT);
	CHECK_EQ(rig.store.lists, 0);
	CHECK_EQ(rig.store.heads, 0);
	listing_unref(got);
	nrig_done(&rig);
}

/* K1: nothing removed is shown, nothing put is hidden. */
static void keep__own_changes_are_not_undone(void)
{
	struct object mine = {.size = 3, .etag = "\"mine\""};
	for (int kept_before = 0; kept_before < 2; kept_before++) {
		struct nrig rig;
		nrig_init(&rig, 0);
		nrig_fill_numbers(&rig.store);
		nrig_settle(&rig.store);
		nrig_check(&rig, 0);
		if (kept_before) {
			restart(&rig);
			CHECK_EQ(look(&rig, "d/none.fits"), -ENOENT);
			CHECK_EQ(rig.store.heads, 0);
		}
		names_put(rig.nm, "d/new.fits", &mine);
		restart(&rig);
		(void)look(&rig, "d/new.fits");
		CHECK_EQ(rig.store.heads, 1); /* asked, not believed to be absent */
		nrig_done(&rig);
	}
}

/* K1, of a mount that keeps nothing itself. */
static void keep__changes_of_one_that_keeps_nothing_are_not_undone(void)
{
	struct object mine = {.size = 3, .etag = "\"mine\""};
	struct nrig rig;
	nrig_init(&rig, 0);
	nrig_fill_numbers(&rig.store);
	nrig_settle(&rig.store);
	nrig_check(&rig, 0);
	rig.conf.keep = false;
	restart(&rig);
	names_put(rig.nm, "d/new.fits", &mine);
	rig.conf.keep = true;
	restart(&rig);
	(void)look(&rig, "d/new.fits");
	CHECK_EQ(rig.store.heads, 1);
	nrig_done(&rig);
}

static void keep__old_ones_are_not_believed(void)
{
	struct nrig rig;
	nrig_init(&rig, 0);
	nrig_fill_numbers(&rig.store);
	nrig_settle(&rig.store);
	nrig_check(&rig, 0);
	rig.conf.ttl_ns = 50 * NS_PER_MS;
	(void)usleep(60000);
	restart(&rig);
	nrig_check(&rig, 0);
	CHECK(rig.store.lists > 0);
	nrig_done(&rig);
}

/* Not of another store, not with a page that was changed. */
static void keep__strange_ones_are_not_believed(void)
{
	struct nrig rig;
	nrig_init(&rig, 0);
	nrig_fill_numbers(&rig.store);
	nrig_settle(&rig.store);
	nrig_check(&rig, 0);
	names_free(rig.nm);
	rig.nm = NULL;
	char *name = rig.store.be.name;
	rig.store.be.name = strdup("test://other");
	nrig_start(&rig);
	atomic_store(&rig.store.lists, 0);
	nrig_check(&rig, 0);
	CHECK(rig.store.lists > 0);
	free(name);
	nrig_done(&rig);
}
int main(void)
{
	RUN(keep__next_mount_asks_nothing);
	RUN(keep__own_changes_are_not_undone);
	RUN(keep__changes_of_one_that_keeps_nothing_are_not_undone);
	RUN(keep__old_ones_are_not_believed);
	RUN(keep__strange_ones_are_not_believed);
	return 0;
}
