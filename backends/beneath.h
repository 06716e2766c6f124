/* beneath.h - files under a root directory by keys, without a way out of it.
 *
 * Everything is relative to a directory descriptor and resolved by openat2 with
 * RESOLVE_BENEATH and without symbolic links.  Returns >= 0 or a plain negative
 * errno of the system call; local.c turns it into the backend's and logs.
 */
#ifndef BACKENDS_BENEATH_H
#define BACKENDS_BENEATH_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include "backends/backend.h"

#define BENEATH_TMP_DIR ".mastfs-tmp" /* reserved in every root */

/* The last component of a key and the directory that holds it. */
struct beneath_place {
	int dir; /* owned; -1 = none */
	char name[256];
};

/* 0, -EILSEQ or -ENAMETOOLONG: see local.h.  One '/' at the end is fine. */
int beneath_check_key(const char *key);

/* open(2) beneath the root; O_CLOEXEC and O_NOFOLLOW are added. */
int beneath_open(int root, const char *path, int flags);

/* Where the key lies; its '/' at the end, if any, is dropped.  With make, missing
 * parents are made and synced.  -ENOENT, -ENOTDIR, -ELOOP (a link) ... */
int beneath_place(int root, const char *key, bool make, struct beneath_place *ret);
void beneath_place_done(struct beneath_place *place);

/* fstatat without following; -errno. */
int beneath_stat(int dir, const char *name, struct stat *ret);

/* All but the tag, which is "".  A directory has size 0 and an etag that does
 * not change with its entries. */
void beneath_object(const struct stat *st, struct object *ret);

#define CLEANUP_PLACE __attribute__((cleanup(beneath_place_done)))
#endif
