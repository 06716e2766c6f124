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
	int r = staged_writable(e->staged, UINT64_MAX, &open.staged);
	if (r)
		return r;
	staged_mark_dirty(open.staged);
	r = rename_staged(vw, &open, over, to, call);
	if (r && !staged_writers(open.staged)) /* nobody will close it */
		(void)staged_publish(open.staged, false, NULL);
	view_entry_done(&open);
	return r;
}

/* The bytes and the time of obj, which is v, in a file for key that has no name yet.
 * *ret is set also when it fails. */
static int fetch(struct view *vw, const struct object *obj, const char *key,
		 struct version *v, struct staged **ret, struct call *call)
{
	struct staged *st = NULL;
	int r = staged_prepare(vw->sg, key, &st);
	if (!r)
		r = staged_fill(st, v, obj->size, call);
	if (!r)
		r = staged_set_mtime(st, obj->mtime_ns);
	*ret = st;
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
		r = fetch(vw, obj, to, v, &st, call);
	if (!r)
		r = staged_sync(st);
	if (!r)
		r = staged_enlist(st, NULL);
	/* Not a byte less than durable before the object may go. */
	if (!r)
		r = staged_sync(st);
	if (!r && over && over->staged)
		r = staged_drop(over->staged);
	if (!r)
		r = removal_add(vw->rm, from, obj->etag, v);
	if (!r)
		staging_lose_name(vw->sg, from);
	staged_unref(st);
	version_unref(v);
	return r;
}

/* From a source that takes no writes to an ordinary name: the file becomes ours, as if it
 * had been written to, and that gets the new name.  What fails after that leaves our own
 * copy under the old one. */
static int fetch_to_rename(struct view *vw, const struct object *obj, const char *from,
			   const struct view_entry *over, const char *to,
			   struct call *call)
{
	struct view_entry ours = {.kind = NAME_FILE};
	struct version *v = NULL;
	int r = version_get(vw->bl, from, obj, &v);
	if (!r)
		r = fetch(vw, obj, from, v, &ours.staged, call);
	if (!r)
		r = staged_enlist(ours.staged, obj);
	bool named = !r;
	if (!r)
		r = rename_staged(vw, &ours, over, to, call);
	if (r && named)
		(void)staged_publish(ours.staged, false, NULL);
	view_entry_done(&ours);
	version_unref(v);
	return r;
}

/* An object gets another name within the bucket. */
struct object_move {
	struct view *vw;
	const struct object *obj;
	const char *from, *to;
	struct staged *over;   /* frozen, or NULL */
	struct view_base base; /* what the bucket has at to */
	bool held;	       /* that is to be removed */
	bool copied; /* from is there, too, as it is wherever the bucket cannot rename, or
			not from this name to that, or something is owed at to */
	bool same;   /* what is at to now is obj, for certain */
	struct object *ret;
	struct call *call;
};

/* What we owe the name is journaled with the tag of the copy first: were we to die before
 * all is told to the journal, the next mount would take the copy for somebody else's
 * (P5). */
static int copy_in_bucket(struct object_move *m)
{
	struct view *vw = m->vw;
	char tag[TAG_SIZE];
	struct put_opts opts = {.mtime_ns = m->obj->mtime_ns, .tag = tag};
	int r = tag_make(tag);
	if (!r)
		r = removal_expect(vw->rm, m->to, tag);
	if (!r && m->over)
		r = staged_expect(m->over, tag);
	names_changing(vw->nm, m->to);
	if (!r)
		r = view_copy_over(vw, m->from, m->obj, m->to, &m->base, &opts, m->ret,
				   m->call);
	m->same = true;
	m->ret->mtime_ns = m->obj->mtime_ns;
	if (r)
		names_forget(vw->nm, m->to);
	else
		names_put(vw->nm, m->to, m->ret);
	names_changed(vw->nm, m->to);
	return r;
}

/* The rename said r, 0 or -ENOENT.  That says little: it may have been done by a try
 * whose answer was lost, and whoever writes may have been there since.  It is what is at
 * to that tells; was and there are what both names had before. */
static int look_at_renamed(struct object_move *m, const struct object *was,
			   const struct object *there, int r)
{
	int look = backend_head(m->vw->be, m->to, m->ret, m->call);
	if (look)
		return r && look == -ENOENT ? r : look;
	bool alike = m->ret->size == was->size && !strcmp(m->ret->tag, was->tag);
	if (r && (!alike || !strcmp(m->ret->etag, there->etag)))
		return r;
	m->same = alike && (*was->tag || !strcmp(m->ret->etag, was->etag));
	return alike ? 0 : -EBUSY;
}

/* An atomic rename takes whatever has the name by then, and replaces whatever has the
 * other, so both are looked at just before: what is cached of obj must not become another
 * version's (P1), nor somebody else's object be lost (P5). */
static int rename_version(struct object_move *m)
{
	struct backend *be = m->vw->be;
	struct object was, there;
	int r = backend_head(be, m->from, &was, m->call);
	if (!r && strcmp(was.etag, m->obj->etag) != 0)
		r = -ESTALE;
	if (!r)
		r = view_check_base(m->vw, m->to, &m->base, &there, m->call);
	if (r)
		return r;
	r = backend_rename(be, m->from, m->to, m->call);
	return r && r != -ENOENT ? r : look_at_renamed(m, &was, &there, r);
}

