/* rundir.h - where the control sockets of this machine's mounts lie.
 *
 *   root    /run/mastfs, else /tmp/mastfs-0
 *   others  $XDG_RUNTIME_DIR/mastfs, else /run/user/UID/mastfs, else /tmp/mastfs-UID
 *
 * A socket's name is that of the mount's device, "0:57": the one thing that every mount
 * table tells of a mount, wherever it is seen, without touching it.  The kernel gives the
 * number to another mount once this one is gone, so a daemon that has unmounted and
 * still uploads moves aside (rundir_draining_name).
 */
#ifndef FS_RUNDIR_H
#define FS_RUNDIR_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>
#include "backends/util/buf.h"
#include "fs/mountinfo.h"

enum { RUNDIR_NAME_SIZE = 32 };

/* The n-th place (from 0) for mounts of this user; false: there are no more. */
bool rundir_path(uint32_t uid, unsigned n, struct buf *ret);
/* A descriptor of the directory, which is made if make says so.  -EPERM: it is not the
 * user's own, or others may write to it. */
int rundir_open(const char *path, uint32_t uid, bool make);

void rundir_name(const struct mount_entry *e, char ret[RUNDIR_NAME_SIZE]);
void rundir_draining_name(int pid, char ret[RUNDIR_NAME_SIZE]);
/* What a socket is called until it listens. */
void rundir_new_name(int pid, char ret[RUNDIR_NAME_SIZE]);
/* Is it the name of a socket that listens, or did until its daemon was killed? */
bool rundir_is_name(const char *name);

/* The address of a name in the directory: by the descriptor, because a path may be
 * longer than the 108 bytes of sun_path, and because nobody can swap it meanwhile. */
void rundir_address(int dir, const char *name, struct sockaddr_un *ret);
#endif
