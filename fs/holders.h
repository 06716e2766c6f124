/* holders.h - does a process still hold a file open for writing?
 *
 * Looks only at names and flags under /proc (readlink and fdinfo), never at the
 * file itself: that would ask this very file system, which is waiting for us. */
#ifndef FS_HOLDERS_H
#define FS_HOLDERS_H
#include <stdint.h>
#include <sys/types.h>

/* How many writable descriptors of the process are this inode of ours, known by
 * its number and by the end of its path.  0 also if the process cannot be seen
 * (another pid namespace, another user, gone). */
int holders_count(pid_t pid, uint64_t inode, const char *path);
#endif
