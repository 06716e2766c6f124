/* date.c - see date.h.  Never asks the locale: months are read from a table. */
#include "backends/date.h"
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "backends/util/clock.h"
#include "backends/util/banned.h"

/* Reads exactly n digits. */
static bool digits(const char **s, int n, int *ret)
{
	int v = 0;
	for (; n; n--, ++*s) {
		if (**s < '0' || **s > '9')
			return false;
		v = v * 10 + (**s - '0');
	}
	*ret = v;
	return true;
}

static bool literal(const char **s, const char *what)
{
	size_t n = strlen(what);
	if (strncmp(*s, what, n))
		return false;
	*s += n;
	return true;
}

/* Reads ".ddd", up to nine digits that count, as nanoseconds; none is 0. */
static bool fraction(const char **s, int64_t *ret_ns)
{
	*ret_ns = 0;
	if (**s != '.')
		return true;
	int64_t unit = (int64_t)NS_PER_S / 10;
	const char *start = ++*s;
	for (; **s >= '0' && **s <= '9'; ++*s, unit /= 10)
		*ret_ns += unit * (**s - '0');
	return *s > start && *s - start <= 9;
}

static int to_ns(struct tm *tm, int64_t fraction_ns, int64_t *ret_ns)
{
	if (tm->tm_mon < 0 || tm->tm_mon > 11 || tm->tm_mday < 1 || tm->tm_mday > 31 ||
	    tm->tm_hour > 23 || tm->tm_min > 59 || tm->tm_sec > 60)
		return -EBADMSG;
	int64_t ns;
	if (__builtin_mul_overflow((int64_t)timegm(tm), (int64_t)NS_PER_S, &ns) ||
	    __builtin_add_overflow(ns, fraction_ns, &ns))
		return -EBADMSG;
	*ret_ns = ns;
	return 0;
}

static bool clock_part(const char **s, struct tm *tm)
{
	return digits(s, 2, &tm->tm_hour) && literal(s, ":") &&
	       digits(s, 2, &tm->tm_min) && literal(s, ":") && digits(s, 2, &tm->tm_sec);
}

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

int date_parse_http(const char *s, int64_t *ret_ns)
{
	struct tm tm = {0};
	if (strlen(s) != strlen("Mon, 23 Nov 2026 20:48:37 GMT") || s[3] != ',')
		return -EBADMSG;
	s += 5;
	if (!digits(&s, 2, &tm.tm_mday) || !literal(&s, " "))
		return -EBADMSG;
	tm.tm_mon = -1;
	for (int i = 0; i < 12; i++)
		if (!strncmp(s, months + (size_t)3 * (size_t)i, 3))
			tm.tm_mon = i;
	s += 3;
	if (!literal(&s, " ") || !digits(&s, 4, &tm.tm_year) || !literal(&s, " ") ||
	    !clock_part(&s, &tm) || strcmp(s, " GMT"))
		return -EBADMSG;
	tm.tm_year -= 1900;
	return to_ns(&tm, 0, ret_ns);
}

/* "Z", or how far the clock of the time before is ahead of it: "+01:00". */
static bool zone(const char *s, int64_t *ret_ns)
{
	int hours, minutes;
	*ret_ns = 0;
	if (!strcmp(s, "Z"))
		return true;
	bool behind = *s == '-';
	if (*s != '+' && !behind)
		return false;
	s++;
	if (!digits(&s, 2, &hours) || !literal(&s, ":") || !digits(&s, 2, &minutes) ||
	    *s || hours > 23 || minutes > 59)
		return false;
	*ret_ns = (int64_t)(hours * 3600 + minutes * 60) * (int64_t)NS_PER_S;
	if (behind)
		*ret_ns = -*ret_ns;
	return true;
}

int date_parse_iso(const char *s, int64_t *ret_ns)
{
	struct tm tm = {0};
	int64_t part_ns, zone_ns;
	if (!digits(&s, 4, &tm.tm_year) || !literal(&s, "-") ||
	    !digits(&s, 2, &tm.tm_mon) || !literal(&s, "-") ||
	    !digits(&s, 2, &tm.tm_mday) || !literal(&s, "T") || !clock_part(&s, &tm) ||
	    !fraction(&s, &part_ns))
		return -EBADMSG;
	if (!zone(s, &zone_ns))
		return -EBADMSG;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	return to_ns(&tm, part_ns - zone_ns, ret_ns);
}

int date_parse_seconds(const char *s, int64_t *ret_ns)
{
	bool negative = *s == '-';
	if (negative)
		s++;
	int64_t seconds = 0, part_ns, ns;
	const char *start = s;
	for (; *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(seconds, 10, &seconds) ||
		    __builtin_add_overflow(seconds, *s - '0', &seconds))
			return -EBADMSG;
	if (s == start || !fraction(&s, &part_ns) || *s)
		return -EBADMSG;
	if (__builtin_mul_overflow(seconds, (int64_t)NS_PER_S, &ns) ||
	    __builtin_add_overflow(ns, part_ns, &ns))
		return -EBADMSG;
	*ret_ns = negative ? -ns : ns;
	return 0;
}

/* The second that holds ns, rounded down before the epoch, too, and the rest. */
static struct tm split(int64_t ns, int64_t *ret_part_ns)
{
	int64_t seconds = ns / (int64_t)NS_PER_S, part_ns = ns % (int64_t)NS_PER_S;
	if (part_ns < 0) {
		part_ns += (int64_t)NS_PER_S;
		seconds--;
	}
	time_t t = (time_t)seconds;
	struct tm tm;
	(void)gmtime_r(&t, &tm);
	*ret_part_ns = part_ns;
	return tm;
}

void date_format_amz(int64_t ns, char ret[static DATE_AMZ_SIZE])
{
	int64_t part_ns;
	struct tm tm = split(ns, &part_ns);
	(void)strftime(ret, DATE_AMZ_SIZE, "%Y%m%dT%H%M%SZ", &tm);
}

void date_format_iso(int64_t ns, char ret[static DATE_ISO_SIZE])
{
	int64_t part_ns;
	struct tm tm = split(ns, &part_ns);
	size_t n = strftime(ret, DATE_ISO_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(ret + n, DATE_ISO_SIZE - n, ".%09uZ", (unsigned)part_ns);
}

void date_format_http(int64_t ns, char ret[static DATE_HTTP_SIZE])
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed",
					   "Thu", "Fri", "Sat"};
	int64_t part_ns;
	struct tm tm = split(ns, &part_ns);
	char rest[DATE_HTTP_SIZE / 2];
	(void)strftime(rest, sizeof rest, "%Y %H:%M:%S GMT", &tm);
	(void)snprintf(ret, DATE_HTTP_SIZE, "%s, %02u %.3s %s", days[tm.tm_wday],
		       (unsigned)tm.tm_mday % 32, months + (size_t)3 * (size_t)tm.tm_mon,
		       rest);
}

void date_format_seconds(int64_t ns, char ret[static DATE_ISO_SIZE])
{
	uint64_t n = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
	(void)snprintf(ret, DATE_ISO_SIZE, "%s%" PRIu64 ".%09" PRIu64, ns < 0 ? "-" : "",
		       n / NS_PER_S, n % NS_PER_S);
}
