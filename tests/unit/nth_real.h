/* nth_real.h - included before everything else in the test's own files of a program
 * that is linked with the wrapped calls of nth.c: what the test itself allocates is
 * neither counted nor failed.
 */
#ifndef TESTS_UNIT_NTH_REAL_H
#define TESTS_UNIT_NTH_REAL_H
#define malloc	       __real_malloc
#define calloc	       __real_calloc
#define realloc	       __real_realloc
#define reallocarray   __real_reallocarray
#define strdup	       __real_strdup
#define strndup	       __real_strndup
#define opendir	       __real_opendir
#define fdopendir      __real_fdopendir
#define memfd_create   __real_memfd_create
#define pthread_create __real_pthread_create
#endif
