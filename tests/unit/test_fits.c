/* test_fits.c - headers, good and hostile, and what is believed of them. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include "cache/fits.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

#define R UINT64_C(2880)

/* A header from its cards; END and padding are added unless cards end with "". */
struct header {
	char bytes[8 * 2880];
	size_t n; /* cards */
};

static void add(struct header *h, const char *card)
{
	CHECK(strlen(card) <= 80 && h->n < 8 * 36);
	memcpy(h->bytes + 80 * h->n++, card, strlen(card));
}

static void set(struct header *h, const char *key, const char *value)
{
	char card[81];
	(void)snprintf(card, sizeof card, "%-8s= %20s", key, value);
	add(h, card);
}

static void begin(struct header *h, const char *first, const char *bitpix,
		  const char *const *axes)
{
	char text[16], key[16];
	int n = 0;
	*h = (struct header){0};
	memset(h->bytes, ' ', sizeof h->bytes);
	add(h, first);
	set(h, "BITPIX", bitpix);
	while (axes[n])
		n++;
	(void)snprintf(text, sizeof text, "%d", n);
	set(h, "NAXIS", text);
	for (int i = 0; i < n; i++) {
		(void)snprintf(key, sizeof key, "NAXIS%d", i + 1);
		set(h, key, axes[i]);
	}
}

static const char simple[] = "SIMPLE  =                    T";
static const char image[] = "XTENSION= 'IMAGE   '           / Image extension";

#define AXES(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static int ask(struct header *h, uint64_t off, struct hdu *ret)
{
	add(h, "END");
	size_t len = (h->n * 80 + 2879) / 2880 * 2880;
	/* Of its own, so that a sanitizer sees a read past it. */
	char *bytes = malloc(len);
	CHECK(bytes);
	memcpy(bytes, h->bytes, len);
	int r = fits_hdu(bytes, len, off, !off, ret);
	free(bytes);
	return r;
}

static void fits__the_size_of_an_hdu_follows_from_its_header(void)
{
	struct header h;
	struct hdu hdu;
	begin(&h, simple, "8", AXES());
	CHECK_EQ(ask(&h, 0, &hdu), 0);
	CHECK(hdu.header_off == 0 && hdu.data_off == R && hdu.end == R);

	begin(&h, simple, "16", AXES("2048", "2048", "7"));
	for (int i = 0; i < 100; i++)
		add(&h, "HIERARCH ESO x = 'CONTINUEd&'");
	add(&h, "CONTINUE  'END     '");
	CHECK_EQ(ask(&h, 0, &hdu), 0);
	CHECK_EQ(hdu.data_off, 3 * R);
	CHECK_EQ(hdu.end, 3 * R + (2048 * 2048 * 14 + R - 1) / R * R);

	begin(&h, image, "-64", AXES("100"));
	CHECK_EQ(ask(&h, 50 * R, &hdu), 0);
	CHECK(hdu.header_off == 50 * R && hdu.data_off == 51 * R && hdu.end == 52 * R);
	/* Past 4 GiB. */
	begin(&h, image, "-32", AXES("40000", "40000"));
	CHECK_EQ(ask(&h, UINT64_C(1) << 40, &hdu), 0);
	CHECK_EQ(hdu.end - hdu.data_off, (UINT64_C(6400000000) + R - 1) / R * R);
}

