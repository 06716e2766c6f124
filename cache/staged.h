/* staged.h - bytes that users wrote and the bucket does not have yet.
 *
 *   staged_create          staged_publish           upload.c
 *  (none) -----------> OPEN -----------> SEALED ------------> DONE --> retired
 *                       ^ |                 |  ^                |      (the file is
 *       staged_writable | | staged_drop     |  | later          |       the cache's)
 *                       | v                 v  | again          |
 *                       | DROPPED        CONFLICT <-+           |
 *                       +---------------------------------------+
 *
 * A DONE file whose name goes before the cache has it is DROPPED, too.
 *
 * Invariants (cited as "staged (n)"):
 *  (1) From SEALED on, bytes and intent survive a crash (P3): the bytes are
 *      synced before the row is committed.
 *  (2) A SEALED file does not change.  Writing to it makes a new generation, a
 *      copy, that is uploaded after it.
 *  (3) Generations of one key are uploaded one after the other, in order.
 *  (4) An upload carries the etag that its file started from (P5).  When the
 *      bucket has something else that is not an earlier upload of ours, the file
 *      becomes a CONFLICT and is kept until the user decides.
 *  (5) Staged and sealed bytes are never evicted.  Too many of them slow their writers
 *      down; what does not fit on the disk is ENOSPC at write, never a shorter object
 *      (P9).
 *  (6) A local name (P6) is never sealed: it stays OPEN, on this disk.
 *  (7) A file into which a write failed is not published: what is missing must be
 *      written or cut off first (P9); all of it after a sync that failed.  Where fsync
 *      had promised to keep it, the next mount keeps it as it is, and then all of it
 *      counts as missing.
 *
 * A staged file is refcounted; its descriptor is open until the cache takes the file.
 */
#ifndef CACHE_STAGED_H
#define CACHE_STAGED_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "backends/backend.h"
#include "cache/blocks.h"
#include "cache/journal.h"
#include "cache/local_only.h"
#include "cache/names.h"
#include "cache/removal.h"

struct staging; /* all staged files of a mount */
struct staged;	/* one generation of one file */

enum staged_state {
	STAGED_OPEN,
	STAGED_SEALED,
	STAGED_CONFLICT,
	STAGED_DONE,
	STAGED_DROPPED,
};

struct staging_conf {
	const char *dir;	/* borrowed for the call; holds staged/ */
	const char *local_only; /* borrowed for the call */
	uint64_t max_bytes;	/* more than that slows writers */
	uint64_t retry_ns;	/* a failed upload is tried again after this */
	uint64_t timeout_ns;	/* of one request with its retries */
	uint32_t threads;	/* requests that upload at once, at most */
};

/* All but conf are borrowed until staging_free. */
int staging_new(const struct staging_conf *conf, struct backend *be, struct blocks *bl,
		struct journal *jn, struct names *nm, struct removal *rm,
		struct staging **ret);
/* Stops uploads where they are; the next mount goes on. */
void staging_free(struct staging *sg);
/* One row of the journal, while it is loaded. */
int staging_load(struct staging *sg, const struct journal_row *row);
/* After the rows of files: an upload in parts that is not over, and one part of it. */
int staging_load_upload(struct staging *sg, const struct journal_upload *up);
int staging_load_part(struct staging *sg, uint64_t upload, const struct part *part,
		      uint32_t crc);
/* After loading: removes files that no row names, starts the uploads. */
int staging_start(struct staging *sg);
/* The end comes: what has failed is tried once more at once, and so are files that could
 * not be sealed; what fails from here on is tried again soon. */
