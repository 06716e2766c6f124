/* test_report.c - the report of an examination: what is printed, JSON, the worst, and
 * what it heard in the log. */
#include "backends/report.h"
#include <errno.h>
#include <stdlib.h>
#include "backends/json.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

/* What the report prints; the caller frees it. */
static char *printed(void (*fill)(struct report *r))
{
	char *text = NULL;
	size_t n = 0;
	struct report r;
	FILE *out = open_memstream(&text, &n);
	CHECK(out);
	report_init(&r, out);
	fill(&r);
	report_flush(&r);
	CHECK_EQ(r.error, 0);
	report_done(&r);
	(void)fclose(out);
	return text;
}

static void one_of_each(struct report *r)
{
	report_ok(r, "fuse", "%s", "there");
	report_remedy(r, "chmod 700 %s", report_quote(r, "/a b"));
	report_warning(r, "cache", "open");
	report_remedy(r, "mv %s %s", report_quote(r, "it's"), report_quote(r, ""));
	report_problem(r, "list", "%d", 403);
}

static void report__is_a_line_each_and_the_remedy_below(void)
{
	CLEANUP_FREE char *text = printed(one_of_each);
	CHECK_STR(text, "ok       fuse: there\n"
			"warning  cache: open\n"
			"         chmod 700 '/a b'\n"
			"problem  list: 403\n"
			"         mv 'it'\\''s' ''\n");
}

static void skip_some(struct report *r)
{
	report_skip(r, "a", "no server");
	r->prefix = "public-";
	report_skip(r, "b", "no server");
	report_skip(r, "c", "no key");
	report_ok(r, "d", "well");
	report_skip(r, "e", "no key");
}

static void report__says_once_why_things_were_skipped(void)
{
	CLEANUP_FREE char *text = printed(skip_some);
	CHECK_STR(text, "skipped  a, public-b: no server\n"
			"skipped  public-c: no key\n"
			"ok       public-d: well\n"
			"skipped  public-e: no key\n");
}

static void report__comes_to_the_worst(void)
{
	struct report r;
	report_init(&r, NULL);
	CHECK_EQ(report_worst(&r), REPORT_OK);
	report_ok(&r, "a", "well");
	report_skip(&r, "b", "no server");
	CHECK_EQ(report_worst(&r), REPORT_OK);
	report_warning(&r, "c", "so");
	CHECK_EQ(report_worst(&r), REPORT_WARNING);
	report_problem(&r, "d", "bad");
	report_ok(&r, "e", "well");
	CHECK_EQ(report_worst(&r), REPORT_PROBLEM);
	report_done(&r);
}

static void report__forgets_the_remedy_of_what_is_well(void)
{
	struct report r;
	report_init(&r, NULL);
	report_remedy(&r, "reboot");
	report_ok(&r, "a", "well");
	report_warning(&r, "b", "without a remedy");
	CHECK(!r.findings[0].remedy && !r.findings[1].remedy);
	report_done(&r);
}

static const char *text_of(const struct json *v, const char *name)
{
	const char *text = json_text(json_member(v, name), NULL);
	return text ? text : "(none)";
}

static void report__is_json_whatever_was_found(void)
{
	struct report r;
	struct json *root = NULL;
	CLEANUP_BUF struct buf out;
	buf_init(&out, 65536);
	report_init(&r, NULL);
	report_remedy(&r, "rm \"x\"");
	report_problem(&r, "key", "%s", "bell\a, quote\", \xff\xc3(");
	report_ok(&r, "name", "%s", "\xc3\xa9");
	CHECK_EQ(report_json(&r, &out), 0);
	CHECK_EQ(json_parse(out.data, out.len, &root), 0);
	CHECK_STR(text_of(root, "state"), "problem");
	const struct json *list = json_member(root, "checks");
	CHECK_EQ(json_count(list), 2);
	CHECK_STR(text_of(json_at(list, 0), "check"), "key");
	CHECK_STR(text_of(json_at(list, 0), "state"), "problem");
	CHECK_STR(text_of(json_at(list, 0), "found"), "bell\\x07, quote\", \\xff\\xc3(");
	CHECK_STR(text_of(json_at(list, 0), "remedy"), "rm \"x\"");
	CHECK_STR(text_of(json_at(list, 1), "found"), "\xc3\xa9");
	CHECK_STR(text_of(json_at(list, 1), "remedy"), "(none)");
	json_free(root);
	report_done(&r);
}

static void report__hears_the_log(void)
{
	struct report r;
	report_init(&r, NULL);
	CHECK_EQ(report_listen(&r), 0);
	CHECK_STR(report_heard(&r), "");
	log_warn("mount", "it is late: %d", 7);
	CHECK_STR(report_heard(&r), "it is late: 7");
	CHECK_STR(report_heard(&r), "");
	log_warn("mount", "before");
	log_error("cache", "first: no");
	log_error("cache", "second");
	CHECK_STR(report_heard(&r), "first: no");
	log_info("mount", "not worth it");
	CHECK_STR(report_heard(&r), "");
	report_done(&r);
}

int main(void)
{
	RUN(report__is_a_line_each_and_the_remedy_below);
	RUN(report__says_once_why_things_were_skipped);
	RUN(report__comes_to_the_worst);
	RUN(report__forgets_the_remedy_of_what_is_well);
	RUN(report__is_json_whatever_was_found);
	RUN(report__hears_the_log);
	return 0;
}
