/* removal.c - see removal.h: which names are gone, and who writes them anew. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cache/removal_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/thread.h"
#include "backends/util/banned.h"

static bool item_is(const struct map_node *node, const void *key)
{
	return !strcmp(container_of(node, struct item, node)->key, key);
}

static struct item *find_locked(struct removal *rm, const char *key)
{
	struct map_node *node = map_find(&rm->items, map_hash_string(key), item_is, key);
	return node ? container_of(node, struct item, node) : NULL;
}

void removal_item_free(struct item *it)
{
	version_unref(it->version);
	free(it);
}

void removal_forget_locked(struct removal *rm, struct item *it)
{
	map_remove(&rm->items, &it->node);
	(void)pthread_cond_broadcast(&rm->changed);
}

/* Everything is due; until something changes, or for a moment. */
static void hurry_locked(struct removal *rm, uint64_t deadline_ns)
{
	rm->hurry = true;
	(void)pthread_cond_signal(&rm->work);
	uint64_t soon = clock_add(clock_now_ns(), 200 * NS_PER_MS);
	removal_wait_until_locked(rm, &rm->changed,
				  soon < deadline_ns ? soon : deadline_ns);
}

/* Nothing of it is in flight when this returns; NULL: there is none (any more). */
static struct item *land_locked(struct removal *rm, const char *key)
{
	struct item *it = find_locked(rm, key);
	while (it && it->state == FLYING) {
		if (!it->sent)
			atomic_store(&it->unwanted, true);
		(void)pthread_cond_wait(&rm->changed, &rm->lock);
		it = find_locked(rm, key);
	}
	if (it)
		removal_unqueue_locked(rm, it);
	return it;
}

static struct item *item_new(struct removal *rm, const char *key, const char *etag,
			     const char *tags)
{
	size_t size = strlen(key) + 1;
	struct item *it = calloc(1, sizeof(*it) + size);
	if (!it)
		return NULL;
	memcpy(it->key, key, size);
	memcpy(it->etag, etag, strlen(etag) + 1);
	memcpy(it->tags, tags, strlen(tags) + 1);
	it->due_ns = clock_add(clock_now_ns(), rm->conf.delay_ns);
	return it;
}

/* it is the set's, or gone. */
static int enter(struct removal *rm, struct item *it, struct version *open_version)
{
	it->version = open_version ? version_ref(open_version) : NULL;

	(void)pthread_mutex_lock(&rm->lock);
	struct item *old = land_locked(rm, it->key);
	if (old)
		removal_forget_locked(rm, old);
	if (old && !it->version) /* its readers are there still */
		it->version = STEAL(old->version);
	int r = map_insert(&rm->items, &it->node, map_hash_string(it->key));
	if (it->due_ns < rm->wakes_ns)
		(void)pthread_cond_signal(&rm->work);
	(void)pthread_mutex_unlock(&rm->lock);
	if (old)
		removal_item_free(old);
	if (r)
		removal_item_free(it);
	return r;
}

int removal_note(struct removal *rm, const char *key, const char *etag, const char *tags,
		 struct version *open_version)
{
	struct item *it = item_new(rm, key, etag, tags);
	return it ? enter(rm, it, open_version) : -ENOMEM;
}

int removal_load(struct removal *rm, const char *key, const char *etag, const char *tags)
{
	if (!*key || strlen(etag) >= ETAG_SIZE || strlen(tags) >= TAGS_SIZE)
		return -EUCLEAN;
	return removal_note(rm, key, etag, tags, NULL);
}

int removal_add(struct removal *rm, const char *key, const char *etag,
		struct version *open_version)
{
	struct journal_change c = {.kind = JOURNAL_PUT_GONE, .key = key, .etag = etag};
	/* First what may fail: the next mount would remove what was said to stay. */
	struct item *it = item_new(rm, key, etag, "");
	if (!it)
		return -ENOMEM;
	int r = journal_commit(rm->jn, &c, 1, false);
	if (r) {
		removal_item_free(it);
		return r;
	}
	r = enter(rm, it, open_version);
	if (r) {
		c.kind = JOURNAL_DEL_GONE;
		journal_forget(rm->jn, &c, 1, false);
	}
	return r;
}

