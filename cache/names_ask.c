/* names_ask.c - questions to the bucket: listings, and whether a name is there.  What
 * is remembered of the answers is names.c's.  See names.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cache/names_impl.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum { EMPTY_PAGES_MAX = 1000 };

/* --- listing --- */

struct listing {
	struct names *nm;
	const char *prefix; /* borrowed: the directory's path and a slash, or "" */
	struct map entries;
	uint64_t began_ns;
	bool any; /* something is there, if only the marker */
	uint64_t hidden;
	struct buf first_hidden;
};

static bool name_is_possible(const char *name, size_t len)
{
	if (!len || len > NAME_MAX_BYTES || memchr(name, '/', len) ||
	    memchr(name, '\0', len))
		return false;
	return strcmp(name, ".") && strcmp(name, "..");
}

static void hide(struct listing *ls, const char *key, size_t len)
{
	if (!ls->hidden++)
		buf_add(&ls->first_hidden, key, len < 200 ? len : 200);
}

static int listing_add(struct listing *ls, const char *name, const struct object *obj)
{
	struct entry *old = names_entry_find(&ls->entries, name);
	if (old && obj) /* the directory wins over the file */
		return 0;
	if (old) {
		map_remove(&ls->entries, &old->node);
		free(old);
	}
	struct entry *e =
		names_entry_new(name, obj ? IS_FILE : IS_DIR, obj, ls->began_ns);
	if (!e)
		return -ENOMEM;
	int r = map_insert(&ls->entries, &e->node, map_hash_string(name));
	if (r)
		free(e);
	return r;
}

static int listing_entry(void *arg, const char *key, size_t key_len,
			 const struct object *obj)
{
	struct listing *ls = arg;
	size_t skip = strlen(ls->prefix);
	ls->any = true;
	if (key_len == skip)
		return 0; /* the directory's own marker */
	char name[NAME_MAX_BYTES + 1];
	size_t len = key_len - skip - (obj ? 0 : 1);
	if (key_len <= skip || !name_is_possible(key + skip, len)) {
		hide(ls, key, key_len);
		return 0;
	}
	memcpy(name, key + skip, len);
	name[len] = '\0';

	struct object known;
	if (obj && !(ls->nm->be->caps & BACKEND_LIST_META)) {
		known = *obj;
		(void)blocks_get_mtime(ls->nm->bl, key, obj->etag, &known.mtime_ns);
		obj = &known;
	}
	return listing_add(ls, name, obj);
}

/* mine stays, theirs (or NULL) goes. */
static void listing_prefer(struct names *nm, struct directory *d, struct listing *ls,
			   struct entry *mine, struct entry *theirs)
{
	map_remove(&d->entries, &mine->node);
	nm->n_entries--;
	if (theirs) {
		map_remove(&ls->entries, &theirs->node);
		free(theirs);
	}
	if (map_insert(&ls->entries, &mine->node, map_hash_string(mine->text)))
		free(mine);
}

/* Carry over what we know better than the listing: what we did ourselves since it
 * began, and the times that the bucket told of the very same versions. */
static void listing_merge(struct names *nm, struct directory *d, struct listing *ls)
{
	struct map_node *node = map_next(&d->entries, NULL);
	while (node) {
		struct map_node *next = map_next(&d->entries, node);
		struct entry *mine = container_of(node, struct entry, node);
		struct entry *theirs = names_entry_find(&ls->entries, mine->text);
		if (mine->local_ns >= ls->began_ns) {
			listing_prefer(nm, d, ls, mine, theirs);
		} else if (theirs && mine->exact && mine->answer == IS_FILE &&
			   theirs->answer == IS_FILE &&
			   !strcmp(mine->etag, theirs->etag)) {
			theirs->mtime_ns = mine->mtime_ns;
			theirs->exact = true;
		}
		node = next;
	}
}

