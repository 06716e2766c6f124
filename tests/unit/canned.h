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
	const char *answer;
	size_t answer_len;
	int accepts;	     /* connections to take */
	useconds_t delay_us; /* before the answer */
	char seen[65536];    /* the last request: head and what came with it */
	size_t seen_len;
	size_t body_wanted;
};

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
		if (end && s->seen_len - (size_t)(end + 4 - s->seen) >= s->body_wanted)
			return;
	}
}

static void *serve(void *arg)
{
	struct server *s = arg;
	for (int i = 0; i < s->accepts; i++) {
		int fd = accept(s->listening, NULL, NULL);
		if (fd < 0)
			return NULL;
		read_request(s, fd);
		if (s->delay_us)
			(void)usleep(s->delay_us);
		for (size_t done = 0; done < s->answer_len;) {
			ssize_t n = send(fd, s->answer + done, s->answer_len - done,
					 MSG_NOSIGNAL);
			if (n <= 0)
				break;
			done += (size_t)n;
		}
		(void)close(fd);
	}
	return NULL;
}

static void server_start(struct server *s, const char *answer)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	s->answer = answer;
	if (!s->answer_len)
		s->answer_len = strlen(answer);
	if (!s->accepts)
		s->accepts = 1;
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
