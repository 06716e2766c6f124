/* staged.c - the set of staged files: making, finding, loading, retiring.
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
	atomic_fetch_sub(&st->sg->used_bytes, atomic_load(&st->charged_bytes));
	if (atomic_load(&st->nameless))
		(void)unlink(st->path);
	if (st->fd >= 0)
		(void)close(st->fd);
	staged_unref(st->older);
	(void)pthread_rwlock_destroy(&st->io);
	free(st->upload_id);
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
		.size = size,
		.base = ret->base,
		.tag = st->tag,
		.base_tag = ret->base_tags,
		.upload_id = st->upload_id ? st->upload_id : "",
	};
}

void staged_tags_locked(const struct staged *st, const char *key, char ret[TAGS_SIZE])
{
	staged_copy_string(ret, TAGS_SIZE, st->base_tags);
	if (st->uncertain && st->uncertain_key == map_hash_string(key))
		tags_add(ret, st->tag);
}

bool staging_is_local(const struct staging *sg, const char *key)
{
	return local_only_match(sg->local_only, key);
}

uint64_t staging_room(const struct staging *sg)
{
	uint64_t used = atomic_load(&sg->used_bytes);
	return used < sg->conf.max_bytes ? sg->conf.max_bytes - used : 0;
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
	(void)st;
	return !b->len || (!strncmp(key, b->dir, b->len) && key[b->len] == '/');
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
	st->local = staging_is_local(st->sg, st->key);
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
	atomic_fetch_sub(&sg->used_bytes, atomic_exchange(&st->charged_bytes, 0));
	staged_unref(st);
}

void staged_add_writers(struct staged *st, int n)
{
	atomic_fetch_add(&st->writers, n);
}

int staged_writers(const struct staged *st)
{
	return atomic_load(&st->writers);
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

/* --- loading --- */

/* Written by a daemon that died before any promise was made about it. */
static bool was_never_promised(const struct journal_row *row)
{
	return row->state == ROW_OPEN && !row->local && !row->synced;
}

/* Forget the row and its file, not before staging_start: a mount that may not write
 * leaves both as they are. */
