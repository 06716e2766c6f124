/* canned.h - an HTTP server in a thread that sends back what the test wrote down,
 * byte for byte, to whatever it is asked.
 */
#ifndef TESTS_UNIT_CANNED_H
#define TESTS_UNIT_CANNED_H
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/unit/check.h"

struct server {
	int listening;
	char url[64];
	pthread_t thread;
	const char *answers[8]; /* one a connection, up to the first NULL */
	useconds_t delay_us;	/* before the answer */
	char seen[65536];	/* the last request: head and what came with it */
	size_t seen_len;
	int served;
	const char *wanted; /* NULL, or what is counted: ... */
	int met;	    /* ... requests in which it is */
};

/* How long the body is that the head announces. */
static size_t body_of(const char *head)
{
	const char *length = strstr(head, "Content-Length: ");
	return length ? strtoul(length + 16, NULL, 10) : 0;
}

static void read_request(struct server *s, int fd)
{
	s->seen_len = 0;
	for (;;) {
		ssize_t n =
			read(fd, s->seen + s->seen_len, sizeof s->seen - 1 - s->seen_len);
		if (n <= 0)
			return;
		s->seen_len += (size_t)n;
		s->seen[s->seen_len] = '\0';
		const char *end = strstr(s->seen, "\r\n\r\n");
		if (end && s->seen_len - (size_t)(end + 4 - s->seen) >= body_of(s->seen))
			return;
	}
}

static void *serve(void *arg)
{
	struct server *s = arg;
	for (int i = 0; i < 8 && s->answers[i]; i++) {
		int fd = accept(s->listening, NULL, NULL);
		if (fd < 0)
			return NULL;
		read_request(s, fd);
		s->served++;
		s->met += s->wanted && strstr(s->seen, s->wanted);
		if (s->delay_us)
			(void)usleep(s->delay_us);
		size_t len = strlen(s->answers[i]);
		for (size_t done = 0; done < len;) {
			ssize_t n =
				send(fd, s->answers[i] + done, len - done, MSG_NOSIGNAL);
			if (n <= 0)
				break;
			done += (size_t)n;
		}
		(void)close(fd);
	}
	return NULL;
}

/* answer NULL: the answers are set already. */
static void server_start(struct server *s, const char *answer)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	if (answer)
		s->answers[0] = answer;
	s->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(s->listening >= 0);
	CHECK(!bind(s->listening, (struct sockaddr *)&at, sizeof at));
	CHECK(!getsockname(s->listening, (struct sockaddr *)&at, &len));
	CHECK(!listen(s->listening, 8));
	(void)snprintf(s->url, sizeof s->url, "http://127.0.0.1:%d/b/k",
		       ntohs(at.sin_port));
	CHECK(!pthread_create(&s->thread, NULL, serve, s));
}

static void server_stop(struct server *s)
{
	(void)shutdown(s->listening, SHUT_RDWR);
	(void)pthread_join(s->thread, NULL);
	(void)close(s->listening);
}
#endif
