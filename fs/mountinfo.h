/* mountinfo.h - what is mounted where, read without touching any mount.
 */
#ifndef FS_MOUNTINFO_H
#define FS_MOUNTINFO_H
#include <stdio.h>

#define MASTFS_TYPE "fuse.mastfs"

struct mount_entry {
	unsigned major, minor; /* of st_dev */
	char type[64];	       /* "fuse.mastfs"; cut if longer */
};

/* The topmost mount at exactly this path (absolute, resolved), from a file of
 * the form of /proc/self/mountinfo.  0; -ENOENT: nothing is mounted there. */
int mountinfo_search(FILE *f, const char *path, struct mount_entry *ret);
/* The same in /proc/self/mountinfo. */
int mountinfo_find(const char *path, struct mount_entry *ret);
#endif