void staging_hurry(struct staging *sg);
/* And wait for the uploads.  How many are left when the deadline passes. */
uint64_t staging_drain(struct staging *sg, uint64_t deadline_ns);
bool staging_is_local(const struct staging *sg, const char *key);
enum local_only staging_local_kind(const struct staging *sg, const char *key);
enum { STAGING_NAMED_MAX = 5 };
struct staging_counts {
	uint64_t writing; /* OPEN, and not local */
	uint64_t local;	  /* OPEN for ever (6) */
	/* SEALED: each of them once, as the first that holds */
	uint64_t failed; /* the last attempt did, or CONFLICT; tried again but for that.
			    Also one that is OPEN because it could not be sealed, or as a
			    write into it failed (7) */
	uint64_t uploading, queued;
	uint64_t used_bytes, max_bytes; /* of all of them */
	char failed_names[STAGING_NAMED_MAX][KEY_SIZE];
};
void staging_count(struct staging *sg, struct staging_counts *ret);
/* Before bytes are written: wait while max_bytes or more is kept here that was not sent
 * yet, and not for long if nothing is.  call NULL: -EAGAIN rather than waiting. */
int staging_wait_room(struct staging *sg, struct call *call);

/* The newest generation under this name that is not DONE-and-retired; a reference
 * or NULL. */
struct staged *staged_find(struct staging *sg, const char *key);
struct staged *staged_ref(struct staged *st);
void staged_unref(struct staged *st); /* NULL is fine */

typedef int staged_fn(void *arg, const char *key, struct staged *st);
/* Each name that has a staged file, under the lock: fn must only copy. */
int staging_each(struct staging *sg, staged_fn *fn, void *arg);
/* For fn: it was closed and is not in the bucket, and that is still tried: SEALED, or
 * OPEN because it could not be sealed (a full disk). */
bool staged_is_left_locked(const struct staged *st);
/* No file is staged, or is being handed to the cache. */
bool staging_none(struct staging *sg);
/* It is in the bucket and nobody writes it: it is on its way to the cache, and says no
 * more of what is under its name.  What it became is looked up as any other object, which
 * somebody may have replaced, or removed here. */
bool staged_is_over(const struct staged *st);
/* The object of this name was removed, or another one has the name: a file that it came
 * from is not found by the name any more, and keeps its bytes for who holds it open. */
void staging_lose_name(struct staging *sg, const char *key);
/* Is any other staged file below this directory ("" = all)? */
bool staging_has_below(struct staging *sg, const char *dir);

/* Make an OPEN file in two steps, so that nobody sees it half filled.
 * staged_prepare: an empty file without a name; like that it is also what is
 * written after its name was removed. */
int staged_prepare(struct staging *sg, const char *key, struct staged **ret);
/* Give it its name, journaled.  base: the version in the bucket that it will
 * replace, NULL if there is none; a removal of the key that is still pending is
 * taken back then. */
int staged_enlist(struct staged *st, const struct object *base);
/* Both. */
int staged_create(struct staging *sg, const char *key, const struct object *base,
		  struct staged **ret);
/* A file that may be written now: st itself (OPEN, or DONE and opened again), or,
 * if st is SEALED, a new generation with a copy of its first keep bytes.  *ret is a
 * reference.  -ESTALE: retired, its bytes are the version's. */
int staged_writable(struct staged *st, uint64_t keep, struct staged **ret);
/* True if staged_writable would have nothing to do. */
bool staged_is_open(const struct staged *st);

/* Bytes written, fewer than len only if the disk became full.  -EAGAIN: it was
 * sealed meanwhile, ask staged_writable again.  -ENOSPC. */
ssize_t staged_write(struct staged *st, const void *bytes, size_t len, uint64_t off);
/* These bytes could not even be tried to write, and nobody will write them again (7). */
void staged_lose(struct staged *st, uint64_t off, size_t len, int error);
int staged_truncate(struct staged *st, uint64_t size);
/* Publish it when it is closed even if nothing is written any more. */
void staged_mark_dirty(struct staged *st);
/* mode as fallocate(2): 0 or FALLOC_FL_KEEP_SIZE. */
int staged_allocate(struct staged *st, int mode, uint64_t off, uint64_t len);
/* -ESTALE: it is in the bucket, with the time that it had. */
int staged_set_mtime(struct staged *st, int64_t mtime_ns);
/* Copy the first len bytes of a version into it. */
int staged_fill(struct staged *st, struct version *v, uint64_t len, struct call *call);
/* Bytes read, short only at the end.  -ESTALE: retired, read the version. */
ssize_t staged_read(struct staged *st, void *dst, size_t len, uint64_t off);
/* The same, but -EAGAIN where it would wait: while the cache is handed it, the whole file
 * is summed. */
