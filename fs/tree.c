/* tree.c - see tree.h. */
#include "fs/tree.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "backends/util/cond.h"
#include "backends/util/banned.h"

/* Programs open a file, look what it is, and open it again: what was begun for it at the
 * first opening goes on meanwhile. */
enum { CLOSED_KEPT = 16 };

struct tree {
	/* guarded by lock */
	pthread_mutex_t lock;
	struct map by_id, by_path;
	uint64_t last_id;
	struct inode *root;
	struct version *closed[CLOSED_KEPT]; /* references: closed last, a ring */
	uint32_t n_closed;
};

static bool id_is(const struct map_node *node, const void *key)
{
	return container_of(node, struct inode, by_id)->id == *(const uint64_t *)key;
}

/* They follow each other: so do their buckets, and what was made together is near. */
static uint64_t id_hash(uint64_t id)
{
	return id;
}

static bool path_is(const struct map_node *node, const void *key)
{
	return !strcmp(container_of(node, struct inode, by_path)->path, key);
}

static struct inode *find_path_locked(struct tree *tr, const char *path)
{
	struct map_node *node =
		map_find(&tr->by_path, map_hash_string(path), path_is, path);
	return node ? container_of(node, struct inode, by_path) : NULL;
}

static void inode_free(struct inode *in)
{
	staged_unref(in->staged);
	version_unref(in->version);
	(void)pthread_mutex_destroy(&in->lock);
	(void)pthread_cond_destroy(&in->idle);
	free(in->path);
	free(in);
}

static struct inode *inode_new(uint64_t id, const char *path, enum name_kind kind)
{
	struct inode *in = calloc(1, sizeof(*in));
	if (!in)
		return NULL;
	in->id = id;
	in->kind = kind;
	in->refs = 1;
	(void)pthread_mutex_init(&in->lock, NULL);
	cond_init_monotonic(&in->idle);
	in->path = strdup(path);
	if (!in->path) {
		inode_free(in);
		return NULL;
	}
	return in;
}

static void unname_locked(struct tree *tr, struct inode *in)
{
	if (in->named)
		map_remove(&tr->by_path, &in->by_path);
	in->named = false;
}

static int name_locked(struct tree *tr, struct inode *in)
{
	int r = map_insert(&tr->by_path, &in->by_path, map_hash_string(in->path));
	in->named = !r;
	return r;
}

/* Out of the tables when nobody needs it; the caller frees it outside the lock. */
static struct inode *drop_if_unused_locked(struct tree *tr, struct inode *in)
{
	if (in->refs || in->lookups)
		return NULL;
	unname_locked(tr, in);
	map_remove(&tr->by_id, &in->by_id);
	return in;
}

void tree_put(struct tree *tr, struct inode *in)
{
	if (!in)
		return;
	(void)pthread_mutex_lock(&tr->lock);
	in->refs--;
	struct inode *unused = drop_if_unused_locked(tr, in);
	(void)pthread_mutex_unlock(&tr->lock);
	if (unused)
		inode_free(unused);
}

struct inode *tree_get(struct tree *tr, uint64_t id)
{
	SCOPED_LOCK(&tr->lock);
	struct map_node *node = map_find(&tr->by_id, id_hash(id), id_is, &id);
	if (!node)
		return NULL;
	struct inode *in = container_of(node, struct inode, by_id);
	in->refs++;
	return in;
}

struct inode *tree_find(struct tree *tr, const char *path)
{
	SCOPED_LOCK(&tr->lock);
	struct inode *in = find_path_locked(tr, path);
	if (in)
		in->refs++;
	return in;
}

/* --- is it still what we know? --- */

static bool object_is_locked(struct inode *in, const struct object *obj)
{
	struct object mine = in->object;
	if (in->staged && !staged_object(in->staged, &mine))
		return false;
	return mine.size == obj->size && !strcmp(mine.etag, obj->etag);
}

static bool is_still(struct inode *in, const struct view_entry *e)
{
	if (in->kind != e->kind)
		return false;
	if (e->kind == NAME_DIR)
		return true;
	SCOPED_LOCK(&in->lock);
	/* One of us is just giving it other contents: the name stays its own. */
	if (in->busy)
		return true;
	inode_take_over_locked(in);
	if (e->staged && in->staged)
		return e->staged == in->staged;
	struct object obj = e->object;
	if (e->staged && !staged_object(e->staged, &obj))
		return false;
	if (!object_is_locked(in, &obj))
		return false;
	if (!in->staged)
		in->object.mtime_ns = obj.mtime_ns;
	return true;
}

