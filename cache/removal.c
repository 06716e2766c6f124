/* removal.c - see removal.h.
 *
 * The clock thread walks all items when the first of them is due, not at each
 * change: a tree of files that is removed costs one walk a second. */
#include "cache/removal.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/map.h"
#include "backends/util/pool.h"
#include "backends/util/thread.h"
#include "backends/util/banned.h"

enum state { WAITING, HELD, FLYING };

struct item {
	struct map_node node;	 /* in removal.items, by key */
	struct removal *rm;	 /* borrowed */
	struct version *version; /* a reference, or NULL */
	char etag[ETAG_SIZE], tags[TAGS_SIZE];

	/* guarded by removal.lock */
	enum state state;
	bool sent; /* FLYING: the DELETE may be on its way */
	bool looked; /* it was not there, and may still arrive */
	uint64_t due_ns;

	/* atomic */
	atomic_bool unwanted; /* the name was written again: fetch no more */

	char key[];
};

struct removal {
	/* set once */
	struct removal_conf conf;
	struct backend *be;
	struct blocks *bl;
	struct journal *jn;
	struct names *nm;
	struct pool *pool;
	pthread_t clock_thread;
	bool started;

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* of an item's state */
	pthread_cond_t work;	/* for the clock thread */
	struct map items;
	bool closing, hurry;
	uint64_t wakes_ns; /* when the clock thread looks next */

	/* atomic */
	atomic_bool cancelled;
};

static bool item_is(const struct map_node *node, const void *key)
{
	return !strcmp(container_of(node, struct item, node)->key, key);
}

static struct item *find_locked(struct removal *rm, const char *key)
{
	struct map_node *node = map_find(&rm->items, map_hash_string(key), item_is, key);
	return node ? container_of(node, struct item, node) : NULL;
}

static void item_free(struct item *it)
{
	version_unref(it->version);
	free(it);
}

static void forget_locked(struct removal *rm, struct item *it)
{
	map_remove(&rm->items, &it->node);
	(void)pthread_cond_broadcast(&rm->changed);
}

/* A directory's marker stays until what was removed in it is gone. */
static bool has_items_below_locked(struct removal *rm, const struct item *dir)
{
	size_t len = strlen(dir->key);
	if (dir->key[len - 1] != '/')
		return false;
	struct map_node *node = NULL;
	while ((node = map_next(&rm->items, node))) {
		const struct item *it = container_of(node, struct item, node);
		if (it != dir && !strncmp(it->key, dir->key, len))
			return true;
	}
	return false;
}

static bool is_marker(const struct item *it)
{
	return it->key[strlen(it->key) - 1] == '/';
}

static struct call call_of(const struct removal *rm, atomic_bool *cancelled)
{
	return (struct call){
		.deadline_ns = clock_add(clock_now_ns(), rm->conf.timeout_ns),
		.cancelled = cancelled,
	};
}

/* Whoever has it open keeps its bytes (P1).  If they cannot be had the reader gets
 * ESTALE, never other bytes. */
static void keep_for_readers(struct removal *rm, struct version *v,
			     atomic_bool *cancelled)
{
	struct call call = call_of(rm, cancelled);
	if (v && !blocks_complete(rm->bl, v, &call))
		version_keep(v);
}

/* Is what the bucket has there what the user removed? */
static bool is_ours(const struct item *it, const struct object *there)
{
	if (is_marker(it))
		return !there->size;
	return (*it->etag && !strcmp(it->etag, there->etag)) ||
	       tags_own(it->tags, there->tag);
}

/* -ESTALE: there is something else, and it stays. */
static int send_delete(struct removal *rm, struct item *it)
{
	struct call call = call_of(rm, &rm->cancelled);
	bool can_compare = rm->be->caps & BACKEND_DEL_IF;
	struct cond cond = {.if_etag = it->etag};
	int r = -ESTALE;
	if (*it->etag && can_compare)
		r = backend_del(rm->be, it->key, &cond, &call);
	if (r != -ESTALE || (*it->etag && can_compare && !*it->tags))
		return r;
	struct object there;
	r = backend_head(rm->be, it->key, &there, &call);
	if (r || !is_ours(it, &there))
		return r ? r : -ESTALE;
	cond.if_etag = can_compare ? there.etag : NULL;
	return backend_del(rm->be, it->key, &cond, &call);
}

