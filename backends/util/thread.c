/* thread.c - see thread.h. */
#include "backends/util/thread.h"
#include <signal.h>
#include "backends/util/banned.h"

int thread_start(pthread_t *ret, size_t stack_bytes, void *(*fn)(void *arg), void *arg)
{
	sigset_t all, old;
	pthread_attr_t attr;
	(void)sigfillset(&all);
	(void)pthread_attr_init(&attr);
	if (stack_bytes)
		(void)pthread_attr_setstacksize(&attr, stack_bytes);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = pthread_create(ret, &attr, fn, arg);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)pthread_attr_destroy(&attr);
	return -r;
}
