/* test_log.c - lines as text and as JSON, levels, and a log that is moved away. */
#include "backends/util/log.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backends/json.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static char text[65536];

/* The log goes to a file of its own from here on. */
static int begin(void)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	CHECK(fd >= 0);
	log_use_fd(fd);
	return fd;
}

/* What was written there; and back to stderr. */
static const char *end(int fd)
{
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	CHECK(n >= 0);
	text[n] = '\0';
	log_use_fd(STDERR_FILENO);
	(void)close(fd);
	return text;
}

static void log__escapes_what_steers_a_terminal(void)
{
	int fd = begin();
	log_warn("s3", "get %s: no", "a\nb\x1b[2J\x7f\xc2\x9b\xc3\xa9");
	CHECK_STR(end(fd), "mastfs: warning: s3: get a\\x0ab\\x1b[2J\\x7f\xc2\\x9b"
			   "\xc3\xa9: no\n");
}

static void log__tells_levels_by_their_names(void)
{
	CHECK_EQ(log_level_find("error"), LOG_LEVEL_ERROR);
	CHECK_EQ(log_level_find("debug"), LOG_LEVEL_DEBUG);
	CHECK(log_level_find("loud") < 0);
	CHECK(log_level_find("") < 0);
	CHECK_STR(log_level_name(LOG_LEVEL_WARN), "warn");
	log_set_level(LOG_LEVEL_WARN);
	CHECK_EQ(log_get_level(), LOG_LEVEL_WARN);
	int fd = begin();
	log_info("a", "no");
	log_debug("a", "no");
	log_warn("a", "yes");
	log_set_level(LOG_LEVEL_INFO);
	CHECK_STR(end(fd), "mastfs: warning: a: yes\n");
}

static void log__has_the_time_in_a_file_only(void)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	log_use_file(fd);
	log_info("mount", "here");
	const char *line = end(fd);
	/* 2026-11-26T20:15:07.123Z */
	CHECK_EQ(strspn(line, "0123456789-T:.Z"), 24);
	CHECK_EQ(line[10], 'T');
	CHECK_EQ(line[19], '.');
	CHECK_EQ(line[23], 'Z');
	CHECK_STR(line + 24, " mastfs: info: mount: here\n");
}

/* Of the one line that is there. */
static void check_json(const char *line, const char *want)
{
	struct json *v;
	size_t n = strlen(line), len;
	CHECK(n && line[n - 1] == '\n');
	CHECK(!memchr(line, '\n', n - 1));
	CHECK_EQ(json_parse(line, n, &v), 0);
	CHECK_STR(json_text(json_member(v, "level"), NULL), "warn");
	CHECK_STR(json_text(json_member(v, "area"), NULL), "s3");
	CHECK_STR(json_text(json_member(v, "message"), &len), want);
	CHECK_EQ(strlen(json_text(json_member(v, "time"), NULL)), 24);
	json_free(v);
}

static void log__is_json_whatever_a_key_holds(void)
{
	static const struct {
		const char *key, *want;
	} cases[] = {
		{"plain", "plain"},
		{"a\nb\x1b[2J\x7f\"\\", "a\nb\x1b[2J\x7f\"\\"},
		{"\xc2\x9b\xc3\xa9\xf0\x9f\x94\xad", "\xc2\x9b\xc3\xa9\xf0\x9f\x94\xad"},
		{"\xff\xc3(\xed\xa0\x80\xf0\x9f", "\\xff\\xc3(\\xed\\xa0\\x80\\xf0\\x9f"},
		{"\"},{\"level\":\"error", "\"},{\"level\":\"error"},
	};
	log_set_format(LOG_FORMAT_JSON);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int fd = begin();
		log_warn("s3", "%s", cases[i].key);
		check_json(end(fd), cases[i].want);
	}
	log_set_format(LOG_FORMAT_TEXT);
}

/* Every byte is six when it is shown, and still the line is one object. */
static void log__is_json_however_long_a_key_is(void)
{
	static char key[8000];
	memset(key, '\x1b', sizeof key - 1);
	log_set_format(LOG_FORMAT_JSON);
	int fd = begin();
	log_warn("s3", "%s", key);
	check_json(end(fd), key);
	log_set_format(LOG_FORMAT_TEXT);
}

static void log__goes_on_in_a_new_file(void)
{
	int old = memfd_create("old", MFD_CLOEXEC), used = dup(old);
	int new = memfd_create("new", MFD_CLOEXEC);
	CHECK(old >= 0 && used >= 0 && new >= 0);
	log_use_fd(used);
	log_info("a", "one");
	CHECK_EQ(log_swap_file(dup(new)), 0);
	log_info("a", "two");
	CHECK_EQ(fcntl(used, F_GETFD), FD_CLOEXEC);
	CHECK_STR(end(new), "mastfs: info: a: two\n");
	CHECK_STR(end(old), "mastfs: info: a: one\n");
	(void)close(used);
}

static void log__remembers_the_last_complaint(void)
{
	struct log_last last;
	int fd = begin();
	log_warn("upload", "%s is lost", "a\nb");
	log_info("mount", "all is well");
	(void)end(fd);
	log_get_last(&last);
	CHECK_STR(last.text, "upload: a\\x0ab is lost");
	CHECK(last.happened_ns > 0);
}

int main(void)
{
	RUN(log__escapes_what_steers_a_terminal);
	RUN(log__tells_levels_by_their_names);
	RUN(log__is_json_whatever_a_key_holds);
	RUN(log__is_json_however_long_a_key_is);
	RUN(log__goes_on_in_a_new_file);
	RUN(log__remembers_the_last_complaint);
	RUN(log__has_the_time_in_a_file_only); /* for good, so the last one */
	return 0;
}
