/* staged_tree.c - see staged_tree.h. */
#include "cache/staged_tree.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cache/staged_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/cond.h"
#include "backends/util/banned.h"

struct staged_row {
	struct row_image image;
};

struct search {
	struct staged_tree *tree;
	const char *dir;
	size_t len;
	uint32_t max;
};

static int collect(void *arg, const char *key, struct staged *st)
{
	struct search *s = arg;
	struct staged_tree *tr = s->tree;
	if (strncmp(key, s->dir, s->len) || key[s->len] != '/')
		return 0;
	if (tr->n == s->max)
		return -EXDEV;
	if (tr->n == tr->alloc) {
		size_t alloc = tr->alloc ? 2 * tr->alloc : 64;
		struct staged_leaf *more = reallocarray(tr->leaves, alloc, sizeof(*more));
		if (!more)
			return -ENOMEM;
		tr->leaves = more;
		tr->alloc = alloc;
	}
	tr->leaves[tr->n++] = (struct staged_leaf){.st = staged_ref(st)};
	return 0;
}

static bool is_sending_locked(const struct staged *st)
{
	while (st && !st->sending)
		st = st->older;
	return st;
}

static int wait_sent(struct staged *st, struct call *call)
{
	struct staging *sg = st->sg;
	int r = 0;
	SCOPED_LOCK(&sg->lock);
	while (is_sending_locked(st) && !r) {
		cond_wait_ms(&sg->changed, &sg->lock, 100);
		r = sg->closing ? -ESHUTDOWN : call_check(call);
	}
	return r;
}

static int claim(struct staged_leaf *leaf, bool wait, struct call *call)
{
	struct staged *st = leaf->st;
	int r = wait ? wait_sent(st, call) : 0;
	if (!r)
		r = staged_freeze(st);
	if (r) {
		staged_unref(STEAL(leaf->st));
		return r;
	}
	SCOPED_LOCK(&st->sg->lock);
	enum staged_state state = staged_get_state(st);
	leaf->key = st->key;
	leaf->local = st->local;
	leaf->done = state == STAGED_DONE;
	leaf->sealed = state == STAGED_SEALED;
	leaf->holds_removal = st->holds_removal;
	if (!leaf->local && state != STAGED_DROPPED) {
		staged_copy_string(leaf->left_etag, sizeof(leaf->left_etag),
				   leaf->done ? st->object.etag : st->base);
		staged_tags_locked(st, st->key, leaf->left_tags);
	}
	/* Two rows of one name do not move: what was closed of it stays (P3), as long as
	 * it is not known what comes of the bytes that are being written. */
	return state == STAGED_CONFLICT || st->older ? -EXDEV : 0;
}

static void let_go(struct staged_leaf *leaf)
{
	struct staged *st = leaf->st;
	free(leaf->row);
	free(leaf->other);
	if (!st)
		return;
	staged_thaw(st, false);
	staged_retire_if_idle(st);
	staged_unref(st);
}

static int by_key(const void *a, const void *b)
{
	const struct staged_leaf *x = a, *y = b;
	return strcmp(x->key, y->key);
}

/* It lost its name, or became the cache's, before it was claimed. */
static void leave_out_unnamed(struct staged_tree *tr)
{
	size_t n = 0;
	for (size_t i = 0; i < tr->n; i++) {
		struct staged_leaf *leaf = &tr->leaves[i];
		if (staged_get_state(leaf->st) == STAGED_DROPPED ||
		    staged_retired(leaf->st))
			let_go(leaf);
		else
			tr->leaves[n++] = *leaf;
	}
	tr->n = n;
}

int staged_tree_claim(struct staging *sg, const char *dir, uint32_t max, bool wait,
		      struct staged_tree *ret, struct call *call)
{
	*ret = (struct staged_tree){.sg = sg};
	struct search s = {.tree = ret, .dir = dir, .len = strlen(dir), .max = max};
	int r = staging_each(sg, collect, &s);
	size_t claimed = 0;
	while (!r && claimed < ret->n)
		r = claim(&ret->leaves[claimed++], wait, call);
	for (size_t i = claimed; i < ret->n; i++)
		staged_unref(ret->leaves[i].st);
	ret->n = claimed;
	if (r)
		return r;
	leave_out_unnamed(ret);
	if (ret->n)
		qsort(ret->leaves, ret->n, sizeof(*ret->leaves), by_key);
	return 0;
}

struct staged_leaf *staged_tree_find(const struct staged_tree *tr, const char *key)
{
	struct staged_leaf wanted = {.key = key};
	return tr->n ? bsearch(&wanted, tr->leaves, tr->n, sizeof(wanted), by_key) : NULL;
}

int staged_leaf_row(struct staged_leaf *leaf, struct journal_change *ret, bool *ret_any)
{
	struct staged *st = leaf->st;
	*ret_any = !leaf->done;
	if (leaf->done)
		return 0;
	leaf->row = calloc(1, sizeof(*leaf->row));
	if (!leaf->row)
		return -ENOMEM;
	struct row_image *image = &leaf->row->image;
	(void)pthread_mutex_lock(&st->sg->lock);
	staged_row_locked(st, image);
	(void)pthread_mutex_unlock(&st->sg->lock);
	image->row.key = leaf->other;
	image->row.base = leaf->base;
	image->row.base_tag = leaf->tags;
	*ret = (struct journal_change){.kind = JOURNAL_PUT_ROW, .row = &image->row};
	return 0;
}

static void rename_locked(struct staged_leaf *leaf)
{
	struct staged *st = leaf->st;
	staged_unmap_locked(st);
	char *old = st->key;
	st->key = leaf->other;
	leaf->key = st->key;
	leaf->other = old;
	st->holds_removal = leaf->holds_removal;
	if (leaf->done)
		st->object = leaf->copy;
	staged_copy_string(st->base, sizeof(st->base), leaf->base);
	staged_copy_string(st->base_tags, sizeof(st->base_tags), leaf->tags);
	/* That never fails in a map that was not empty (map.h). */
	(void)staged_map_locked(st);
}

void staged_tree_rename(struct staged_tree *tr)
{
	SCOPED_LOCK(&tr->sg->lock);
	for (size_t i = 0; i < tr->n; i++)
		rename_locked(&tr->leaves[i]);
}

void staged_tree_release(struct staged_tree *tr)
{
	for (size_t i = 0; i < tr->n; i++)
		let_go(&tr->leaves[i]);
	free(tr->leaves);
	*tr = (struct staged_tree){0};
}
