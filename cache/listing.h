/* listing.h - the names in one directory of the bucket, for many of them: compact.
 *
 * Entries are numbered from 0 in the order in which they were added, and keep their
 * numbers, so a number is a place to go on reading at.  Fixed parts lie in one array,
 * names and ETags in another, and a table of numbers finds a name: with names of 23
 * bytes and ETags of 34 an entry takes 94 bytes (100,000 of them, 2026-11-26).
 *
 * Counted references; everything else is guarded by whoever made it.
 */
#ifndef CACHE_LISTING_H
#define CACHE_LISTING_H
#include <stdbool.h>
#include <stdint.h>
#include "backends/backend.h"

enum { LISTING_NONE = UINT32_MAX };

/* What is kept of an entry but its texts. */
struct listed {
	uint64_t size;	  /* bytes */
	int64_t mtime_ns; /* since the epoch */
	uint32_t text;	  /* where name, NUL, ETag, NUL are */
	bool dir;
	bool exact; /* the mtime is the user's, a listing's may not be */
};

struct listing {
	uint32_t refs; /* see listing_ref */
	uint32_t n, alloc, n_slots;
	size_t text_len, text_alloc; /* bytes */
	struct listed *entries;	     /* owned */
	char *text;		     /* owned */
	uint32_t *slots;	     /* owned: number + 1, 0 = free */
	bool hides; /* there are keys that cannot be names: set once all has come */
	/* In slots' memory, one a slot: a byte of the hash, which spares looks at names
	 * that are elsewhere in memory. */
	uint8_t *tags;
};

struct listing *listing_new(void); /* one reference; NULL without memory */
struct listing *listing_ref(struct listing *ls);
void listing_unref(struct listing *ls); /* NULL is fine */

/* obj NULL: a directory, which takes the place of a file of its name; a file of a name
 * that is there is left out.  1: nothing was added.  -ENOMEM; -EFBIG: more than can be
 * numbered. */
int listing_add(struct listing *ls, const char *name, const struct object *obj);
/* The numbers [from, to) of another one. */
int listing_append(struct listing *ls, const struct listing *other, uint32_t from,
		   uint32_t to);
/* Its number, or LISTING_NONE. */
uint32_t listing_find(const struct listing *ls, const char *name);
const char *listing_name(const struct listing *ls, uint32_t no);
const char *listing_etag(const struct listing *ls, uint32_t no);
void listing_object(const struct listing *ls, uint32_t no, struct object *ret);
/* Nothing will be added: give back what was allocated for that. */
void listing_trim(struct listing *ls);
/* Bytes that it takes. */
uint64_t listing_bytes(const struct listing *ls);
#endif
