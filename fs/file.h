/* file.h - open files: opening, reading, closing.  Writing is write.h. */
#ifndef FS_FILE_H
#define FS_FILE_H
#include "fs/task.h"

int file_open(struct task *t, struct call *call);
int file_create(struct task *t, struct call *call);
int file_read(struct task *t, struct call *call);
/* close(2), once for each descriptor. */
int file_flush(struct task *t, struct call *call);
/* The last descriptor is gone. */
int file_release(struct task *t, struct call *call);
int file_fsync(struct task *t, struct call *call);
#endif
