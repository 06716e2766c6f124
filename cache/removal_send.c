/* removal_send.c - see removal.h: a DELETE goes out when its delay is over.
 *
 * The clock thread walks all items when the first of them is due, not at each
 * change: a tree of files that is removed costs one walk a second. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "cache/removal_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

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

void removal_keep_for_readers(struct removal *rm, struct version *v,
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

/* Final either way: the object is gone, or it is another one, or we may not.  That it was
 * not proved who we are passes: credentials and clocks are mended. */
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

void removal_wait_again_locked(struct removal *rm, struct item *it, uint64_t delay_ns)
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
		removal_wait_again_locked(rm, it,
					  wanted ? rm->conf.retry_ns : rm->conf.delay_ns);
	}
	return it->sent;
}

/* An upload or a copy of ours that was given up may be with the server still: that there
 * is nothing is true only if it is so a while later, too. */
static bool may_arrive(const struct item *it, int r)
{
	return r == -ENOENT && !*it->etag && *it->tags && !it->looked;
}

static void fly(struct removal *rm, struct item *it)
{
	removal_keep_for_readers(rm, it->version, &it->unwanted);
	if (!may_send(rm, it, can_ask(rm, it)))
		return;
	int r = send_delete(rm, it);
	bool again = may_arrive(it, r);
	bool over = !again && is_over(it, r) && record_over(rm, it, r);
	(void)pthread_mutex_lock(&rm->lock);
	it->sent = false;
	it->looked = it->looked || again;
	if (over)
		removal_forget_locked(rm, it);
	else
		removal_wait_again_locked(rm, it,
					  again ? rm->conf.delay_ns : rm->conf.retry_ns);
	(void)pthread_mutex_unlock(&rm->lock);
	if (over)
		removal_item_free(it);
}

static void dequeue_locked(struct removal *rm, struct item *it, enum state next)
{
	TAILQ_REMOVE(&rm->queue, it, link);
	rm->n_queued--;
	it->state = next;
}

static void fly_next(void *arg)
{
	struct removal *rm = arg;
	(void)pthread_mutex_lock(&rm->lock);
	struct item *it = rm->closing ? NULL : TAILQ_FIRST(&rm->queue);
	rm->n_asked--;
	if (it)
		dequeue_locked(rm, it, FLYING);
	(void)pthread_mutex_unlock(&rm->lock);
	if (it)
		fly(rm, it);
}

static int enqueue_locked(struct removal *rm, struct item *it)
{
	if (rm->n_asked <= rm->n_queued) { /* what was taken back leaves one over */
		int r = pool_submit(rm->pool, PRIO_DEMAND, fly_next, rm);
		if (r)
			return r;
		rm->n_asked++;
	}
	TAILQ_INSERT_TAIL(&rm->queue, it, link);
	rm->n_queued++;
	it->state = QUEUED;
	if (!it->due_ns) /* see removal_send */
		removal_hasten_locked(rm, it);
	return 0;
}

void removal_unqueue_locked(struct removal *rm, struct item *it)
{
	if (it->state == QUEUED)
		dequeue_locked(rm, it, WAITING);
}

void removal_hasten_locked(struct removal *rm, struct item *it)
{
	if (it->state != QUEUED)
		return;
	TAILQ_REMOVE(&rm->queue, it, link);
	TAILQ_INSERT_HEAD(&rm->queue, it, link);
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
		if (enqueue_locked(rm, it))
			next = clock_add(now, NS_PER_S);
	}
	rm->hurry = false;
	return next;
}

void removal_wait_until_locked(struct removal *rm, pthread_cond_t *cond, uint64_t when_ns)
{
	if (when_ns == CLOCK_NEVER) {
		(void)pthread_cond_wait(cond, &rm->lock);
		return;
	}
	struct timespec ts = {.tv_sec = (time_t)(when_ns / NS_PER_S),
			      .tv_nsec = (long)(when_ns % NS_PER_S)};
	(void)pthread_cond_timedwait(cond, &rm->lock, &ts);
}

void *removal_clock_main(void *arg)
{
	struct removal *rm = arg;
	(void)pthread_setname_np(pthread_self(), "removal");
	SCOPED_LOCK(&rm->lock);
	while (!rm->closing) {
		rm->wakes_ns = start_due_locked(rm);
		removal_wait_until_locked(rm, &rm->work, rm->wakes_ns);
	}
	return NULL;
}
