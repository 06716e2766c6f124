/* test_scrape.c - what Prometheus is told, and by which door. */
#include "fs/scrape.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include "backends/util/banned.h"

static struct scratch scratch = {.dir = "/tmp/mastfs-test-XXXXXX"};

static void scrape__takes_a_file_or_loopback_and_nothing_else(void)
{
	static const char *const bad[] = {
		"0.0.0.0:9100",
		"127.0.0.1",
		"127.0.0.1:",
		"127.0.0.1:0",
		"127.0.0.1:-1",
		"127.0.0.1:65536",
		"127.0.0.1:80 ",
		"127.0.0.1:00000080",
		"127.0.0.2:80",
		"localhost:80",
		"[::]:80",
		"::1:80",
		"[::1]80",
		"file.prom",
		"",
	};
	struct scrape s;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CHECK_EQ(scrape_open(bad[i], &s), -EINVAL);
	CHECK_EQ(scrape_open(NULL, &s), 0);
	CHECK(!s.file && s.door < 0);
	CHECK_EQ(scrape_open("/nowhere/at/all", &s), -ENOENT);
}

static void answered(const char *request, const char *want)
{
	CLEANUP_BUF struct buf text, got;
	buf_init(&text, 64);
	buf_init(&got, 1024);
	buf_adds(&text, "figures\n");
	scrape_answer(request, &text, &got);
	CHECK(!strncmp(got.data, want, strlen(want)));
	const char *body = strstr(got.data, "\r\n\r\n");
	CHECK(body != NULL);
	CHECK_STR(body + 4, !strcmp(want, "HTTP/1.1 200") ? "figures\n" : "");
}

static void scrape__answers_one_question(void)
{
	answered("GET /metrics HTTP/1.1\r\nHost: x", "HTTP/1.1 200");
	answered("GET /metrics HTTP/1.0", "HTTP/1.1 200");
	answered("GET /metrics?x=y HTTP/1.1", "HTTP/1.1 200");
	answered("GET / HTTP/1.1", "HTTP/1.1 404");
	answered("GET /metricsx HTTP/1.1", "HTTP/1.1 404");
	answered("POST /metrics HTTP/1.1", "HTTP/1.1 405");
	answered("GET /metrics", "HTTP/1.1 400");
	answered("GET /metrics\r\nX: y HTTP/1.1", "HTTP/1.1 400");
	answered("", "HTTP/1.1 400");
	answered("\x16\x03\x01 HTTP/1", "HTTP/1.1 400");
}

static void write_text(struct scrape *s, const char *text)
{
	CLEANUP_BUF struct buf b;
	buf_init(&b, 64);
	buf_adds(&b, text);
	scrape_write(s, &b);
}

static void holds(const char *path, const char *want)
{
	char text[64] = "";
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK(read(fd, text, sizeof text - 1) >= 0);
	CHECK_STR(text, want);
}

/* Whoever has the old one open reads it to its end. */
static void scrape__replaces_the_file_in_one_step(void)
{
	char path[PATH_MAX], text[8] = "";
	struct stat st;
	struct scrape s;
	(void)snprintf(path, sizeof path, "%s/figures.prom", scratch.dir);
	CHECK_EQ(scrape_open(path, &s), 0);
	(void)umask(077);
	write_text(&s, "one\n");
	CLEANUP_CLOSE int old = open(path, O_RDONLY | O_CLOEXEC);
	write_text(&s, "two, and longer\n");
	holds(path, "two, and longer\n");
	CHECK_EQ(pread(old, text, sizeof text - 1, 0), 4);
	CHECK_STR(text, "one\n");
	CHECK_EQ(stat(path, &st), 0);
	CHECK_EQ(st.st_mode & 0777, 0644);

	/* One that cannot be written stays as it is. */
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(mkdir(path, 0700), 0);
	write_text(&s, "three\n");
	CHECK(s.failing);
	CHECK_EQ(rmdir(path), 0);
	write_text(&s, "four\n");
	CHECK(!s.failing);
	holds(path, "four\n");
	scrape_done(&s);
	CHECK(access(path, F_OK) < 0);
}

int main(void)
{
	CHECK(mkdtemp(scratch.dir));
	RUN(scrape__takes_a_file_or_loopback_and_nothing_else);
	RUN(scrape__answers_one_question);
	RUN(scrape__replaces_the_file_in_one_step);
	scratch_done(&scratch);
	return 0;
}
