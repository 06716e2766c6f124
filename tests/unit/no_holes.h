/* no_holes.h - in place of libc's fallocate: a file system that knows no holes. */
#ifndef TESTS_UNIT_NO_HOLES_H
#define TESTS_UNIT_NO_HOLES_H
#include <stdatomic.h>

extern atomic_bool no_holes; /* EOPNOTSUPP from now on */
#endif
