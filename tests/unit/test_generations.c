/* test_generations.c - a file was closed, and is being written again when it or another
 * is renamed.  Until that is sure it is what was closed that the next mount has (P3). */
#include <errno.h>
#include "cache/dir_move.h"
#include "tests/unit/last_commit.h"
#include "tests/unit/view_crash.h"
#include "backends/util/banned.h"

/* Closed so many times, and not in the bucket; the last is being written. */
static void write_again(struct vrig *rig, const char *path, int closed)
{
	for (int i = 1; i < closed; i++)
		(void)vrig_write(rig, path, "older");
	(void)vrig_write(rig, path, "closed");
	vrig_put(vrig_open_write(rig, path), "half");
}

static void put_g(struct vrig *rig)
{
	CHECK_EQ(vrig_write(rig, "g", "object"), 0);
	CHECK_EQ(view_drain(rig->vw, clock_now_ns() + 10 * NS_PER_S), 0);
}

static int rename_dir(struct vrig *rig, const char *from, const char *to)
{
	struct call call = vrig_soon();
	return view_rename_dir(rig->vw, from, to, false, &vrig_followers, &call);
}

/* The next mount has what was closed, and both names as they were. */
static void check_closed(struct crash *c, const char *f, const char *g)
{
	c->rig.conf.wait_uploads = false;
	crash_mount(c, "");
	crash_drain(c);
	CHECK(crash_has(c, f, "closed"));
	CHECK(crash_has(c, "g", g));
	crash_done(c);
}

static void dir_in_vain(struct vrig *rig)
{
	for (int closed = 1; closed < 3; closed++)
		write_again(rig, "d/f", closed);
	/* To a local name, and to any other. */
	CHECK_EQ(rename_dir(rig, "d", ".download_state/x"), -EXDEV);
	CHECK_EQ(rename_dir(rig, "d", "e"), -EXDEV);
	CHECK(vrig_reads(rig, "d/f", "half"));
}

static void generations__directory_that_stays(void)
{
	struct crash c;
	crash_init(&c);
	crash_in(&c, "put:*:before=EACCES", dir_in_vain);
	check_closed(&c, "d/f", NULL);
}

static void object_in_vain(struct vrig *rig)
{
	write_again(rig, "f", 2);
	CHECK(vrig_rename(rig, "g", "f") < 0);
	CHECK(vrig_reads(rig, "f", "half"));
	CHECK(vrig_reads(rig, "g", "object"));
}

static void generations__object_that_cannot_replace_it(void)
{
	struct crash c;
	crash_init(&c);
	crash_in(&c, "", put_g);
	crash_in(&c, "put:*:before=EACCES;rename:*:before=EACCES;copy:*:before=EACCES",
		 object_in_vain);
	check_closed(&c, "f", "object");
}

static void object_instead(struct vrig *rig)
{
	write_again(rig, "f", 3);
	CHECK_EQ(vrig_rename(rig, "g", "f"), 0);
	CHECK(vrig_reads(rig, "f", "object"));
}

static void generations__object_that_replaces_all(void)
{
	struct crash c;
	crash_init(&c);
	crash_in(&c, "", put_g);
	crash_in(&c, "put:*:before=EACCES", object_instead);
	crash_mount(&c, "");
	crash_drain(&c);
	CHECK(crash_has(&c, "f", "object"));
	CHECK(crash_has(&c, "g", NULL));
	crash_done(&c);
}

static void upload_in_vain(struct vrig *rig)
{
	write_again(rig, "f", 2);
	(void)vrig_write(rig, "x.part", "staged");
	CHECK_EQ(vrig_rename(rig, "x.part", "f"), -EACCES);
	CHECK(vrig_reads(rig, "f", "half"));
	CHECK(vrig_reads(rig, "x.part", "staged"));
}

static void generations__upload_that_cannot_replace_it(void)
{
	struct crash c;
	crash_init(&c);
	c.rig.conf.wait_uploads = true;
	crash_in(&c, "put:*:before=EACCES", upload_in_vain);
	check_closed(&c, "f", NULL);
}

static int plan_commits, plan_closed, plan_fate;

static int rename_by_plan(struct vrig *rig, const char *from, const char *to)
{
	fate = plan_fate;
	atomic_store(&commits_left, plan_commits);
	int r = vrig_rename(rig, from, to);
	fate = GOES_ON;
	return r;
}

static void rename_over(struct vrig *rig)
{
	write_again(rig, "f", plan_closed);
	(void)vrig_write(rig, "x.part", "staged");
	int r = rename_by_plan(rig, "x.part", "f");
	CHECK(vrig_reads(rig, "f", r ? "half" : "staged"));
	CHECK(vrig_reads(rig, "x.part", r ? "staged" : NULL));
}

static void rename_it(struct vrig *rig)
{
	write_again(rig, "f", plan_closed);
	int r = rename_by_plan(rig, "f", "g");
	CHECK(vrig_reads(rig, "f", r ? "half" : NULL));
	CHECK(vrig_reads(rig, "g", r ? NULL : "half"));
}

/* Either nothing is renamed, and f is as it was closed, or all is done. */
static void generations__rename_is_done_or_not(void)
{
	for (int i = 0; i < 24; i++) {
		struct crash c;
		bool over = i & 1;
		plan_fate = i & 2 ? FAILS : DIES_AFTER;
		plan_closed = 1 + (i >> 2 & 1);
		plan_commits = 1 + i / 8;
		crash_init(&c);
		crash_in(&c, "put:*:before=EACCES", over ? rename_over : rename_it);
		crash_mount(&c, "");
		bool moved = over ? vrig_reads(&c.rig, "x.part", NULL)
				  : vrig_reads(&c.rig, "g", "half");
		crash_drain(&c);
		CHECK(crash_has(&c, "f", !moved ? "closed" : over ? "staged" : NULL));
		CHECK(crash_has(&c, "g", moved && !over ? "half" : NULL));
		crash_done(&c);
	}
}

int main(void)
{
	RUN(generations__directory_that_stays);
	RUN(generations__object_that_cannot_replace_it);
	RUN(generations__object_that_replaces_all);
	RUN(generations__upload_that_cannot_replace_it);
	RUN(generations__rename_is_done_or_not);
	return 0;
}
