/* test_layout.c - where HDUs lie, as offsets and as bytes. */
#include <errno.h>
#include <string.h>
#include "cache/layout.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

#define R UINT64_C(2880)

static void add(struct layout *l, uint64_t header, uint64_t data)
{
	uint64_t off = layout_next(l);
	struct hdu h = {off, off + header * R, off + (header + data) * R};
	CHECK_EQ(layout_add(l, &h), 0);
}

static void layout__hdus_are_found_by_offset(void)
{
	struct layout l;
	layout_init(&l, 20 * R);
	CHECK_EQ(layout_next(&l), 0);
	CHECK(!layout_at(&l, 0));
	add(&l, 8, 0);
	add(&l, 3, 6);
	CHECK_EQ(layout_next(&l), 17 * R);
	CHECK(!l.complete);
	CHECK_EQ(layout_at(&l, 0)->data_off, 8 * R);
	CHECK_EQ(layout_index(&l, layout_at(&l, 8 * R - 1)), 0);
	CHECK_EQ(layout_index(&l, layout_at(&l, 8 * R)), 1);
	CHECK_EQ(layout_index(&l, layout_at(&l, 17 * R - 1)), 1);
	CHECK(!layout_at(&l, 17 * R));
	add(&l, 1, 2);
	CHECK(l.complete);
	CHECK_EQ(layout_next(&l), 20 * R);
	struct hdu more = {20 * R, 21 * R, 21 * R};
	CHECK_EQ(layout_add(&l, &more), -EBADMSG);
	layout_done(&l);
}

static void layout__ranges_know_whether_they_meet_a_header(void)
{
	struct layout l;
	layout_init(&l, 20 * R);
	add(&l, 1, 8);
	add(&l, 1, 9);
	CHECK(layout_has_header(&l, R - 1, 1));
	CHECK(!layout_has_header(&l, R, 8 * R));
	CHECK(layout_has_header(&l, R, 8 * R + 1));
	CHECK(layout_has_header(&l, 9 * R, 1));
	CHECK(!layout_has_header(&l, 10 * R, 100 * R));
	CHECK(!layout_has_header(&l, 19 * R, UINT64_MAX));
	layout_done(&l);
}

/* One that lacks its padding, and one whose data were cut off. */
static void layout__what_is_past_the_file_is_cut(void)
{
	struct layout l;
	layout_init(&l, 5 * R + 7);
	add(&l, 1, 1000);
	CHECK(l.complete);
	CHECK_EQ(l.hdus[0].end, 5 * R + 7);
	layout_done(&l);
	layout_init(&l, R - 1);
	add(&l, 1, 0);
	CHECK_EQ(l.hdus[0].data_off, R - 1);
	CHECK_EQ(layout_next(&l), R - 1);
	layout_done(&l);
}

static void layout__odd_hdus_are_refused(void)
{
	static const struct hdu odd[] = {
		{R, 2 * R, 3 * R},     {0, 0, R},	      {0, 2 * R, R},
		{0, R + 1, 2 * R + 1}, {0, R, 2 * R - 1}, {100 * R, 101 * R, 102 * R},
	};
	struct layout l;
	layout_init(&l, 100 * R);
	for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
		CHECK_EQ(layout_add(&l, &odd[i]), -EBADMSG);
	CHECK_EQ(l.n, 0);
	layout_done(&l);
}

/* P9 */
static void layout__there_is_a_last_hdu(void)
{
	struct layout l, copy;
	CLEANUP_BUF struct buf code;
	layout_init(&l, UINT64_C(1) << 40);
	for (size_t i = 0; i < LAYOUT_HDUS_MAX; i++)
		add(&l, 1, 0);
	CHECK(!l.complete);
	struct hdu h = {layout_next(&l), layout_next(&l) + R, layout_next(&l) + R};
	CHECK_EQ(layout_add(&l, &h), -E2BIG);
	CHECK(l.complete);
	buf_init(&code, LAYOUT_CODE_MAX);
	CHECK_EQ(layout_encode(&l, &code), 0);
	CHECK_EQ(layout_decode(code.data, code.len, l.size, &copy), 0);
	CHECK_EQ(copy.n, LAYOUT_HDUS_MAX);
	layout_done(&copy);
	buf_addc(&code, 1);
	buf_addc(&code, 0);
	CHECK_EQ(layout_decode(code.data, code.len, l.size, &copy), -EBADMSG);
	layout_done(&l);
}

