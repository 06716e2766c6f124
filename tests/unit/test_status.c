/* test_status.c - one table of figures, written and read. */
#include <errno.h>
#include "backends/util/clock.h"
#include "fs/status_table.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

/* Each field gets a value that no other has. */
static void fill(struct status *s)
{
	uint64_t n = 1000;
	*s = (struct status){0};
	for (const struct status_row *row = status_rows; row->name; row++) {
		void *field = (char *)s + row->offset;
		if (row->kind == STATUS_TEXT)
			(void)snprintf(field, row->size, "\"%s\"", row->name);
		else if (row->kind == STATUS_FLAG)
			*(uint64_t *)field = 1;
		else if (row->kind == STATUS_TIME)
			*(uint64_t *)field = ++n * NS_PER_MS;
		else
			*(uint64_t *)field = ++n;
	}
}

static void status__is_read_as_it_was_written(void)
{
	struct status is, back;
	CLEANUP_BUF struct buf text;
	buf_init(&text, 1 << 16);
	fill(&is);
	status_write_json(&is, &text);
	CHECK_EQ(status_read_json(text.data, text.len, &back), 0);
	for (const struct status_row *row = status_rows; row->name; row++)
		CHECK(!memcmp((char *)&is + row->offset, (char *)&back + row->offset,
			      row->kind == STATUS_TEXT ? strlen(row->name) + 3
						       : row->size));
}

static void status__takes_what_another_version_tells(void)
{
	struct status s;
	const char some[] = "{\"pid\":7,\"something_new\":[1,{}]}";
	CHECK_EQ(status_read_json(some, sizeof some - 1, &s), 0);
	CHECK_EQ(s.pid, 7);
	CHECK_EQ(s.threads, 0);
}

static void status__refuses_what_is_none(void)
{
	static const char *const bad[] = {
		"",
		"{",
		"{\"pid\":\"x\"}",
		"{\"pid\":-1}",
		"{\"mountpoint\":7}",
		"{\"uptime_seconds\":-1}",
		"{\"uptime_seconds\":1e300}",
		"{\"uptime_seconds\":\"1\"}",
	};
	struct status s;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CHECK_EQ(status_read_json(bad[i], strlen(bad[i]), &s), -EBADMSG);
}

/* Whoever may mount answers for his own daemon. */
static void status__shows_no_control_character(void)
{
	static const char json[] =
		"{\"mountpoint\":\"/m\",\"source\":\"s\",\"problem\":\"a\\u001b[2J\","
		"\"state\":\"b\\u001b[2J\",\"log_level\":\"c\\u001b[2J\","
		"\"version\":\"d\\u001b[2J\",\"pid\":1}";
	struct status s;
	CLEANUP_BUF struct buf text;
	buf_init(&text, 65536);
	CHECK_EQ(status_read_json(json, strlen(json), &s), 0);
	status_write_text(&s, &text);
	CHECK(!strchr(text.data, '\x1b'));
	for (const char *c = "abcd"; *c; c++) {
		char want[] = {*c, '\\', 'x', '1', 'b', '[', '2', 'J', '\0'};
		CHECK(strstr(text.data, want));
	}
}

int main(void)
{
	RUN(status__is_read_as_it_was_written);
	RUN(status__takes_what_another_version_tells);
	RUN(status__refuses_what_is_none);
	RUN(status__shows_no_control_character);
	return 0;
}
