/* test_tags.c - uploads that were broken off, and may have arrived. */
#include <unistd.h>
#include "backends/util/clock.h"
#include "tests/unit/check.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

static void close_writer(struct staged *st)
{
	staged_add_writers(st, -1);
	staged_retire_if_idle(st);
	staged_unref(st);
}

static void write_in_vain(struct vrig *rig, const char *text)
{
	struct staged *st = vrig_create(rig, "f");
	vrig_put(st, text);
	CHECK_EQ(staged_publish(st, false, NULL), 0);
	VRIG_UNTIL(!strcmp(vrig_state(rig, "f"), "waiting"));
	close_writer(st);
	CHECK_EQ(vrig_unlink(rig, "f"), 0);
}

/* P3, P4: SQLite's journal, while the bucket cannot be asked: made and removed again and
 * again, each upload broken off, the first one arrived.  However many there were, that
 * object is ours: written over, and removed with its name.  Left there it would be found
 * by a program that takes a journal for what a crash has left. */
static void tags__broken_off_many_times(void)
{
	enum { TIMES = 30 };
	for (int removed = 0; removed < 2; removed++) {
		struct vrig rig;
		vrig_init(&rig);
		atomic_store(&rig.bucket.dies, true);
		atomic_store(&rig.bucket.lose, 1);
		for (int i = 0; i < TIMES; i++)
			write_in_vain(&rig, i ? "never" : "arrived");
		CHECK(bucket_has(&rig.bucket, "f", "arrived"));
		struct staged *st = removed ? NULL : vrig_create(&rig, "f");
		atomic_store(&rig.bucket.down, 0);
		if (st) {
			struct call call = {
				.deadline_ns = clock_add(clock_now_ns(), 10 * NS_PER_S)};
			vrig_put(st, "last");
			CHECK_EQ(staged_publish(st, true, &call), 0);
			close_writer(st);
		}
		CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 5 * NS_PER_S), 0);
		CHECK(bucket_has(&rig.bucket, "f", st ? "last" : NULL));
		vrig_done(&rig);
	}
}

int main(void)
{
	RUN(tags__broken_off_many_times);
	return 0;
}
