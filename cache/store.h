/* store.h - the sparse data files of the block cache: dir/blocks/ab/<hash>.
 *
 * One file per version, each byte at its own offset; a file is as long as its
 * object from the moment it is made, and its holes are blocks that are not here.
 * Nothing is known about which bytes are good: that is blocks.c and the index.
 *
 * Names are hashes in hex, never keys.  Files are opened beneath a directory
 * descriptor, without following links.  At most fds_max descriptors are kept.
 *
 * Errors: -ENODATA the file is gone, shorter or longer than it was made, or not a
 * plain file: none of its bytes may be used.  Others as the system gave them;
 * they are logged here, at most once in ten seconds, because a full disk says so
 * on every write.
 */
#ifndef CACHE_STORE_H
#define CACHE_STORE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STORE_NAME_BYTES = 32 };

/* Which file: its name and the length that it must have. */
struct store_id {
	uint8_t name[STORE_NAME_BYTES];
	uint64_t size; /* bytes */
};

struct store;

/* Opens or makes dir/blocks. */
int store_new(const char *dir, uint32_t fds_max, struct store **ret);
void store_free(struct store *st); /* NULL is fine */

/* Exactly len bytes, or an error. */
int store_read(struct store *st, const struct store_id *id, uint64_t off, void *dst,
	       size_t len);
/* Make the file, empty of bytes.  Fine if it is there. */
int store_make(struct store *st, const struct store_id *id);
/* Never makes a file: half a block in one and half in another would be zeros. */
int store_write(struct store *st, const struct store_id *id, uint64_t off,
		const void *src, size_t len);
/* Is the file still the one that was written to?  0, or -ENODATA: it was deleted
 * or cut by somebody, or never made. */
int store_check(struct store *st, const struct store_id *id);
/* A descriptor of its own, for reading alone (owned by the caller). */
int store_open(struct store *st, const struct store_id *id, int *ret_fd);
/* Data to the disk; not a word of the index may claim it before. */
int store_sync(struct store *st, const struct store_id *id);
/* -EBUSY: somebody has the file mapped (lease.h), and would read zeros; not logged. */
int store_punch(struct store *st, const struct store_id *id, uint64_t off, uint64_t len);
/* Can it be told on this disk who has a file mapped?  If not, no file may be handed to
 * anybody. */
bool store_sees_users(const struct store *st);
/* Copy bytes between two files of the store; the file system may share them. */
int store_copy(struct store *st, const struct store_id *from, const struct store_id *to,
	       uint64_t off, uint64_t len);
/* The file at path becomes the data file, by rename. */
int store_adopt(struct store *st, const struct store_id *id, const char *path);
/* The data file of from becomes the one of to. */
int store_rename(struct store *st, const struct store_id *from,
		 const struct store_id *to);
/* Gone from the directory; readers that have it open go on.  Fine if missing. */
void store_remove(struct store *st, const struct store_id *id);

/* Bytes on disk of one file (holes do not count); 0 if it is missing. */
uint64_t store_disk_bytes(struct store *st, const struct store_id *id);
/* Bytes that anybody may still write to this disk. */
int store_free_bytes(struct store *st, uint64_t *ret);

/* Calls keep for each file; what it does not want, and what no store made, is
 * removed.  Before any other use. */
typedef bool store_keep_fn(void *arg, const uint8_t name[STORE_NAME_BYTES]);
int store_sweep(struct store *st, store_keep_fn *keep, void *arg);
#endif
