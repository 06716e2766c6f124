/* dir.h - looking names up, listing directories, making and removing them. */
#ifndef FS_DIR_H
#define FS_DIR_H
#include "fs/task.h"

int dir_lookup(struct task *t, struct call *call);
int dir_open(struct task *t, struct call *call);
int dir_read(struct task *t, struct call *call);
int dir_read_plus(struct task *t, struct call *call);
int dir_release(struct task *t, struct call *call);
int dir_make(struct task *t, struct call *call);
int dir_remove(struct task *t, struct call *call);
int dir_sync(struct task *t, struct call *call);
#endif
