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

static void run(uint64_t size, uint64_t window_max, const struct row *rows, size_t n)
{
	struct prefetch pf;
	prefetch_init(&pf, size, window_max);
	for (size_t i = 0; i < n; i++) {
		struct range got = {0};
		int r = prefetch_next(&pf, rows[i].off, rows[i].len, &got);
		CHECK_EQ(r != 0, rows[i].want_len != 0);
		CHECK_EQ(got.off, rows[i].want_off);
		CHECK_EQ(got.len, rows[i].want_len);
	}
}
#define ROWS(size, max, rows) run(size, max, rows, sizeof(rows) / sizeof *(rows))

static void prefetch__the_second_contiguous_read_opens_the_window(void)
{
	static const struct row rows[] = {
		{0, 128 * KIB, 0, 0},
		/* 16 MiB ahead, to the end of a whole GET */
		{128 * KIB, 128 * KIB, 256 * KIB, 16 * MIB - 256 * KIB},
		/* then 32, then 64, and no more */
		{256 * KIB, 128 * KIB, 16 * MIB, 16 * MIB},
		{384 * KIB, 128 * KIB, 32 * MIB, 32 * MIB},
		{512 * KIB, 128 * KIB, 0, 0},
		{640 * KIB, 128 * KIB, 0, 0},
	};
	ROWS(GIB, 64 * MIB, rows);
}

static void prefetch__refills_come_in_whole_gets(void)
{
	struct prefetch pf;
	struct range got;
	uint64_t asked = 0, times = 0;
	prefetch_init(&pf, GIB, 64 * MIB);
	for (uint64_t off = 0; off < GIB; off += 128 * KIB) {
		if (!prefetch_next(&pf, off, 128 * KIB, &got))
			continue;
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
	struct range got;
	uint64_t x = 1;
	prefetch_init(&pf, 64 * GIB, 128 * MIB);
	for (int i = 0; i < 1000; i++) {
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
		uint64_t off = (x >> 20) % (64 * GIB / 4096) * 4096;
		uint64_t before = pf.next;
		int r = prefetch_next(&pf, off, 4096, &got);
		/* Unless chance made it look contiguous. */
		CHECK(!r || (off + MIB >= before && off <= before + MIB));
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
		{384 * KIB, 128 * KIB, 16 * MIB, 16 * MIB},
	};
	ROWS(GIB, 64 * MIB, rows);
	/* a page fault asks half a window backwards */
	static const struct row mapped[] = {
		{10 * MIB, 128 * KIB, 0, 0},
		{10 * MIB + 64 * KIB, 128 * KIB, 10 * MIB + 192 * KIB,
		 14 * MIB - 192 * KIB},
	};
	ROWS(GIB, 64 * MIB, mapped);
}

static void prefetch__a_jump_closes_the_window(void)
{
	static const struct row rows[] = {
		{0, 128 * KIB, 0, 0},
		{128 * KIB, 128 * KIB, 256 * KIB, 16 * MIB - 256 * KIB},
		{500 * MIB, 128 * KIB, 0, 0},
		{128 * KIB, 128 * KIB, 0, 0},
		{700 * MIB, 128 * KIB, 0, 0},
		{700 * MIB + 128 * KIB, 128 * KIB, 700 * MIB + 256 * KIB,
		 12 * MIB - 256 * KIB},
	};
	ROWS(GIB, 64 * MIB, rows);
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
				struct range got;
				if (!prefetch_next(&pf, odd[i % N], odd[i / N % N], &got))
					continue;
				CHECK(got.len && got.off < odd[s]);
				CHECK(got.len <= odd[s] - got.off);
			}
		}
}

int main(void)
{
	RUN(prefetch__the_second_contiguous_read_opens_the_window);
	RUN(prefetch__refills_come_in_whole_gets);
	RUN(prefetch__random_reads_ask_for_nothing);
	RUN(prefetch__reads_out_of_order_are_one_stream);
	RUN(prefetch__a_jump_closes_the_window);
	RUN(prefetch__ends_with_the_file);
	RUN(prefetch__a_window_of_zero_never_asks);
	RUN(prefetch__survives_any_number);
	return 0;
}
