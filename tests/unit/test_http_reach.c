/* test_http_reach.c - which proxy, and at which step the way to a server ends. */
#include "backends/http_reach.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static void set(const char *name, const char *value)
{
	CHECK(!(value ? setenv(name, value, 1) : unsetenv(name)));
}

static void no_variables(void)
{
	static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY",
					    "all_proxy",  "ALL_PROXY",	 "no_proxy",
					    "NO_PROXY",	  "HTTP_PROXY"};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		set(names[i], NULL);
}

static const char *proxy(const char *url)
{
	const char *name = http_proxy_variable(url);
	return name ? name : "none";
}

static void proxy__goes_by_the_scheme(void)
{
	no_variables();
	CHECK_STR(proxy("http://h/"), "none");
	set("HTTP_PROXY", "http://p");
	CHECK_STR(proxy("http://h/"), "none");
	set("http_proxy", "http://p");
	CHECK_STR(proxy("http://h/"), "http_proxy");
	CHECK_STR(proxy("https://h/"), "none");
	set("HTTPS_PROXY", "http://p");
	CHECK_STR(proxy("https://h/"), "HTTPS_PROXY");
	set("HTTPS_PROXY", "");
	set("ALL_PROXY", "http://p");
	CHECK_STR(proxy("https://h/"), "ALL_PROXY");
}

static void proxy__spares_the_listed_hosts(void)
{
	no_variables();
	set("http_proxy", "http://p");
	set("no_proxy", "a.org, .b.org,127.0.0.1");
	CHECK_STR(proxy("http://a.org:80/"), "none");
	CHECK_STR(proxy("http://x.a.org/"), "none");
	CHECK_STR(proxy("http://xa.org/"), "http_proxy");
	CHECK_STR(proxy("http://x.B.org/"), "none");
	CHECK_STR(proxy("http://127.0.0.1:9000/"), "none");
	CHECK_STR(proxy("http://127.0.0.11/"), "http_proxy");
	set("no_proxy", "*");
	CHECK_STR(proxy("http://xa.org/"), "none");
	no_variables();
}

/* A port of this machine, where somebody listens (and never answers) or nobody. */
static int make_port(bool listens, char url[static 64])
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t n = sizeof a;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof a));
	CHECK(!getsockname(fd, (struct sockaddr *)&a, &n));
	CHECK(!listens || !listen(fd, 4));
	(void)snprintf(url, 64, "//127.0.0.1:%u/", (unsigned)ntohs(a.sin_port));
	return fd;
}

static struct http_reach reach(const char *scheme, const char *rest, uint64_t ms)
{
	char url[128];
	struct http_reach way;
	struct call call = {.deadline_ns = clock_now_ns() + ms * NS_PER_MS};
	(void)snprintf(url, sizeof url, "%s:%s", scheme, rest);
	CHECK_EQ(http_reach(url, NULL, &call, &way), 0);
	return way;
}

static void reach__tells_the_step_that_failed(void)
{
	char rest[64];
	no_variables();
	CLEANUP_CLOSE int deaf = make_port(false, rest);
	struct http_reach way = reach("http", rest, 5000);
	CHECK_EQ(way.at, HTTP_STEP_CONNECT);
	CHECK_EQ(way.fault, HTTP_FAULT_OTHER);
	CLEANUP_CLOSE int mute = make_port(true, rest);
	way = reach("http", rest, 2000);
	CHECK_EQ(way.at, HTTP_STEP_ANSWER);
	CHECK_EQ(way.fault, HTTP_FAULT_LATE);
	way = reach("https", rest, 2000);
	CHECK_EQ(way.at, HTTP_STEP_TLS);
	CHECK_EQ(way.fault, HTTP_FAULT_LATE);
	CHECK_STR(way.address, "127.0.0.1");
}

static void reach__ends_when_cancelled(void)
{
	char rest[64], url[128];
	atomic_bool cancelled = true;
	struct http_reach way;
	struct call call = {.deadline_ns = CLOCK_NEVER, .cancelled = &cancelled};
	CLEANUP_CLOSE int mute = make_port(true, rest);
	(void)snprintf(url, sizeof url, "http:%s", rest);
	CHECK_EQ(http_reach(url, NULL, &call, &way), -EINTR);
}

int main(void)
{
	RUN(proxy__goes_by_the_scheme);
	RUN(proxy__spares_the_listed_hosts);
	RUN(reach__tells_the_step_that_failed);
	RUN(reach__ends_when_cancelled);
	return 0;
}
