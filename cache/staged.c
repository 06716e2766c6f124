/* staged.c - the set of staged files: making, finding, retiring.
 * See staged.h for the states and the invariants. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cache/staged_impl.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "cache/local_only.h"
#include "backends/util/banned.h"

void staged_copy_string(char *dst, size_t size, const char *src)
{
	(void)snprintf(dst, size, "%s", src);
}

static bool staged_is(const struct map_node *node, const void *key)
{
	return !strcmp(container_of(node, struct staged, node)->key, key);
}

struct staged *staged_find_locked(struct staging *sg, const char *key)
{
	struct map_node *node =
		map_find(&sg->by_key, map_hash_string(key), staged_is, key);
	return node ? container_of(node, struct staged, node) : NULL;
}

struct staged *staged_find(struct staging *sg, const char *key)
{
	SCOPED_LOCK(&sg->lock);
	struct staged *st = staged_find_locked(sg, key);
	return st ? staged_ref(st) : NULL;
}

struct staged *staged_ref(struct staged *st)
{
	atomic_fetch_add(&st->refs, 1);
	return st;
}

void staged_unref(struct staged *st)
{
	if (!st || atomic_fetch_sub(&st->refs, 1) != 1)
		return;
	staged_refund(st, 0);
	if (atomic_load(&st->nameless))
		(void)unlink(st->path);
	early_free(st);
	if (st->fd >= 0)
		(void)close(st->fd);
	staged_unref(st->older);
	(void)pthread_rwlock_destroy(&st->io);
	(void)pthread_mutex_destroy(&st->fd_lock);
	free(st->path);
	free(st->key);
	free(st);
}

/* The map holds a reference to what it has. */
int staged_map_locked(struct staged *st)
{
	int r = map_insert(&st->sg->by_key, &st->node, map_hash_string(st->key));
	if (!r) {
		st->mapped = true;
		(void)staged_ref(st);
	}
	return r;
}

void staged_unmap_locked(struct staged *st)
{
	if (!st->mapped)
		return;
	map_remove(&st->sg->by_key, &st->node);
	st->mapped = false;
	staged_unref(st);
}

void staged_claim_locked(struct staged *st)
{
	while (st->busy)
		(void)pthread_cond_wait(&st->sg->changed, &st->sg->lock);
	st->busy = true;
}

void staged_unclaim_locked(struct staged *st)
{
	st->busy = false;
	staged_submit_locked(st);
	(void)pthread_cond_broadcast(&st->sg->changed);
}

void staged_set_state_locked(struct staged *st, enum staged_state state)
{
	atomic_store(&st->state, (int)state);
	(void)pthread_cond_broadcast(&st->sg->changed);
}

enum staged_state staged_get_state(const struct staged *st)
{
	return (enum staged_state)atomic_load(&st->state);
}

void staged_row_locked(const struct staged *st, struct row_image *ret)
{
	static const enum row_state states[] = {
		[STAGED_OPEN] = ROW_OPEN,	  [STAGED_SEALED] = ROW_SEALED,
		[STAGED_CONFLICT] = ROW_CONFLICT, [STAGED_DONE] = ROW_OPEN,
		[STAGED_DROPPED] = ROW_OPEN,
	};
	uint64_t size;
	int64_t mtime_ns;
	staged_stat((struct staged *)(uintptr_t)st, &size, &mtime_ns);
	memcpy(ret->base, st->base, sizeof(ret->base));
	memcpy(ret->base_tags, st->base_tags, sizeof(ret->base_tags));
	ret->row = (struct journal_row){
		.id = st->id,
		.key = st->key,
		.state = states[staged_get_state(st)],
		.local = st->local,
		.synced = st->synced,
		.mtime_set = atomic_load(&st->mtime_set),
		.torn = atomic_load(&st->torn) && !st->local,
		.size = size,
		.base = ret->base,
		.tag = st->tag,
		.base_tag = ret->base_tags,
		.upload_id = "",
	};
}

void staged_tags_locked(const struct staged *st, const char *key, char ret[TAGS_SIZE])
{
	staged_copy_string(ret, TAGS_SIZE, st->base_tags);
	if (st->uncertain && st->uncertain_key == map_hash_string(key))
		tags_add(ret, st->tag);
}

/* Whichever of its generations the next mount sends first. */
int staged_expect(struct staged *st, const char *tag)
{
	int r = 0;
	for (struct staged *at = st; !r && at; at = at->older) {
		struct row_image image;
		(void)pthread_mutex_lock(&at->sg->lock);
		enum staged_state state = staged_get_state(at);
		bool has_row = state != STAGED_DONE && state != STAGED_DROPPED;
		if (has_row)
			tags_add(at->base_tags, tag);
		staged_row_locked(at, &image);
		(void)pthread_mutex_unlock(&at->sg->lock);
		struct journal_change c = {.kind = JOURNAL_PUT_ROW, .row = &image.row};
		r = has_row ? journal_commit(at->sg->jn, &c, 1, true) : 0;
	}
	return r;
}

