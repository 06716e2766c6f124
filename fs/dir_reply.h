/* dir_reply.h - the entries of a directory that go into one reply.
 *
 * With plus, the kernel remembers each inode once more when it gets the reply.  So that
 * is counted when the reply is made, and given back if it is never sent.
 */
#ifndef FS_DIR_REPLY_H
#define FS_DIR_REPLY_H
#include "fs/fs_impl.h"

struct dir_place {
	struct fs *fs;
	uint64_t ino;
	const char *path; /* when it was opened */
	struct view_stream *stream;
};

struct dir_reply {
	/* what was asked */
	uint64_t off; /* a place in the stream, behind the dots */
	size_t size;  /* bytes */
	bool plus;

	/* before it was begun */
	uint64_t changes; /* fs.changes */
	uint64_t begun_ns;

	uint64_t next; /* where the reply after it begins */
	size_t used;   /* bytes; 0 = there are no more entries */
	char bytes[];
};

/* *ret is owned.  call as for view_next: an error only if there is nothing to reply
 * with. */
int dir_reply_new(const struct dir_place *dp, uint64_t off, size_t size, bool plus,
		  struct call *call, struct dir_reply **ret);
/* It was not sent.  NULL is fine. */
void dir_reply_take_back(struct fs *fs, struct dir_reply *rp);
#endif
