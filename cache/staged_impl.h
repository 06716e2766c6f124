/* staged_impl.h - what staged*.c, early.c, attempt.c and publish.c share.
 * Nobody else includes this. */
#ifndef CACHE_STAGED_IMPL_H
#define CACHE_STAGED_IMPL_H
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include "backends/util/map.h"
#include "backends/util/pool.h"
#include "cache/orphan.h"
#include "cache/parts.h"
#include "cache/staged.h"
#include "cache/tags.h"
#include "cache/torn.h"

/* bytes: smaller files go up when they are closed. */
enum { EARLY_FROM = 8 << 20 };

/* Changes that one transaction makes beside the row that is sealed, at most. */
enum { SEAL_EXTRA_MAX = 5 };
/* Whoever waits looks again after so long, should a signal be missed. */
enum { STAGED_LOOK_MS = 100 };

/* What is sent first: what was not tried yet, or is waited for, before what was. */
enum attempt_rank { RANK_FRESH, RANK_AGAIN, RANK_COUNT };

/* Uploads that no thread has taken yet; guarded by staging.lock. */
struct attempt_queue {
	struct staging *sg; /* borrowed; set once */
	TAILQ_HEAD(, attempt) list;
	uint32_t n;
	uint32_t asked; /* threads that will each come and take one; n at least */
};

struct staging {
	/* set once */
	struct staging_conf conf; /* its strings owned */
	char *dir, *local_only;	  /* owned */
	int dir_fd;		  /* owned: dir's, to be synced */
	struct backend *be;	  /* borrowed, as all of these */
	struct blocks *bl;
	struct journal *jn;
	struct names *nm;
	struct removal *rm;
	struct pool *jobs, *parts;
	struct orphans *orphans; /* owned */
	pthread_t keeper;
	bool keeper_runs;

	/* used while loading only */
	uint64_t *dropped; /* owned; ids of rows that nothing was promised for */
	size_t n_dropped;

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* any state of any file */
	pthread_cond_t ends;	/* for the keeper: closing, or staging_drain */
	struct map by_key;	/* the newest generation of each name */
	struct attempt_queue queues[RANK_COUNT];
	bool closing;
	bool hurried; /* by staging_hurry, once */

	/* atomic */
	_Atomic uint64_t used_bytes;
	_Atomic uint64_t sent_bytes; /* of these: pressure.c */
	atomic_bool cancelled; /* the mount ends: what is begun is left to the next */
};

struct staged {
	/* set once */
	struct map_node node; /* in by_key while mapped; guarded by lock */
	struct staging *sg;   /* borrowed */
	uint64_t id;
	char *path; /* owned */

	/* Held for reading around each pread and pwrite, for writing to seal and to
	 * retire: no byte changes while a file is on its way. */
	pthread_rwlock_t io;

	/* Closed once, when it retires: by who holds io for writing and fd_lock.  Others
	 * hold one of them, or have claimed the file, or see it in a state that is not
	 * DONE. */
	pthread_mutex_t fd_lock; /* the innermost */
	int fd; /* owned; -1: the file is lost (recovery), or the cache's by now ... */
	uint64_t last_bytes;   /* ... and had so many: not one that is empty; ... */
	int64_t last_mtime_ns; /* ... and this time */

	/* atomic */
	atomic_int refs, writers;
	_Atomic int state; /* enum staged_state; changes under lock */
	atomic_bool dirty; /* written since it was last sealed */
	atomic_bool retired, cancel;
	atomic_bool torn;      /* a write into it failed, or a sync: missing says where */
	atomic_bool nameless;  /* no row, no name: its file goes with it */
	atomic_bool entered;   /* the disk has its name in staged/ */
	atomic_bool mtime_set; /* by hand, after the last write */
	atomic_bool unsure;    /* OPEN, but the commit that was to seal it failed, and may
				  be in the journal all the same */
	_Atomic uint64_t charged_bytes; /* of staging.used_bytes */
	_Atomic uint64_t sent_bytes; /* of staging.sent_bytes; at most what is charged */
	_Atomic uint64_t filled_to;	/* written so far from the front, see early.c */
	_Atomic(struct parts *) parts;	/* owned; set under staging.lock, taken away under
					   that and io held for writing: stays for who
					   holds either */

	/* guarded by staging.lock */
	char *key; /* owned */
	bool local, mapped, holds_removal, synced;
	bool busy;	/* one thread seals, renames, drops or retires it; only that
			   one starts an upload of it meanwhile */
	bool sending;	/* an upload is queued or runs ... */
	bool uploading; /* ... it runs ... */
	struct attempt *queued; /* ... or waits for a thread; else NULL */
	bool no_retry;	/* a rename waits for this attempt; nobody else starts one */
	bool owed;	/* OPEN though it was closed: the keeper tries to seal it again */
	bool recovered; /* loaded, and not looked at by staging_start yet */
	bool superseded; /* DROPPED as a later generation took its place, not in the
			    bucket yet */
	bool uncertain; /* an upload of it was broken off: it may have succeeded */
	uint64_t uncertain_key; /* hash of the name that it was sent to */
	char base[ETAG_SIZE], tag[TAG_SIZE];
	char base_tags[TAGS_SIZE]; /* of uploads of ours that may be there instead */
	struct staged *older;	   /* reference; SEALED: to be uploaded before this one;
				      CONFLICT: kept until this one is uploaded */
	uint64_t retry_at_ns, attempts;
	int error;	      /* of the last attempt */
	struct torn missing;  /* of writes and syncs that failed ... */
	int torn_error;	      /* ... with this, the last of them; 0 = none is */
	struct object object; /* DONE */
};

