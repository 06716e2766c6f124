/* view_copy.c - a whole file is copied within the store.  See view.h. */
#include <errno.h>
#include <string.h>
#include "cache/staged_copy.h"
#include "cache/tags.h"
#include "cache/view_impl.h"
#include "backends/util/banned.h"

/* Where a copy takes no condition on what it replaces, that is looked at just before. */
static int check_base(struct view *vw, const char *to, const char *base,
		      struct call *call)
{
	struct object now;
	int r = backend_head(vw->be, to, &now, call);
	if (r == -ENOENT)
		return *base ? -ESTALE : 0;
	return r ? r : strcmp(now.etag, base) ? -ESTALE : 0;
}

static int send_copy(struct view *vw, const char *from, const struct object *obj,
		     const char *to, const char *base, const char *tag,
		     struct object *ret, struct call *call)
{
	struct put_opts opts = {.mtime_ns = clock_wall_ns(), .tag = tag};
	opts.cond.if_etag = *base ? base : NULL;
	opts.cond.if_absent = !*base;
	int r = backend_copy(vw->be, from, obj, to, &opts, ret, call);
	if (r == -EOPNOTSUPP) {
		opts.cond = (struct cond){0};
		r = check_base(vw, to, base, call);
		if (!r)
			r = backend_copy(vw->be, from, obj, to, &opts, ret, call);
	}
	if (!r)
		ret->mtime_ns = opts.mtime_ns;
	return r;
}

int view_copy(struct view *vw, const char *from, const struct object *obj,
	      struct staged *st, const char *to, struct object *ret, struct call *call)
{
	struct staged_copy copy;
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
	r = send_copy(vw, from, obj, to, copy.base, tag, ret, call);
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
