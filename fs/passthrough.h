/* passthrough.h - files that the kernel reads itself, without asking us.
 *
 * Linux 6.9 and later: the reply to INIT must ask for it, a file of ours gets an id by
 * an ioctl on the session's descriptor, and the reply to OPEN names that id.  libfuse
 * 3.17 knows about it.  For 3.14 to 3.16 the two replies are put right here: INIT's as
 * it is written, OPEN's by writing our own.  Nobody else sees which of the two it is.
 * INIT's is put right in one more way there: lookups of one directory may come at once.
 *
 * Without privilege (CAP_SYS_ADMIN), or where the kernel cannot, it turns itself off
 * for the session, with one line in the log, and the files are read through us.
 */
#ifndef FS_PASSTHROUGH_H
#define FS_PASSTHROUGH_H
#include <stdbool.h>
#include <fuse_lowlevel.h>

struct passthrough;

/* wanted: by the user.  cache_dir is borrowed for the call: what it lies on decides
 * how deep the kernel must let files be stacked. */
int passthrough_new(bool wanted, const char *cache_dir, struct passthrough **ret);
void passthrough_free(struct passthrough *p); /* NULL is fine */

/* After fuse_session_mount, before the loop. */
int passthrough_attach(struct passthrough *p, struct fuse_session *se);
/* Before the session is unmounted: its descriptor is closed there. */
void passthrough_detach(struct passthrough *p);
/* In the reply to INIT.  Says as well that whoever writes clears set-user-id bits and
 * capabilities of a file (HANDLE_KILLPRIV_V2): no file of ours has any, and without it
 * the kernel asks before every write whether this one has. */
void passthrough_ask(struct passthrough *p, struct fuse_conn_info *conn);

/* May the kernel be given files? */
bool passthrough_is_on(struct passthrough *p);
/* The same in words for the user: "active", or "off: " and why. */
void passthrough_describe(struct passthrough *p, char *ret, size_t size);
/* The id (> 0) under which the kernel knows fd from now on; fd may be closed.
 * Negative errno: read it through us. */
int passthrough_open(struct passthrough *p, int fd);
/* Whoever has the file open under the id goes on reading it. */
void passthrough_close(struct passthrough *p, int id);
/* Answers an OPEN: id 0 = through us.  As fuse_reply_open. */
int passthrough_reply_open(fuse_req_t req, struct fuse_file_info *fi, int id);
#endif
