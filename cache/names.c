/* names.c - see names.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cache/names_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

enum { ASKERS_MAX = 32 };

static bool entry_is(const struct map_node *node, const void *key)
{
	return !strcmp(container_of(node, struct entry, node)->text, key);
}

static bool directory_is(const struct map_node *node, const void *key)
{
	return !strcmp(container_of(node, struct directory, node)->path, key);
}

struct entry *names_entry_find(const struct map *entries, const char *name)
{
	struct map_node *node = map_find(entries, map_hash_string(name), entry_is, name);
	return node ? container_of(node, struct entry, node) : NULL;
}

struct directory *names_dir_find_locked(struct names *nm, const char *path)
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

bool names_entry_denies(const struct entry *e, bool dir)
{
	return e->answer == IS_ABSENT || e->answer == (dir ? IS_NO_DIR : IS_NO_FILE);
}

void names_entry_object(const struct entry *e, struct object *ret)
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

void names_count_locked(struct names *nm, struct directory *d)
{
	uint64_t n = d->entries.n + (d->listing ? d->listing->n : 0);
	if (d->lister && d->lister->paused)
		n += d->lister->listing->n;
	nm->n_entries += n - d->counted;
	d->counted = n;
}

static void dir_free_locked(struct names *nm, struct directory *d)
{
	lister_orphan_locked(nm, d);
	nm->n_entries -= d->counted;
	map_remove(&nm->dirs, &d->node);
	entries_clear(&d->entries);
	listing_unref(d->listing);
	free(d);
}

static bool may_go(const struct directory *d, const struct directory *keep)
{
	bool paused = d->lister && d->lister->paused;
	return d != keep && d->pins == (paused ? 1 : 0);
}

/* When the oldest was used, and a quarter of the way from there to the newest. */
static uint64_t old_enough_ns_locked(struct names *nm, const struct directory *keep)
{
	uint64_t oldest = UINT64_MAX, newest = 0;
	struct map_node *node = NULL;
	while ((node = map_next(&nm->dirs, node))) {
		struct directory *d = container_of(node, struct directory, node);
		if (!may_go(d, keep))
			continue;
		oldest = d->used_ns < oldest ? d->used_ns : oldest;
		newest = d->used_ns > newest ? d->used_ns : newest;
	}
	return newest < oldest ? 0 : oldest + (newest - oldest) / 4;
}

/* Give up the directories that were used longest ago, but not keep; many at a time,
 * since each look at all of them costs. */
void names_shrink_locked(struct names *nm, const struct directory *keep)
{
	while (nm->n_entries + nm->dirs.n > nm->conf.entries_max) {
		uint64_t limit_ns = old_enough_ns_locked(nm, keep);
		size_t before = nm->dirs.n;
		struct map_node *node = map_next(&nm->dirs, NULL);
		while (node) {
			struct map_node *next = map_next(&nm->dirs, node);
			struct directory *d = container_of(node, struct directory, node);
			if (may_go(d, keep) && d->used_ns <= limit_ns)
				dir_free_locked(nm, d);
			node = next;
		}
		if (nm->dirs.n == before)
			return;
	}
}

