/* mast_seen.c - see mast_seen.h. */
#include "backends/mast_seen.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "backends/util/map.h"
#include "backends/util/banned.h"

enum { ANSWER_BYTES_MAX = 8 << 20, ENTRIES_FIRST = 1 };

struct entry {
	uint64_t size;
	int64_t mtime_ns;
	uint32_t name_at, etag_at; /* in text; the limit of it fits */
	bool is_dir;
};

struct mast_answer {
	/* set once */
	enum mast_kind kind;
	char *key; /* owned */
	uint64_t asked_ns, hash;
	/* changed only until it is kept */
	struct buf text; /* names and etags, each with a NUL */
	struct entry *entries;
	size_t n, alloc;
	/* atomic */
	_Atomic uint32_t count;
	/* guarded by the memory's lock */
	struct map_node node;
	struct mast_answer *newer, *older;
};

struct mast_seen {
	uint64_t bytes_max; /* set once */
	pthread_mutex_t lock;
	/* guarded by lock */
	struct map answers;
	struct mast_answer *newest, *oldest;
	uint64_t bytes;
};

/* --- one answer --- */

static uint64_t hash_of(enum mast_kind kind, const char *key)
{
	return map_hash_string(key) ^ map_hash_u64((uint64_t)kind + 1);
}

struct mast_answer *mast_answer_new(enum mast_kind kind, const char *key,
				    uint64_t asked_ns)
{
	struct mast_answer *a = calloc(1, sizeof *a);
	if (!a)
		return NULL;
	a->key = strdup(key);
	if (!a->key) {
		free(a);
		return NULL;
	}
	a->kind = kind;
	a->asked_ns = asked_ns;
	a->hash = hash_of(kind, key);
	buf_init(&a->text, ANSWER_BYTES_MAX);
	atomic_init(&a->count, 1);
	return a;
}

void mast_answer_drop(struct mast_answer **a)
{
	if (*a && atomic_fetch_sub(&(*a)->count, 1) == 1) {
		buf_done(&(*a)->text);
		free((*a)->entries);
		free((*a)->key);
		free(*a);
	}
	*a = NULL;
}

static const char *name_of(const struct mast_answer *a, size_t i)
{
	return a->text.data + a->entries[i].name_at;
}

static int make_room(struct mast_answer *a)
{
	if (a->n < a->alloc)
		return 0;
	size_t alloc = a->alloc ? a->alloc * 2 : ENTRIES_FIRST;
	if (alloc > ANSWER_BYTES_MAX / sizeof *a->entries)
		return -EMSGSIZE;
	struct entry *entries = reallocarray(a->entries, alloc, sizeof *entries);
	if (!entries)
		return -ENOMEM;
	a->entries = entries;
	a->alloc = alloc;
	return 0;
}

int mast_answer_add(struct mast_answer *a, const char *name, const struct object *obj)
{
	if (a->n && strcmp(name_of(a, a->n - 1), name) >= 0)
		return -EINVAL;
	int r = make_room(a);
	if (r)
		return r;
	struct entry e = {.is_dir = !obj, .name_at = (uint32_t)a->text.len};
	buf_add(&a->text, name, strlen(name) + 1);
	e.etag_at = (uint32_t)a->text.len;
	buf_add(&a->text, obj ? obj->etag : "", obj ? strlen(obj->etag) + 1 : 1);
	if (obj) {
		e.size = obj->size;
		e.mtime_ns = obj->mtime_ns;
	}
	r = buf_error(&a->text);
	if (!r)
		a->entries[a->n++] = e;
	return r;
}

int mast_answer_append(struct mast_answer *a, const struct mast_answer *more)
{
	for (size_t i = 0; i < more->n; i++) {
		struct object obj;
		bool is_dir;
		const char *name = mast_answer_entry(more, i, &obj, &is_dir);
		int r = mast_answer_add(a, name, is_dir ? NULL : &obj);
		if (r)
			return r;
	}
	return 0;
}

uint64_t mast_answer_asked_ns(const struct mast_answer *a)
{
	return a->asked_ns;
}

size_t mast_answer_count(const struct mast_answer *a)
{
	return a->n;
}

