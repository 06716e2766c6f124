/* shaper.c - a link of known delay and speed in front of a local HTTP/1.1 server.
 *
 *   shaper [-d MS] [-r MB/S] [-t MB/S] [-l LOG] LISTEN_PORT SERVER_PORT
 *
 * Every answer's first byte is held back for -d milliseconds from the end of its request;
 * -r caps each connection and -t all of them together, each direction by itself.  One
 * line a request goes to LOG.  Two threads a connection, one a direction: the one that
 * passes requests on tells the other when the answer may start.
 *
 * Both ends are on 127.0.0.1.  Pipelined requests are not understood.  LISTEN_PORT 0
 * takes a free port.  Prints "shaper: listening on 127.0.0.1:PORT" when it is ready.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 128 << 10, STACK = 256 << 10 };
#define CREDIT 0.01 /* seconds */

/* When the next byte may pass; a rate of 0 is no limit. */
struct bucket {
	double rate; /* bytes a second; set once */
	pthread_mutex_t lock;
	double free_at; /* guarded by lock; seconds of the monotonic clock */
};

struct link {
	int client, server; /* set once */
	struct bucket up, down;
	_Atomic double answer_at; /* 0: the answer has begun */
	atomic_int users;
};

struct pump {
	struct link *link;
	bool up;
};

static struct {
	double delay, conn_rate; /* seconds, bytes a second */
	int server_port;
	FILE *log;
} conf;
static struct bucket all_up = {.lock = PTHREAD_MUTEX_INITIALIZER};
static struct bucket all_down = {.lock = PTHREAD_MUTEX_INITIALIZER};

static double now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void sleep_until(double t)
{
	struct timespec ts = {.tv_sec = (time_t)t};

	ts.tv_nsec = (long)((t - (double)ts.tv_sec) * 1e9);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

/* Take n bytes; returns when the last of them has passed the bucket. */
static double bucket_take(struct bucket *b, size_t n)
{
	double t = now();

	if (b->rate <= 0)
		return t;
	(void)pthread_mutex_lock(&b->lock);
	/* A nap that was too long may be made up for, an idle link not. */
	if (b->free_at < t - CREDIT)
		b->free_at = t - CREDIT;
	b->free_at += (double)n / b->rate;
	t = b->free_at;
	(void)pthread_mutex_unlock(&b->lock);
	return t;
}

static void pace(struct bucket *mine, struct bucket *all, size_t n)
{
	double a = bucket_take(mine, n), b = bucket_take(all, n);
	double t = a > b ? a : b;

	/* Shorter naps than this cost more than they are worth. */
	if (t > now() + 0.0005)
		sleep_until(t);
}

static bool send_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t w = send(fd, p, n, MSG_NOSIGNAL);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return false;
		p += w;
		n -= (size_t)w;
	}
	return true;
}

/* The request line and the range, if this piece starts a request. */
static void log_request(const char *p, size_t n)
{
	const char *eol = memmem(p, n, "\r\n", 2), *range, *end = NULL;

	if (!conf.log || !eol || !memmem(p, (size_t)(eol - p), " HTTP/1.", 8))
		return;
	range = memmem(p, n, "\r\nRange: ", 9);
	if (range)
		end = memmem(range + 9, n - (size_t)(range + 9 - p), "\r\n", 2);
	flockfile(conf.log);
	(void)fprintf(conf.log, "%.6f %.*s %.*s\n", now(), (int)(eol - p), p,
		      end ? (int)(end - range - 9) : 1, end ? range + 9 : "-");
	(void)fflush(conf.log);
	funlockfile(conf.log);
}

static void link_unref(struct link *l)
{
	if (atomic_fetch_sub(&l->users, 1) != 1)
		return;
	(void)close(l->client);
	(void)close(l->server);
	free(l);
}

