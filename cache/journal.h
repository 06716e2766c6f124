/* journal.h - the durable rows behind staged files: what this disk owes the bucket.
 *
 * Three tables: staged files, names whose removal from the bucket is due, and
 * directories that exist on this disk only.  One writer thread; callers hand it
 * changes and wait, and what several hand in at once is one commit.  A commit
 * that is `durable` is synced before it returns (power loss); one that is not
 * survives the daemon's death at once and the machine's a little later.
 *
 * The file must never lose a row: a damaged journal is refused, never remade.
 * Each row carries a CRC32C of its own, because SQLite has none.
 */
#ifndef CACHE_JOURNAL_H
#define CACHE_JOURNAL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "backends/backend.h"

struct journal;

/* Numbers are on disk: do not renumber. */
enum row_state {
	ROW_OPEN = 0,	  /* being written */
	ROW_SEALED = 1,	  /* whole; must reach the bucket */
	ROW_CONFLICT = 2, /* whole; the bucket changed meanwhile: the user decides */
};

struct journal_row {
	uint64_t id; /* its bytes are the file staging/<id> */
	const char *key;
	enum row_state state;
	bool local;	       /* never goes to the bucket under this name (P6) */
	bool synced;	       /* an fsync of it was acknowledged while it was open */
	uint64_t size;	       /* bytes, when it was sealed or synced */
	const char *base;      /* etag it replaces; "" = the key did not exist (P5) */
	const char *tag;       /* of its upload; "" before it is sealed */
	const char *base_tag;  /* of uploads of ours that may be the base, see tags.h */
	const char *upload_id; /* unfinished upload in parts; "" = none */
};

enum journal_kind {
	JOURNAL_PUT_ROW,  /* row */
	JOURNAL_DEL_ROW,  /* id */
	JOURNAL_PUT_GONE, /* key, etag, tag: remove that version from the bucket */
	JOURNAL_DEL_GONE, /* key */
	JOURNAL_PUT_DIR,  /* key: a directory that is only here */
	JOURNAL_DEL_DIR,  /* key */
};

struct journal_change {
	enum journal_kind kind;
	const struct journal_row *row; /* borrowed until the commit returns */
	uint64_t id;
	const char *key;
	const char *etag, *tag; /* see removal.h; NULL = "" */
};

/* Called for each row while loading; < 0 ends it with that error. */
struct journal_visitor {
	void *arg;
	int (*row)(void *arg, const struct journal_row *row);
	int (*gone)(void *arg, const char *key, const char *etag, const char *tag);
	int (*dir)(void *arg, const char *key);
};

/* Opens or makes path.  -EUCLEAN: damaged, nothing was touched. */
int journal_open(const char *path, struct journal **ret);
void journal_close(struct journal *jn); /* NULL is fine */
/* Before the first commit. */
int journal_load(struct journal *jn, const struct journal_visitor *v);
/* All of it or nothing, in one transaction. */
int journal_commit(struct journal *jn, const struct journal_change *changes, size_t n,
		   bool durable);
/* Never one that a row has or had.  A file may still be there under it: after power
 * loss the file can outlive what the journal knew of its id. */
uint64_t journal_new_id(struct journal *jn);
/* Nothing was ever committed to it before it was opened: what lies in staged/ then
 * belongs to a journal that was lost. */
bool journal_is_new(const struct journal *jn);
#endif
