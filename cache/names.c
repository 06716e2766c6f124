/* names.c - see names.h. */
#include "cache/names.h"
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/map.h"
#include "backends/util/banned.h"

enum answer { IS_FILE, IS_DIR, IS_ABSENT };

struct entry {
	struct map_node node; /* in its directory's entries, by name */
	uint64_t size;	      /* bytes */
	int64_t mtime_ns;     /* since the epoch */
	uint64_t known_ns;    /* when the bucket was asked, or we did it; monotonic */
	uint64_t local_ns;    /* when we did it ourselves; 0 = heard from the bucket */
	enum answer answer;
	bool exact;	  /* the mtime is the user's, a listing's may not be */
	const char *etag; /* into text, behind the name */
	char text[];	  /* name, NUL, etag, NUL */
};

struct directory {
	struct map_node node; /* in names.dirs, by path */
	struct map entries;
	uint64_t listed_ns; /* when a complete listing began; 0 = there is none */
	uint64_t used_ns;
	uint64_t doubted_ns; /* when something of it last proved wrong */
	bool listing;	     /* somebody is asking the bucket right now */
	char path[];
};

struct names {
	/* set once */
	struct names_conf conf;
	struct backend *be; /* borrowed */
	struct blocks *bl;  /* borrowed */

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t listed;
	struct map dirs;
	uint64_t n_entries;
};

static bool entry_is(const struct map_node *node, const void *key)
{
	return !strcmp(container_of(node, struct entry, node)->text, key);
}

static bool directory_is(const struct map_node *node, const void *key)
{
	return !strcmp(container_of(node, struct directory, node)->path, key);
}

static struct entry *entry_find(const struct map *entries, const char *name)
{
	struct map_node *node = map_find(entries, map_hash_string(name), entry_is, name);
	return node ? container_of(node, struct entry, node) : NULL;
}

static struct directory *dir_find_locked(struct names *nm, const char *path)
{
	struct map_node *node =
		map_find(&nm->dirs, map_hash_string(path), directory_is, path);
	return node ? container_of(node, struct directory, node) : NULL;
}

static struct entry *entry_new(const char *name, enum answer answer,
			       const struct object *obj, uint64_t known_ns)
{
	size_t name_size = strlen(name) + 1;
	size_t etag_size = (obj ? strlen(obj->etag) : 0) + 1;
	struct entry *e = calloc(1, sizeof(*e) + name_size + etag_size);
	if (!e)
		return NULL;
	memcpy(e->text, name, name_size);
	if (obj)
		memcpy(e->text + name_size, obj->etag, etag_size);
	e->etag = e->text + name_size;
	e->answer = answer;
	e->size = obj ? obj->size : 0;
	e->mtime_ns = obj ? obj->mtime_ns : 0;
	e->known_ns = known_ns;
	return e;
}

static void entry_object(const struct entry *e, struct object *ret)
{
	*ret = (struct object){.size = e->size, .mtime_ns = e->mtime_ns};
	memcpy(ret->etag, e->etag, strlen(e->etag) + 1);
}

static void entries_clear(struct map *entries)
{
	struct map_node *node = map_next(entries, NULL);
	while (node) {
		struct map_node *next = map_next(entries, node);
		free(container_of(node, struct entry, node));
		node = next;
	}
	map_done(entries);
}

static void dir_free_locked(struct names *nm, struct directory *d)
{
	nm->n_entries -= d->entries.n;
	map_remove(&nm->dirs, &d->node);
	entries_clear(&d->entries);
	free(d);
}

/* Give up the directories that were used longest ago, but not keep. */
static void shrink_locked(struct names *nm, const struct directory *keep)
{
	while (nm->n_entries > nm->conf.entries_max) {
		struct directory *oldest = NULL;
		struct map_node *node = NULL;
		while ((node = map_next(&nm->dirs, node))) {
			struct directory *d = container_of(node, struct directory, node);
			if (d != keep && !d->listing && d->entries.n &&
			    (!oldest || d->used_ns < oldest->used_ns))
				oldest = d;
		}
		if (!oldest)
			return;
		dir_free_locked(nm, oldest);
	}
}

