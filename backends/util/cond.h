/* cond.h - waiting for a while, whatever somebody does to the wall clock. */
#ifndef BACKENDS_UTIL_COND_H
#define BACKENDS_UTIL_COND_H
#include <pthread.h>
#include <stdint.h>

/* For cond_wait_ms. */
void cond_init_monotonic(pthread_cond_t *cond);
/* Until it is signalled, for so long, or for no reason: look again. */
void cond_wait_ms(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t ms);
#endif
