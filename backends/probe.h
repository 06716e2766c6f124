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

/* Sets BACKEND_PUT_IF, _FINISH_IF, _DEL_IF of st->be.caps as the store honours them,
 * and takes BACKEND_WRITE away, with a warning, if it refuses the write: no error.
 * wrong_etag: well-formed, and of no object.  Before any other thread uses st.
 * Transient errors are returned. */
int probe_writes(struct store *st, const char *wrong_etag, struct call *call);
#endif
