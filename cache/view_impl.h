/* view_impl.h - what view.c, view_list.c and view_rename.c share.  Nobody else
 * includes this. */
#ifndef CACHE_VIEW_IMPL_H
#define CACHE_VIEW_IMPL_H
#include <pthread.h>
#include "backends/util/map.h"
#include "cache/view.h"

/* A directory that exists on this disk only (P6). */
struct local_dir {
	struct map_node node;
	char path[];
};

struct view {
	/* set once */
	struct backend *be; /* borrowed */
	struct blocks *bl;  /* borrowed */
	struct journal *jn;
	struct names *nm;
	struct removal *rm;
	struct staging *sg;
	bool wait_uploads, read_only;

	/* guarded by lock */
	pthread_mutex_t lock;
	struct map local_dirs;
};

/* Removed here, or its directory marker was, and the bucket may not know yet. */
bool view_is_removed(struct view *vw, const char *path, bool *ret_marker);
#endif
