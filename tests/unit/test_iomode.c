/* test_iomode.c - how the opens of one inode follow the first of them: what the kernel
 * would refuse with EIO is never answered. */
#include "fs/iomode.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

/* One open, as opening.c does it. */
static enum iomode open_as(struct iomodes *m, bool passes, bool writes)
{
	enum iomode mode = iomode_next(m, passes);
	if (mode != IOMODE_NONE)
		iomode_opened(m, mode, writes);
	return mode;
}

static void iomode__the_first_open_decides(void)
{
	struct iomodes m = {0};
	CHECK_EQ(open_as(&m, true, false), IOMODE_PASSTHROUGH);
	CHECK_EQ(open_as(&m, true, false), IOMODE_PASSTHROUGH);
	CHECK(!iomode_released(&m));
	CHECK_EQ(m.mode, IOMODE_PASSTHROUGH);
	CHECK(iomode_released(&m));
	CHECK_EQ(m.mode, IOMODE_NONE);
	CHECK_EQ(open_as(&m, false, false), IOMODE_CACHED);
	CHECK(iomode_released(&m));
}

static void iomode__what_completes_while_it_is_open_stays_cached(void)
{
	struct iomodes m = {0};
	CHECK_EQ(open_as(&m, false, false), IOMODE_CACHED);
	CHECK_EQ(open_as(&m, true, false), IOMODE_CACHED);
	CHECK(!iomode_released(&m));
	CHECK_EQ(open_as(&m, true, false), IOMODE_CACHED);
	CHECK(!iomode_released(&m));
	CHECK(iomode_released(&m));
	CHECK_EQ(open_as(&m, true, false), IOMODE_PASSTHROUGH);
}

static void iomode__who_cannot_follow_goes_elsewhere(void)
{
	struct iomodes m = {0};
	CHECK_EQ(open_as(&m, true, false), IOMODE_PASSTHROUGH);
	CHECK_EQ(open_as(&m, false, true), IOMODE_NONE);  /* a writer */
	CHECK_EQ(open_as(&m, false, false), IOMODE_NONE); /* other contents */
	CHECK_EQ(m.opens, 1);
	CHECK(iomode_released(&m));
	CHECK_EQ(open_as(&m, false, true), IOMODE_CACHED);
}

/* A reader between the writer's look-up and his open must not turn him away again. */
static void iomode__a_writer_on_his_way_is_let_in(void)
{
	struct iomodes m = {.expects_write = true};
	CHECK_EQ(open_as(&m, true, false), IOMODE_CACHED);
	CHECK(iomode_released(&m));
	CHECK_EQ(open_as(&m, true, false), IOMODE_CACHED);
	CHECK_EQ(open_as(&m, false, true), IOMODE_CACHED);
	CHECK(!iomode_released(&m));
	CHECK(iomode_released(&m));
	CHECK_EQ(open_as(&m, true, false), IOMODE_PASSTHROUGH);
}

int main(void)
{
	RUN(iomode__the_first_open_decides);
	RUN(iomode__what_completes_while_it_is_open_stays_cached);
	RUN(iomode__who_cannot_follow_goes_elsewhere);
	RUN(iomode__a_writer_on_his_way_is_let_in);
	return 0;
}
