/* test_jwst.c - what names tell, and what only looks like one. */
#include "backends/jwst.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static const struct row {
	const char *name;
	enum jwst_form form;
	enum jwst_level level;
	const char *program, *visit, *group, *obs_id, *suffix;
} rows[] = {
	{"jw02731001001_02101_00001_nrcb1_uncal.fits", JWST_EXPOSURE, JWST_RAW, "02731",
	 "02731001001", "", "jw02731001001_02101_00001_nrcb1", "uncal"},
	{"jw02731001001_02101_00001_nrcb1_rate.fits", JWST_EXPOSURE, JWST_CALIBRATED,
	 "02731", "02731001001", "", "jw02731001001_02101_00001_nrcb1", "rate"},
	{"jw02731001001_02101_00001_nrcb1_cal.fits", JWST_EXPOSURE, JWST_CALIBRATED,
	 "02731", "02731001001", "", "jw02731001001_02101_00001_nrcb1", "cal"},
	{"jw02731001001_02101_00001_nrcb1_i2d.fits", JWST_EXPOSURE, JWST_CALIBRATED,
	 "02731", "02731001001", "", "jw02731001001_02101_00001_nrcb1", "i2d"},
	{"jw02731001001_02101_00001_nrcb1_i2d.jpg", JWST_EXPOSURE, JWST_ANCILLARY,
	 "02731", "02731001001", "", "jw02731001001_02101_00001_nrcb1", "i2d"},
	{"jw02731001001_02101_00001_nrcb1_i2d_thumb.jpg", JWST_EXPOSURE, JWST_ANCILLARY,
	 "02731", "02731001001", "", "jw02731001001_02101_00001_nrcb1", "i2d"},
	{"jw02731001001_02101_00001_nrcb1_o001_crf.fits", JWST_EXPOSURE, JWST_CALIBRATED,
	 "02731", "02731001001", "", "jw02731001001_02101_00001_nrcb1", "crf"},
	{"jw01073001001_01101_00001_nrca1_cal.fits", JWST_EXPOSURE, JWST_CALIBRATED,
	 "01073", "01073001001", "", "jw01073001001_01101_00001_nrca1", "cal"},
	{"jw01366003001_04101_00001-seg001_nrs1_x1dints.fits", JWST_EXPOSURE,
	 JWST_CALIBRATED, "01366", "01366003001", "",
	 "jw01366003001_04101_00001-seg001_nrs1", "x1dints"},
	{"jw01366003001_0410a_00001-seg001_nrs1_a3001_psfalign.fits", JWST_EXPOSURE,
	 JWST_CALIBRATED, "01366", "01366003001", "",
	 "jw01366003001_0410a_00001-seg001_nrs1", "psfalign"},
	{"jw01366003001_04101_00001_nrs1_other.fits", JWST_EXPOSURE, JWST_ANCILLARY,
	 "01366", "01366003001", "", "jw01366003001_04101_00001_nrs1", "other"},
	{"jw02733-o001_t001_nircam_clear-f200w_i2d.fits", JWST_COMBINED,
	 JWST_COMBINED_LEVEL, "02733", "", "o001", "jw02733-o001_t001_nircam_clear-f200w",
	 "i2d"},
	{"jw02733-o001_t001_nircam_clear-f200w_i2d_thumb.jpg", JWST_COMBINED,
	 JWST_ANCILLARY, "02733", "", "o001", "jw02733-o001_t001_nircam_clear-f200w",
	 "i2d"},
	{"jw02733-o001_t001_nircam_clear-f200w_cat.ecsv", JWST_COMBINED,
	 JWST_COMBINED_LEVEL, "02733", "", "o001", "jw02733-o001_t001_nircam_clear-f200w",
	 "cat"},
	{"jw02733-o001_t001_nircam_clear-f200w_i2d-02.fits", JWST_COMBINED,
	 JWST_COMBINED_LEVEL, "02733", "", "o001", "jw02733-o001_t001_nircam_clear-f200w",
	 "i2d-02"},
	{"jw02727-o002_t062_nircam_clear-f277w_i2d.fits", JWST_COMBINED,
	 JWST_COMBINED_LEVEL, "02727", "", "o002", "jw02727-o002_t062_nircam_clear-f277w",
	 "i2d"},
	{"jw01837-c1002_t000_miri_f770w_i2d.fits", JWST_COMBINED, JWST_COMBINED_LEVEL,
	 "01837", "", "c1002", "jw01837-c1002_t000_miri_f770w", "i2d"},
	{"jw01345-o066_s000000123_nirspec_clear-prism-subs200a1_x1d.fits", JWST_COMBINED,
	 JWST_COMBINED_LEVEL, "01345", "", "o066",
	 "jw01345-o066_s000000123_nirspec_clear-prism-subs200a1", "x1d"},
	{"jw01345-a3001_t002-s000000001-epoch2_niriss_f150w-gr150c_c1d.fits",
	 JWST_COMBINED, JWST_COMBINED_LEVEL, "01345", "", "a3001",
	 "jw01345-a3001_t002-s000000001-epoch2_niriss_f150w-gr150c", "c1d"},
	{"jw01345-r0001_b000000012_nirspec_f290lp-g395m_s2d.fits", JWST_COMBINED,
	 JWST_COMBINED_LEVEL, "01345", "", "r0001",
	 "jw01345-r0001_b000000012_nirspec_f290lp-g395m", "s2d"},
	{"jw01345-o001_t001_niriss_f480m-nrm_ami-oi.fits", JWST_COMBINED,
	 JWST_COMBINED_LEVEL, "01345", "", "o001", "jw01345-o001_t001_niriss_f480m-nrm",
	 "ami-oi"},
	{"jw01345-o066_s000000123_nirspec_clear-prism_crf.fits", JWST_COMBINED,
	 JWST_CALIBRATED, "01345", "", "o066",
	 "jw01345-o066_s000000123_nirspec_clear-prism", "crf"},
	{"jw01234-o001_20240101t000000_image3_00001_asn.json", JWST_ASSOCIATION,
	 JWST_ANCILLARY, "01234", "", "o001", "jw01234-o001_20240101t000000_image3_00001",
	 "asn"},
	{"jw01234-c1000_20240101t000000_wfs-image2_001_asn.json", JWST_ASSOCIATION,
	 JWST_ANCILLARY, "01234", "", "c1000",
	 "jw01234-c1000_20240101t000000_wfs-image2_001", "asn"},
	{"jw01234_20240101t000000_pool.csv", JWST_POOL, JWST_ANCILLARY, "01234", "", "",
	 "jw01234_20240101t000000", "pool"},
	{"jw01234_001_20240101T000000_pool.csv", JWST_POOL, JWST_ANCILLARY, "01234", "",
	 "", "jw01234_001_20240101T000000", "pool"},
	{"jw01234001001_gs-fg_2024001000000_cal.fits", JWST_GUIDE_STAR, JWST_ANCILLARY,
	 "01234", "01234001001", "", "jw01234001001_gs-fg_2024001000000", "cal"},
	{"jw01234001001_gs-id_1_image-uncal.fits", JWST_GUIDE_STAR, JWST_ANCILLARY,
	 "01234", "01234001001", "", "jw01234001001_gs-id_1", "image-uncal"},
	{"jw01234001001_gs-acq1_2024001000000_uncal_thumb.jpg", JWST_GUIDE_STAR,
	 JWST_ANCILLARY, "01234", "01234001001", "",
	 "jw01234001001_gs-acq1_2024001000000", "uncal"},
};
enum { N_ROWS = sizeof rows / sizeof *rows };

