/* attr.h - attributes: stat, truncate, utimens, statfs, and user.* names. */
#ifndef FS_ATTR_H
#define FS_ATTR_H
#include "fs/task.h"

int attr_get(struct task *t, struct call *call);
int attr_set(struct task *t, struct call *call);
int attr_statfs(struct task *t, struct call *call);
int attr_get_xattr(struct task *t, struct call *call);
int attr_list_xattr(struct task *t, struct call *call);
#endif
