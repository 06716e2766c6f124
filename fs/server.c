/* server.c - see server.h. */
#include "fs/server.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/thread.h"
#include "backends/util/banned.h"

/* poll(2)'s table: the one that wakes, the doors, the clients. */
enum {
	WAKE,
	DOORS,
	CLIENTS = DOORS + SERVER_DOORS_MAX,
	POLLED = CLIENTS + SERVER_CLIENTS_MAX,
	STACK_BYTES = 1 << 18,
	FULL_MS = 100,
};

struct client {
	int fd; /* owned; -1 = the place is free */
	const struct server_door *door;
	uint64_t deadline_ns;
	char question[SERVER_QUESTION_MAX + 1];
	size_t n_question;
	struct buf answer;
	size_t n_sent;
	bool answered;
};

struct server {
	/* set once */
	struct server_conf conf;
	pthread_t thread;
	int wake; /* owned; eventfd */

	/* of the thread */
	struct client clients[SERVER_CLIENTS_MAX];
	uint64_t tick_at_ns;

	/* atomic */
	atomic_bool ends;
};

static void drop(struct client *c)
{
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
	buf_done(&c->answer);
}

/* A free place, or that of the client who has had the most time. */
static struct client *find_place(struct server *s)
{
	struct client *oldest = &s->clients[0];
	for (int i = 0; i < SERVER_CLIENTS_MAX; i++) {
		struct client *c = &s->clients[i];
		if (c->fd < 0)
			return c;
		if (c->deadline_ns < oldest->deadline_ns)
			oldest = c;
	}
	drop(oldest);
	return oldest;
}

static void accept_client(struct server *s, const struct server_door *door)
{
	int fd = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		/* Without descriptors it waits in the queue, and poll says so again. */
		if (errno == EMFILE || errno == ENFILE)
			clock_sleep_ns(FULL_MS * NS_PER_MS);
		return;
	}
	if (door->admits && !door->admits(fd)) {
		(void)close(fd);
		return;
	}
	struct client *c = find_place(s);
	c->fd = fd;
	c->door = door;
	c->deadline_ns = clock_add(clock_now_ns(), SERVER_CLIENT_MS * NS_PER_MS);
	c->n_question = c->n_sent = 0;
	c->answered = false;
	buf_reset(&c->answer);
}

static void send_answer(struct client *c)
{
	ssize_t n = send(c->fd, c->answer.data + c->n_sent, c->answer.len - c->n_sent,
			 MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n > 0)
		c->n_sent += (size_t)n;
	bool later = n < 0 && (errno == EAGAIN || errno == EINTR);
	if ((n < 0 && !later) || c->n_sent == c->answer.len)
		drop(c);
}

static void read_question(struct client *c)
{
	ssize_t n = recv(c->fd, c->question + c->n_question,
			 SERVER_QUESTION_MAX - c->n_question, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(c);
		return;
	}
	c->n_question += (size_t)n;
	c->question[c->n_question] = '\0';
	char *end = strstr(c->question, c->door->end);
	if (end) {
		*end = '\0';
		c->answered = true;
		c->door->answer(c->door->arg, c->question, &c->answer);
		/* An answer that does not fit is none. */
		if (buf_error(&c->answer))
			drop(c);
		else
			send_answer(c);
	} else if (c->n_question == SERVER_QUESTION_MAX ||
		   strlen(c->question) != c->n_question) {
		drop(c);
	}
}

static void serve_client(struct client *c, short events)
{
	if (!c->answered && (events & (POLLIN | POLLHUP | POLLERR)))
		read_question(c);
	else if (events & (POLLERR | POLLHUP))
		drop(c);
	else if (events & POLLOUT)
		send_answer(c);
}