static int drop_row(struct staging *sg, const struct journal_row *row)
{
	uint64_t *more = reallocarray(sg->dropped, sg->n_dropped + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	sg->dropped = more;
	sg->dropped[sg->n_dropped++] = row->id;
	if (was_never_promised(row))
		log_warn("journal",
			 "%s was being written when the last mount ended and was neither "
			 "closed nor synced: the old contents stand",
			 row->key);
	else
		log_error("journal", "%s: its staged file %llu is missing", row->key,
			  (unsigned long long)row->id);
	return 0;
}

static int forget_dropped(struct staging *sg)
{
	int r = 0;
	for (size_t i = 0; !r && i < sg->n_dropped; i++) {
		struct journal_change c = {.kind = JOURNAL_DEL_ROW, .id = sg->dropped[i]};
		r = journal_commit(sg->jn, &c, 1, false);
	}
	free(STEAL(sg->dropped));
	sg->n_dropped = 0;
	return r;
}

/* -ENOENT: there is no file. */
static int load_file(struct staged *st, const struct journal_row *row)
{
	struct stat sb;
	st->fd = open(st->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (st->fd < 0 || fstat(st->fd, &sb)) {
		int r = -errno;
		if (r != -ENOENT)
			log_error("journal", "%s: open %s: %s", row->key, st->path,
				  strerror(-r));
		return r;
	}
	atomic_store(&st->charged_bytes, (uint64_t)sb.st_size);
	atomic_fetch_add(&st->sg->used_bytes, (uint64_t)sb.st_size);
	if (row->state != ROW_SEALED || (uint64_t)sb.st_size == row->size)
		return 0;
	/* Not what was closed: never to be uploaded, but the rest of the files are
	 * no worse for it. */
	log_error("journal",
		  "%s: the staged file %s has %lld bytes, not %llu: it is kept and not "
		  "uploaded",
		  row->key, st->path, (long long)sb.st_size,
		  (unsigned long long)row->size);
	atomic_store(&st->state, STAGED_CONFLICT);
	return 0;
}

static void load_fields(struct staged *st, const struct journal_row *row)
{
	static const enum staged_state states[] = {
		[ROW_OPEN] = STAGED_OPEN,
		[ROW_SEALED] = STAGED_SEALED,
		[ROW_CONFLICT] = STAGED_CONFLICT,
	};
	st->local = row->local;
	st->synced = row->synced;
	st->recovered = true;
	/* The daemon may have died after the last byte and before the row went. */
	st->uncertain = row->state == ROW_SEALED;
	st->uncertain_key = map_hash_string(st->key);
	staged_copy_string(st->base, sizeof(st->base), row->base);
	staged_copy_string(st->tag, sizeof(st->tag), row->tag);
	staged_copy_string(st->base_tags, sizeof(st->base_tags), row->base_tag);
	if (*row->upload_id)
		st->upload_id = strdup(row->upload_id);
	if (staged_get_state(st) == STAGED_OPEN)
		atomic_store(&st->state, states[row->state]);
	/* Synced but not closed: what fsync promised is uploaded as it is. */
	atomic_store(&st->dirty, row->state == ROW_OPEN);
}

int staging_load(struct staging *sg, const struct journal_row *row)
{
	if (row->state > ROW_CONFLICT || strlen(row->base) >= ETAG_SIZE ||
	    strlen(row->tag) >= TAG_SIZE || strlen(row->base_tag) >= TAGS_SIZE)
		return -EUCLEAN;
	if (was_never_promised(row))
		return drop_row(sg, row);
	struct staged *st = NULL;
	int r = staged_alloc(sg, row->id, row->key, &st);
	if (r)
		return r;
	r = load_file(st, row);
	if (r == -ENOENT && row->state != ROW_SEALED) {
		staged_unref(st);
		return drop_row(sg, row);
	}
	/* What was sealed may be in the bucket already. */
	if (!r || r == -ENOENT) {
		load_fields(st, row);
		SCOPED_LOCK(&sg->lock);
		/* Rows come in the order of their ids: an earlier generation of the
		 * name goes first (staged (3)). */
		struct staged *older = staged_find_locked(sg, st->key);
		if (older) {
			st->older = staged_ref(older);
			staged_unmap_locked(older);
		}
		r = staged_map_locked(st);
	}
	staged_unref(st);
	return r;
}

/* What fsync promised before the last daemon died goes up as it is.  What cannot be
 * sealed stays as it is, for the next mount. */
static void seal_recovered(struct staged *st)
{
	struct staging *sg = st->sg;
	char etag[ETAG_SIZE], tags[TAGS_SIZE];
	/* It was written in place of a name that was removed: one PUT, no DELETE. */
	bool held = removal_take(sg->rm, st->key, etag, tags);
	(void)pthread_mutex_lock(&sg->lock);
	st->holds_removal = held;
	(void)pthread_mutex_unlock(&sg->lock);
	(void)staged_publish(st, false, NULL);
}

static struct staged *next_recovered(struct staging *sg)
{
	SCOPED_LOCK(&sg->lock);
	struct map_node *node = NULL;
	while ((node = map_next(&sg->by_key, node))) {
		struct staged *st = container_of(node, struct staged, node);
		bool due = st->recovered && staged_get_state(st) == STAGED_OPEN &&
			   !st->local;
		st->recovered = false;
		if (due)
			return staged_ref(st);
	}
	return NULL;
}

int staging_recover(struct staging *sg)
{
	int r = forget_dropped(sg);
	if (!r)
		r = staging_remove_strays(sg);
	struct staged *st;
	while (!r && (st = next_recovered(sg))) {
		seal_recovered(st);
		staged_unref(st);
	}
	return r;
}
