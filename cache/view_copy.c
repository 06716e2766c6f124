/* view_copy.c - a whole file is copied within the store.  See view.h. */
#include <errno.h>
#include <string.h>
#include "cache/staged_copy.h"
#include "cache/view_impl.h"
#include "backends/util/banned.h"

int view_check_base(struct view *vw, const char *key, const struct view_base *base,
		    struct object *ret, struct call *call)
{
	int r = backend_head(vw->be, key, ret, call);
	if (r == -ENOENT) {
		*ret = (struct object){0};
		return *base->etag && !tags_have(base->tags, TAG_NOTHING) ? -EBUSY : 0;
	}
	if (r)
		return r;
	if ((*base->etag && !strcmp(ret->etag, base->etag)) ||
	    tags_own(base->tags, ret->tag))
		return 0;
	return *base->etag || *base->tags ? -EBUSY : -EEXIST;
}

static void set_cond(struct cond *cond, const char *etag)
{
	*cond = (struct cond){.if_etag = *etag ? etag : NULL, .if_absent = !*etag};
}

/* The store compares.  Where it does not, that is looked at just before; where it
 * refuses, afterwards: it may be the source that has changed, or an upload of ours that
 * is there. */
int view_copy_over(struct view *vw, const char *from, const struct object *obj,
		   const char *to, const struct view_base *base,
		   const struct put_opts *opts, struct object *ret, struct call *call)
{
	struct put_opts over = *opts;
	struct object now;
	set_cond(&over.cond, base->etag);
	int r = backend_copy(vw->be, from, obj, to, &over, ret, call);
	bool blind = r == -EOPNOTSUPP;
	if (!blind && r != -EEXIST && r != -ESTALE)
		return r;
	int look = view_check_base(vw, to, base, &now, call);
	if (look)
		return look;
	if (blind)
		over.cond = (struct cond){0};
	else if (!strcmp(now.etag, base->etag))
		return -ESTALE;
	else
		set_cond(&over.cond, now.etag);
	return backend_copy(vw->be, from, obj, to, &over, ret, call);
}

int view_copy(struct view *vw, const char *from, const struct object *obj,
	      struct staged *st, const char *to, struct object *ret, struct call *call)
{
	struct staged_copy copy;
	struct view_base base = {0};
	struct put_opts opts = {.mtime_ns = clock_wall_ns()};
	char tag[TAG_SIZE];
	if (!(vw->be->caps & BACKEND_COPY) || view_is_local(vw, from))
		return -EOPNOTSUPP;
	int r = tag_make(tag);
	if (!r)
		r = staged_copy_begin(st, &copy);
	if (r)
		return r;
	/* Were we to die now, the next mount must not believe what is kept of it. */
	names_changing(vw->nm, to);
	memcpy(base.etag, copy.base, sizeof(base.etag));
	opts.tag = tag;
	r = view_copy_over(vw, from, obj, to, &base, &opts, ret, call);
	ret->mtime_ns = opts.mtime_ns;
	/* What is kept of the directory goes before the row. */
	if (!r)
		names_put(vw->nm, to, ret);
	else if (r != -EOPNOTSUPP)
		names_forget(vw->nm, to);
	names_changed(vw->nm, to);
	staged_copy_end(st, !r, tag);
	if (r)
		return r == -EINTR ? r : -EOPNOTSUPP;
	blocks_set_mtime(vw->bl, to, ret->etag, ret->mtime_ns);
	view_rekey(vw, from, obj, to, ret);
	return 0;
}
