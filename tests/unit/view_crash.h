/* view_crash.h - a daemon that dies, and the mount after it.
 *
 * A child works and _exit()s without closing anything, as a killed daemon ends; the
 * parent mounts the same directories.  The bucket is a local one that counts. */
#ifndef TESTS_VIEW_CRASH_H
#define TESTS_VIEW_CRASH_H
#include "tests/unit/scratch.h"
#include "tests/unit/view_rig.h"

struct crash {
	struct scratch s;
	struct vrig rig;
	struct backend *be;
	struct backend *plain; /* the same bucket, uncounted */
};

void crash_init(struct crash *c);
/* script: of fault.h. */
void crash_mount(struct crash *c, const char *script);
void crash_umount(struct crash *c);
void crash_done(struct crash *c);
/* Do it in a process that dies of it. */
void crash_in(struct crash *c, const char *script, void (*work)(struct vrig *rig));
/* NULL: the bucket has no such object. */
bool crash_has(struct crash *c, const char *key, const char *text);
void crash_drain(struct crash *c);
/* Work: one file in each state, ids 1 to 4: a.part, open, synced, sealed. */
void crash_write_each(struct vrig *rig);
#endif