static void fits__heaps_groups_and_empty_axes_count(void)
{
	struct header h;
	struct hdu hdu;
	begin(&h, "XTENSION= 'BINTABLE'", "8", AXES("8", "100"));
	set(&h, "PCOUNT", "5000");
	set(&h, "GCOUNT", "1");
	set(&h, "TFIELDS", "1");
	set(&h, "ZIMAGE", "T");
	CHECK_EQ(ask(&h, R, &hdu), 0);
	CHECK_EQ(hdu.end - hdu.data_off, 3 * R);
	/* Columns that do not add up are no matter. */
	begin(&h, "XTENSION= 'BINTABLE'", "8", AXES("8", "100"));
	set(&h, "PCOUNT", "0");
	set(&h, "GCOUNT", "1");
	set(&h, "TFIELDS", "7");
	set(&h, "TFORM1", "'999Q'");
	CHECK_EQ(ask(&h, R, &hdu), 0);
	CHECK_EQ(hdu.end - hdu.data_off, R);

	begin(&h, simple, "-32", AXES("0", "10", "10"));
	set(&h, "GROUPS", "T");
	set(&h, "PCOUNT", "6");
	set(&h, "GCOUNT", "100");
	CHECK_EQ(ask(&h, 0, &hdu), 0);
	CHECK_EQ(hdu.end - hdu.data_off, (106 * 100 * 4 + R - 1) / R * R);

	begin(&h, image, "16", AXES("0", "10"));
	CHECK_EQ(ask(&h, R, &hdu), 0);
	CHECK_EQ(hdu.end, hdu.data_off);
}

static void fits__a_header_without_its_end_is_waited_for(void)
{
	struct header h;
	struct hdu hdu;
	begin(&h, simple, "8", AXES());
	for (size_t len = 0; len < 80; len++)
		CHECK_EQ(fits_hdu(h.bytes, len, 0, true, &hdu), -EAGAIN);
	CHECK_EQ(fits_hdu(h.bytes, sizeof h.bytes, 0, true, &hdu), -EAGAIN);
	memcpy(h.bytes + 3 * R, "END", 3);
	CHECK_EQ(fits_hdu(h.bytes, 3 * R, 0, true, &hdu), -EAGAIN);
	CHECK_EQ(fits_hdu(h.bytes, 3 * R + 79, 0, true, &hdu), -EAGAIN);
	/* The padding need not be there. */
	CHECK_EQ(fits_hdu(h.bytes, 3 * R + 80, 0, true, &hdu), 0);
	CHECK_EQ(hdu.data_off, 4 * R);
}

/* P9 */
static void fits__a_header_ends_somewhere(void)
{
	struct header h;
	struct hdu hdu;
	size_t len = FITS_HEADER_MAX + 80;
	char *bytes = malloc(len);
	CHECK(bytes);
	memset(bytes, ' ', len);
	begin(&h, simple, "8", AXES());
	memcpy(bytes, h.bytes, 240);
	CHECK_EQ(fits_hdu(bytes, FITS_HEADER_MAX - 1, 0, true, &hdu), -EAGAIN);
	CHECK_EQ(fits_hdu(bytes, FITS_HEADER_MAX, 0, true, &hdu), -EBADMSG);
	memcpy(bytes + FITS_HEADER_MAX / 80 * 80, "END", 3);
	CHECK_EQ(fits_hdu(bytes, len, 0, true, &hdu), -EBADMSG);
	memset(bytes + FITS_HEADER_MAX / 80 * 80, ' ', 80);
	memcpy(bytes + FITS_HEADER_MAX / 80 * 80 - 80, "END", 3);
	CHECK_EQ(fits_hdu(bytes, len, 0, true, &hdu), 0);
	CHECK_EQ(hdu.data_off, (FITS_HEADER_MAX / 80 * 80 + R - 1) / R * R);
	free(bytes);
}

static void fits__what_is_not_fits_is_refused_at_once(void)
{
	static const char *const texts[] = {
		"<!DOCTYPE html><html><head><title>503</title></head><body>Slow down"
		"</body></html>                          ",
		"SIMPLE  this file is simple, but it is not one of those that are meant"
		" here               ",
		"XTENSION= 'IMAGE   '                                                  "
		"                   ",
	};
	struct hdu hdu;
	char zeros[4 * 2880] = "";
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		CHECK_EQ(fits_hdu(texts[i], 80, 0, true, &hdu), -EBADMSG);
	CHECK_EQ(fits_hdu(zeros, sizeof zeros, 0, true, &hdu), -EBADMSG);
	CHECK_EQ(fits_hdu(zeros, sizeof zeros, R, false, &hdu), -EBADMSG);
	/* A primary header does not stand in the middle of a file. */
	CHECK_EQ(fits_hdu("SIMPLE  =                    T                            "
			  "                           ",
			  80, R, false, &hdu),
		 -EBADMSG);
}

