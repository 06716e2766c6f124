/* hedge.h - a get that is late is asked a second time; the first byte wins.
 *
 * One request in fifty of a store takes ten times as long as the others to begin, and
 * whoever waits for it waits for all of that.  So a get that somebody waits for and that
 * has no first byte after several times the usual is sent once more, on another
 * connection.  Only gets: a read may be repeated at any time.
 *
 * Rules (cited as "hedge (n)"):
 *  (1) The sink sees the bytes of one of the two only: the one whose first byte, of an
 *      answer that was accepted (P1), came first.  The other is cancelled.
 *  (2) One that fails before it has delivered a byte does not fail the other.
 *  (3) After hedge_get has returned, neither sink, arg nor call is used.
 *  (4) No more than a few in a hundred gets are asked twice (P9): a store that is slow
 *      as a whole must not get more to do.
 */
#ifndef BACKENDS_HEDGE_H
#define BACKENDS_HEDGE_H
#include "backends/backend.h"

struct hedge; /* thread-safe */

struct hedge_conf {
	uint32_t floor_ms;    /* no get is late before */
	uint32_t samples_min; /* first bytes seen before anything counts as late */
	uint32_t percent;     /* of gets that may be asked twice, in the long run */
	uint32_t burst;	      /* of them in a row, at most; as many from the start */
	uint32_t threads;     /* second requests in flight, at most */
};

extern const struct hedge_conf hedge_defaults;

/* inner is borrowed until hedge_free.  Threads are started when they are needed. */
int hedge_new(struct backend *inner, const struct hedge_conf *conf, struct hedge **ret);
/* No get may be in flight.  NULL is fine. */
void hedge_free(struct hedge *h);

/* backend_get of inner.  The sink may be called from another thread, but never from two
 * at once. */
int hedge_get(struct hedge *h, const char *key, const struct object *obj, uint64_t off,
	      uint64_t len, sink_fn *sink, void *arg, struct call *call);
#endif
