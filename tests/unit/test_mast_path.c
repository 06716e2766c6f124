/* test_mast_path.c - every documented name has its key, and nothing else has one. */
#include "backends/mast_path.h"
#include <errno.h>
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static const struct row {
	const char *path, *key;
	bool back; /* this path is the one that the key has */
} rows[] = {
#define EXP    "jw02731001001_02101_00001_nrcb1"
#define EXP_AT "jwst/public/jw02731/jw02731001001/" EXP
	{EXP "/" EXP "_uncal.fits", EXP_AT "_uncal.fits", true},
	{EXP "/" EXP "_rate.fits", EXP_AT "_rate.fits", true},
	{EXP "/" EXP "_cal.fits", EXP_AT "_cal.fits", true},
	{EXP "/" EXP "_i2d.fits", EXP_AT "_i2d.fits", true},
	{EXP "/" EXP "_i2d.jpg", EXP_AT "_i2d.jpg", true},
	{EXP "/" EXP "_i2d_thumb.jpg", EXP_AT "_i2d_thumb.jpg", true},
	{EXP "/" EXP "_o001_crf.fits", EXP_AT "_o001_crf.fits", true},
	{EXP "/" EXP "_trace.txt", EXP_AT "_trace.txt", false},
	{"jw01366003001_04101_00001-seg001_nrs1/"
	 "jw01366003001_04101_00001-seg001_nrs1_rateints.fits",
	 "jwst/public/jw01366/jw01366003001/"
	 "jw01366003001_04101_00001-seg001_nrs1_rateints.fits",
	 true},
	{"jw01234001001_gs-fg_2024001000000/jw01234001001_gs-fg_2024001000000_cal.fits",
	 "jwst/public/jw01234/jw01234001001/jw01234001001_gs-fg_2024001000000_cal.fits",
	 true},
	{"jw01234001001_gs-id_1/jw01234001001_gs-id_1_image-uncal.fits",
	 "jwst/public/jw01234/jw01234001001/jw01234001001_gs-id_1_image-uncal.fits",
	 true},
#define MOSAIC "jw02733-o001_t001_nircam_clear-f200w"
	{MOSAIC "/" MOSAIC "_i2d.fits",
	 "jwst/public/jw02733/L3/t/o001/" MOSAIC "_i2d.fits", true},
	{MOSAIC "/" MOSAIC "_cat.ecsv",
	 "jwst/public/jw02733/L3/t/o001/" MOSAIC "_cat.ecsv", true},
	{MOSAIC "/" MOSAIC "_i2d_thumb.jpg",
	 "jwst/public/jw02733/L3/t/o001/" MOSAIC "_i2d_thumb.jpg", true},
	{"jw02727-o002_t062_nircam_clear-f277w/"
	 "jw02727-o002_t062_nircam_clear-f277w_i2d.fits",
	 "jwst/public/jw02727/L3/t/o002/jw02727-o002_t062_nircam_clear-f277w_i2d.fits",
	 true},
	{"jw01837-c1002_t000_miri_f770w/jw01837-c1002_t000_miri_f770w_i2d.fits",
	 "jwst/public/jw01837/L3/t/c1002/jw01837-c1002_t000_miri_f770w_i2d.fits", true},
	{"jw01345-o066_s000000123_nirspec_clear-prism/"
	 "jw01345-o066_s000000123_nirspec_clear-prism_x1d.fits",
	 "jwst/public/jw01345/L3/t/o066/"
	 "jw01345-o066_s000000123_nirspec_clear-prism_x1d.fits",
	 true},
	{"jw01345-a3001_t002-s000000001-epoch2_niriss_f150w-gr150c/"
	 "jw01345-a3001_t002-s000000001-epoch2_niriss_f150w-gr150c_c1d.fits",
	 "jwst/public/jw01345/L3/t/a3001/"
	 "jw01345-a3001_t002-s000000001-epoch2_niriss_f150w-gr150c_c1d.fits",
	 true},
	/* within any directory of its program */
	{"jw01234-o001_t001_nircam_clear-f200w/"
	 "jw01234-o001_20240101t000000_image3_00001_asn.json",
	 "jwst/public/jw01234/L3/t/o001/"
	 "jw01234-o001_20240101t000000_image3_00001_asn.json",
	 false},
	{"jw01234001001_02101_00001_nrcb1/"
	 "jw01234-o001_20240101t000000_image2_00001_asn.json",
	 "jwst/public/jw01234/L3/t/o001/"
	 "jw01234-o001_20240101t000000_image2_00001_asn.json",
	 false},
	{"jw01234001001_02101_00001_nrcb1/jw01234_20240101t000000_pool.csv",
	 "jwst/public/jw01234/jw01234_20240101t000000_pool.csv", false},
	{"jw02731-o001_t017_nircam_clear-f200w/" EXP "_cal.fits", EXP_AT "_cal.fits",
	 false},
	/* astroquery's and the bucket's own layout */
	{"mastDownload/JWST/" EXP "/" EXP "_cal.fits", EXP_AT "_cal.fits", false},
	{"mastDownload/JWST/" MOSAIC "/" MOSAIC "_i2d.fits",
	 "jwst/public/jw02733/L3/t/o001/" MOSAIC "_i2d.fits", false},
	{EXP_AT "_cal.fits", EXP_AT "_cal.fits", false},
	{"jw02731/jw02731001001/" EXP "_cal.fits", EXP_AT "_cal.fits", false},
	{"jw02731/L3/t/o001/x", "jwst/public/jw02731/L3/t/o001/x", false},
	{"jwst/public/jw02731/L3/t/o001/x", "jwst/public/jw02731/L3/t/o001/x", true},
	{"jwst/public/jw01234/jw01234_20240101t000000_pool.csv",
	 "jwst/public/jw01234/jw01234_20240101t000000_pool.csv", true},
	{"jwst/public/jw01234/L3/t/o001/"
	 "jw01234-o001_20240101t000000_image3_00001_asn.json",
	 "jwst/public/jw01234/L3/t/o001/"
	 "jw01234-o001_20240101t000000_image3_00001_asn.json",
	 true},
	/* where the rule would not put it */
	{"jwst/public/jw02731/" EXP "_cal.fits", "jwst/public/jw02731/" EXP "_cal.fits",
	 true},
};
enum { N_ROWS = sizeof rows / sizeof *rows };

