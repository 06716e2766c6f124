/* rundir.c - see rundir.h. */
#include "fs/rundir.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

#define DRAINING "draining-"
#define NEW	 "new-"

/* Of this process only: another user's environment is not known. */
static const char *runtime_dir(uint32_t uid)
{
	const char *dir = uid && uid == geteuid() ? getenv("XDG_RUNTIME_DIR") : NULL;
	return dir && dir[0] == '/' ? dir : NULL;
}

bool rundir_path(uint32_t uid, unsigned n, struct buf *ret)
{
	const char *own = runtime_dir(uid);
	n += !own; /* the first place is not there */
	if (n == 0)
		buf_addf(ret, "%s/mastfs", own);
	else if (n == 1 && uid == 0)
		buf_adds(ret, "/run/mastfs");
	else if (n == 1)
		buf_addf(ret, "/run/user/%u/mastfs", uid);
	else if (n == 2)
		buf_addf(ret, "/tmp/mastfs-%u", uid);
	return n <= 2;
}

int rundir_open(const char *path, uint32_t uid, bool make)
{
	if (make && mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	CLEANUP_CLOSE int fd =
		open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != uid || (st.st_mode & 0022))
		return -EPERM;
	int ret = fd;
	fd = -1;
	return ret;
}

void rundir_name(const struct mount_entry *e, char ret[RUNDIR_NAME_SIZE])
{
	(void)snprintf(ret, RUNDIR_NAME_SIZE, "%u:%u", e->major, e->minor);
}

void rundir_draining_name(int pid, char ret[RUNDIR_NAME_SIZE])
{
	(void)snprintf(ret, RUNDIR_NAME_SIZE, DRAINING "%d", pid);
}

void rundir_new_name(int pid, char ret[RUNDIR_NAME_SIZE])
{
	(void)snprintf(ret, RUNDIR_NAME_SIZE, NEW "%d", pid);
}

bool rundir_is_name(const char *name)
{
	return (name[0] >= '0' && name[0] <= '9') ||
	       !strncmp(name, DRAINING, strlen(DRAINING));
}

void rundir_address(int dir, const char *name, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	(void)snprintf(ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d/%s", dir,
		       name);
}
