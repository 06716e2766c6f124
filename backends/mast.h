/* mast.h - the public JWST archive as a read-only backend: mast:
 *
 * Wraps the S3 backend of the archive's bucket, anonymous.  Keys are paths of the mount,
 * mapped by mast_path.h; no name is looked for anywhere else unless mast_lookup is on.
 *
 * Nothing is listed recursively: a listing has the delimiter and is of one directory,
 * one request a page; the root and what leads to the layout are shown without asking,
 * programs as far as an answer told of them.  Directories under jwst/public/ that have
 * the archive's forms are believed to exist until they are listed, so that a file is
 * found there with one request.
 *
 * Answers are remembered for MAST_TTL_NS, "nothing there" for MAST_NEGATIVE_NS.  Since
 * the archive overwrites what it reprocesses, op check asks again about an object that
 * was told of longer than the mount's ttl ago; a get of a version that is gone
 * (-ESTALE) forgets its directory.
 *
 * probe asks once for the bucket's first key and waits MAST_PROBE_NS at most: a bucket
 * that is not there or refuses is an error, an archive that cannot be reached is a
 * warning if conf says wait, because it may be the second source of a mount whose first
 * one works, and because nothing is found out about it that anybody needs. */
#ifndef BACKENDS_MAST_H
#define BACKENDS_MAST_H
#include "backends/backend.h"
#include "backends/util/clock.h"

#define MAST_TTL_NS	 (3600 * NS_PER_S)
#define MAST_NEGATIVE_NS (600 * NS_PER_S)
#define MAST_PROBE_NS	 (3 * NS_PER_S)

/* Of conf: url (exactly "mast:"), mast_*, ttl_ns, connections, ca_file, allow_http.
 * Logs what is wrong. */
int mast_open(const struct backend_conf *conf, struct backend **ret);
/* How the archive's bucket itself is reached.  *ret_url: owned by the caller (free), and
 * borrowed by *ret.  Logs what is wrong. */
int mast_bucket_conf(const struct backend_conf *conf, struct backend_conf *ret,
		     char **ret_url);
/* Over any backend that has the archive's layout, which is owned from here on, also on
 * failure.  Of conf: ttl_ns, wait, mast_lookup, mast_service, ca_file, allow_http. */
int mast_new(struct backend *inner, const struct backend_conf *conf,
	     struct backend **ret);
#endif