/* Is its first answer still to come? */
static bool is_going(const struct item *it)
{
	return it && (it->state == FLYING || it->state == QUEUED ||
		      (it->state == WAITING && !it->due_ns));
}

void removal_send(struct removal *rm, const char *key, uint64_t wait_ns,
		  struct call *call)
{
	uint64_t end_ns = clock_add(clock_now_ns(), wait_ns);
	SCOPED_LOCK(&rm->lock);
	struct item *it = find_locked(rm, key);
	if (it && it->state == WAITING) {
		it->due_ns = 0;
		if (rm->wakes_ns) /* it has not been told yet */
			(void)pthread_cond_signal(&rm->work);
		rm->wakes_ns = 0;
	}
	if (it)
		removal_hasten_locked(rm, it);
	while (is_going(find_locked(rm, key)) && clock_now_ns() < end_ns &&
	       !call_check(call))
		removal_wait_until_locked(rm, &rm->changed,
					  clock_add(clock_now_ns(), 100 * NS_PER_MS));
}

bool removal_none(struct removal *rm)
{
	SCOPED_LOCK(&rm->lock);
	return !rm->items.n;
}

uint64_t removal_count(struct removal *rm)
{
	SCOPED_LOCK(&rm->lock);
	return rm->items.n;
}

bool removal_pending(struct removal *rm, const char *key)
{
	SCOPED_LOCK(&rm->lock);
	return find_locked(rm, key) != NULL;
}

int removal_each_below(struct removal *rm, const char *dir,
		       int (*fn)(void *arg, const char *key), void *arg)
{
	size_t len = strlen(dir);
	struct map_node *node = NULL;
	SCOPED_LOCK(&rm->lock);
	while ((node = map_next(&rm->items, node))) {
		const char *key = container_of(node, struct item, node)->key;
		int r = !strncmp(key, dir, len) && key[len] == '/' ? fn(arg, key) : 0;
		if (r)
			return r;
	}
	return 0;
}

bool removal_take(struct removal *rm, const char *key, char ret_etag[ETAG_SIZE],
		  char ret_tags[TAGS_SIZE])
{
	SCOPED_LOCK(&rm->lock);
	struct item *it = land_locked(rm, key);
	if (!it)
		return false;
	it->state = HELD;
	memcpy(ret_etag, it->etag, strlen(it->etag) + 1);
	memcpy(ret_tags, it->tags, strlen(it->tags) + 1);
	tags_add(ret_tags, TAG_NOTHING);
	return true;
}

void removal_keep(struct removal *rm, const char *key)
{
	(void)pthread_mutex_lock(&rm->lock);
	struct item *it = find_locked(rm, key);
	struct version *v = it && it->version ? version_ref(it->version) : NULL;
	(void)pthread_mutex_unlock(&rm->lock);
	removal_keep_for_readers(rm, v, &rm->cancelled);
	version_unref(v);
}

int removal_finish(struct removal *rm, const char *key, struct call *call)
{
	SCOPED_LOCK(&rm->lock);
	struct item *it;
	while ((it = find_locked(rm, key)) && it->state != HELD) {
		int r = call_check(call);
		if (r)
			return r;
		removal_hasten_locked(rm, it);
		hurry_locked(rm, CLOCK_NEVER);
	}
	return 0;
}

int removal_hold(struct removal *rm, const char *key, const char *tag,
		 char ret_etag[ETAG_SIZE], char ret_tags[TAGS_SIZE], bool *ret_pending)
{
	struct item *fresh = item_new(rm, key, "", "");
	if (!fresh)
		return -ENOMEM;
	(void)pthread_mutex_lock(&rm->lock);
	struct item *it = land_locked(rm, key);
	*ret_pending = it != NULL;
	int r = it ? 0 : map_insert(&rm->items, &fresh->node, map_hash_string(key));
	if (!r) {
		it = it ? it : fresh;
		it->state = HELD;
		tags_add(it->tags, tag);
		memcpy(ret_etag, it->etag, strlen(it->etag) + 1);
		memcpy(ret_tags, it->tags, strlen(it->tags) + 1);
	}
	(void)pthread_mutex_unlock(&rm->lock);
	if (r || *ret_pending)
		removal_item_free(fresh);
	return r;
}