static void listing_install_locked(struct names *nm, struct directory *d,
				   struct listing *ls)
{
	listing_merge(nm, d, ls);
	nm->n_entries -= d->entries.n;
	names_entries_clear(&d->entries);
	d->entries = ls->entries;
	ls->entries = (struct map){0};
	nm->n_entries += d->entries.n;
	d->listed_ns = ls->began_ns;
	if (d->doubted_ns >= ls->began_ns) {
		/* It may tell once more what proved wrong while it was on its way:
		 * good for an answer to whoever asked, not for the next question. */
		d->listed_ns = 0;
		for (struct map_node *node = NULL; (node = map_next(&d->entries, node));)
			container_of(node, struct entry, node)->known_ns = 0;
	}
	names_shrink_locked(nm, d);
}

/* NULL: no key can be that long. */
static char *prefix_of(const char *dir)
{
	char *prefix = NULL;
	if (strlen(dir) >= KEY_SIZE ||
	    asprintf(&prefix, "%s%s", dir, *dir ? "/" : "") < 0)
		return NULL;
	return prefix;
}

static void report_hidden(const struct listing *ls)
{
	if (ls->hidden)
		log_warn("names",
			 "list %s/%s: %llu keys cannot be file names and are not shown "
			 "(the first: \"%s\")",
			 ls->nm->be->name, ls->prefix, (unsigned long long)ls->hidden,
			 ls->first_hidden.data);
}

static int deliver_locked(struct directory *d, names_fn *fn, void *arg)
{
	struct map_node *node = NULL;
	d->used_ns = clock_now_ns();
	while ((node = map_next(&d->entries, node))) {
		const struct entry *e = container_of(node, struct entry, node);
		struct object obj;
		if (e->answer == IS_ABSENT)
			continue;
		if (e->answer == IS_FILE)
			names_entry_object(e, &obj);
		int r = fn(arg, e->text, e->answer == IS_FILE ? &obj : NULL);
		if (r)
			return r;
	}
	return 0;
}

/* The first page that has something in it: a store may send empty ones before. */
static int first_page(const struct list_query *q, char **token, struct listing *ls,
		      struct call *call)
{
	for (int i = 0; i < EMPTY_PAGES_MAX; i++) {
		int r = backend_list(ls->nm->be, q, token, listing_entry, ls, call);
		if (r || ls->any || !*token)
			return r;
	}
	log_error("names", "list %s/%s: the server sends empty pages without end",
		  ls->nm->be->name, ls->prefix);
	return -EIO;
}

/* Ask the bucket for one directory: all of it, delivered to fn, or (fn NULL) its
 * first page only, which tells whether it exists and is often all of it. */
static int ask_listing(struct names *nm, const char *dir, names_fn *fn, void *arg,
		       bool *ret_exists, struct call *call)
{
	CLEANUP_FREE char *prefix = prefix_of(dir);
	if (!prefix)
		return -ENAMETOOLONG;
	struct listing ls = {.nm = nm, .prefix = prefix, .began_ns = clock_now_ns()};
	buf_init(&ls.first_hidden, 256);
	struct list_query q = {.prefix = prefix, .delim = '/'};
	CLEANUP_FREE char *token = NULL;
	int r = fn ? backend_list_all(nm->be, &q, listing_entry, &ls, call)
		   : first_page(&q, &token, &ls, call);
	if (!r) {
		report_hidden(&ls);
		*ret_exists = ls.any;
		SCOPED_LOCK(&nm->lock);
		struct directory *d = token ? NULL : names_dir_get_locked(nm, dir);
		if (d)
			listing_install_locked(nm, d, &ls);
		/* In one breath, so that nothing is forgotten in between. */
		if (fn)
			r = d ? deliver_locked(d, fn, arg) : -ENOMEM;
	}
	names_entries_clear(&ls.entries);
	buf_done(&ls.first_hidden);
	return r;
}

/* --- questions --- */

