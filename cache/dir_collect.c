/* dir_collect.c - what there is to move of a directory that gets another name.  See
 * dir_move.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "cache/dir_move_impl.h"
#include "backends/util/banned.h"

/* "from/x" -> "to/x".  -ENAMETOOLONG. */
static int new_name(const struct dir_move *m, const char *name, char **ret)
{
	const char *rest = name + strlen(m->from);
	if (strlen(m->to) + strlen(rest) >= KEY_SIZE)
		return -ENAMETOOLONG;
	return asprintf(ret, "%s%s", m->to, rest) < 0 ? (*ret = NULL, -ENOMEM) : 0;
}

static int add_item(struct dir_move *m, char *from, char *to, const struct object *obj)
{
	if (m->n == m->alloc) {
		size_t alloc = m->alloc ? 2 * m->alloc : 64;
		struct dir_item *more = reallocarray(m->items, alloc, sizeof(*more));
		if (!more) {
			free(from);
			free(to);
			return -ENOMEM;
		}
		m->items = more;
		m->alloc = alloc;
	}
	struct dir_item *it = &m->items[m->n++];
	*it = (struct dir_item){
		.from = from, .to = to, .was = *obj, .marker = to[strlen(to) - 1] == '/'};
	m->topped = m->topped || (it->marker && strlen(to) == strlen(m->to) + 1);
	return 0;
}

/* A directory without anything in it but its name. */
static int add_dir(struct dir_move *m, const char *from_marker, const char *to)
{
	static const struct object none;
	if (m->over && !strcmp(to, m->to))
		return 0; /* it is there */
	if (view_is_local(m->vw, to))
		return dir_names_add(&m->local_to, to);
	char *from = from_marker ? strdup(from_marker) : NULL, *marker = NULL;
	if ((from_marker && !from) || asprintf(&marker, "%s/", to) < 0) {
		free(from);
		return -ENOMEM;
	}
	return add_item(m, from, marker, &none);
}

static int see_marker(struct dir_move *m, const char *key, const char *to,
		      const struct object *obj)
{
	CLEANUP_FREE char *dir = strndup(to, strlen(to) - 1);
	if (!dir)
		return -ENOMEM;
	if (obj->size)
		return -EXDEV; /* somebody's bytes, which nothing here moves */
	return add_dir(m, key, dir);
}

