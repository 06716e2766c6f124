/* version.c - see version.h: the table of loaded versions.
 *
 * A version is loaded by version_get and stays loaded while it has users or runs.
 * After that it is idle, in the order of its last use, until the flusher unloads
 * the oldest of too many.
 */
#include "cache/version.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "backends/crypto.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "cache/scan.h"
#include "backends/util/banned.h"

/* -- the table; functions with _locked here mean blocks.lock -- */

static struct version **bucket_of(struct blocks *bl, const struct store_id *id)
{
	size_t i = (size_t)id->name[0] << 8 | id->name[1];
	return &bl->table[i % VERSION_BUCKETS];
}

static struct version *table_find_locked(struct blocks *bl, const struct store_id *id)
{
	struct version *v = *bucket_of(bl, id);
	while (v && memcmp(v->id.name, id->name, sizeof id->name))
		v = v->next;
	return v;
}

static void table_del_locked(struct blocks *bl, struct version *v)
{
	struct version **p = bucket_of(bl, &v->id);
	while (*p != v)
		p = &(*p)->next;
	*p = v->next;
}

static void idle_del_locked(struct blocks *bl, struct version *v)
{
	if (!v->idle)
		return;
	*(v->older ? &v->older->newer : &bl->idle_oldest) = v->newer;
	*(v->newer ? &v->newer->older : &bl->idle_newest) = v->older;
	v->older = v->newer = NULL;
	v->idle = false;
	bl->n_idle--;
}

static void idle_add_locked(struct blocks *bl, struct version *v)
{
	v->older = bl->idle_newest;
	v->newer = NULL;
	*(bl->idle_newest ? &bl->idle_newest->newer : &bl->idle_oldest) = v;
	bl->idle_newest = v;
	v->idle = true;
	bl->n_idle++;
}

static void use_locked(struct version *v)
{
	v->refs++;
	idle_del_locked(v->bl, v);
}

static void hold_locked(struct version *v)
{
	v->n_holds++;
	idle_del_locked(v->bl, v);
}

static void rest_locked(struct version *v)
{
	struct blocks *bl = v->bl;
	if (v->refs || v->n_holds)
		return;
	idle_add_locked(bl, v);
	/* Too many, or one that must go: the flusher does it. */
	if (v->kept || bl->n_idle > VERSIONS_IDLE_MAX)
		(void)pthread_cond_signal(&bl->flush_wanted);
}

/* blocks (7): the name is a hash over all that tells two versions apart; the NUL
 * between key and etag is in neither. */
static int make_id(const char *key, const struct object *obj, struct store_id *ret)
{
	char size[24];
	for (int i = 0; i < 8; i++)
		size[i] = (char)(obj->size >> (8 * i));
	CLEANUP_DIGEST struct digest *d = NULL;
	int r = digest_new(DIGEST_SHA256, &d);
	if (!r)
		r = digest_add(d, key, strlen(key) + 1);
	if (!r)
		r = digest_add(d, obj->etag, strlen(obj->etag) + 1);
	if (!r)
		r = digest_add(d, size, 8);
	if (!r)
		r = digest_end(d, ret->name);
	ret->size = obj->size;
	return r;
}

static struct version *version_new(struct blocks *bl, const char *key,
				   const struct object *obj, const struct store_id *id)
{
	struct version *v = calloc(1, sizeof *v);
	if (!v)
		return NULL;
	v->bl = bl;
	v->obj = *obj;
	v->id = *id;
	v->n_blocks = obj->size / BLOCK_SIZE + (obj->size % BLOCK_SIZE != 0);
	v->n_extents = v->n_blocks / EXTENT_BLOCKS + (v->n_blocks % EXTENT_BLOCKS != 0);
	layout_init(&v->layout, obj->size);
	layout_init(&v->alike, obj->size);
	v->key = strdup(key);
	v->extents = calloc(v->n_extents ? v->n_extents : 1, sizeof *v->extents);
	(void)pthread_mutex_init(&v->lock, NULL);
	cond_init_monotonic(&v->changed);
	if (!v->key || !v->extents) {
		version_free(v);
		return NULL;
	}
	return v;
}

void version_free(struct version *v)
{
	if (!v)
		return;
	for (uint64_t i = 0; v->extents && i < v->n_extents; i++)
		free(v->extents[i]);
	free(v->extents);
	layout_done(&v->layout);
	layout_done(&v->alike);
	free(v->key);
	(void)pthread_cond_destroy(&v->changed);
	(void)pthread_mutex_destroy(&v->lock);
	free(v);
}

