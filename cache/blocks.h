/* blocks.h - clean bytes of object versions, on local disk.
 *
 * One sparse file per version holds each cached block at its own offset.  The
 * index says which blocks are there.  Everything here can be fetched again:
 * staged bytes never enter (see journal.h), and losing all of it costs time, not
 * data.
 *
 * Invariants (cited in the code and the tests as "blocks (n)"):
 *  (1) An index row is committed only after its bytes are in the file and
 *      synced.  A block whose row is there is read without asking the network.
 *  (2) A row carries each block's CRC32C; it is checked when the block is first
 *      used after start.  What does not match is dropped and fetched again.
 *  (3) For one block of one version at most one GET is in flight; later readers
 *      wait for it, and each block is served as soon as it has arrived.
 *  (4) A range that is being read is not evicted under the reader.
 *  (5) max_bytes is never passed and reserve_bytes of the disk stay free.  A
 *      read that finds no room, or a disk that gives an error, is served past the
 *      cache (P9).
 *  (6) The presence that memory knows is a subset of the truth: it may forget,
 *      it may not invent.
 *  (7) Bytes of one version never answer for another: the file's name is a hash
 *      of key, etag and size, and every GET is pinned to the etag (P1).
 */
#ifndef CACHE_BLOCKS_H
#define CACHE_BLOCKS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "backends/backend.h"

#define BLOCK_SIZE  UINT64_C(262144)   /* bytes */
#define EXTENT_SIZE UINT64_C(67108864) /* bytes; one index row: 256 blocks */
#define FETCH_SIZE  UINT64_C(8388608)  /* bytes in one GET at most */

struct blocks;
struct version; /* (key, etag, size); refcounted */

struct blocks_conf {
	const char *dir;	  /* borrowed for the call; exists, 0700, ours alone */
	uint64_t max_bytes;	  /* of blocks on disk */
	uint64_t reserve_bytes;	  /* of the disk that stay free */
	uint32_t fetchers;	  /* GETs in flight at most */
	uint64_t array_bytes;	  /* an array of a FITS file that is read in several places
				     is fetched whole up to this size; 0 = never */
	uint64_t read_timeout_ns; /* a fetch that somebody waits for gives up then (P8) */
	bool fill;		  /* complete what is mostly read, in the background */
};

/* Opens or makes dir/index.db and dir/blocks/.  An index that cannot be read is
 * thrown away with its blocks, with one warning.  be is borrowed until
 * blocks_free. */
int blocks_new(const struct blocks_conf *conf, struct backend *be, struct blocks **ret);
/* Nobody waits for what comes in the background: it ends here and now. */
void blocks_stop_filling(struct blocks *bl);
/* Cancels fetches, writes the index out.  All versions must be unreferenced. */
void blocks_free(struct blocks *bl);

/* A reference to the version of key that obj names (etag and size).  The index
 * row is read here, at open, and never on a read's path. */
int version_get(struct blocks *bl, const char *key, const struct object *obj,
		struct version **ret);
struct version *version_ref(struct version *v);
void version_unref(struct version *v); /* NULL is fine */
const struct object *version_object(const struct version *v);
const char *version_key(const struct version *v);
uint64_t version_cached_bytes(struct version *v);
/* While kept, no block of it is evicted: the bucket does not have this version
 * any more, but somebody has it open.  Counted; dropped with the last unref. */
void version_keep(struct version *v);

/* Would the first block of the object be read, whoever asks for its name now?  It is a
 * FITS file by its name, and nothing of any of its versions is here.  Asks the index. */
bool blocks_want_first(struct blocks *bl, const char *key);
/* They came with the name: the first len bytes of this version, a block or all of it.
 * What cannot be kept is fetched when it is read. */
void blocks_take_first(struct blocks *bl, const char *key, const struct object *obj,
		       const void *bytes, size_t len);

/* Read exactly [off, off + len) into dst.  off + len <= size.
 *  0        all of it
 * -EAGAIN   (only with call == NULL) something is not on disk: nothing was asked
 *           of the network, call again where you may block
 * -ESTALE   the bucket has another version now and the bytes are not here
 * else as backend_get above retry. */
int blocks_read(struct blocks *bl, struct version *v, uint64_t off, void *dst, size_t len,
		struct call *call);

/* Open a few connections in the background, so that the first reads find them. */
void blocks_warm(struct blocks *bl);

/* Ask for a range in the background; never blocks.  Returns how many bytes from off on
 * are here or asked for: less than len when enough is under way already. */
uint64_t blocks_hint(struct blocks *bl, struct version *v, uint64_t off, uint64_t len);

/* Copy [0, len) of the version to the start of fd, several GETs in parallel. */
int blocks_export(struct blocks *bl, struct version *v, uint64_t len, int fd,
		  struct call *call);

/* Fetch everything that is missing.  -ENOSPC if it does not fit. */
int blocks_complete(struct blocks *bl, struct version *v, struct call *call);

/* The file at path (same filesystem as dir) is the whole content of v, and synced: take
 * it over without copying; path is gone afterwards, whatever is returned.
 * -ENOSPC: no room, the file was removed and will be fetched when read. */
int blocks_adopt(struct blocks *bl, struct version *v, const char *path);

/* The same bytes under a new etag or key (a copy in the bucket, new metadata):
 * what is cached of from becomes to's.  from stays usable. */
int blocks_rekey(struct blocks *bl, struct version *from, struct version *to);

/* The bucket has what is in fd as obj under key: what there is to know of its layout
 * is known before anybody reads it, whatever becomes of the bytes (see scan.h). */
void blocks_learn(struct blocks *bl, const char *key, const struct object *obj, int fd);

/* The user's mtime of a version, which a listing does not tell (see index.h). */
void blocks_set_mtime(struct blocks *bl, const char *key, const char *etag,
		      int64_t mtime_ns);
/* -ENOENT: not known. */
int blocks_get_mtime(struct blocks *bl, const char *key, const char *etag,
		     int64_t *ret_mtime_ns);

/* What is on this disk besides blocks, see index.h; borrowed. */
struct index *blocks_index(struct blocks *bl);

/* Give up at least this many bytes of blocks, if there are that many that nobody
 * reads: staged bytes need the disk more.  Returns how many it gave up. */
uint64_t blocks_shrink(struct blocks *bl, uint64_t bytes);

struct blocks_stats {
	uint64_t max_bytes, used_bytes, fetched_bytes, gets, evicted_bytes, bypassed,
		crc_errors;
};
void blocks_stats(struct blocks *bl, struct blocks_stats *ret);
/* Write what is known to the index now and wait for it: tests, unmount. */
void blocks_sync(struct blocks *bl);
#endif
