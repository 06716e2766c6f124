/* helper.h - the same executable as mount(8) and umount(8) call it.
 *
 *   mount.mastfs, mount.fuse.mastfs   SOURCE DIR [-sfnv] [-o OPTION[,...]] [-t TYPE]
 *   umount.mastfs, umount.fuse.mastfs DIR [-flnrv] [-t TYPE]
 *
 * by links of these names in /sbin.  fstab's type is mastfs or fuse.mastfs, the
 * kernel's is fuse.mastfs.
 */
#ifndef FS_HELPER_H
#define FS_HELPER_H
#include <stdbool.h>

/* Was it called by such a name?  Then *ret_status is the exit status, of those that
 * mount(8) documents: 1 wrong usage, 32 failed. */
bool helper_run(int argc, char **argv, int *ret_status);
#endif