static struct directory *dir_get_locked(struct names *nm, const char *path)
{
	struct directory *d = dir_find_locked(nm, path);
	if (!d) {
		size_t size = strlen(path) + 1;
		d = calloc(1, sizeof(*d) + size);
		if (!d)
			return NULL;
		memcpy(d->path, path, size);
		if (map_insert(&nm->dirs, &d->node, map_hash_string(path))) {
			free(d);
			return NULL;
		}
	}
	d->used_ns = clock_now_ns();
	return d;
}

/* Put e (owned from here) in the place of what has its name.  Memory that runs
 * out only costs a question to the bucket later. */
static void entry_store_locked(struct names *nm, struct directory *d, struct entry *e)
{
	struct entry *old = entry_find(&d->entries, e->text);
	if (old) {
		map_remove(&d->entries, &old->node);
		free(old);
		nm->n_entries--;
	}
	if (map_insert(&d->entries, &e->node, map_hash_string(e->text))) {
		free(e);
		d->listed_ns = 0;
		return;
	}
	nm->n_entries++;
}

/* "a/b/c" -> "a/b" (a copy, owned) and "c" (into path). */
static char *split(const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	*ret_name = slash ? slash + 1 : path;
	return strndup(path, slash ? (size_t)(slash - path) : 0);
}

/* asked_ns: when the question was asked; 0 = we did it ourselves, just now. */
static void note(struct names *nm, const char *path, enum answer answer,
		 const struct object *obj, uint64_t asked_ns)
{
	const char *name;
	uint64_t known_ns = asked_ns ? asked_ns : clock_now_ns();
	CLEANUP_FREE char *dir = split(path, &name);
	struct entry *e = dir ? entry_new(name, answer, obj, known_ns) : NULL;
	if (!e) {
		names_forget(nm, path);
		return;
	}
	e->exact = obj != NULL;
	e->local_ns = asked_ns ? 0 : known_ns;

	SCOPED_LOCK(&nm->lock);
	struct directory *d = dir_get_locked(nm, dir);
	struct entry *old = d ? entry_find(&d->entries, name) : NULL;
	/* An answer that was on its way while we wrote says nothing new. */
	if (!d || (asked_ns &&
		   ((old && old->local_ns >= asked_ns) || d->doubted_ns >= asked_ns))) {
		free(e);
		return;
	}
	entry_store_locked(nm, d, e);
	shrink_locked(nm, d);
}

void names_put(struct names *nm, const char *path, const struct object *obj)
{
	note(nm, path, IS_FILE, obj, 0);
}

void names_put_dir(struct names *nm, const char *path)
{
	note(nm, path, IS_DIR, NULL, 0);
}

void names_removed(struct names *nm, const char *path)
{
	note(nm, path, IS_ABSENT, NULL, 0);
}

void names_forget(struct names *nm, const char *path)
{
	const char *name;
	CLEANUP_FREE char *dir = split(path, &name);
	SCOPED_LOCK(&nm->lock);
	struct directory *d = dir ? dir_find_locked(nm, dir) : NULL;
	if (!d)
		return;
	d->listed_ns = 0;
	d->doubted_ns = clock_now_ns();
	struct entry *e = entry_find(&d->entries, name);
	if (e) {
		map_remove(&d->entries, &e->node);
		free(e);
		nm->n_entries--;
	}
}

static bool fresh(uint64_t since_ns, uint64_t ttl_ns)
{
	return since_ns && clock_now_ns() < clock_add(since_ns, ttl_ns);
}

static int entry_answer(const struct entry *e, enum name_kind *ret_kind,
			struct object *ret_obj)
{
	if (e->answer == IS_ABSENT)
		return -ENOENT;
	*ret_kind = e->answer == IS_DIR ? NAME_DIR : NAME_FILE;
	if (e->answer == IS_FILE)
		entry_object(e, ret_obj);
	return 0;
}

