/* rename.h - files that change or lose their names. */
#ifndef FS_RENAME_H
#define FS_RENAME_H
#include "fs/task.h"

int rename_file(struct task *t, struct call *call);
int rename_unlink(struct task *t, struct call *call);
#endif
