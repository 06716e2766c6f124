/* backend.h - one bucket, whatever stores it.
 *
 * A backend maps keys to immutable object versions.  Every operation blocks, may
 * be called from any thread at once, holds no lock of ours, and returns >= 0 or a
 * negative errno.  Every data argument can be read or written again from its
 * start, so any call may be repeated whole: that is what lets retry.c and fault.c
 * be backends that wrap another backend.
 *
 * Call backend_*(), never ops directly: the wrappers check the arguments, the
 * caps and the call's deadline first.
 *
 * Keys are bytes without NUL, relative to the prefix of the URL (the concrete
 * backend puts the prefix in front and takes it off again), at most
 * KEY_SIZE - 1 bytes, never empty.  A key that ends in '/' is a directory marker.
 *
 * Errors (the one list; retry.c and fs rely on it):
 *   final      -ENOENT no such key · -EACCES refused (401, 403) · -ESTALE the
 *              version asked for is not the current one (412 on a read, 404 of a
 *              pinned read) · -EEXIST / -ESTALE a write's precondition failed
 *              (if_absent / if_etag) · -EROFS the store takes no writes ·
 *              -EKEYEXPIRED who asks or who answers was not proved (credentials that
 *              are spent, a clock that is off, a certificate): nothing of the object
 *              was refused, and a user is told EACCES ·
 *              -ENAMETOOLONG, -EILSEQ no object can have this key · -EFBIG ·
 *              -ENOSPC the store is full · -ENODATA archived, must be restored
 *              first · -EBADE a write was done, and the object that it made is not
 *              what was sent · -ENODEV no such bucket · -EOPNOTSUPP · -ENOMEM ·
 *              -EINTR cancelled · -EINVAL
 *   transient  -ECOMM no whole answer (connect, reset, cut short) · -ETIMEDOUT
 *              stalled · -EREMOTEIO the server failed (5xx, 200 with an error) ·
 *              -EBUSY it asks to slow down (503, 429, 409 in progress) ·
 *              -EBADMSG the answer was not what was asked for (P1 checks)
 *   Above retry.c the transient ones are gone: -ETIMEDOUT (deadline passed and no
 *   answer ever) or -EIO.  So is -EINVAL, a request that the store will not have.
 * The concrete backend logs a failure once, with operation, key and cause;
 * expected outcomes (-ENOENT, -EEXIST, -ESTALE, -EINTR) are not logged.
 *
 * What each operation is in each store, so that a new store needs no change
 * above this line:
 *
 *   op           S3                      Azure Blob                Google (JSON)
 *   etag         ETag, quotes and all    ETag                      generation
 *   head         HEAD                    HEAD                      GET o (fields)
 *   peek         GET Range               GET x-ms-range            NULL
 *   get          GET Range, If-Match     x-ms-range, If-Match      alt=media, generation
 *   list         ListObjectsV2           List Blobs, marker        o list, pageToken
 *                (no metadata)           (metadata with it)        (metadata with it)
 *   put          PUT, If-Match/None      Put Blob                  multipart upload,
 *                                                                  ifGenerationMatch
 *   copy         CopyObject, above 5 GB  Copy Blob, polled; Put    rewrite, looped
 *                UploadPartCopy          Block From URL
 *   del          DELETE, If-Match        DELETE, If-Match          DELETE, ifGeneration..
 *   rename       NULL                    dfs rename (HNS only)     moveTo
 *   upload_begin CreateMultipart: id     a nonce (no request)      a mark below
 *                                                                  .mastfs-parts/
 *   upload_part  UploadPart: ETag        Put Block: block id       an object beside it
 *   upload_fin.. CompleteMultipart,      Put Block List,           compose, in two
 *                If-Match                If-Match                  levels; ifGener..
 *   upload_abort Abort                   nothing: uncommitted      parts and mark
 *                                        blocks expire             deleted in batches
 *   upload_list  ListMultipartUploads    NULL                      the marks
 *   begin takes the precondition too, for stores that fix it there.
 */
#ifndef BACKENDS_BACKEND_H
#define BACKENDS_BACKEND_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "backends/health.h"
#include "backends/util/buf.h"
#include "backends/util/call.h"

