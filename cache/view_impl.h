/* view_impl.h - what view*.c and dir_*.c share.  Nobody else
 * includes this. */
#ifndef CACHE_VIEW_IMPL_H
#define CACHE_VIEW_IMPL_H
#include <pthread.h>
#include "backends/util/map.h"
#include "cache/tags.h"
#include "cache/view.h"

/* A rename that was carried out waits so long for the answer to an old name's DELETE. */
#define OLD_NAME_WAIT_NS (5 * NS_PER_S)

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
	char *cache_dir; /* owned */
	bool wait_uploads, read_only;
	uint32_t uploaders, rename_max;
	uint64_t timeout_ns; /* of one request with its retries */

	/* guarded by lock */
	pthread_mutex_t lock;
	struct map local_dirs;
};

/* A list of paths.  Zero at first. */
struct dir_names {
	char **names; /* owned, as each of them */
	size_t n, alloc;
};

int dir_names_add(struct dir_names *list, const char *path);
void dir_names_done(struct dir_names *list);

/* The directory and those below it, as far as they are only here. */
int view_local_dirs(struct view *vw, const char *dir, struct dir_names *ret);
/* The journal has it: those are not, these are.  The second list may be shorter. */
void view_local_dirs_moved(struct view *vw, const struct dir_names *from,
			   const struct dir_names *to);
/* Is whatever is made in the directory local?  Not so in one whose own name is: files
 * in "x.tmp" go to the bucket. */
bool view_holds_local(const struct view *vw, const char *dir);
/* After the end of it: the bucket has keys there that cannot be names, too. */
bool view_hides_some(struct view_stream *vs);
/* -ENOTEMPTY */
int view_check_empty(struct view *vw, const char *path, struct call *call);
/* What the bucket may have under a name for all that its user knows (P5). */
struct view_base {
	char etag[ETAG_SIZE]; /* "" = nothing */
	char tags[TAGS_SIZE]; /* uploads of ours may be there instead, see tags.h */
};
/* Is it so?  -EEXIST: there is something, and nothing was expected; -EBUSY: another
 * version, or none.  *ret: what is there, its etag "" if nothing. */
int view_check_base(struct view *vw, const char *key, const struct view_base *base,
		    struct object *ret, struct call *call);
/* A copy within the store that replaces base and nothing else: errors as above, and
 * -ESTALE if it is from that has another version.  No condition is given in opts. */
int view_copy_over(struct view *vw, const char *from, const struct object *obj,
		   const char *to, const struct view_base *base,
		   const struct put_opts *opts, struct object *ret, struct call *call);
/* The cached bytes of a version follow it to another name or ETag. */
void view_rekey(struct view *vw, const char *from, const struct object *was,
		const char *to, const struct object *is);
/* What the bucket has there is no longer to be removed: it is new, and that cannot be
 * undone. */
void view_settle_removal(struct view *vw, const char *key);
/* Removed here, or its directory marker was, and the bucket may not know yet. */
bool view_is_removed(struct view *vw, const char *path, bool *ret_marker);
#endif