bool staging_is_local(const struct staging *sg, const char *key)
{
	return local_only_match(sg->local_only, key);
}

enum local_only staging_local_kind(const struct staging *sg, const char *key)
{
	return local_only_kind(sg->local_only, key);
}

int staging_each(struct staging *sg, staged_fn *fn, void *arg)
{
	SCOPED_LOCK(&sg->lock);
	struct map_node *node = NULL;
	while ((node = map_next(&sg->by_key, node))) {
		struct staged *st = container_of(node, struct staged, node);
		int r = fn(arg, st->key, st);
		if (r)
			return r;
	}
	return 0;
}

struct below {
	const char *dir;
	size_t len;
};

static int is_below(void *arg, const char *key, struct staged *st)
{
	const struct below *b = arg;
	bool in = !b->len || (!strncmp(key, b->dir, b->len) && key[b->len] == '/');
	return in && !staged_is_over(st);
}

bool staging_none(struct staging *sg)
{
	SCOPED_LOCK(&sg->lock);
	return !sg->by_key.n;
}

bool staging_has_below(struct staging *sg, const char *dir)
{
	struct below b = {.dir = dir, .len = strlen(dir)};
	return staging_each(sg, is_below, &b) != 0;
}

int staged_alloc(struct staging *sg, uint64_t id, const char *key, struct staged **ret)
{
	struct staged *st = calloc(1, sizeof(*st));
	if (!st)
		return -ENOMEM;
	st->sg = sg;
	st->id = id;
	st->fd = -1;
	atomic_store(&st->refs, 1);
	(void)pthread_rwlock_init(&st->io, NULL);
	(void)pthread_mutex_init(&st->fd_lock, NULL);
	st->key = strdup(key);
	if (!st->key ||
	    asprintf(&st->path, "%s/%llu", sg->dir, (unsigned long long)id) < 0) {
		st->path = NULL;
		staged_unref(st);
		return -ENOMEM;
	}
	*ret = st;
	return 0;
}

