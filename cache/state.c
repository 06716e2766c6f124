/* state.c - see version.h: the states of blocks, and the file that they are in. */
#include "cache/version.h"
#include <errno.h>
#include <stdlib.h>
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

uint64_t range_disk_len(const struct version *v, uint64_t first, uint64_t n)
{
	return n ? (n - 1) * BLOCK_SIZE + block_disk_len(v, first + n - 1) : 0;
}

uint64_t extent_blocks(const struct version *v, uint64_t no)
{
	uint64_t left = v->n_blocks - no * EXTENT_BLOCKS;
	return left < EXTENT_BLOCKS ? left : EXTENT_BLOCKS;
}

struct extent *extent_make(struct version *v, uint64_t no)
{
	if (!v->extents[no]) {
		size_t n = extent_blocks(v, no);
		v->extents[no] =
			calloc(1, sizeof(struct extent) + n * sizeof(struct block));
	}
	return v->extents[no];
}

void extent_give_back_locked(struct version *v, uint64_t no)
{
	struct extent *e = v->extents[no];
	for (uint64_t i = 0; e && i < extent_blocks(v, no); i++)
		if (e->block[i].state != BLOCK_ABSENT)
			return;
	if (!e || e->dirty)
		return;
	free(e);
	v->extents[no] = NULL;
}

struct block *block_at_locked(struct version *v, uint64_t block)
{
	struct extent *e = v->extents[block / EXTENT_BLOCKS];
	return e ? &e->block[block % EXTENT_BLOCKS] : NULL;
}

enum block_state block_state_locked(struct version *v, uint64_t block)
{
	struct block *b = block_at_locked(v, block);
	return b ? (enum block_state)b->state : BLOCK_ABSENT;
}

static void dirty_locked(struct version *v, uint64_t block)
{
	v->extents[block / EXTENT_BLOCKS]->dirty = true;
	version_mark_dirty_locked(v);
}

int block_claim_locked(struct version *v, uint64_t block)
{
	struct extent *e = extent_make(v, block / EXTENT_BLOCKS);
	if (!e)
		return -ENOMEM;
	e->block[block % EXTENT_BLOCKS].state = BLOCK_BUSY;
	return 0;
}

static void wake_locked(struct version *v, uint64_t block)
{
	for (struct waiter *w = v->waiters; w; w = w->next)
		if (w->block == block)
			(void)pthread_cond_signal(&w->wake);
}

static int publish_locked(struct version *v, uint64_t block, uint32_t crc,
			  enum block_state state, uint64_t epoch)
{
	uint64_t disk = block_disk_len(v, block);
	if (epoch != v->epoch)
		return -EAGAIN;
	*block_at_locked(v, block) = (struct block){
		.tick = atomic_load(&v->bl->tick),
		.crc = crc,
		.state = (uint8_t)state,
	};
	v->bytes += block_len(v, block);
	v->disk_bytes += disk;
	room_written(v->bl, disk);
	dirty_locked(v, block);
	wake_locked(v, block);
	return 0;
}

int block_publish(struct version *v, uint64_t block, uint32_t crc, enum block_state state,
		  uint64_t epoch)
{
	SCOPED_LOCK(&v->lock);
	v->settled = false;
	return publish_locked(v, block, crc, state, epoch);
}

int block_publish_there(struct version *v, uint64_t block, uint32_t crc, uint64_t epoch)
{
	SCOPED_LOCK(&v->lock);
	return publish_locked(v, block, crc, BLOCK_PRESENT, epoch);
}

void block_unpublish_locked(struct version *v, uint64_t block)
{
	struct block *b = block_at_locked(v, block);
	b->state = BLOCK_BUSY;
	if (b->read)
		v->read_bytes -= block_len(v, block);
	b->read = false;
	v->bytes -= block_len(v, block);
	v->disk_bytes -= block_disk_len(v, block);
	dirty_locked(v, block);
}

void block_release_locked(struct version *v, uint64_t block)
{
	block_at_locked(v, block)->state = BLOCK_ABSENT;
	wake_locked(v, block);
}

