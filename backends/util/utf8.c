/* utf8.c - see utf8.h. */
#include "backends/util/utf8.h"
#include <stdint.h>
#include <string.h>
#include "backends/util/banned.h"

size_t utf8_length(const char *s, size_t n)
{
	static const struct {
		unsigned char mask, lead;
		uint32_t least;
	} forms[] = {{0x80, 0x00, 0},
		     {0xe0, 0xc0, 0x80},
		     {0xf0, 0xe0, 0x800},
		     {0xf8, 0xf0, 0x10000}};
	const unsigned char *p = (const unsigned char *)s;
	for (size_t more = 0; more < 4 && more < n; more++) {
		if ((*p & forms[more].mask) != forms[more].lead)
			continue;
		uint32_t point = *p & (unsigned char)~forms[more].mask;
		for (size_t i = 1; i <= more; i++) {
			if ((p[i] & 0xc0) != 0x80)
				return 0;
			point = point << 6 | (p[i] & 0x3f);
		}
		bool surrogate = point >= 0xd800 && point < 0xe000;
		bool good = point >= forms[more].least && point <= 0x10ffff && !surrogate;
		return good ? more + 1 : 0;
	}
	return 0;
}

bool utf8_is(const char *s)
{
	for (size_t left = strlen(s); left;) {
		size_t n = utf8_length(s, left);
		if (!n)
			return false;
		s += n;
		left -= n;
	}
	return true;
}

/* Also those of two bytes (C1): a terminal obeys them as well. */
static bool is_control(const char *s, size_t n)
{
	unsigned char c = (unsigned char)*s;
	return (n == 1 && (c < 0x20 || c == 0x7f)) ||
	       (n == 2 && c == 0xc2 && (unsigned char)s[1] < 0xa0);
}

static void quote_one(struct buf *out, const char *s, size_t n)
{
	unsigned char c = (unsigned char)*s;
	if (!n)
		buf_addf(out, "\\\\x%02x", c);
	else if (is_control(s, n))
		buf_addf(out, "\\u%04x", n == 1 ? c : (unsigned char)s[1]);
	else if (c == '"' || c == '\\')
		buf_addf(out, "\\%c", c);
	else
		buf_add(out, s, n);
}

void utf8_quote(struct buf *out, const char *s, size_t n)
{
	buf_addc(out, '"');
	while (n) {
		size_t len = utf8_length(s, n);
		quote_one(out, s, len);
		s += len ? len : 1;
		n -= len ? len : 1;
	}
	buf_addc(out, '"');
}

void utf8_show(struct buf *out, const char *s, size_t n)
{
	while (n) {
		size_t len = utf8_length(s, n), step = len ? len : 1;
		if (len && !is_control(s, len)) {
			buf_add(out, s, len);
		} else {
			for (size_t i = 0; i < step; i++)
				buf_addf(out, "\\x%02x", (unsigned char)s[i]);
		}
		s += step;
		n -= step;
	}
}
