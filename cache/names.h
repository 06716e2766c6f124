/* names.h - what the bucket was last heard to hold, believed for a while (P7).
 *
 * Listings and single answers, in memory, bounded.  Within ttl a question is
 * answered from here, "no such name" included; after it the bucket is asked
 * again, and a question that cannot be asked (network fault) is an error, never
 * a "no" (P10).  What this mount itself put or removed is noted at once and is
 * not undone by an answer to a question that was asked earlier.  The user's mtime,
 * which only a single answer tells, outlives a listing of the same version.
 *
 * Paths have no slash at either end; "" is the root.  Keys that cannot be file
 * names (empty or dot parts, NUL, over 255 bytes) are left out and counted in one
 * log line per listing.  Where both "a" and "a/..." exist the directory wins.
 */
#ifndef CACHE_NAMES_H
#define CACHE_NAMES_H
#include <stdbool.h>
#include <stdint.h>
#include "backends/backend.h"
#include "cache/blocks.h"

enum { NAME_MAX_BYTES = 255 };

struct names;

enum name_kind { NAME_FILE, NAME_DIR };

struct names_conf {
	uint64_t ttl_ns, negative_ttl_ns;
	uint32_t entries_max; /* names and directories in memory; the least used go first
			       */
};

int names_new(const struct names_conf *conf, struct backend *be, struct blocks *bl,
	      struct names **ret);
void names_free(struct names *nm);

/* 0 and *ret_kind (and *ret_obj for a file; its tag is ""), -ENOENT, or why the
 * bucket cannot be asked.  call NULL: -EAGAIN instead of asking. */
int names_lookup(struct names *nm, const char *path, enum name_kind *ret_kind,
		 struct object *ret_obj, struct call *call);

/* Called with names' lock held: must only copy.  obj is NULL for a directory. */
typedef int names_fn(void *arg, const char *name, const struct object *obj);

/* Every name in a directory, in no order.  A directory that is not there is
 * empty.  call NULL: -EAGAIN instead of asking. */
int names_list(struct names *nm, const char *dir, names_fn *fn, void *arg,
	       struct call *call);

/* This mount put or removed it just now. */
void names_put(struct names *nm, const char *path, const struct object *obj);
void names_put_dir(struct names *nm, const char *path);
void names_removed(struct names *nm, const char *path);
/* Names and directories that are remembered now (P9). */
uint64_t names_count(struct names *nm);
/* What is believed about it turned out wrong: ask again. */
void names_forget(struct names *nm, const char *path);
#endif
