/* late.h - a backend whose store may come up after the mount (P8).
 *
 * Wraps the outermost of the others and looks whether anybody is there, with their
 * probe, on a thread of its own: one look at a time, and no operation reaches the store
 * before one has succeeded, since until then nobody knows what the store honours (P5).
 *
 *   probe waits for the first look, first_ms at most.  An error that says what is wrong
 *   (no such bucket, refused, a certificate) is its own.  If nobody answers, or only
 *   with failures, it says so in one line and returns 0: the mount comes up, and looks go
 *   on.
 *   Until a look succeeds operations wait, until their deadline: -ETIMEDOUT, or -EIO if
 *   somebody answers, but with failures.  If a look then says what is wrong, operations
 *   fail at once with that, if it is -EACCES, -ENODEV or -ENOMEM, else with -EIO; it is
 *   logged once, and looks go on, less and less often: it may be mended.
 *
 * caps: those that the store was opened with until settle has returned 0.
 */
#ifndef BACKENDS_LATE_H
#define BACKENDS_LATE_H
#include "backends/backend.h"

struct late_conf {
	uint32_t first_ms;    /* the mount waits so long */
	uint32_t look_ms;     /* a look takes so long at most */
	uint32_t again_ms;    /* between looks, doubled each time ... */
	uint32_t away_ms;     /* ... up to this while nobody answers, */
	uint32_t refused_ms;  /* and this while we are refused */
	uint32_t deadline_ms; /* for calls that bring none */
};

extern const struct late_conf late_defaults;

/* Owns inner from here on, also when it fails. */
int late_new(struct backend *inner, const struct late_conf *conf, struct backend **ret);
#endif