static void mast_path__every_sample_name_has_its_key(void)
{
	for (size_t i = 0; i < N_ROWS; i++) {
		char key[KEY_SIZE];
		if (mast_path_key(rows[i].path, key))
			(void)fprintf(stderr, "%s:\n", rows[i].path);
		CHECK_EQ(mast_path_key(rows[i].path, key), 0);
		CHECK_STR(key, rows[i].key);
		CHECK(mast_path_is_key(key));
		CHECK(!mast_path_stray(rows[i].path));
	}
}

static void mast_path__and_every_key_its_path(void)
{
	for (size_t i = 0; i < N_ROWS; i++) {
		char path[KEY_SIZE], key[KEY_SIZE];
		CHECK_EQ(mast_path_of_key(rows[i].key, path), 0);
		CHECK_EQ(mast_path_key(path, key), 0);
		CHECK_STR(key, rows[i].key);
		if (rows[i].back)
			CHECK_STR(path, rows[i].path);
	}
}

static const char *const none[] = {
	"",
	"jw02731",
	"jwst",
	"jwst/public",
	"jwst/public/",
	"jwst/private/jw02731/x",
	"mastDownload",
	"mastDownload/JWST",
	"mastDownload/JWST/" EXP,
	"mastDownload/HST/" EXP "/" EXP "_cal.fits",
	"mastDownload/JWST/a/" EXP "/" EXP "_cal.fits",
	EXP,
	EXP "_cal.fits",
	EXP "/",
	EXP "/sub/" EXP "_cal.fits",
	"/" EXP "/" EXP "_cal.fits",
	"./" EXP "_cal.fits",
	EXP "/..",
	EXP "/../" EXP "_cal.fits",
	"jwst/public/../../private",
	"jwst/public/jw02731/../x",
	"jwst/public/jw02731/./x",
	"jwst/public/jw02731//x",
	"jwst/public//x",
	"jw02731/../jw02732/x",
	"jw02731/",
	"jw2731/x",
	"jw027310/x",
	"own/notes.txt",
	EXP "/jw02732001001_02101_00001_nrcb1_cal.fits",
	EXP "/jw02731001001_02101_00001_nrcb2.txt",
	EXP "/" EXP,
	"jw02731001001/" EXP "_cal.fits",
};

