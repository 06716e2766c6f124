/* bucket.h - a bucket in memory that honours preconditions, counts and misbehaves.
 *
 * For the tests of what is written.  Keys, bytes, tags and unfinished uploads can be
 * looked at; an etag is new with each write.
 */
#ifndef TESTS_UNIT_BUCKET_H
#define TESTS_UNIT_BUCKET_H
#include <pthread.h>
#include <stdatomic.h>
#include "backends/backend.h"

enum { BUCKET_OBJECTS = 64, BUCKET_UPLOADS = 16, BUCKET_PARTS = 64 };

struct bucket_object {
	char *key, *bytes; /* owned; key NULL = free */
	struct object obj;
};

struct bucket_upload {
	char id[16], key[128]; /* id "" = free */
	int64_t started_ns, mtime_ns;
	char *parts[BUCKET_PARTS]; /* owned */
	uint64_t sizes[BUCKET_PARTS];
};

struct bucket {
	struct backend be; /* first */

	/* changed by tests at any time */
	_Atomic int down;    /* every call fails with it */
	atomic_bool held;    /* puts, parts and deletes wait until this is false */
	atomic_bool late_heads; /* what a head tells comes once this is false */
	atomic_int lose;     /* so many writes from now on are done, and -ECOMM */
	atomic_int twice;    /* so many uploads from now on are begun twice */
	atomic_int spoil;    /* so many writes from now on make something else: -EBADE */
	atomic_bool dies;    /* with such a write: from then on it is down */
	atomic_int bad_part; /* the part of this number fails */
	_Atomic int no_copy; /* copies fail with it */
	bool no_parts, no_finish; /* each is -EOPNOTSUPP: set before use */
	bool begin_meta;     /* BACKEND_BEGIN_META, as it says: set before use */
	bool rounds_mtime;   /* to whole seconds: set before use */
	bool blind_copies;   /* copies take no condition: set before use */
	/* Called after each rename; after a listing was made, and before it is handed on.
	 */
	void (*renamed)(struct bucket *b);
	void (*listed)(struct bucket *b);

	/* counted */
	atomic_int heads, gets, lists, puts, dels, copies, renames, begins, parts,
		finishes, aborts;

	/* guarded by lock */
	pthread_mutex_t lock;
	struct bucket_object objects[BUCKET_OBJECTS];
	struct bucket_upload uploads[BUCKET_UPLOADS];
	uint64_t serial;
};

/* It has no atomic rename, unless a test sets BACKEND_RENAME. */
void bucket_init(struct bucket *b);
void bucket_done(struct bucket *b);
/* As another client does it: no condition, no count.  tag NULL = none. */
void bucket_set(struct bucket *b, const char *key, const char *text, const char *tag);
void bucket_unset(struct bucket *b, const char *key);
/* Is this what the bucket has there?  text NULL: nothing. */
bool bucket_has(struct bucket *b, const char *key, const char *text);
bool bucket_has_bytes(struct bucket *b, const char *key, const void *bytes, size_t n);
/* -ENOENT, or 0 and what head tells. */
int bucket_head(struct bucket *b, const char *key, struct object *ret);
/* An unfinished upload of somebody; returns its id (valid until it is aborted). */
const char *bucket_begin(struct bucket *b, const char *key, int64_t started_ns);
int bucket_uploads(struct bucket *b);
/* A rule of the bucket removes what is unfinished. */
void bucket_forget_uploads(struct bucket *b);
#endif
