/* thread.h - a thread of our own.
 *
 * Born with all signals blocked: they belong to the thread that runs the FUSE loop.
 */
#ifndef BACKENDS_UTIL_THREAD_H
#define BACKENDS_UTIL_THREAD_H
#include <pthread.h>
#include <stddef.h>

/* stack_bytes 0: the system's default.  Negative errno. */
int thread_start(pthread_t *ret, size_t stack_bytes, void *(*fn)(void *arg), void *arg);
#endif