static int fill_table(const struct server *s, struct pollfd table[POLLED], uint64_t now)
{
	uint64_t until = s->tick_at_ns;
	table[WAKE] = (struct pollfd){.fd = s->wake, .events = POLLIN};
	for (unsigned i = 0; i < SERVER_DOORS_MAX; i++)
		table[DOORS + i] = (struct pollfd){
			.fd = i < s->conf.n_doors ? s->conf.doors[i].fd : -1,
			.events = POLLIN,
		};
	for (int i = 0; i < SERVER_CLIENTS_MAX; i++) {
		const struct client *c = &s->clients[i];
		table[CLIENTS + i] = (struct pollfd){
			.fd = c->fd,
			.events = c->answered ? POLLOUT : POLLIN,
		};
		if (c->fd >= 0 && c->deadline_ns < until)
			until = c->deadline_ns;
	}
	if (until == CLOCK_NEVER)
		return -1;
	return until <= now ? 0 : (int)((until - now) / NS_PER_MS) + 1;
}

static void look_at_clock(struct server *s)
{
	uint64_t now = clock_now_ns();
	for (int i = 0; i < SERVER_CLIENTS_MAX; i++) {
		if (s->clients[i].fd >= 0 && s->clients[i].deadline_ns <= now)
			drop(&s->clients[i]);
	}
	if (now < s->tick_at_ns)
		return;
	s->tick_at_ns = clock_add(now, s->conf.tick_ns);
	s->conf.tick(s->conf.arg);
}

static void was_woken(struct server *s)
{
	uint64_t n;
	if (read(s->wake, &n, sizeof n) == (ssize_t)sizeof n && s->conf.poked &&
	    !atomic_load(&s->ends))
		s->conf.poked(s->conf.arg);
}

static void *serve(void *arg)
{
	struct server *s = arg;
	(void)pthread_setname_np(pthread_self(), "control");
	while (!atomic_load(&s->ends)) {
		struct pollfd table[POLLED];
		int ms = fill_table(s, table, clock_now_ns());
		if (poll(table, POLLED, ms) < 0)
			continue; /* EINTR: nothing else can be */
		if (table[WAKE].revents)
			was_woken(s);
		for (int i = 0; i < SERVER_CLIENTS_MAX; i++)
			if (table[CLIENTS + i].revents)
				serve_client(&s->clients[i], table[CLIENTS + i].revents);
		for (unsigned i = 0; i < s->conf.n_doors; i++)
			if (table[DOORS + i].revents)
				accept_client(s, &s->conf.doors[i]);
		look_at_clock(s);
	}
	return NULL;
}

static void close_all(struct server *s)
{
	for (int i = 0; i < SERVER_CLIENTS_MAX; i++)
		drop(&s->clients[i]);
	for (unsigned i = 0; i < s->conf.n_doors; i++)
		(void)close(s->conf.doors[i].fd);
	cleanup_close_(&s->wake);
	free(s);
}

int server_new(const struct server_conf *conf, struct server **ret)
{
	struct server *s = calloc(1, sizeof *s);
	if (!s) {
		for (unsigned i = 0; i < conf->n_doors; i++)
			(void)close(conf->doors[i].fd);
		return -ENOMEM;
	}
	s->conf = *conf;
	s->tick_at_ns = conf->tick_ns ? clock_now_ns() : CLOCK_NEVER;
	for (int i = 0; i < SERVER_CLIENTS_MAX; i++) {
		s->clients[i].fd = -1;
		buf_init(&s->clients[i].answer, SERVER_ANSWER_MAX);
	}
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int r = s->wake < 0 ? -errno : thread_start(&s->thread, STACK_BYTES, serve, s);
	if (r < 0) {
		close_all(s);
		return r;
	}
	*ret = s;
	return 0;
}

void server_poke(struct server *s)
{
	int saved = errno;
	const uint64_t one = 1;
	ssize_t ignored = write(s->wake, &one, sizeof one);
	(void)ignored;
	errno = saved;
}

void server_free(struct server *s)
{
	if (!s)
		return;
	atomic_store(&s->ends, true);
	server_poke(s);
	(void)pthread_join(s->thread, NULL);
	close_all(s);
}