const char *mast_answer_entry(const struct mast_answer *a, size_t i, struct object *ret,
			      bool *ret_dir)
{
	const struct entry *e = &a->entries[i];
	const char *etag = a->text.data + e->etag_at;
	*ret = (struct object){.size = e->size, .mtime_ns = e->mtime_ns};
	memcpy(ret->etag, etag, strlen(etag) + 1);
	*ret_dir = e->is_dir;
	return name_of(a, i);
}

int mast_answer_find(const struct mast_answer *a, const char *name, struct object *ret)
{
	size_t from = 0, to = a->n;
	while (from < to) {
		size_t mid = from + (to - from) / 2;
		int order = strcmp(name_of(a, mid), name);
		bool is_dir;
		if (!order) {
			(void)mast_answer_entry(a, mid, ret, &is_dir);
			return is_dir ? -ENOENT : 0;
		}
		if (order < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return -ENOENT;
}

static uint64_t bytes_of(const struct mast_answer *a)
{
	return sizeof *a + strlen(a->key) + 1 + a->text.alloc +
	       a->alloc * sizeof *a->entries;
}

/* --- the memory --- */

struct wanted {
	enum mast_kind kind;
	const char *key;
};

static bool is_wanted(const struct map_node *node, const void *key)
{
	const struct mast_answer *a = container_of(node, struct mast_answer, node);
	const struct wanted *w = key;
	return a->kind == w->kind && !strcmp(a->key, w->key);
}

static struct mast_answer *find_locked(struct mast_seen *seen, enum mast_kind kind,
				       const char *key)
{
	struct wanted w = {kind, key};
	struct map_node *node =
		map_find(&seen->answers, hash_of(kind, key), is_wanted, &w);
	return node ? container_of(node, struct mast_answer, node) : NULL;
}

static void unlink_locked(struct mast_seen *seen, struct mast_answer *a)
{
	*(a->newer ? &a->newer->older : &seen->newest) = a->older;
	*(a->older ? &a->older->newer : &seen->oldest) = a->newer;
	a->newer = a->older = NULL;
}

static void link_locked(struct mast_seen *seen, struct mast_answer *a)
{
	a->older = seen->newest;
	*(a->older ? &a->older->newer : &seen->oldest) = a;
	seen->newest = a;
}

static void forget_locked(struct mast_seen *seen, struct mast_answer *a)
{
	unlink_locked(seen, a);
	map_remove(&seen->answers, &a->node);
	seen->bytes -= bytes_of(a);
	mast_answer_drop(&a);
}

int mast_seen_new(uint64_t bytes_max, struct mast_seen **ret)
{
	struct mast_seen *seen = calloc(1, sizeof *seen);
	if (!seen)
		return -ENOMEM;
	(void)pthread_mutex_init(&seen->lock, NULL);
	seen->bytes_max = bytes_max;
	*ret = seen;
	return 0;
}

void mast_seen_free(struct mast_seen *seen)
{
	if (!seen)
		return;
	while (seen->newest)
		forget_locked(seen, seen->newest);
	map_done(&seen->answers);
	(void)pthread_mutex_destroy(&seen->lock);
	free(seen);
}

void mast_seen_keep(struct mast_seen *seen, struct mast_answer *a)
{
	SCOPED_LOCK(&seen->lock);
	struct mast_answer *old = find_locked(seen, a->kind, a->key);
	if (old)
		forget_locked(seen, old);
	if (map_insert(&seen->answers, &a->node, a->hash)) {
		mast_answer_drop(&a);
		return;
	}
	link_locked(seen, a);
	seen->bytes += bytes_of(a);
	while (seen->bytes > seen->bytes_max)
		forget_locked(seen, seen->oldest);
}

struct mast_answer *mast_seen_get(struct mast_seen *seen, enum mast_kind kind,
				  const char *key)
{
	SCOPED_LOCK(&seen->lock);
	struct mast_answer *a = find_locked(seen, kind, key);
	if (!a)
		return NULL;
	unlink_locked(seen, a);
	link_locked(seen, a);
	atomic_fetch_add(&a->count, 1);
	return a;
}

void mast_seen_forget(struct mast_seen *seen, enum mast_kind kind, const char *key)
{
	SCOPED_LOCK(&seen->lock);
	struct mast_answer *a = find_locked(seen, kind, key);
	if (a)
		forget_locked(seen, a);
}

uint64_t mast_seen_bytes(struct mast_seen *seen)
{
	SCOPED_LOCK(&seen->lock);
	return seen->bytes;
}
