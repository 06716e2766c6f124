/* test_prefetch.c - every policy is a row of reads and what they lead to. */
#include "cache/prefetch.h"
#include "cache/blocks.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

#define KIB UINT64_C(1024)
#define MIB UINT64_C(1048576)
#define GIB UINT64_C(1073741824)

struct row {
	uint64_t off, len;
	uint64_t want_off, want_len; /* 0, 0: nothing is asked for */
};

/* The pieces of a window lie behind one another: as one range. */
static struct range all_of(const struct prefetch_guess *g)
{
	struct range all = {0};
	for (size_t i = 0; i < g->n; i++) {
		CHECK(!i || g->ranges[i].off == all.off + all.len);
		if (!i)
			all.off = g->ranges[i].off;
		all.len += g->ranges[i].len;
	}
	return all;
}

/* A read of a file without arrays. */
static void next(struct prefetch *pf, uint64_t off, uint64_t len,
		 struct prefetch_guess *ret)
{
	struct place whole = {.array = {.len = pf->size}};
	prefetch_next(pf, off, len, &whole, ret);
}

static void run(uint64_t size, uint64_t window_max, const struct row *rows, size_t n)
{
	struct prefetch pf;
	prefetch_init(&pf, size, window_max);
	for (size_t i = 0; i < n; i++) {
		struct prefetch_guess g;
		next(&pf, rows[i].off, rows[i].len, &g);
		struct range got = all_of(&g);
		CHECK_EQ(got.len, rows[i].want_len);
		CHECK(!got.len || got.off == rows[i].want_off);
	}
}
#define ROWS(size, max, rows) run(size, max, rows, sizeof(rows) / sizeof *(rows))

static void prefetch__the_second_contiguous_read_opens_the_window(void)
{
	static const struct row rows[] = {
		{0, 128 * KIB, 0, 0},
		/* 16 MiB ahead, to the end of a whole GET */
		{128 * KIB, 128 * KIB, 256 * KIB, 16 * MIB - 256 * KIB},
		{256 * KIB, 128 * KIB, 0, 0},
		/* four bytes more for each that is read */
		{384 * KIB, 2 * MIB, 16 * MIB, 8 * MIB},
		{384 * KIB + 2 * MIB, 2 * MIB, 24 * MIB, 8 * MIB},
		{384 * KIB + 4 * MIB, 8 * MIB, 32 * MIB, 40 * MIB},
		/* and no more */
		{384 * KIB + 12 * MIB, MIB, 0, 0},
		{384 * KIB + 13 * MIB, 3 * MIB, 72 * MIB, 8 * MIB},
	};
	ROWS(GIB, 64 * MIB, rows);
}

/* As many connections from the start as fill a link, and none ends when another does;
 * later, the largest GETs. */
static void prefetch__a_young_window_comes_in_growing_pieces(void)
{
	struct prefetch pf;
	struct prefetch_guess g;
	prefetch_init(&pf, GIB, 64 * MIB);
	next(&pf, 0, 256 * KIB, &g);
	CHECK_EQ(g.n, 6);
	for (size_t i = 0; i < 5; i++)
		CHECK_EQ(g.ranges[i].len, (i + 1) * MIB);
	CHECK_EQ(all_of(&g).len, 16 * MIB - 256 * KIB);
	next(&pf, 256 * KIB, 8 * MIB, &g);
	CHECK_EQ(g.n, 1);
}

/* Copying begins with a read of a whole block; reading a header does not. */
static void prefetch__a_block_at_the_start_opens_the_window(void)
{
	static const struct row copy[] = {
		{0, 256 * KIB, 256 * KIB, 16 * MIB - 256 * KIB},
		{256 * KIB, 2 * MIB, 16 * MIB, 8 * MIB},
	};
	ROWS(GIB, 64 * MIB, copy);
	static const struct row header[] = {
		{0, 64 * KIB, 0, 0},
		{64 * KIB, 128 * KIB, 0, 0},
		{0, 64 * KIB, 0, 0},
	};
	ROWS(GIB, 64 * MIB, header);
	/* A fault reads as much somewhere else. */
	static const struct row fault[] = {{8 * MIB, MIB, 0, 0}, {90 * MIB, MIB, 0, 0}};
	ROWS(GIB, 64 * MIB, fault);
}

