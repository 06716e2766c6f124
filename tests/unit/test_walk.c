/* test_walk.c - readers that hop, and what is asked for ahead of them. */
#include "cache/walk.h"
#include <string.h>
#include "cache/blocks.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

#define KIB    UINT64_C(1024)
#define MIB    UINT64_C(1048576)
#define RECORD ((uint64_t)LAYOUT_RECORD)

enum { HDUS_MAX = 700 };

/* A file as it is, and what is known of it. */
struct file {
	struct hdu hdus[HDUS_MAX];
	size_t n;
	struct layout known;
	struct walk walk;
	/* of the ranges that were asked for */
	bool asked[HDUS_MAX]; /* the header of each HDU */
	uint64_t wasted;      /* those that hold no header */
	struct range ranges[WALK_RANGES];
};

static void add_hdu(struct file *f, uint64_t header, uint64_t data)
{
	struct hdu *h = &f->hdus[f->n];
	h->header_off = f->n ? f->hdus[f->n - 1].end : 0;
	h->data_off = h->header_off + header * RECORD;
	h->end = h->data_off + data * RECORD;
	f->n++;
}

/* The primary has no data, n arrays follow. */
static void make(struct file *f, size_t n, uint64_t records)
{
	memset(f, 0, sizeof *f);
	add_hdu(f, 8, 0);
	for (size_t i = 0; i < n; i++)
		add_hdu(f, 1, records);
}

static void begin(struct file *f)
{
	layout_init(&f->known, f->hdus[f->n - 1].end);
	/* Both are in the first block. */
	for (size_t i = 0; i < 2; i++) {
		CHECK_EQ(layout_add(&f->known, &f->hdus[i]), 0);
		f->asked[i] = true;
	}
}

static void note(struct file *f, size_t n)
{
	CHECK(n <= WALK_RANGES);
	for (size_t i = 0; i < n; i++) {
		const struct range *r = &f->ranges[i];
		bool any = false;
		CHECK(r->len && r->off < f->known.size);
		CHECK(r->len <= f->known.size - r->off);
		for (size_t k = 0; k < f->n; k++) {
			const struct hdu *h = &f->hdus[k];
			if (h->header_off < r->off || h->header_off >= r->off + r->len)
				continue;
			f->asked[k] = any = true;
		}
		f->wasted += !any;
	}
}

/* What arrived is parsed, as far as it goes; true: something was. */
static bool learn(struct file *f)
{
	size_t before = f->known.n;
	while (f->known.n < f->n && f->asked[f->known.n])
		CHECK_EQ(layout_add(&f->known, &f->hdus[f->known.n]), 0);
	return f->known.n > before;
}

static void hop(struct file *f, size_t hdu)
{
	f->asked[hdu] = true; /* by the reader */
	note(f, walk_jump(&f->walk, &f->known, f->hdus[hdu].header_off & ~UINT64_C(4095),
			  68 * KIB, 64 * MIB, f->ranges));
}

/* Round trips until all headers are there, from the first hop on. */
static size_t walk_all(struct file *f)
{
	size_t rounds = 1;
	hop(f, 2);
	while (learn(f) && f->known.n < f->n) {
		note(f, walk_learnt(&f->walk, &f->known, f->ranges));
		rounds++;
	}
	return rounds;
}

static void end(struct file *f)
{
	layout_done(&f->known);
}

/* Bar: 20 HDUs of 10 MB in 6 rounds, the first block's among them. */
static void walk__equal_images_are_guessed(void)
{
	static struct file f;
	make(&f, 20, 3641);
	begin(&f);
	CHECK(walk_all(&f) <= 3);
	CHECK_EQ(f.known.n, f.n);
	CHECK_EQ(f.wasted, 0);
	end(&f);
}

static void walk__what_is_known_comes_at_once(void)
{
	static struct file f;
	make(&f, 30, 1000);
	for (size_t i = 0; i < 20; i++)
		add_hdu(&f, 3, 100 * (i + 1)); /* no two alike */
	begin(&f);
	for (size_t i = 2; i < f.n; i++)
		CHECK_EQ(layout_add(&f.known, &f.hdus[i]), 0);
	CHECK(f.known.complete);
	hop(&f, 2);
	for (size_t i = 0; i < f.n; i++)
		CHECK(f.asked[i]);
	CHECK_EQ(f.wasted, 0);
	/* and not a second time */
	hop(&f, 3);
	CHECK_EQ(walk_jump(&f.walk, &f.known, f.hdus[9].header_off & ~UINT64_C(4095),
			   68 * KIB, 64 * MIB, f.ranges),
		 0);
	end(&f);
}

