/* meta.h - the user's mtime in an object's metadata, as others write it and as we do.
 * Pure.
 *
 *   mtime                      decimal seconds: rclone on S3, s3fs, geesefs, and we
 * there; RFC 3339: rclone on Azure and Google, and we there file-mtime digits and "ns",
 * bare digits are milliseconds: DataSync, File Gateway, FSx goog-reserved-file-mtime
 * seconds: gcloud, gsutil gcsfuse_mtime              RFC 3339 Source: each tool's
 * documentation or code, 2026-08.
 */
#ifndef BACKENDS_META_H
#define BACKENDS_META_H
#include <stdbool.h>
#include <stdint.h>
#include "backends/date.h"

/* The value of a key of the metadata, without the store's own "x-amz-meta-" and the
 * like; NULL = there is none. */
typedef const char *meta_get_fn(const void *arg, const char *name);

/* false: there is none that can be read. */
bool meta_mtime(meta_get_fn *get, const void *arg, int64_t *ret_ns);
/* One value of "mtime", in either form. */
bool meta_parse_mtime(const char *value, int64_t *ret_ns);
/* What a key of another tool has to say of this time.  false: the name is no such key, or
 * "mtime", whose form depends on the store. */
bool meta_format_mtime(const char *name, int64_t ns, char ret[static DATE_ISO_SIZE]);
#endif
