/* crc.c - see crc.h.  Slicing by 8: eight table look-ups a word of eight bytes; by the
 * processor's own instructions where it has them.
 *
 * The tables are constants that are cheaper to compute than to write down:
 * filled in before main, never written again.
 */
#include "backends/crc.h"
#include <endian.h>
#include <string.h>
#ifdef __x86_64__
#include <nmmintrin.h>
#include <wmmintrin.h>
#endif
#include "backends/util/banned.h"

/* Bit-reversed polynomials. */
#define POLY32C UINT32_C(0x82f63b78)
#define POLY64	UINT64_C(0x9a6c9329ac4bc9b5)

enum {
	LANES_FROM = 65536, /* bytes */
	FOLD_BYTES = 64,    /* four words of 16 bytes, each folded apart */
	FOLD_FROM = 256,
};

static uint32_t table32[8][256];
static uint64_t table64[8][256];
static uint64_t fold_by_64[2], fold_by_16[2];

/* a * b modulo the polynomial; the highest power is the lowest bit. */
static uint64_t multiply64(uint64_t a, uint64_t b)
{
	uint64_t product = 0;
	for (uint64_t bit = UINT64_C(1) << 63; bit; bit >>= 1) {
		if (a & bit)
			product ^= b;
		b = b & 1 ? b >> 1 ^ POLY64 : b >> 1;
	}
	return product;
}

/* x to the power of n, by squaring x; 1 is the highest bit. */
static uint64_t power64(uint64_t n)
{
	uint64_t power = UINT64_C(1) << 63, square = UINT64_C(1) << 62;
	for (; n; n >>= 1) {
		if (n & 1)
			power = multiply64(square, power);
		square = multiply64(square, square);
	}
	return power;
}

/* What moves the two halves of a word so many bytes on.  A product of two reversed
 * numbers is one bit short, hence one power less. */
static void fill_fold(uint64_t ret[2], uint64_t bytes)
{
	ret[0] = power64(8 * bytes + 63);
	ret[1] = power64(8 * bytes - 1);
}

__attribute__((constructor)) static void fill_tables(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c32 = i;
		uint64_t c64 = i;
		for (int bit = 0; bit < 8; bit++) {
			c32 = c32 & 1 ? c32 >> 1 ^ POLY32C : c32 >> 1;
			c64 = c64 & 1 ? c64 >> 1 ^ POLY64 : c64 >> 1;
		}
		table32[0][i] = c32;
		table64[0][i] = c64;
	}
	for (int k = 1; k < 8; k++) {
		for (int i = 0; i < 256; i++) {
			uint32_t c32 = table32[k - 1][i];
			uint64_t c64 = table64[k - 1][i];
			table32[k][i] = c32 >> 8 ^ table32[0][c32 & 0xff];
			table64[k][i] = c64 >> 8 ^ table64[0][c64 & 0xff];
		}
	}
	fill_fold(fold_by_64, FOLD_BYTES);
	fill_fold(fold_by_16, 16);
}

static uint64_t load64(const unsigned char *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof v);
	return le64toh(v);
}

uint32_t crc32c_by_table(uint32_t crc, const void *bytes, size_t n)
{
	const unsigned char *p = bytes;
	uint32_t c = ~crc;
	for (; n >= 8; n -= 8, p += 8) {
		uint64_t v = load64(p) ^ c;
		c = 0;
		for (int k = 0; k < 8; k++)
			c ^= table32[7 - k][v >> (8 * k) & 0xff];
	}
	for (; n; n--)
		c = c >> 8 ^ table32[0][(c ^ *p++) & 0xff];
	return ~c;
}

/* a * b modulo the polynomial; the highest power is the lowest bit. */
static uint32_t multiply32c(uint32_t a, uint32_t b)
{
	uint32_t product = 0;
	for (uint32_t bit = UINT32_C(1) << 31; bit; bit >>= 1) {
		if (a & bit)
			product ^= b;
		b = b & 1 ? b >> 1 ^ POLY32C : b >> 1;
	}
	return product;
}