static int rename_in_bucket(struct object_move *m)
{
	struct names *nm = m->vw->nm;
	/* Over what is staged or to be removed only a copy will do: after a crash nothing
	 * would say that the object there has taken that place, and its source would be
	 * gone. */
	bool owes = m->over || m->held;
	if (!(m->vw->be->caps & BACKEND_RENAME) ||
	    (owes && m->vw->be->caps & BACKEND_COPY)) {
		m->copied = true;
		return copy_in_bucket(m);
	}
	names_changing(nm, m->from);
	names_changing(nm, m->to);
	int r = rename_version(m);
	m->copied = r == -EOPNOTSUPP;
	/* Whatever became of it: what was believed of the two names is old. */
	if (!m->copied) {
		names_forget(nm, m->from);
		names_forget(nm, m->to);
	}
	if (!r)
		names_removed(nm, m->from);
	names_changed(nm, m->from);
	names_changed(nm, m->to);
	return m->copied ? copy_in_bucket(m) : r;
}

/* The copy is there in place of what was removed.  The journal must not say any more that
 * it is to go when its source goes: what both rows name would be lost (P3).  If that
 * fails the source stays.  A row that only the journal knows of is no better. */
static int settle_copied(struct object_move *m)
{
	struct view *vw = m->vw;
	struct journal_change changes[] = {
		{.kind = JOURNAL_DEL_GONE, .key = m->to},
		{.kind = JOURNAL_PUT_GONE, .key = m->from, .etag = m->obj->etag},
	};
	int r = journal_commit(vw->jn, changes, 2, m->held);
	if (r && m->held)
		view_settle_removal(vw, m->to);
	if (r)
		return r;
	/* Both names are there until the old one goes: never neither (P4). */
	removal_settled(vw->rm, m->to);
	return removal_note(vw->rm, m->from, m->obj->etag, "", NULL);
}

static void find_base(struct object_move *m, const struct view_entry *over)
{
	struct view_base *base = &m->base;
	if (m->over)
		staged_get_base(m->over, base->etag, base->tags);
	else
		m->held = removal_take(m->vw->rm, m->to, base->etag, base->tags);
	if (over && !m->over && !m->held)
		memcpy(base->etag, over->object.etag, sizeof(base->etag));
}

/* What was staged at to, and the removal of what was there, wait meanwhile. */
static int rename_object(struct object_move *m, const struct view_entry *over)
{
	struct view *vw = m->vw;
	m->over = over ? over->staged : NULL;
	if (!(vw->be->caps & (BACKEND_RENAME | BACKEND_COPY)))
		return -EXDEV;
	int r = backend_settle(vw->be, m->call);
	if (!r && m->over)
		r = staged_freeze(m->over);
	if (r)
		return r;
	find_base(m, over);
	removal_keep(vw->rm, m->to);
	r = rename_in_bucket(m);
	if (m->over)
		staged_thaw(m->over, !r);
	if (!r)
		names_put(vw->nm, m->to, m->ret);
	if (m->held && r)
		removal_release(vw->rm, m->to);
	if (r)
		return r;
	blocks_set_mtime(vw->bl, m->to, m->ret->etag, m->ret->mtime_ns);
	if (m->copied)
		return settle_copied(m);
	if (m->held)
		view_settle_removal(vw, m->to);
	return 0;
}

void view_rekey(struct view *vw, const char *from, const struct object *was,
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
	int r;
	if (e->staged) {
		r = rename_staged(vw, e, over, to, call);
		if (r != -EALREADY)
			return r;
		if (!staged_retired(e->staged)) {
			r = rename_reopened(vw, e, over, to, call);
			if (r != -ESTALE)
				return r == -EALREADY ? -ENOENT : r;
		}
		if (!staged_object(e->staged, &obj))
			return -ENOENT;
	}
	if (view_is_local(vw, to))
		return fetch_to_local(vw, &obj, from, over, to, call);
	struct object_move m = {
		.vw = vw, .obj = &obj, .from = from, .to = to, .ret = ret, .call = call};
	r = rename_object(&m, over);
	if (r == -EXDEV && vw->be->caps & BACKEND_COPY)
		return fetch_to_rename(vw, &obj, from, over, to, call);
	if (r)
		return r;
	staging_lose_name(vw->sg, from);
	staging_lose_name(vw->sg, to);
	if (m.same)
		view_rekey(vw, from, &obj, to, ret);
	*ret_clean = true;
	return 0;
}

void view_renamed(struct view *vw, const char *from, struct call *call)
{
	removal_send(vw->rm, from, OLD_NAME_WAIT_NS, call);
}

int view_set_mtime(struct view *vw, const char *path, const struct object *obj,
		   int64_t mtime_ns, struct object *ret, struct call *call)
{
	char tag[TAG_SIZE];
	/* By the tag it is known again if its answer is lost: obj is not there any more.
	 */
	struct put_opts opts = {.mtime_ns = mtime_ns, .tag = tag};
	if (!(vw->be->caps & BACKEND_COPY))
		return -EOPNOTSUPP;
	int r = tag_make(tag);
	if (r)
		return r;
	names_changing(vw->nm, path);
	r = backend_copy(vw->be, path, obj, path, &opts, ret, call);
	ret->mtime_ns = mtime_ns;
	if (r)
		names_forget(vw->nm, path);
	else
		names_put(vw->nm, path, ret);
	names_changed(vw->nm, path);
	if (r)
		return r;
	if (strcmp(ret->etag, obj->etag))
		view_rekey(vw, path, obj, path, ret);
	blocks_set_mtime(vw->bl, path, ret->etag, mtime_ns);
	return 0;
}