static void prefetch__refills_come_in_whole_gets(void)
{
	struct prefetch pf;
	struct prefetch_guess g;
	uint64_t asked = 0, times = 0;
	prefetch_init(&pf, GIB, 64 * MIB);
	for (uint64_t off = 0; off < GIB; off += 128 * KIB) {
		next(&pf, off, 128 * KIB, &g);
		if (!g.n)
			continue;
		struct range got = all_of(&g);
		CHECK(!g.jump);
		/* Nothing twice, nothing left out, nothing past the window. */
		CHECK_EQ(got.off, times ? asked : 256 * KIB);
		asked = got.off + got.len;
		CHECK(asked == GIB || asked % FETCH_SIZE == 0);
		CHECK(asked <= off + 128 * KIB + 64 * MIB);
		times++;
	}
	CHECK_EQ(asked, GIB);
	CHECK(times <= GIB / FETCH_SIZE);
}

static void prefetch__random_reads_ask_for_nothing(void)
{
	struct prefetch pf;
	struct prefetch_guess g;
	uint64_t x = 1;
	prefetch_init(&pf, 64 * GIB, 128 * MIB);
	for (int i = 0; i < 1000; i++) {
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
		uint64_t off = (x >> 20) % (64 * GIB / 4096) * 4096;
		next(&pf, off, 64 * KIB, &g);
		CHECK_EQ(g.n, 0);
		CHECK(g.jump);
	}
	/* The same few pages again and again are no stream either. */
	static const struct row rows[] = {
		{10 * MIB, 4096, 0, 0},
		{10 * MIB, 4096, 0, 0},
		{10 * MIB - 8192, 4096, 0, 0},
		{10 * MIB, 4096, 0, 0},
	};
	ROWS(GIB, 64 * MIB, rows);
}

static void prefetch__reads_out_of_order_are_one_stream(void)
{
	static const struct row rows[] = {
		{0, 128 * KIB, 0, 0},
		/* the third before the second: read-ahead on two threads */
		{256 * KIB, 128 * KIB, 384 * KIB, 16 * MIB - 384 * KIB},
		{128 * KIB, 128 * KIB, 0, 0},
		{384 * KIB, 2 * MIB, 16 * MIB, 8 * MIB},
	};
	ROWS(GIB, 64 * MIB, rows);
	/* a page fault asks half a window backwards */
	static const struct row mapped[] = {
		{10 * MIB, 128 * KIB, 0, 0},
		{10 * MIB + 64 * KIB, 256 * KIB, 10 * MIB + 320 * KIB,
		 14 * MIB - 320 * KIB},
		{10 * MIB + 256 * KIB, 2 * MIB + 64 * KIB, 24 * MIB, 8 * MIB},
	};
	ROWS(GIB, 64 * MIB, mapped);
}

static void prefetch__a_jump_starts_another_stream(void)
{
	static const struct row rows[] = {
		{0, 128 * KIB, 0, 0},
		{128 * KIB, 128 * KIB, 256 * KIB, 16 * MIB - 256 * KIB},
		{500 * MIB, 128 * KIB, 0, 0},
		/* the first goes on where it was, and its window with it */
		{256 * KIB, 2 * MIB, 16 * MIB, 8 * MIB},
		{500 * MIB + 128 * KIB, 128 * KIB, 500 * MIB + 256 * KIB,
		 12 * MIB - 256 * KIB},
		{256 * KIB + 2 * MIB, 4 * MIB, 24 * MIB, 16 * MIB},
	};
	ROWS(GIB, 64 * MIB, rows);
}