uint32_t crc32c_combine(uint32_t a, uint32_t b, uint64_t b_len)
{
	/* x to the power of 8 * b_len, by squaring x^8; 1 is the highest bit. */
	uint32_t power = UINT32_C(1) << 31, square = UINT32_C(1) << 23;
	for (; b_len; b_len >>= 1) {
		if (b_len & 1)
			power = multiply32c(square, power);
		square = multiply32c(square, square);
	}
	return multiply32c(power, a) ^ b;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc32c_by_instruction(uint32_t crc,
									const void *bytes,
									size_t n)
{
	const unsigned char *p = bytes;
	uint64_t c = (uint32_t)~crc;
	for (; n >= 8; n -= 8, p += 8)
		c = _mm_crc32_u64(c, load64(p));
	uint32_t c32 = (uint32_t)c;
	for (; n; n--)
		c32 = _mm_crc32_u8(c32, *p++);
	return ~c32;
}
#endif

#ifdef __x86_64__
/* The instruction takes three cycles, but a new one can begin in each: three lanes of a
 * block take a third of the time, and putting them together 2 us. */
__attribute__((target("sse4.2"))) static uint32_t crc32c_in_lanes(uint32_t crc,
								  const void *bytes,
								  size_t n)
{
	const unsigned char *p = bytes;
	size_t lane = n / 3 / 8 * 8;
	uint64_t a = (uint32_t)~crc, b = UINT32_MAX, c = UINT32_MAX;
	for (size_t i = 0; i < lane; i += 8) {
		a = _mm_crc32_u64(a, load64(p + i));
		b = _mm_crc32_u64(b, load64(p + lane + i));
		c = _mm_crc32_u64(c, load64(p + 2 * lane + i));
	}
	uint32_t sum = crc32c_combine(~(uint32_t)a, ~(uint32_t)b, lane);
	sum = crc32c_combine(sum, ~(uint32_t)c, lane);
	return crc32c_by_instruction(sum, p + 3 * lane, n - 3 * lane);
}
#endif

uint32_t crc32c(uint32_t crc, const void *bytes, size_t n)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return n < LANES_FROM ? crc32c_by_instruction(crc, bytes, n)
				      : crc32c_in_lanes(crc, bytes, n);
#endif
	return crc32c_by_table(crc, bytes, n);
}

/* c is not inverted, neither before nor after. */
static uint64_t add64(uint64_t c, const unsigned char *p, size_t n)
{
	for (; n >= 8; n -= 8, p += 8) {
		uint64_t v = load64(p) ^ c;
		c = 0;
		for (int k = 0; k < 8; k++)
			c ^= table64[7 - k][v >> (8 * k) & 0xff];
	}
	for (; n; n--)
		c = c >> 8 ^ table64[0][(c ^ *p++) & 0xff];
	return c;
}

uint64_t crc64nvme_by_table(uint64_t crc, const void *bytes, size_t n)
{
	return ~add64(~crc, bytes, n);
}

#ifdef __x86_64__
#define FOLDS __attribute__((target("sse2,pclmul")))

/* The word that leaves the same remainder so far on, with what stands there. */
FOLDS static __m128i fold(__m128i word, __m128i by, __m128i there)
{
	__m128i low = _mm_clmulepi64_si128(word, by, 0x00);
	__m128i high = _mm_clmulepi64_si128(word, by, 0x11);
	return _mm_xor_si128(_mm_xor_si128(low, high), there);
}

FOLDS static __m128i word_at(const void *p)
{
	return _mm_loadu_si128(p);
}

/* Without carries a multiplication shifts by any number of bits at once: what is left
 * of 64 bytes after each step is 64 bytes with the same remainder, and at the end 16,
 * which the table divides. */
FOLDS static uint64_t crc64nvme_by_folding(uint64_t crc, const void *bytes, size_t n)
{
	const unsigned char *p = bytes;
	unsigned char last[16];
	__m128i w[4];
	__m128i by = word_at(fold_by_64), by_one = word_at(fold_by_16);
	for (int i = 0; i < 4; i++)
		w[i] = word_at(p + 16 * i);
	w[0] = _mm_xor_si128(w[0], _mm_set_epi64x(0, (long long)~crc));
	for (p += FOLD_BYTES, n -= FOLD_BYTES; n >= FOLD_BYTES;
	     p += FOLD_BYTES, n -= FOLD_BYTES)
		for (int i = 0; i < 4; i++)
			w[i] = fold(w[i], by, word_at(p + 16 * i));
	for (int i = 1; i < 4; i++)
		w[i] = fold(w[i - 1], by_one, w[i]);
	_mm_storeu_si128((__m128i *)last, w[3]);
	return ~add64(add64(0, last, sizeof last), p, n);
}
#endif

uint64_t crc64nvme(uint64_t crc, const void *bytes, size_t n)
{
#ifdef __x86_64__
	if (n >= FOLD_FROM && __builtin_cpu_supports("pclmul"))
		return crc64nvme_by_folding(crc, bytes, n);
#endif
	return crc64nvme_by_table(crc, bytes, n);
}

uint64_t crc64nvme_combine(uint64_t a, uint64_t b, uint64_t b_len)
{
	/* The power is of 8 * b_len, which may not fit: x^8 is what is squared. */
	uint64_t power = UINT64_C(1) << 63, square = UINT64_C(1) << 55;
	for (; b_len; b_len >>= 1) {
		if (b_len & 1)
			power = multiply64(square, power);
		square = multiply64(square, square);
	}
	return multiply64(power, a) ^ b;
}
