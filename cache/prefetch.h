/* prefetch.h - guess what one open file will read next.
 *
 * Pure: no I/O, no lock, no clock, no format.  The caller feeds it each read of the
 * kernel and hands the ranges that it returns to blocks_hint().  So every policy is a
 * row of tests/unit/test_prefetch.c.
 *
 * A file may be read in several places in turn (an image and its errors): each place is
 * a stream.  A read goes on from a stream, or starts one in the place of the one that
 * was not used for longest.  A stream's window opens with the second read that goes on
 * from it, to 16 MiB, and grows by four bytes for each that is read from then on, up to
 * window_max; one read of a whole block at the start of the file opens it too, which is
 * how copying begins.
 * What stays within one block says nothing: headers are read so.
 *
 * GETs that begin at one time share the link and end at one time: the reader waits for
 * all of them, and then has all to read at once while the link has nothing to do.  So the
 * first window is asked for in pieces of 1, 2, 3 ... MiB, which end one after the other,
 * and it grows with the reading (measured 2026-11-26 at 30 ms and 200 MB/s, a whole read
 * of 117 MB: 0.95 s where it doubled with each eighth that was read, 0.85 s so; by one
 * byte for each, 500 MB took 2.64 s instead of 2.60).
 *
 * Who knows that the file holds arrays tells where the one is that is read: its start is
 * as good as a file's, and before a stream has read much its window ends with the array,
 * since rows of a cutout look as the beginning of a copy does.
 *
 * Who knows that all arrays from there on will be read says so: the window then opens
 * wider, stays narrower, and is asked for in pieces of 2 MiB.  Of GETs in flight the last
 * one ends soon after the first, so that when the link has carried all, little is left to
 * be read (measured 2026-11-27 at 30 ms and 200 MB/s, 117 MB: 12 GETs of 8 MiB that ended
 * within 150 ms of each other left the reader 10 to 100 ms to do).
 *
 * What the kernel does to a stream of reads, and the guess allows for: read-ahead
 * requests of one reader arrive on several threads, a little out of order; a page
 * fault asks for a range centred on itself, half a read-ahead window backwards.
 */
#ifndef CACHE_PREFETCH_H
#define CACHE_PREFETCH_H
#include <stdbool.h>
#include "cache/stride.h"

enum {
	PREFETCH_STREAMS = 4,
	PREFETCH_RANGES = STRIDE_PLACES,
};

/* Of the window of who reads all arrays: bytes of its first pieces, at most. */
#define PREFETCH_ALL_MOST UINT64_C(3145728)

/* Zero: not used yet. */
struct stream {
	uint64_t next;	 /* end of the furthest read */
	uint64_t got;	 /* bytes that were read, without gaps */
	uint64_t ahead;	 /* everything before this was asked for already */
	uint64_t opened; /* got when the window was opened */
	uint64_t window; /* bytes to stay ahead now; 0 = closed */
	uint64_t used;	 /* prefetch.tick at its last read */
	bool far;	 /* no array's end bounds it */
	bool all;	 /* place.all of one of its reads */
};

struct prefetch {
	uint64_t size;	     /* of the file */
	uint64_t window_max; /* bytes to stay ahead at most; 0 = never */
	/* private; zero at open */
	uint64_t tick;
	struct stream streams[PREFETCH_STREAMS];
	struct stride stride;
};

/* Where a read is. */
struct place {
	struct range array; /* the whole file, if none is known */
	bool all;	    /* who begins to read it reads all that follow as well */
};

struct prefetch_guess {
	struct range ranges[PREFETCH_RANGES]; /* what to ask for */
	size_t n;
	bool jump;    /* the read went on from no other */
	bool through; /* it is one of many, without gaps */
};

void prefetch_init(struct prefetch *pf, uint64_t size, uint64_t window_max);
/* One read happened. */
void prefetch_next(struct prefetch *pf, uint64_t off, uint64_t len,
		   const struct place *at, struct prefetch_guess *ret);
/* Into pieces that end one after the other, of `most` bytes at most where that is
 * possible; what is cut is ranges[0].  How many. */
size_t prefetch_cut(struct range ranges[static PREFETCH_RANGES], uint64_t most);
/* Of a range that it returned only the first bytes could be asked for. */
void prefetch_short(struct prefetch *pf, const struct range *asked, uint64_t bytes);
#endif