enum {
	KEY_SIZE = 1025, /* 1024 bytes, the least common maximum, and a NUL */
	ETAG_SIZE = 128, /* opaque: compare, never interpret */
	TAG_SIZE = 40,	 /* who uploaded it: 32 hex digits and a NUL */
};

enum backend_cap {
	BACKEND_WRITE = 1 << 0,
	BACKEND_PUT_IF = 1 << 1,    /* put honours its precondition */
	BACKEND_FINISH_IF = 1 << 2, /* upload_finish honours its precondition */
	BACKEND_DEL_IF = 1 << 3,    /* del honours its precondition */
	BACKEND_UPLOAD = 1 << 4,    /* upload_* are there */
	BACKEND_COPY = 1 << 5,	    /* server-side copy */
	BACKEND_RENAME = 1 << 6,    /* atomic rename of one object */
	BACKEND_IN_ORDER = 1 << 7,  /* parts one after the other, ascending */
	BACKEND_LIST_META = 1 << 8, /* list tells the user's mtime, if there is one */
	BACKEND_PLACED = 1 << 9, /* objects are tagged by their names: placement.h */
	BACKEND_LIST_AFTER = 1 << 10, /* list can start after a key */
	BACKEND_BEGIN_META = 1 << 11, /* an upload's time is told by upload_begin, not by
					 upload_finish */
};

struct backend_limits {
	uint64_t put_max;	     /* largest object that one put can make; bytes */
	uint64_t part_min, part_max; /* bytes; the last part may be smaller */
	uint64_t part_align;	     /* parts but the last are multiples; 1 = any */
	uint32_t parts_max;
	uint64_t object_max; /* bytes */
};

/* What a store says of one version.  All strings NUL-terminated. */
struct object {
	uint64_t size;	  /* bytes, as stored */
	int64_t mtime_ns; /* since the epoch; the user's where known, else the store's */
	char etag[ETAG_SIZE]; /* "" = unknown */
	char tag[TAG_SIZE];   /* of the upload that made it; "" = none, or not told (list)
			       */
};

/* The precondition of a write.  Zero value: none.  At most one is set. */
struct cond {
	const char *if_etag; /* borrowed; only over this version */
	bool if_absent;	     /* only if the key does not exist */
};

/* Bytes to upload: [off, off + len) of fd.  Borrowed, never changed by us, and
 * not changed by anybody until the call returns. */
struct source {
	int fd;
	uint64_t off, len;
	/* Borrowed; NULL = nobody asks.  A store that reads the bytes for a sum of its
	 * own notes theirs as well, so that nobody has to read them once more for it. */
	struct source_sum *sum;
};

struct source_sum {
	bool known;
	uint32_t crc32c; /* if known */
};

/* What goes into the bucket with the bytes. */
struct put_opts {
	struct cond cond;
	int64_t mtime_ns; /* kept as metadata; 0 = none */
	const char *tag;  /* borrowed, NULL = none: unique per attempt to publish, so
			     that a commit whose answer was lost is recognised */
};

/* One receipt per part, as upload_part gave it; the journal can keep it. */
struct part {
	uint32_t number; /* from 1 */
	uint64_t size;	 /* bytes */
	char receipt[ETAG_SIZE];
};

/* The first bytes of an object, which come with what is said of it. */
struct first {
	void *bytes; /* borrowed; room for max */
	size_t max;  /* > 0 */
	size_t len;  /* 0: none came; else the lesser of max and the object's size */
};

struct list_query {
	const char *prefix; /* borrowed; "" = all; a directory's ends in '/' */
	char delim;	    /* '/' = one level, 0 = everything below */
	uint32_t max;	    /* entries at most in this page; 0 = the store's own */
	/* Only entries whose key (a common prefix's ends in the delimiter) sorts behind
	 * it; borrowed, NULL = all.  Needs BACKEND_LIST_AFTER.  A server may ignore it:
	 * whoever relies on it looks at the first entry. */
	const char *after;
};

struct backend;

/* Receives the bytes of a get, in ascending order without gaps; off is the
 * offset in the object.  After a fault the wrapper goes on where the last byte
 * was delivered, so no byte comes twice.  < 0 ends the get with that error. */
typedef int sink_fn(void *arg, uint64_t off, const void *bytes, size_t len);

