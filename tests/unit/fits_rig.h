/* fits_rig.h - a made-up FITS file: headers here, data as the backend makes them. */
#ifndef TESTS_UNIT_FITS_RIG_H
#define TESTS_UNIT_FITS_RIG_H
#include "cache/layout.h"
#include "tests/unit/membackend.h"

enum { FITS_RIG_HDUS = 16 };

struct fits_rig {
	struct membackend_patch patches[FITS_RIG_HDUS]; /* one a header */
	char *headers[FITS_RIG_HDUS];			/* owned */
	struct layout layout;				/* what is to be learnt */
	uint64_t size;
};

/* Nothing in it. */
void fits_rig_init(struct fits_rig *f);
void fits_rig_done(struct fits_rig *f);
/* One more HDU: a header of so many records, and so many bytes of data. */
void fits_rig_add(struct fits_rig *f, unsigned records, uint64_t data);
/* An HDU for each of some sizes: primary without data, then these. */
void fits_rig_make(struct fits_rig *f, unsigned n, uint64_t data);
/* The backend's object is this file from now on. */
void fits_rig_serve(const struct fits_rig *f, struct membackend *mb);
/* All of its bytes, owned by the caller; data are zeros. */
char *fits_rig_bytes(const struct fits_rig *f);
/* Is this the layout, as far as it is known? */
bool fits_rig_same(const struct fits_rig *f, const struct layout *l);
#endif
