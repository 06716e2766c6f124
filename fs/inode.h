/* inode.h - what the kernel knows by number, and what it contains.
 *
 * An inode is one path's lineage of contents: its number stays while this mount
 * writes it, and a version that came from elsewhere gets a new one at look-up.
 * So what the kernel has cached for a number is never wrong (P1), and whoever
 * has the old number open keeps the old bytes.
 *
 * tree.lock guards paths and counts, inode.lock what the inode contains.
 */
#ifndef FS_INODE_H
#define FS_INODE_H
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include "backends/util/map.h"
#include "cache/pass.h"
#include "cache/view.h"
#include "fs/iomode.h"

struct tree;

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

/* These take inode.lock themselves, but for those whose names end in _locked. */

/* What was uploaded and handed to the cache is clean from here on. */
void inode_take_over_locked(struct inode *in);
/* A reference to the staged file that is the contents, or NULL: clean.  What
 * became clean meanwhile is taken over first. */
struct staged *inode_staged(struct inode *in);
/* The version of a clean inode, opened if it was not (reads the index). */
int inode_version(struct tree *tr, struct inode *in, struct blocks *bl,
		  struct version **ret);
/* Its reference, or NULL.  When nobody reads it any more: the kernel may remember the
 * inode for long, and the cache keeps the versions that were used last. */
struct version *inode_take_version(struct inode *in);
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
/* Until no thread is at that, or what ended the wait. */
int inode_await(struct inode *in, const struct call *call);
/* One thread at a time takes its name away, or gives what is staged that name; whoever
 * needs both claims it first.  Who stages holds it for a moment; who renames or unlinks,
 * until it is done, which may take as long as the bucket does. */
void inode_hold_name(struct inode *in);
void inode_release_name(struct inode *in);
/* Bytes and time as the user sees them now. */
void inode_stat(struct inode *in, uint64_t *ret_size, int64_t *ret_mtime_ns);
#endif
