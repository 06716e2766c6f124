/* no_holes.c - see no_holes.h. */
#include "tests/unit/no_holes.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "backends/util/banned.h"

atomic_bool no_holes;

int fallocate(int fd, int mode, off_t off, off_t len)
{
	if (!atomic_load(&no_holes))
		return (int)syscall(SYS_fallocate, fd, mode, off, len);
	errno = EOPNOTSUPP;
	return -1;
}