/* Receives one entry of a listing.  The key may hold any byte (key[key_len] is
 * NUL).  obj is NULL for a common prefix, whose key ends in the delimiter.
 * < 0 ends the listing with that error. */
typedef int list_fn(void *arg, const char *key, size_t key_len, const struct object *obj);

/* Receives one unfinished upload; started_ns since the epoch. */
typedef int upload_list_fn(void *arg, const char *key, const char *id,
			   int64_t started_ns);

struct backend_ops {
	const char *scheme; /* "s3", "az", "gs", "file", "mast" */

	void (*free)(struct backend *be);

	/* Is the bucket there and are we let in?  Again and again until it succeeds,
	 * before any other thread uses the backend; settles caps.  With writes, also
	 * finds out by experiment which preconditions the store honours, with
	 * objects under a reserved name that it removes; a store that refuses the
	 * write loses BACKEND_WRITE and that is no error.
	 * -ENODEV no such bucket, -EACCES, -EHOSTUNREACH nobody answers there ...
	 * From backend_probe -EKEYEXPIRED comes as -EACCES. */
	int (*probe)(struct backend *be, bool writes, struct call *call);
	/* Wait until caps are settled: late.h.  NULL: they are once probe returned. */
	int (*settle)(struct backend *be, struct call *call);

	int (*head)(struct backend *be, const char *key, struct object *ret,
		    struct call *call);

	/* head, and the first bytes in the same request: of the very version that *ret
	 * is.  Where they cannot be had so (an object without bytes, one that is
	 * archived, a server that sends others) it is a head.  NULL: it always is. */
	int (*peek)(struct backend *be, const char *key, struct object *ret,
		    struct first *first, struct call *call);

	/* Deliver exactly the bytes [off, off + len) of the version obj (its etag
	 * and size are used) to the sink; 0 < len, off + len <= obj->size.
	 * -ESTALE if the key has another version now or is gone.  0 only if every
	 * byte was delivered and everything that the answer says of itself
	 * (status, range, total size, version, count) was as asked (P1). */
	int (*get)(struct backend *be, const char *key, const struct object *obj,
		   uint64_t off, uint64_t len, sink_fn *sink, void *arg,
		   struct call *call);

	/* One page of a listing, in byte order of the keys (Azure: or of their UTF-16;
	 * where one source is laid over another: of each in turn, and of a key that comes
	 * twice the first counts).  *token NULL starts; on success the old one is freed
	 * and replaced by the next page's (owned by the caller: free) or NULL at the end;
	 * on failure it is untouched, so that the page can be asked for again.  An entry
	 * is delivered only once the whole page was received and checked.  Empty pages
	 * that are not the last are legal.  A missing prefix is an empty listing. */
	int (*list)(struct backend *be, const struct list_query *q, char **token,
		    list_fn *fn, void *arg, struct call *call);

	/* src.len bytes become the object, all or nothing, size and checksum
	 * verified by the store or by us before 0 is returned.
	 * *ret: size, etag, mtime_ns as put. */
	int (*put)(struct backend *be, const char *key, const struct source *src,
		   const struct put_opts *opts, struct object *ret, struct call *call);

	/* -ENOENT if there is nothing; with if_etag, -ESTALE if it is another
	 * version.  A store may not know whether there was something: 0. */
	int (*del)(struct backend *be, const char *key, const struct cond *cond,
		   struct call *call);

	/* The version from_obj of key from becomes the object to, within the
	 * store.  from may be the same as to: that is how metadata is changed.
	 * -ESTALE if from has another version. */
	int (*copy)(struct backend *be, const char *from, const struct object *from_obj,
		    const char *to, const struct put_opts *opts, struct object *ret,
		    struct call *call);

	/* Atomic; replaces to.  Whether the store has it says BACKEND_RENAME alone, which
	 * a probe may set or clear.  backend_rename is -EOPNOTSUPP also for two names
	 * whose objects are placed differently, since a rename keeps tag and class: copy
	 * then.  -ENOENT: from is not there, but a try whose answer was lost may have
	 * done it, also one that a library repeated: who has just looked at both names
	 * knows what is at to. */
	int (*rename)(struct backend *be, const char *from, const char *to,
		      struct call *call);

