/* opening.h - an inode that is opened and released: through us, or by the kernel
 * itself.  Joins the rule (iomode.h), the file (cache/pass.h) and the kernel
 * (passthrough.h). */
#ifndef FS_OPENING_H
#define FS_OPENING_H
#include "fs/fs_impl.h"

/* Counts an open.  *ret_id: for passthrough_reply_open.
 * -ESTALE   not under this number: the kernel reads the old contents of the name for
 *           somebody.  The name has another inode now, to be looked up
 * -EAGAIN   if call is NULL: it takes a while */
int opening_begin(struct fs *fs, struct inode *in, bool writes, struct call *call,
		  int *ret_id);
/* The same for an open that must go through us: nothing may wait. */
int opening_begin_cached(struct fs *fs, struct inode *in, bool writes);
void opening_end(struct fs *fs, struct inode *in);
/* Somebody is about to change the contents of the name without opening it: 0, or
 * -ESTALE as above. */
int opening_make_way(struct fs *fs, struct inode *in);
#endif
