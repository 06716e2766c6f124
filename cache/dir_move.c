/* dir_move.c - see dir_move.h. */
#include "cache/dir_move.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "cache/dir_move_impl.h"
#include "backends/util/banned.h"

/* --- before the commit --- */

static int hold(struct dir_move *m, struct dir_item *it)
{
	/* Before it is held: what is held without it is taken for untouched. */
	CLEANUP_FREE struct dir_left *left = calloc(1, sizeof(*left));
	bool pending;
	if (!left)
		return -ENOMEM;
	int r = removal_hold(m->vw->rm, it->to, m->tag, left->etag, left->tags, &pending);
	it->held = !r;
	if (r || !pending)
		return r;
	it->left = STEAL(left);
	removal_keep(m->vw->rm, it->to);
	return 0;
}

/* A staged file that is all there is of its name takes the place of what was removed
 * under the other one.  What it had to replace is gone: by somebody else, and then it is
 * a conflict there, too (P5), unless an earlier daemon of ours may have removed it. */
static void take_place(struct dir_move *m, struct staged_leaf *leaf)
{
	if (leaf->local || leaf->listed || leaf->done)
		return;
	if (!tags_have(leaf->left_tags, TAG_NOTHING))
		memcpy(leaf->base, leaf->left_etag, sizeof(leaf->base));
	leaf->took = removal_take(m->vw->rm, leaf->other, leaf->base, leaf->tags);
	leaf->holds_removal = leaf->took && !leaf->sealed;
	if (leaf->took)
		removal_keep(m->vw->rm, leaf->other);
}

/* dir_move (1): what carries the tag goes, unless the commit comes. */
static int announce(struct dir_move *m)
{
	CLEANUP_FREE struct journal_change *changes = calloc(m->n + 1, sizeof(*changes));
	int r = changes ? 0 : -ENOMEM;
	for (size_t i = 0; !r && i < m->n; i++) {
		struct dir_item *it = &m->items[i];
		r = hold(m, it);
		changes[i] = dir_announced(m, it);
	}
	for (size_t i = 0; !r && i < m->staged.n; i++)
		take_place(m, &m->staged.leaves[i]);
	return r || !m->n ? r : journal_commit(m->vw->jn, changes, m->n, true);
}

/* --- the commit --- */

static bool was_ours(const struct dir_item *it)
{
	const struct staged_leaf *leaf = it->leaf;
	return !strcmp(leaf->left_etag, it->was.etag) ||
	       tags_have(leaf->left_tags, it->was.tag);
}

/* What each staged file replaces under its new name: the copy of what it replaced; of
 * somebody else's it stays what it was, a conflict to be (P5). */
static void set_bases(struct dir_move *m)
{
	for (size_t i = 0; i < m->n; i++) {
		struct dir_item *it = &m->items[i];
		if (!it->leaf)
			continue;
		it->leaf->holds_removal = it->leaf->holds_removal && !it->gone;
		if (it->gone)
			continue;
		const char *base = was_ours(it) ? it->is.etag : it->leaf->left_etag;
		memcpy(it->leaf->base, base, strlen(base) + 1);
		it->leaf->copy = it->is;
	}
}

struct commit {
	struct journal_change *changes; /* owned */
	size_t n;
};

static void add_change(struct commit *c, struct journal_change change)
{
	c->changes[c->n++] = change;
}

/* Of uploads of ours that may be at its old name. */
static const char *tags_of(const struct dir_item *it)
{
	return it->leaf ? it->leaf->left_tags : "";
}

static void add_item_changes(const struct dir_item *it, struct commit *c)
{
	const struct staged_leaf *leaf = it->leaf;
	/* It was removed here, and what takes its place is not in the bucket yet. */
	if (leaf && leaf->holds_removal)
		add_change(c, dir_gone(it->to, it->is.etag, NULL));
	else
		add_change(c, dir_not_gone(it->to));
	if (it->from && !it->gone)
		add_change(c, dir_gone(it->from, it->was.etag, tags_of(it)));
}

/* What the bucket may yet come to have under the old name, of uploads of ours. */
static bool leaves_something(const struct staged_leaf *leaf)
{
	return !leaf->local && (*leaf->left_etag || *leaf->left_tags);
}

static int add_leaf_changes(struct staged_leaf *leaf, struct commit *c)
{
	struct journal_change row;
	bool any;
	int r = staged_leaf_row(leaf, &row, &any);
	if (leaves_something(leaf))
		add_change(c, dir_gone(leaf->key, leaf->left_etag, leaf->left_tags));
	if (leaf->took && !leaf->holds_removal)
		add_change(c, dir_not_gone(leaf->other));
	if (!r && any)
		add_change(c, row);
	return r;
}

