/* test_staged_read.c - reading a staged file on a thread that may not wait. */
#include <errno.h>
#include <string.h>
#include "cache/staged_impl.h"
#include "tests/unit/check.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

/* As while the cache is handed it. */
static void staged_read__who_may_not_wait_does_not(void)
{
	struct vrig rig;
	char got[8] = "";
	vrig_init(&rig);
	struct staged *st = vrig_create(&rig, "f");
	vrig_put(st, "text");
	CHECK_EQ(staged_try_read(st, got, sizeof(got), 1), 3);
	CHECK(!memcmp(got, "ext", 3));
	(void)pthread_rwlock_wrlock(&st->io);
	CHECK_EQ(staged_try_read(st, got, sizeof(got), 0), -EAGAIN);
	(void)pthread_rwlock_unlock(&st->io);
	CHECK_EQ(staged_try_read(st, got, sizeof(got), 0), 4);
	CHECK_EQ(staged_read(st, got, sizeof(got), 0), 4);
	struct call call = vrig_soon();
	CHECK_EQ(staged_publish(st, true, &call), 0);
	staged_add_writers(st, -1);
	staged_retire_if_idle(st);
	CHECK_EQ(staged_try_read(st, got, sizeof(got), 0), -ESTALE);
	CHECK_EQ(staged_read(st, got, sizeof(got), 0), -ESTALE);
	staged_unref(st);
	vrig_done(&rig);
}

int main(void)
{
	RUN(staged_read__who_may_not_wait_does_not);
	return 0;
}
