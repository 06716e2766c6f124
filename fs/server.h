/* server.h - one thread that answers short questions on listening sockets.
 *
 * Bounded in every way (P9): so many clients at once, so many bytes of a question and of
 * an answer, so long for each.  A client that says nothing, half of something, or never
 * reads its answer costs its place for that long, and no other client anything: when all
 * places are taken the one who has waited longest gives way.
 */
#ifndef FS_SERVER_H
#define FS_SERVER_H
#include <stdbool.h>
#include <stdint.h>
#include "backends/util/buf.h"

enum {
	SERVER_CLIENTS_MAX = 8,
	SERVER_QUESTION_MAX = 4096, /* bytes */
	SERVER_ANSWER_MAX = 1 << 18,
	SERVER_CLIENT_MS = 2000, /* from accept to the last byte */
	SERVER_DOORS_MAX = 2,
};

struct server_door {
	int fd;		 /* listens, non-blocking; owned by the server */
	const char *end; /* of a question, which comes without it; set once */
	/* On the server's thread; must not block.  NULL: everybody. */
	bool (*admits)(int fd);
	/* Appends to answer; the question has no NUL within.  The connection is closed
	 * behind the answer. */
	void (*answer)(void *arg, const char *question, struct buf *answer);
	void *arg;
};

struct server_conf {
	struct server_door doors[SERVER_DOORS_MAX];
	unsigned n_doors;
	uint64_t tick_ns; /* how often tick is called; 0 = never */
	/* On the server's thread.  NULL: nothing. */
	void (*tick)(void *arg);
	void (*poked)(void *arg);
	void *arg; /* of both */
};

struct server;
/* The doors are owned by it, also if it fails. */
int server_new(const struct server_conf *conf, struct server **ret);
/* Call poked soon.  May be called from a signal's handler. */
void server_poke(struct server *s);
/* Joins the thread, closes the doors.  NULL is fine. */
void server_free(struct server *s);
#endif
