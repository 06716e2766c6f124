/* removal_impl.h - what removal*.c share.  Nobody else includes this. */
#ifndef CACHE_REMOVAL_IMPL_H
#define CACHE_REMOVAL_IMPL_H
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include "backends/util/map.h"
#include "backends/util/pool.h"
#include "cache/removal.h"

enum state { WAITING, QUEUED, FLYING, HELD };

struct item {
	struct map_node node;	 /* in removal.items, by key */
	struct version *version; /* a reference, or NULL */
	char etag[ETAG_SIZE], tags[TAGS_SIZE];

	/* guarded by removal.lock */
	enum state state;
	TAILQ_ENTRY(item) link; /* QUEUED: in removal.queue */
	bool sent;		/* FLYING: the DELETE may be on its way */
	bool looked;		/* it was not there, and may still arrive */
	uint64_t due_ns;

	/* atomic */
	atomic_bool unwanted; /* the name was written again: fetch no more */

	char key[];
};

struct removal {
	/* set once */
	struct removal_conf conf;
	struct backend *be;
	struct blocks *bl;
	struct journal *jn;
	struct names *nm;
	struct pool *pool;
	pthread_t clock_thread;
	bool started;

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* of an item's state */
	pthread_cond_t work;	/* for the clock thread */
	struct map items;
	TAILQ_HEAD(, item) queue; /* due, and no thread has taken it yet */
	uint32_t n_queued;
	uint32_t
		n_asked; /* threads that will each come and take one; n_queued at least */
	bool closing, hurry;
	uint64_t wakes_ns; /* when the clock thread looks next */

	/* atomic */
	atomic_bool cancelled;
};

void removal_item_free(struct item *it);
/* Functions whose name ends in _locked: removal.lock is held. */
void removal_forget_locked(struct removal *rm, struct item *it);

/* removal_send.c */
/* Whoever has it open keeps its bytes (P1).  If they cannot be had the reader gets
 * ESTALE, never other bytes. */
void removal_keep_for_readers(struct removal *rm, struct version *v,
			      atomic_bool *cancelled);
/* QUEUED becomes WAITING. */
void removal_unqueue_locked(struct removal *rm, struct item *it);
/* Somebody waits for its answer: if it is QUEUED it is the next. */
void removal_hasten_locked(struct removal *rm, struct item *it);
void removal_wait_again_locked(struct removal *rm, struct item *it, uint64_t delay_ns);
void removal_wait_until_locked(struct removal *rm, pthread_cond_t *cond,
			       uint64_t when_ns);
/* Of the thread that starts what is due. */
void *removal_clock_main(void *arg);
#endif