/* A row of the index becomes an extent; nobody else sees the version yet. */
static int load_extent(void *arg, const struct index_extent *row)
{
	struct version *v = arg;
	if (row->no >= v->n_extents)
		return 0;
	struct extent *e = extent_make(v, row->no);
	if (!e)
		return -ENOMEM;
	for (uint64_t i = 0; i < extent_blocks(v, row->no); i++) {
		if (!(row->present[i / 8] >> (i % 8) & 1))
			continue;
		e->block[i].state = BLOCK_UNVERIFIED;
		e->block[i].crc = row->crc[i];
		v->bytes += block_len(v, row->no * EXTENT_BLOCKS + i);
		v->disk_bytes += block_disk_len(v, row->no * EXTENT_BLOCKS + i);
	}
	return 0;
}

/* Nobody else sees the version yet. */
static void unload(struct version *v)
{
	for (uint64_t i = 0; i < v->n_extents; i++) {
		free(v->extents[i]);
		v->extents[i] = NULL;
	}
	v->bytes = v->disk_bytes = 0;
}

static void load(struct version *v)
{
	struct blocks *bl = v->bl;
	uint64_t claimed = 0;
	int r = index_load(bl->index, &v->id, load_extent, v, &claimed);
	if (r == -ENOENT)
		return;
	v->on_disk = true;
	v->row_bytes = claimed;
	if (r) {
		/* A row was changed, or cannot be read: nothing of it is worth
		 * the trouble of telling which. */
		unload(v);
		version_drop_files(v);
		v->on_disk = v->row_bytes;
	}
	room_load(bl, claimed, v->disk_bytes);
}

void version_drop_files(struct version *v)
{
	struct blocks *bl = v->bl;
	uint64_t said;
	if (!index_drop(bl->index, &v->id, &said))
		v->row_bytes = 0;
	store_remove(bl->store, &v->id);
}

int version_get(struct blocks *bl, const char *key, const struct object *obj,
		struct version **ret)
{
	struct store_id id;
	/* Without an etag two versions cannot be told apart (blocks (7)). */
	if (!*obj->etag || obj->size > VERSION_SIZE_MAX)
		return !*obj->etag ? -EINVAL : -EFBIG;
	int r = make_id(key, obj, &id);
	if (r)
		return r;
	struct version *fresh = version_new(bl, key, obj, &id);
	if (!fresh)
		return -ENOMEM;

	(void)pthread_mutex_lock(&bl->lock);
	while (bl->dropping && !memcmp(&bl->dropped, &id, sizeof id))
		(void)pthread_cond_wait(&bl->changed, &bl->lock);
	struct version *v = table_find_locked(bl, &id);
	bool loads = !v;
	if (loads) {
		v = STEAL(fresh);
		v->loading = true;
		v->next = *bucket_of(bl, &id);
		*bucket_of(bl, &id) = v;
	}
	use_locked(v);
	while (!loads && v->loading)
		(void)pthread_cond_wait(&bl->changed, &bl->lock);
	/* The bucket has it, or has it again. */
	v->kept = false;
	atomic_store(&v->pinned, false);
	(void)pthread_mutex_unlock(&bl->lock);

	version_free(fresh);
	atomic_store(&v->atime_ns, clock_wall_ns());
	if (loads) {
		load(v);
		scan_load(v);
		(void)pthread_mutex_lock(&bl->lock);
		v->loading = false;
		(void)pthread_cond_broadcast(&bl->changed);
		(void)pthread_mutex_unlock(&bl->lock);
	}
	*ret = v;
	return 0;
}

struct version *version_ref(struct version *v)
{
	SCOPED_LOCK(&v->bl->lock);
	use_locked(v);
	return v;
}

void version_unref(struct version *v)
{
	if (!v)
		return;
	SCOPED_LOCK(&v->bl->lock);
	v->refs--;
	rest_locked(v);
}

void version_hold(struct version *v)
{
	SCOPED_LOCK(&v->bl->lock);
	hold_locked(v);
}

void version_release(struct version *v)
{
	SCOPED_LOCK(&v->bl->lock);
	v->n_holds--;
	rest_locked(v);
}

const struct object *version_object(const struct version *v)
{
	return &v->obj;
}

const char *version_key(const struct version *v)
{
	return v->key;
}

uint64_t version_cached_bytes(struct version *v)
{
	SCOPED_LOCK(&v->lock);
	return v->bytes;
}

