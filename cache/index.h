/* index.h - what is on this disk, as rows: the only memory between two mounts.
 *
 * index.db may be deleted at any time and costs only time.  Used under one lock of
 * its own; callers hold none.  A row is believed only if its own checksum, which
 * is bound to the version and the extent, is right (blocks (2)): a row that was
 * changed or moved is dropped.
 *
 * Errors as db.h; logged there.
 */
#ifndef CACHE_INDEX_H
#define CACHE_INDEX_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cache/layout.h"
#include "cache/store.h"

enum {
	INDEX_EXTENT_BLOCKS = 256,
	INDEX_BITMAP_BYTES = INDEX_EXTENT_BLOCKS / 8,
};

struct index;

/* One row: which blocks of the extent are here, and what they sum to. */
struct index_extent {
	uint64_t no;
	uint8_t present[INDEX_BITMAP_BYTES];
	uint32_t crc[INDEX_EXTENT_BLOCKS]; /* CRC32C; 0 where not present */
};

struct index_version {
	struct store_id id;
	const char *key, *etag; /* borrowed */
	uint64_t disk_bytes;	/* of its blocks */
	int64_t atime_ns;	/* last use, wall clock */
};

int index_new(const char *dir, struct index **ret);
void index_free(struct index *ix); /* NULL is fine */

/* Every good row of a version; disk_bytes as last saved, 0 if that is not known.
 * -ENOENT: no version; -EUCLEAN: at least one row was not good. */
typedef int index_extent_fn(void *arg, const struct index_extent *row);
int index_load(struct index *ix, const struct store_id *id, index_extent_fn *fn,
	       void *arg, uint64_t *ret_disk_bytes);
/* The version's row and these extents', in one transaction; an extent without a
 * present block loses its row.  The bytes must be on the disk already
 * (blocks (1)). */
int index_save(struct index *ix, const struct index_version *v,
	       const struct index_extent *rows, size_t n_rows);
/* The version's row and its extents'.  disk_bytes: what the row said, 0 if there
 * was none; of two who drop a version, one hears of its bytes. */
int index_drop(struct index *ix, const struct store_id *id, uint64_t *ret_disk_bytes);
int index_touch(struct index *ix, const struct store_id *id, int64_t atime_ns);

/* Set in the atime of a version that goes after all that have it not: nothing but its
 * frame is here (frame.h). */
#define INDEX_LAST_NS (INT64_C(1) << 62)
/* Versions with or without that, from the one that was not used for longest; n at
 * most, after skip of them.  Returns how many. */
int index_oldest(struct index *ix, bool last, size_t skip, struct store_id *ret,
		 size_t n);
/* A version's own row.  -ENOENT. */
struct index_row {
	char *key, *etag; /* owned by the caller */
	int64_t atime_ns;
};
int index_find(struct index *ix, const struct store_id *id, struct index_row *ret);
/* Every version.  fn may not call the index. */
typedef int index_version_fn(void *arg, const struct store_id *id, uint64_t disk_bytes);
int index_each(struct index *ix, index_version_fn *fn, void *arg);
bool index_has(struct index *ix, const uint8_t name[STORE_NAME_BYTES]);
/* Is there any version of the key? */
bool index_has_key(struct index *ix, const char *key);

/* The user's mtime of a version.  Kept for the last million versions. */
int index_set_mtime(struct index *ix, const char *key, const char *etag,
		    int64_t mtime_ns);
int index_get_mtime(struct index *ix, const char *key, const char *etag,
		    int64_t *ret_mtime_ns); /* -ENOENT: not known */

/* The layout of a version; kept when the version is dropped, for the last 200,000
 * versions.  -EMSGSIZE: it has too many HDUs to be kept. */
int index_set_layout(struct index *ix, const char *key, const char *etag,
		     const struct layout *l);
/* ret: not initialised; nothing is owned by it after an error.  -ENOENT: not known;
 * -EBADMSG: not a row that was written here for a file of this size. */
int index_get_layout(struct index *ix, const char *key, const char *etag, uint64_t size,
		     struct layout *ret);

/* --- complete listings, each written by one thread, page by page --- */

struct index_listing {
	const char *owner; /* borrowed; another's row is not believed */
	int64_t listed_ns; /* since the epoch: when the bucket was asked */
	uint32_t entries, pages;
};

/* In the place of what was there of the directory; believed only once finished. */
int index_names_begin(struct index *ix, const char *dir, uint64_t *ret_id);
/* These two: -ESTALE if it was dropped meanwhile. */
int index_names_add(struct index *ix, uint64_t id, uint32_t no, const void *body,
		    size_t len);
int index_names_finish(struct index *ix, uint64_t id, const char *dir,
		       const struct index_listing *row);
int index_names_drop(struct index *ix, const char *dir);
/* Keep the newest listings with so many entries together. */
int index_names_bound(struct index *ix, uint64_t entries_max);
/* row->owner is given.  -ENOENT; -EUCLEAN: somebody else's, or damaged. */
int index_names_find(struct index *ix, const char *dir, struct index_listing *row,
		     uint64_t *ret_id);
/* -ENOENT, -EUCLEAN, or fn's error; it may not call the index. */
typedef int index_names_fn(void *arg, const void *body, size_t len);
int index_names_page(struct index *ix, uint64_t id, uint32_t no, index_names_fn *fn,
		     void *arg);
#endif
