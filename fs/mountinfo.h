/* mountinfo.h - what is mounted where, read without touching any mount.
 */
#ifndef FS_MOUNTINFO_H
#define FS_MOUNTINFO_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define MASTFS_TYPE "fuse.mastfs"

struct mount_entry {
	uint64_t id;	       /* as fdinfo tells it of an open file */
	unsigned major, minor; /* of st_dev */
	/* Do mounts below it appear elsewhere; do those made elsewhere appear below it?
	 * Neither: it is private. */
	bool shared, slave;
	char type[64]; /* "fuse.mastfs"; cut if longer */
};

/* One line of it.  The strings live as long as the call that shows it. */
struct mount_line {
	struct mount_entry entry;
	const char *path;   /* where it is seen from here */
	const char *source; /* as it was given; may be "" */
	uint32_t uid;	    /* who mounted it, of a FUSE mount */
};
/* All of them in their order, until fn returns something else than 0, which is
 * returned. */
int mountinfo_each(FILE *f, int (*fn)(void *arg, const struct mount_line *m), void *arg);

/* The topmost mount at exactly this path (absolute, resolved), from a file of
 * the form of /proc/self/mountinfo.  0; -ENOENT: nothing is mounted there. */
int mountinfo_search(FILE *f, const char *path, struct mount_entry *ret);
/* The mount that the path (absolute, resolved; it need not be there) lies on. */
int mountinfo_search_over(FILE *f, const char *path, struct mount_entry *ret);
/* The mount of this id. */
int mountinfo_search_id(FILE *f, uint64_t id, struct mount_entry *ret);
/* The same as mountinfo_search in /proc/self/mountinfo. */
int mountinfo_find(const char *path, struct mount_entry *ret);
#endif