/* 0, -ENOENT, or -EAGAIN: it is not known here. */
static int lookup_known(struct names *nm, const char *dir, const char *name,
			enum name_kind *ret_kind, struct object *ret_obj)
{
	SCOPED_LOCK(&nm->lock);
	struct directory *d = dir_find_locked(nm, dir);
	if (!d)
		return -EAGAIN;
	d->used_ns = clock_now_ns();
	struct entry *e = entry_find(&d->entries, name);
	bool complete = fresh(d->listed_ns, nm->conf.ttl_ns);
	uint64_t ttl = e && e->answer == IS_ABSENT && !complete ? nm->conf.negative_ttl_ns
								: nm->conf.ttl_ns;
	if (e && fresh(e->known_ns, ttl))
		return entry_answer(e, ret_kind, ret_obj);
	return complete && !e ? -ENOENT : -EAGAIN;
}

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
	struct entry *old = entry_find(&ls->entries, name);
	if (old && obj) /* the directory wins over the file */
		return 0;
	if (old) {
		map_remove(&ls->entries, &old->node);
		free(old);
	}
	struct entry *e = entry_new(name, obj ? IS_FILE : IS_DIR, obj, ls->began_ns);
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
		struct entry *theirs = entry_find(&ls->entries, mine->text);
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
	entries_clear(&d->entries);
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
	shrink_locked(nm, d);
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
			entry_object(e, &obj);
		int r = fn(arg, e->text, e->answer == IS_FILE ? &obj : NULL);
		if (r)
			return r;
	}
	return 0;
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
		   : backend_list(nm->be, &q, &token, listing_entry, &ls, call);
	if (!r) {
		report_hidden(&ls);
		*ret_exists = ls.any || token;
		SCOPED_LOCK(&nm->lock);
		struct directory *d = token ? NULL : dir_get_locked(nm, dir);
		if (d)
			listing_install_locked(nm, d, &ls);
		/* In one breath, so that nothing is forgotten in between. */
		if (fn)
			r = d ? deliver_locked(d, fn, arg) : -ENOMEM;
	}
	entries_clear(&ls.entries);
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
	note(nm, path, IS_FILE, ret, asked_ns);
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
	note(nm, path, IS_DIR, NULL, asked_ns);
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
		note(nm, path, IS_ABSENT, NULL, asked_ns);
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
	CLEANUP_FREE char *dir = split(path, &name);
	if (!dir)
		return -ENOMEM;
	int r = lookup_known(nm, dir, name, ret_kind, ret_obj);
	return r == -EAGAIN && call ? ask(nm, path, name, ret_kind, ret_obj, call) : r;
}

/* Wait until nobody else lists d; then it is ours to list, or it is fresh. */
static struct directory *claim_locked(struct names *nm, const char *path, bool *ret_fresh)
{
	for (;;) {
		struct directory *d = dir_get_locked(nm, path);
		if (!d)
			return NULL;
		*ret_fresh = fresh(d->listed_ns, nm->conf.ttl_ns);
		if (*ret_fresh || !d->listing)
			return d;
		(void)pthread_cond_wait(&nm->listed, &nm->lock);
	}
}

int names_list(struct names *nm, const char *dir, names_fn *fn, void *arg,
	       struct call *call)
{
	SCOPED_LOCK(&nm->lock);
	struct directory *d = dir_find_locked(nm, dir);
	bool is_fresh = d && fresh(d->listed_ns, nm->conf.ttl_ns);
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

int names_new(const struct names_conf *conf, struct backend *be, struct blocks *bl,
	      struct names **ret)
{
	struct names *nm = calloc(1, sizeof(*nm));
	if (!nm)
		return -ENOMEM;
	nm->conf = *conf;
	nm->be = be;
	nm->bl = bl;
	(void)pthread_mutex_init(&nm->lock, NULL);
	(void)pthread_cond_init(&nm->listed, NULL);
	*ret = nm;
	return 0;
}

void names_free(struct names *nm)
{
	if (!nm)
		return;
	struct map_node *node;
	while ((node = map_next(&nm->dirs, NULL)))
		dir_free_locked(nm, container_of(node, struct directory, node));
	map_done(&nm->dirs);
	(void)pthread_cond_destroy(&nm->listed);
	(void)pthread_mutex_destroy(&nm->lock);
	free(nm);
}
