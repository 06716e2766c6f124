/* test_union_view.c - a second source laid under a bucket, as the user sees it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "tests/unit/check.h"
#include "tests/unit/union_rig.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

struct mounted {
	struct sources s;
	struct vrig rig;
};

static void mount_view(struct mounted *m)
{
	urig_start(&m->s);
	vrig_init_dir(&m->rig, m->s.be);
	vrig_open(&m->rig);
}

static void umount_view(struct mounted *m)
{
	vrig_done(&m->rig);
	urig_end(&m->s);
}

static void union_view__writing_copies_up(void)
{
	struct mounted m;
	mount_view(&m);
	bucket_set(&m.s.under, "d/a.fits", "public", NULL);
	CHECK(vrig_reads(&m.rig, "d/a.fits", "public"));
	CHECK_EQ(vrig_write(&m.rig, "d/a.fits", "mine"), 0);
	CHECK(vrig_reads(&m.rig, "d/a.fits", "mine"));
	CHECK(bucket_has(&m.s.own, "d/a.fits", "mine"));
	CHECK(bucket_has(&m.s.under, "d/a.fits", "public"));
	umount_view(&m);
}

static void union_view__no_update_is_lost_over_a_public_file(void)
{
	struct mounted m;
	mount_view(&m);
	bucket_set(&m.s.under, "a.fits", "public", NULL);
	struct staged *st = vrig_open_write(&m.rig, "a.fits");
	vrig_put(st, "mine");
	bucket_set(&m.s.own, "a.fits", "theirs", NULL);
	struct call call = {.deadline_ns = clock_add(clock_now_ns(), 10 * NS_PER_S)};
	CHECK_EQ(staged_publish(st, true, &call), -ESTALE);
	CHECK_EQ(staged_get_state(st), STAGED_CONFLICT);
	CHECK(bucket_has(&m.s.own, "a.fits", "theirs"));
	staged_add_writers(st, -1);
	staged_unref(st);
	umount_view(&m);
}

static void union_view__the_store_cannot_compare(void)
{
	struct mounted m;
	urig_start(&m.s);
	m.s.be->caps &= ~(uint32_t)(BACKEND_PUT_IF | BACKEND_FINISH_IF);
	vrig_init_dir(&m.rig, m.s.be);
	vrig_open(&m.rig);
	bucket_set(&m.s.under, "a.fits", "public", NULL);
	struct staged *st = vrig_open_write(&m.rig, "a.fits");
	vrig_put(st, "mine");
	bucket_set(&m.s.own, "a.fits", "theirs", NULL);
	struct call call = {.deadline_ns = clock_add(clock_now_ns(), 10 * NS_PER_S)};
	CHECK_EQ(staged_publish(st, true, &call), -ESTALE);
	staged_add_writers(st, -1);
	staged_unref(st);
	bucket_unset(&m.s.own, "a.fits");
	bucket_set(&m.s.under, "b.fits", "public", NULL);
	CHECK_EQ(vrig_write(&m.rig, "b.fits", "mine"), 0);
	CHECK(bucket_has(&m.s.own, "b.fits", "mine"));
	umount_view(&m);
}

static void union_view__unlink_and_write_again(void)
{
	struct mounted m;
	mount_view(&m);
	bucket_set(&m.s.under, "a.fits", "public", NULL);
	bucket_set(&m.s.under, "b.fits", "public", NULL);
	CHECK_EQ(vrig_unlink(&m.rig, "a.fits"), 0);
	CHECK_EQ(vrig_unlink(&m.rig, "b.fits"), 0);
	CHECK_EQ(vrig_write(&m.rig, "b.fits", "mine"), 0);
	CHECK_EQ(view_drain(m.rig.vw, clock_add(clock_now_ns(), 10 * NS_PER_S)), 0);
	CHECK(bucket_has(&m.s.own, ".wh.a.fits", ""));
	CHECK(bucket_has(&m.s.own, ".wh.b.fits", NULL)); /* one PUT, nothing removed */
	CHECK(vrig_reads(&m.rig, "a.fits", NULL));
	CHECK(vrig_reads(&m.rig, "b.fits", "mine"));
	umount_view(&m);
}

static void union_view__rename_over_a_public_name(void)
{
	struct mounted m;
	mount_view(&m);
	bucket_set(&m.s.under, "a.fits", "public", NULL);
	CHECK_EQ(vrig_write(&m.rig, "a.fits.part", "mine"), 0);
	CHECK_EQ(vrig_rename(&m.rig, "a.fits.part", "a.fits"), 0);
	CHECK(bucket_has(&m.s.own, "a.fits", "mine"));
	CHECK(vrig_reads(&m.rig, "a.fits", "mine"));
	umount_view(&m);
}

