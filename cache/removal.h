/* removal.h - names that are gone for the user and still to be removed from the
 * bucket (P4).
 *
 * Programs that replace a file unlink it and write it anew.  So an unlink is
 * journaled, hides the name at once, and the DELETE goes out a moment later -
 * unless the name is written again before: then the upload replaces the object
 * and no DELETE is sent.  Markers of directories ("d/") go after what was in them.
 *
 * Only what the user removed is removed: the version with the given etag, or an
 * object with one of the given tags (uploads of ours that were broken off and may
 * have got through).  Whatever else is there under the name is somebody else's and stays;
 * a store that cannot compare is asked first.  A marker with bytes in it stays too.
 *
 *          removal_add       the delay is over    a thread comes       answer
 *   (none) -----------> WAITING ----------> QUEUED ----------> FLYING ------> (none)
 *                        |  ^  ^              |                  |
 *                        |  |  |              | taken            | no answer, or taken
 *                        |  |  +--------------+------------------+  before it was sent
 *            removal_take|  | removal_release
 *                        v  |
 *                        HELD ---- removal_settled -> (none)
 *                        ^
 *   (none) --------------+ removal_hold
 *
 * Whoever writes a name anew waits for its DELETE if that was sent, and for no other: of
 * a tree that was removed most names are QUEUED for a long time.
 */
#ifndef CACHE_REMOVAL_H
#define CACHE_REMOVAL_H
#include <stdbool.h>
#include <stdint.h>
#include "backends/backend.h"
#include "cache/blocks.h"
#include "cache/journal.h"
#include "cache/names.h"
#include "cache/tags.h"

struct removal;

struct removal_conf {
	uint64_t delay_ns;
	uint64_t retry_ns;   /* after a fault */
	uint64_t timeout_ns; /* of one DELETE with its retries */
	uint32_t threads;
};

/* All but conf are borrowed until removal_free. */
int removal_new(const struct removal_conf *conf, struct backend *be, struct blocks *bl,
		struct journal *jn, struct names *nm, struct removal **ret);
void removal_free(struct removal *rm);
/* From the journal, before removal_start: no commit. */
int removal_load(struct removal *rm, const char *key, const char *etag, const char *tags);
int removal_start(struct removal *rm);

/* Journal it and hide it.  etag: the version that the user saw ("" of a marker).
 * open_version (may be NULL, borrowed): somebody has it open; its bytes are all
 * fetched before the object goes. */
int removal_add(struct removal *rm, const char *key, const char *etag,
		struct version *open_version);
/* The same without the commit: the caller's transaction did it. */
int removal_note(struct removal *rm, const char *key, const char *etag, const char *tags,
		 struct version *open_version);
/* The name went because its file has another one, and nobody here reads by it any more:
 * the DELETE need not wait.  Returns when it was answered once, or after wait_ns or call.
 * Whoever moves the file back on another machine would put the same bytes there, which a
 * store whose ETags are of the bytes alone cannot tell from what was removed (P5). */
void removal_send(struct removal *rm, const char *key, uint64_t wait_ns,
		  struct call *call);
/* Nothing is pending. */
bool removal_none(struct removal *rm);
/* How many are; also those that a file being written holds. */
uint64_t removal_count(struct removal *rm);
bool removal_pending(struct removal *rm, const char *key);
/* Each that is below this directory, under the lock: fn must only copy. */
int removal_each_below(struct removal *rm, const char *dir,
		       int (*fn)(void *arg, const char *key), void *arg);
/* The name is being written again: true and what the bucket may have there (or nothing:
 * an earlier daemon may have sent the DELETE), if its removal was pending; it is held
 * from then on.  Waits out a DELETE that was sent. */
bool removal_take(struct removal *rm, const char *key, char ret_etag[ETAG_SIZE],
		  char ret_tags[TAGS_SIZE]);
/* Held, and about to be replaced in the bucket: who has open what was removed keeps its
 * bytes, as before a DELETE.  Returns when they are here, or cannot be had. */
void removal_keep(struct removal *rm, const char *key);
/* The name is about to be something else, a file in the place of a directory or the other
 * way round: what is pending of it is sent now and waited for, as long as call lasts. */
int removal_finish(struct removal *rm, const char *key, struct call *call);
/* Something tagged so is about to be put there, not by a staged file: the name is held,
 * as above, and what is said of it is what a row must say so that a crash, or
 * removal_release, removes it.  True: its removal was pending.  -ENOMEM. */
int removal_hold(struct removal *rm, const char *key, const char *tag,
		 char ret_etag[ETAG_SIZE], char ret_tags[TAGS_SIZE], bool *ret_pending);
/* A copy with this tag is about to take the name: if its removal is held, the copy is
 * journaled as one of ours.  Were we to die before removal_settled, the next mount would
 * take it for somebody else's, whose name that is now. */
int removal_expect(struct removal *rm, const char *key, const char *tag);
/* The new file was sealed; the row is gone from the journal already. */
void removal_settled(struct removal *rm, const char *key);
/* The new file was dropped before it was sealed: remove after all. */
void removal_release(struct removal *rm, const char *key);
/* Send everything now; how many are left when the deadline passes.  What is held
 * does not count: a file that is being written answers for it. */
uint64_t removal_drain(struct removal *rm, uint64_t deadline_ns);
#endif
