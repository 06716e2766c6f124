/* fs.h - one mounted file system: its parts, and the order of its locks.
 *
 * The stack, top to bottom:
 *
 *   ops.c      what the kernel asks -> one call each, and the reply
 *   tree.c     inode numbers, names, lookup counts
 *   gate.c     keeps others out of a directory that is renamed
 *   file.c dir.c rename.c xattr.c      what the calls do
 *   cache/view.h   names and bytes as the user sees them: staged over removed
 *                  over the bucket
 *   cache/blocks.h clean bytes        cache/staged.h written bytes
 *   backends/backend.h
 *
 * Lock order (take downwards, never upwards; none is held across a backend call,
 * a reply, an fsync or a commit):
 *
 *   gate.lock, tree.lock > inode.lock > staging.lock > staged.lock > removal.lock >
 *   names.lock > version.lock > blocks.lock > journal.lock > pool.lock > http.lock
 *   staging.lock > parts.lock > orphans.lock; staging.lock > staged.fd_lock
 */
#ifndef FS_FS_H
#define FS_FS_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "backends/backend.h"
#include "cache/blocks.h"

struct fs;

/* Strings are borrowed until fs_new returns. */
struct fs_conf {
	const char *cache_dir; /* exists, 0700, locked by us; journal and staged files */
	uid_t uid;
	gid_t gid;
	mode_t umask;
	uint64_t ttl_ns;	  /* how long what the bucket told is believed (P7) */
	uint64_t staging_bytes;	  /* of written bytes not yet in the bucket, at most */
	uint64_t read_timeout_ns; /* of a read or look-up that meets faults (P8) */
	uint64_t drain_ns;	  /* how long fs_stop waits for uploads */
	const char *local_only;	  /* patterns, see cache/local_only.h */
	bool read_only;
	bool passthrough;	/* let the kernel read complete files itself */
	bool upload_background; /* false: close() waits for the upload (P2) */
	uint32_t uploaders;	/* requests that upload, at most */
	uint32_t threads;	/* that take requests of the kernel, at most */
	uint32_t rename_max;	/* files in a directory that is renamed, at most */
};

/* be and bl are borrowed until fs_free.  Recovers the journal: what an earlier
 * mount acknowledged goes on being uploaded.  Starts threads. */
int fs_new(const struct fs_conf *conf, struct backend *be, struct blocks *bl,
	   struct fs **ret);
/* The mount is there, its loop about to run; it is about to be unmounted. */
struct fuse_session;
int fs_attach(struct fs *fs, struct fuse_session *se, const char *mountpoint);
void fs_detach(struct fs *fs);
/* After the FUSE loop has ended: upload what is pending, for drain_ns at most and only
 * until *hurry.  Returns how many changes are left to the next mount. */
uint64_t fs_stop(struct fs *fs, const atomic_bool *hurry);
/* Then: the names of files that are left, a line each, without control characters; of
 * many the first few and how many more there are. */
void fs_name_left(struct fs *fs, struct buf *ret);
void fs_free(struct fs *fs);

/* The table for fuse_session_new; its userdata is the struct fs.  Include
 * <fuse_lowlevel.h> with FUSE_USE_VERSION 314 before using it. */
struct fuse_lowlevel_ops;
extern const struct fuse_lowlevel_ops fs_ops;
#endif