struct directory *names_dir_get_locked(struct names *nm, const char *path)
{
	struct directory *d = names_dir_find_locked(nm, path);
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

static void entry_remove_locked(struct directory *d, struct entry *e)
{
	map_remove(&d->entries, &e->node);
	free(e);
}

/* Put e (owned from here) in the place of what has its name.  Memory that runs
 * out only costs a question to the bucket later. */
static void entry_store_locked(struct names *nm, struct directory *d, struct entry *e)
{
	struct entry *old = names_entry_find(&d->entries, e->text);
	if (old)
		entry_remove_locked(d, old);
	if (map_insert(&d->entries, &e->node, map_hash_string(e->text))) {
		free(e);
		d->listed_ns = 0;
	}
	names_count_locked(nm, d);
}

/* Of an entry that is not newer than the listing this is left: the time that the bucket
 * told of the very same version. */
static void keep_time_locked(struct directory *d, const struct entry *e)
{
	uint32_t no = listing_find(d->listing, e->text);
	struct listed *l = no == LISTING_NONE ? NULL : &d->listing->entries[no];
	if (l && e->exact && e->answer == IS_FILE && !l->dir &&
	    !strcmp(e->etag, listing_etag(d->listing, no))) {
		l->mtime_ns = e->mtime_ns;
		l->exact = true;
	}
}

static void take_over_locked(struct directory *d, struct entry *e)
{
	keep_time_locked(d, e);
	entry_remove_locked(d, e);
}

/* The same for the listing before. */
static void carry_times(const struct listing *from, struct listing *to)
{
	for (uint32_t i = 0; from && i < from->n; i++) {
		if (!from->entries[i].exact)
			continue;
		uint32_t no = listing_find(to, listing_name(from, i));
		if (no == LISTING_NONE || to->entries[no].dir ||
		    strcmp(listing_etag(from, i), listing_etag(to, no)) != 0)
			continue;
		to->entries[no].mtime_ns = from->entries[i].mtime_ns;
		to->entries[no].exact = true;
	}
}

void names_install_locked(struct names *nm, struct directory *d, struct listing *ls,
			  uint64_t began_ns)
{
	carry_times(d->listing, ls);
	listing_unref(d->listing);
	d->listing = listing_ref(ls);
	/* It may tell once more what proved wrong while it was on its way: good for who
	 * asked, not for the next question. */
	d->listed_ns = d->doubted_ns >= began_ns ? 0 : began_ns;
	struct map_node *node = map_next(&d->entries, NULL);
	while (node) {
		struct map_node *next = map_next(&d->entries, node);
		struct entry *e = container_of(node, struct entry, node);
		if (e->known_ns < began_ns)
			take_over_locked(d, e);
		node = next;
	}
	names_count_locked(nm, d);
	names_shrink_locked(nm, d);
}

/* "a/b/c" -> "a/b" (a copy, owned) and "c" (into path). */
char *names_split(const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	*ret_name = slash ? slash + 1 : path;
	return strndup(path, slash ? (size_t)(slash - path) : 0);
}

/* It says nothing against what is known. */
static bool spares(const struct entry *e, const struct entry *old)
{
	return (e->answer == IS_NO_DIR && old->answer == IS_FILE) ||
	       (e->answer == IS_NO_FILE && old->answer == IS_DIR);
}

/* An answer that was on its way while we wrote, or while the directory was listed, says
 * nothing new: of what we wrote nothing but the listing may be left. */
static bool is_late_locked(const struct directory *d, const struct entry *old,
			   const struct entry *e, uint64_t asked_ns)
{
	return (old && old->local_ns >= e->known_ns) || d->doubted_ns >= asked_ns ||
	       (d->listing && d->listed_ns > asked_ns);
}

/* What we put there, or removed, is gone, and now the other kind: so is what a listing
 * from before that has. */
static bool leaves_nothing(const struct entry *e, const struct entry *old)
{
	return e->answer > IS_ABSENT && old->local_ns && old->answer != e->answer;
}

static void enter(struct names *nm, const char *dir, struct entry *e, uint64_t asked_ns)
{
	SCOPED_LOCK(&nm->lock);
	struct directory *d = names_dir_get_locked(nm, dir);
	struct entry *old = d ? names_entry_find(&d->entries, e->text) : NULL;
	bool late = d && asked_ns && is_late_locked(d, old, e, asked_ns);
	if (late && d->listing)
		keep_time_locked(d, e);
	if (!d || late || (old && spares(e, old))) {
		free(e);
		return;
	}
	if (old && leaves_nothing(e, old))
		e->answer = IS_ABSENT;
	entry_store_locked(nm, d, e);
	names_shrink_locked(nm, d);
}

static void note(struct names *nm, const char *path, enum answer answer,
		 const struct object *obj, uint64_t asked_ns, uint64_t known_ns)
{
	const char *name;
	CLEANUP_FREE char *dir = names_split(path, &name);
	struct entry *e = dir ? entry_new(name, answer, obj, known_ns) : NULL;
	if (!e) {
		names_forget(nm, path);
		return;
	}
	e->exact = obj != NULL;
	e->local_ns = asked_ns ? 0 : known_ns;

	enter(nm, dir, e, asked_ns);
	if (!asked_ns)
		keeper_drop(nm, dir);
}

void names_note(struct names *nm, const char *path, enum answer answer,
		const struct object *obj, uint64_t asked_ns)
{
	note(nm, path, answer, obj, asked_ns, asked_ns ? asked_ns : clock_now_ns());
}

void names_note_dir(struct names *nm, const char *path, uint64_t asked_ns,
		    uint64_t listed_ns)
{
	note(nm, path, IS_DIR, NULL, asked_ns, listed_ns);
}

void names_put(struct names *nm, const char *path, const struct object *obj)
{
	names_note(nm, path, IS_FILE, obj, 0);
}

void names_put_dir(struct names *nm, const char *path)
{
	names_note(nm, path, IS_DIR, NULL, 0);
}

void names_removed(struct names *nm, const char *path)
{
	names_note(nm, path, IS_ABSENT, NULL, 0);
}

void names_kind_removed(struct names *nm, const char *path, enum name_kind kind)
{
	names_note(nm, path, kind == NAME_DIR ? IS_NO_DIR : IS_NO_FILE, NULL, 0);
}

static void forget(struct names *nm, const char *dir, const char *name)
{
	SCOPED_LOCK(&nm->lock);
	struct directory *d = names_dir_find_locked(nm, dir);
	if (!d)
		return;
	d->listed_ns = 0;
	d->doubted_ns = clock_now_ns();
	struct entry *e = names_entry_find(&d->entries, name);
	if (e)
		entry_remove_locked(d, e);
	names_count_locked(nm, d);
}

void names_forget(struct names *nm, const char *path)
{
	const char *name;
	CLEANUP_FREE char *dir = names_split(path, &name);
	if (!dir)
		return;
	forget(nm, dir, name);
	keeper_drop(nm, dir);
}

void names_changing(struct names *nm, const char *path)
{
	const char *name;
	CLEANUP_FREE char *dir = names_split(path, &name);
	if (!dir)
		return;
	(void)pthread_mutex_lock(&nm->lock);
	struct directory *d = names_dir_get_locked(nm, dir);
	if (d) {
		d->changing++;
		d->pins++;
	}
	(void)pthread_mutex_unlock(&nm->lock);
	keeper_drop(nm, dir);
}

void names_changed(struct names *nm, const char *path)
{
	const char *name;
	CLEANUP_FREE char *dir = names_split(path, &name);
	if (!dir)
		return;
	SCOPED_LOCK(&nm->lock);
	struct directory *d = names_dir_find_locked(nm, dir);
	if (d && d->changing) {
		d->changing--;
		d->pins--;
	}
}

bool names_fresh(uint64_t since_ns, uint64_t ttl_ns)
{
	return since_ns && clock_now_ns() < clock_add(since_ns, ttl_ns);
}

static int entry_answer(const struct entry *e, enum name_kind *ret_kind,
			struct object *ret_obj)
{
	if (e->answer >= IS_ABSENT)
		return -ENOENT;
	*ret_kind = e->answer == IS_DIR ? NAME_DIR : NAME_FILE;
	if (e->answer == IS_FILE)
		names_entry_object(e, ret_obj);
	return 0;
}

/* One kind of it was removed, and the listing has the other. */
static bool lists_other(const struct listing *ls, const struct entry *e)
{
	uint32_t no = e->answer > IS_ABSENT ? listing_find(ls, e->text) : LISTING_NONE;
	return no != LISTING_NONE && !names_entry_denies(e, ls->entries[no].dir);
}

/* By the listing, or by as much of it as is there.  -EAGAIN: it does not tell. */
static int listed_answer(const struct names *nm, const struct directory *d,
			 const char *name, enum name_kind *ret_kind,
			 struct object *ret_obj, bool complete)
{
	const struct lister *lr = complete ? NULL : d->lister;
	if (!complete && (!lr || !names_fresh(lr->began_ns, nm->conf.ttl_ns) ||
			  d->doubted_ns >= lr->began_ns))
		return -EAGAIN;
	const struct listing *ls = complete ? d->listing : lr->listing;
	uint32_t no = listing_find(ls, name);
	if (no == LISTING_NONE || (!complete && no >= lr->ready))
		return complete ? -ENOENT : -EAGAIN;
	*ret_kind = ls->entries[no].dir ? NAME_DIR : NAME_FILE;
	if (*ret_kind == NAME_FILE)
		listing_object(ls, no, ret_obj);
	return 0;
}

/* By as much as has come of a listing that began after e was heard: a reader was shown
 * that.  Of the very same version the time that the bucket told is left. */
static int later_answer(const struct names *nm, const struct directory *d,
			const struct entry *e, enum name_kind *ret_kind,
			struct object *ret_obj)
{
	const struct lister *lr = d->lister;
	if (!lr || e->known_ns >= lr->began_ns || e->local_ns >= lr->began_ns)
		return -EAGAIN;
	int r = listed_answer(nm, d, e->text, ret_kind, ret_obj, false);
	bool same = !r && e->exact && e->answer == IS_FILE && *ret_kind == NAME_FILE &&
		    !strcmp(e->etag, ret_obj->etag);
	if (same)
		ret_obj->mtime_ns = e->mtime_ns;
	return r;
}

int names_lookup_known(struct names *nm, const char *path, const char *dir,
		       const char *name, enum name_kind *ret_kind, struct object *ret_obj)
{
	SCOPED_LOCK(&nm->lock);
	struct directory *d = names_dir_find_locked(nm, dir);
	if (!d)
		return -EAGAIN;
	d->used_ns = clock_now_ns();
	struct entry *e = names_entry_find(&d->entries, name);
	bool complete = d->listing && names_fresh(d->listed_ns, nm->conf.ttl_ns);
	uint64_t ttl = e && e->answer >= IS_ABSENT && !complete ? nm->conf.negative_ttl_ns
								: nm->conf.ttl_ns;
	int r = e && !complete ? later_answer(nm, d, e, ret_kind, ret_obj) : -EAGAIN;
	if (r != -EAGAIN)
		return r;
	if (e && !(complete && lists_other(d->listing, e)))
		return names_fresh(e->known_ns, ttl) ? entry_answer(e, ret_kind, ret_obj)
						     : -EAGAIN;
	r = listed_answer(nm, d, name, ret_kind, ret_obj, complete);
	return r == -ENOENT && backend_hides(nm->be, path) ? -EAGAIN : r;
}

uint64_t names_count(struct names *nm)
{
	SCOPED_LOCK(&nm->lock);
	return nm->n_entries + nm->dirs.n;
}

static void stop_listers(struct names *nm)
{
	SCOPED_LOCK(&nm->lock);
	nm->stopping = true;
	for (struct lister *lr = nm->listers; lr; lr = lr->next)
		atomic_store(&lr->cancelled, true);
}

int names_new(const struct names_conf *conf, struct backend *be, struct blocks *bl,
	      struct names **ret)
{
	struct pool_conf pc = {.name = "list", .threads_max = ASKERS_MAX};
	struct names *nm = calloc(1, sizeof(*nm));
	if (!nm)
		return -ENOMEM;
	nm->conf = *conf;
	nm->be = be;
	nm->bl = bl;
	(void)pthread_mutex_init(&nm->lock, NULL);
	cond_init_monotonic(&nm->arrived);
	int r = pool_new(&pc, &nm->askers);
	if (!r)
		r = keeper_new(nm);
	if (r) {
		names_free(nm);
		return r;
	}
	*ret = nm;
	return 0;
}

void names_free(struct names *nm)
{
	if (!nm)
		return;
	stop_listers(nm);
	pool_free(nm->askers);
	keeper_free(nm);
	struct map_node *node;
	while ((node = map_next(&nm->dirs, NULL)))
		dir_free_locked(nm, container_of(node, struct directory, node));
	map_done(&nm->dirs);
	(void)pthread_cond_destroy(&nm->arrived);
	(void)pthread_mutex_destroy(&nm->lock);
	free(nm);
}