ssize_t staged_try_read(struct staged *st, void *dst, size_t len, uint64_t off);
void staged_stat(struct staged *st, uint64_t *ret_size, int64_t *ret_mtime_ns);
enum staged_state staged_get_state(const struct staged *st);
bool staged_get_local(const struct staged *st);
/* DONE: the object that it became.  False: not (yet). */
bool staged_object(struct staged *st, struct object *ret);
bool staged_retired(const struct staged *st);
/* Open handles that may write, counted; cheap. */
void staged_add_writers(struct staged *st, int n);
/* Hand it to the cache if it is in the bucket and nobody may write it. */
void staged_retire_if_idle(struct staged *st);
/* The same, by another thread: the cache sums up each byte of it. */
void staged_retire_later(struct staged *st);
int staged_writers(const struct staged *st);

/* Would publishing it do anything?  Not for what is local or already there. */
bool staged_wants_publishing(struct staged *st);
/* Does publishing it wait for this disk alone, if nobody waits for its upload? */
bool staged_asks_nothing(struct staged *st);
/* Durable on this disk, whatever happens (fsync). */
int staged_sync(struct staged *st);
/* If something was written: seal it and upload it.  wait: return when the upload
 * has succeeded or failed (P2); else when it is durable here.  A local name: 0.  What
 * could not be sealed is OPEN, dirty and an error; once nobody has it open to write it is
 * tried again. */
int staged_publish(struct staged *st, bool wait, struct call *call);
/* The name is gone: forget the file, and what the bucket has under the name is
 * removed (not a CONFLICT's: that is somebody else's).  Returns when no upload of
 * it is in flight. */
int staged_drop(struct staged *st);

/* DONE, and what it became has lost its name: what is written to it from now on is its
 * handles' alone.  Nothing is done to any other. */
void staged_disown(struct staged *st);

/* Something else is about to be put in the bucket under its name: nothing of it is
 * in flight, and nobody changes it, until staged_thaw says whether that replaced it
 * (then it is forgotten, and nothing in the bucket is removed).  An earlier generation is
 * frozen with it, and stays until then if st is OPEN. */
int staged_freeze(struct staged *st);
/* Frozen: what its upload would replace, a version ("" = nothing) or one of these uploads
 * of ours. */
void staged_get_base(struct staged *st, char ret_etag[ETAG_SIZE],
		     char ret_tags[TAGS_SIZE]);
/* Frozen: what comes there has this tag, journaled.  Were we to die before staged_thaw,
 * the next mount's upload replaces it, as it is ours. */
int staged_expect(struct staged *st, const char *tag);
void staged_thaw(struct staged *st, bool replaced);

struct staged_move {
	const char *to;		   /* key */
	const struct object *base; /* what the bucket has there; NULL = nothing */
	struct staged *over;	   /* staged file that is replaced there, or NULL */
	bool publish;		   /* upload it now under the new name ... */
	bool wait;		   /* ... and change names only when that succeeded */
};
/* Rename; what the bucket has under the old name is removed.  On failure nothing
 * has changed.  -EALREADY: it is in the bucket meanwhile (DONE): rename the
 * object instead.  -EBUSY: the bucket has something else under the new name (P5). */
int staged_rename(struct staged *st, const struct staged_move *mv, struct call *call);
/* Words for user.mastfs.state. */
const char *staged_state_name(const struct staged *st);
#endif
