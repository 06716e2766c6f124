/* mast_lookup.h - MAST's own answer to where the bucket has a product.
 *
 * One request a name, to the archive's public path_lookup service; no credentials.  What
 * comes back is believed only if it is a key under jwst/public/ of that very file.
 * Nothing is remembered here.  Thread-safe. */
#ifndef BACKENDS_MAST_LOOKUP_H
#define BACKENDS_MAST_LOOKUP_H
#include "backends/backend.h"

struct mast_lookup;

/* Of conf: mast_service, ca_file, allow_http.  -EINVAL: not an endpoint; logged. */
int mast_lookup_new(const struct backend_conf *conf, struct mast_lookup **ret);
void mast_lookup_free(struct mast_lookup *l); /* NULL is fine */

/* The key in the bucket.  -ENOENT: MAST knows of none there.  Others by backend.h's
 * list; transient ones may be repeated. */
int mast_lookup_ask(struct mast_lookup *l, const char *file, char ret[KEY_SIZE],
		    struct call *call);
/* What an answer of the service says of that file.  -ENOENT; -EBADMSG: it is not one, or
 * not to be believed.  Pure. */
int mast_lookup_parse(const char *text, size_t n, const char *file, char ret[KEY_SIZE]);
#endif
