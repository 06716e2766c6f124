/* ahead.h - what is fetched before anybody asks, because of what a file is. */
#ifndef CACHE_AHEAD_H
#define CACHE_AHEAD_H

struct version;

/* More of its layout is known than before; on a fetcher's thread, without a lock.
 * The version is held. */
void ahead_learnt(struct version *v);
#endif
