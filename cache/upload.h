/* upload.h - one whole file into the bucket, as one object, under a condition.
 *
 * Small files are one put; large ones go in parts, several at once.  A refused
 * precondition is looked into: if the object there carries our own tag, the
 * upload had succeeded and only its answer was lost; if it carries the tag of the
 * file's previous generation, that one's upload was the base, and it is tried
 * once more over it.  The same is asked when the store forgot an upload in parts,
 * or no answer came: what was the end of it?
 *
 * An upload in parts costs money until it is finished or aborted.  So the intent is
 * journaled before it is begun ("?": its id is not known) and the id after.  Only
 * what is ours is aborted: by id, or for "?" whatever was begun for exactly this key
 * after the staged file was last changed and before this daemon started.  Another
 * client that began one in that time, for a key that we are about to replace, loses
 * it; one that begins later does not.
 */
#ifndef CACHE_UPLOAD_H
#define CACHE_UPLOAD_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "backends/backend.h"
#include "backends/util/pool.h"

/* All pointers are borrowed until upload_run returns. */
struct upload_job {
	const char *key;
	int fd;	       /* -1: the file is lost; only an upload that had succeeded helps */
	uint64_t size; /* bytes; does not change meanwhile */
	int64_t mtime_ns;
	const char *base;      /* etag it replaces; "" = the key must not exist */
	const char *base_tags; /* of uploads of ours that may be there, see tags.h */
	const char *tag;       /* unique to this content */
	bool look_first;       /* an earlier attempt may have succeeded */
	const char *stale_id;  /* of an earlier upload in parts, "" = none */
	int64_t mount_born_ns; /* when this daemon started; since the epoch */
	/* Journals the id of an upload in parts before any part is sent, and "" when
	 * there is none any more. */
	int (*save_id)(void *arg, const char *id);
	void *arg;
	struct pool *parts;  /* runs the parts; the caller's thread sends too */
	uint64_t timeout_ns; /* of each request with its retries */
	atomic_bool *cancelled;
};

/* -ESTALE: the bucket has something else there (P5). */
int upload_run(struct backend *be, const struct upload_job *job, struct object *ret);
#endif
