/* handle.h - one open file: what the kernel's file handle points to. */
#ifndef FS_HANDLE_H
#define FS_HANDLE_H
#include "cache/ahead.h"
#include "fs/task.h"

struct handle {
	struct opened opened; /* first */

	/* set once */
	struct inode *in; /* reference */
	pid_t opener;	  /* the thread; 0 = it is not to be seen from here */
	bool writable;
	bool opens; /* counted by opening.c */

	/* guarded by lock */
	pthread_mutex_t lock;
	struct prefetch prefetch;
	struct spent { /* a read that waited for its deadline in vain */
		uint64_t from, to, at_ns;
		int error; /* 0 = none */
	} spent;
	/* Closed, as far as we can see; its RELEASE comes later, in its own time.
	 * Only handles that are not idle count as the inode's writers. */
	bool idle;
};

static inline struct handle *handle_of(const struct task *t)
{
	return (struct handle *)(uintptr_t)t->fi.fh;
}

/* Takes over the reference to in (also when it fails). */
int handle_new(struct fs *fs, struct inode *in, bool writable, struct handle **ret);
void handle_free(struct fs *fs, struct handle *h);
/* It is written: it counts as a writer again. */
void handle_wake(struct handle *h);

/* The file's contents as a staged file that may be written now; *ret is a
 * reference.  Of a clean file the first keep bytes are brought here first (-EAGAIN
 * if call is NULL and that asks the bucket). */
int file_make_writable(struct fs *fs, struct inode *in, uint64_t keep, struct call *call,
		       struct staged **ret);
#endif
