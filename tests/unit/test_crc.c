/* test_crc.c - published check values, and the two ways to the same one. */
#include "backends/crc.h"
#include "tests/unit/check.h"

static void crc__check_values_are_the_published_ones(void)
{
	CHECK_EQ(crc32c(0, "123456789", 9), 0xe3069283);
	CHECK_EQ(crc32c_by_table(0, "123456789", 9), 0xe3069283);
	CHECK(crc64nvme(0, "123456789", 9) == UINT64_C(0xae8b14860a799888));
	CHECK_EQ(crc32c(0, "", 0), 0);
	CHECK(crc64nvme(0, "", 0) == 0);
}

static void crc__chains_at_any_place(void)
{
	unsigned char bytes[300];
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (unsigned char)(i * 167 + 13);
	uint32_t whole = crc32c(0, bytes, sizeof bytes);
	uint64_t whole64 = crc64nvme(0, bytes, sizeof bytes);
	for (size_t i = 0; i <= sizeof bytes; i++) {
		size_t rest = sizeof bytes - i;
		CHECK_EQ(crc32c(crc32c(0, bytes, i), bytes + i, rest), whole);
		CHECK_EQ(crc32c_by_table(crc32c_by_table(0, bytes, i), bytes + i, rest),
			 whole);
		CHECK(crc64nvme(crc64nvme(0, bytes, i), bytes + i, rest) == whole64);
		CHECK(crc64nvme_combine(crc64nvme(0, bytes, i),
					crc64nvme(0, bytes + i, rest), rest) == whole64);
	}
}

/* Every start and length within a word or two. */
static void crc__instruction_and_table_agree(void)
{
	unsigned char bytes[64];
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (unsigned char)(255 - i * 3);
	for (size_t at = 0; at < 16; at++)
		for (size_t n = 0; n + at <= sizeof bytes; n++)
			CHECK_EQ(crc32c(7, bytes + at, n),
				 crc32c_by_table(7, bytes + at, n));
}

/* Long ones are summed in lanes. */
static void crc__lanes_and_table_agree(void)
{
	static unsigned char bytes[300000];
	uint32_t x = 1;
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (unsigned char)((x = x * 1664525 + 1013904223) >> 24);
	for (size_t n = 65528; n < 65528 + 60; n++)
		CHECK_EQ(crc32c(7, bytes + n % 8, n),
			 crc32c_by_table(7, bytes + n % 8, n));
	for (size_t n = 262144 - 30; n < 262144 + 30; n++)
		CHECK_EQ(crc32c(0, bytes + 1, n), crc32c_by_table(0, bytes + 1, n));
}

/* Every length around that of a step, and every place to begin. */
static void crc__folding_and_table_agree(void)
{
	static unsigned char bytes[70000];
	uint32_t x = 1;
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (unsigned char)((x = x * 1664525 + 1013904223) >> 24);
	for (size_t n = 0; n < 700; n++)
		CHECK(crc64nvme(n, bytes + n % 17, n) ==
		      crc64nvme_by_table(n, bytes + n % 17, n));
	for (size_t n = 65536 - 70; n < 65536 + 70; n++)
		CHECK(crc64nvme(0, bytes + 1, n) == crc64nvme_by_table(0, bytes + 1, n));
}

int main(void)
{
	RUN(crc__check_values_are_the_published_ones);
	RUN(crc__chains_at_any_place);
	RUN(crc__instruction_and_table_agree);
	RUN(crc__lanes_and_table_agree);
	RUN(crc__folding_and_table_agree);
	return 0;
}
