/* prefetch.h - guess what one open file will read next.
 *
 * Pure: no I/O, no lock, no clock.  The caller feeds it each read of the kernel
 * and hands the ranges that it returns to blocks_hint().  So every policy is a
 * row of tests/unit/test_prefetch.c.
 *
 * What the kernel does to a stream of reads, and the guess allows for: read-ahead
 * requests of one reader arrive on several threads, a little out of order; a page
 * fault asks for a range centred on itself, half a read-ahead window backwards.
 * The first read of a file fetches just its blocks; the second contiguous one
 * opens a window of 16 MiB, and each further one widens it up to window_max.
 */
#ifndef CACHE_PREFETCH_H
#define CACHE_PREFETCH_H
#include <stddef.h>
#include <stdint.h>

struct range {
	uint64_t off, len; /* bytes */
};

struct prefetch {
	uint64_t size;	     /* of the file */
	uint64_t window_max; /* bytes to stay ahead at most; 0 = never */
	/* private; zero at open */
	uint64_t next;	 /* end of the furthest contiguous read */
	uint64_t ahead;	 /* everything before this was asked for already */
	uint64_t window; /* bytes to stay ahead now; 0 = random access */
	uint32_t streak; /* contiguous reads so far */
};

void prefetch_init(struct prefetch *pf, uint64_t size, uint64_t window_max);
/* One read happened.  True: *ret is what to ask for. */
int prefetch_next(struct prefetch *pf, uint64_t off, uint64_t len, struct range *ret);
#endif
