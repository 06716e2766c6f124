/* journal_impl.h - what journal.c and journal_load.c share, and nobody else includes. */
#ifndef CACHE_JOURNAL_IMPL_H
#define CACHE_JOURNAL_IMPL_H
#include <pthread.h>
#include <stdatomic.h>
#include "cache/db.h"
#include "cache/journal.h"

enum { JOURNAL_KINDS = JOURNAL_PUT_PART + 1 };

struct journal {
	/* after journal_load, of whoever set committing */
	struct db db;
	sqlite3_stmt *change[JOURNAL_KINDS], *del_parts, *last_id;
	enum db_sync sync;
	struct owed *owed; /* owned; journal_owed.c */
	bool broken;	   /* something is owed that there was no memory for */
	bool made_room;	   /* and has not got it again */

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	struct request *head, **tail;
	uint32_t n_waiting, n_posted; /* of the queue: the former wait for a commit */
	uint64_t post_due_ns;	      /* of the first that is posted */
	bool committing, closing;
	bool has_rows; /* something was committed, now or before */

	/* set once */
	pthread_t writer;
	bool started, is_new;
	struct journal_room room; /* or all 0 */

	/* atomic */
	_Atomic uint64_t id;
};

/* What the column synced holds. */
enum { FLAG_SYNCED = 1, FLAG_MTIME_SET = 2, FLAG_TORN = 4 };

/* A row's CRC, of what it says. */
int journal_row_flags(const struct journal_row *row);
uint32_t journal_row_crc(const struct journal_row *row);
uint32_t journal_gone_crc(const char *key, const char *etag, const char *tag);
uint32_t journal_dir_crc(const char *key);
uint32_t journal_upload_crc(const struct journal_upload *up);
uint32_t journal_part_crc(uint64_t upload, const struct part *part, uint32_t sum);

/* By whoever commits, in a transaction. */
int journal_apply(struct journal *jn, const struct journal_change *c);
/* journal_owed.c, by whoever commits: take a copy; apply all, in a transaction that
 * is not committed without them; it was. */
void journal_owe(struct journal *jn, const struct journal_change *changes, size_t n);
int journal_apply_owed(struct journal *jn);
void journal_paid(struct journal *jn);

/* journal_load without the writer's thread. */
int journal_read(struct journal *jn, const struct journal_visitor *v);
/* The writer's thread. */
int journal_start(struct journal *jn);
#endif
