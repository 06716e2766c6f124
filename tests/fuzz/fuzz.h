/* fuzz.h - what the fuzz targets share.
 *
 * A target is one file with LLVMFuzzerTestOneInput: bytes that anybody could have sent or
 * written go into the daemon's own functions, and what must hold of the result is looked
 * at with MUST.  libFuzzer runs it by the million (tests/torture fuzz); replay.c feeds it
 * corpus/ and regress/ in every ordinary tree.  Nothing may be left from one input to the
 * next, so that an input that fails fails again.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(cond)                                                               \
	do {                                                                     \
		if (!(cond)) {                                                   \
			(void)fprintf(stderr, "%s:%d: must hold: %s\n", __FILE__, \
				      __LINE__, #cond);                          \
			abort();                                                 \
		}                                                                \
	} while (0)

/* Once, before the first input. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
/* Always 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The rest of an input, taken from its front. */
struct input {
	const uint8_t *p;
	size_t n;
};

/* 0 where nothing is left. */
static inline uint8_t take_byte(struct input *in)
{
	if (!in->n)
		return 0;
	in->n--;
	return *in->p++;
}

static inline uint64_t take_number(struct input *in, int bytes)
{
	uint64_t v = 0;
	for (int i = 0; i < bytes; i++)
		v |= (uint64_t)take_byte(in) << (8 * i);
	return v;
}

/* Up to the separator, which is taken too, or to the end: a string of its own, to be
 * freed, so that a sanitizer sees a step past it.  The length: *ret_len; NULL = it ends
 * at a NUL. */
static inline char *take_string(struct input *in, char separator, size_t *ret_len)
{
	const uint8_t *end = in->n ? memchr(in->p, separator, in->n) : NULL;
	size_t n = end ? (size_t)(end - in->p) : in->n;
	char *s = malloc(n + 1);
	MUST(s);
	if (n)
		memcpy(s, in->p, n);
	s[n] = '\0';
	in->p += n + (end != NULL);
	in->n -= n + (end != NULL);
	if (ret_len)
		*ret_len = n;
	return s;
}
#endif
