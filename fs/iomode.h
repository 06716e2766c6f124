/* iomode.h - how one inode is open: through the page cache, or past us.
 *
 * The kernel does not mix the two on one inode (Linux' fs/fuse/iomode.c): an open of
 * the other kind fails there, and the user sees EIO.  So the first open decides, and
 * all follow until the last is released.  Who can not follow, because he writes or
 * because the name has other contents now, must open another inode: to -ESTALE the
 * kernel looks the name up once more.
 *
 * Pure; the owner locks.
 */
#ifndef FS_IOMODE_H
#define FS_IOMODE_H
#include <stdbool.h>
#include <stdint.h>

enum iomode { IOMODE_NONE, IOMODE_CACHED, IOMODE_PASSTHROUGH };

struct iomodes {
	enum iomode mode;
	uint32_t opens;	    /* not released yet */
	bool expects_write; /* somebody who writes is on his way: not past us until then
			     */
};

/* How the next open would be answered.  passes: it only reads, and the kernel may
 * read the file itself (if it does already: this very file).  IOMODE_NONE: not under
 * this number. */
enum iomode iomode_next(const struct iomodes *m, bool passes);
/* It was opened so. */
void iomode_opened(struct iomodes *m, enum iomode mode, bool writes);
/* True: that was the last. */
bool iomode_released(struct iomodes *m);
const char *iomode_name(enum iomode mode);
#endif
