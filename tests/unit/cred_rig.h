/* cred_rig.h - what the tests of credentials share: an environment and a home of their
 * own, and a server of canned answers.
 */
#ifndef TESTS_UNIT_CRED_RIG_H
#define TESTS_UNIT_CRED_RIG_H
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/http.h"
#include "backends/util/log.h"
#include "tests/unit/canned.h"
#include "tests/unit/check.h"

#define JSON(body) "HTTP/1.1 200 OK\r\n\r\n" body

static struct http *http;
static char dir[] = "/tmp/mastfs-cred.XXXXXX";

static inline const char *path_of(const char *name)
{
	static char path[4][256];
	static int i;
	i = (i + 1) % 4;
	(void)snprintf(path[i], sizeof path[i], "%s/%s", dir, name);
	return path[i];
}

static inline void write_file(const char *name, const char *text)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
	CHECK(!close(fd));
}

static inline void set(const char *name, const char *value)
{
	CHECK(!(value ? setenv(name, value, 1) : unsetenv(name)));
}

/* Nothing of the tester's own environment counts. */
static inline void start_clean(void)
{
	CHECK(!clearenv());
	set("PATH", "/usr/bin:/bin");
	set("HOME", dir);
	write_file("credentials", "");
	write_file("config", "");
	set("AWS_SHARED_CREDENTIALS_FILE", path_of("credentials"));
	set("AWS_CONFIG_FILE", path_of("config"));
}

/* The server's URL, without the path that canned.h puts there. */
static inline const char *origin_of(struct server *s)
{
	char *path = strstr(s->url + strlen("http://"), "/");
	if (path)
		*path = '\0';
	return s->url;
}

static inline void rig_start(void)
{
	struct http_conf conf = {.connections = 2};
	log_set_level(LOG_LEVEL_ERROR);
	CHECK(mkdtemp(dir));
	CHECK_EQ(http_new(&conf, &http), 0);
}

static inline void rig_end(void)
{
	struct dirent *e;
	DIR *d = opendir(dir);
	CHECK(d);
	http_free(http);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			CHECK(!unlink(path_of(e->d_name)));
	CHECK(!closedir(d));
	CHECK(!rmdir(dir));
}
#endif
