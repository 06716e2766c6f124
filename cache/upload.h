/* upload.h - one whole file into the bucket, as one object, under a condition.
 *
 * Small files are one put; large ones go in parts, several at once, unless the store
 * takes no parts for that key: then they are one put, too, or -EFBIG.  A refused
 * precondition is looked into: if the object there carries our own tag, the
 * upload had succeeded and only its answer was lost; if it carries the tag of the
 * file's previous generation, that one's upload was the base, and it is tried
 * once more over it.  The same is asked when the store forgot an upload in parts,
 * or no answer came: what was the end of it?
 *
 * An upload in parts may have begun while the file grew: then only the rest is sent
 * (parts.h).  Where the store is told a file's time when an upload begins, a time that
 * was set by hand is put right in the end, by a copy of the object onto itself.
 */
#ifndef CACHE_UPLOAD_H
#define CACHE_UPLOAD_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "backends/backend.h"
#include "cache/parts.h"

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
	bool exact_mtime;      /* the object must have mtime_ns, and not its own time */
	struct parts *parts;   /* NULL: one put */
	uint64_t timeout_ns;   /* of each request with its retries */
	atomic_bool *cancelled;
};

/* -ESTALE: the bucket has something else there (P5). */
int upload_run(struct backend *be, const struct upload_job *job, struct object *ret);
#endif
