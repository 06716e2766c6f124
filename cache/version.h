/* version.h - what memory knows of the cache; for the files of the block cache only.
 *
 * The parts:  blocks.c   open, read, hint, the small calls
 *             version.c  the table of loaded versions
 *             state.c    their blocks' states
 *             fetch.c    runs: one GET each, published block by block
 *             first.c    the block that comes with a name
 *             evict.c    room: the cap, the disk, and what is given up for it
 *             flush.c    the thread that writes the index and unloads versions
 *             recover.c  index and files at start
 *             whole.c    adopt, rekey, export, complete
 *             scan.c     where the HDUs of FITS files lie
 *             frame.c    which blocks of them go last
 *             pass.c     data files that the kernel reads past us
 *             fill.c     the thread that completes and verifies in the background
 *             store.h    data files      index.h  rows
 *
 * A block's states, all changes under version.lock:
 *
 *               a run claims it            the run has it whole
 *    ABSENT ------------------> BUSY ------------------------> PRESENT
 *      ^ ^                      | ^                              | |
 *      | +----------------------+ | evictor claims               | |
 *      |   the run failed, or     +------------------------------+ |
 *      |   the hole is punched                                     |
 *      +-----------------------------------------------------------+
 *      |   the file was damaged                                    ^
 *      +------------------- UNVERIFIED ----------------------------+
 *        wrong CRC          from the index      first use, right CRC
 *
 * Only BUSY blocks' bytes change.  Only the one that made a block BUSY ends that.
 *
 * Locks: version.lock > blocks.lock > pool.lock.  Neither is held across a backend
 * call, SQLite or file I/O.  A version's epoch grows when its data file turns out
 * damaged: whoever read bytes without the lock looks at it before it believes them.
 */
#ifndef CACHE_VERSION_H
#define CACHE_VERSION_H
#include <pthread.h>
#include <stdatomic.h>
#include "backends/util/cond.h"
#include "backends/util/pool.h"
#include "cache/blocks.h"
#include "cache/index.h"
#include "cache/layout.h"
#include "cache/store.h"
#include "cache/walk.h"

enum {
	EXTENT_BLOCKS = INDEX_EXTENT_BLOCKS,
	VERSION_BUCKETS = 4096,
	VERSIONS_IDLE_MAX = 4096, /* loaded, though nobody has them open */
	HINTS_MAX = 64,		  /* runs of hints that are queued or fetched */
	BYPASSES_MAX = 8,	  /* reads past the cache at once */
	WAIT_SLICE_MS = 100,	  /* how late a waiter sees its cancellation */
};

/* A hostile size may not make us allocate: 8 MiB of pointers to extents. */
#define VERSION_SIZE_MAX (UINT64_C(64) << 40)

enum block_state { BLOCK_ABSENT, BLOCK_BUSY, BLOCK_PRESENT, BLOCK_UNVERIFIED };

struct block {
	uint64_t tick; /* blocks.tick at its last use */
	uint32_t crc;  /* CRC32C, if PRESENT or UNVERIFIED */
	uint8_t state;
	bool read; /* somebody wanted its bytes, since it came */
};

/* 64 MiB of blocks, allocated when the first of them is claimed, until the flusher finds
 * that all are ABSENT. */
struct extent {
	bool dirty; /* differs from its row */
	struct block block[];
};

/* A range that must stay while somebody reads it; on its reader's stack. */
struct active {
	struct active *next;
	uint64_t first, last; /* blocks, both included */
};

/* A reader that waits for a block; on its stack.  Each has a condition of its own: sixty
 * readers that all woke for each block of sixty took half of the processors. */
struct waiter {
	struct waiter *next;
	uint64_t block;
	const struct run *run; /* that brings it, or NULL */
	pthread_cond_t wake;   /* the block is not BUSY any more, or the run ended */
};

enum run_state { RUN_QUEUED, RUN_STARTED, RUN_ENDED };

/* Blocks that one GET brings. */
struct run {
	/* set once */
	struct version *v; /* counted in v->n_holds */
	uint64_t first, n; /* blocks */
	bool hint;	   /* counted in bl->n_hints */

	/* guarded by v->lock */
	struct run *next; /* in v->runs until it ends */
	uint64_t starter; /* the reader who wanted it first; 0 = none yet */
	uint32_t refs;
	uint32_t waiters;
	enum run_state state;
	enum prio prio;
	int error;    /* once ended */
	bool no_room; /* once ended: the disk was the reason */
	bool spent;   /* once ended: it has failed for most of the time that it had */

