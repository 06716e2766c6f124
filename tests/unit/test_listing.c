/* test_listing.c - a directory's entries in little room, and where a listing is cut. */
#include "cache/listing.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cache/split.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static struct object object_of(uint64_t n)
{
	struct object obj = {.size = n, .mtime_ns = (int64_t)n};
	(void)snprintf(obj.etag, sizeof(obj.etag), "\"%032llx\"", (unsigned long long)n);
	return obj;
}

static void listing__entries_keep_their_numbers(void)
{
	enum { N = 5000 };
	struct listing *ls = listing_new();
	char name[32];
	for (uint32_t i = 0; i < N; i++) {
		struct object obj = object_of(i);
		(void)snprintf(name, sizeof(name), "f%u", i);
		CHECK_EQ(listing_add(ls, name, &obj), 0);
	}
	listing_trim(ls);
	CHECK_EQ(ls->n, N);
	for (uint32_t i = 0; i < N; i++) {
		struct object want = object_of(i), got;
		(void)snprintf(name, sizeof(name), "f%u", i);
		CHECK_EQ(listing_find(ls, name), i);
		CHECK_STR(listing_name(ls, i), name);
		listing_object(ls, i, &got);
		CHECK_EQ(got.size, want.size);
		CHECK_STR(got.etag, want.etag);
	}
	CHECK_EQ(listing_find(ls, "f"), LISTING_NONE);
	CHECK_EQ(listing_find(ls, "f5000"), LISTING_NONE);
	listing_unref(ls);
}

static void listing__the_directory_wins(void)
{
	struct object obj = object_of(7);
	struct listing *ls = listing_new();
	CHECK_EQ(listing_add(ls, "a", &obj), 0);
	CHECK_EQ(listing_add(ls, "a", NULL), 1);
	CHECK_EQ(listing_add(ls, "a", &obj), 1);
	CHECK_EQ(ls->n, 1);
	CHECK(ls->entries[0].dir);
	listing_unref(ls);
}

/* P9: with the names and ETags of a common kind, under 100 bytes an entry. */
static void listing__is_small(void)
{
	enum { N = 100000 };
	struct listing *ls = listing_new();
	for (uint32_t i = 0; i < N; i++) {
		char name[32];
		struct object obj = object_of(i);
		(void)snprintf(name, sizeof(name), "jw%012u_cal.fits", i);
		CHECK_EQ(listing_add(ls, name, &obj), 0);
	}
	listing_trim(ls);
	(void)printf("   %.1f bytes an entry\n", (double)listing_bytes(ls) / N);
	CHECK(listing_bytes(ls) < UINT64_C(100) * N);
	listing_unref(ls);
}

/* Cuts lie strictly between, ascend, and have no slash, whatever the names are. */
static void check_cuts(const struct split_range *r, char cuts[][SPLIT_CUT_SIZE],
		       uint32_t n)
{
	const char *before = r->page_last;
	for (uint32_t i = 0; i < n; i++) {
		CHECK(strcmp(cuts[i], before) > 0);
		CHECK(!r->end || strcmp(cuts[i], r->end) < 0);
		CHECK(!strchr(cuts[i] + strlen(cuts[i]) - 1, '/'));
		before = cuts[i];
	}
}

static char random_char(void)
{
	static const char some[] = "0123456789abcxyzABCXYZ_-./\xc3\xa9\xf0\xff ";
	return some[(size_t)rand() % (sizeof(some) - 1)];
}

static void random_name(char *name)
{
	size_t len = 1 + (size_t)rand() % 6;
	for (size_t i = 0; i < len; i++)
		name[i] = random_char();
	name[len] = '\0';
}

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void split__cuts_lie_between(void)
{
	char cuts[SPLIT_CUTS_MAX][SPLIT_CUT_SIZE], names[4][8];
	uint32_t place, found = 0;
	srand(1);
	for (int turn = 0; turn < 300000; turn++) {
		for (int i = 0; i < 4; i++)
			random_name(names[i]);
		qsort(names, 4, sizeof(names[0]), by_text);
		struct split_range r = {.first = names[0],
					.page_first = names[1],
					.page_last = names[2],
					.end = turn % 3 ? names[3] : NULL};
		if (r.end && !strcmp(r.end, r.page_last))
			continue;
		uint32_t n = split_range(&r, 1 + (uint32_t)turn % SPLIT_CUTS_MAX, cuts,
					 &place);
		check_cuts(&r, cuts, n);
		found += n;
		r.end = NULL;
		n = split_first(&r, 3, cuts);
		check_cuts(&r, cuts, n);
	}
	CHECK(found > 1000);
}

static void split__numbers_are_cut_where_they_rise(void)
{
	char cuts[SPLIT_CUTS_MAX][SPLIT_CUT_SIZE];
	uint32_t place;
	struct split_range r = {.first = "f000000.fits",
				.page_first = "f003000.fits",
				.page_last = "f003999.fits"};
	CHECK_EQ(split_first(&r, 3, cuts), 3);
	CHECK_STR(cuts[0], "f004");
	CHECK_STR(cuts[1], "f01");
	CHECK_STR(cuts[2], "f1");
	r = (struct split_range){.first = "f000000.fits",
				 .page_first = "f010000.fits",
				 .page_last = "f010999.fits",
				 .end = "f1"};
	CHECK_EQ(split_range(&r, 8, cuts, &place), 8);
	CHECK_STR(cuts[0], "f02");
	CHECK_STR(cuts[7], "f09");
	/* A page spans as much as is left: not worth a request. */
	r.end = "f0111";
	CHECK_EQ(split_range(&r, 8, cuts, &place), 0);
}

int main(void)
{
	RUN(listing__entries_keep_their_numbers);
	RUN(listing__the_directory_wins);
	RUN(listing__is_small);
	RUN(split__cuts_lie_between);
	RUN(split__numbers_are_cut_where_they_rise);
	return 0;
}
