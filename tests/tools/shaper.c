/* shaper.c - a link of known delay and speed in front of a local HTTP/1.1 server.
 *
 *   shaper [-d MS] [-r MB/S] [-t MB/S] [-s PERCENT:MS[:SEED]] [-l LOG]
 *          LISTEN_PORT SERVER_PORT
 *
 * Every answer's first byte is held back for -d milliseconds from the end of its request;
 * -r caps each connection and -t all of them together, each direction by itself.  -s
 * holds back PERCENT of the requests for MS more: one in every 100/PERCENT that follow
 * each other, which one by SEED.  Two threads a connection, one a direction: the one that
 * passes requests on tells the other when the answer may start.
 *
 * LOG has two lines a request, by its number, with the monotonic clock's seconds; the
 * second comes when the next request of this connection does, or the connection's end:
 *   B NUMBER TIME METHOD TARGET HTTP/1.1 RANGE-or-"-"      it came
 *   E NUMBER TIME BYTES BYTES        the answer's last byte left; its and the request's
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

enum { PIECE = 256 << 10, STACK = 256 << 10 };

/* When the next byte may pass; a rate of 0 is no limit. */
struct bucket {
	double rate; /* bytes a second; set once */
	pthread_mutex_t lock;
	double free_at; /* guarded by lock; seconds of the monotonic clock */
};

struct link {
	int client, server; /* set once */
	struct bucket up, down;
	uint64_t request;	  /* its number, 0: none yet; of the thread that goes up */
	double delay;		  /* of this request's answer; the same thread's */
	_Atomic double answer_at; /* 0: the answer has begun */
	_Atomic double sent_at;	  /* the answer's last piece */
	atomic_size_t sent;	  /* bytes of the answer */
	atomic_size_t came;	  /* bytes of the request */
	atomic_int users;
};

struct pump {
	struct link *link;
	bool up;
};

static struct {
	double delay, conn_rate; /* seconds, bytes a second */
	double slow_delay;	 /* seconds more for one in slow_every requests */
	uint64_t slow_every;	 /* 0: for none */
	uint64_t slow_seed;
	int server_port;
	FILE *log;
} conf;
static atomic_uint_fast64_t requests;
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
	/* Neither an idle link nor a nap that was too long is made up for. */
	if (b->free_at < t)
		b->free_at = t;
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

/* The answer before this request is over: its client had all of it, or has gone. */
static void log_answer(struct link *l)
{
	if (!conf.log || !l->request)
		return;
	(void)fprintf(conf.log, "E %llu %.6f %zu %zu\n", (unsigned long long)l->request,
		      atomic_load(&l->sent_at), atomic_load(&l->sent),
		      atomic_load(&l->came));
	(void)fflush(conf.log);
}

static void log_request(struct link *l, const char *p, size_t line, size_t n)
{
	const char *range = memmem(p, n, "\r\nRange: ", 9), *end = NULL;

	if (!conf.log)
		return;
	if (!range)
		range = memmem(p, n, "\r\nrange: ", 9);
	if (range)
		end = memmem(range + 9, n - (size_t)(range + 9 - p), "\r\n", 2);
	(void)fprintf(conf.log, "B %llu %.6f %.*s %.*s\n", (unsigned long long)l->request,
		      now(), (int)line, p, end ? (int)(end - range - 9) : 1,
		      end ? range + 9 : "-");
	(void)fflush(conf.log);
}

/* splitmix64's mixing step. */
static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static bool is_slow(uint64_t request)
{
	uint64_t group = conf.slow_every ? request / conf.slow_every : 0;

	return conf.slow_every && request % conf.slow_every ==
					  mix(conf.slow_seed + group) % conf.slow_every;
}

/* If this piece starts a request: its number, delay and line. */
static void note_request(struct link *l, const char *p, size_t n)
{
	const char *eol = memmem(p, n, "\r\n", 2);

	if (!eol || !memmem(p, (size_t)(eol - p), " HTTP/1.", 8))
		return;
	log_answer(l);
	l->request = atomic_fetch_add(&requests, 1) + 1;
	l->delay = conf.delay + (is_slow(l->request - 1) ? conf.slow_delay : 0);
	atomic_store(&l->sent, 0);
	atomic_store(&l->came, 0);
	log_request(l, p, (size_t)(eol - p), n);
}

static void link_unref(struct link *l)
{
	if (atomic_fetch_sub(&l->users, 1) != 1)
		return;
	log_answer(l);
	(void)close(l->client);
	(void)close(l->server);
	free(l);
}

static bool pass(struct pump *p, const char *buf, size_t n)
{
	struct link *l = p->link;

	if (p->up) {
		note_request(l, buf, n);
		(void)atomic_fetch_add(&l->came, n);
		atomic_store(&l->answer_at, now() + l->delay);
		pace(&l->up, &all_up, n);
		return send_all(l->server, buf, n);
	}
	double at = atomic_exchange(&l->answer_at, 0);
	if (at > now())
		sleep_until(at);
	pace(&l->down, &all_down, n);
	/* Before the client has it and can ask again. */
	atomic_store(&l->sent_at, now());
	(void)atomic_fetch_add(&l->sent, n);
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

/* PERCENT:MS[:SEED] */
static bool parse_slow(const char *text)
{
	char *end;
	double percent = strtod(text, &end);

	if (*end != ':' || percent <= 0 || percent > 100)
		return false;
	conf.slow_every = (uint64_t)(100 / percent);
	conf.slow_delay = strtod(end + 1, &end) / 1e3;
	if (*end == ':')
		conf.slow_seed = strtoull(end + 1, &end, 10);
	return !*end;
}

static bool parse_one(int opt)
{
	switch (opt) {
	case 'd':
		conf.delay = strtod(optarg, NULL) / 1e3;
		return true;
	case 'r':
		conf.conn_rate = strtod(optarg, NULL) * 1e6;
		return true;
	case 't':
		all_up.rate = all_down.rate = strtod(optarg, NULL) * 1e6;
		return true;
	case 's':
		return parse_slow(optarg);
	case 'l':
		conf.log = fopen(optarg, "a");
		return conf.log;
	default:
		return false;
	}
}

static bool parse(int argc, char **argv)
{
	int opt;

	while ((opt = getopt(argc, argv, "d:r:t:s:l:")) != -1) {
		if (!parse_one(opt))
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
			      "usage: shaper [-d MS] [-r MB/S] [-t MB/S] "
			      "[-s PERCENT:MS[:SEED]] [-l LOG] LISTEN_PORT SERVER_PORT\n");
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
