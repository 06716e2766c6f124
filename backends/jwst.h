/* jwst.h - what the name of a JWST product tells.  Pure.
 *
 * The forms are those of the JWST pipeline's documentation (data products, file
 * naming):
 *   exposure     jw02731001001_02101_00001_nrcb1_cal.fits   also -segNNN, _o001_crf, ...
 *   combined     jw02733-o001_t001_nircam_clear-f200w_i2d.fits
 *   association  jw01234-o001_20240101t000000_image3_00001_asn.json
 *   pool         jw01234_20240101t000000_pool.csv
 *   guide star   jw01234001001_gs-fg_2024001000000_cal.fits
 */
#ifndef BACKENDS_JWST_H
#define BACKENDS_JWST_H
#include <stdbool.h>
#include <stddef.h>

enum jwst_form {
	JWST_NONE, /* not one of these forms */
	JWST_EXPOSURE,
	JWST_COMBINED,
	JWST_ASSOCIATION,
	JWST_POOL,
	JWST_GUIDE_STAR,
};

enum jwst_level { JWST_ANCILLARY, JWST_RAW, JWST_CALIBRATED, JWST_COMBINED_LEVEL };

/* The parts are slices of the name, not NUL-terminated; len 0 = it has none. */
struct jwst_part {
	const char *s;
	size_t len;
};

struct jwst_name {
	enum jwst_form form;
	struct jwst_part program; /* "02731" */
	struct jwst_part visit;	  /* "02731001001": exposures and guide stars */
	struct jwst_part group;	  /* "o001", "c1002": combined and associations */
	struct jwst_part obs_id;  /* the name without suffix and extension */
	struct jwst_part suffix;  /* "cal", "i2d", "asn" */
};

/* A file's name; JWST_NONE with all parts empty if it has none of the forms. */
void jwst_parse(const char *name, struct jwst_name *ret);
/* The name of an observation's directory, that is an obs_id: exposure, combined or
 * guide star.  obs_id is the whole, suffix is empty. */
void jwst_parse_obs_id(const char *name, struct jwst_name *ret);
/* The processing level: by the form of the name first, then by its suffix. */
enum jwst_level jwst_level(const char *name);
#endif