/* Markers have no version, so that is the top's, which may have none. */
static char *marker_of_top(const struct dir_move *m)
{
	char *marker = NULL;
	return asprintf(&marker, "%s/", m->from) < 0 ? NULL : marker;
}

static int commit(struct dir_move *m, const char *top)
{
	struct commit c = {0};
	size_t max = 2 * m->n + 3 * m->staged.n + m->local_from.n + m->local_to.n + 1;
	CLEANUP_FREE struct journal_change *changes = calloc(max, sizeof(*changes));
	if (!changes)
		return -ENOMEM;
	c.changes = changes;
	set_bases(m);
	int r = 0;
	/* A row of a listed object says more of the same name, and comes after. */
	for (size_t i = 0; !r && i < m->staged.n; i++)
		r = add_leaf_changes(&m->staged.leaves[i], &c);
	for (size_t i = 0; i < m->n; i++)
		add_item_changes(&m->items[i], &c);
	for (size_t i = 0; i < m->local_from.n; i++)
		add_change(&c, (struct journal_change){.kind = JOURNAL_DEL_DIR,
						       .key = m->local_from.names[i]});
	for (size_t i = 0; i < m->local_to.n; i++)
		add_change(&c, (struct journal_change){.kind = JOURNAL_PUT_DIR,
						       .key = m->local_to.names[i]});
	if (!view_holds_local(m->vw, m->from))
		add_change(&c, dir_gone(top, "", NULL));
	return r ? r : journal_commit(m->vw->jn, c.changes, c.n, true);
}

/* --- what the commit means for memory --- */

/* The directories on the way from top to key that other was not in: those of other were
 * noted before. */
static void note_dirs(struct names *nm, const char *top, const char *key,
		      const char *other, void (*fn)(struct names *nm, const char *path))
{
	for (const char *at = key + strlen(top); (at = strchr(at + 1, '/'));) {
		size_t len = (size_t)(at - key);
		CLEANUP_FREE char *dir = strndup(key, len);
		if (dir && (!other || strncmp(other, key, len + 1) != 0))
			fn(nm, dir);
	}
}

static void believe(struct dir_move *m)
{
	struct names *nm = m->vw->nm;
	const char *last = NULL;
	bool any = m->n;
	for (size_t i = 0; i < m->staged.n; i++) {
		const struct staged_leaf *leaf = &m->staged.leaves[i];
		any = any || !leaf->local;
		if (!leaf->local)
			note_dirs(nm, m->to, leaf->other, NULL, names_put_dir);
	}
	if (any && !view_is_local(m->vw, m->to))
		names_put_dir(nm, m->to);
	for (size_t i = 0; i < m->n; i++) {
		const struct dir_item *it = &m->items[i];
		if (it->gone)
			continue;
		note_dirs(nm, m->to, it->to, last, names_put_dir);
		last = it->to;
		if (!it->marker)
			names_put(nm, it->to, &it->is);
	}
}

/* No marker is removed of a directory that had none. */
static void disbelieve(struct dir_move *m)
{
	const char *last = NULL;
	for (size_t i = 0; i < m->n; i++) {
		const struct dir_item *it = &m->items[i];
		if (!it->from)
			continue;
		note_dirs(m->vw->nm, m->from, it->from, last, names_removed);
		last = it->from;
	}
}

static void doubt(struct dir_move *m)
{
	for (size_t i = 0; i < m->n; i++)
		note_dirs(m->vw->nm, m->to, m->items[i].to, NULL, names_forget);
	for (size_t i = 0; i < m->n; i++)
		if (!m->items[i].marker)
			names_forget(m->vw->nm, m->items[i].to);
	for (size_t i = 0; i < m->staged.n; i++)
		note_dirs(m->vw->nm, m->to, m->staged.leaves[i].other, NULL,
			  names_forget);
	names_forget(m->vw->nm, m->to);
}

/* Without memory for it the next mount removes it. */
static void note(struct dir_move *m, const char *key, const char *etag, const char *tags)
{
	if (removal_note(m->vw->rm, key, etag, tags, NULL))
		log_warn("rename", "%s stays until the next mount: no memory", key);
}

static void switch_item(struct dir_move *m, struct dir_item *it)
{
	struct removal *rm = m->vw->rm;
	char etag[ETAG_SIZE], tags[TAGS_SIZE];
	const struct staged_leaf *leaf = it->leaf;
	if (leaf && leaf->holds_removal) {
		note(m, it->to, it->is.etag, "");
		(void)removal_take(rm, it->to, etag, tags);
	} else {
		removal_settled(rm, it->to);
	}
}

