/* split.h - where a long listing may be cut into ranges that are asked for at once. Pure.
 *
 * A cut is a name between two, made up: everything up to it belongs to the range before,
 * everything behind it to the next, so ranges cover every name whatever the cuts are.
 * A bad guess costs a request that brings nothing, never an entry.  A cut has no '/', so
 * that all of a directory lies on one side of it.
 *
 * What is guessed is how names go on: products are numbered, so digits will rise; other
 * characters are taken to vary only where they were seen to.
 */
#ifndef CACHE_SPLIT_H
#define CACHE_SPLIT_H
#include <stdbool.h>
#include <stdint.h>

enum { SPLIT_CUT_SIZE = 256, SPLIT_CUTS_MAX = 8 };

/* A range that is being listed; strings borrowed. */
struct split_range {
	const char *first;		    /* name in the directory */
	const char *page_first, *page_last; /* names on the range's last page */
	const char *end; /* the range's last possible name; NULL = none */
};

/* Cuts between page_last and end, ascending, want (<= SPLIT_CUTS_MAX) at most.  Returns
 * how many; *ret_place: at which byte they differ from page_last, so how much they
 * divide: the less the more. */
uint32_t split_range(const struct split_range *r, uint32_t want,
		     char cuts[][SPLIT_CUT_SIZE], uint32_t *ret_place);
/* The same when nothing is known of how far the names go: from the place where they were
 * seen to vary to the left, one cut for each digit that can rise. */
uint32_t split_first(const struct split_range *r, uint32_t want,
		     char cuts[][SPLIT_CUT_SIZE]);
#endif
