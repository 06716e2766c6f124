/* node.h - what the operations share: paths of children, attributes, entries. */
#ifndef FS_NODE_H
#define FS_NODE_H
#include "fs/task.h"

/* The path of name in the directory ino (owned by the caller).  -ENAMETOOLONG,
 * -EILSEQ (the store takes UTF-8 only, or keeps such names to itself), -ENOENT (the
 * directory is gone). */
int node_child_path(struct fs *fs, fuse_ino_t dir, const char *name, char **ret);
void node_stat(struct fs *fs, struct inode *in, struct stat *ret);
/* Enter what is at path into the tree, told to the kernel once more.  mark, TREE_CHANGED:
 * see tree_enter. */
int node_entry(struct fs *fs, const char *path, const struct view_entry *e,
	       const struct tree_mark *mark, struct inode **ret_in,
	       struct fuse_entry_param *ret);
/* Look it up and enter what is found.  call as for view_lookup. */
int node_look_up(struct fs *fs, const char *path, struct inode **ret_in,
		 struct fuse_entry_param *ret, struct call *call);
/* It was entered at a path that its directory has no more: the kernel is not told.  If
 * somebody else knows it, the path is rightly its own: another directory's, by now. */
void node_take_back(struct fs *fs, struct inode *in);
/* Reply with the entry; if the kernel does not take it, it was not told. */
void node_reply_entry(struct task *t, struct inode *in, const struct fuse_entry_param *e);
/* How long the kernel may keep names and attributes without asking us.  Short:
 * asking us costs no request, and we believe the bucket for ttl (P7). */
double node_kernel_ttl_s(const struct fs *fs);
#endif
