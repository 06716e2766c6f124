/* cachedir.h - the directory on this disk: chosen, made, trusted, locked.
 *
 *   CACHE_DIR/lock       flock of the one daemon that uses it, whatever container it is
 *                        in; for people: "serving PID NUMBER PIDNAMESPACE HOST"
 *   CACHE_DIR/ID/        of one source; ID: 16 hex digits of its identity's SHA-256
 *   CACHE_DIR/ID/source  the identity in words
 * Whoever can write here could forge the bytes of files, so nobody else may.
 */
#ifndef FS_CACHEDIR_H
#define FS_CACHEDIR_H
#include <stdbool.h>
#include <stdint.h>
#include "fs/config.h"

struct cachedir {
	char *path;   /* owned; resolved */
	char *source; /* owned; path/ID */
	int lock;     /* fd; -1 = not locked */
};

/* Where it will be (c->cache_dir, else the user's default), links resolved as far
 * as the path exists; nothing is made.  Logs. */
int cachedir_plan(const struct config *c, struct buf *ret);
/* May nobody else write to the directory?  Logs.  -EPERM: somebody may. */
int cachedir_check(const char *path);
/* Make and check the directory at a planned path.  Logs.  cachedir_done is due
 * whatever is returned. */
int cachedir_open(const char *path, struct cachedir *ret);
/* Waits for a daemon that drains; refuses one that serves.  Logs. */
int cachedir_lock(struct cachedir *d);
/* The subdirectory of the source; checks that the disk has room.  Logs. */
int cachedir_enter(struct cachedir *d, const char *identity);
/* A warning for each other source that has left written files here. */
void cachedir_log_others(const struct cachedir *d);
/* Releases the lock, last of all. */
void cachedir_done(struct cachedir *d);

enum cachedir_state { CACHEDIR_SERVING, CACHEDIR_DRAINING, CACHEDIR_ENDED };
enum { CACHEDIR_HOST_SIZE = 65 }; /* Linux' longest, and a NUL */
struct cachedir_holder {
	enum cachedir_state state;
	int pid;		       /* as its pid namespace has it, */
	bool elsewhere;		       /* which is not ours, */
	char host[CACHEDIR_HOST_SIZE]; /* on this host; "" = not told */
	uint64_t number; /* draining: for so many seconds; ended: files left */
};
/* Written by the daemon, for people and for the next mount. */
void cachedir_tell(const struct cachedir *d, enum cachedir_state state, uint64_t number);
/* ended, with so many left; names: a line each, below the first. */
void cachedir_tell_left(const struct cachedir *d, uint64_t left, const char *names);
/* Each of those lines, for the user. */
void cachedir_log_left(const char *area, const char *names);
/* Those lines again, as far as they were written. */
void cachedir_names_left(const char *path, struct buf *ret);
/* -ENOENT, -EBADMSG. */
int cachedir_holder(const char *path, struct cachedir_holder *ret);
/* Is it in a container's own layer, which ends with the container? */
bool cachedir_on_overlay(const struct cachedir *d);
/* Where the cache is if nothing is said; -ENOENT: no home. */
int cachedir_default(struct buf *ret);

/* How much of the disk may be used. */
struct disk {
	uint64_t total_bytes, free_bytes;
	uint64_t ours_bytes; /* what the source's directory holds already */
};
struct room {
	uint64_t cache_bytes, reserve_bytes, staging_bytes;
	bool lowered; /* the disk has less than was asked for */
};
int disk_measure(const char *dir, struct disk *ret);
/* Pure.  -ENOSPC: nothing worth while fits. */
int room_plan(const struct config *c, const struct disk *disk, struct room *ret);
#endif
