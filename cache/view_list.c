/* view_list.c - one directory as the user sees it.  See view.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cache/view_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

/* Names already delivered, so that a staged file is not shown twice. */
struct listing {
	struct view *vw;
	const char *dir;
	struct map seen;
	view_list_fn *fn;
	void *arg;
};

struct seen {
	struct map_node node;
	enum name_kind kind;
	bool here; /* on this disk: no removal is meant for it */
	bool gone; /* the bucket still has it, the user has not */
	char name[];
};

static bool seen_is(const struct map_node *node, const void *key)
{
	return !strcmp(container_of(node, struct seen, node)->name, key);
}

/* What was seen first stays: as in view_lookup. */
static int see(struct listing *ls, const char *name, size_t len, enum name_kind kind,
	       bool here)
{
	struct seen *s = calloc(1, sizeof(*s) + len + 1);
	if (!s)
		return -ENOMEM;
	memcpy(s->name, name, len);
	s->kind = kind;
	s->here = here;
	uint64_t hash = map_hash_string(s->name);
	struct map_node *old = map_find(&ls->seen, hash, seen_is, s->name);
	if (old) {
		free(s);
		return 0;
	}
	int r = map_insert(&ls->seen, &s->node, hash);
	if (r)
		free(s);
	return r;
}

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

static int see_staged(void *arg, const char *key, struct staged *st)
{
	struct listing *ls = arg;
	const char *name;
	enum name_kind kind;
	/* In the bucket, and known to be: see find_staged of view.c. */
	if (staged_get_state(st) == STAGED_DONE && !staged_writers(st))
		return 0;
	size_t len = child_of(ls->dir, key, &name, &kind);
	return len ? see(ls, name, len, kind, true) : 0;
}

static int see_named(void *arg, const char *name, const struct object *obj)
{
	return see(arg, name, strlen(name), obj ? NAME_FILE : NAME_DIR, false);
}

static int see_local_dirs(struct listing *ls)
{
	SCOPED_LOCK(&ls->vw->lock);
	struct map_node *node = NULL;
	while ((node = map_next(&ls->vw->local_dirs, node))) {
		const char *name;
		enum name_kind kind;
		const char *path = container_of(node, struct local_dir, node)->path;
		size_t len = child_of(ls->dir, path, &name, &kind);
		int r = len ? see(ls, name, len, NAME_DIR, true) : 0;
		if (r)
			return r;
	}
	return 0;
}

static char *join(const char *dir, const char *name)
{
	char *path = NULL;
	return asprintf(&path, "%s%s%s", dir, *dir ? "/" : "", name) < 0 ? NULL : path;
}

static int mark_removed(struct listing *ls)
{
	struct map_node *node = NULL;
	while ((node = map_next(&ls->seen, node))) {
		struct seen *s = container_of(node, struct seen, node);
		if (s->here)
			continue;
		CLEANUP_FREE char *path = join(ls->dir, s->name);
		bool marker_gone;
		if (!path)
			return -ENOMEM;
		bool gone = view_is_removed(ls->vw, path, &marker_gone);
		s->gone = s->kind == NAME_DIR ? marker_gone : gone;
	}
	return 0;
}

static int deliver(struct listing *ls)
{
	struct map_node *node = NULL;
	while ((node = map_next(&ls->seen, node))) {
		struct seen *s = container_of(node, struct seen, node);
		int r = s->gone ? 0 : ls->fn(ls->arg, s->name, s->kind);
		if (r)
			return r;
	}
	return 0;
}

/* This disk first: what goes from here to the bucket meanwhile is seen here, and not
 * missed on both sides. */
static int collect(struct listing *ls, struct call *call)
{
	int r = staging_each(ls->vw->sg, see_staged, ls);
	if (!r)
		r = see_local_dirs(ls);
	if (!r && !view_is_local(ls->vw, ls->dir))
		r = names_list(ls->vw->nm, ls->dir, see_named, ls, call);
	if (!r)
		r = mark_removed(ls);
	return r;
}

int view_list(struct view *vw, const char *dir, view_list_fn *fn, void *arg,
	      struct call *call)
{
	struct listing ls = {.vw = vw, .dir = dir, .fn = fn, .arg = arg};
	int r = collect(&ls, call);
	if (!r)
		r = deliver(&ls);
	for (struct map_node *node = map_next(&ls.seen, NULL); node;) {
		struct map_node *next = map_next(&ls.seen, node);
		free(container_of(node, struct seen, node));
		node = next;
	}
	map_done(&ls.seen);
	return r;
}