static void prefetch__the_fifth_stream_ends_the_oldest(void)
{
	static const struct row rows[] = {
		{0, 128 * KIB, 0, 0},
		{101 * MIB, 128 * KIB, 0, 0},
		{204 * MIB, 128 * KIB, 0, 0},
		{310 * MIB, 128 * KIB, 0, 0},
		{128 * KIB, 128 * KIB, 256 * KIB, 16 * MIB - 256 * KIB},
		{417 * MIB, 128 * KIB, 0, 0}, /* in the place of that at 101 */
		{101 * MIB + 128 * KIB, 128 * KIB, 0, 0},
		{256 * KIB, 2 * MIB, 16 * MIB, 8 * MIB},
	};
	ROWS(GIB, 64 * MIB, rows);
}

static void prefetch__what_was_not_asked_for_comes_again(void)
{
	struct prefetch pf;
	struct prefetch_guess g;
	prefetch_init(&pf, GIB, 64 * MIB);
	next(&pf, 0, MIB, &g);
	CHECK_EQ(g.n, 5);
	prefetch_short(&pf, &g.ranges[1], MIB);
	next(&pf, MIB, MIB, &g);
	CHECK_EQ(all_of(&g).off, 3 * MIB);
}

/* As a file does. */
static void prefetch__a_block_at_an_array_s_start_opens_the_window(void)
{
	struct prefetch pf;
	struct prefetch_guess g;
	const struct place array = {.array = {.off = 40 * MIB + 2880, .len = 16 * MIB}};
	prefetch_init(&pf, 120 * MIB, 128 * MIB);
	prefetch_next(&pf, 40 * MIB, 256 * KIB, &array, &g);
	CHECK_EQ(all_of(&g).off + all_of(&g).len, 56 * MIB);
	prefetch_init(&pf, 120 * MIB, 128 * MIB);
	prefetch_next(&pf, 41 * MIB, 256 * KIB, &array, &g);
	CHECK_EQ(g.n, 0);
}

/* A hundred rows of an image look like the beginning of a copy. */
static void prefetch__a_cutout_stays_in_its_array(void)
{
	struct prefetch pf;
	struct prefetch_guess g;
	const uint64_t row = 8192, edge = 17 * MIB;
	const struct place array = {.array = {.off = MIB, .len = edge - MIB}};
	uint64_t furthest = 0;
	prefetch_init(&pf, 120 * MIB, 128 * MIB);
	for (uint64_t i = 0; i < 100; i++) {
		prefetch_next(&pf, 5 * MIB + i * row, 4096, &array, &g);
		if (g.n)
			furthest = all_of(&g).off + all_of(&g).len;
	}
	CHECK(furthest && furthest <= edge);
	/* Near its end no reader may starve. */
	prefetch_init(&pf, 120 * MIB, 128 * MIB);
	prefetch_next(&pf, 16 * MIB, 128 * KIB, &array, &g);
	prefetch_next(&pf, 16 * MIB + 128 * KIB, 128 * KIB, &array, &g);
	CHECK_EQ(all_of(&g).off + all_of(&g).len, 24 * MIB);
	/* Who has read much reads all. */
	prefetch_next(&pf, 16 * MIB + 256 * KIB, 8 * MIB, &array, &g);
	CHECK_EQ(all_of(&g).off + all_of(&g).len, 72 * MIB);
}

/* To the end of the file: no end is in the way. */
static void prefetch__the_last_array_has_a_file_s_window(void)
{
	const struct place one = {.array = {.off = MIB, .len = 4 * MIB}};
	const struct place last = {.array = {.off = MIB, .len = GIB - MIB}};
	struct prefetch_guess g;
	for (int far = 0; far < 2; far++) {
		struct prefetch pf;
		prefetch_init(&pf, GIB, 64 * MIB);
		prefetch_next(&pf, MIB, 512 * KIB, far ? &last : &one, &g);
		CHECK(!g.through);
		CHECK_EQ(all_of(&g).len, (far ? 16 * MIB : 8 * MIB) - MIB - 512 * KIB);
		prefetch_next(&pf, MIB + 512 * KIB, 3 * MIB, &one, &g);
		CHECK_EQ(all_of(&g).len, far ? 16 * MIB : 0);
		CHECK(!g.through);
		prefetch_next(&pf, MIB * 9 / 2, MIB, &one, &g);
		CHECK(g.through);
	}
}

