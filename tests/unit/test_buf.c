/* test_buf.c - buffers keep their bounds, and an error sticks. */
#include <errno.h>
#include "backends/util/buf.h"
#include "tests/unit/check.h"

static void buf__empty_is_a_string(void)
{
	struct buf b;
	buf_init(&b, 10);
	CHECK_STR(b.data, "");
	char *s = buf_detach(&b);
	CHECK_STR(s, "");
	free(s);
	buf_done(&b);
}

static void buf__grows_to_its_maximum_and_no_further(void)
{
	struct buf b;
	buf_init(&b, 100);
	for (int i = 0; i < 100; i++)
		buf_addc(&b, 'x');
	CHECK_EQ(buf_error(&b), 0);
	CHECK_EQ(b.len, 100);
	buf_addc(&b, 'y');
	CHECK_EQ(buf_error(&b), -EMSGSIZE);
	CHECK_EQ(strlen(b.data), 100);
	buf_done(&b);
}

static void buf__error_sticks_until_reset(void)
{
	struct buf b;
	buf_init(&b, 4);
	buf_adds(&b, "12345");
	buf_adds(&b, "1");
	CHECK_EQ(buf_error(&b), -EMSGSIZE);
	CHECK_EQ(b.len, 0);
	CHECK(!buf_detach(&b));
	buf_reset(&b);
	buf_adds(&b, "1234");
	CHECK_EQ(buf_error(&b), 0);
	CHECK_STR(b.data, "1234");
	buf_done(&b);
}

static void buf__formats_and_counts(void)
{
	struct buf b;
	buf_init(&b, 1000);
	buf_adds(&b, "a=");
	buf_addf(&b, "%d,%s", 7, "xyz");
	buf_add(&b, "\0q", 2);
	buf_add(&b, NULL, 0);
	CHECK_EQ(b.len, 9);
	CHECK(!memcmp(b.data, "a=7,xyz\0q", 10));
	buf_reset(&b);
	buf_addf(&b, "%1001d", 1);
	CHECK_EQ(buf_error(&b), -EMSGSIZE);
	buf_done(&b);
}

static void buf__huge_maximum_does_not_wrap(void)
{
	struct buf b;
	buf_init(&b, SIZE_MAX);
	buf_adds(&b, "x");
	buf_add(&b, "", SIZE_MAX);
	CHECK_EQ(buf_error(&b), -EMSGSIZE);
	buf_done(&b);
}

static void buf__detached_is_usable_again(void)
{
	struct buf b;
	buf_init(&b, 10);
	buf_adds(&b, "one");
	char *one = buf_detach(&b);
	buf_adds(&b, "two");
	CHECK_STR(one, "one");
	CHECK_STR(b.data, "two");
	free(one);
	buf_done(&b);
	buf_done(&b);
}

int main(void)
{
	RUN(buf__empty_is_a_string);
	RUN(buf__grows_to_its_maximum_and_no_further);
	RUN(buf__error_sticks_until_reset);
	RUN(buf__formats_and_counts);
	RUN(buf__huge_maximum_does_not_wrap);
	RUN(buf__detached_is_usable_again);
	return 0;
}