static void mast_path__nothing_else_has_a_key(void)
{
	for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
		char key[KEY_SIZE];
		if (mast_path_key(none[i], key) != -ENOENT)
			(void)fprintf(stderr, "%s:\n", none[i]);
		CHECK_EQ(mast_path_key(none[i], key), -ENOENT);
	}
	char path[KEY_SIZE];
	CHECK_EQ(mast_path_of_key("ero/jw02731/L3/t/x", path), -ENOENT);
	CHECK_EQ(mast_path_of_key("jwst/public/../x", path), -ENOENT);
	CHECK_EQ(mast_path_of_key("", path), -ENOENT);
}

static void mast_path__a_key_that_is_too_long_is_said(void)
{
	char path[KEY_SIZE], key[KEY_SIZE];
	(void)snprintf(path, sizeof path, "jw02731/%01000d", 0);
	CHECK_EQ(mast_path_key(path, key), 0);
	(void)snprintf(path, sizeof path, "jw02731/%01010d", 0);
	CHECK_EQ(mast_path_key(path, key), -ENAMETOOLONG);
}

static void mast_path__strays_are_for_the_service(void)
{
	CHECK_STR(mast_path_stray("some/odd_name.fits"), "odd_name.fits");
	CHECK_STR(mast_path_stray("mastDownload/JWST/some/odd_name.fits"),
		  "odd_name.fits");
	CHECK(!mast_path_stray("odd_name.fits"));
	CHECK(!mast_path_stray("some/odd_name"));
	CHECK(!mast_path_stray("some/.fits"));
	CHECK(!mast_path_stray("some/odd."));
	CHECK(!mast_path_stray("some/more/odd_name.fits"));
	CHECK(!mast_path_stray("mastDownload/odd_name.fits"));
	CHECK(!mast_path_stray("../odd_name.fits"));
}

static void check_dir(const char *path, enum mast_dir_kind kind, const char *prefix,
		      bool likely)
{
	struct mast_dir dir;
	mast_path_dir(path, &dir);
	if (dir.kind != kind)
		(void)fprintf(stderr, "%s:\n", path);
	CHECK_EQ(dir.kind, kind);
	CHECK_EQ(dir.likely, likely);
	CHECK_STR(dir.prefix, prefix);
}

static void mast_path__what_listing_a_directory_means(void)
{
	check_dir("", MAST_DIR_ROOT, "", false);
	check_dir("mastDownload", MAST_DIR_DOWNLOAD, "", false);
	check_dir("mastDownload/JWST", MAST_DIR_DOWNLOAD_JWST, "", false);
	check_dir("jwst", MAST_DIR_JWST, "", false);
	check_dir("jwst/public", MAST_DIR_PUBLIC, "", false);
	check_dir(EXP, MAST_DIR_OBS, EXP_AT "_", false);
	check_dir("mastDownload/JWST/" EXP, MAST_DIR_OBS, EXP_AT "_", false);
	check_dir(MOSAIC, MAST_DIR_OBS, "jwst/public/jw02733/L3/t/o001/" MOSAIC "_",
		  false);
	check_dir("jw02731", MAST_DIR_LISTED, "jwst/public/jw02731/", false);
	check_dir("jw02731/L3", MAST_DIR_LISTED, "jwst/public/jw02731/L3/", false);
	check_dir("jwst/public/jw02731", MAST_DIR_LISTED, "jwst/public/jw02731/", true);
	check_dir("jwst/public/jw02731/jw02731001001", MAST_DIR_LISTED,
		  "jwst/public/jw02731/jw02731001001/", true);
	check_dir("jwst/public/jw02731/L3", MAST_DIR_LISTED, "jwst/public/jw02731/L3/",
		  true);
	check_dir("jwst/public/jw02731/L3/t", MAST_DIR_LISTED,
		  "jwst/public/jw02731/L3/t/", true);
	check_dir("jwst/public/jw02731/L3/t/c1002", MAST_DIR_LISTED,
		  "jwst/public/jw02731/L3/t/c1002/", true);
	check_dir("jwst/public/jw02731/jw02732001001", MAST_DIR_LISTED,
		  "jwst/public/jw02731/jw02732001001/", false);
	check_dir("jwst/public/jw02731/L3/t/x001", MAST_DIR_LISTED,
		  "jwst/public/jw02731/L3/t/x001/", false);
	check_dir("jwst/public/elsewhere", MAST_DIR_LISTED, "jwst/public/elsewhere/",
		  false);
}