static void fits__impossible_sizes_are_refused(void)
{
	static const struct {
		const char *bitpix, *axes[5], *pcount, *gcount;
	} bad[] = {
		{"8", {"9223372036854775807"}, "0", "1"},
		{"64", {"2305843009213693951"}, "0", "1"},
		{"-64", {"4294967296", "4294967296"}, "0", "1"},
		/* These wrap to nothing, or to little. */
		{"8", {"4294967296", "4294967296", "1"}, "0", "1"},
		{"16", {"4611686018427387904", "2"}, "0", "1"},
		{"8", {"4294967296", "4294967297"}, "0", "1"},
		{"8", {"1"}, "9223372036854775807", "1"},
		{"8", {"1"}, "9223372036854775807", "2"},
		{"8", {"10"}, "0", "9223372036854775807"},
		{"8", {"65536", "65536", "65536"}, "0", "65536"},
		{"8", {"10"}, "-1", "1"},
		{"8", {"10"}, "0", "-1"},
		{"8", {"10"}, "-10", "-10"},
		{"8", {"-10"}, "0", "1"},
		{"8", {"-10", "-10"}, "0", "1"},
		{"8", {"10", "99999999999999999999999"}, "0", "1"},
		{"7", {"10"}, "0", "1"},
		{"0", {"10"}, "0", "1"},
		{"-2147483648", {"10"}, "0", "1"},
		{"X", {"10"}, "0", "1"},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct header h;
		struct hdu hdu;
		begin(&h, image, bad[i].bitpix, bad[i].axes);
		set(&h, "PCOUNT", bad[i].pcount);
		set(&h, "GCOUNT", bad[i].gcount);
		int r = ask(&h, 10 * R, &hdu);
		if (r != -EBADMSG)
			(void)fprintf(stderr, "row %zu\n", i);
		CHECK_EQ(r, -EBADMSG);
	}
	/* The HDU itself is possible, but not there. */
	struct header h;
	struct hdu hdu;
	begin(&h, image, "8", AXES("1000000000000000000"));
	CHECK_EQ(ask(&h, UINT64_C(18000000000000000000), &hdu), -EBADMSG);
}

static void fits__impossible_axes_are_refused(void)
{
	static const char *const naxis[] = {"-1",     "1000", "2147483648", "1",
					    "999999", "T",    "'2'",	    "1.5"};
	for (size_t i = 0; i < sizeof naxis / sizeof *naxis; i++) {
		struct header h;
		struct hdu hdu;
		begin(&h, simple, "8", AXES());
		h.n--;
		set(&h, "NAXIS", naxis[i]);
		CHECK_EQ(ask(&h, 0, &hdu), -EBADMSG);
	}
}

static void fits__names_tell_where_to_look(void)
{
	static const char *const yes[] = {"a.fits", "d/A.FITS", "x.y.fit", "b.Fts",
					  "d.fits.fz"};
	static const char *const no[] = {"fits", ".fits", "a.fits.gz", "a.fits/b",
					 "a.fz", "",	  "a.asdf",    "a.fits.part"};
	for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
		CHECK(fits_named(yes[i]));
	for (size_t i = 0; i < sizeof no / sizeof *no; i++)
		CHECK(!fits_named(no[i]));
}

/* -- bytes that nobody meant -- */

static uint32_t dice(uint32_t *state, uint32_t sides)
{
	*state = *state * 1664525u + 1013904223u;
	return (*state >> 8) % sides;
}

static void mutate(char *bytes, size_t len, uint32_t *state)
{
	static const char digits[] = "0123456789-+.EDTF' =/";
	for (uint32_t n = 1 + dice(state, 6); n; n--) {
		size_t at = dice(state, (uint32_t)len);
		switch (dice(state, 4)) {
		case 0:
			bytes[at] = (char)dice(state, 256);
			break;
		case 1: /* a card over another */
			memmove(bytes + at / 80 * 80,
				bytes + dice(state, (uint32_t)len / 80) * 80, 80);
			break;
		default: /* most change a value */
			bytes[at / 80 * 80 + 10 + dice(state, 21)] =
				digits[dice(state, sizeof digits - 1)];
		}
	}
}

