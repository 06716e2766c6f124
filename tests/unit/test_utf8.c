/* test_utf8.c - bytes from outside where only UTF-8 may be. */
#include "backends/util/utf8.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static void utf8__knows_sequences(void)
{
	CHECK_EQ(utf8_length("a", 1), 1);
	CHECK_EQ(utf8_length("\xc3\xa9", 2), 2);
	CHECK_EQ(utf8_length("\xe2\x82\xac!", 4), 3);
	CHECK_EQ(utf8_length("\xf0\x9f\x94\xad", 4), 4);
	CHECK_EQ(utf8_length("\xf4\x8f\xbf\xbf", 4), 4);
	CHECK(utf8_is(""));
	CHECK(utf8_is("a \xc3\xa9 \xe2\x82\xac \xf0\x9f\x94\xad"));
}

static void utf8__refuses_what_is_none(void)
{
	CHECK_EQ(utf8_length("\x80", 1), 0);
	CHECK_EQ(utf8_length("\xff", 1), 0);
	CHECK_EQ(utf8_length("\xc0\xaf", 2), 0);	 /* overlong */
	CHECK_EQ(utf8_length("\xe0\x80\xaf", 3), 0);	 /* overlong */
	CHECK_EQ(utf8_length("\xed\xa0\x80", 3), 0);	 /* a surrogate */
	CHECK_EQ(utf8_length("\xf4\x90\x80\x80", 4), 0); /* beyond the last */
	CHECK_EQ(utf8_length("\xf0\x9f\x94\xad", 3), 0); /* cut */
	CHECK_EQ(utf8_length("\xc3", 1), 0);
	CHECK(!utf8_is("a\xc3"));
}

static void quoted(const char *s, size_t n, const char *want)
{
	CLEANUP_BUF struct buf b;
	buf_init(&b, 256);
	utf8_quote(&b, s, n);
	CHECK_STR(b.data, want);
}

static void utf8__quotes_whatever_comes(void)
{
	quoted("", 0, "\"\"");
	quoted("a/b.fits", 8, "\"a/b.fits\"");
	quoted("\xc3\xa9", 2, "\"\xc3\xa9\"");
	quoted("\"\\", 2, "\"\\\"\\\\\"");
	quoted("a\nb\x1b\x7f", 5, "\"a\\u000ab\\u001b\\u007f\"");
	quoted("a\0b", 3, "\"a\\u0000b\"");
	quoted("\xc2\x9b", 2, "\"\\u009b\"");
	quoted("x\xff\xc3", 3, "\"x\\\\xff\\\\xc3\"");
}

static void utf8__shows_nothing_that_steers_a_terminal(void)
{
	static const char raw[] = "a\n\x1b[2J\x7f\xc2\x9b\xc3\xa9\xff\\";
	CLEANUP_BUF struct buf b;
	buf_init(&b, 256);
	utf8_show(&b, raw, sizeof raw - 1);
	CHECK_STR(b.data, "a\\x0a\\x1b[2J\\x7f\\xc2\\x9b\xc3\xa9\\xff\\");
}

int main(void)
{
	RUN(utf8__knows_sequences);
	RUN(utf8__refuses_what_is_none);
	RUN(utf8__quotes_whatever_comes);
	RUN(utf8__shows_nothing_that_steers_a_terminal);
	return 0;
}
