/* tree.h - which inodes there are, by number and by path.
 *
 * Life: an inode exists while the kernel remembers it (lookups), has it open, or
 * somebody here holds a reference.
 */
#ifndef FS_TREE_H
#define FS_TREE_H
#include <stdbool.h>
#include <stdint.h>
#include "fs/inode.h"

struct tree;

int tree_new(struct tree **ret);
void tree_free(struct tree *tr);

/* A reference; NULL if the kernel uses a number that we never gave it. */
struct inode *tree_get(struct tree *tr, uint64_t id);
/* The inode whose name this is now: a reference or NULL. */
struct inode *tree_find(struct tree *tr, const char *path);
void tree_put(struct tree *tr, struct inode *in); /* NULL is fine */
/* What is known of a path before it is looked up; zeros: nothing. */
struct tree_mark {
	uint64_t id, changes;
};
struct tree_mark tree_mark(struct tree *tr, const char *path);
enum { TREE_CHANGED = 1 };
/* The inode for what is at path: the one that is known if it is still that,
 * else a new one, and the old one loses its name.  *ret is a reference.
 * TREE_CHANGED: this mount has changed what is there since the mark was taken, before e
 * was looked up.  So e may be what the file was: the answer to an old question must not
 * take the name from the file that somebody writes.  Look it up once more. */
int tree_enter(struct tree *tr, const char *path, const struct view_entry *e,
	       const struct tree_mark *mark, struct inode **ret);
/* The kernel was told of it, once. */
void tree_remember(struct tree *tr, struct inode *in);
void tree_forget(struct tree *tr, uint64_t id, uint64_t n);
/* So many handles more; with the last one the version goes that they read, if it is not
 * soon opened again. */
void tree_opened(struct tree *tr, struct inode *in, int n);
uint32_t tree_opens(struct tree *tr, struct inode *in);
/* Its name was not removed here: another version has it (P5). */
bool tree_superseded(struct tree *tr, struct inode *in);
/* Its path is nobody's now. */
void tree_unname(struct tree *tr, struct inode *in);
bool tree_named(struct tree *tr, struct inode *in);
/* It has another name; whoever had that loses it. */
int tree_move(struct tree *tr, struct inode *in, const char *to);
/* What is below from, and from itself, has the same place below to.  -ENOMEM: nothing
 * has. */
int tree_move_below(struct tree *tr, const char *from, const char *to);
/* in, which the kernel reads past us, leaves its name to a new inode with the same
 * contents, and keeps that one alive until the kernel has found it.  Nothing is done if
 * the name is not in's, or the kernel does not read it any more.  -ENOMEM. */
int tree_split(struct tree *tr, struct inode *in, bool expects_write);
/* A copy, owned by the caller; NULL without memory. */
char *inode_path(struct tree *tr, struct inode *in, bool *ret_named);
#endif
