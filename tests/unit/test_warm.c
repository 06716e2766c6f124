/* test_warm.c - connections that are there before the first read wants one, and that
 * are used again: counted by a server that keeps them all open. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>
#include "backends/http.h"
#include "backends/util/cleanup.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

enum { SOCKETS = 16, WANTED = 4 };

#define ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

struct server {
	int listening;
	char url[64];
	pthread_t thread;
	atomic_bool stopping;
	_Atomic int connections, requests, heads;
};

/* A request of these tests is one packet.  False: the client hung up. */
static bool answer(struct server *s, int fd)
{
	char request[4096];
	ssize_t n = read(fd, request, sizeof request - 1);
	if (n <= 0)
		return false;
	request[n] = '\0';
	atomic_fetch_add(&s->requests, 1);
	if (!strncmp(request, "HEAD / ", 7)) {
		atomic_fetch_add(&s->heads, 1);
		CHECK(!strcasestr(request, "authorization"));
	}
	return send(fd, ANSWER, strlen(ANSWER), MSG_NOSIGNAL) == (ssize_t)strlen(ANSWER);
}

static void *serve(void *arg)
{
	struct server *s = arg;
	struct pollfd fds[SOCKETS] = {{.fd = s->listening, .events = POLLIN}};
	nfds_t n = 1;
	while (!atomic_load(&s->stopping)) {
		if (poll(fds, n, 10) <= 0)
			continue;
		if (fds[0].revents && n < SOCKETS) {
			int fd = accept(s->listening, NULL, NULL);
			fds[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
			atomic_fetch_add(&s->connections, 1);
		}
		for (nfds_t i = 1; i < n; i++)
			if (fds[i].revents && !answer(s, fds[i].fd)) {
				(void)close(fds[i].fd);
				fds[i] = fds[--n];
				break;
			}
	}
	for (nfds_t i = 1; i < n; i++)
		(void)close(fds[i].fd);
	return NULL;
}

static void server_start(struct server *s)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	*s = (struct server){.listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	CHECK(!bind(s->listening, (struct sockaddr *)&at, sizeof at));
	CHECK(!getsockname(s->listening, (struct sockaddr *)&at, &len));
	CHECK(!listen(s->listening, SOCKETS));
	(void)snprintf(s->url, sizeof s->url, "http://127.0.0.1:%d/bucket/key?x=1",
		       ntohs(at.sin_port));
	CHECK(!pthread_create(&s->thread, NULL, serve, s));
}

static void server_stop(struct server *s)
{
	atomic_store(&s->stopping, true);
	(void)pthread_join(s->thread, NULL);
	(void)close(s->listening);
}

static struct http *new_http(uint32_t connections)
{
	struct http *http;
	struct http_conf conf = {.connections = connections};
	CHECK_EQ(http_new(&conf, &http), 0);
	return http;
}

static void send_one(struct http *http, const struct server *s)
{
	CLEANUP_REPLY struct http_reply reply;
	struct http_header secret = {"Authorization", "secret"};
	struct http_request rq = {.method = "GET",
				  .url = s->url,
				  .headers = &secret,
				  .n_headers = 1,
				  .expect = HTTP_UNKNOWN};
	http_reply_init(&reply);
	CHECK_EQ(http_send(http, &rq, &reply, NULL), 0);
	CHECK_EQ(reply.status, 200);
}

static void warm__the_next_request_makes_no_connection(void)
{
	struct server s;
	server_start(&s);
	struct http *http = new_http(8);
	for (int i = 0; i < 5; i++)
		send_one(http, &s);
	CHECK_EQ(s.connections, 1);
	CHECK_EQ(s.requests, 5);
	http_free(http);
	server_stop(&s);
}

static void *send_thread(void *arg)
{
	void **both = arg;
	send_one(both[0], both[1]);
	return NULL;
}

static void warm__first_reads_find_their_connections_open(void)
{
	struct server s;
	server_start(&s);
	struct http *http = new_http(8);
	send_one(http, &s); /* as the mount's probe */
	for (int i = 0; i < WANTED; i++)
		CHECK_EQ(http_warm(http, WANTED, NULL), 0);
	CHECK_EQ(s.connections, WANTED);
	CHECK_EQ(s.heads, WANTED - 1);
	void *both[] = {http, &s};
	pthread_t threads[WANTED];
	for (int i = 0; i < WANTED; i++)
		CHECK(!pthread_create(&threads[i], NULL, send_thread, both));
	for (int i = 0; i < WANTED; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK_EQ(s.connections, WANTED);
	CHECK_EQ(s.requests, 2 * WANTED);
	http_free(http);
	server_stop(&s);
}

static void warm__nothing_is_asked_of_nobody(void)
{
	struct http *http = new_http(8);
	CHECK_EQ(http_warm(http, WANTED, NULL), 0); /* nobody has answered yet */
	http_free(http);
}

static void warm__P9_no_more_connections_than_the_limit(void)
{
	struct server s;
	server_start(&s);
	struct http *http = new_http(2);
	send_one(http, &s);
	for (int i = 0; i < WANTED; i++)
		CHECK_EQ(http_warm(http, WANTED, NULL), 0);
	CHECK_EQ(s.connections, 2);
	http_free(http);
	server_stop(&s);
}

static void warm__a_dead_server_is_no_news(void)
{
	struct server s;
	server_start(&s);
	struct http *http = new_http(8);
	send_one(http, &s);
	server_stop(&s);
	CHECK_EQ(http_warm(http, WANTED, NULL), -ECOMM);
	http_free(http);
}

int main(void)
{
	RUN(warm__the_next_request_makes_no_connection);
	RUN(warm__first_reads_find_their_connections_open);
	RUN(warm__nothing_is_asked_of_nobody);
	RUN(warm__P9_no_more_connections_than_the_limit);
	RUN(warm__a_dead_server_is_no_news);
	return 0;
}
