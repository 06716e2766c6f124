/* view_rename.c - a file gets another name, or another time.  See view.h. */
#include <errno.h>
#include <string.h>
#include "cache/view_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

static int rename_staged(struct view *vw, const struct view_entry *e,
			 const struct view_entry *over, const char *to, struct call *call)
{
	struct staged_move mv = {
		.to = to,
		.base = over && !over->staged ? &over->object : NULL,
		.over = over ? over->staged : NULL,
		/* While somebody writes it, closing it is what uploads it. */
		.publish = !view_is_local(vw, to) && !staged_writers(e->staged),
		.wait = vw->wait_uploads,
	};
	return staged_rename(e->staged, &mv, call);
}

/* It was uploaded and is still open for writing: a file of ours, that is uploaded
 * again under its new name when it is closed. */
static int rename_reopened(struct view *vw, const struct view_entry *e,
			   const struct view_entry *over, const char *to,
			   struct call *call)
{
	struct view_entry open = {.kind = NAME_FILE};
	int r = staged_writable(e->staged, &open.staged);
	if (r)
		return r;
	staged_mark_dirty(open.staged);
	r = rename_staged(vw, &open, over, to, call);
	view_entry_done(&open);
	return r;
}

/* From the bucket to a local name: its bytes come here, the object goes. */
static int fetch_to_local(struct view *vw, const struct object *obj, const char *from,
			  const struct view_entry *over, const char *to,
			  struct call *call)
{
	struct version *v = NULL;
	struct staged *st = NULL;
	int r = version_get(vw->bl, from, obj, &v);
	if (!r)
		r = staged_prepare(vw->sg, to, &st);
	if (!r)
		r = staged_fill(st, v, obj->size, call);
	if (!r)
		r = staged_set_mtime(st, obj->mtime_ns);
	if (!r && over && over->staged)
		r = staged_drop(over->staged);
	if (!r)
		r = staged_enlist(st, NULL);
	if (!r)
		r = staged_sync(st);
	if (!r)
		r = removal_add(vw->rm, from, obj->etag, v);
	staged_unref(st);
	version_unref(v);
	return r;
}

static int copy_in_bucket(struct view *vw, const struct object *obj, const char *from,
			  const char *to, struct object *ret, struct call *call)
{
	struct put_opts opts = {.mtime_ns = obj->mtime_ns};
	char etag[ETAG_SIZE];
	bool held = removal_take(vw->rm, to, etag);
	int r = backend_copy(vw->be, from, obj, to, &opts, ret, call);
	if (held && r)
		removal_release(vw->rm, to);
	if (r)
		return r;
	if (held) {
		struct journal_change c = {.kind = JOURNAL_DEL_GONE, .key = to};
		r = journal_commit(vw->jn, &c, 1, false);
		removal_settled(vw->rm, to);
	}
	ret->mtime_ns = obj->mtime_ns;
	/* Both names are there until the old one goes: never neither (P4). */
	return r ? r : removal_add(vw->rm, from, obj->etag, NULL);
}

static int rename_object(struct view *vw, const struct object *obj, const char *from,
			 const struct view_entry *over, const char *to,
			 struct object *ret, struct call *call)
{
	int r;
	if (vw->be->caps & BACKEND_RENAME) {
		r = backend_rename(vw->be, from, to, call);
		if (!r)
			r = backend_head(vw->be, to, ret, call);
		if (!r)
			names_removed(vw->nm, from);
		char etag[ETAG_SIZE];
		if (!r && removal_take(vw->rm, to, etag)) {
			struct journal_change c = {.kind = JOURNAL_DEL_GONE, .key = to};
			r = journal_commit(vw->jn, &c, 1, false);
			removal_settled(vw->rm, to);
		}
	} else if (vw->be->caps & BACKEND_COPY) {
		r = copy_in_bucket(vw, obj, from, to, ret, call);
	} else {
		return -EXDEV;
	}
	if (r)
		return r;
	if (over && over->staged)
		r = staged_drop(over->staged);
	names_put(vw->nm, to, ret);
	blocks_set_mtime(vw->bl, to, ret->etag, ret->mtime_ns);
	return r;
}

/* Its cached bytes follow it. */
static void rekey(struct view *vw, const char *from, const struct object *was,
		  const char *to, const struct object *is)
{
	struct version *a = NULL, *b = NULL;
	if (!version_get(vw->bl, from, was, &a) && !version_get(vw->bl, to, is, &b))
		(void)blocks_rekey(vw->bl, a, b);
	version_unref(a);
	version_unref(b);
}

int view_rename(struct view *vw, const struct view_entry *e, const char *from,
		const struct view_entry *over, const char *to, bool *ret_clean,
		struct object *ret, struct call *call)
{
	*ret_clean = false;
	struct object obj = e->object;
	if (e->staged) {
		int r = rename_staged(vw, e, over, to, call);
		if (r != -EALREADY)
			return r;
		if (!staged_retired(e->staged)) {
			r = rename_reopened(vw, e, over, to, call);
			if (r != -ESTALE)
				return r;
		}
		if (!staged_object(e->staged, &obj))
			return -ENOENT;
	}
	if (view_is_local(vw, to))
		return fetch_to_local(vw, &obj, from, over, to, call);
	int r = rename_object(vw, &obj, from, over, to, ret, call);
	if (r)
		return r;
	rekey(vw, from, &obj, to, ret);
	*ret_clean = true;
	return 0;
}

int view_set_mtime(struct view *vw, const char *path, const struct object *obj,
		   int64_t mtime_ns, struct object *ret, struct call *call)
{
	struct put_opts opts = {.mtime_ns = mtime_ns};
	if (!(vw->be->caps & BACKEND_COPY))
		return -EOPNOTSUPP;
	int r = backend_copy(vw->be, path, obj, path, &opts, ret, call);
	if (r)
		return r;
	ret->mtime_ns = mtime_ns;
	if (strcmp(ret->etag, obj->etag))
		rekey(vw, path, obj, path, ret);
	blocks_set_mtime(vw->bl, path, ret->etag, mtime_ns);
	names_put(vw->nm, path, ret);
	return 0;
}
