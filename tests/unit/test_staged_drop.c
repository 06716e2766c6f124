/* test_staged_drop.c - a file with several generations is removed, and the daemon dies,
 * or its journal fails, in the middle of it (P3). */
#include <errno.h>
#include <unistd.h>
#include "tests/unit/last_commit.h"
#include "tests/unit/view_crash.h"
#include "backends/util/banned.h"

static void put_old(struct vrig *rig)
{
	CHECK_EQ(vrig_write(rig, "f", "old"), 0);
	CHECK_EQ(view_drain(rig->vw, clock_now_ns() + 10 * NS_PER_S), 0);
}

static int plan_commits;
static int plan_generations;

/* What is closed is acknowledged; the last is being written. */
static void write_and_unlink(struct vrig *rig)
{
	for (int i = 1; i < plan_generations; i++)
		CHECK_EQ(vrig_write(rig, "f", "acknowledged"), 0);
	struct staged *st = vrig_open_write(rig, "f");
	vrig_put(st, "half");
	atomic_store(&commits_left, plan_commits);
	int r = vrig_unlink(rig, "f");
	fate = GOES_ON;
	CHECK(vrig_reads(rig, "f", r ? "half" : NULL));
}

static bool is_there(int generations, int commits, int what)
{
	struct crash c;
	crash_init(&c);
	crash_in(&c, "", put_old);
	plan_generations = generations;
	plan_commits = commits;
	fate = what;
	atomic_store(&commits_left, 1000000);
	crash_in(&c, "put:*:before=EACCES;del:*:before=ECOMM", write_and_unlink);
	fate = GOES_ON;
	crash_mount(&c, "");
	bool there = vrig_reads(&c.rig, "f", "acknowledged");
	crash_drain(&c);
	CHECK(crash_has(&c, "f", there ? "acknowledged" : NULL));
	crash_done(&c);
	return there;
}

static void staged_drop__all_or_nothing(void)
{
	for (int generations = 2; generations < 4; generations++) {
		for (int commits = 1; commits < 4; commits++) {
			CHECK(!is_there(generations, commits, DIES_AFTER));
			/* It is one commit, so the second cannot fail. */
			CHECK_EQ(is_there(generations, commits, FAILS), commits == 1);
		}
	}
}

int main(void)
{
	RUN(staged_drop__all_or_nothing);
	return 0;
}