	/* An upload in parts.  The id is a string (owned by the caller: free) so
	 * that the journal can keep it across a crash.  size is the whole
	 * object's, if known, else 0.  call->repeated is set if it was sent again
	 * after an answer that was lost: the store may have begun others that nobody
	 * knows of. */
	int (*upload_begin)(struct backend *be, const char *key, uint64_t size,
			    const struct put_opts *opts, char **ret_id,
			    struct call *call);
	/* part->number and part->size are given, receipt is filled in; obj_off is
	 * where the part starts in the object.  Sending a number again replaces
	 * it.  -ENXIO: the store does not know this upload (any more).  -EOPNOTSUPP: as
	 * things lie there now it takes no parts for this key, but may take a put. */
	int (*upload_part)(struct backend *be, const char *key, const char *id,
			   uint64_t obj_off, const struct source *src, struct part *part,
			   struct call *call);
	/* parts ascending, size their sum.  -ENXIO as above. */
	int (*upload_finish)(struct backend *be, const char *key, const char *id,
			     const struct part *parts, uint32_t n_parts, uint64_t size,
			     const struct put_opts *opts, struct object *ret,
			     struct call *call);
	/* Success if there is no such upload. */
	int (*upload_abort)(struct backend *be, const char *key, const char *id,
			    struct call *call);
	/* Unfinished uploads under a prefix.  NULL where the store has no list.
	 * A call that was repeated may deliver an upload twice. */
	int (*upload_list)(struct backend *be, const char *prefix, upload_list_fn *fn,
			   void *arg, struct call *call);

	/* Where the bytes of this version come from, for the user: a URL, appended.
	 * No request.  NULL: the backend's name and the key. */
	int (*origin)(struct backend *be, const char *key, const struct object *obj,
		      struct buf *ret);
	/* Can its bytes still be got, whatever this mount puts or removes under its
	 * name?  No request.  NULL: no. */
	bool (*lasts)(struct backend *be, const struct object *obj);
	/* Open one more connection for the reads to come, if there are fewer than n.
	 * NULL: there are none. */
	int (*warm)(struct backend *be, uint32_t n, struct call *call);
	/* For a store whose listings are believed for long: is obj, which somebody is
	 * about to open, still what the key holds?  0: yes, or it was asked a short
	 * while ago, or the store cannot be reached (what is known holds: P10).
	 * -ESTALE, -ENOENT: no, and what was remembered is forgotten.  call NULL:
	 * -EAGAIN rather than asking.  NULL: nothing is believed for long. */
	int (*check)(struct backend *be, const char *key, const struct object *obj,
		     struct call *call);
	/* May there be something of this name, a file or a directory, that the listing
	 * of its directory does not tell?  No request.  NULL: listings tell all. */
	bool (*hides)(struct backend *be, const char *key);
	/* No request.  NULL: it always answers. */
	void (*health)(struct backend *be, struct store_health *ret);
};

/* Comes first in each concrete backend (struct s3, struct local, ...). */
struct backend {
	const struct backend_ops *ops;
	/* enum backend_cap.  By open; WRITE, RENAME and those that end in IF are what the
	 * store really has only once backend_settle has returned 0: whoever shapes a
	 * write by one of them has called it before. */
	_Atomic uint32_t caps;
	/* set once: by open */
	struct backend_limits limits;
	char *name; /* owned; for messages: "s3://bucket/prefix" */
	/* No part of a user's key may begin so (-EILSEQ); NULL = any may.  Borrowed. */
	const char *reserved;
};

/* How to reach a bucket.  Strings are borrowed for the call, NULL = not given.
 * What is not given comes from the environment and the provider's own files. */
struct backend_conf {
	const char *url;      /* s3://bucket/prefix, az://account/container/prefix,
				 gs://bucket/prefix, file:///dir, mast: */
	const char *endpoint; /* http(s)://host[:port] */
	const char *region, *profile;
	bool anonymous;		       /* no credentials are looked for or sent */
	bool path_style, virtual_host; /* addressing; neither: by endpoint */
	bool allow_http;	       /* plain http to a host that is not loopback */
	const char *ca_file;
	uint32_t connections; /* requests in flight at most; 0 = 72 */
	bool read_only;	      /* the mount writes nothing */
	bool wait;	      /* that nobody answers is no failure of the probe: late.h */
	uint64_t ttl_ns;      /* how long the mount believes an answer */