static void walk__a_known_file_brings_all_headers_when_it_is_opened(void)
{
	static struct file f;
	make(&f, 30, 1000);
	begin(&f);
	CHECK_EQ(walk_open(&f.walk, &f.known, f.ranges), 0); /* not known yet */
	for (size_t i = 2; i < f.n; i++)
		CHECK_EQ(layout_add(&f.known, &f.hdus[i]), 0);
	f.asked[0] = f.asked[1] = false;
	note(&f, walk_open(&f.walk, &f.known, f.ranges));
	for (size_t i = 0; i < f.n; i++)
		CHECK(f.asked[i]);
	CHECK_EQ(f.wasted, 0);
	end(&f);
}

/* A reader of the first headers, or of data, asks for no others. */
static void walk__nobody_hops_nothing_is_asked(void)
{
	static struct file f;
	make(&f, 20, 3641);
	begin(&f);
	CHECK_EQ(walk_jump(&f.walk, &f.known, 0, 128 * KIB, 64 * MIB, f.ranges), 0);
	CHECK_EQ(walk_jump(&f.walk, &f.known, 4 * MIB, 128 * KIB, 8 * MIB, f.ranges), 0);
	CHECK_EQ(walk_learnt(&f.walk, &f.known, f.ranges), 0);
	end(&f);
}

static void walk__wrong_guesses_end(void)
{
	static struct file f;
	memset(&f, 0, sizeof f);
	add_hdu(&f, 8, 0);
	for (size_t i = 0; i < 300; i++)
		add_hdu(&f, 1, 400 + 7 * (i * i % 101));
	begin(&f);
	walk_all(&f);
	for (size_t i = 3; i < f.n; i++) {
		hop(&f, i);
		(void)learn(&f);
		note(&f, walk_learnt(&f.walk, &f.known, f.ranges));
	}
	CHECK_EQ(f.known.n, f.n);
	CHECK(f.wasted <= 5 * 8);
	end(&f);
}

/* Hundreds of headers are followed with the reader, not all at once (P9). */
static void walk__stays_near_the_reader(void)
{
	static struct file f;
	make(&f, 600, 300);
	begin(&f);
	(void)walk_all(&f);
	CHECK(f.known.n > 32 && f.known.n <= 2 + 2 * WALK_RANGES);
	for (size_t i = 3; i < f.n; i++) {
		hop(&f, i);
		while (learn(&f))
			note(&f, walk_learnt(&f.walk, &f.known, f.ranges));
	}
	CHECK_EQ(f.known.n, f.n);
	CHECK_EQ(f.wasted, 0);
	end(&f);
}

static void walk__who_comes_back_gets_the_array(void)
{
	static struct file f;
	make(&f, 3, 5826); /* 16 MiB */
	begin(&f);
	const struct hdu *sci = &f.hdus[1];
	CHECK_EQ(walk_jump(&f.walk, &f.known, 5 * MIB, MIB, 64 * MIB, f.ranges), 0);
	size_t n = walk_jump(&f.walk, &f.known, 9 * MIB, MIB, 64 * MIB, f.ranges);
	/* from there to its end, and as far as the kernel reads past that, then the rest
	 * of it, in growing pieces */
	uint64_t end_off = sci->end + 512 * KIB;
	CHECK(n >= 5 && n <= 8);
	CHECK_EQ(f.ranges[0].len, MIB);
	uint64_t next = 9 * MIB, sum = 0;
	for (size_t i = 0; i < n; i++) {
		CHECK(f.ranges[i].len <= (i + 1) * MIB);
		CHECK_EQ(f.ranges[i].off, next);
		sum += f.ranges[i].len;
		next += f.ranges[i].len;
		next = next == end_off ? sci->data_off : next;
	}
	CHECK_EQ(next, 9 * MIB);
	CHECK_EQ(sum, end_off - sci->data_off);
	/* once */
	CHECK_EQ(walk_jump(&f.walk, &f.known, 2 * MIB, MIB, 64 * MIB, f.ranges), 0);
	/* unless it could not be */
	walk_short(&f.walk, &f.known, &f.ranges[n - 1]);
	CHECK_EQ(walk_jump(&f.walk, &f.known, 2 * MIB, MIB, 64 * MIB, f.ranges), n);
	/* not if it is too large */
	struct walk other = {0};
	CHECK_EQ(walk_jump(&other, &f.known, 5 * MIB, MIB, 16 * MIB, f.ranges), 0);
	CHECK_EQ(walk_jump(&other, &f.known, 9 * MIB, MIB, 16 * MIB, f.ranges), 0);
	end(&f);
}

