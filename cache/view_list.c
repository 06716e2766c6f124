/* view_list.c - one directory as the user sees it, read while it arrives.  See view.h.
 *
 * What is on this disk, or known better than by the listing, comes first: it is collected
 * when the directory is opened.  The bucket's names follow, less those.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cache/view_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

struct view_stream {
	/* set once */
	struct view *vw;
	char *dir;		    /* owned */
	struct listing *known;	    /* owned; names and kinds only */
	uint32_t n_here;	    /* of those, the first are on this disk */
	struct names_stream *names; /* owned; NULL in a local directory */
};

/* The part of key right below dir, if it is below: its length, else 0. */
static size_t child_of(const char *dir, const char *key, const char **ret_name,
		       enum name_kind *ret_kind)
{
	size_t skip = strlen(dir);
	if (skip) {
		if (strncmp(key, dir, skip) || key[skip] != '/')
			return 0;
		skip++;
	}
	*ret_name = key + skip;
	size_t len = strcspn(*ret_name, "/");
	*ret_kind = (*ret_name)[len] ? NAME_DIR : NAME_FILE;
	return len;
}

static int see(struct view_stream *vs, const char *name, size_t len, enum name_kind kind)
{
	static const struct object file;
	char copy[NAME_MAX_BYTES + 1];
	if (len > NAME_MAX_BYTES)
		return 0;
	memcpy(copy, name, len);
	copy[len] = '\0';
	int r = listing_add(vs->known, copy, kind == NAME_DIR ? NULL : &file);
	return r < 0 ? r : 0;
}

static int see_staged(void *arg, const char *key, struct staged *st)
{
	struct view_stream *vs = arg;
	const char *name;
	enum name_kind kind;
	if (staged_is_over(st))
		return 0;
	size_t len = child_of(vs->dir, key, &name, &kind);
	return len ? see(vs, name, len, kind) : 0;
}

static int see_local_dirs(struct view_stream *vs)
{
	SCOPED_LOCK(&vs->vw->lock);
	struct map_node *node = NULL;
	while ((node = map_next(&vs->vw->local_dirs, node))) {
		const char *name;
		enum name_kind kind;
		const char *path = container_of(node, struct local_dir, node)->path;
		size_t len = child_of(vs->dir, path, &name, &kind);
		int r = len ? see(vs, name, len, NAME_DIR) : 0;
		if (r)
			return r;
	}
	return 0;
}

/* This disk first: what goes from here to the bucket meanwhile is seen here, and not
 * missed on both sides. */
static int collect(struct view_stream *vs, struct call *call)
{
	int r = staging_each(vs->vw->sg, see_staged, vs);
	if (!r)
		r = see_local_dirs(vs);
	vs->n_here = vs->known->n;
	if (!r && !view_holds_local(vs->vw, vs->dir))
		r = names_open(vs->vw->nm, vs->dir, vs->known, &vs->names, call);
	return r;
}

int view_open(struct view *vw, const char *dir, struct view_stream **ret,
	      struct call *call)
{
	struct view_stream *vs = calloc(1, sizeof(*vs));
	if (!vs)
		return -ENOMEM;
	vs->vw = vw;
	vs->dir = strdup(dir);
	vs->known = listing_new();
	int r = vs->dir && vs->known ? collect(vs, call) : -ENOMEM;
	if (r) {
		view_close(vs);
		return r;
	}
	*ret = vs;
	return 0;
}

bool view_hides_some(struct view_stream *vs)
{
	return vs->names && names_hide_some(vs->names);
}

void view_close(struct view_stream *vs)
{
	if (vs->names)
		names_close(vs->names);
	listing_unref(vs->known);
	free(vs->dir);
	free(vs);
}

/* Removed here, and the bucket may still have it. */
static int is_removed(const struct view_stream *vs, const struct name *n)
{
	bool marker_gone;
	if (removal_none(vs->vw->rm))
		return 0;
	CLEANUP_FREE char *path = NULL;
	if (asprintf(&path, "%s%s%s", vs->dir, *vs->dir ? "/" : "", n->name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	bool gone = view_is_removed(vs->vw, path, &marker_gone);
	return n->kind == NAME_DIR ? marker_gone : gone;
}

/* A removal that ends tells names first.  So these are asked after it: what was taken
 * from them before may have gone meanwhile. */
static int is_gone(const struct view_stream *vs, const struct name *n)
{
	int gone = is_removed(vs, n);
	return gone || !vs->names ? gone : names_lost(vs->names, n);
}

static int next_known(const struct view_stream *vs, uint64_t *place, struct name *ret)
{
	for (; *place < vs->known->n; ++*place) {
		uint32_t no = (uint32_t)*place;
		const char *name = listing_name(vs->known, no);
		memcpy(ret->name, name, strlen(name) + 1);
		ret->kind = vs->known->entries[no].dir ? NAME_DIR : NAME_FILE;
		int gone = no < vs->n_here ? 0 : is_gone(vs, ret);
		if (gone <= 0)
			return gone ? gone : 1;
	}
	return 0;
}

int view_next(struct view_stream *vs, uint64_t *place, struct name *ret, bool *ret_clean,
	      struct call *call)
{
	int r = next_known(vs, place, ret);
	*ret_clean = false;
	if (r || !vs->names)
		return r;
	bool idle = staging_none(vs->vw->sg);
	for (;;) {
		uint64_t at = *place - vs->known->n;
		if (at > UINT32_MAX)
			return 0; /* no directory is that long */
		uint32_t no = (uint32_t)at;
		r = names_next(vs->names, &no, ret, call);
		*place = (uint64_t)vs->known->n + no;
		if (r <= 0)
			return r;
		if (listing_find(vs->known, ret->name) == LISTING_NONE) {
			r = is_gone(vs, ret);
			if (r <= 0)
				break;
		}
		++*place;
	}
	*ret_clean = idle;
	return r ? r : 1;
}