	/* only its own thread */
	uint64_t started_ns;
	uint64_t epoch;	   /* v->epoch when it started */
	uint64_t pos;	   /* next byte, in the object */
	uint64_t block;	   /* next block to publish */
	uint64_t reserved; /* disk bytes not yet a block's */
	char *buffer;	   /* the current block's bytes, up to pos */
	const char *given; /* borrowed: its bytes; NULL = they must be fetched */
	int fault;	   /* why the sink gave up; -EAGAIN: the file was damaged */

	/* atomic */
	atomic_bool cancelled;
	atomic_bool wanted; /* a reader waits for it, if it began as a hint or not */
};

struct version {
	/* set once */
	struct blocks *bl;
	char *key; /* owned */
	struct object obj;
	struct store_id id;
	uint64_t n_blocks, n_extents;
	bool is_fits; /* by its name */

	/* guarded by bl->lock */
	struct version *next;	       /* in its bucket of the table */
	struct version *older, *newer; /* among the idle ones */
	struct version *next_dirty;
	uint32_t refs;	  /* of users */
	uint32_t n_holds; /* of runs, and of the cache's own threads: not idle, */
			  /* but not used either */
	bool idle, in_dirty;
	bool loading; /* its rows are being read */
	bool kept;    /* not evicted while refs; dropped with the last */
	bool on_disk; /* it may have a row, a file or both */

	/* only who loads it, then the flusher */
	uint64_t row_bytes;  /* what its row says; 0 if it has none */
	uint64_t put_off_ns; /* since when the flusher lets it wait; 0 = it does not */

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t changed;	    /* of checking */
	struct extent **extents;    /* owned; NULL = nothing there */
	uint64_t bytes, disk_bytes; /* of PRESENT and UNVERIFIED blocks */
	uint64_t epoch;
	bool settled;  /* no byte was written since the data file as a whole was synced */
	bool checking; /* somebody looks at the file, or makes it */
	bool warned;   /* of damaged blocks: one line tells enough */
	uint64_t read_bytes;	     /* of blocks that somebody read */
	uint64_t fill_not_before_ns; /* monotonic */
	uint32_t passes; /* not given up nor written while the kernel has the file */
	uint64_t in_use_until_ns; /* monotonic: till then no hole is tried, pass (3) */
	bool filling;	 /* in the queue of fill.c */
	struct active *active;
	struct waiter *waiters;
	struct run *runs;
	struct layout layout; /* what is known of it; of FITS files only */
	struct layout alike;  /* that of another of its kind: see scan.h */
	uint64_t scan_block;  /* when this is here, more is learnt: see scan.h */
	bool scanning, layout_dirty;
	struct walk walk; /* of those who read it */
	bool early;	  /* its first array was asked for before it was read */

	/* atomic */
	atomic_bool pinned; /* kept, as the evictor sees it */
	/* What somebody who read it has told: see ahead.h. */
	atomic_bool tail_read, hopped, read_through;
	_Atomic int64_t atime_ns; /* wall clock; 0 = as in its row */
};

struct blocks {
	/* set once */
	struct backend *be; /* borrowed */
	struct store *store;
	struct index *index;
	struct pool *pool;
	uint64_t max_bytes, reserve_bytes, read_timeout_ns;
	uint64_t array_bytes; /* see walk.h */
	uint64_t run_blocks;  /* in one GET at most */
	pthread_t flusher;
	struct index_extent *flush_rows; /* owned; the flusher's room for a round */
	struct fill *fill;		 /* owned */

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* loading, evicting, dropping, bypasses, flushes */
	struct version *table[VERSION_BUCKETS];
	struct version *idle_oldest, *idle_newest;
	struct version *dirty, **dirty_tail;
	uint32_t n_idle, n_bypasses;
	bool evicting; /* one evictor at a time */
	bool dropping; /* this version is leaving disk: do not load it */
	struct store_id dropped;
	uint64_t flush_asked, flush_done; /* numbers of rounds */
	pthread_cond_t flush_wanted;
	bool stopping;

	/* only who evicts */
	bool index_full; /* it has no room for now */

