/* task.h - one request of the kernel, from its arrival to its one reply.
 *
 * An operation is a function that either replies and returns 0, or returns a
 * negative errno for the dispatcher to reply with.  It is first tried on the
 * thread that took the request, where it may not wait (call is NULL): -EAGAIN
 * then means that it would have to ask the bucket, and it is run again, from its
 * start, on a pool thread with the kernel's interruptions and a deadline, both of which
 * count from here, not from when a thread is free (P8).
 *
 * The reply goes through reply_*() below, which first take back the interrupt
 * callback: afterwards nobody else knows the task.
 */
#ifndef FS_TASK_H
#define FS_TASK_H
#include <fuse_lowlevel.h>
#include "fs/fs_impl.h"

struct task;
typedef int task_fn(struct task *t, struct call *call);

struct task {
	fuse_req_t req;
	struct fs *fs;
	task_fn *fn;
	fuse_ino_t ino, ino2;
	const char *name, *name2; /* owned when the task is on the heap */
	struct fuse_file_info fi;
	uint64_t fh_in; /* of the file that is copied; fi is the copy's */
	struct stat attr;
	int to_set, mode;
	unsigned flags;
	off_t off, len;
	size_t size;
	const char *data; /* owned when the task is on the heap */
	bool only_reads;  /* see task_read */
	bool stands_back; /* behind all others, and it leaves threads to them */

	/* private */
	struct call call;
	atomic_bool cancelled;
	bool on_heap;
	bool gives_up;		   /* it need not be begun once its time is over */
	struct task *next, **link; /* in fs.tasks while it runs on a pool */
};

/* Try here and now; else on the readers' pool, or, with data, on the writers'. */
void task_try(struct task *t);
/* As task_try: an operation that changes nothing that a directory shows, and finds out
 * nothing new of it.  After all others what was made of one ahead is thrown away. */
void task_read(struct task *t);
/* The mount ends: whoever waits for the network gives up. */
void task_cancel_all(struct fs *fs);
/* On the writers' pool at once: it changes names, syncs or waits for uploads. */
void task_later(struct task *t);
/* What waits for this disk at most is done on this thread, which saves waking up another,
 * while enough of them are left to who asks meanwhile; else as task_later. */
void task_here(struct task *t);

void reply_err(struct task *t, int r); /* r: 0 or a negative errno of ours */
/* < 0: the kernel did not take it. */
int reply_entry(struct task *t, const struct fuse_entry_param *e);
int reply_create(struct task *t, const struct fuse_entry_param *e);
int reply_open(struct task *t, int backing_id); /* see passthrough.h */
void reply_attr(struct task *t, const struct stat *st);
int reply_buf(struct task *t, const void *bytes, size_t n);
void reply_write(struct task *t, size_t n);
void reply_xattr_size(struct task *t, size_t n);
void reply_statfs(struct task *t, const struct statvfs *sv);
#endif
