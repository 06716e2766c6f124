/* holders.h - does a process still hold a file open for writing?
 *
 * Looks only at names and flags under /proc (readlink and fdinfo), never at the
 * file itself: that would ask this very file system, which is waiting for us. */
#ifndef FS_HOLDERS_H
#define FS_HOLDERS_H
#include <stdint.h>
#include <sys/types.h>

struct holder {
	pid_t pid;
	uid_t uid; /* as it called */
	gid_t gid;
};

/* How many writable descriptors of the process are this inode of ours, known by
 * its number, the end of its path and the device of its mount (0: not known).  0 also if
 * the process cannot be seen (another pid namespace, another user, gone).
 * path NULL: by the number alone; then no link is read, which may take for ever (see
 * holders_ask.h).  -EOPNOTSUPP: a kernel before 5.14, which does not tell it. */
int holders_count(const struct holder *who, dev_t device, uint64_t inode,
		  const char *path);
#endif