static void mast_path__what_is_no_directory(void)
{
	static const char *const paths[] = {
		"own",
		"jw2731",
		"jwst/private",
		"jw02731/..",
		"jw02731//L3",
		"jwst/public/..",
		"jwst/public/a.fits",
		EXP "/sub",
		EXP "_cal.fits",
		"mastDownload/HST",
		"mastDownload/JWST/own",
		"/",
	};
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
		check_dir(paths[i], MAST_DIR_NONE, "", false);
}

static void mast_path__an_observation_has_its_own_files(void)
{
	struct mast_dir dir;
	mast_path_dir("jw02733-o001_t001_nircam_clear", &dir);
	CHECK(mast_path_in_dir(&dir, "jw02733-o001_t001_nircam_clear_i2d.fits"));
	CHECK(mast_path_in_dir(&dir, "jw02733-o001_t001_nircam_clear_i2d_thumb.jpg"));
	CHECK(mast_path_in_dir(&dir, "jw02733-o001_t001_nircam_clear_log.txt"));
	CHECK(!mast_path_in_dir(&dir, "jw02733-o001_t001_nircam_clear_f200w_i2d.fits"));
	CHECK(!mast_path_in_dir(&dir, "jw02733-o001_t001_nircam_clear_a/b"));
	CHECK(!mast_path_in_dir(&dir, ""));
	CHECK(!mast_path_in_dir(&dir, ".."));
	char prefix[KEY_SIZE];
	CHECK_EQ(mast_path_obs_prefix("x", EXP_AT "_o001_crf.fits", prefix), 0);
	CHECK_STR(prefix, EXP_AT "_");
	CHECK_EQ(mast_path_obs_prefix(EXP "/" EXP "_cal.fits.part",
				      EXP_AT "_cal.fits.part", prefix),
		 0);
	CHECK_STR(prefix, EXP_AT "_");
	CHECK_EQ(mast_path_obs_prefix("jw02731/x.fits", "jwst/public/jw02731/x.fits",
				      prefix),
		 -ENOENT);
}

static void mast_path__some_listings_do_not_tell_all(void)
{
	CHECK(mast_path_is_hidden(EXP));
	CHECK(mast_path_is_hidden("jw02731"));
	CHECK(mast_path_is_hidden("mastDownload"));
	CHECK(mast_path_is_hidden("mastDownload/JWST/" EXP));
	CHECK(mast_path_is_hidden("jwst/public/jw02731"));
	CHECK(mast_path_is_hidden(EXP "/jw02731_20240101t000000_pool.csv"));
	CHECK(mast_path_is_hidden(EXP "/jw02731001001_02101_00001_nrcb2_cal.fits"));
	CHECK(!mast_path_is_hidden(EXP "/" EXP "_cal.fits"));
	CHECK(!mast_path_is_hidden(EXP "/other.txt"));
	CHECK(!mast_path_is_hidden("own"));
	CHECK(!mast_path_is_hidden("own/" EXP));
	CHECK(!mast_path_is_hidden("mastDownload/HST"));
	CHECK(!mast_path_is_hidden("jw02731/jw02731001001"));
	CHECK(!mast_path_is_hidden("jw02731/jw02731001001/x.fits"));
}

static void mast_path__programs_are_numbers(void)
{
	CHECK_EQ(mast_path_program(EXP_AT "_cal.fits"), 2731);
	CHECK_EQ(mast_path_program("jwst/public/jw99999/"), 99999);
	CHECK_EQ(mast_path_program("jwst/public/jw00000/"), 0);
	CHECK_EQ(mast_path_program("jwst/public/jw999999/"), -1);
	CHECK_EQ(mast_path_program("jwst/public/other/"), -1);
	CHECK_EQ(mast_path_program("jw02731/x"), -1);
}

int main(void)
{
	RUN(mast_path__every_sample_name_has_its_key);
	RUN(mast_path__and_every_key_its_path);
	RUN(mast_path__nothing_else_has_a_key);
	RUN(mast_path__a_key_that_is_too_long_is_said);
	RUN(mast_path__strays_are_for_the_service);
	RUN(mast_path__what_listing_a_directory_means);
	RUN(mast_path__what_is_no_directory);
	RUN(mast_path__an_observation_has_its_own_files);
	RUN(mast_path__some_listings_do_not_tell_all);
	RUN(mast_path__programs_are_numbers);
	return 0;
}
