/* test_view_rename.c - an object gets another name within the bucket, and others are
 * there (P1, P5). */
#include <errno.h>
#include <unistd.h>
#include "backends/fault.h"
#include "backends/retry.h"
#include "tests/unit/check.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

/* Copies that the store compares; that it does not; and atomic renames. */
enum store { COMPARES, BLIND, RENAMES, STORES };

static void rig_init(struct vrig *rig, enum store store)
{
	vrig_init(rig);
	rig->bucket.blind_copies = store == BLIND;
	if (store == RENAMES)
		rig->bucket.be.caps |= BACKEND_RENAME;
	bucket_set(&rig->bucket, "a", "mine", NULL);
	CHECK(vrig_reads(rig, "a", "mine"));
}

static void check_drained(struct vrig *rig, const char *a, const char *b)
{
	CHECK_EQ(view_drain(rig->vw, clock_now_ns() + 5 * NS_PER_S), 0);
	CHECK(bucket_has(&rig->bucket, "a", a));
	CHECK(bucket_has(&rig->bucket, "b", b));
	vrig_done(rig);
}

/* P5: nothing was there when it was looked at last. */
static void view_rename__spares_what_was_made_meanwhile(enum store store)
{
	struct vrig rig;
	rig_init(&rig, store);
	CHECK(vrig_reads(&rig, "b", NULL));
	bucket_set(&rig.bucket, "b", "theirs", NULL);
	CHECK_EQ(vrig_rename(&rig, "a", "b"), -EEXIST);
	CHECK(vrig_reads(&rig, "b", "theirs"));
	CHECK(vrig_reads(&rig, "a", "mine"));
	/* Now it is what the user has seen. */
	CHECK_EQ(vrig_rename(&rig, "a", "b"), 0);
	check_drained(&rig, NULL, "mine");
}

/* P5: it was another version. */
static void view_rename__spares_what_was_replaced_meanwhile(enum store store)
{
	struct vrig rig;
	rig_init(&rig, store);
	bucket_set(&rig.bucket, "b", "old", NULL);
	CHECK(vrig_reads(&rig, "b", "old"));
	bucket_set(&rig.bucket, "b", "theirs", NULL);
	CHECK_EQ(vrig_rename(&rig, "a", "b"), -EBUSY);
	CHECK(vrig_reads(&rig, "b", "theirs"));
	check_drained(&rig, "mine", "theirs");
}

/* P5: it was removed here, and the bucket does not know that yet. */
static void view_rename__spares_what_is_not_what_was_removed(enum store store)
{
	struct vrig rig;
	rig_init(&rig, store);
	bucket_set(&rig.bucket, "b", "old", NULL);
	CHECK(vrig_reads(&rig, "b", "old"));
	CHECK_EQ(vrig_unlink(&rig, "b"), 0);
	bucket_set(&rig.bucket, "b", "theirs", NULL);
	CHECK_EQ(vrig_rename(&rig, "a", "b"), -EBUSY);
	check_drained(&rig, "mine", "theirs");
}

/* What is staged there would replace it, and so may the object; but not another. */
static void view_rename__over_staged(enum store store)
{
	for (int theirs = 0; theirs < 2; theirs++) {
		struct vrig rig;
		rig_init(&rig, store);
		bucket_set(&rig.bucket, "b", "old", NULL);
		struct staged *st = vrig_open_write(&rig, "b");
		vrig_put(st, "staged");
		if (theirs)
			bucket_set(&rig.bucket, "b", "theirs", NULL);
		CHECK_EQ(vrig_rename(&rig, "a", "b"), theirs ? -EBUSY : 0);
		if (theirs)
			CHECK(vrig_reads(&rig, "b", "staged"));
		vrig_close_writer(st);
		check_drained(&rig, theirs ? "mine" : NULL, theirs ? "theirs" : "mine");
	}
}

/* P3: over what is owed a name the store's own rename would leave nothing to go by after
 * a crash: the source is gone, and no row says that it has the place. */
static void view_rename__keeps_its_source_over_what_is_owed(void)
{
	enum owed { NOTHING, STAGED, REMOVED };
	for (enum owed owed = NOTHING; owed <= REMOVED; owed++) {
		struct vrig rig;
		struct staged *st = NULL;
		rig_init(&rig, RENAMES);
		bucket_set(&rig.bucket, "b", "old", NULL);
		CHECK(vrig_reads(&rig, "b", "old"));
		if (owed == STAGED)
			st = vrig_open_write(&rig, "b");
		else if (owed == REMOVED)
			CHECK_EQ(vrig_unlink(&rig, "b"), 0);
		CHECK_EQ(vrig_rename(&rig, "a", "b"), 0);
		CHECK_EQ(rig.bucket.renames, owed == NOTHING);
		CHECK_EQ(rig.bucket.copies, owed != NOTHING);
		if (st)
			vrig_close_writer(st);
		check_drained(&rig, NULL, "mine");
	}
}

/* A copy of ours that nobody heard of is in the place of what was removed: that is no
 * other's. */
static void view_rename__knows_its_own_copies(enum store store)
{
	struct vrig rig;
	rig_init(&rig, store);
	bucket_set(&rig.bucket, "b", "old", NULL);
	CHECK(vrig_reads(&rig, "b", "old"));
	/* It stays so until the rename is over. */
	rig.bucket.be.caps &= ~(uint32_t)BACKEND_WRITE;
	CHECK_EQ(vrig_unlink(&rig, "b"), 0);
	rig.bucket.be.caps |= BACKEND_WRITE;
	atomic_store(&rig.bucket.lose, 1);
	CHECK_EQ(vrig_rename(&rig, "a", "b"), -ECOMM);
	CHECK(bucket_has(&rig.bucket, "b", "mine"));
	CHECK_EQ(vrig_rename(&rig, "a", "b"), 0);
	CHECK(vrig_reads(&rig, "b", "mine"));
	check_drained(&rig, NULL, "mine");
}