/* Who reads all arrays from here on has a window that no array's end bounds, wide from
 * the first and not much wider later, in pieces of which many are on their way. */
static void prefetch__who_reads_all_arrays_has_one_even_window(void)
{
	const uint64_t start = MIB + 2880, size = 120 * MIB;
	const struct place all = {.array = {.off = start, .len = 4 * MIB}, .all = true};
	const struct place next_one = {.array = {.off = 6 * MIB, .len = 100 * MIB}};
	struct prefetch pf;
	struct prefetch_guess g;
	prefetch_init(&pf, size, 128 * MIB);
	/* The pages of its header were here: it goes on from there. */
	prefetch_next(&pf, MIB, 64 * KIB, &next_one, &g);
	CHECK_EQ(g.n, 0);
	prefetch_next(&pf, MIB + 64 * KIB, 256 * KIB, &all, &g);
	CHECK_EQ(all_of(&g).off + all_of(&g).len, 20 * MIB);
	for (size_t i = 0; i < g.n; i++)
		CHECK(g.ranges[i].len <= PREFETCH_ALL_MOST);
	uint64_t asked = 20 * MIB;
	for (uint64_t at = MIB + 320 * KIB; at < size; at += 512 * KIB) {
		prefetch_next(&pf, at, 512 * KIB, &next_one, &g);
		if (g.n)
			asked = all_of(&g).off + all_of(&g).len;
		for (size_t i = 0; i < g.n; i++)
			CHECK(g.ranges[i].len <= 2 * MIB);
		CHECK(asked <= at + 512 * KIB + 32 * MIB);
		CHECK(asked == size || !g.through || asked > at + 28 * MIB);
	}
	CHECK_EQ(asked, size);
}

/* A pixel through the planes of a cube whose planes are no whole pages. */
static void prefetch__equal_jumps_foretell_the_next(void)
{
	struct prefetch pf;
	struct prefetch_guess g;
	const uint64_t plane = 16781760, planes = 60, first = 5 * MIB + 1234;
	uint64_t foretold = 0, times = 0;
	prefetch_init(&pf, plane * planes + 10 * MIB, 64 * MIB);
	for (uint64_t i = 0; i < planes; i++) {
		uint64_t at = first + i * plane;
		next(&pf, at & ~UINT64_C(4095), 8192, &g);
		CHECK(g.jump);
		/* two say nothing */
		CHECK(i >= 2 || !g.n);
		CHECK(i < 3 || i < foretold);
		if (g.n && !foretold)
			foretold = i + 1;
		for (size_t k = 0; k < g.n; k++, foretold++) {
			uint64_t want = first + foretold * plane;
			CHECK(g.ranges[k].off <= (want & ~UINT64_C(4095)));
			CHECK(g.ranges[k].off + g.ranges[k].len >= want + 4096);
			CHECK(g.ranges[k].len <= 96 * KIB); /* one block, mostly */
		}
		times += g.n != 0;
	}
	CHECK(foretold >= planes);
	CHECK(times > 3);
}

static void prefetch__other_jumps_foretell_nothing(void)
{
	struct prefetch pf;
	struct prefetch_guess g;
	prefetch_init(&pf, 100 * GIB, 64 * MIB);
	uint64_t off = 0;
	for (uint64_t i = 1; i < 100; i++) {
		off += i * MIB; /* each a little further */
		next(&pf, off, 8192, &g);
		CHECK_EQ(g.n, 0);
	}
	for (uint64_t i = 0; i < 100; i++) { /* backwards */
		off -= 20 * MIB;
		next(&pf, off, 8192, &g);
		CHECK_EQ(g.n, 0);
	}
}

