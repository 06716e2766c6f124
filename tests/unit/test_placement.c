/* test_placement.c - levels by the form of the name, and classes by level. */
#include "backends/placement.h"
#include <errno.h>
#include <sys/mman.h>
#include "backends/util/log.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static void placement__level_is_by_form_not_by_suffix(void)
{
	static const struct {
		const char *key, *level;
	} samples[] = {
		{"d/jw02731001001_02101_00001_nrcb1_uncal.fits", "raw"},
		{"jw02731001001_02101_00001_nrcb1_rate.fits", "calibrated"},
		{"jw02731001001_02101_00001_nrcb1_cal.fits", "calibrated"},
		{"jw02731001001_02101_00001-seg001_nrcb1_calints.fits", "calibrated"},
		{"jw02731001001_02101_00001_nrcb1_o001_crf.fits", "calibrated"},
		/* the same suffix at both levels */
		{"jw02731001001_02101_00001_nrcb1_i2d.fits", "calibrated"},
		{"jw02733-o001_t001_nircam_clear-f200w_i2d.fits", "combined"},
		{"jw02731001001_02101_00001_mirifulong_x1d.fits", "calibrated"},
		{"a/b/jw01837-c1002_t000_nirspec_clear-prism_x1d.fits", "combined"},
		{"jw02733-o001_t001_nircam_clear-f200w_cat.ecsv", "combined"},
		{"jw01234-o001_20240101t000000_image3_00001_asn.json", "ancillary"},
		{"jw01234_20240101t000000_pool.csv", "ancillary"},
		{"jw01234001001_gs-fg_2024001000000_cal.fits", "ancillary"},
		{"jw02731001001_02101_00001_nrcb1_i2d.jpg", "ancillary"},
		{"jw02731001001_02101_00001_nrcb1_cal_thumb.jpg", "ancillary"},
		/* only look like it */
		{"jw0273100100_02101_00001_nrcb1_uncal.fits", "ancillary"},
		{"my_uncal.fits", "ancillary"},
		{"pipeline.log", "ancillary"},
		{"jw02731001001_02101_00001_nrcb1_uncal.fits/x", "ancillary"},
	};
	for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++)
		CHECK_STR(placement_level(samples[i].key), samples[i].level);
	CHECK(placement_level("dir/") == NULL);
	CHECK(placement_level("") == NULL);
}

#define RAW "a/jw02731001001_02101_00001_nrcb1_uncal.fits"
#define CAL "jw02731001001_02101_00001_nrcb1_cal.fits"

static void placement__class_is_by_level(void)
{
	struct placement *p;
	CHECK_EQ(placement_new(NULL, &p), 0);
	CHECK(placement_class(p, RAW) == NULL);
	placement_free(p);
	CHECK_EQ(placement_new("", &p), 0);
	CHECK(placement_class(p, RAW) == NULL);
	placement_free(p);
	CHECK_EQ(placement_new("STANDARD_IA", &p), 0);
	CHECK_STR(placement_class(p, RAW), "STANDARD_IA");
	CHECK_STR(placement_class(p, "notes.txt"), "STANDARD_IA");
	CHECK(placement_class(p, "dir/") == NULL);
	placement_free(p);
	CHECK_EQ(placement_new("raw=GLACIER_IR:ancillary=STANDARD", &p), 0);
	CHECK_STR(placement_class(p, RAW), "GLACIER_IR");
	CHECK_STR(placement_class(p, "notes.txt"), "STANDARD");
	CHECK(placement_class(p, CAL) == NULL);
	placement_free(p);
	placement_free(NULL);
}

static void placement__what_is_no_class_is_refused(void)
{
	static const char *const bad[] = {
		"A B",	  "A-B",    "raw:A",	   "cooked=A", "raw=",	  "=A",
		"raw=A:", ":raw=A", "raw=A:raw=B", "raw=A:B",  "raw=A=B", "raw=A\r\nx: y",
		"A:B",	  "RAW=A",  "raw =A",	   "A\nB",
	};
	struct placement *p = NULL;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CHECK_EQ(placement_new(bad[i], &p), -EINVAL);
	char longest[80];
	memset(longest, 'A', sizeof longest);
	longest[sizeof longest - 1] = '\0';
	CHECK_EQ(placement_new(longest, &p), -EINVAL);
	CHECK(p == NULL);
}

int main(void)
{
	log_use_fd(memfd_create("log", MFD_CLOEXEC));
	RUN(placement__level_is_by_form_not_by_suffix);
	RUN(placement__class_is_by_level);
	RUN(placement__what_is_no_class_is_refused);
	return 0;
}
