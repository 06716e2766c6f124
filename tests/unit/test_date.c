/* test_date.c - the times that stores write. */
#include "backends/date.h"
#include <errno.h>
#include "tests/unit/check.h"

static void date__reads_what_stores_write(void)
{
	int64_t ns;
	CHECK_EQ(date_parse_http("Fri, 24 May 2013 00:00:01 GMT", &ns), 0);
	CHECK_EQ(ns, 1369353601000000000);
	CHECK_EQ(date_parse_iso("2013-05-24T00:00:01.25Z", &ns), 0);
	CHECK_EQ(ns, 1369353601250000000);
	CHECK_EQ(date_parse_iso("2013-05-24T00:00:01Z", &ns), 0);
	CHECK_EQ(ns, 1369353601000000000);
	CHECK_EQ(date_parse_seconds("1369353601.000000009", &ns), 0);
	CHECK_EQ(ns, 1369353601000000009);
	CHECK_EQ(date_parse_seconds("0", &ns), 0);
	CHECK_EQ(ns, 0);
	CHECK_EQ(date_parse_seconds("-1.5", &ns), 0);
	CHECK_EQ(ns, -1500000000);
}

static void date__refuses_the_rest(void)
{
	static const char *const bad[] = {
		"",
		"x",
		"1.",
		".5",
		"1e9",
		" 1",
		"1 ",
		"99999999999999999999",
		"9300000000",
		"1.0000000001",
		"--1",
		"0x10",
		"2013-05-24T00:00:01",
		"2013-13-24T00:00:01Z",
		"2013-05-24 00:00:01Z",
		"2013-05-24T25:00:01Z",
		"Fri, 24 Mai 2013 00:00:01 GMT",
		"Fri, 24 May 2013 00:00:01 CET",
		"Friday, 24-May-13 00:00:01 GMT",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		int64_t ns;
		CHECK_EQ(date_parse_http(bad[i], &ns), -EBADMSG);
		CHECK_EQ(date_parse_iso(bad[i], &ns), -EBADMSG);
		CHECK_EQ(date_parse_seconds(bad[i], &ns), -EBADMSG);
	}
}

static void date__writes_amazons_form(void)
{
	char s[DATE_AMZ_SIZE];
	date_format_amz(1369353601999999999, s);
	CHECK_STR(s, "20130524T000001Z");
}

static void date__writes_what_it_reads(void)
{
	static const int64_t times[] = {0, 1, 1369353601000000009, -1, -1500000000};
	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
		char s[DATE_ISO_SIZE];
		int64_t ns;
		date_format_iso(times[i], s);
		CHECK_EQ(date_parse_iso(s, &ns), 0);
		CHECK_EQ(ns, times[i]);
		date_format_seconds(times[i], s);
		CHECK_EQ(date_parse_seconds(s, &ns), 0);
		CHECK_EQ(ns, times[i]);
	}
	char http[DATE_HTTP_SIZE];
	date_format_http(1369353601999999999, http);
	CHECK_STR(http, "Fri, 24 May 2013 00:00:01 GMT");
}

static void date__counts_zones(void)
{
	int64_t utc, zone;
	CHECK_EQ(date_parse_iso("2013-05-24T00:00:01Z", &utc), 0);
	CHECK_EQ(date_parse_iso("2013-05-24T01:30:01+01:30", &zone), 0);
	CHECK_EQ(zone, utc);
	CHECK_EQ(date_parse_iso("2013-05-23T22:00:01-02:00", &zone), 0);
	CHECK_EQ(zone, utc);
	CHECK_EQ(date_parse_iso("2013-05-24T00:00:01+0100", &zone), -EBADMSG);
	CHECK_EQ(date_parse_iso("2013-05-24T00:00:01+24:00", &zone), -EBADMSG);
}

int main(void)
{
	RUN(date__reads_what_stores_write);
	RUN(date__refuses_the_rest);
	RUN(date__writes_amazons_form);
	RUN(date__writes_what_it_reads);
	RUN(date__counts_zones);
	return 0;
}
