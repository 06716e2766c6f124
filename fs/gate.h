/* gate.h - a directory gets another name: nobody changes a name below it meanwhile.
 *
 * Whoever changes the name of a file, or makes a file in the bucket's stead, passes with
 * the path; whoever renames a directory closes both paths, waits until nobody is inside
 * them, and keeps others out until it is done.  A path may be another one after the
 * wait, so that the functions here find it out, before and after.
 *
 * One directory is renamed at a time: so many requests in flight are its limit.
 * Taken before inode_claim, and not twice by one call.
 */
#ifndef FS_GATE_H
#define FS_GATE_H
#include "fs/task.h"

struct gate;

int gate_new(struct gate **ret);
void gate_free(struct gate *g); /* NULL is fine */

/* Somebody who changes a name. */
struct gate_pass {
	struct gate_pass *next, **link; /* guarded by gate.lock */
	char *path;			/* owned */
	bool named;			/* of an inode: the path is its name now */
};

/* Zero a pass first.  0: inside, with the path.  -EAGAIN: call is NULL and it would
 * wait; else as node_child_path, or what ended the wait. */
int gate_enter_child(struct fs *fs, struct gate_pass *p, fuse_ino_t dir, const char *name,
		     struct call *call);
/* Both names of a rename. */
int gate_enter_both(const struct task *t, struct gate_pass *from, struct gate_pass *to,
		    struct call *call);
int gate_enter_inode(struct fs *fs, struct gate_pass *p, struct inode *in,
		     struct call *call);
void gate_leave(struct fs *fs, struct gate_pass *p); /* one that is not inside is fine */

/* Both paths of a rename, as they are now; owned by the caller, also when it fails. */
int gate_paths(const struct task *t, char **ret_from, char **ret_to);
/* The paths are borrowed until it is opened again. */
int gate_close(struct fs *fs, const char *from, const char *to, struct call *call);
void gate_open(struct fs *fs);
#endif
