/* cleanup.h - what a scope opened, the scope closes.
 *
 *   CLEANUP_FREE char *s = ...;       freed when s goes out of scope
 *   CLEANUP_CLOSE int fd = -1;        closed, errno kept
 *   SCOPED_LOCK(&m);                  a mutex held until the end of the scope
 *   return STEAL(s);                  hands the pointer on, leaves NULL behind
 */
#ifndef BACKENDS_UTIL_CLEANUP_H
#define BACKENDS_UTIL_CLEANUP_H
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close_(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;
		(void)close(*fd);
		errno = saved;
	}
}

static inline void cleanup_unlock_(pthread_mutex_t **m)
{
	(void)pthread_mutex_unlock(*m);
}

static inline pthread_mutex_t *cleanup_lock_(pthread_mutex_t *m)
{
	(void)pthread_mutex_lock(m);
	return m;
}

#define CLEANUP(fn)   __attribute__((cleanup(fn)))
#define CLEANUP_FREE  CLEANUP(cleanup_free_)
#define CLEANUP_CLOSE CLEANUP(cleanup_close_)

#define CLEANUP_PASTE_(a, b) a##b
#define CLEANUP_NAME_(line)  CLEANUP_PASTE_(scoped_lock_, line)
/* clang calls a variable with only a cleanup unused, hence the attribute. */
#define SCOPED_LOCK(m)                                                      \
	__attribute__((unused, cleanup(cleanup_unlock_))) pthread_mutex_t * \
	CLEANUP_NAME_(__LINE__) = cleanup_lock_(m)

#define STEAL(p)                          \
	__extension__({                   \
		__auto_type steal_ = (p); \
		(p) = NULL;               \
		steal_;                   \
	})
#endif