/* Over a store that renames, with repeats and what script says. */
struct renames {
	struct vrig rig;
	struct bucket bucket;
	struct backend *fault, *be; /* be owns fault */
};

static void renames_init(struct renames *rs, const char *script, const char *tag)
{
	bucket_init(&rs->bucket);
	rs->bucket.be.caps |= BACKEND_RENAME;
	CHECK_EQ(fault_new(&rs->bucket.be, script, &rs->fault), 0);
	CHECK_EQ(retry_new(rs->fault, &retry_defaults, &rs->be), 0);
	vrig_init_dir(&rs->rig, rs->be);
	vrig_open(&rs->rig);
	bucket_set(&rs->bucket, "a", "mine", tag);
	CHECK(vrig_reads(&rs->rig, "a", "mine"));
	CHECK(vrig_reads(&rs->rig, "b", NULL));
	atomic_store(&rs->bucket.gets, 0);
}

static void renames_done(struct renames *rs)
{
	vrig_done(&rs->rig);
	backend_free(rs->be);
	bucket_done(&rs->bucket);
}

/* Whose tag tells that it is the same needs not be fetched again. */
static void view_rename__cached_bytes_follow_a_rename(void)
{
	for (int lost = 0; lost < 2; lost++) {
		struct renames rs;
		renames_init(&rs, lost ? "rename:1:after=ECOMM" : "", "t1");
		CHECK_EQ(vrig_rename(&rs.rig, "a", "b"), 0);
		CHECK_EQ(rs.bucket.renames, lost ? 2 : 1);
		CHECK(vrig_reads(&rs.rig, "a", NULL));
		CHECK(vrig_reads(&rs.rig, "b", "mine"));
		CHECK_EQ(rs.bucket.gets, 0);
		renames_done(&rs);
	}
}

static void view_rename__without_a_tag_it_is_fetched_again(void)
{
	struct renames rs;
	renames_init(&rs, "rename:1:after=ECOMM", NULL);
	CHECK_EQ(vrig_rename(&rs.rig, "a", "b"), 0);
	CHECK(vrig_reads(&rs.rig, "b", "mine"));
	CHECK_EQ(rs.bucket.gets, 1);
	renames_done(&rs);
}

static void put_theirs(struct bucket *b)
{
	bucket_set(b, "b", "mind", NULL);
}

/* P1: somebody else's, of the same size, that came just after. */
static void view_rename__others_bytes_are_theirs(void)
{
	for (int tagged = 0; tagged < 2; tagged++) {
		struct renames rs;
		renames_init(&rs, "", tagged ? "t1" : NULL);
		rs.bucket.renamed = put_theirs;
		CHECK_EQ(vrig_rename(&rs.rig, "a", "b"), tagged ? -EBUSY : 0);
		CHECK(vrig_reads(&rs.rig, "b", "mind"));
		CHECK(vrig_reads(&rs.rig, "a", NULL));
		renames_done(&rs);
	}
}

/* The source is gone; what is at the new name was there before. */
static void view_rename__what_was_there_is_no_success(void)
{
	struct renames rs;
	renames_init(&rs, "rename:1:before=ECOMM;rename:2:before=ENOENT", NULL);
	bucket_set(&rs.bucket, "b", "mind", NULL);
	view_forget(rs.rig.vw, "b");
	CHECK(vrig_reads(&rs.rig, "b", "mind"));
	CHECK_EQ(vrig_rename(&rs.rig, "a", "b"), -ENOENT);
	CHECK(vrig_reads(&rs.rig, "b", "mind"));
	renames_done(&rs);
}

/* P5: the version that it was asked for has gone by the second try, by the first. */
static void view_rename__a_lost_change_of_time_is_a_change(void)
{
	struct renames rs;
	struct view_entry e;
	struct object now;
	struct call call = vrig_soon();
	renames_init(&rs, "copy:1:after=ECOMM", NULL);
	CHECK_EQ(view_lookup(rs.rig.vw, "a", &e, &call), 0);
	CHECK_EQ(view_set_mtime(rs.rig.vw, "a", &e.object, 12345, &now, &call), 0);
	CHECK_EQ(rs.bucket.copies, 2);
	CHECK_EQ(bucket_head(&rs.bucket, "a", &now), 0);
	CHECK_EQ(now.mtime_ns, 12345);
	CHECK(vrig_reads(&rs.rig, "a", "mine"));
	CHECK_EQ(rs.bucket.gets, 0);
	renames_done(&rs);
}

int main(void)
{
	for (enum store store = 0; store < STORES; store++) {
		(void)printf("store %d\n", (int)store);
		view_rename__spares_what_was_made_meanwhile(store);
		view_rename__spares_what_was_replaced_meanwhile(store);
		view_rename__spares_what_is_not_what_was_removed(store);
		view_rename__over_staged(store);
		if (store != RENAMES)
			view_rename__knows_its_own_copies(store);
	}
	RUN(view_rename__cached_bytes_follow_a_rename);
	RUN(view_rename__without_a_tag_it_is_fetched_again);
	RUN(view_rename__others_bytes_are_theirs);
	RUN(view_rename__what_was_there_is_no_success);
	RUN(view_rename__a_lost_change_of_time_is_a_change);
	RUN(view_rename__keeps_its_source_over_what_is_owed);
	return 0;
}
