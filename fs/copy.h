/* copy.h - copy_file_range: cp of a whole file within the mount. */
#ifndef FS_COPY_H
#define FS_COPY_H
#include "fs/task.h"

/* From the start of one file (t->fh_in) to the start of another, t->size bytes.
 * -EOPNOTSUPP, at which the kernel reads and writes: unless all of a clean file goes
 * into a new one that has no bytes yet. */
int copy_range(struct task *t, struct call *call);
#endif