static struct inode *make(struct tree *tr, const char *path, const struct view_entry *e)
{
	struct inode *in = inode_new(0, path, e->kind);
	if (!in)
		return NULL;
	in->staged = e->staged ? staged_ref(e->staged) : NULL;
	in->object = e->object;
	(void)tr;
	return in;
}

/* in takes the name from whoever has it. */
static int install_locked(struct tree *tr, struct inode *in)
{
	struct inode *old = find_path_locked(tr, in->path);
	in->id = ++tr->last_id;
	int r = map_insert(&tr->by_id, &in->by_id, id_hash(in->id));
	if (r)
		return r;
	if (old) {
		unname_locked(tr, old);
		old->superseded = true;
	}
	return name_locked(tr, in);
}

bool tree_superseded(struct tree *tr, struct inode *in)
{
	SCOPED_LOCK(&tr->lock);
	return in->superseded;
}

static struct tree_mark mark_locked(struct tree *tr, const char *path)
{
	struct inode *in = find_path_locked(tr, path);
	if (!in)
		return (struct tree_mark){0};
	SCOPED_LOCK(&in->lock);
	return (struct tree_mark){.id = in->id, .changes = in->changes};
}

struct tree_mark tree_mark(struct tree *tr, const char *path)
{
	SCOPED_LOCK(&tr->lock);
	return mark_locked(tr, path);
}

static int install_if_unchanged(struct tree *tr, const struct tree_mark *mark,
				struct inode *in)
{
	SCOPED_LOCK(&tr->lock);
	struct tree_mark now = mark_locked(tr, in->path);
	if (now.id != mark->id || now.changes != mark->changes)
		return TREE_CHANGED;
	return install_locked(tr, in);
}

int tree_enter(struct tree *tr, const char *path, const struct view_entry *e,
	       const struct tree_mark *mark, struct inode **ret)
{
	struct inode *known = tree_find(tr, path);
	if (known && is_still(known, e)) {
		*ret = known;
		return 0;
	}
	tree_put(tr, known);
	struct inode *in = make(tr, path, e);
	if (!in)
		return -ENOMEM;
	int r = install_if_unchanged(tr, mark, in);
	if (r)
		inode_free(in);
	else
		*ret = in;
	return r;
}

void tree_remember(struct tree *tr, struct inode *in)
{
	SCOPED_LOCK(&tr->lock);
	in->lookups++;
}

void tree_forget(struct tree *tr, uint64_t id, uint64_t n)
{
	struct inode *in = tree_get(tr, id);
	if (!in)
		return;
	(void)pthread_mutex_lock(&tr->lock);
	in->lookups -= n < in->lookups ? n : in->lookups;
	(void)pthread_mutex_unlock(&tr->lock);
	tree_put(tr, in);
}

/* Takes over the reference; the one to be dropped instead, or NULL. */
static struct version *keep_closed_locked(struct tree *tr, struct version *v)
{
	for (size_t i = 0; i < CLOSED_KEPT; i++)
		if (tr->closed[i] == v)
			return v;
	struct version **slot = &tr->closed[tr->n_closed++ % CLOSED_KEPT];
	struct version *oldest = *slot;
	*slot = v;
	return oldest;
}

void tree_opened(struct tree *tr, struct inode *in, int n)
{
	(void)pthread_mutex_lock(&tr->lock);
	in->opens += (uint32_t)n;
	struct version *v = in->opens ? NULL : inode_take_version(in);
	if (v)
		v = keep_closed_locked(tr, v);
	(void)pthread_mutex_unlock(&tr->lock);
	version_unref(v);
}

uint32_t tree_opens(struct tree *tr, struct inode *in)
{
	SCOPED_LOCK(&tr->lock);
	return in->opens;
}

bool tree_named(struct tree *tr, struct inode *in)
{
	SCOPED_LOCK(&tr->lock);
	return in->named;
}

void tree_unname(struct tree *tr, struct inode *in)
{
	SCOPED_LOCK(&tr->lock);
	unname_locked(tr, in);
}

int tree_move(struct tree *tr, struct inode *in, const char *to)
{
	char *path = strdup(to);
	if (!path)
		return -ENOMEM;
	SCOPED_LOCK(&tr->lock);
	struct inode *old = find_path_locked(tr, to);
	if (old)
		unname_locked(tr, old);
	unname_locked(tr, in);
	free(in->path);
	in->path = path;
	return name_locked(tr, in);
}

