/* parts.h - one upload in parts, of a file that may still be growing.
 *
 *              a part is full, or                 all parts sent
 *              parts_complete         BEGUN ------------------------> finished
 *   (nothing) ----------------------> |  ^ a part was written again,
 *       ^                             |  | or is new: it is sent
 *       |  parts_abort, or the store  |  |
 *       +--- has forgotten it --------+--+
 *
 * Parts are of one size, but for the last.  A part of a growing file is sent once as
 * many bytes as it has were written to it; one that is written again after that waits
 * for parts_complete, so that a program that goes back to its header costs one part more
 * and not one a write.
 *
 * Invariants (cited as "parts (n)"):
 *  (1) That an upload will be begun is journaled before it is, and its id before the
 *      first part: whatever is begun is finished or aborted, by this mount or the next.
 *  (2) A part counts as sent only if nothing was written to it since its sending began.
 *      So what is finished is the file.
 *  (3) An upload is finished at most once.  Whatever the answer, it is over for us: an
 *      attempt that comes after sends anew.
 *  (4) What an earlier mount had sent counts only if the file still has the bytes, by
 *      their CRC32C.
 *  (5) The tag of an upload is of its bytes alone: a file that is changed after a finish
 *      was tried gets another.
 *
 * Threads: parts_wrote and parts_cut by the writers, parts_work by the threads that
 * parts_wrote asked for, the rest by one thread at a time.
 */
#ifndef CACHE_PARTS_H
#define CACHE_PARTS_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "backends/backend.h"
#include "backends/util/pool.h"
#include "cache/journal.h"

struct orphans;

/* Up to here one PUT is as fast as parts and is one request. */
enum { SINGLE_PUT_MAX = 16 << 20 };
/* An id that begins so is not known to us: begun, and the answer or the daemon was lost.
 * What follows is the time of the intent, in ns since the epoch, and, after a '-', when
 * it was over, if that is known. */
enum { PARTS_UNKNOWN = '?' };

struct parts;

struct parts_conf {
	struct backend *be; /* borrowed, as all below */
	struct pool *pool;  /* sends; the thread in parts_complete sends too */
	struct journal *jn;
	struct orphans *orphans; /* get what will not be finished */
	uint64_t staged_id;	 /* of the file in the journal */
	const char *key;	 /* borrowed for the call */
	int fd;
	uint64_t timeout_ns; /* of each request with its retries */
	uint64_t quiet_ns;   /* a growing file's parts rest so long after a failure */
	atomic_bool *cancelled;
	/* So many bytes of the file went up.  NULL: nobody asks. */
	void (*sent)(void *arg, uint64_t bytes);
	void *arg;
};

int parts_new(const struct parts_conf *conf, struct parts **ret);
/* No thread may be in it; one that it was to have may still come, and finds nothing to
 * do.  What is begun is left as it is.  NULL is fine. */
void parts_free(struct parts *p);
/* Before any other use: what the journal has of an earlier mount's upload. */
int parts_restore(struct parts *p, const struct journal_upload *up);
/* -EUCLEAN: it is no part of this. */
int parts_restore_part(struct parts *p, const struct part *part, uint32_t crc);

/* These bytes are in the file.  True: there is a part to send and a thread that may
 * send it is wanted: whoever is told so calls parts_work, in any thread. */
bool parts_wrote(struct parts *p, uint64_t off, uint64_t len);
/* The file ends here now. */
void parts_cut(struct parts *p, uint64_t size);
/* Send what is full, and return when there is nothing more. */
void parts_work(struct parts *p);
/* Instead, if no thread can be had. */
void parts_unwork(struct parts *p);
/* The file does not grow any more, and what becomes of it is being settled: no upload is
 * begun until parts_complete, or until something is written, but the parts of one that is
 * go on.  Waits for a beginning that is on its way. */
void parts_settle(struct parts *p);
/* As parts_settle, and no part is taken up either. */
void parts_hold(struct parts *p);
/* Wait until no thread is in parts_work.  Those that are to call it still do not count:
 * they may wait for the uploads of other files. */
void parts_wait(struct parts *p);

const char *parts_key(const struct parts *p);
/* Its tag, or NULL if nothing is begun.  After parts_settle or parts_hold. */
const char *parts_tag(struct parts *p);
bool parts_has_id(struct parts *p, const char *id);
/* Is some thread at it just now, or asked for? */
bool parts_working(struct parts *p);
/* The journal's row of it, which goes with the file's; 0 = none. */
uint64_t parts_row(struct parts *p);

/* Send what is missing and finish.  The file does not change meanwhile.  What was begun
 * with another tag is given up.  In a store that is told the time only when an upload is
 * begun (BACKEND_BEGIN_META), *ret may have another than opts->mtime_ns.
 * -ENXIO: the store does not know the upload, which is over then. */
int parts_complete(struct parts *p, uint64_t size, const struct put_opts *opts,
		   struct object *ret);
/* It will not be finished.  Nobody is in parts_work. */
void parts_give_up(struct parts *p);
#endif
