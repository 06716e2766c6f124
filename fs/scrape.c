/* scrape.c - see scrape.h. */
#include "fs/scrape.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/io.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum { QUEUE = 8 };

static int refuse(const char *metrics, const char *why, int r)
{
	log_error("config", "metrics %s: %s", metrics, why);
	return r;
}

/* A decimal number from 1 to 65535 and nothing else. */
static int parse_port(const char *s, uint16_t *ret)
{
	unsigned long n = 0;
	size_t len = strspn(s, "0123456789");
	if (len && len <= 5 && !s[len])
		n = strtoul(s, NULL, 10);
	if (!n || n > UINT16_MAX)
		return -EINVAL;
	*ret = (uint16_t)n;
	return 0;
}

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static int parse_address(const char *s, union address *ret, socklen_t *ret_len)
{
	uint16_t port;
	memset(ret, 0, sizeof *ret);
	if (!strncmp(s, "127.0.0.1:", 10) && parse_port(s + 10, &port) == 0) {
		ret->v4 = (struct sockaddr_in){.sin_family = AF_INET,
					       .sin_port = htons(port)};
		ret->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		*ret_len = sizeof ret->v4;
		return 0;
	}
	if (!strncmp(s, "[::1]:", 6) && parse_port(s + 6, &port) == 0) {
		ret->v6 = (struct sockaddr_in6){.sin6_family = AF_INET6,
						.sin6_port = htons(port),
						.sin6_addr = IN6ADDR_LOOPBACK_INIT};
		*ret_len = sizeof ret->v6;
		return 0;
	}
	return -EINVAL;
}

static int listen_on(const union address *a, socklen_t len, int *ret)
{
	const int one = 1;
	CLEANUP_CLOSE int fd =
		socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* A daemon that follows another at once finds its connections in TIME_WAIT. */
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
	    bind(fd, &a->any, len) < 0 || listen(fd, QUEUE) < 0)
		return -errno;
	*ret = fd;
	fd = -1;
	return 0;
}

static int check_directory(const char *path)
{
	CLEANUP_FREE char *dir = strdup(path);
	if (!dir)
		return -ENOMEM;
	*strrchr(dir, '/') = '\0';
	return access(*dir ? dir : "/", W_OK | X_OK) < 0 ? -errno : 0;
}

int scrape_open(const char *metrics, struct scrape *ret)
{
	union address address;
	socklen_t len;
	*ret = (struct scrape){.door = -1};
	if (!metrics)
		return 0;
	int r;
	if (metrics[0] == '/') {
		r = check_directory(metrics);
		ret->file = metrics;
	} else if (parse_address(metrics, &address, &len) < 0) {
		return refuse(
			metrics,
			"neither an absolute path nor 127.0.0.1:PORT nor [::1]:PORT",
			-EINVAL);
	} else {
		r = listen_on(&address, len, &ret->door);
	}
	return r < 0 ? refuse(metrics, strerror(-r), r) : 0;
}

static int write_beside(const char *temp, const char *path, const struct buf *text)
{
	CLEANUP_CLOSE int fd =
		open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	/* Whatever the umask is: the collector is another user. */
	int r = fchmod(fd, 0644) < 0 ? -errno
				     : io_write_all(fd, text->data, text->len, 0);
	if (r == 0 && rename(temp, path) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(temp);
	return r;
}

void scrape_write(struct scrape *s, const struct buf *text)
{
	CLEANUP_BUF struct buf temp;
	buf_init(&temp, PATH_MAX);
	if (!s->file)
		return;
	/* The collector reads what ends in .prom. */
	buf_addf(&temp, "%s.%d", s->file, (int)getpid());
	int r = buf_error(text) ? buf_error(text) : buf_error(&temp);
	if (r == 0)
		r = write_beside(temp.data, s->file, text);
	if (r < 0 && !s->failing)
		log_warn("mount", "metrics %s: %s", s->file, strerror(-r));
	s->failing = r < 0;
	s->written |= r == 0;
}

void scrape_done(struct scrape *s)
{
	if (s->written)
		(void)unlink(s->file);
	s->written = false;
	cleanup_close_(&s->door);
	s->door = -1;
}

static void reply(struct buf *ret, const char *status, const char *type, const char *text,
		  size_t n)
{
	buf_addf(ret,
		 "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
		 "Connection: close\r\n\r\n",
		 status, type, n);
	buf_add(ret, text, n);
}

static bool is_path(const char *request, const char *path)
{
	size_t n = strlen(path);
	return !strncmp(request, path, n) && (request[n] == ' ' || request[n] == '?');
}

void scrape_answer(const char *request, const struct buf *text, struct buf *ret)
{
	const char *line = request + strcspn(request, "\r\n");
	const char *version = strstr(request, " HTTP/1.");
	if (!version || version > line)
		reply(ret, "400 Bad Request", "text/plain", "", 0);
	else if (strncmp(request, "GET ", 4) != 0)
		reply(ret, "405 Method Not Allowed", "text/plain", "", 0);
	else if (!is_path(request + 4, "/metrics"))
		reply(ret, "404 Not Found", "text/plain", "", 0);
	else
		reply(ret, "200 OK", "text/plain; version=0.0.4; charset=utf-8",
		      text->data, text->len);
}
