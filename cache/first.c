/* first.c - the first block of a FITS file comes with the answer to its name.
 *
 * Who opens a file by its path waits for two round trips: one tells that there is such an
 * object, and the next brings its first header, which every reader of FITS asks for.  One
 * GET tells both (backend_peek).  A file of which something is here already is only asked
 * for by name: mostly the block is here as well, and a HEAD carries nothing.
 */
#include <string.h>
#include "backends/util/cleanup.h"
#include "cache/fits.h"
#include "cache/version.h"
#include "backends/util/banned.h"

/* The index hears of a version some time after it has come. */
static bool is_loaded(struct blocks *bl, const char *key)
{
	SCOPED_LOCK(&bl->lock);
	for (size_t i = 0; i < VERSION_BUCKETS; i++)
		for (const struct version *v = bl->table[i]; v; v = v->next)
			if (!strcmp(v->key, key))
				return true;
	return false;
}

bool blocks_want_first(struct blocks *bl, const char *key)
{
	return fits_named(key) && !is_loaded(bl, key) && !index_has_key(bl->index, key);
}

void blocks_take_first(struct blocks *bl, const char *key, const struct object *obj,
		       const void *bytes, size_t len)
{
	struct version *v;
	if (!len || version_get(bl, key, obj, &v))
		return;
	if (len == block_len(v, 0))
		run_given(v, bytes);
	version_unref(v);
}
