/* index_impl.h - what the files of the index share.  Nobody else includes this.
 *
 *   index.c         the file, its tables, transactions
 *   index_blocks.c  versions and which of their blocks are on this disk
 *   index_layout.c  where the HDUs of versions lie
 *   index_mtime.c   the user's times
 *   index_names.c   complete listings
 *
 * Each of these has statements of its own, prepared when the file is opened.
 */
#ifndef CACHE_INDEX_IMPL_H
#define CACHE_INDEX_IMPL_H
#include <pthread.h>
#include <stdatomic.h>
#include "backends/util/cleanup.h"
#include "cache/db.h"
#include "cache/index.h"

enum { INDEX_STATEMENTS_MAX = 16 };

/* The tables of one part, and what it asks of them. */
struct index_part {
	const char *schema; /* may be applied again: IF NOT EXISTS */
	const char *tidy;   /* run at each start: what keeps it bounded (P9) */
	const char *const *sql;
	size_t n_sql; /* at most INDEX_STATEMENTS_MAX */
	const char *sound; /* asked at each start: 0, it is damaged; NULL: not asked */
};

enum index_part_no {
	INDEX_BASE,
	INDEX_BLOCKS,
	INDEX_LAYOUT,
	INDEX_MTIME,
	INDEX_NAMES,
	INDEX_PARTS
};
extern const struct index_part index_base, index_blocks, index_layout, index_mtime,
	index_names;

/* Has anybody ever set a time?  A listing asks for that of each name. */
enum index_mtimes { INDEX_MTIMES_UNKNOWN, INDEX_MTIMES_NONE, INDEX_MTIMES_SOME };

struct index {
	_Atomic int mtimes; /* changes under lock */

	/* guarded by lock */
	pthread_mutex_t lock;
	struct db db;
	sqlite3_stmt *st[INDEX_PARTS][INDEX_STATEMENTS_MAX];
};

/* Functions whose name ends in _locked: index.lock is held. */
int index_begin_locked(struct index *ix);
/* Commits if r is 0, else rolls back; returns r, or why it could not commit. */
int index_end_locked(struct index *ix, int r);

/* Binding and reading columns; SQLite itself remembers a failed bind. */
void index_bind_name(sqlite3_stmt *st, int i, const uint8_t name[STORE_NAME_BYTES]);
void index_bind_bytes(sqlite3_stmt *st, int i, const char *s);
void index_bind_uint(sqlite3_stmt *st, int i, uint64_t v);
/* NULL unless it is a blob of just so many bytes. */
const void *index_blob(sqlite3_stmt *st, int col, int bytes);
/* A number from a file that anybody may have written. */
uint64_t index_uint(sqlite3_stmt *st, int col);
void index_reset(sqlite3_stmt *st);
#endif