static int ask_file(struct names *nm, const char *path, struct object *ret,
		    struct call *call)
{
	uint64_t asked_ns = clock_now_ns();
	int r = backend_head(nm->be, path, ret, call);
	if (r)
		return r;
	/* What we uploaded carries the user's mtime, which no listing will tell. */
	if (*ret->tag && !(nm->be->caps & BACKEND_LIST_META))
		blocks_set_mtime(nm->bl, path, ret->etag, ret->mtime_ns);
	names_note(nm, path, IS_FILE, ret, asked_ns);
	return 0;
}

static int ask_dir(struct names *nm, const char *path, struct call *call)
{
	bool exists = false;
	uint64_t asked_ns = clock_now_ns();
	int r = ask_listing(nm, path, NULL, NULL, &exists, call);
	if (r)
		return r;
	if (!exists)
		return -ENOENT;
	names_note(nm, path, IS_DIR, NULL, asked_ns);
	return 0;
}

/* A name with a dot is asked for as a file first, one without as a directory:
 * observations have none, products have one.  So a cold path is mostly one
 * request a part. */
static int ask(struct names *nm, const char *path, const char *name,
	       enum name_kind *ret_kind, struct object *ret_obj, struct call *call)
{
	bool file_first = strchr(name, '.') != NULL;
	uint64_t asked_ns = clock_now_ns();
	int r = -ENOENT;
	for (int turn = 0; turn < 2 && r == -ENOENT; turn++) {
		bool as_file = (turn == 0) == file_first;
		r = as_file ? ask_file(nm, path, ret_obj, call) : ask_dir(nm, path, call);
		if (!r)
			*ret_kind = as_file ? NAME_FILE : NAME_DIR;
	}
	if (r == -ENOENT)
		names_note(nm, path, IS_ABSENT, NULL, asked_ns);
	return r;
}

int names_lookup(struct names *nm, const char *path, enum name_kind *ret_kind,
		 struct object *ret_obj, struct call *call)
{
	if (!*path) {
		*ret_kind = NAME_DIR;
		return 0;
	}
	const char *name;
	CLEANUP_FREE char *dir = names_split(path, &name);
	if (!dir)
		return -ENOMEM;
	int r = names_lookup_known(nm, path, dir, name, ret_kind, ret_obj);
	return r == -EAGAIN && call ? ask(nm, path, name, ret_kind, ret_obj, call) : r;
}

/* Wait until nobody else lists d; then it is ours to list, or it is fresh. */
static struct directory *claim_locked(struct names *nm, const char *path, bool *ret_fresh)
{
	for (;;) {
		struct directory *d = names_dir_get_locked(nm, path);
		if (!d)
			return NULL;
		*ret_fresh = names_fresh(d->listed_ns, nm->conf.ttl_ns);
		if (*ret_fresh || !d->listing)
			return d;
		(void)pthread_cond_wait(&nm->listed, &nm->lock);
	}
}

int names_list(struct names *nm, const char *dir, names_fn *fn, void *arg,
	       struct call *call)
{
	SCOPED_LOCK(&nm->lock);
	struct directory *d = names_dir_find_locked(nm, dir);
	bool is_fresh = d && names_fresh(d->listed_ns, nm->conf.ttl_ns);
	if (!is_fresh && !call)
		return -EAGAIN;
	if (!is_fresh) {
		d = claim_locked(nm, dir, &is_fresh);
		if (!d)
			return -ENOMEM;
	}
	if (is_fresh)
		return deliver_locked(d, fn, arg);

	/* While listing is set nobody frees d. */
	bool exists;
	d->listing = true;
	(void)pthread_mutex_unlock(&nm->lock);
	int r = ask_listing(nm, dir, fn, arg, &exists, call);
	(void)pthread_mutex_lock(&nm->lock);
	d->listing = false;
	(void)pthread_cond_broadcast(&nm->listed);
	return r;
}
