/* walk.h - one page of a directory tree's keys, in the order of an object store.
 *
 * Byte order of whole keys: a directory sorts with its '/' ("a-b", "a/", "a/x",
 * "a0").  A page starts after a key, so that a listing goes on correctly while
 * entries come and go.  Memory: some pages of entries for each level of the tree.
 */
#ifndef BACKENDS_WALK_H
#define BACKENDS_WALK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "backends/backend.h"

struct walk_entry {
	char *key;   /* owned */
	bool prefix; /* a common prefix: obj is not set */
	struct object obj;
};

struct walk_page {
	/* set by the caller */
	size_t max;
	const char *prefix, *after; /* borrowed; after "" = from the start */
	char delim;
	struct call *call; /* borrowed */

	/* the answer */
	struct walk_entry *entries; /* owned */
	size_t n;
	bool more;    /* entries follow after the last one */
	uint64_t odd; /* names seen that can be no object */
};

/* Fills the answer.  0 or a plain -errno; a prefix that is not there is an empty
 * page. */
int walk_page(int root, struct walk_page *page);
void walk_done(struct walk_page *page);
#endif