	/* atomic */
	_Atomic uint64_t used; /* what the cap counts: see evict.c, which owns these */
	_Atomic uint64_t reserved; /* of used: not written yet */
	_Atomic uint64_t unloaded; /* of used: what rows of versions not loaded say */
	_Atomic uint64_t tick, readers;
	_Atomic uint64_t free_bytes, free_until_ns; /* what statvfs said, how long */
	_Atomic uint64_t full_until_ns;		    /* the disk refused a write */
	_Atomic uint32_t n_hints;
	/* > 0: who opens a FITS file reads its end, hops from header to header, reads
	 * whole arrays: see ahead.h. */
	_Atomic int32_t tail_belief, hop_belief, array_belief;
	_Atomic uint32_t n_demands; /* reads that wait for the network */
	_Atomic uint64_t demand_ns; /* when the last of them ended */
	atomic_bool closing;
	_Atomic uint64_t fetched_bytes, gets, evicted_bytes, bypassed, crc_errors;
};

/* -- state.c -- */

static inline uint64_t block_len(const struct version *v, uint64_t block)
{
	uint64_t left = v->obj.size - block * BLOCK_SIZE;
	return left < BLOCK_SIZE ? left : BLOCK_SIZE;
}

/* What a block takes of the disk. */
static inline uint64_t block_disk_len(const struct version *v, uint64_t block)
{
	return (block_len(v, block) + 4095) & ~UINT64_C(4095);
}

/* Of its extent no; all have EXTENT_BLOCKS but the last. */
uint64_t extent_blocks(const struct version *v, uint64_t no);
/* Made if it is not there yet; NULL: no memory.  Locked, or nobody else's yet. */
struct extent *extent_make(struct version *v, uint64_t no);
/* If nothing is in it, nor to be written of it (P9): who gave up the lock does not find
 * it again then, unless a block of it is BUSY. */
void extent_give_back_locked(struct version *v, uint64_t no);
uint64_t range_disk_len(const struct version *v, uint64_t first, uint64_t n);

/* NULL: ABSENT, and nothing is allocated for it. */
struct block *block_at_locked(struct version *v, uint64_t block);
enum block_state block_state_locked(struct version *v, uint64_t block);
/* ABSENT -> BUSY.  -ENOMEM. */
int block_claim_locked(struct version *v, uint64_t block);
/* BUSY -> PRESENT or UNVERIFIED, with bytes that room_take took.  -EAGAIN: the
 * file they were written to is not the version's any more. */
int block_publish(struct version *v, uint64_t block, uint32_t crc, enum block_state state,
		  uint64_t epoch);
/* The same, of bytes that were in the file already. */
int block_publish_there(struct version *v, uint64_t block, uint32_t crc, uint64_t epoch);
/* PRESENT or UNVERIFIED -> BUSY, by the evictor: it owns the bytes' accounting. */
void block_unpublish_locked(struct version *v, uint64_t block);
/* BUSY -> ABSENT.  The accounting is the caller's. */
void block_release_locked(struct version *v, uint64_t block);
/* BUSY -> UNVERIFIED: the evictor gives back what it could not punch out. */
void block_restore_locked(struct version *v, uint64_t block);
/* UNVERIFIED or PRESENT -> ABSENT; its bytes are given back. */
void block_forget_locked(struct version *v, uint64_t block);
/* Is the data file still the one that was written?  If not, nothing of it is
 * believed from now on.  With ret_epoch, there is a file afterwards, and what is
 * written to it may be published under that epoch. */
int version_check_file(struct version *v, uint64_t *ret_epoch);
void version_mark_dirty_locked(struct version *v);
void active_add_locked(struct version *v, struct active *a);
void active_del_locked(struct version *v, struct active *a);
void waiter_add_locked(struct version *v, struct waiter *w);
void waiter_del_locked(struct version *v, struct waiter *w);
/* Wake who waits for the run. */
void waiters_wake_locked(struct version *v, const struct run *run);
bool active_covers_locked(const struct version *v, uint64_t block);
/* -- version.c -- */