static void switch_leaf(struct dir_move *m, const struct staged_leaf *leaf)
{
	if (leaf->took && !leaf->holds_removal)
		removal_settled(m->vw->rm, leaf->key);
	if (leaves_something(leaf) && !leaf->listed)
		note(m, leaf->other, leaf->left_etag, leaf->left_tags);
}

/* dir_move (4): the new names appear before the old ones go. */
static void switch_names(struct dir_move *m, const char *top)
{
	for (size_t i = 0; i < m->n; i++)
		switch_item(m, &m->items[i]);
	view_local_dirs_moved(m->vw, &m->local_from, &m->local_to);
	staged_tree_rename(&m->staged);
	for (size_t i = 0; i < m->staged.n; i++)
		switch_leaf(m, &m->staged.leaves[i]);
	for (size_t i = 0; i < m->n; i++) {
		const struct dir_item *it = &m->items[i];
		if (it->from && !it->gone)
			note(m, it->from, it->was.etag, tags_of(it));
	}
	disbelieve(m);
	if (!view_holds_local(m->vw, m->from))
		note(m, top, "", "");
}

static void follow(struct dir_move *m, const struct dir_followers *f)
{
	f->renamed(f->arg);
	for (size_t i = 0; i < m->n; i++) {
		const struct dir_item *it = &m->items[i];
		if (it->marker || it->gone)
			continue;
		blocks_set_mtime(m->vw->bl, it->to, it->is.etag, it->is.mtime_ns);
		view_rekey(m->vw, it->from, &it->was, it->to, &it->is);
		f->moved(f->arg, it->to, &it->was, &it->is);
	}
}

/* False: it is not gone, and not soon. */
static bool send_removal(struct dir_move *m, const struct dir_item *it, uint64_t wait_ns)
{
	if (!it->from || it->marker)
		return true;
	removal_send(m->vw->rm, it->from, wait_ns, m->call);
	return !wait_ns || !removal_pending(m->vw->rm, it->from);
}

/* Nobody reads by the old names any more: all go now, and are waited for while the store
 * answers. */
static void send_removals(struct dir_move *m)
{
	for (size_t i = 0; i < m->n; i++)
		(void)send_removal(m, &m->items[i], 0);
	for (size_t i = 0; i < m->n; i++)
		if (!send_removal(m, &m->items[i], OLD_NAME_WAIT_NS))
			return;
}

/* --- all of it --- */

static int carry_out(struct dir_move *m)
{
	CLEANUP_FREE char *top = marker_of_top(m);
	int r = top ? 0 : -ENOMEM;
	if (!r)
		r = announce(m);
	if (!r)
		r = dir_copy(m);
	if (r) {
		dir_withdraw(m);
		return r;
	}
	/* What is kept of the directories for the next mount goes before the rows that
	 * say better. */
	believe(m);
	r = commit(m, top);
	if (r) {
		if (!dir_take_back(m, top))
			dir_withdraw(m);
		doubt(m);
		return r;
	}
	switch_names(m, top);
	return 0;
}

static void done(struct dir_move *m)
{
	staged_tree_release(&m->staged);
	for (size_t i = 0; i < m->n; i++) {
		free(m->items[i].from);
		free(m->items[i].to);
		free(m->items[i].left);
	}
	free(m->items);
	dir_names_done(&m->local_from);
	dir_names_done(&m->local_to);
	dir_names_done(&m->going);
}

static bool is_below(const char *dir, const char *path)
{
	size_t len = strlen(dir);
	return !strncmp(path, dir, len) && (path[len] == '/' || !path[len]);
}

int view_rename_dir(struct view *vw, const char *from, const char *to, bool over,
		    const struct dir_followers *followers, struct call *call)
{
	struct dir_move m = {.vw = vw, .from = from, .to = to, .over = over};
	struct call patient = {.deadline_ns = CLOCK_NEVER, .outer = call};
	m.call = &patient;
	if (is_below(from, to))
		return -EINVAL;
	int r = over ? view_check_empty(vw, to, call) : 0;
	if (!r)
		r = tag_make(m.tag);
	if (r)
		return r;
	r = dir_collect(&m);
	if (!r)
		r = carry_out(&m);
	if (!r) {
		follow(&m, followers);
		/* Who closes one of them need not wait for the old names' end. */
		staged_tree_release(&m.staged);
		send_removals(&m);
	}
	done(&m);
	return r;
}
