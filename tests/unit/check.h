/* check.h - the least that a unit test needs: a check that says where it failed. */
#ifndef TESTS_UNIT_CHECK_H
#define TESTS_UNIT_CHECK_H
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(cond)                                                              \
	do {                                                                     \
		if (!(cond)) {                                                   \
			(void)fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, \
				      __LINE__, #cond);                          \
			exit(1);                                                 \
		}                                                                \
	} while (0)

#define CHECK_EQ(a, b)                                                                 \
	do {                                                                           \
		int64_t check_a_ = (int64_t)(a), check_b_ = (int64_t)(b);              \
		if (check_a_ != check_b_) {                                            \
			(void)fprintf(stderr,                                          \
				      "%s:%d: %s is %" PRId64 ", not %s = %" PRId64    \
				      "\n",                                            \
				      __FILE__, __LINE__, #a, check_a_, #b, check_b_); \
			exit(1);                                                       \
		}                                                                      \
	} while (0)

#define CHECK_STR(a, b)                                                            \
	do {                                                                       \
		const char *check_a_ = (a), *check_b_ = (b);                       \
		if (!check_a_ || !check_b_ || strcmp(check_a_, check_b_)) {        \
			(void)fprintf(stderr, "%s:%d: %s is \"%s\", not \"%s\"\n", \
				      __FILE__, __LINE__, #a,                      \
				      check_a_ ? check_a_ : "(null)",              \
				      check_b_ ? check_b_ : "(null)");             \
			exit(1);                                                   \
		}                                                                  \
	} while (0)

#define RUN(test)                               \
	do {                                    \
		test();                         \
		(void)printf("ok %s\n", #test); \
		(void)fflush(stdout);           \
	} while (0)
#endif