/* Has anybody opened it?  Runs and the cache's own threads only hold. */
bool version_used(struct version *v);
void version_hold(struct version *v);
void version_release(struct version *v);
/* Every loaded version, held: versions_done. */
int versions_snapshot(struct blocks *bl, struct version ***ret, size_t *ret_n);
void versions_done(struct version **all, size_t n);
/* How many have something to write; the next of them, held. */
size_t versions_dirty(struct blocks *bl);
struct version *version_take_dirty(struct blocks *bl);
/* Take one out of the table that is idle and has nothing to write: one that must
 * leave the disk too (*ret_drop; then nobody can load it before version_drop_end),
 * else the oldest of more than max.  failing: nothing can be written, so that one which
 * has something to write may have to go as well, and leaves the disk.  NULL: none.  The
 * caller frees it. */
struct version *version_take_idle(struct blocks *bl, uint32_t max, bool failing,
				  bool *ret_drop);
void version_free(struct version *v);
/* From here to the end nobody loads this version; false: it is loaded, so that
 * its owner must be asked. */
bool version_drop_begin(struct blocks *bl, const struct store_id *id);
void version_drop_end(struct blocks *bl);
/* File and row of one that is loaded, but in nobody else's hands. */
void version_drop_files(struct version *v);

/* -- fetch.c -- */

/* Claim the ABSENT blocks from first on, no further than last, and fetch them.
 * Returns how many there were, or -ENOMEM, -ESHUTDOWN. */
int64_t run_start_locked(struct version *v, uint64_t first, uint64_t last,
			 uint64_t starter, enum prio prio);
/* The bytes of the first block, which nobody has asked for: kept, if it is ABSENT. */
void run_given(struct version *v, const void *bytes);
/* The run that brings this BUSY block, with a reference; NULL: an evictor has it. */
struct run *run_find_locked(struct version *v, uint64_t block);
/* This reader waits for it now: it goes in front of what nobody waits for. */
void run_promote_locked(struct run *run, uint64_t reader);
void run_unref_locked(struct run *run);
/* A GET straight into dst, for a read that finds no room (blocks (5), P9). */
int fetch_bypass(struct version *v, uint64_t off, void *dst, uint64_t len,
		 struct call *call);

/* -- evict.c -- */

/* Take bytes of the cap and the disk; evicts for it.  -ENOSPC: no room. */
int room_take(struct blocks *bl, uint64_t bytes);
/* Give back what room_take took and no block has. */
void room_give(struct blocks *bl, uint64_t bytes);
/* What room_take took is a block's now. */
void room_written(struct blocks *bl, uint64_t bytes);
/* A block's bytes left the disk, or are believed no more. */
void room_freed(struct blocks *bl, uint64_t bytes);
/* A version is loaded: its blocks count now, its row does no more. */
void room_load(struct blocks *bl, uint64_t row_bytes, uint64_t disk_bytes);
/* A row that said so much says less now: bytes left the disk.  Returns how many of
 * them counted.  Nobody may drop or load it meanwhile. */
uint64_t room_row(struct blocks *bl, uint64_t said, uint64_t says);
/* And the way back.  Nobody may drop or load it before this is done. */
void room_unload(struct blocks *bl, uint64_t disk_bytes, uint64_t row_bytes);
/* A write was refused: no room for a while. */
void room_refused(struct blocks *bl);
/* File and row of a version that the caller, who evicts, has begun to drop, as it is not
 * loaded; *freed grows by its bytes, even if only the file could go (-ENOSPC). */
int evict_version(struct blocks *bl, const struct store_id *id, uint64_t *freed);
/* Returns how many bytes were given up. */
uint64_t evict_bytes(struct blocks *bl, uint64_t bytes);

/* -- flush.c -- */

int flush_start(struct blocks *bl);
/* The last round, and the end of the thread. */
void flush_stop(struct blocks *bl);
/* Write everything, wait. */
void flush_now(struct blocks *bl);

/* -- fill.c -- */

/* completes: a version that is mostly read is fetched whole. */
int fill_start(struct blocks *bl, bool completes);
/* At once; nothing is filled afterwards.  May be called again. */
void fill_stop(struct blocks *bl);
void fill_free(struct blocks *bl);
/* Somebody has read from it: is the rest due? */
void fill_consider_locked(struct version *v);
/* Nothing is missing of it, but it must be verified. */
void fill_verify(struct version *v);

/* -- recover.c -- */

/* Make index and files agree, and count: before anything else uses them. */
int recover(struct blocks *bl);

/* -- blocks.c -- */

/* blocks_read; with dst NULL, only make it present: -ENOSPC if there is no room. */
int blocks_bring(struct version *v, uint64_t off, void *dst, uint64_t len,
		 struct call *call);
#endif
