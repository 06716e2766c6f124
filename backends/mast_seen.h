/* mast_seen.h - what the public archive was heard to hold: answers, kept for long.
 *
 * An answer is a listing, or what one question was answered with.  It is filled in by
 * whoever asked, then kept, and never changed after that; readers hold a count on it.
 * The memory is bounded in bytes and the least used answers go first (P9).  How long
 * an answer is believed is the reader's to say. */
#ifndef BACKENDS_MAST_SEEN_H
#define BACKENDS_MAST_SEEN_H
#include <stdint.h>
#include "backends/backend.h"

enum mast_kind {
	MAST_LISTING, /* of a prefix, whole; entries by name behind the prefix's slash */
	MAST_PART,    /* the first pages of a listing; the key holds the next token */
	MAST_HEAD,    /* of a key: one entry "", or none if it is not there */
	MAST_PLACED,  /* where MAST says a file is: one entry, its key; or none */
};

struct mast_seen;
struct mast_answer;

int mast_seen_new(uint64_t bytes_max, struct mast_seen **ret);
void mast_seen_free(struct mast_seen *seen); /* NULL is fine */

/* asked_ns: monotonic, before the question was sent.  NULL: no memory. */
struct mast_answer *mast_answer_new(enum mast_kind kind, const char *key,
				    uint64_t asked_ns);
/* In byte order, a directory (obj NULL) with its slash.  -EMSGSIZE: it is too much to
 * remember, -EINVAL: not in order, or twice; -ENOMEM.  The answer is of no use then. */
int mast_answer_add(struct mast_answer *a, const char *name, const struct object *obj);
/* What another answer has, added. */
int mast_answer_append(struct mast_answer *a, const struct mast_answer *more);
void mast_answer_drop(struct mast_answer **a); /* the count, for CLEANUP; NULL is fine */
#define CLEANUP_ANSWER CLEANUP(mast_answer_drop)

uint64_t mast_answer_asked_ns(const struct mast_answer *a);
size_t mast_answer_count(const struct mast_answer *a);
/* The name of entry i, borrowed; *ret is filled in for an object, *ret_dir tells. */
const char *mast_answer_entry(const struct mast_answer *a, size_t i, struct object *ret,
			      bool *ret_dir);
/* 0, or -ENOENT: no object has this name. */
int mast_answer_find(const struct mast_answer *a, const char *name, struct object *ret);

/* Takes the caller's count.  In the place of an older answer of that kind and key. */
void mast_seen_keep(struct mast_seen *seen, struct mast_answer *a);
/* With a count for the caller; NULL: nothing is remembered. */
struct mast_answer *mast_seen_get(struct mast_seen *seen, enum mast_kind kind,
				  const char *key);
void mast_seen_forget(struct mast_seen *seen, enum mast_kind kind, const char *key);
/* What is held now. */
uint64_t mast_seen_bytes(struct mast_seen *seen);
#endif