static void prefetch__ends_with_the_file(void)
{
	static const struct row rows[] = {
		{0, 128 * KIB, 0, 0},
		{128 * KIB, 128 * KIB, 256 * KIB, 2 * MIB + 1 - 256 * KIB},
		{256 * KIB, 128 * KIB, 0, 0},
		{2 * MIB, 128 * KIB, 0, 0},
		{2 * MIB + 1, 128 * KIB, 0, 0},
		{UINT64_MAX - 1, 128 * KIB, 0, 0},
	};
	ROWS(2 * MIB + 1, 64 * MIB, rows);
	static const struct row none[] = {{0, 1, 0, 0}, {0, 0, 0, 0}};
	ROWS(0, 64 * MIB, none);
}

static void prefetch__a_window_of_zero_never_asks(void)
{
	static const struct row rows[] = {
		{0, 128 * KIB, 0, 0},
		{128 * KIB, 128 * KIB, 0, 0},
		{256 * KIB, 128 * KIB, 0, 0},
	};
	ROWS(GIB, 0, rows);
	static const struct row small[] = {
		{0, 128 * KIB, 0, 0},
		{128 * KIB, 128 * KIB, 256 * KIB, 2 * MIB},
		{256 * KIB, 128 * KIB, 0, 0},
	};
	ROWS(GIB, 2 * MIB, small);
}

static void prefetch__survives_any_number(void)
{
	static const uint64_t odd[] = {
		0, 1, MIB, GIB, INT64_MAX, UINT64_MAX, UINT64_MAX - MIB, FETCH_SIZE - 1};
	enum { N = sizeof odd / sizeof *odd };
	for (size_t s = 0; s < N; s++)
		for (size_t w = 0; w < N; w++) {
			struct prefetch pf;
			prefetch_init(&pf, odd[s], odd[w]);
			for (size_t i = 0; i < N * N * 4; i++) {
				struct prefetch_guess g;
				struct place array = {
					.array = {odd[i / N / N % N], odd[(i + s) % N]},
					.all = i % 3 == 0,
				};
				prefetch_next(&pf, odd[i % N], odd[i / N % N], &array, &g);
				CHECK(g.n <= PREFETCH_RANGES);
				for (size_t k = 0; k < g.n; k++) {
					const struct range *got = &g.ranges[k];
					CHECK(got->len && got->off < odd[s]);
					CHECK(got->len <= odd[s] - got->off);
					prefetch_short(&pf, got, got->len / 2);
				}
			}
		}
}

int main(void)
{
	RUN(prefetch__the_second_contiguous_read_opens_the_window);
	RUN(prefetch__a_young_window_comes_in_growing_pieces);
	RUN(prefetch__a_block_at_the_start_opens_the_window);
	RUN(prefetch__refills_come_in_whole_gets);
	RUN(prefetch__random_reads_ask_for_nothing);
	RUN(prefetch__reads_out_of_order_are_one_stream);
	RUN(prefetch__a_jump_starts_another_stream);
	RUN(prefetch__the_fifth_stream_ends_the_oldest);
	RUN(prefetch__what_was_not_asked_for_comes_again);
	RUN(prefetch__a_block_at_an_array_s_start_opens_the_window);
	RUN(prefetch__a_cutout_stays_in_its_array);
	RUN(prefetch__the_last_array_has_a_file_s_window);
	RUN(prefetch__who_reads_all_arrays_has_one_even_window);
	RUN(prefetch__equal_jumps_foretell_the_next);
	RUN(prefetch__other_jumps_foretell_nothing);
	RUN(prefetch__ends_with_the_file);
	RUN(prefetch__a_window_of_zero_never_asks);
	RUN(prefetch__survives_any_number);
	return 0;
}
