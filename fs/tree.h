/* tree.h - inodes: what the kernel knows by number.
 *
 * An inode is one path's lineage of contents: its number stays while this mount
 * writes it, and a version that came from elsewhere gets a new one at look-up.
 * So what the kernel has cached for a number is never wrong (P1), and whoever
 * has the old number open keeps the old bytes.
 *
 * Life: an inode exists while the kernel remembers it (lookups), has it open, or
 * somebody here holds a reference.
 *
 * tree.lock guards paths and counts, inode.lock what the inode contains.
 */
#ifndef FS_TREE_H
#define FS_TREE_H
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include "backends/util/map.h"
#include "cache/pass.h"
#include "cache/view.h"
#include "fs/iomode.h"

enum { INODE_ROOT = 1 };

struct inode {
	/* set once */
	uint64_t id;
	enum name_kind kind;

	/* guarded by tree.lock */
	struct map_node by_id, by_path;
	char *path;	  /* owned; read through inode_path() */
	uint64_t lookups; /* of the kernel */
	uint32_t refs;	  /* ours: calls, handles */
	uint32_t opens;	  /* open handles */
	bool named;	  /* in by_path: path is its name now */
	bool superseded;  /* not named: another version was found at path */

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t idle;
	struct staged *staged;	 /* reference; its bytes are the contents ... */
	struct version *version; /* reference, made when first opened ... else these */
	struct object object;	 /* ... of this version */
	uint64_t changes;	 /* of the contents, made through this mount */
	int writers;		 /* open handles that may write, but for idle ones */
	int handles;		 /* file.c: the same with idle ones */
	bool busy;		 /* one thread turns it from clean to staged */
	bool name_held;		 /* one thread takes its name away, or stages it there */
	/* opening.c: */
	struct iomodes io;
	struct pass pass;    /* in the kernel's hands while io.mode says so ... */
	int backing_id;	     /* ... under this number */
	struct inode *split; /* reference, until the last is released */
};

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
/* So many handles more; with the last one the version goes that they read. */
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

/* --- contents; these take inode.lock themselves --- */

/* A reference to the staged file that is the contents, or NULL: clean.  What
 * became clean meanwhile is taken over first. */
struct staged *inode_staged(struct inode *in);
/* The version of a clean inode, opened if it was not (reads the index). */
int inode_version(struct tree *tr, struct inode *in, struct blocks *bl,
		  struct version **ret);
/* Replace the contents; takes over the reference. */
void inode_set_staged(struct inode *in, struct staged *st);
void inode_set_object(struct inode *in, const struct object *obj);
void inode_object(struct inode *in, struct object *ret);
void inode_add_writers(struct inode *in, int n);
int inode_writers(struct inode *in);
/* As inode_add_writers(in, -1), but nothing is handed to the cache yet. */
void inode_leave(struct inode *in);
/* Hand its staged file to the cache if that is due. */
void inode_rest(struct inode *in);
/* One thread at a time makes a clean inode a staged one. */
void inode_claim(struct inode *in);
void inode_unclaim(struct inode *in);
/* One thread at a time takes its name away, or gives what is staged that name; whoever
 * needs both claims it first.  Who stages holds it for a moment; who renames or unlinks,
 * until it is done, which may take as long as the bucket does. */
void inode_hold_name(struct inode *in);
void inode_release_name(struct inode *in);
/* Bytes and time as the user sees them now. */
void inode_stat(struct inode *in, uint64_t *ret_size, int64_t *ret_mtime_ns);
#endif