void block_forget_locked(struct version *v, uint64_t block)
{
	uint64_t bytes = block_disk_len(v, block);
	block_unpublish_locked(v, block);
	block_release_locked(v, block);
	room_freed(v->bl, bytes);
}

void block_restore_locked(struct version *v, uint64_t block)
{
	struct block *b = block_at_locked(v, block);
	b->state = BLOCK_UNVERIFIED;
	b->tick = atomic_load(&v->bl->tick);
	v->bytes += block_len(v, block);
	v->disk_bytes += block_disk_len(v, block);
	dirty_locked(v, block);
	wake_locked(v, block);
}

/* Nothing of the data file is believed any more.  The caller is checking. */
static void damaged_locked(struct version *v)
{
	uint64_t n = 0;
	v->epoch++;
	for (uint64_t i = 0; i < v->n_blocks && v->disk_bytes; i++) {
		if (!v->extents[i / EXTENT_BLOCKS]) {
			i |= EXTENT_BLOCKS - 1;
			continue;
		}
		enum block_state s = block_state_locked(v, i);
		if (s != BLOCK_PRESENT && s != BLOCK_UNVERIFIED)
			continue;
		block_forget_locked(v, i);
		n++;
	}
	if (n)
		log_warn("cache", "%s: its data file was removed or cut: fetching again",
			 v->key);
}

static void mark_on_disk(struct version *v)
{
	SCOPED_LOCK(&v->bl->lock);
	v->on_disk = true;
}

int version_check_file(struct version *v, uint64_t *ret_epoch)
{
	struct store *st = v->bl->store;
	(void)pthread_mutex_lock(&v->lock);
	while (v->checking)
		(void)pthread_cond_wait(&v->changed, &v->lock);
	v->checking = true;
	(void)pthread_mutex_unlock(&v->lock);

	int r = store_check(st, &v->id);
	if (r == -ENODATA) {
		/* A file that is cut, if any, gets no byte of ours again. */
		store_remove(st, &v->id);
		(void)pthread_mutex_lock(&v->lock);
		damaged_locked(v);
		(void)pthread_mutex_unlock(&v->lock);
		r = ret_epoch ? store_make(st, &v->id) : 0;
	}

	(void)pthread_mutex_lock(&v->lock);
	mark_on_disk(v);
	v->checking = false;
	if (ret_epoch)
		*ret_epoch = v->epoch;
	(void)pthread_cond_broadcast(&v->changed);
	(void)pthread_mutex_unlock(&v->lock);
	return r;
}

void version_mark_dirty_locked(struct version *v)
{
	struct blocks *bl = v->bl;
	SCOPED_LOCK(&bl->lock);
	if (v->in_dirty)
		return;
	v->in_dirty = true;
	v->next_dirty = NULL;
	*bl->dirty_tail = v;
	bl->dirty_tail = &v->next_dirty;
}

void active_add_locked(struct version *v, struct active *a)
{
	a->next = v->active;
	v->active = a;
}

void active_del_locked(struct version *v, struct active *a)
{
	struct active **p = &v->active;
	while (*p != a)
		p = &(*p)->next;
	*p = a->next;
}

void waiter_add_locked(struct version *v, struct waiter *w)
{
	cond_init_monotonic(&w->wake);
	w->next = v->waiters;
	v->waiters = w;
}

void waiter_del_locked(struct version *v, struct waiter *w)
{
	struct waiter **p = &v->waiters;
	while (*p != w)
		p = &(*p)->next;
	*p = w->next;
	(void)pthread_cond_destroy(&w->wake);
}

void waiters_wake_locked(struct version *v, const struct run *run)
{
	for (struct waiter *w = v->waiters; w; w = w->next)
		if (w->run == run)
			(void)pthread_cond_signal(&w->wake);
}

bool active_covers_locked(const struct version *v, uint64_t block)
{
	for (const struct active *a = v->active; a; a = a->next)
		if (a->first <= block && block <= a->last)
			return true;
	return false;
}
