/* dir_move_impl.h - what dir_move.c, dir_collect.c, dir_copy.c and dir_undo.c share.
 * Nobody else includes this. */
#ifndef CACHE_DIR_MOVE_IMPL_H
#define CACHE_DIR_MOVE_IMPL_H
#include <stdatomic.h>
#include "cache/dir_move.h"
#include "cache/staged_tree.h"
#include "cache/view_impl.h"

/* The new name's removal was pending. */
struct dir_left {
	char etag[ETAG_SIZE], tags[TAGS_SIZE];
};

/* One name in the bucket. */
struct dir_item {
	char *from, *to;	  /* owned; from NULL: a marker that is made */
	struct object was, is;	  /* the source; the copy */
	struct staged_leaf *leaf; /* borrowed; staged over it, or NULL */
	struct dir_left *left;	  /* owned, or NULL */
	bool marker;
	bool phantom; /* of a new directory, which needs none: held, never made */
	bool held;    /* its new name is */
	bool tried;   /* a copy may be there */
	bool gone;    /* somebody removed the source meanwhile */
};

struct dir_move {
	/* set once */
	struct view *vw;
	const char *from, *to; /* borrowed */
	bool over;
	struct call *call; /* borrowed */
	char tag[TAG_SIZE];

	struct staged_tree staged;
	struct dir_item *items; /* owned; each is one thread's while it is copied */
	size_t n, alloc;
	uint64_t counted;		       /* of rename_max */
	bool topped;			       /* an item is the new directory's marker */
	struct dir_names local_from, local_to; /* directories that are only here */
	struct dir_names going; /* sorted: were removed here when it was listed */

	/* atomic */
	_Atomic size_t next; /* item to be copied */
	atomic_int error;    /* the first */
	atomic_bool blind;   /* this store's copies take no condition */
};

/* Claim what is staged there, list what is in the bucket, and make a list of it. */
int dir_collect(struct dir_move *m);
/* Copy them all; on an error as few more as can be. */
int dir_copy(struct dir_move *m);

static inline struct journal_change dir_gone(const char *key, const char *etag,
					     const char *tags)
{
	return (struct journal_change){
		.kind = JOURNAL_PUT_GONE, .key = key, .etag = etag, .tag = tags};
}

static inline struct journal_change dir_not_gone(const char *key)
{
	return (struct journal_change){.kind = JOURNAL_DEL_GONE, .key = key};
}

/* dir_move (1), of one name. */
static inline struct journal_change dir_announced(const struct dir_move *m,
						  const struct dir_item *it)
{
	return it->left ? dir_gone(it->to, it->left->etag, it->left->tags)
			: dir_gone(it->to, "", m->tag);
}

/* After a commit that failed and may be in the journal all the same: that it is not.  If
 * this fails, too, nobody knows which of the names the next mount removes, and no copy
 * may go in this one. */
int dir_take_back(struct dir_move *m, const char *top);
/* Nothing has another name; the copies that were made go again. */
void dir_withdraw(struct dir_move *m);
#endif