void version_keep(struct version *v)
{
	SCOPED_LOCK(&v->bl->lock);
	v->kept = true;
	atomic_store(&v->pinned, true);
}

bool version_used(struct version *v)
{
	SCOPED_LOCK(&v->bl->lock);
	return v->refs;
}

int versions_snapshot(struct blocks *bl, struct version ***ret, size_t *ret_n)
{
	size_t n = 0, got = 0;
	SCOPED_LOCK(&bl->lock);
	for (size_t i = 0; i < VERSION_BUCKETS; i++)
		for (struct version *v = bl->table[i]; v; v = v->next)
			n++;
	struct version **all = calloc(n ? n : 1, sizeof(struct version *));
	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < VERSION_BUCKETS; i++)
		for (struct version *v = bl->table[i]; v; v = v->next) {
			if (v->loading)
				continue;
			hold_locked(v);
			all[got++] = v;
		}
	*ret = all;
	*ret_n = got;
	return 0;
}

void versions_done(struct version **all, size_t n)
{
	for (size_t i = 0; i < n; i++)
		version_release(all[i]);
	free(all);
}

size_t versions_dirty(struct blocks *bl)
{
	SCOPED_LOCK(&bl->lock);
	size_t n = 0;
	for (const struct version *v = bl->dirty; v; v = v->next_dirty)
		n++;
	return n;
}

struct version *version_take_dirty(struct blocks *bl)
{
	SCOPED_LOCK(&bl->lock);
	struct version *v = bl->dirty;
	if (!v)
		return NULL;
	bl->dirty = v->next_dirty;
	if (!bl->dirty)
		bl->dirty_tail = &bl->dirty;
	v->in_dirty = false;
	hold_locked(v);
	return v;
}

/* An idle version's fields are nobody's but ours: no user, no run. */
static bool must_drop_locked(const struct version *v)
{
	return v->kept || (v->on_disk && !v->disk_bytes);
}

static void dirty_del_locked(struct blocks *bl, struct version *v)
{
	struct version **p = &bl->dirty;
	while (*p != v)
		p = &(*p)->next_dirty;
	*p = v->next_dirty;
	if (bl->dirty_tail == &v->next_dirty)
		bl->dirty_tail = p;
	v->in_dirty = false;
}

static struct version *must_drop_first_locked(struct blocks *bl)
{
	struct version *v = bl->dropping ? NULL : bl->idle_oldest;
	while (v && (v->in_dirty || !must_drop_locked(v)))
		v = v->newer;
	return v;
}

static struct version *written_first_locked(struct blocks *bl)
{
	struct version *v = bl->idle_oldest;
	while (v && v->in_dirty)
		v = v->newer;
	return v;
}

/* What no row tells of leaves the disk as well, or nobody would count it (P9); but not
 * at the end, since the next start looks at all files. */
static struct version *unwritten_first_locked(struct blocks *bl, bool *ret_drop)
{
	struct version *v = bl->dropping ? NULL : bl->idle_oldest;
	if (v) {
		dirty_del_locked(bl, v);
		*ret_drop = !bl->stopping;
	}
	return v;
}

struct version *version_take_idle(struct blocks *bl, uint32_t max, bool failing,
				  bool *ret_drop)
{
	SCOPED_LOCK(&bl->lock);
	struct version *v = must_drop_first_locked(bl);
	*ret_drop = v;
	if (!v && bl->n_idle > max)
		v = written_first_locked(bl);
	if (!v && bl->n_idle > max && failing)
		v = unwritten_first_locked(bl, ret_drop);
	if (!v)
		return NULL;
	idle_del_locked(bl, v);
	table_del_locked(bl, v);
	if (*ret_drop) {
		bl->dropping = true;
		bl->dropped = v->id;
	} else {
		/* From the unlock on, another may drop or load it. */
		room_unload(bl, v->disk_bytes, v->row_bytes);
	}
	return v;
}

bool version_drop_begin(struct blocks *bl, const struct store_id *id)
{
	SCOPED_LOCK(&bl->lock);
	while (bl->dropping)
		(void)pthread_cond_wait(&bl->changed, &bl->lock);
	if (table_find_locked(bl, id))
		return false;
	bl->dropping = true;
	bl->dropped = *id;
	return true;
}

void version_drop_end(struct blocks *bl)
{
	SCOPED_LOCK(&bl->lock);
	bl->dropping = false;
	(void)pthread_cond_broadcast(&bl->changed);
}