struct moving {
	struct inode *in; /* under the lock */
	char *path;	  /* owned: its new one */
};

static int collect_locked(struct tree *tr, const char *from, const char *to,
			  struct moving *ret, size_t *ret_n)
{
	size_t len = strlen(from);
	struct map_node *node = NULL;
	while ((node = map_next(&tr->by_path, node))) {
		struct inode *in = container_of(node, struct inode, by_path);
		if (strncmp(in->path, from, len) != 0 ||
		    (in->path[len] && in->path[len] != '/'))
			continue;
		struct moving *mv = &ret[(*ret_n)++];
		mv->in = in;
		if (asprintf(&mv->path, "%s%s", to, in->path + len) < 0) {
			mv->path = NULL;
			return -ENOMEM;
		}
	}
	return 0;
}

static int move_locked(struct tree *tr, struct moving *mv)
{
	struct inode *old = find_path_locked(tr, mv->path);
	if (old)
		unname_locked(tr, old);
	unname_locked(tr, mv->in);
	char *was = mv->in->path;
	mv->in->path = mv->path;
	mv->path = was;
	return name_locked(tr, mv->in);
}

int tree_move_below(struct tree *tr, const char *from, const char *to)
{
	size_t n = 0;
	(void)pthread_mutex_lock(&tr->lock);
	struct moving *all = calloc(tr->by_path.n + 1, sizeof(*all));
	int r = all ? collect_locked(tr, from, to, all, &n) : -ENOMEM;
	for (size_t i = 0; !r && i < n; i++)
		r = move_locked(tr, &all[i]);
	(void)pthread_mutex_unlock(&tr->lock);
	for (size_t i = 0; i < n; i++)
		free(all[i].path);
	free(all);
	return r;
}

/* Nobody else knows fresh. */
static void copy_contents_locked(struct inode *fresh, const struct inode *in)
{
	fresh->staged = in->staged ? staged_ref(in->staged) : NULL;
	fresh->version = in->version ? version_ref(in->version) : NULL;
	fresh->object = in->object;
}

/* tree.lock is held too.  0, or fresh was not needed. */
static int split_locked(struct tree *tr, struct inode *in, struct inode *fresh)
{
	SCOPED_LOCK(&in->lock);
	if (in->io.mode != IOMODE_PASSTHROUGH || in->split)
		return -EALREADY;
	copy_contents_locked(fresh, in);
	int r = install_locked(tr, fresh);
	if (!r)
		in->split = fresh;
	return r;
}

int tree_split(struct tree *tr, struct inode *in, bool expects_write)
{
	CLEANUP_FREE char *path = inode_path(tr, in, NULL);
	struct inode *fresh = path ? inode_new(0, path, in->kind) : NULL;
	if (!fresh)
		return -ENOMEM;
	fresh->io.expects_write = expects_write;
	(void)pthread_mutex_lock(&tr->lock);
	int r = in->named && !strcmp(in->path, path) ? split_locked(tr, in, fresh)
						     : -EALREADY;
	(void)pthread_mutex_unlock(&tr->lock);
	if (r)
		inode_free(fresh);
	return r == -EALREADY ? 0 : r;
}

char *inode_path(struct tree *tr, struct inode *in, bool *ret_named)
{
	SCOPED_LOCK(&tr->lock);
	if (ret_named)
		*ret_named = in->named;
	return strdup(in->path);
}

/* --- the tree --- */

int tree_new(struct tree **ret)
{
	struct tree *tr = calloc(1, sizeof(*tr));
	if (!tr)
		return -ENOMEM;
	(void)pthread_mutex_init(&tr->lock, NULL);
	struct view_entry root = {.kind = NAME_DIR};
	struct tree_mark none = {0};
	int r = tree_enter(tr, "", &root, &none, &tr->root);
	if (r) {
		tree_free(tr);
		return r;
	}
	*ret = tr;
	return 0;
}

void tree_free(struct tree *tr)
{
	if (!tr)
		return;
	struct map_node *node = map_next(&tr->by_id, NULL);
	while (node) {
		struct map_node *next = map_next(&tr->by_id, node);
		inode_free(container_of(node, struct inode, by_id));
		node = next;
	}
	for (size_t i = 0; i < CLOSED_KEPT; i++)
		version_unref(tr->closed[i]);
	map_done(&tr->by_id);
	map_done(&tr->by_path);
	(void)pthread_mutex_destroy(&tr->lock);
	free(tr);
}