static void union_view__renamed_public_file_becomes_ours(void)
{
	struct mounted m;
	mount_view(&m);
	bucket_set(&m.s.under, "a.fits", "public", NULL);
	bucket_set(&m.s.under, "c.fits", "local", NULL);
	CHECK_EQ(vrig_rename(&m.rig, "a.fits", "b.fits"), 0);
	CHECK_EQ(vrig_rename(&m.rig, "c.fits", "c.part"), 0);
	CHECK(bucket_has(&m.s.own, "b.fits", "public"));
	CHECK_EQ(view_drain(m.rig.vw, clock_add(clock_now_ns(), 10 * NS_PER_S)), 0);
	CHECK(bucket_has(&m.s.own, ".wh.a.fits", ""));
	CHECK(bucket_has(&m.s.own, ".wh.c.fits", ""));
	CHECK(vrig_reads(&m.rig, "a.fits", NULL));
	CHECK(vrig_reads(&m.rig, "b.fits", "public"));
	CHECK(vrig_reads(&m.rig, "c.part", "local"));
	struct object obj = urig_must_head(&m.s, "b.fits");
	CHECK_EQ(obj.mtime_ns, 7 * NS_PER_S);
	umount_view(&m);
}

static void union_view__rename_that_fails_loses_nothing(void)
{
	struct mounted m;
	mount_view(&m);
	bucket_set(&m.s.under, "a.fits", "public", NULL);
	struct call call = {.deadline_ns = clock_add(clock_now_ns(), 10 * NS_PER_S)};
	struct view_entry e;
	CHECK_EQ(view_lookup(m.rig.vw, "a.fits", &e, &call), 0);
	/* Somebody makes the target after it was looked up. */
	bucket_set(&m.s.own, "b.fits", "theirs", NULL);
	struct object obj;
	bool clean;
	CHECK_EQ(view_rename(m.rig.vw, &e, "a.fits", NULL, "b.fits", &clean, &obj, &call),
		 -EBUSY);
	view_entry_done(&e);
	CHECK(bucket_has(&m.s.own, "b.fits", "theirs"));
	CHECK_EQ(view_drain(m.rig.vw, clock_add(clock_now_ns(), 10 * NS_PER_S)), 0);
	CHECK(vrig_reads(&m.rig, "a.fits", "public"));
	CHECK(bucket_has(&m.s.own, ".wh.a.fits", NULL));
	umount_view(&m);
}

static void union_view__time_of_a_public_file(void)
{
	struct mounted m;
	mount_view(&m);
	bucket_set(&m.s.under, "a.fits", "public", NULL);
	struct call call = {.deadline_ns = clock_add(clock_now_ns(), 10 * NS_PER_S)};
	struct object now, obj = urig_must_head(&m.s, "a.fits");
	CHECK_EQ(view_set_mtime(m.rig.vw, "a.fits", &obj, 5, &now, &call), -EXDEV);
	umount_view(&m);
}

static void union_view__directories_of_removed_files(void)
{
	struct mounted m;
	mount_view(&m);
	bucket_set(&m.s.under, "d/a.fits", "public", NULL);
	struct call call = {.deadline_ns = clock_add(clock_now_ns(), 10 * NS_PER_S)};
	struct view_entry e;
	CHECK_EQ(view_rmdir(m.rig.vw, "d", &call), -ENOTEMPTY);
	CHECK_EQ(vrig_unlink(&m.rig, "d/a.fits"), 0);
	CHECK_EQ(view_rmdir(m.rig.vw, "d", &call), 0);
	CHECK_EQ(view_lookup(m.rig.vw, "d", &e, &call), -ENOENT);
	uint64_t until = clock_add(clock_now_ns(), 10 * NS_PER_S);
	CHECK_EQ(view_drain(m.rig.vw, until), 0);
	CHECK(bucket_has(&m.s.own, ".wh.d", ""));
	CHECK(bucket_has(&m.s.own, "d/.wh.a.fits", NULL));
	vrig_close(&m.rig);
	vrig_open(&m.rig);
	CHECK_EQ(view_lookup(m.rig.vw, "d", &e, &call), -ENOENT);
	/* Made again it is empty. */
	CHECK_EQ(view_mkdir(m.rig.vw, "d", &call), 0);
	CHECK(vrig_reads(&m.rig, "d/a.fits", NULL));
	umount_view(&m);
}

int main(void)
{
	RUN(union_view__writing_copies_up);
	RUN(union_view__no_update_is_lost_over_a_public_file);
	RUN(union_view__the_store_cannot_compare);
	RUN(union_view__unlink_and_write_again);
	RUN(union_view__rename_over_a_public_name);
	RUN(union_view__renamed_public_file_becomes_ours);
	RUN(union_view__rename_that_fails_loses_nothing);
	RUN(union_view__time_of_a_public_file);
	RUN(union_view__directories_of_removed_files);
	return 0;
}
