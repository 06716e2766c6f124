/* contract.h - the store under test, and how the tests put, get and list. */
#ifndef TESTS_CONTRACT_CONTRACT_H
#define TESTS_CONTRACT_CONTRACT_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/backend.h"
#include "backends/util/buf.h"

enum {
	MIB = 1 << 20,
	BIG = 5 * MIB + 1,
	PART = 5 * MIB,
	PART_OURS = 8 * MIB, /* what backend_part_size gives for small objects */
	TAIL = 123,
	PATTERN = 2 * PART_OURS + 4096,
	THREADS = 8
};

#define MUST(cond)                                                                  \
	do {                                                                        \
		if (!(cond)) {                                                      \
			(void)printf("  %s:%d: not true: %s\n", __FILE__, __LINE__, \
				     #cond);                                        \
			return false;                                               \
		}                                                                   \
	} while (0)

#define MUST_BE(expr, want)                                                             \
	do {                                                                            \
		int must_r_ = (expr), must_w_ = (want);                                 \
		if (must_r_ != must_w_) {                                               \
			(void)printf("  %s:%d: %s is %d (%s), not %d (%s)\n", __FILE__, \
				     __LINE__, #expr, must_r_, strerror(abs(must_r_)),  \
				     must_w_, strerror(abs(must_w_)));                  \
			return false;                                                   \
		}                                                                       \
	} while (0)

/* Leaves a test out, and says so: the store cannot do this, and is known not to (the caps
 * that it must have are given to test_backend). */
#define NEEDS(cap)                                                  \
	do {                                                        \
		if (!has(cap)) {                                    \
			(void)printf("  not asked: no %s\n", #cap); \
			return true;                                \
		}                                                   \
	} while (0)

struct test {
	const char *name;
	bool (*run)(void); /* false: what is wrong was printed */
};
/* clang-format off */
#define TEST(fn) {.name = #fn, .run = (fn)}
/* clang-format on */

/* Each ends with a NULL name. */
extern const struct test object_tests[], list_tests[], upload_tests[], race_tests[];

/* Who uploaded it: a tag as fs makes them. */
extern const char tag_a[], tag_b[];

/* set once, by main */
extern struct backend *be;
extern char prefix[40];	       /* of every key */
extern unsigned char *pattern; /* PATTERN bytes that do not repeat soon */

/* A key under the prefix, in one of a few buffers that take turns. */
const char *k(const char *name);
bool has(uint32_t cap);

/* ret may be NULL. */
int put_at(const char *name, const void *bytes, size_t len, const struct put_opts *opts,
	   struct object *ret);
/* The first bytes of the pattern. */
int put(const char *name, size_t len, struct object *ret);
/* fn of each number below THREADS in a thread of its own, all let go at the same moment.
 */
bool at_once(int (*fn)(int number), int results[THREADS]);
/* How many of them are this. */
int count_of(const int results[THREADS], int what);

/* What a get must deliver: these bytes from this offset on. */
struct expect {
	uint64_t next;
	uint64_t start;		    /* of the range */
	const unsigned char *bytes; /* the first of the range */
	bool wrong;
	atomic_bool *cancel; /* set after the first bytes */
	int error;	     /* to give back */
};

int expect_sink(void *arg, uint64_t off, const void *bytes, size_t len);
/* 0, the get's error, or 1: other bytes than those. */
int get_is(const char *name, const struct object *obj, uint64_t off, uint64_t len,
	   const void *bytes);

/* Keys without the prefix, a space after each; "*" marks a common prefix. */
struct listing {
	struct buf text;
	bool markers; /* list them too */
	struct object last;
	uint32_t n;
};

int note_entry(void *arg, const char *key, size_t key_len, const struct object *obj);
bool listing_is(const char *name, char delim, uint32_t max, bool markers,
		const char *want);

/* Bytes [from, from + len) of the pattern as a part. */
int send_part(const char *name, const char *id, uint32_t number, size_t from, size_t len,
	      uint64_t obj_off, struct part *ret);

/* Everything under the prefix, last key first: a directory after what was in it. */
bool remove_all(void);
#endif
