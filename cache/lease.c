/* lease.c - see lease.h.
 *
 * The lease is given back at once: it is the question that counts.  Whoever opens the
 * file in between breaks it, which is said by a signal, SIGIO if no other is set, and
 * that would end us; SIGURG is ignored unless somebody waits for it.
 */
#include "cache/lease.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include "backends/util/banned.h"

int lease_try(int fd)
{
	if (fcntl(fd, F_SETSIG, SIGURG))
		return -errno;
	if (fcntl(fd, F_SETLEASE, F_WRLCK))
		return errno == EAGAIN ? -EBUSY : -errno;
	(void)fcntl(fd, F_SETLEASE, F_UNLCK);
	return 0;
}
