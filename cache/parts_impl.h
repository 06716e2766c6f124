/* parts_impl.h - what parts*.c share.  Nobody else includes this. */
#ifndef CACHE_PARTS_IMPL_H
#define CACHE_PARTS_IMPL_H
#include <pthread.h>
#include "backends/util/clock.h"
#include "backends/util/cond.h"
#include "cache/orphan.h"
#include "cache/parts.h"

enum {
	/* Of one file, if the pool has so many threads.  They share the link and end
	 * together, and each such wave costs a round trip. */
	PARTS_AT_ONCE = 16,
	PARTS_WAIT_MS = 1000 /* between two looks, should a signal be missed */
};

enum slot_state { SLOT_OPEN, SLOT_SENDING, SLOT_SENT, SLOT_RESTORED };

struct slot {
	enum slot_state state;
	bool rewritten;	 /* written to while it was being sent */
	bool again;	 /* written to after it was sent: not before parts_complete */
	uint32_t crc;	 /* CRC32C of what was sent */
	uint64_t filled; /* bytes written to it */
	uint64_t size;	 /* bytes, from when it is taken to be sent */
	char receipt[ETAG_SIZE];
};

struct parts {
	/* set once */
	struct parts_conf conf;
	char *key; /* owned */

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t part_size;
	struct slot *slots; /* owned */
	uint32_t n_slots;
	uint64_t end; /* bytes: the file reaches this far, as far as we know */
	char *id;     /* owned; NULL = nothing is begun */
	uint64_t row; /* of the journal, of this upload or its intent; 0 = none */
	char tag[TAG_SIZE];
	int64_t mtime_ns; /* to be told when it is begun by parts_complete */
	uint32_t epoch;	  /* which upload this is */
	uint32_t workers; /* threads that are at it */
	/* Jobs that no thread has begun: that parts_complete asked for, and parts_wrote.
	 */
	uint32_t asked, hinted;
	bool gone; /* its owner has freed it: the last of these jobs takes it away */
	bool beginning, growing;
	bool settled; /* nothing is begun, but for parts_complete */
	bool whole; /* parts_complete: all there is to send may be sent */
	int error;  /* ends parts_complete */
	uint64_t quiet_until_ns;
};

/* Functions whose name ends in _locked: parts.lock is held.  No other lock is taken
 * under it. */
struct call parts_call(const struct parts *p);
/* Slots for n parts; false: the store takes no such number, or there is no memory. */
bool parts_have_slots_locked(struct parts *p, uint64_t n);
/* The next part to send, claimed. */
bool parts_take_locked(struct parts *p, uint32_t *ret);
/* It is to be sent, or sent again. */
void parts_reopen_locked(struct slot *s);
/* It is over: whatever comes is to be sent anew. */
void parts_over_locked(struct parts *p);
/* Send what is to be sent, in this thread.  Drops the lock meanwhile. */
void parts_send_locked(struct parts *p);
/* Unlock it, and free it if that was due. */
void parts_unlock(struct parts *p);
/* Begun when it returns 0.  Drops the lock meanwhile. */
int parts_begun_locked(struct parts *p);
/* CRC32C of bytes of the file. */
int parts_sum(int fd, uint64_t off, uint64_t len, uint32_t *ret);
/* An error after which the store may still have done it. */
bool parts_is_transient(int r);
/* staged_id: of the file that the next mount goes on with it for; 0 = none. */
int parts_save_row(struct parts *p, uint64_t row, uint64_t staged_id, const char *id,
		   const char *tag);
void parts_forget_row(struct parts *p, uint64_t row);
#endif