static void check_part(const struct row *row, struct jwst_part part, const char *want)
{
	if (part.len == strlen(want) && (!part.len || !memcmp(part.s, want, part.len)))
		return;
	(void)fprintf(stderr, "%s: \"%.*s\" should be \"%s\"\n", row->name, (int)part.len,
		      part.len ? part.s : "", want);
	exit(1);
}

static void jwst__every_form_is_taken_apart(void)
{
	for (size_t i = 0; i < N_ROWS; i++) {
		struct jwst_name got;
		jwst_parse(rows[i].name, &got);
		if (got.form != rows[i].form)
			(void)fprintf(stderr, "%s:\n", rows[i].name);
		CHECK_EQ(got.form, rows[i].form);
		check_part(&rows[i], got.program, rows[i].program);
		check_part(&rows[i], got.visit, rows[i].visit);
		check_part(&rows[i], got.group, rows[i].group);
		check_part(&rows[i], got.obs_id, rows[i].obs_id);
		check_part(&rows[i], got.suffix, rows[i].suffix);
	}
}

static void jwst__the_level_goes_by_form_first(void)
{
	for (size_t i = 0; i < N_ROWS; i++) {
		if (jwst_level(rows[i].name) != rows[i].level)
			(void)fprintf(stderr, "%s:\n", rows[i].name);
		CHECK_EQ(jwst_level(rows[i].name), rows[i].level);
	}
	CHECK_EQ(jwst_level("notes_cal.fits"), JWST_ANCILLARY);
	CHECK_EQ(jwst_level("mosaic_i2d.fits"), JWST_ANCILLARY);
	CHECK_EQ(jwst_level(""), JWST_ANCILLARY);
}