int removal_expect(struct removal *rm, const char *key, const char *tag)
{
	char etag[ETAG_SIZE], tags[TAGS_SIZE];
	(void)pthread_mutex_lock(&rm->lock);
	struct item *it = find_locked(rm, key);
	bool held = it && it->state == HELD;
	if (held) {
		tags_add(it->tags, tag);
		memcpy(etag, it->etag, sizeof(etag));
		memcpy(tags, it->tags, sizeof(tags));
	}
	(void)pthread_mutex_unlock(&rm->lock);
	struct journal_change c = {
		.kind = JOURNAL_PUT_GONE, .key = key, .etag = etag, .tag = tags};
	return held ? journal_commit(rm->jn, &c, 1, true) : 0;
}

void removal_settled(struct removal *rm, const char *key)
{
	(void)pthread_mutex_lock(&rm->lock);
	struct item *it = find_locked(rm, key);
	bool held = it && it->state == HELD;
	if (held)
		removal_forget_locked(rm, it);
	(void)pthread_mutex_unlock(&rm->lock);
	if (held)
		removal_item_free(it);
}

void removal_release(struct removal *rm, const char *key)
{
	SCOPED_LOCK(&rm->lock);
	struct item *it = find_locked(rm, key);
	if (it && it->state == HELD)
		removal_wait_again_locked(rm, it, rm->conf.delay_ns);
}

static uint64_t count_due_locked(const struct removal *rm)
{
	uint64_t n = 0;
	struct map_node *node = NULL;
	while ((node = map_next(&rm->items, node)))
		n += container_of(node, struct item, node)->state != HELD;
	return n;
}

uint64_t removal_drain(struct removal *rm, uint64_t deadline_ns)
{
	SCOPED_LOCK(&rm->lock);
	/* Each pass sends what is due; a marker becomes due when its files went. */
	uint64_t left = count_due_locked(rm);
	while (left && clock_now_ns() < deadline_ns) {
		hurry_locked(rm, deadline_ns);
		left = count_due_locked(rm);
	}
	return left;
}

int removal_start(struct removal *rm)
{
	int r = thread_start(&rm->clock_thread, 0, removal_clock_main, rm);
	rm->started = !r;
	return r;
}

int removal_new(const struct removal_conf *conf, struct backend *be, struct blocks *bl,
		struct journal *jn, struct names *nm, struct removal **ret)
{
	struct removal *rm = calloc(1, sizeof(*rm));
	if (!rm)
		return -ENOMEM;
	rm->conf = *conf;
	rm->be = be;
	rm->bl = bl;
	rm->jn = jn;
	rm->nm = nm;
	TAILQ_INIT(&rm->queue);
	(void)pthread_mutex_init(&rm->lock, NULL);
	pthread_condattr_t attr;
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&rm->changed, &attr);
	(void)pthread_cond_init(&rm->work, &attr);
	(void)pthread_condattr_destroy(&attr);
	struct pool_conf pc = {.name = "remove", .threads_max = conf->threads};
	int r = pool_new(&pc, &rm->pool);
	if (r) {
		removal_free(rm);
		return r;
	}
	*ret = rm;
	return 0;
}

void removal_free(struct removal *rm)
{
	if (!rm)
		return;
	(void)pthread_mutex_lock(&rm->lock);
	rm->closing = true;
	atomic_store(&rm->cancelled, true);
	struct map_node *node = NULL;
	while ((node = map_next(&rm->items, node)))
		atomic_store(&container_of(node, struct item, node)->unwanted, true);
	(void)pthread_cond_broadcast(&rm->work);
	(void)pthread_mutex_unlock(&rm->lock);
	if (rm->started)
		(void)pthread_join(rm->clock_thread, NULL);
	pool_free(rm->pool);
	node = map_next(&rm->items, NULL);
	while (node) {
		struct map_node *next = map_next(&rm->items, node);
		removal_item_free(container_of(node, struct item, node));
		node = next;
	}
	map_done(&rm->items);
	(void)pthread_cond_destroy(&rm->changed);
	(void)pthread_cond_destroy(&rm->work);
	(void)pthread_mutex_destroy(&rm->lock);
	free(rm);
}
