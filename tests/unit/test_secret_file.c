/* test_secret_file.c - secrets that an engine puts into files. */
#include "backends/secret_file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/util/log.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static char path[] = "/tmp/mastfs-test-XXXXXX";
static int log_fd;

/* Load with the file holding these bytes; what was logged is kept. */
static int load(const char *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	CHECK(fd >= 0 && write(fd, bytes, n) == (ssize_t)n && !close(fd));
	CHECK(!unsetenv("AWS_SECRET_ACCESS_KEY"));
	CHECK(!setenv("AWS_SECRET_ACCESS_KEY_FILE", path, 1));
	CHECK(!ftruncate(log_fd, 0) && lseek(log_fd, 0, SEEK_SET) == 0);
	return secret_files_load();
}

static bool logged(const char *words)
{
	char text[2048];
	ssize_t n = pread(log_fd, text, sizeof text - 1, 0);
	CHECK(n >= 0);
	text[n] = '\0';
	const char *newline = strchr(text, '\n');
	return strstr(text, words) && newline && !newline[1];
}

static void secret_file__is_the_variable(void)
{
	CHECK_EQ(load("abc/+=", 6), 0);
	CHECK_STR(getenv("AWS_SECRET_ACCESS_KEY"), "abc/+=");
	CHECK_EQ(load("abc\r\n", 5), 0);
	CHECK_STR(getenv("AWS_SECRET_ACCESS_KEY"), "abc");
	/* Once read it is no second source. */
	CHECK(!getenv("AWS_SECRET_ACCESS_KEY_FILE"));
	CHECK_EQ(secret_files_load(), 0);
}

static void secret_file__every_store_has_its_names(void)
{
	static const char *const names[] = {"AWS_ACCESS_KEY_ID",
					    "AWS_SESSION_TOKEN",
					    "AZURE_STORAGE_CONNECTION_STRING",
					    "AZURE_STORAGE_KEY",
					    "AZURE_STORAGE_SAS_TOKEN",
					    "AZURE_CLIENT_SECRET"};
	CHECK_EQ(load("x\n", 2), 0);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		char file[64];
		(void)snprintf(file, sizeof file, "%s_FILE", names[i]);
		CHECK(!setenv(file, path, 1));
		CHECK_EQ(secret_files_load(), 0);
		CHECK_STR(getenv(names[i]), "x");
		CHECK(!unsetenv(names[i]));
	}
}

static void secret_file__bad_ones_are_one_line_without_the_secret(void)
{
	static const struct {
		const char *bytes, *words;
		size_t n;
	} bad[] = {
		{"", "the file is empty", 0},
		{"\n", "the file is empty", 1},
		{"canary\nsecond\n", "one line without blanks", 14},
		{"canary x", "one line without blanks", 8},
		{"canary\0x", "one line without blanks", 8},
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		CHECK_EQ(load(bad[i].bytes, bad[i].n), -EINVAL);
		CHECK(logged(bad[i].words) && logged("AWS_SECRET_ACCESS_KEY_FILE"));
		CHECK(!logged("canary"));
		CHECK(!getenv("AWS_SECRET_ACCESS_KEY"));
	}
}

static void secret_file__too_much_is_refused(void)
{
	static char much[70000];
	memset(much, 'x', sizeof much);
	CHECK_EQ(load(much, sizeof much), -EINVAL);
	CHECK(logged("too long"));
}

static void secret_file__missing_and_directory(void)
{
	CHECK_EQ(load("x", 1), 0);
	CHECK(!unsetenv("AWS_SECRET_ACCESS_KEY"));
	CHECK(!setenv("AWS_SECRET_ACCESS_KEY_FILE", "/nowhere/secret", 1));
	CHECK_EQ(secret_files_load(), -ENOENT);
	CHECK(logged("AWS_SECRET_ACCESS_KEY_FILE=/nowhere/secret: No such file"));
	CHECK(!setenv("AWS_SECRET_ACCESS_KEY_FILE", "/tmp", 1));
	CHECK_EQ(secret_files_load(), -EISDIR);
	CHECK(!unsetenv("AWS_SECRET_ACCESS_KEY_FILE"));
}

static void secret_file__both_are_refused(void)
{
	CHECK_EQ(load("x", 1), 0);
	CHECK(!setenv("AWS_SECRET_ACCESS_KEY_FILE", path, 1));
	CHECK_EQ(secret_files_load(), -EINVAL);
	CHECK(logged("AWS_SECRET_ACCESS_KEY and AWS_SECRET_ACCESS_KEY_FILE are both"));
	/* An empty variable is none: compose files pass on what is not set so. */
	CHECK(!setenv("AWS_SECRET_ACCESS_KEY", "", 1));
	CHECK_EQ(secret_files_load(), 0);
	CHECK_STR(getenv("AWS_SECRET_ACCESS_KEY"), "x");
}

int main(void)
{
	int fd = mkstemp(path);
	CHECK(fd >= 0 && !close(fd));
	log_fd = memfd_create("log", MFD_CLOEXEC);
	log_use_fd(log_fd);
	RUN(secret_file__is_the_variable);
	RUN(secret_file__every_store_has_its_names);
	RUN(secret_file__bad_ones_are_one_line_without_the_secret);
	RUN(secret_file__too_much_is_refused);
	RUN(secret_file__missing_and_directory);
	RUN(secret_file__both_are_refused);
	return unlink(path);
}
