/* layout.h - where the HDUs of one FITS file lie: offsets only, no byte of it.
 *
 * Pure: no I/O, no lock, no FITS library.  HDUs are added from the front, each where
 * the one before it ended, and found by binary search.  Offsets are bytes in the
 * file and never past its end: the last HDU of a file that was cut, or that lacks
 * its padding, is cut here too.
 *
 * A layout is a hint.  One that is wrong makes somebody fetch the wrong blocks; it
 * cannot make anybody read wrong bytes.
 */
#ifndef CACHE_LAYOUT_H
#define CACHE_LAYOUT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "backends/util/buf.h"

enum {
	LAYOUT_RECORD = 2880,	   /* bytes; headers and data are padded to it */
	LAYOUT_HDUS_MAX = 100000,  /* a hostile file may not make us allocate: 2.4 MB */
	LAYOUT_CODE_MAX = 2000000, /* bytes of an encoded one */
};

struct hdu {
	uint64_t header_off, data_off; /* header: [header_off, data_off) */
	uint64_t end;		       /* data: [data_off, end); the next header */
};

struct layout {
	struct hdu *hdus; /* owned */
	size_t n, alloc;
	uint64_t size; /* of the file */
	/* Nothing more will be learnt: the last HDU ends the file, what follows it
	 * is no HDU (special records), or there are too many of them. */
	bool complete;
	bool none; /* no FITS file: complete, without an HDU */
};

void layout_init(struct layout *l, uint64_t size);
void layout_done(struct layout *l);
/* It must start where the last one ended, and its parts be whole records: -EBADMSG
 * else.  -E2BIG: there were too many, l is complete now. */
int layout_add(struct layout *l, const struct hdu *h);
/* What lies at layout_next is not an HDU. */
void layout_end(struct layout *l);
/* to: initialised, of a file of the same bytes.  Forgets what it knew. */
int layout_copy(struct layout *to, const struct layout *from);
/* Do they tell the same of files of the same size? */
bool layout_same(const struct layout *a, const struct layout *b);

/* Offset of the first header that is not known yet; size if it is complete. */
uint64_t layout_next(const struct layout *l);
/* The HDU in which off lies; NULL: none that is known. */
const struct hdu *layout_at(const struct layout *l, uint64_t off);
size_t layout_index(const struct layout *l, const struct hdu *h);
/* Does [off, off + len) have a byte of a header that is known? */
bool layout_has_header(const struct layout *l, uint64_t off, uint64_t len);

/* A few bytes for each HDU. */
int layout_encode(const struct layout *l, struct buf *ret);
/* ret: not initialised yet; nothing is owned by it after an error.  -EBADMSG:
 * these are not the bytes of a layout of a file of this size. */
int layout_decode(const void *bytes, size_t n, uint64_t size, struct layout *ret);
#endif
