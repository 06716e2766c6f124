/* session.h - the FUSE session: mounted, looped, unmounted.
 */
#ifndef FS_SESSION_H
#define FS_SESSION_H
#include <stdatomic.h>
#include "fs/config.h"
#include "fs/fs.h"

struct session;

/* Mounts fs at the mount point (resolved).  Logs one line.  Both are borrowed until
 * session_free.  A signal no longer kills: it ends the loop, at once if it has not begun.
 */
int session_new(const struct config *c, const char *mountpoint, struct fs *fs,
		struct session **ret);
/* Answer the kernel until a signal or an unmount ends it. */
int session_loop(struct session *s);
/* Once the loop has ended: has one more signal come, which says to hurry? */
const atomic_bool *session_hurry(void);
/* Requests that came before may still be answered, until session_free. */
void session_unmount(struct session *s);
void session_free(struct session *s); /* NULL is fine */
#endif
