/* fs_impl.h - struct fs, for the files that are the file system.  The command line
 * (main, mount, config) sees fs.h only. */
#ifndef FS_FS_IMPL_H
#define FS_FS_IMPL_H
#include <stdatomic.h>
#include "backends/util/pool.h"
#include "cache/view.h"
#include "fs/fs.h"
#include "fs/tree.h"

/* What the kernel has open: a file's handle or a directory's listing.  The mount
 * may end before it is closed. */
struct opened {
	struct opened *next, **link; /* guarded by fs.lock */
	void (*close)(struct fs *fs, struct opened *o);
};

struct fs {
	/* set once */
	struct fs_conf conf; /* its strings are not used after fs_new */
	char *cache_dir;     /* owned */
	struct backend *be;  /* borrowed */
	struct blocks *bl;   /* borrowed */
	struct view *vw;
	struct tree *tree;
	struct gate *gate;
	struct passthrough *passthrough;
	/* Work that may wait for the network never runs on the threads that answer
	 * the kernel.  Reads and look-ups have one pool, changes of names and
	 * waiting for uploads another, so that neither holds up the other. */
	struct pool *readers, *writers;
	int64_t mounted_ns; /* since the epoch: the time of directories */
	dev_t device;	    /* of the mount; 0 = not known */
	bool utf8_keys;	    /* the store takes no other names */

	/* How often what a directory shows may have changed: see dir_list.c. */
	atomic_uint_fast64_t changes;
	atomic_uint replies_ahead; /* of all directories */
	atomic_uint here;	   /* threads of the session's that do a task_here */

	/* guarded by lock */
	pthread_mutex_t lock;
	struct opened *opened;
	struct task *tasks; /* those on pool threads, to be cancelled at the end */
	bool stopping;
};

/* May files be written?  That the store takes no writes may be found out late. */
bool fs_writable(const struct fs *fs);
void fs_opened(struct fs *fs, struct opened *o);
/* Before it is freed. */
void fs_closed(struct fs *fs, struct opened *o);
#endif
