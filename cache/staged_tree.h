/* staged_tree.h - the staged files below a directory, while it gets another name.
 *
 * Claimed, nothing of them is sent, sealed, renamed or dropped; whoever has one open
 * reads and writes it all the same.  Their rows go into the transaction that renames
 * the directory (dir_move.h), so that all of them move or none.
 */
#ifndef CACHE_STAGED_TREE_H
#define CACHE_STAGED_TREE_H
#include "cache/staged.h"
#include "cache/tags.h"

struct staged_row; /* room for a journal row */

struct staged_leaf {
	struct staged *st; /* reference, claimed */
	const char *key;   /* borrowed: its name */
	char *other;	   /* owned: the name it is to have; then, the one it had */
	bool local;
	bool sealed, done; /* done: it is in the bucket */
	/* What the bucket has under its name, as far as it knows. */
	char left_etag[ETAG_SIZE], left_tags[TAGS_SIZE];
	/* Set by the caller, of the other name: what it replaces there, ... */
	char base[ETAG_SIZE], tags[TAGS_SIZE];
	struct object copy;	/* ... what its object is there, if it is done, ... */
	bool holds_removal;	/* ... and whether what it replaces was removed (at first:
				   of its name now) */
	bool listed, took;	/* the caller's own */
	struct staged_row *row; /* owned */
};

struct staged_tree {
	struct staging *sg;	    /* borrowed */
	struct staged_leaf *leaves; /* owned; by key */
	size_t n, alloc;
};

/* wait: for uploads that are under way, since somebody may wait for them in a close();
 * else they are stopped, and begin anew under the other name.  -EXDEV: more than max,
 * or one that the bucket does not want (CONFLICT), or that is being written while what
 * was closed of it waits.  To be released, whatever is returned. */
int staged_tree_claim(struct staging *sg, const char *dir, uint32_t max, bool wait,
		      struct staged_tree *ret, struct call *call);
/* The leaf of this key, or NULL. */
struct staged_leaf *staged_tree_find(const struct staged_tree *tr, const char *key);
/* Its row under the other name, valid until the release; *ret_any false: none. */
int staged_leaf_row(struct staged_leaf *leaf, struct journal_change *ret, bool *ret_any);
/* The journal has it: memory follows. */
void staged_tree_rename(struct staged_tree *tr);
void staged_tree_release(struct staged_tree *tr);
#endif