static bool pass(struct pump *p, const char *buf, size_t n)
{
	struct link *l = p->link;

	if (p->up) {
		log_request(buf, n);
		pace(&l->up, &all_up, n);
		atomic_store(&l->answer_at, now() + conf.delay);
		return send_all(l->server, buf, n);
	}
	double at = atomic_exchange(&l->answer_at, 0);
	if (at > now())
		sleep_until(at);
	pace(&l->down, &all_down, n);
	return send_all(l->client, buf, n);
}

static void *pump_run(void *arg)
{
	struct pump *p = arg;
	int from = p->up ? p->link->client : p->link->server;
	char *buf = malloc(PIECE);

	while (buf) {
		ssize_t n = recv(from, buf, PIECE, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || !pass(p, buf, (size_t)n))
			break;
	}
	/* Wakes the other direction. */
	(void)shutdown(p->link->client, SHUT_RDWR);
	(void)shutdown(p->link->server, SHUT_RDWR);
	link_unref(p->link);
	free(buf);
	free(p);
	return NULL;
}

static void pump_start(struct link *l, bool up)
{
	struct pump *p = malloc(sizeof(*p));
	pthread_attr_t attr;
	pthread_t t;

	if (!p)
		abort();
	*p = (struct pump){l, up};
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&t, &attr, pump_run, p))
		abort();
	(void)pthread_attr_destroy(&attr);
}

static int open_socket(int port, bool listening, struct sockaddr_in *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	socklen_t len = sizeof(*at);

	*at = (struct sockaddr_in){.sin_family = AF_INET,
				   .sin_port = htons((uint16_t)port),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0)
		return -1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (!listening && connect(fd, (struct sockaddr *)at, len))
		goto fail;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (listening && (bind(fd, (struct sockaddr *)at, len) || listen(fd, 1024) ||
			  getsockname(fd, (struct sockaddr *)at, &len)))
		goto fail;
	return fd;
fail:
	(void)close(fd);
	return -1;
}

static void accept_one(int client)
{
	struct sockaddr_in at;
	struct link *l = calloc(1, sizeof(*l));
	int one = 1, server = open_socket(conf.server_port, false, &at);

	if (!l || server < 0) {
		free(l);
		if (server >= 0)
			(void)close(server);
		(void)close(client);
		return;
	}
	(void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	l->client = client;
	l->server = server;
	l->up.rate = l->down.rate = conf.conn_rate;
	(void)pthread_mutex_init(&l->up.lock, NULL);
	(void)pthread_mutex_init(&l->down.lock, NULL);
	atomic_init(&l->users, 2);
	pump_start(l, true);
	pump_start(l, false);
}

static bool parse(int argc, char **argv)
{
	int opt;

	while ((opt = getopt(argc, argv, "d:r:t:l:")) != -1) {
		if (opt == 'd')
			conf.delay = strtod(optarg, NULL) / 1e3;
		else if (opt == 'r')
			conf.conn_rate = strtod(optarg, NULL) * 1e6;
		else if (opt == 't')
			all_up.rate = all_down.rate = strtod(optarg, NULL) * 1e6;
		else if (opt != 'l' || !(conf.log = fopen(optarg, "a")))
			return false;
	}
	return argc - optind == 2;
}

int main(int argc, char **argv)
{
	struct sockaddr_in at;
	int listener;

	if (!parse(argc, argv)) {
		(void)fprintf(stderr,
			      "usage: shaper [-d MS] [-r MB/S] [-t MB/S] [-l LOG] "
			      "LISTEN_PORT SERVER_PORT\n");
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	conf.server_port = (int)strtol(argv[optind + 1], NULL, 10);
	listener = open_socket((int)strtol(argv[optind], NULL, 10), true, &at);
	if (listener < 0) {
		perror("shaper: listen");
		return 1;
	}
	(void)printf("shaper: listening on 127.0.0.1:%d\n", ntohs(at.sin_port));
	(void)fflush(stdout);
	for (;;) {
		int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (client >= 0)
			accept_one(client);
	}
}
