/* page.h - one page of a listing: taken in whole, checked and sorted before its first
 * entry is delivered, so that a page that is cut short or forged delivers nothing (P10).
 */
#ifndef BACKENDS_PAGE_H
#define BACKENDS_PAGE_H
#include "backends/backend.h"

struct page_entry {
	size_t at, len; /* of the key, in page.keys */
	bool is_prefix;
	struct object obj; /* all zero for a prefix */
};

struct page {
	struct buf keys;	    /* each with a NUL */
	struct page_entry *entries; /* owned */
	size_t n, alloc;
};

void page_init(struct page *p);
void page_done(struct page *p);
#define CLEANUP_PAGE __attribute__((cleanup(page_done)))

/* obj NULL: a common prefix.  -EBADMSG: more entries than any page has. */
int page_add(struct page *p, const char *key, size_t len, const struct object *obj);
/* Sort by key; of entries with one key keep one, and no common prefix that is just what
 * was asked for.  delim: as it was asked with.  -EBADMSG: a key lies elsewhere than below
 * the prefix, or is a common prefix although no level was asked for. */
int page_finish(struct page *p, const char *prefix, char delim);
/* Hand the entries on without their first strip bytes.  What would be left without a
 * name is no entry; keys longer than any key of ours are left out, and log says so.
 * name: of the store, for that line. */
int page_deliver(const struct page *p, size_t strip, const char *log, const char *name,
		 list_fn *fn, void *arg);
#endif
