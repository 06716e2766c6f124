/* local.h - a directory of this machine as a bucket: file:///dir.
 *
 * The URL's path is percent-decoded.  Keys are paths below it, opened without
 * following a symbolic link and never outside it.
 *   - Components "", ".", ".." and a first component ".mastfs-tmp" (ours):
 *     -EILSEQ.  A component over 255 bytes: -ENAMETOOLONG.
 *   - "a" and "a/b" cannot both be: -ENOTDIR (put of a/b over the file a),
 *     -EISDIR (put of a over the directory a).
 *   - A key that ends in '/' is a real directory.  Parents are made as needed and
 *     stay when their last object goes.  Deleting "d/" succeeds while d has
 *     entries, as the marker's going leaves the prefix in an object store.
 *   - Symbolic links, devices, sockets are no objects: not listed, -ENOENT, and a
 *     put over one is -EEXIST.
 *   - A put is a temporary file in .mastfs-tmp and a rename.  Whole, synced, or not
 *     there (P4).
 *   - The etag is dev:ino:size:mtime:ctime.  No two versions that this process
 *     publishes share one (see settle() in local_write.c); a foreign program that writes
 *     into a file in place twice within a tick of the kernel's clock is not seen.
 */
#ifndef BACKENDS_LOCAL_H
#define BACKENDS_LOCAL_H
#include "backends/backend.h"

/* Does not touch the directory: probe does.  -EINVAL (logged): not such a URL. */
int local_open(const struct backend_conf *conf, struct backend **ret);
#endif
