/* mounts.h - the mastfs mounts that this process sees, for the verbs that ask them.
 */
#ifndef FS_MOUNTS_H
#define FS_MOUNTS_H
#include <stddef.h>
#include <stdint.h>
#include "backends/util/buf.h"
#include "fs/mountinfo.h"

enum { MOUNTS_MAX = 64 };

struct mounted {
	struct mount_entry entry;
	uint32_t uid;	     /* who mounted it */
	char *path, *source; /* owned */
};
struct mounts {
	struct mounted list[MOUNTS_MAX];
	size_t n;
	char *only; /* owned; the resolved path that was asked for; NULL: all */
};

/* That at path, or, if it is NULL, all: each once, though it be bound to other places.
 * -E2BIG: more than MOUNTS_MAX; or path cannot be followed.  mounts_done is due whatever
 * is returned. */
int mounts_find(const char *path, struct mounts *ret);
void mounts_done(struct mounts *m);
/* Ask its daemon, as control_ask has it, and look at the mount point, as mountpoint_probe
 * has it: *ret_seen; but not if the daemon has taken a whole deadline. */
int mounts_ask(const struct mounted *m, const char *question, struct buf *ret,
	       int *ret_seen);
/* Why a mount could not be asked, in words. */
const char *mounts_why(int r);
#endif