/* Final either way: the object is gone, or it is another one, or we may not. */
static bool is_over(const struct item *it, int r)
{
	if (!r || r == -ENOENT)
		return true;
	if (r == -ESTALE) {
		log_info("removal",
			 "%s was removed here while somebody replaced it in the bucket: "
			 "theirs stays",
			 it->key);
		return true;
	}
	return r == -EACCES || r == -EROFS || r == -EILSEQ || r == -ENAMETOOLONG;
}

/* names first: a listing that is kept with it must not outlive the row.  False: there
 * is no memory for that, and the row stays. */
static bool record_over(struct removal *rm, const struct item *it, int r)
{
	struct journal_change c = {.kind = JOURNAL_DEL_GONE, .key = it->key};
	size_t len = strlen(it->key);
	CLEANUP_FREE char *name = strndup(it->key, is_marker(it) ? len - 1 : len);
	if (!name)
		return false;
	if (r && r != -ENOENT)
		names_forget(rm->nm, name);
	else
		names_kind_removed(rm->nm, name, is_marker(it) ? NAME_DIR : NAME_FILE);
	/* The same bytes under that name would have the etag that is removed. */
	journal_forget(rm->jn, &c, 1, false);
	return true;
}

static void wait_again_locked(struct removal *rm, struct item *it, uint64_t delay_ns)
{
	it->state = WAITING;
	it->due_ns = clock_add(clock_now_ns(), delay_ns);
	(void)pthread_cond_broadcast(&rm->changed);
	if (it->due_ns < rm->wakes_ns)
		(void)pthread_cond_signal(&rm->work);
}

/* A store that cannot be used, or not written, for whatever reason, has not refused this
 * removal: it stays. */
static bool can_ask(struct removal *rm, struct item *it)
{
	struct call call = call_of(rm, &it->unwanted);
	return !backend_settle(rm->be, &call) && (rm->be->caps & BACKEND_WRITE);
}

/* From here on the DELETE is not to be stopped; false: it is not wanted any more, or it
 * cannot be sent now. */
static bool may_send(struct removal *rm, struct item *it, bool can)
{
	SCOPED_LOCK(&rm->lock);
	bool wanted = !atomic_load(&it->unwanted);
	it->sent = wanted && can;
	if (!it->sent) {
		atomic_store(&it->unwanted, false);
		wait_again_locked(rm, it, wanted ? rm->conf.retry_ns : rm->conf.delay_ns);
	}
	return it->sent;
}

/* An upload or a copy of ours that was given up may be with the server still: that there
 * is nothing is true only if it is so a while later, too. */
static bool may_arrive(const struct item *it, int r)
{
	return r == -ENOENT && !*it->etag && *it->tags && !it->looked;
}

static void fly(void *arg)
{
	struct item *it = arg;
	struct removal *rm = it->rm;
	keep_for_readers(rm, it->version, &it->unwanted);
	if (!may_send(rm, it, can_ask(rm, it)))
		return;
	int r = send_delete(rm, it);
	bool again = may_arrive(it, r);
	bool over = !again && is_over(it, r) && record_over(rm, it, r);
	(void)pthread_mutex_lock(&rm->lock);
	it->sent = false;
	it->looked = it->looked || again;
	if (over)
		forget_locked(rm, it);
	else
		wait_again_locked(rm, it, again ? rm->conf.delay_ns : rm->conf.retry_ns);
	(void)pthread_mutex_unlock(&rm->lock);
	if (over)
		item_free(it);
}

/* Start what is due; when the next is due. */
static uint64_t start_due_locked(struct removal *rm)
{
	uint64_t now = clock_now_ns(), next = CLOCK_NEVER;
	struct map_node *node = NULL;
	while ((node = map_next(&rm->items, node))) {
		struct item *it = container_of(node, struct item, node);
		if (it->state != WAITING)
			continue;
		bool due = (rm->hurry && !it->looked) || it->due_ns <= now;
		if (due && has_items_below_locked(rm, it)) {
			it->due_ns = clock_add(now, NS_PER_S);
			due = false;
		}
		if (!due) {
			next = it->due_ns < next ? it->due_ns : next;
			continue;
		}
		if (pool_submit(rm->pool, PRIO_DEMAND, fly, it))
			next = clock_add(now, NS_PER_S);
		else
			it->state = FLYING;
	}
	rm->hurry = false;
	return next;
}