static void check_same(const struct layout *a, const struct layout *b)
{
	CHECK_EQ(a->n, b->n);
	CHECK_EQ(a->complete, b->complete);
	CHECK_EQ(a->none, b->none);
	CHECK(!a->n || !memcmp(a->hdus, b->hdus, a->n * sizeof *a->hdus));
}

/* Encode, decode and copy must give the same again; nothing else that starts or
 * ends otherwise may. */
static void check_code(const struct layout *l)
{
	CLEANUP_BUF struct buf code;
	struct layout got, copy;
	buf_init(&code, LAYOUT_CODE_MAX);
	CHECK_EQ(layout_encode(l, &code), 0);
	CHECK_EQ(layout_decode(code.data, code.len, l->size, &got), 0);
	check_same(l, &got);
	layout_init(&copy, l->size);
	add(&copy, 1, 0);
	CHECK_EQ(layout_copy(&copy, l), 0);
	check_same(l, &copy);
	layout_done(&copy);
	layout_done(&got);
	CHECK_EQ(layout_decode(code.data, 0, l->size, &got), -EBADMSG);
	/* Of a file that is shorter. */
	if (l->n)
		CHECK_EQ(layout_decode(code.data, code.len, l->size - 2 * R, &got),
			 -EBADMSG);
}

static void layout__bytes_give_it_back(void)
{
	struct layout l;
	layout_init(&l, 300000 * R);
	check_code(&l);
	add(&l, 8, 0);
	add(&l, 129, 199872);
	CHECK(!l.complete);
	layout_end(&l);
	CHECK(l.complete && !l.none);
	layout_done(&l);
	layout_init(&l, 5 * R + 7);
	add(&l, 1, 2);
	add(&l, 1, 2);
	CHECK(l.complete);
	check_code(&l);
	layout_done(&l);
	layout_init(&l, 5 * R);
	layout_end(&l);
	CHECK(l.none);
	CHECK_EQ(layout_next(&l), 5 * R);
	check_code(&l);
}

static void layout__other_bytes_do_not(void)
{
	static const struct {
		uint8_t bytes[16];
		size_t n;
	} bad[] = {
		{{0x02, 1, 1}, 3},		   /* another version */
		{{0x01, 1}, 2},			   /* half an HDU */
		{{0x01, 0, 1}, 3},		   /* no header */
		{{0x01, 1, 9}, 3},		   /* complete, without the flag */
		{{0x11, 1, 10}, 3},		   /* past the file */
		{{0x11, 1, 9, 1, 0}, 5},	   /* one more after the end */
		{{0x11}, 1},			   /* complete, with nothing */
		{{0x31, 1, 1}, 3},		   /* none, with something */
		{{0x21}, 1},			   /* none, but not complete */
		{{0x01, 1, 0x80}, 3},		   /* a number that does not end */
		{{0x01, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, 11},
		{{0x01, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, 12},
	};
	struct layout l;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK_EQ(layout_decode(bad[i].bytes, bad[i].n, 10 * R, &l), -EBADMSG);
	CHECK_EQ(layout_decode(bad[3].bytes, 3, 11 * R, &l), 0);
	CHECK_EQ(layout_next(&l), 10 * R);
	layout_done(&l);
}

int main(void)
{
	RUN(layout__hdus_are_found_by_offset);
	RUN(layout__ranges_know_whether_they_meet_a_header);
	RUN(layout__what_is_past_the_file_is_cut);
	RUN(layout__odd_hdus_are_refused);
	RUN(layout__there_is_a_last_hdu);
	RUN(layout__bytes_give_it_back);
	RUN(layout__other_bytes_do_not);
	return 0;
}
