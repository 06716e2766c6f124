/* write.h - changing the bytes of an open file. */
#ifndef FS_WRITE_H
#define FS_WRITE_H
#include "fs/task.h"

int write_bytes(struct task *t, struct call *call);
int write_allocate(struct task *t, struct call *call);
/* The size, for setattr and open.  -EAGAIN if call is NULL and the bucket must be asked.
 */
int write_truncate(struct fs *fs, struct inode *in, uint64_t size, struct call *call);
#endif
