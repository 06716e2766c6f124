/* test_dir_names.c - which directories are there when one gets another name: those of the
 * old one, and none that was removed before. */
#include <errno.h>
#include <string.h>
#include "cache/dir_move.h"
#include "tests/unit/check.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

static void move(struct vrig *rig, const char *from, const char *to)
{
	struct call call = vrig_soon();
	CHECK_EQ(view_rename_dir(rig->vw, from, to, false, &vrig_followers, &call), 0);
}

static void drain(struct vrig *rig)
{
	CHECK_EQ(view_drain(rig->vw, clock_now_ns() + 10 * NS_PER_S), 0);
}

static void check_dir(struct vrig *rig, const char *path, bool is_there)
{
	struct call call = vrig_soon();
	struct view_entry e;
	CHECK_EQ(view_lookup(rig->vw, path, &e, &call), is_there ? 0 : -ENOENT);
	CHECK(!is_there || e.kind == NAME_DIR);
}

static bool lists(struct vrig *rig, const char *dir, const char *name)
{
	struct call call = vrig_soon();
	struct view_stream *vs;
	struct name n;
	uint64_t place = 0;
	bool clean, found = false;
	CHECK_EQ(view_open(rig->vw, dir, &vs, &call), 0);
	for (; view_next(vs, &place, &n, &clean, &call) > 0; place++)
		found = found || !strcmp(n.name, name);
	view_close(vs);
	return found;
}

static void remove_dir(struct vrig *rig, const char *path)
{
	struct call call = vrig_soon();
	CHECK_EQ(view_rmdir(rig->vw, path, &call), 0);
}

/* rm -r cur; mv new cur.  new/sub has no marker that would take the place of the one
 * that is removed. */
static void dir_names__a_removal_hides_nothing_new(bool staged)
{
	struct vrig rig;
	vrig_init(&rig);
	bucket_set(&rig.bucket, "cur/sub/", "", NULL);
	bucket_set(&rig.bucket, "cur/sub/a", "1", NULL);
	if (!staged)
		bucket_set(&rig.bucket, "new/sub/y", "2", NULL);
	CHECK(lists(&rig, "cur", "sub"));
	CHECK_EQ(vrig_unlink(&rig, "cur/sub/a"), 0);
	remove_dir(&rig, "cur/sub");
	remove_dir(&rig, "cur");
	struct staged *st = staged ? vrig_create(&rig, "new/sub/y") : NULL;
	if (st)
		vrig_put(st, "2");
	move(&rig, "new", "cur");
	if (st) {
		struct call call = vrig_soon();
		CHECK_EQ(staged_publish(st, true, &call), 0);
		vrig_close_writer(st);
	}
	for (int i = 0; i < 2; i++) {
		check_dir(&rig, "cur/sub", true);
		CHECK(lists(&rig, "", "cur"));
		CHECK(lists(&rig, "cur", "sub"));
		CHECK(vrig_reads(&rig, "cur/sub/y", "2"));
		CHECK(vrig_reads(&rig, "cur/sub/a", NULL));
		drain(&rig);
	}
	vrig_done(&rig);
}

static struct vrig *listed;

/* All that was removed is gone by the time that the listing is read. */
static void drain_once(struct bucket *b)
{
	b->listed = NULL;
	drain(listed);
}

/* rm -r old/d; mv old new, and the removal ends in the middle of it. */
static void dir_names__what_was_removed_does_not_move(void)
{
	struct vrig rig;
	vrig_init(&rig);
	bucket_set(&rig.bucket, "old/a", "1", NULL);
	bucket_set(&rig.bucket, "old/d/", "", NULL);
	bucket_set(&rig.bucket, "old/d/b", "2", NULL);
	CHECK_EQ(vrig_unlink(&rig, "old/d/b"), 0);
	remove_dir(&rig, "old/d");
	listed = &rig;
	rig.bucket.listed = drain_once;
	move(&rig, "old", "new");
	CHECK(!rig.bucket.listed);
	check_dir(&rig, "new/d", false);
	CHECK(!lists(&rig, "new", "d"));
	CHECK(vrig_reads(&rig, "new/a", "1"));
	drain(&rig);
	CHECK(bucket_has(&rig.bucket, "new/d/", NULL));
	vrig_done(&rig);
}

/* There was no marker, and all that is in it is here: after the upload the listing of
 * before denied it. */
static void dir_names__of_staged_files_only(void)
{
	struct vrig rig;
	struct call call = vrig_soon();
	vrig_init(&rig);
	bucket_set(&rig.bucket, "in/a", "1", NULL);
	CHECK(lists(&rig, "", "in"));
	struct staged *st = vrig_create(&rig, "in/sub/b");
	vrig_put(st, "2");
	CHECK_EQ(vrig_unlink(&rig, "in/a"), 0);
	drain(&rig);
	move(&rig, "in", "out");
	CHECK_EQ(staged_publish(st, true, &call), 0);
	vrig_close_writer(st);
	check_dir(&rig, "out", true);
	check_dir(&rig, "out/sub", true);
	CHECK(lists(&rig, "", "out") && !lists(&rig, "", "in"));
	vrig_done(&rig);
}

int main(void)
{
	dir_names__a_removal_hides_nothing_new(false);
	dir_names__a_removal_hides_nothing_new(true);
	RUN(dir_names__what_was_removed_does_not_move);
	RUN(dir_names__of_staged_files_only);
	return 0;
}