static void wait_until_locked(struct removal *rm, pthread_cond_t *cond, uint64_t when_ns)
{
	if (when_ns == CLOCK_NEVER) {
		(void)pthread_cond_wait(cond, &rm->lock);
		return;
	}
	struct timespec ts = {.tv_sec = (time_t)(when_ns / NS_PER_S),
			      .tv_nsec = (long)(when_ns % NS_PER_S)};
	(void)pthread_cond_timedwait(cond, &rm->lock, &ts);
}

static void *clock_main(void *arg)
{
	struct removal *rm = arg;
	(void)pthread_setname_np(pthread_self(), "removal");
	SCOPED_LOCK(&rm->lock);
	while (!rm->closing) {
		rm->wakes_ns = start_due_locked(rm);
		wait_until_locked(rm, &rm->work, rm->wakes_ns);
	}
	return NULL;
}

/* Everything is due; until something changes, or for a moment. */
static void hurry_locked(struct removal *rm, uint64_t deadline_ns)
{
	rm->hurry = true;
	(void)pthread_cond_signal(&rm->work);
	uint64_t soon = clock_add(clock_now_ns(), 200 * NS_PER_MS);
	wait_until_locked(rm, &rm->changed, soon < deadline_ns ? soon : deadline_ns);
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
	it->rm = rm;
	it->due_ns = clock_add(clock_now_ns(), rm->conf.delay_ns);
	return it;
}

static int insert(struct removal *rm, const char *key, const char *etag, const char *tags,
		  struct version *open_version)
{
	struct item *it = item_new(rm, key, etag, tags);
	if (!it)
		return -ENOMEM;
	it->version = open_version ? version_ref(open_version) : NULL;

	(void)pthread_mutex_lock(&rm->lock);
	struct item *old = land_locked(rm, key);
	if (old)
		forget_locked(rm, old);
	if (old && !it->version) /* its readers are there still */
		it->version = STEAL(old->version);
	int r = map_insert(&rm->items, &it->node, map_hash_string(key));
	if (it->due_ns < rm->wakes_ns)
		(void)pthread_cond_signal(&rm->work);
	(void)pthread_mutex_unlock(&rm->lock);
	if (old)
		item_free(old);
	if (r)
		item_free(it);
	return r;
}

int removal_note(struct removal *rm, const char *key, const char *etag, const char *tags,
		 struct version *open_version)
{
	return insert(rm, key, etag, tags, open_version);
}

int removal_load(struct removal *rm, const char *key, const char *etag, const char *tags)
{
	if (!*key || strlen(etag) >= ETAG_SIZE || strlen(tags) >= TAGS_SIZE)
		return -EUCLEAN;
	return insert(rm, key, etag, tags, NULL);
}

int removal_add(struct removal *rm, const char *key, const char *etag,
		struct version *open_version)
{
	struct journal_change c = {.kind = JOURNAL_PUT_GONE, .key = key, .etag = etag};
	int r = journal_commit(rm->jn, &c, 1, false);
	return r ? r : insert(rm, key, etag, "", open_version);
}

/* Is its first answer still to come? */
static bool is_going(const struct item *it)
{
	return it && (it->state == FLYING || (it->state == WAITING && !it->due_ns));
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
	while (is_going(find_locked(rm, key)) && clock_now_ns() < end_ns &&
	       !call_check(call))
		wait_until_locked(rm, &rm->changed,
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
	keep_for_readers(rm, v, &rm->cancelled);
	version_unref(v);
}

int removal_finish(struct removal *rm, const char *key, struct call *call)
{
	SCOPED_LOCK(&rm->lock);
	const struct item *it;
	while ((it = find_locked(rm, key)) && it->state != HELD) {
		int r = call_check(call);
		if (r)
			return r;
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
		item_free(fresh);
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
		forget_locked(rm, it);
	(void)pthread_mutex_unlock(&rm->lock);
	if (held)
		item_free(it);
}

void removal_release(struct removal *rm, const char *key)
{
	SCOPED_LOCK(&rm->lock);
	struct item *it = find_locked(rm, key);
	if (it && it->state == HELD)
		wait_again_locked(rm, it, rm->conf.delay_ns);
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
	int r = thread_start(&rm->clock_thread, 0, clock_main, rm);
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
		item_free(container_of(node, struct item, node));
		node = next;
	}
	map_done(&rm->items);
	(void)pthread_cond_destroy(&rm->changed);
	(void)pthread_cond_destroy(&rm->work);
	(void)pthread_mutex_destroy(&rm->lock);
	free(rm);
}
