/* journal.h - the durable rows behind staged files: what this disk owes the bucket.
 *
 * Tables: staged files; uploads in parts that are not over, and the parts of them that
 * are there; names whose removal from the bucket is due; and directories that exist on
 * this disk only.  One thread commits at a time, the journal's or one of the callers';
 * they hand in changes and wait, and what several hand in at once is one commit.  One
 * that is `durable` is synced before it returns (power loss); one that is not survives
 * the daemon's death at once and the machine's a little later.
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
	bool mtime_set;	       /* its time was set by hand */
	bool torn; /* a write into it failed: staged (7), over a mount's end */
	uint64_t size;	       /* bytes, when it was sealed or synced */
	const char *base;      /* etag it replaces; "" = the key did not exist (P5) */
	const char *tag;       /* of its upload; "" before it is sealed */
	const char *base_tag;  /* of uploads of ours that may be the base, see tags.h */
	const char *upload_id; /* in a journal of an older mastfs: an unfinished upload in
				  parts; "" since */
};

/* Begun, and neither finished nor aborted, as far as we know.  It stays when the row of
 * its file goes. */
struct journal_upload {
	uint64_t id, staged_id; /* its own, of the same numbers; its file's */
	const char *key;
	const char *upload_id; /* see parts.h for one that is not known */
	const char *tag;       /* of the object that it makes */
};

enum journal_kind {
	JOURNAL_PUT_ROW,    /* row */
	JOURNAL_DEL_ROW,    /* id */
	JOURNAL_PUT_GONE,   /* key, etag, tag: remove that version from the bucket */
	JOURNAL_DEL_GONE,   /* key */
	JOURNAL_PUT_DIR,    /* key: a directory that is only here */
	JOURNAL_DEL_DIR,    /* key */
	JOURNAL_PUT_UPLOAD, /* upload */
	JOURNAL_DEL_UPLOAD, /* id: with its parts */
	JOURNAL_PUT_PART,   /* id of the upload, part, crc: CRC32C of its bytes */
};

struct journal_change {
	enum journal_kind kind;
	const struct journal_row *row; /* borrowed until the commit returns */
	uint64_t id;
	const char *key;
	const char *etag, *tag;		     /* see removal.h; NULL = "" */
	const struct journal_upload *upload; /* borrowed, as part */
	const struct part *part;
	uint32_t crc;
};

/* Called for each row while loading; < 0 ends it with that error. */
struct journal_visitor {
	void *arg;
	int (*row)(void *arg, const struct journal_row *row);
	int (*gone)(void *arg, const char *key, const char *etag, const char *tag);
	int (*dir)(void *arg, const char *key);
	/* After all rows; each part after its upload.  NULL: nobody asks. */
	int (*upload)(void *arg, const struct journal_upload *upload);
	int (*part)(void *arg, uint64_t upload_id, const struct part *part, uint32_t crc);
};

/* What a commit does on a full disk.  By whoever commits. */
struct journal_room {
	void *arg;
	/* Give something up for it; turn: how often that was done already for this
	 * commit.  False: there is no more. */
	bool (*make)(void *arg, uint32_t turn);
	/* A commit went well, and room was made since this last returned true. */
	bool (*again)(void *arg);
};

/* Opens or makes path.  -EUCLEAN: damaged, nothing was touched. */
int journal_open(const char *path, struct journal **ret);
void journal_close(struct journal *jn); /* NULL is fine */
/* Before journal_load. */
void journal_set_room(struct journal *jn, const struct journal_room *room);
/* Before the first commit. */
int journal_load(struct journal *jn, const struct journal_visitor *v);
/* All of it or nothing, in one transaction. */
int journal_commit(struct journal *jn, const struct journal_change *changes, size_t n,
		   bool durable);
/* All that was committed before is durable when it returns. */
int journal_sync(struct journal *jn);
/* Deletions of what is over, that nobody can undo or wait for: what cannot be done now is
 * done with the next commit, before it, and until it is done no commit is. */
void journal_forget(struct journal *jn, const struct journal_change *changes, size_t n,
		    bool durable);
/* What is no worse for being lost: nobody waits for it.  It is applied in its place among
 * the commits, with the next of them or within moments; that it failed only the log says.
 * At first, and when too much waits already, it is a commit like any other. */
int journal_post_row(struct journal *jn, const struct journal_row *row);
/* Never one that a row has or had.  A file may still be there under it: after power
 * loss the file can outlive what the journal knew of its id. */
uint64_t journal_new_id(struct journal *jn);
/* Nothing was ever committed to it before it was opened: what lies in staged/ then
 * belongs to a journal that was lost. */
bool journal_is_new(const struct journal *jn);
#endif