static void jwst__observations_have_directories(void)
{
	for (size_t i = 0; i < N_ROWS; i++) {
		struct jwst_name got;
		bool is_obs =
			rows[i].form != JWST_ASSOCIATION && rows[i].form != JWST_POOL;
		jwst_parse_obs_id(rows[i].obs_id, &got);
		CHECK_EQ(got.form, is_obs ? rows[i].form : JWST_NONE);
		check_part(&rows[i], got.obs_id, is_obs ? rows[i].obs_id : "");
		check_part(&rows[i], got.program, is_obs ? rows[i].program : "");
		check_part(&rows[i], got.suffix, "");
	}
}

static const char *const strangers[] = {
	"",
	".",
	"jw",
	"jw.fits",
	"_cal.fits",
	"jw02731001001_02101_00001_nrcb1_cal",
	"jw02731001001_02101_00001_nrcb1.fits",
	"jw02731001001_02101_00001_nrcb1_cal.fits.part",
	"jw02731001001_02101_00001_nrcb1_cal.FITS",
	"jw02731001001_02101_00001_nrcb1_cal.txt",
	"jw02731001001_02101_00001_nrcb1_.fits",
	"jw02731001001_02101_00001__cal.fits",
	"jw02731001001_02101_00001-seg1_nrcb1_cal.fits",
	"jw02731001001_02101_00001_NRCB1_cal.fits",
	"jw02731001001_02101_00001_nrcb1_x001_crf.fits",
	"jw02731001001_02101_00001_nrcb1_o001_o001_crf.fits",
	"jw02731001001_02101_0001_nrcb1_cal.fits",
	"jw02731001001_2101_00001_nrcb1_cal.fits",
	"jw0273100100_02101_00001_nrcb1_cal.fits",
	"JW02731001001_02101_00001_nrcb1_cal.fits",
	"xjw02731001001_02101_00001_nrcb1_cal.fits",
	"jw02731001001_02101_00001_nrcb1_c/l.fits",
	"jw02733-o001_t001_nircam_i2d.fits",
	"jw02733-o001_t001_nircam__i2d.fits",
	"jw02733-x001_t001_nircam_clear-f200w_i2d.fits",
	"jw02733-o01_t001_nircam_clear-f200w_i2d.fits",
	"jw02733-o00001_t001_nircam_clear-f200w_i2d.fits",
	"jw02733-o001_t01_nircam_clear-f200w_i2d.fits",
	"jw02733-o001_t001_nircam_clear/f200w_i2d.fits",
	"jw02733_o001_t001_nircam_clear-f200w_i2d.fits",
	"jw01234-o001_20240101t000000_image3_00001_asn.fits",
	"jw01234-o001_20240101_image3_00001_asn.json",
	"jw01234-o001_20240101t000000_image3_00001_asn_thumb.json",
	"jw01234_20240101t000000_pool.json",
	"jw01234_2024t000000_pool.csv",
	"jw01234001001_gs-xx_2024001000000_cal.fits",
	"jw01234001001_gs-fg_2024001000000_rate.fits",
	"jw01234001001_gs-fg__cal.fits",
	"hst_12345_01_acs_wfc_f606w_drz.fits",
};

static void jwst__what_only_looks_like_a_name_is_none(void)
{
	for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
		struct jwst_name got;
		jwst_parse(strangers[i], &got);
		if (got.form != JWST_NONE)
			(void)fprintf(stderr, "%s:\n", strangers[i]);
		CHECK_EQ(got.form, JWST_NONE);
		CHECK_EQ(got.program.len + got.visit.len + got.group.len +
				 got.obs_id.len + got.suffix.len,
			 0);
		CHECK_EQ(jwst_level(strangers[i]), JWST_ANCILLARY);
	}
}

int main(void)
{
	RUN(jwst__every_form_is_taken_apart);
	RUN(jwst__the_level_goes_by_form_first);
	RUN(jwst__observations_have_directories);
	RUN(jwst__what_only_looks_like_a_name_is_none);
	return 0;
}
