/* mountpoint.h - the directory that is mounted on: found, checked, let go.
 *
 * A mount whose daemon is dead answers ENOTCONN, one whose daemon hangs answers
 * nothing; so no call here touches a mount before /proc/self/mountinfo was asked,
 * and what must be asked of a mount is asked by a child that can be left behind.
 */
#ifndef FS_MOUNTPOINT_H
#define FS_MOUNTPOINT_H
#include <stdbool.h>
#include "backends/util/buf.h"
#include "fs/mountinfo.h"

/* The absolute path without symbolic links (owned by the caller: free) and what
 * is mounted there.  0: something is; 1: nothing is; < 0: the path cannot be
 * followed, not logged. */
int mountpoint_resolve(const char *path, char **ret_path, struct mount_entry *ret);

/* Does a mount answer?  Asks for 5 s at most.  0, -ENOTCONN (the daemon is dead),
 * -ETIMEDOUT (it does not answer) ... */
int mountpoint_probe(const char *path);

/* Check that path can be mounted on; detach a stale mount of our own.  *ret_path:
 * resolved, owned by the caller (free).  Logs one line for what is wrong. */
int mountpoint_prepare(const char *path, bool nonempty, char **ret_path);

/* Is the directory, on which nothing is mounted, one to mount on?  Logs one line for what
 * is wrong: -ENOENT, -ENOTDIR, -ENOTEMPTY, -EACCES ... */
int mountpoint_check(const char *path, bool nonempty);

/* Unmount, lazily or if nobody uses it: as root, else by fusermount3.  -EBUSY, or
 * another error with the reason appended to why. */
int mountpoint_unmount(const char *path, bool lazily, struct buf *why);

/* Is path dir itself or below it?  Both absolute and resolved. */
bool path_within(const char *path, const char *dir);
#endif
