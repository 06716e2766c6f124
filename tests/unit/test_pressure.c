/* test_pressure.c - too much that waits for the bucket slows its writers (staged (5)). */
#include <errno.h>
#include <unistd.h>
#include "backends/util/clock.h"
#include "tests/unit/check.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

static struct call soon(void)
{
	return (struct call){.deadline_ns = clock_add(clock_now_ns(), 10 * NS_PER_S)};
}

static void close_writer(struct staged *st)
{
	staged_add_writers(st, -1);
	staged_retire_if_idle(st);
	staged_unref(st);
}

static uint64_t wait_ms(struct vrig *rig)
{
	struct call call = soon();
	uint64_t start = clock_now_ns();
	CHECK_EQ(staging_wait_room(view_staging(rig->vw), &call), 0);
	return (clock_now_ns() - start) / NS_PER_MS;
}

static void open_limited(struct vrig *rig)
{
	vrig_init(rig);
	vrig_close(rig);
	rig->conf.staging_bytes = 1000;
	vrig_open(rig);
}

static void fill(struct staged *st)
{
	char block[600] = {0};
	CHECK_EQ(staged_write(st, block, sizeof(block), 0), 600);
	CHECK_EQ(staged_write(st, block, sizeof(block), 600), 600);
}

/* staged (5): too much slows, and fails nobody; what is sent is leave to write. */
static void pressure__slows(void)
{
	struct vrig rig;
	open_limited(&rig);
	struct staged *st = vrig_create(&rig, "f");
	CHECK_EQ(staging_wait_room(view_staging(rig.vw), NULL), 0);
	fill(st);
	CHECK_EQ(vrig_kept(&rig), 1200);
	CHECK_EQ(staging_wait_room(view_staging(rig.vw), NULL), -EAGAIN);
	uint64_t slow = wait_ms(&rig);
	CHECK(slow >= 50 && slow < 5000);
	struct call call = soon();
	CHECK_EQ(staged_publish(st, true, &call), 0);
	CHECK_EQ(staging_wait_room(view_staging(rig.vw), NULL), 0);
	close_writer(st);
	/* The thread that uploaded it may still be handing it to the cache. */
	VRIG_UNTIL(vrig_kept(&rig) == 0);
	vrig_done(&rig);
}

/* staged (5): what was sent and is gone from here is no leave to keep more than the
 * limit. */
static void pressure__nothing_is_counted_twice(void)
{
	struct vrig rig;
	open_limited(&rig);
	for (int n = 0; n < 3; n++)
		CHECK_EQ(vrig_write(&rig, "gone", "so many bytes went up"), 0);
	VRIG_UNTIL(vrig_kept(&rig) == 0);
	struct staged *st = vrig_create(&rig, "f");
	fill(st);
	CHECK_EQ(staging_wait_room(view_staging(rig.vw), NULL), -EAGAIN);
	struct call call = soon();
	CHECK_EQ(staged_publish(st, true, &call), 0);
	struct staged *again;
	CHECK_EQ(staged_writable(st, 1200, &again), 0);
	CHECK(again == st);
	CHECK_EQ(staging_wait_room(view_staging(rig.vw), NULL), 0);
	CHECK_EQ(staged_truncate(st, 100), 0);
	fill(st);
	CHECK_EQ(staging_wait_room(view_staging(rig.vw), NULL), -EAGAIN);
	CHECK_EQ(staged_publish(st, true, &call), 0);
	staged_unref(again);
	close_writer(st);
	vrig_done(&rig);
}

int main(void)
{
	RUN(pressure__slows);
	RUN(pressure__nothing_is_counted_twice);
	return 0;
}
