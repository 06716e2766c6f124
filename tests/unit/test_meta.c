/* test_meta.c - the times in metadata that others wrote. */
#include "backends/meta.h"
#include <string.h>
#include "tests/unit/check.h"

struct pair {
	const char *name, *value;
};

static const char *get(const void *arg, const char *name)
{
	const struct pair *p = arg;
	return strcmp(p->name, name) ? NULL : p->value;
}

static void meta__reads_what_others_write(void)
{
	static const struct {
		struct pair pair;
		int64_t ns;
	} rows[] = {
		{{"mtime", "1369353601.25"}, 1369353601250000000}, /* rclone, s3fs */
		{{"mtime", "1369353601"}, 1369353601000000000},	   /* geesefs */
		{{"mtime", "2013-05-24T00:00:01.25Z"}, 1369353601250000000}, /* rclone */
		{{"mtime", "2013-05-24T02:00:01+02:00"}, 1369353601000000000},
		{{"file-mtime", "1369353601250000000ns"}, 1369353601250000000},
		{{"file-mtime", "1369353601250"}, 1369353601250000000},
		{{"goog-reserved-file-mtime", "1369353601"}, 1369353601000000000},
		{{"gcsfuse_mtime", "2013-05-24T00:00:01Z"}, 1369353601000000000},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int64_t ns = 0;
		CHECK(meta_mtime(get, &rows[i].pair, &ns));
		CHECK_EQ(ns, rows[i].ns);
	}
}

static void meta__what_is_no_time_is_none(void)
{
	static const struct pair rows[] = {
		{"mtime", ""},
		{"mtime", "yesterday"},
		{"file-mtime", "12s"},
		{"file-mtime", "ns"},
		{"file-mtime", "99999999999999999999ns"},
		{"file-mtime", "9223372036854775807"},
		{"mode", "33188"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int64_t ns;
		CHECK(!meta_mtime(get, &rows[i], &ns));
	}
}

static void meta__others_are_told_a_time_in_their_form(void)
{
	static const struct {
		const char *name, *want;
	} rows[] = {
		{"file-mtime", "1369353601250000000ns"},
		{"goog-reserved-file-mtime", "1369353601"},
		{"gcsfuse_mtime", "2013-05-24T00:00:01.250000000Z"},
	};
	char text[DATE_ISO_SIZE];
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		CHECK(meta_format_mtime(rows[i].name, 1369353601250000000, text));
		CHECK_STR(text, rows[i].want);
	}
	CHECK(meta_format_mtime("goog-reserved-file-mtime", -1, text));
	CHECK_STR(text, "-1");
	CHECK(!meta_format_mtime("mtime", 1, text));
	CHECK(!meta_format_mtime("mode", 1, text));
}

int main(void)
{
	RUN(meta__reads_what_others_write);
	RUN(meta__what_is_no_time_is_none);
	RUN(meta__others_are_told_a_time_in_their_form);
	return 0;
}
