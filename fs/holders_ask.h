/* holders_ask.h - holders_count for who must answer the process that it is about.
 *
 * A process in execve closes what it has open with O_CLOEXEC while it holds its
 * exec_update_lock, and whoever looks at its descriptors in /proc waits for that (Linux:
 * fs/exec.c, begin_new_exec; fs/proc/base.c, call_proc_get_link).  If one of them is
 * ours, it waits for the answer to its FLUSH, and we would wait for it: for ever, and
 * every ps of the machine with us (kernel 6.18, 2026-11-28).  So a thread of its own
 * looks, which comes free once we have answered.
 */
#ifndef FS_HOLDERS_ASK_H
#define FS_HOLDERS_ASK_H
#include "fs/holders.h"

/* As holders_count.  -EDEADLK: the process is in execve and waits for us.  Any other
 * negative errno: it could not be found out. */
int holders_ask(const struct holder *who, dev_t device, uint64_t inode, const char *path);
#endif