static int note_going(void *arg, const char *key)
{
	return dir_names_add(arg, key);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Before the listing begins: what it has of them may have gone when it is read. */
static int see_going(struct dir_move *m)
{
	struct dir_names *going = &m->going;
	int r = removal_each_below(m->vw->rm, m->from, note_going, going);
	if (!r && going->n)
		qsort(going->names, going->n, sizeof(*going->names), by_name);
	return r;
}

static bool is_going(const struct dir_move *m, const char *key)
{
	return m->going.n && bsearch(&key, m->going.names, m->going.n,
				     sizeof(*m->going.names), by_name);
}

static int see_object(void *arg, const char *key, size_t key_len,
		      const struct object *obj)
{
	struct dir_move *m = arg;
	struct view *vw = m->vw;
	CLEANUP_FREE char *to = NULL;
	if (strlen(key) != key_len || !obj)
		return -EXDEV;
	/* The directory itself does not count. */
	if (key_len > strlen(m->from) + 1 && ++m->counted > vw->rename_max)
		return -EXDEV;
	struct staged_leaf *leaf = staged_tree_find(&m->staged, key);
	/* It was removed here, and is going; or has gone by now. */
	if (!leaf && is_going(m, key))
		return 0;
	int r = new_name(m, key, &to);
	if (r)
		return r;
	if (key[key_len - 1] == '/')
		return see_marker(m, key, to, obj);
	if (view_is_local(vw, key) != view_is_local(vw, to))
		return -EXDEV;
	char *from = strdup(key);
	r = from ? add_item(m, from, STEAL(to), obj) : -ENOMEM;
	if (!r && leaf) {
		m->items[m->n - 1].leaf = leaf;
		leaf->listed = true;
	}
	return r;
}

static int see_local_dirs(struct dir_move *m)
{
	struct dir_names *old = &m->local_from;
	int r = view_local_dirs(m->vw, m->from, old);
	for (size_t i = 0; !r && i < old->n; i++) {
		CLEANUP_FREE char *to = NULL;
		r = new_name(m, old->names[i], &to);
		if (!r)
			r = add_dir(m, NULL, to);
	}
	return r;
}

/* marker is owned from here on. */
static int add_phantom(struct dir_move *m, char *marker)
{
	static const struct object none;
	int r = add_item(m, NULL, marker, &none);
	if (!r)
		m->items[m->n - 1].phantom = true;
	return r;
}

/* After a crash the new directory is hidden as long as there is something in it. */
static int see_top(struct dir_move *m)
{
	char *marker = NULL;
	if (m->topped || m->over || !m->n || view_is_local(m->vw, m->to))
		return 0;
	return asprintf(&marker, "%s/", m->to) < 0 ? -ENOMEM : add_phantom(m, marker);
}

/* dir, a directory that there will be.  Its marker may have been removed before, and it
 * may have none now that would take its place. */
static int see_hidden_dir(struct dir_move *m, const char *dir)
{
	CLEANUP_FREE char *marker = NULL;
	if (asprintf(&marker, "%s/", dir) < 0) {
		marker = NULL;
		return -ENOMEM;
	}
	bool hidden = removal_pending(m->vw->rm, marker);
	for (size_t i = 0; hidden && i < m->n; i++)
		hidden = strcmp(m->items[i].to, marker) != 0;
	return hidden ? add_phantom(m, STEAL(marker)) : 0;
}

/* Those on the way from the top to key, which last was not in. */
static int see_hidden_above(struct dir_move *m, const char *key, const char *last)
{
	int r = 0;
	for (const char *at = key + strlen(m->to); (at = strchr(at + 1, '/')) && !r;) {
		size_t len = (size_t)(at - key);
		CLEANUP_FREE char *dir = strndup(key, len);
		if (!dir)
			return -ENOMEM;
		if (!last || strncmp(last, key, len + 1) != 0)
			r = see_hidden_dir(m, dir);
	}
	return r;
}

static int see_hidden(struct dir_move *m)
{
	const char *last = NULL;
	size_t n = m->n;
	if (removal_none(m->vw->rm) || !(m->n || m->staged.n))
		return 0;
	int r = see_hidden_dir(m, m->to);
	for (size_t i = 0; i < n && !r; i++) {
		r = see_hidden_above(m, m->items[i].to, last);
		last = m->items[i].to;
	}
	for (size_t i = 0; i < m->staged.n && !r; i++)
		r = see_hidden_above(m, m->staged.leaves[i].other, NULL);
	return r;
}

static int see_staged(struct dir_move *m)
{
	int r = 0;
	for (size_t i = 0; !r && i < m->staged.n; i++) {
		struct staged_leaf *leaf = &m->staged.leaves[i];
		r = new_name(m, leaf->key, &leaf->other);
		if (!r && leaf->local != view_is_local(m->vw, leaf->other))
			r = -EXDEV;
	}
	return r;
}

/* Under a local directory everything is local: the bucket is not asked. */
static int list_objects(struct dir_move *m)
{
	CLEANUP_FREE char *prefix = NULL;
	struct call call = {.deadline_ns = clock_add(clock_now_ns(), m->vw->timeout_ns),
			    .outer = m->call};
	if (view_holds_local(m->vw, m->from))
		return 0;
	if (asprintf(&prefix, "%s/", m->from) < 0) {
		prefix = NULL;
		return -ENOMEM;
	}
	struct list_query q = {.prefix = prefix};
	return backend_list_all(m->vw->be, &q, see_object, m, &call);
}

/* A file that is in the bucket and still open is what was listed, or it is not known
 * what it is. */
static int check_items(struct dir_move *m)
{
	bool files = false;
	for (size_t i = 0; i < m->n; i++) {
		const struct dir_item *it = &m->items[i];
		files = files || !it->marker;
		if (it->leaf && it->leaf->done &&
		    strcmp(it->leaf->left_etag, it->was.etag) != 0)
			return -EXDEV;
	}
	for (size_t i = 0; i < m->staged.n; i++) {
		const struct staged_leaf *leaf = &m->staged.leaves[i];
		if (leaf->done && !leaf->listed)
			return -EXDEV;
		m->counted += !leaf->listed;
	}
	if (m->counted > m->vw->rename_max)
		return -EXDEV;
	return files && !(m->vw->be->caps & BACKEND_COPY) ? -EXDEV : 0;
}

int dir_collect(struct dir_move *m)
{
	int r = staged_tree_claim(m->vw->sg, m->from, m->vw->rename_max,
				  m->vw->wait_uploads, &m->staged, m->call);
	if (!r)
		r = see_staged(m);
	if (!r)
		r = see_going(m);
	if (!r)
		r = list_objects(m);
	if (!r)
		r = see_local_dirs(m);
	if (!r)
		r = see_top(m);
	if (!r)
		r = see_hidden(m);
	return r ? r : check_items(m);
}
