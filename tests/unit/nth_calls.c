/* nth_calls.c - the calls that the linker hands to us in place of libc, see nth.h. */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "tests/unit/nth.h"
#include "backends/util/banned.h"

/* The linker's names, for calls without a declaration. */
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
int __wrap_asprintf(char **ret, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
int __wrap___asprintf_chk(char **ret, int flag, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
DIR *__wrap_opendir(const char *path);
DIR *__wrap_fdopendir(int fd);
FILE *__wrap_fopen64(const char *path, const char *mode);
FILE *__real_fopen64(const char *path, const char *mode);
int __wrap_memfd_create(const char *name, unsigned int flags);
int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attr,
			  void *(*fn)(void *), void *arg);

static bool fails(void)
{
	if (!nth_point(NTH_MALLOC))
		return false;
	errno = ENOMEM;
	return true;
}

/* nth_real.h makes these the real ones. */
void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return fails() ? NULL : reallocarray(p, n, size);
}

char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
	return fails() ? NULL : strndup(s, n);
}

/* *ret is undefined then: make that show. */
static int no_text(char **ret)
{
	*ret = (char *)1;
	return -1;
}

int __wrap_asprintf(char **ret, const char *format, ...)
{
	va_list args;
	if (fails())
		return no_text(ret);
	va_start(args, format);
	int n = vasprintf(ret, format, args);
	va_end(args);
	return n;
}

int __wrap___asprintf_chk(char **ret, int flag, const char *format, ...)
{
	va_list args;
	(void)flag;
	if (fails())
		return no_text(ret);
	va_start(args, format);
	int n = vasprintf(ret, format, args);
	va_end(args);
	return n;
}

DIR *__wrap_opendir(const char *path)
{
	return fails() ? NULL : opendir(path);
}

DIR *__wrap_fdopendir(int fd)
{
	return fails() ? NULL : fdopendir(fd);
}

FILE *__wrap_fopen64(const char *path, const char *mode)
{
	return fails() ? NULL : __real_fopen64(path, mode);
}

int __wrap_memfd_create(const char *name, unsigned int flags)
{
	return fails() ? -1 : memfd_create(name, flags);
}

int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attr,
			  void *(*fn)(void *), void *arg)
{
	return fails() ? EAGAIN : pthread_create(ret, attr, fn, arg);
}
