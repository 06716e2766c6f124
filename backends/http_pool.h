/* http_pool.h - which request may go out now, and on which handle.
 *
 * Handles lie on a stack, so that the one whose connection is warmest goes out first.
 * What a handle is, the pool does not know.
 *
 * No more requests are in flight than the limit.  It starts at the maximum; a server
 * that asks to slow down, or answers too late, takes a quarter of it away, at most once
 * a second and never below a floor, and what succeeds afterwards gives it back one by
 * one.  Of the limit, a few are for PRIO_DEMAND only, and whoever waits in a higher rank
 * goes first (P9).  A request that is silent for long is no load and does not count, but
 * for the maximum: hung ones would keep all others from a limit that was lowered (P8).
 */
#ifndef BACKENDS_HTTP_POOL_H
#define BACKENDS_HTTP_POOL_H
#include <stdbool.h>
#include <stdint.h>
#include "backends/util/call.h"

struct http_pool;
typedef void http_pool_free_fn(void *handle);

enum {
	HTTP_POOL_FLOOR = 4,	/* requests that stay allowed, whatever the server says */
	HTTP_POOL_RESERVED = 4, /* for demand, of a limit of 4 times that; else fewer */
};

/* max: requests in flight, at least 1. */
int http_pool_new(uint32_t max, http_pool_free_fn *free_handle, struct http_pool **ret);
/* No request may be in flight.  NULL is fine. */
void http_pool_free(struct http_pool *pool);

/* Wait for our turn.  *ret: the handle that was used last, ours until http_pool_leave;
 * NULL: none lies idle.  -EINTR, -ETIMEDOUT. */
int http_pool_enter(struct http_pool *pool, const struct call *call, void **ret);
/* Wait for our turn, for a handle that is to be made: the n-th of all, idle or not, at
 * most.  -EALREADY: there are so many; else as http_pool_enter. */
int http_pool_enter_new(struct http_pool *pool, uint32_t n, const struct call *call);
/* handle NULL: it was thrown away. */
void http_pool_leave(struct http_pool *pool, const struct call *call, void *handle);

/* This request, which is in flight, hears and sends nothing any more; and does again, or
 * is about to leave. */
void http_pool_silent(struct http_pool *pool, const struct call *call, bool silent);

/* How a request ended, for the limit; now_ns by clock_now_ns. */
void http_pool_went_well(struct http_pool *pool);
void http_pool_overloaded(struct http_pool *pool, uint64_t now_ns);
/* Requests in flight at most, now. */
uint32_t http_pool_limit(struct http_pool *pool);
#endif