/* Functions whose name ends in _locked: staging.lock is held. */
struct staged *staged_find_locked(struct staging *sg, const char *key);
int staged_map_locked(struct staged *st);
void staged_unmap_locked(struct staged *st);
/* One thread at a time seals, renames, drops or retires: wait for the turn. */
void staged_claim_locked(struct staged *st);
void staged_unclaim_locked(struct staged *st);
void staged_set_state_locked(struct staged *st, enum staged_state state);
/* attempt.c: an upload that is queued is taken back, one that runs is stopped, which is
 * waited for.  The caller has claimed st. */
void staged_stop_sending_locked(struct staged *st);
/* Somebody waits: if its upload is queued, it goes before those that nobody waits for. */
void staged_hasten_locked(struct staged *st);
/* Of a new set. */
void attempt_queues_init(struct staging *sg);
/* A row as it is now.  What another thread may change while the row is committed is
 * a copy; the rest is borrowed from st, which the caller has claimed (or nobody else
 * knows).  Not to be copied: row points into it. */
struct row_image {
	struct journal_row row;
	char base[ETAG_SIZE], base_tags[TAGS_SIZE];
};
void staged_row_locked(const struct staged *st, struct row_image *ret);
/* fdatasync, of what is not sealed yet.  Once it has failed all bytes count as missing
 * (staged (7)): what the kernel could not write it has forgotten, and a second sync would
 * say that all is well. */
int staged_sync_bytes(struct staged *st);
/* If its row promises it and it is torn: that the row says so, too. */
int staged_keep_torn(struct staged *st);
/* The tags of all uploads of ours that the bucket may have under this name, as far
 * as st knows. */
void staged_tags_locked(const struct staged *st, const char *key, char ret[TAGS_SIZE]);
void staged_log_error(struct staged *st, const char *what, int r);
int staged_alloc(struct staging *sg, uint64_t id, const char *key, struct staged **ret);
/* Seal under a key and a base (NULL: its own), which may differ from its own during
 * a rename.  The caller has claimed it. */
int staged_seal(struct staged *st, const char *key, const char *base,
		const struct journal_change *extra, size_t n_extra);
/* Queue an upload if one is due, and nobody has claimed it. */
void staged_submit_locked(struct staged *st);
/* The same, by the one who has claimed it. */
void staged_submit_claimed_locked(struct staged *st);
/* Wait for the attempt after the given number, or for the one after that if it is stopped
 * by somebody else. */
int staged_wait_locked(struct staged *st, uint64_t attempts_before, struct call *call);
/* After a rename: if nobody has it open and it is not sealed, no close will do that any
 * more, and the keeper tries (P2).  Back under its old name, say, whose seal had settled
 * what was owed; or closed while it got the new one. */
void staged_owe(struct staged *st);

/* early.c: bytes were written, or the file was cut, with io held. */
void early_wrote(struct staged *st, uint64_t off, uint64_t len);
void early_cut(struct staged *st, uint64_t size);
/* The tag of what went up already, for the object key; false: nothing did. */
bool early_tag(struct staged *st, const char *key, char ret[TAG_SIZE]);
/* *ret: what parts_complete finishes, or NULL: one put.  Whatever went up for another
 * object is given up. */
int early_complete(struct staged *st, const char *key, const char *tag, uint64_t size,
		   struct parts **ret);
void early_give_up(struct staged *st);
/* Of the journal, of its upload in parts; 0 = none. */
uint64_t early_row(struct staged *st);
/* It was finished. */
void early_over(struct staged *st);
/* Nobody has st any more. */
void early_free(struct staged *st);
/* staged_io.c: the file is cut to size, or goes: the rest counts no more. */
void staged_refund(struct staged *st, uint64_t size);
/* The disk is full, perhaps of what can be fetched again: that goes first.  Then another
 * try, one, even if nothing went: of two that ask at the same time one finds all gone. */
void staged_make_room(const struct staged *st, uint64_t need);
/* pressure.c: so much of it went up, while it stays here; no more than size did. */
void staged_sent(struct staged *st, uint64_t bytes);
void staged_unsend(struct staged *st, uint64_t size);
/* For orphan_conf. */
bool staging_has_upload(void *arg, const char *id);
void staging_run_orphans(struct staging *sg);

/* st follows what its older generation became. */
void staged_catch_up_locked(struct staged *st);
/* What must be done with what was loaded, before anything is uploaded. */
int staging_recover(struct staging *sg);
void staged_copy_string(char *dst, size_t size, const char *src);
#endif