/* Rows of a cutout: the first read of an array brings those behind it. */
static void walk__a_first_touch_is_of_some_rows(void)
{
	static struct file f;
	make(&f, 3, 5826);
	begin(&f);
	const struct hdu *sci = &f.hdus[1];
	CHECK_EQ(walk_jump(&f.walk, &f.known, 5 * MIB, 16 * KIB, 64 * MIB, f.ranges), 1);
	CHECK_EQ(f.ranges[0].off, 5 * MIB);
	CHECK_EQ(f.ranges[0].len, MIB);
	/* no further than the array, nothing of one that is too large */
	struct walk other = {0};
	CHECK_EQ(walk_jump(&other, &f.known, sci->end - 32 * KIB, 16 * KIB, 64 * MIB,
			   f.ranges),
		 1);
	CHECK_EQ(f.ranges[0].len, 32 * KIB);
	other = (struct walk){0};
	CHECK_EQ(walk_jump(&other, &f.known, 5 * MIB, 16 * KIB, 16 * MIB, f.ranges), 0);
	end(&f);
}

static void walk__a_huge_array_is_no_more_than_all_pieces(void)
{
	static struct file f;
	make(&f, 1, 100 * 1024 * MIB / RECORD);
	begin(&f);
	CHECK_EQ(walk_jump(&f.walk, &f.known, 9 * MIB, MIB, UINT64_MAX, f.ranges), 0);
	size_t n = walk_jump(&f.walk, &f.known, 90 * MIB, MIB, UINT64_MAX, f.ranges);
	CHECK_EQ(n, WALK_RANGES);
	CHECK_EQ(f.ranges[n - 1].off + f.ranges[n - 1].len, 90 * MIB);
	end(&f);
}

static void walk__what_came_short_comes_again(void)
{
	static struct file f;
	make(&f, 30, 1000);
	begin(&f);
	for (size_t i = 2; i < f.n; i++)
		CHECK_EQ(layout_add(&f.known, &f.hdus[i]), 0);
	size_t n = walk_jump(&f.walk, &f.known, f.hdus[2].header_off & ~UINT64_C(4095),
			     68 * KIB, 64 * MIB, f.ranges);
	CHECK(n > 10);
	struct range lost = f.ranges[10];
	walk_short(&f.walk, &f.known, &lost);
	CHECK(walk_jump(&f.walk, &f.known, f.hdus[3].header_off & ~UINT64_C(4095),
			68 * KIB, 64 * MIB, f.ranges) > 0);
	CHECK_EQ(f.ranges[0].off, lost.off);
	end(&f);
}

static void walk__survives_any_number(void)
{
	static const uint64_t odd[] = {0,	   1,	       4096,	   MIB,
				       INT64_MAX, UINT64_MAX, UINT64_MAX - 4095, 3 * RECORD};
	enum { N = sizeof odd / sizeof *odd };
	static struct file f;
	make(&f, 20, 3641);
	begin(&f);
	for (size_t i = 0; i < N * N * N; i++) {
		note(&f, walk_jump(&f.walk, &f.known, odd[i % N], odd[i / N % N],
				   odd[i / N / N], f.ranges));
		note(&f, walk_learnt(&f.walk, &f.known, f.ranges));
	}
	end(&f);
}

int main(void)
{
	RUN(walk__equal_images_are_guessed);
	RUN(walk__what_is_known_comes_at_once);
	RUN(walk__a_known_file_brings_all_headers_when_it_is_opened);
	RUN(walk__nobody_hops_nothing_is_asked);
	RUN(walk__wrong_guesses_end);
	RUN(walk__stays_near_the_reader);
	RUN(walk__who_comes_back_gets_the_array);
	RUN(walk__a_first_touch_is_of_some_rows);
	RUN(walk__a_huge_array_is_no_more_than_all_pieces);
	RUN(walk__what_came_short_comes_again);
	RUN(walk__survives_any_number);
	return 0;
}