	const char *storage_class;     /* see placement.h */
	bool requester_pays;	       /* whoever reads pays: say that we do */
	const char *billing_project;   /* Google: who is charged */
	const char *sse, *sse_kms_key; /* S3: "AES256" or "aws:kms", and its key */

	const char *public_url; /* a second source, read-only, below the first */
	const char *mast_endpoint, *mast_bucket; /* NULL: Amazon's, "stpubdata" */
	bool mast_lookup;	  /* ask MAST for names that follow no rule */
	const char *mast_service; /* NULL: the service at STScI */
};

/* Open by URL; the outermost is the retry wrapper.  Logs what is wrong. */
int backend_open(const struct backend_conf *conf, struct backend **ret);
void backend_free(struct backend *be); /* NULL is fine */
/* The store of the URL alone: nothing is asked again or twice, and no second source. */
int backend_open_bare(const struct backend_conf *conf, struct backend **ret);

int backend_probe(struct backend *be, bool writes, struct call *call);
/* 0: caps are settled, for good.  -ETIMEDOUT, -EIO, -EINTR; or why the store cannot be
 * used, as probe says it: then ask again later, nothing was refused. */
int backend_settle(struct backend *be, struct call *call);
int backend_head(struct backend *be, const char *key, struct object *ret,
		 struct call *call);
/* first NULL: a head.  After a failure first->len is 0. */
int backend_peek(struct backend *be, const char *key, struct object *ret,
		 struct first *first, struct call *call);
int backend_get(struct backend *be, const char *key, const struct object *obj,
		uint64_t off, uint64_t len, sink_fn *sink, void *arg, struct call *call);
int backend_list(struct backend *be, const struct list_query *q, char **token,
		 list_fn *fn, void *arg, struct call *call);
/* Every page.  -EREMOTEIO if a server repeats a token: it would never end. */
int backend_list_all(struct backend *be, const struct list_query *q, list_fn *fn,
		     void *arg, struct call *call);
int backend_put(struct backend *be, const char *key, const struct source *src,
		const struct put_opts *opts, struct object *ret, struct call *call);
int backend_del(struct backend *be, const char *key, const struct cond *cond,
		struct call *call);
int backend_copy(struct backend *be, const char *from, const struct object *from_obj,
		 const char *to, const struct put_opts *opts, struct object *ret,
		 struct call *call);
int backend_rename(struct backend *be, const char *from, const char *to,
		   struct call *call);
int backend_upload_begin(struct backend *be, const char *key, uint64_t size,
			 const struct put_opts *opts, char **ret_id, struct call *call);
int backend_upload_part(struct backend *be, const char *key, const char *id,
			uint64_t obj_off, const struct source *src, struct part *part,
			struct call *call);
int backend_upload_finish(struct backend *be, const char *key, const char *id,
			  const struct part *parts, uint32_t n_parts, uint64_t size,
			  const struct put_opts *opts, struct object *ret,
			  struct call *call);
int backend_upload_abort(struct backend *be, const char *key, const char *id,
			 struct call *call);
int backend_upload_list(struct backend *be, const char *prefix, upload_list_fn *fn,
			void *arg, struct call *call);

int backend_origin(struct backend *be, const char *key, const struct object *obj,
		   struct buf *ret);
bool backend_lasts(struct backend *be, const struct object *obj);
int backend_check(struct backend *be, const char *key, const struct object *obj,
		  struct call *call);
bool backend_hides(struct backend *be, const char *key);
void backend_health(struct backend *be, struct store_health *ret);
/* Called by several threads, as many connections are opened side by side.  Its failure
 * is no news: the reads will find out. */
int backend_warm(struct backend *be, uint32_t n, struct call *call);

/* Bytes in each part but the last, for an object of this size (0 = not known
 * yet): at least part_min and 8 MiB, aligned, and never more than parts_max of
 * them.  0: no such object can be made. */
uint64_t backend_part_size(const struct backend *be, uint64_t size);

/* Whether a URL names a scheme that backend_open knows, without opening it. */
bool backend_known_url(const char *url);
#endif