static void make_sample(struct header *h, uint32_t kind)
{
	if (kind == 0) {
		begin(h, simple, "-32", AXES("0", "10", "10"));
		set(h, "GROUPS", "T");
	} else if (kind == 1) {
		begin(h, image, "16", AXES("100", "100", "3"));
	} else {
		begin(h, "XTENSION= 'BINTABLE'", "8", AXES("8", "100"));
	}
	set(h, "PCOUNT", "6");
	set(h, "GCOUNT", "1");
	set(h, "TFIELDS", "1");
	set(h, "TFORM1", "'1PB(8)'");
	set(h, "ZIMAGE", "T");
	set(h, "BLANK", "0");
	set(h, "BSCALE", "1.5");
	add(h, "LONGSTR = 'one&'");
	add(h, "CONTINUE  'two'");
	add(h, "HIERARCH A B C = 7");
	add(h, "END");
}

/* It can stand where it is said to. */
static void check_possible(const struct hdu *hdu)
{
	struct layout l;
	layout_init(&l, UINT64_MAX / 2);
	struct hdu before = {0, hdu->header_off, hdu->header_off};
	if (hdu->header_off)
		CHECK_EQ(layout_add(&l, &before), 0);
	CHECK_EQ(layout_add(&l, hdu), 0);
	layout_done(&l);
}

/* Whatever they are: an answer, and one that is possible. */
static void fits__no_bytes_do_harm(void)
{
	uint32_t state = 20261126, good = 0;
	for (int i = 0; i < 30000; i++) {
		struct header h;
		struct hdu hdu = {0};
		uint32_t kind = dice(&state, 3);
		make_sample(&h, kind);
		size_t len = 80 * h.n;
		mutate(h.bytes, len, &state);
		size_t n = dice(&state, 4) ? 2880 : dice(&state, 2880);
		char *bytes = malloc(n ? n : 1);
		CHECK(bytes);
		memcpy(bytes, h.bytes, n);
		uint64_t off = kind ? 7 * R : 0;
		int r = fits_hdu(bytes, n, off, !kind, &hdu);
		free(bytes);
		CHECK(!r || r == -EAGAIN || r == -EBADMSG);
		if (r)
			continue;
		good++;
		check_possible(&hdu);
	}
	/* The loop tries both. */
	CHECK(good > 3000 && good < 27000);
}

static pthread_barrier_t start;

static void *ask_first(void *arg)
{
	struct header h;
	struct hdu hdu;
	begin(&h, simple, "8", AXES("10"));
	(void)pthread_barrier_wait(&start);
	*(int *)arg = ask(&h, 0, &hdu);
	return NULL;
}

/* cfitsio sets itself up when it is first used: for tsan. */
static void fits__several_may_be_the_first(void)
{
	pthread_t threads[3];
	int results[3];
	CHECK_EQ(pthread_barrier_init(&start, NULL, 3), 0);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, ask_first, &results[i]), 0);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
		CHECK_EQ(results[i], 0);
	}
	(void)pthread_barrier_destroy(&start);
}

int main(void)
{
	RUN(fits__several_may_be_the_first); /* of all */
	RUN(fits__the_size_of_an_hdu_follows_from_its_header);
	RUN(fits__heaps_groups_and_empty_axes_count);
	RUN(fits__a_header_without_its_end_is_waited_for);
	RUN(fits__a_header_ends_somewhere);
	RUN(fits__what_is_not_fits_is_refused_at_once);
	RUN(fits__impossible_sizes_are_refused);
	RUN(fits__impossible_axes_are_refused);
	RUN(fits__names_tell_where_to_look);
	RUN(fits__no_bytes_do_harm);
	return 0;
}
