/* names.h - what the bucket was last heard to hold, believed for a while (P7).
 *
 * Listings and single answers, in memory, bounded.  Within ttl a question is
 * answered from here, "no such name" included; after it the bucket is asked
 * again, and a question that cannot be asked (network fault) is an error, never
 * a "no" (P10).  What this mount itself put or removed is noted at once and is
 * not undone by an answer to a question that was asked earlier.  The user's mtime,
 * which only a single answer tells, outlives a listing of the same version.
 *
 * A directory is read while its pages arrive.  Complete listings are kept in the
 * index for the next mount (names_keep.c), which asks as little within ttl.  One that is
 * longer than entries_max is for those who read it alone, and ends with the last (P9).
 *
 * Paths have no slash at either end; "" is the root.  Keys that cannot be file
 * names (empty or dot parts, NUL, over 255 bytes) are left out and counted in one
 * log line per listing.  Where both "a" and "a/..." exist the directory wins, for a name
 * with a dot once it was listed: to look for one behind each product would be a request
 * for each.
 */
#ifndef CACHE_NAMES_H
#define CACHE_NAMES_H
#include <stdbool.h>
#include <stdint.h>
#include "backends/backend.h"
#include "cache/blocks.h"
#include "cache/listing.h"

enum { NAME_MAX_BYTES = 255 };

struct names;

enum name_kind { NAME_FILE, NAME_DIR };

struct names_conf {
	uint64_t ttl_ns, negative_ttl_ns;
	uint64_t timeout_ns;  /* of one page of a listing; 0 = none */
	uint32_t entries_max; /* names and directories in memory; the least used go first
			       */
	bool keep;	      /* listings, for the next mount on this cache directory */
};

int names_new(const struct names_conf *conf, struct backend *be, struct blocks *bl,
	      struct names **ret);
/* Every stream is closed. */
void names_free(struct names *nm);

/* 0 and *ret_kind (and *ret_obj for a file; its tag is ""), -ENOENT, or why the
 * bucket cannot be asked.  call NULL: -EAGAIN instead of asking. */
int names_lookup(struct names *nm, const char *path, enum name_kind *ret_kind,
		 struct object *ret_obj, struct call *call);

/* The last that was heard of it, however long ago, is that. */
bool names_was(struct names *nm, const char *path, enum name_kind kind);

/* Every name in a directory that was there at names_open and still is; each once, in
 * the order of the store.  Places (from 0) keep their meaning while it is open. */
struct names_stream;

struct name {
	char name[NAME_MAX_BYTES + 1];
	enum name_kind kind;
	struct object object; /* of a file */
};

/* Waits for the first of them.  A directory that is not there is empty.  What is known
 * better than by the listing, and may be missing in it, is added to known: such names
 * may come in the stream once more.  call NULL: -EAGAIN instead of asking or waiting. */
int names_open(struct names *nm, const char *dir, struct listing *known,
	       struct names_stream **ret, struct call *call);
/* 1: the first at *place or behind it, whose place *place is now; 0: the end; or the
 * error of a page that did not come (P10).  call NULL: -EAGAIN instead of waiting. */
int names_next(struct names_stream *s, uint32_t *place, struct name *ret,
	       struct call *call);
/* It is known by now that the bucket does not have the name (any more). */
bool names_lost(struct names_stream *s, const struct name *name);
/* After the end: it has keys that cannot be names, too. */
bool names_hide_some(struct names_stream *s);
void names_close(struct names_stream *s);

/* This mount put or removed it just now.  Before the journal forgets the change: what
 * is kept of the directory for the next mount goes here. */
void names_put(struct names *nm, const char *path, const struct object *obj);
/* It is about to be changed, and no row of the journal says so: were we to die of it, the
 * next mount must not believe the listing that is kept of its directory. */
void names_changing(struct names *nm, const char *path);
/* After each names_changing: what became of it is known, or what is believed of the name
 * is given up (names_put, names_forget). */
void names_changed(struct names *nm, const char *path);
void names_put_dir(struct names *nm, const char *path);
void names_removed(struct names *nm, const char *path);
/* Something of that kind; another kind may have the name by now. */
void names_kind_removed(struct names *nm, const char *path, enum name_kind kind);
/* Names and directories that are remembered now (P9). */
uint64_t names_count(struct names *nm);
/* What is believed about it turned out wrong: ask again. */
void names_forget(struct names *nm, const char *path);
#endif
