/* probe.h - which promises does a store keep?
 *
 * A store that does not implement a condition ignores it in silence, so every one is
 * tried on an object of our own, under a name that nobody else has
 * (".mastfs-probe-" and 16 hex digits below the prefix) and that is removed again.
 */
#ifndef BACKENDS_PROBE_H
#define BACKENDS_PROBE_H
#include "backends/request.h"

#define PROBE_NAME ".mastfs-probe-"
enum { PROBE_NAME_SIZE = 64 };

/* Such a name. */
int probe_name(char ret[static PROBE_NAME_SIZE]);

/* For what takes a probe away again, which is due also when its own call was cancelled or
 * has come to its deadline: a few seconds more. */
struct call probe_last_call(void);
/* Removes an object of a probe; a fault or two in the way of it do no harm. */
void probe_remove(struct backend *be, const char *key);

/* Sets BACKEND_PUT_IF, _FINISH_IF, _DEL_IF of st->be.caps as the store honours them,
 * and takes BACKEND_WRITE away, with a warning, if it refuses the write: no error.  Nor
 * is it one that the store is full: it is taken for one that honours none.
 * wrong_etag: well-formed, and of no object.  Before any other thread uses st.
 * Transient errors are returned. */
int probe_writes(struct store *st, const char *wrong_etag, struct call *call);

/* A daemon that was killed in its probe left its object.  The first look at the bucket
 * asks for these names, which costs nothing; if there are any, those of yesterday and
 * before go, and unfinished uploads of theirs. */
void probe_sweep(struct store *st, struct call *call);

/* Of the first look at a bucket, which somebody waits for: there is nobody at this
 * address, or nobody who answers.  It is told at once and not tried again:
 * -EHOSTUNREACH. */
bool probe_unreached(int error, const struct http_reply *reply);
/* An error that the probe itself tells; false: none, or one that is tried again and told
 * by retry.c when that gives up. */
bool probe_is_final(int error, const struct http_reply *reply);
#endif