/* -EEXIST is not logged. */
static int open_new(struct staged *st)
{
	st->fd = open(st->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (st->fd >= 0)
		return 0;
	int r = -errno;
	if (r == -EEXIST)
		return r;
	log_error("journal", "create %s for %s: %s", st->path, st->key, strerror(-r));
	return r;
}

/* What the new file replaces: the version that the user sees, or the one whose
 * removal was on its way. */
static void take_base(struct staged *st, const struct object *base)
{
	if (base)
		staged_copy_string(st->base, sizeof(st->base), base->etag);
	/* What the bucket has under a local name is changed there. */
	st->local = !base && staging_is_local(st->sg, st->key);
	if (!st->local && !base)
		st->holds_removal =
			removal_take(st->sg->rm, st->key, st->base, st->base_tags);
}

static int commit_new(struct staged *st)
{
	struct row_image image;
	(void)pthread_mutex_lock(&st->sg->lock);
	staged_row_locked(st, &image); /* nobody else knows st yet */
	(void)pthread_mutex_unlock(&st->sg->lock);
	/* Of an ordinary name that was neither closed nor synced all that the next mount
	 * does is tell of it. */
	if (!image.row.local)
		return journal_post_row(st->sg->jn, &image.row);
	struct journal_change c = {.kind = JOURNAL_PUT_ROW, .row = &image.row};
	return journal_commit(st->sg->jn, &c, 1, false);
}

int staged_prepare(struct staging *sg, const char *key, struct staged **ret)
{
	enum { TRIES = 1000 };
	struct staged *st = NULL;
	int r = -EEXIST;
	/* A file can outlive its id, see journal_new_id: it is left alone. */
	for (int i = 0; r == -EEXIST && i < TRIES; i++) {
		staged_unref(STEAL(st));
		r = staged_alloc(sg, journal_new_id(sg->jn), key, &st);
		if (!r)
			r = open_new(st);
	}
	if (r) {
		staged_unref(st);
		return r;
	}
	atomic_store(&st->nameless, true);
	atomic_store(&st->dirty, true);
	*ret = st;
	return 0;
}

int staged_enlist(struct staged *st, const struct object *base)
{
	struct staging *sg = st->sg;
	take_base(st, base);
	int r = commit_new(st);
	if (!r) {
		SCOPED_LOCK(&sg->lock);
		/* An earlier file of this name gives way: it is in the bucket, or st
		 * is its next generation and holds it. */
		struct staged *old = staged_find_locked(sg, st->key);
		if (old)
			staged_unmap_locked(old);
		r = staged_map_locked(st);
		staged_catch_up_locked(st);
	}
	if (!r)
		atomic_store(&st->nameless, false);
	else if (st->holds_removal)
		removal_release(sg->rm, st->key);
	return r;
}

int staged_create(struct staging *sg, const char *key, const struct object *base,
		  struct staged **ret)
{
	struct staged *st = NULL;
	int r = staged_prepare(sg, key, &st);
	if (r)
		return r;
	r = staged_enlist(st, base);
	if (r)
		staged_unref(st);
	else
		*ret = st;
	return r;
}

/* --- retiring --- */

/* The kernel may remember the inode for long, and with it st: a descriptor of each file
 * that was ever written, which no eviction could punch holes into. */
static void close_file(struct staged *st)
{
	staged_stat(st, &st->last_bytes, &st->last_mtime_ns);
	SCOPED_LOCK(&st->fd_lock);
	if (st->fd >= 0)
		(void)close(st->fd);
	st->fd = -1;
}

static void adopt(struct staged *st)
{
	struct staging *sg = st->sg;
	struct version *v = NULL;
	(void)pthread_rwlock_wrlock(&st->io);
	if (!version_get(sg->bl, st->key, &st->object, &v))
		/* Without room it is fetched when it is read next. */
		(void)blocks_adopt(sg->bl, v, st->path);
	else
		(void)unlink(st->path);
	atomic_store(&st->retired, true);
	close_file(st);
	(void)pthread_rwlock_unlock(&st->io);
	version_unref(v);
}

void staged_retire_if_idle(struct staged *st)
{
	struct staging *sg = st->sg;
	(void)pthread_mutex_lock(&sg->lock);
	bool idle = staged_get_state(st) == STAGED_DONE && !st->busy &&
		    !atomic_load(&st->writers) && !atomic_load(&st->retired);
	if (idle)
		staged_claim_locked(st);
	(void)pthread_mutex_unlock(&sg->lock);
	if (!idle)
		return;

	adopt(st);
	(void)staged_ref(st); /* the map's may be the last */
	(void)pthread_mutex_lock(&sg->lock);
	staged_unmap_locked(st);
	staged_unclaim_locked(st);
	(void)pthread_mutex_unlock(&sg->lock);
	staged_refund(st, 0);
	staged_unref(st);
}

/* Its bytes stay for who has it open, and are never the object's again. */
static void disown_locked(struct staged *st)
{
	if (staged_get_state(st) != STAGED_DONE || staged_retired(st))
		return;
	staged_set_state_locked(st, STAGED_DROPPED);
	(void)unlink(st->path);
	staged_unmap_locked(st);
}

void staged_disown(struct staged *st)
{
	SCOPED_LOCK(&st->sg->lock);
	staged_claim_locked(st);
	disown_locked(st);
	staged_unclaim_locked(st);
}

void staging_lose_name(struct staging *sg, const char *key)
{
	(void)pthread_mutex_lock(&sg->lock);
	struct staged *st = staged_find_locked(sg, key);
	if (st && staged_get_state(st) != STAGED_DONE)
		st = NULL;
	if (st)
		(void)staged_ref(st); /* the map's may be the last */
	/* What is being handed to the cache at this moment is its already. */
	if (st && st->busy)
		staged_unmap_locked(st);
	else if (st)
		disown_locked(st);
	(void)pthread_mutex_unlock(&sg->lock);
	staged_unref(st);
}

static void retire_main(void *arg)
{
	struct staged *st = arg;
	staged_retire_if_idle(st);
	staged_unref(st);
}

void staged_retire_later(struct staged *st)
{
	if (staged_get_state(st) != STAGED_DONE)
		return;
	if (pool_submit(st->sg->jobs, PRIO_HINT, retire_main, staged_ref(st)))
		retire_main(st);
}

void staged_add_writers(struct staged *st, int n)
{
	atomic_fetch_add(&st->writers, n);
}

int staged_writers(const struct staged *st)
{
	return atomic_load(&st->writers);
}

bool staged_is_over(const struct staged *st)
{
	return staged_get_state(st) == STAGED_DONE && !staged_writers(st);
}

bool staged_retired(const struct staged *st)
{
	return atomic_load(&st->retired);
}

bool staged_get_local(const struct staged *st)
{
	SCOPED_LOCK(&st->sg->lock);
	return st->local;
}

bool staged_object(struct staged *st, struct object *ret)
{
	SCOPED_LOCK(&st->sg->lock);
	if (staged_get_state(st) != STAGED_DONE)
		return false;
	*ret = st->object;
	return true;
}

const char *staged_state_name(const struct staged *st)
{
	SCOPED_LOCK(&st->sg->lock);
	switch (staged_get_state(st)) {
	case STAGED_OPEN:
		return st->local ? "local" : "staged";
	case STAGED_SEALED:
		return st->sending ? "uploading" : "waiting";
	case STAGED_CONFLICT:
		return "conflict";
	case STAGED_DONE:
		return "clean";
	default:
		return "removed";
	}
}
