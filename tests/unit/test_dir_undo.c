/* test_dir_undo.c - a directory keeps its name: dir_move (1) where the journal fails. */
#include <errno.h>
#include "backends/util/clock.h"
#include "cache/dir_move.h"
#include "tests/unit/last_commit.h"
#include "tests/unit/view_crash.h"
#include "backends/util/banned.h"

static enum fate plan_fate;
static int plan_commits;

static void renamed(void *arg)
{
	(void)arg;
}

static void moved(void *arg, const char *to, const struct object *was,
		  const struct object *is)
{
	(void)arg;
	(void)to;
	(void)was;
	(void)is;
}

static void put_old(struct vrig *rig)
{
	CHECK_EQ(vrig_write(rig, "old/a", "a"), 0);
	CHECK_EQ(vrig_write(rig, "old/b", "b"), 0);
	CHECK_EQ(view_drain(rig->vw, clock_now_ns() + 10 * NS_PER_S), 0);
}

static void move_and_drain(struct vrig *rig)
{
	static const struct dir_followers f = {.renamed = renamed, .moved = moved};
	struct call call = {.deadline_ns = CLOCK_NEVER};
	atomic_store(&commits_left, plan_commits);
	fate = plan_fate;
	int r = view_rename_dir(rig->vw, "old", "new", false, &f, &call);
	fate = GOES_ON;
	CHECK(r < 0);
	CHECK(vrig_reads(rig, "old/a", "a") && vrig_reads(rig, "new/a", NULL));
	(void)view_drain(rig->vw, clock_now_ns() + NS_PER_S);
}

/* P3: the rename failed for its commit, the copies were deleted, and the next mount finds
 * that commit all the same. */
static void dir_undo__no_file_is_under_neither_name(void)
{
	static const enum fate fates[] = {FAILS, LIES};
	for (int i = 0; i < 2; i++) {
		for (plan_commits = 1; plan_commits < 3; plan_commits++) {
			struct crash c;
			crash_init(&c);
			crash_in(&c, "", put_old);
			plan_fate = fates[i];
			crash_in(&c, "", move_and_drain);
			crash_mount(&c, "");
			CHECK(vrig_reads(&c.rig, "old/a", "a"));
			CHECK(vrig_reads(&c.rig, "new/a", NULL));
			crash_drain(&c);
			CHECK(crash_has(&c, "old/a", "a"));
			CHECK(crash_has(&c, "old/b", "b"));
			CHECK(crash_has(&c, "new/a", NULL));
			crash_done(&c);
		}
	}
}

int main(void)
{
	RUN(dir_undo__no_file_is_under_neither_name);
	return 0;
}
