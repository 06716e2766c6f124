/* test_view_over.c - a file was uploaded, and whoever wrote it holds it open still (a
 * child that inherited it, a mapping): the cache has not taken it.  Its name is the
 * object's, and goes with that. */
#include <errno.h>
#include <unistd.h>
#include "cache/dir_move.h"
#include "cache/staged_impl.h"
#include "tests/unit/check.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

/* d/x is in the bucket; the reference is its holder's. */
static struct staged *held_open(struct vrig *rig)
{
	struct call call = vrig_soon();
	vrig_init(rig);
	CHECK_EQ(view_mkdir(rig->vw, "d", &call), 0);
	struct staged *st = vrig_create(rig, "d/x");
	vrig_put(st, "1");
	CHECK_EQ(staged_publish(st, true, &call), 0);
	/* Who uploaded it has looked whether the cache may have it, and gone: the rest
	 * are ours and its name's. */
	VRIG_UNTIL(atomic_load(&st->refs) == 2);
	staged_add_writers(st, -1);
	return st;
}

static void let_go(struct vrig *rig, struct staged *st)
{
	staged_retire_if_idle(st);
	staged_unref(st);
	vrig_done(rig);
}

static int move_dir(struct vrig *rig)
{
	struct call call = vrig_soon();
	return view_rename_dir(rig->vw, "d", "e", false, &vrig_followers, &call);
}

/* It kept its directory there. */
static void view_over__a_removed_directory_is_gone_at_once(void)
{
	struct vrig rig;
	struct view_entry e;
	struct staged *st = held_open(&rig);
	struct call call = vrig_soon();
	CHECK_EQ(view_lookup(rig.vw, "d", &e, &call), 0);
	CHECK_EQ(vrig_unlink(&rig, "d/x"), 0);
	CHECK_EQ(view_rmdir(rig.vw, "d", &call), 0);
	CHECK_EQ(view_lookup(rig.vw, "d", &e, &call), -ENOENT);
	let_go(&rig, st);
}

/* Others remove what it became: it is no file by then, and no reason for a directory. */
static void view_over__others_remove_it(void)
{
	struct vrig rig;
	struct view_entry e;
	struct staged *st = held_open(&rig);
	struct call call = vrig_soon();
	bucket_unset(&rig.bucket, "d/x");
	bucket_unset(&rig.bucket, "d/");
	view_forget(rig.vw, "d/x");
	view_forget(rig.vw, "d");
	CHECK_EQ(view_lookup(rig.vw, "d/x", &e, &call), -ENOENT);
	CHECK_EQ(view_lookup(rig.vw, "d", &e, &call), -ENOENT);
	let_go(&rig, st);
}

/* P4: it came back under the new name of its directory. */
static void view_over__what_was_removed_does_not_move(void)
{
	struct vrig rig;
	struct staged *st = held_open(&rig);
	CHECK_EQ(vrig_unlink(&rig, "d/x"), 0);
	CHECK_EQ(move_dir(&rig), 0);
	CHECK(vrig_reads(&rig, "e/x", NULL));
	CHECK(!bucket_has(&rig.bucket, "e/x", "1"));
	let_go(&rig, st);
}

/* Its holder writes on: what was removed was there again for that moment. */
static void view_over__a_writer_does_not_bring_it_back(void)
{
	struct vrig rig;
	struct staged *st = held_open(&rig);
	CHECK_EQ(vrig_unlink(&rig, "d/x"), 0);
	staged_add_writers(st, 1);
	CHECK(vrig_reads(&rig, "d/x", NULL));
	staged_add_writers(st, -1);
	let_go(&rig, st);
}

/* The object goes, and with it what the cache would have had of it. */
static void view_over__its_bytes_stay_for_its_readers(void)
{
	struct vrig rig;
	struct staged *st = held_open(&rig);
	char byte;
	CHECK_EQ(vrig_unlink(&rig, "d/x"), 0);
	staged_retire_if_idle(st);
	CHECK(!staged_retired(st));
	CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 10 * NS_PER_S), 0);
	CHECK(bucket_has(&rig.bucket, "d/x", NULL));
	CHECK_EQ(staged_read(st, &byte, 1, 0), 1);
	CHECK_EQ(byte, '1');
	let_go(&rig, st);
}

/* Neither what was there before, nor under the name that it had. */
static void view_over__another_takes_its_name(void)
{
	struct vrig rig;
	struct staged *st = held_open(&rig);
	CHECK_EQ(vrig_write(&rig, "d/y", "2"), 0);
	CHECK_EQ(vrig_rename(&rig, "d/y", "d/x"), 0);
	staged_add_writers(st, 1);
	CHECK(vrig_reads(&rig, "d/x", "2"));
	staged_add_writers(st, -1);
	CHECK_EQ(move_dir(&rig), 0);
	CHECK(vrig_reads(&rig, "e/x", "2"));
	let_go(&rig, st);
}

static void view_over__it_gets_another_name(void)
{
	struct vrig rig;
	struct staged *st = held_open(&rig);
	CHECK_EQ(vrig_rename(&rig, "d/x", "d/y"), 0);
	staged_add_writers(st, 1);
	CHECK(vrig_reads(&rig, "d/x", NULL));
	staged_add_writers(st, -1);
	CHECK_EQ(move_dir(&rig), 0);
	CHECK(vrig_reads(&rig, "e/x", NULL));
	CHECK(vrig_reads(&rig, "e/y", "1"));
	let_go(&rig, st);
}

int main(void)
{
	RUN(view_over__a_removed_directory_is_gone_at_once);
	RUN(view_over__others_remove_it);
	RUN(view_over__what_was_removed_does_not_move);
	RUN(view_over__a_writer_does_not_bring_it_back);
	RUN(view_over__its_bytes_stay_for_its_readers);
	RUN(view_over__another_takes_its_name);
	RUN(view_over__it_gets_another_name);
	return 0;
}
