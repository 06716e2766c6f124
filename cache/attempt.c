/* attempt.c - one upload of one staged file, and what becomes of the file after it.
 * See staged.h for the states and the invariants.
 *
 * The threads of the pool are asked for, and take what is next when they come: until then
 * an attempt can be taken back at once.  What was tried before goes behind what was not,
 * and not on all threads: a store that does not answer holds each of them for minutes,
 * and somebody may wait for a file that was closed just now (P8).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cache/staged_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/cond.h"
#include "backends/util/log.h"
#include "backends/util/metrics.h"
#include "cache/upload.h"
#include "backends/util/banned.h"

#define HURRIED_NS NS_PER_S /* between two attempts: the mount ends, and waits for it */

struct attempt {
	TAILQ_ENTRY(attempt) link; /* while it is st->queued: in this queue */
	struct attempt_queue *queue;
	struct staged *st; /* a reference */
	char *key;	   /* owned; as sealed */
	bool no_retry;	   /* a rename waits for it and undoes a failure itself */
	char base[ETAG_SIZE], base_tags[TAGS_SIZE], tag[TAG_SIZE];
};

static int run_upload(struct attempt *at, struct object *ret)
{
	struct staged *st = at->st;
	struct staging *sg = st->sg;
	struct upload_job job = {
		.key = at->key,
		.fd = st->fd,
		.base = at->base,
		.base_tags = at->base_tags,
		.tag = at->tag,
		.exact_mtime = atomic_load(&st->mtime_set),
		.timeout_ns = sg->conf.timeout_ns,
		.cancelled = &st->cancel,
	};
	(void)pthread_mutex_lock(&sg->lock);
	job.look_first = st->uncertain && st->uncertain_key == map_hash_string(at->key);
	(void)pthread_mutex_unlock(&sg->lock);
	staged_stat(st, &job.size, &job.mtime_ns);
	int r = st->fd < 0 ? 0
			   : early_complete(st, at->key, at->tag, job.size, &job.parts);
	if (!r)
		r = upload_run(sg->be, &job, ret);
	if (r && job.parts)
		parts_hold(job.parts); /* there is nothing that they go up for */
	if (r)
		return r;
	ret->mtime_ns = job.mtime_ns;
	if (!job.parts) {
		metrics_add(METRIC_UPLOADED_BYTES, job.size);
		staged_sent(st, job.size);
	}
	return 0;
}

/* The bucket has it: the journal may forget it, and says so before we do. */
static void record_done(const struct attempt *at, const struct object *obj)
{
	struct staging *sg = at->st->sg;
	if (!(sg->be->caps & BACKEND_LIST_META))
		blocks_set_mtime(sg->bl, at->key, obj->etag, obj->mtime_ns);
	blocks_learn(sg->bl, at->key, obj, at->st->fd);
	/* First: a listing that is kept without it must not outlive the row. */
	names_put(sg->nm, at->key, obj);
	/* At once, and before the file is the cache's: the next mount would look for it,
	 * and have nothing to show until the bucket has told that the object is ours. */
	struct journal_change changes[] = {
		{.kind = JOURNAL_DEL_ROW, .id = at->st->id},
		{.kind = JOURNAL_DEL_UPLOAD, .id = early_row(at->st)},
	};
	journal_forget(sg->jn, changes, changes[1].id ? 2 : 1, false);
	early_over(at->st);
}

static void record_conflict(const struct attempt *at)
{
	struct staging *sg = at->st->sg;
	struct row_image image;
	names_forget(sg->nm, at->key);
	log_error("upload",
		  "%s: the bucket changed since this file was opened; what was written "
		  "here is kept in %s and not uploaded",
		  at->key, at->st->path);
	(void)pthread_mutex_lock(&sg->lock);
	staged_row_locked(at->st, &image);
	(void)pthread_mutex_unlock(&sg->lock);
	image.row.state = ROW_CONFLICT;
	struct journal_change c = {.kind = JOURNAL_PUT_ROW, .row = &image.row};
	(void)journal_commit(sg->jn, &c, 1, true);
}

static void record_lost(const struct attempt *at)
{
	struct journal_change c = {.kind = JOURNAL_DEL_ROW, .id = at->st->id};
	log_error("upload", "%s: its staged file %s is missing: the upload is given up",
		  at->key, at->st->path);
	journal_forget(at->st->sg->jn, &c, 1, true);
}

/* st starts from what its older generation became.  One that is a CONFLICT stays
 * until the bytes of st, which are its own and more, are in the bucket. */
void staged_catch_up_locked(struct staged *st)
{
	struct staged *older = st->older;
	if (!older || staged_get_state(older) == STAGED_SEALED ||
	    staged_get_state(older) == STAGED_CONFLICT)
		return;
	if (staged_get_state(older) == STAGED_DONE) {
		staged_copy_string(st->base, sizeof(st->base), older->object.etag);
		staged_copy_string(st->base_tags, sizeof(st->base_tags), older->tag);
		/* Its bytes serve nobody any more: st has a copy. */
		atomic_store(&older->retired, true);
		(void)unlink(older->path);
	}
	st->older = older->older;
	older->older = NULL;
	staged_unref(older);
}

static void follow_up_locked(struct staged *st)
{
	struct staged *next = staged_find_locked(st->sg, st->key);
	while (next && next->older != st)
		next = next->older;
	if (!next)
		return;
	staged_catch_up_locked(next);
	staged_submit_locked(next);
}

/* An older generation that nobody will upload: st has its bytes and has arrived.  Ours,
 * or NULL.  In one with what st has become: whoever claims it next sees no chain that is
 * about to be taken apart. */
static struct staged *take_superseded_locked(struct staged *st)
{
	struct staged *older = st->older;
	if (!older || staged_get_state(st) == STAGED_SEALED ||
	    staged_get_state(older) == STAGED_SEALED)
		return NULL;
	st->older = STEAL(older->older);
	staged_set_state_locked(older, STAGED_DROPPED);
	return older;
}

static void drop_superseded(struct staged *older)
{
	if (!older)
		return;
	struct journal_change c = {.kind = JOURNAL_DEL_ROW, .id = older->id};
	journal_forget(older->sg->jn, &c, 1, false);
	(void)unlink(older->path);
	staged_unref(older);
}

static void finish_locked(struct attempt *at, int r, const struct object *obj)
{
	struct staged *st = at->st;
	st->sending = st->uploading = false;
	st->attempts++;
	st->error = r;
	st->uncertain = r != 0;
	st->uncertain_key = map_hash_string(at->key);
	st->retry_at_ns = clock_add(clock_now_ns(),
				    st->sg->hurried ? HURRIED_NS : st->sg->conf.retry_ns);
	if (!r) {
		st->object = *obj;
		staged_set_state_locked(st, STAGED_DONE);
	} else if (r == -ENODATA && st->fd < 0) {
		staged_set_state_locked(st, STAGED_DROPPED);
		staged_unmap_locked(st);
	} else if (r == -ESTALE && !at->no_retry) {
		staged_set_state_locked(st, STAGED_CONFLICT);
	}
	if (staged_get_state(st) != STAGED_SEALED)
		follow_up_locked(st);
	(void)pthread_cond_broadcast(&st->sg->changed);
}

/* The store made something else of it: what is there is not what the tag says.  Under
 * another tag it is an earlier upload of ours, which the next one replaces (P2). */
static int retag(struct attempt *at)
{
	struct staged *st = at->st;
	struct row_image image;
	int r = tag_make(at->tag);
	if (r)
		return r;
	(void)pthread_mutex_lock(&st->sg->lock);
	tags_add(st->base_tags, st->tag);
	tags_add(st->base_tags, TAG_NOTHING); /* the backend may have removed it */
	staged_copy_string(st->tag, sizeof(st->tag), at->tag);
	staged_copy_string(at->base_tags, sizeof(at->base_tags), st->base_tags);
	staged_row_locked(st, &image);
	(void)pthread_mutex_unlock(&st->sg->lock);
	image.row.key = at->key;
	image.row.base = at->base;
	image.row.local = false;
	image.row.state = ROW_SEALED;
	struct journal_change c = {.kind = JOURNAL_PUT_ROW, .row = &image.row};
	return journal_commit(st->sg->jn, &c, 1, true);
}

static int run_until_sound(struct attempt *at, struct object *ret)
{
	int r = run_upload(at, ret);
	if (r == -EBADE && !retag(at)) {
		r = run_upload(at, ret);
		if (r == -EBADE)
			(void)retag(at);
	}
	return r == -EBADE ? -EIO : r;
}

/* A store that refuses does so again and again: that is said once. */
static bool is_news(const struct staged *st, int r)
{
	SCOPED_LOCK(&st->sg->lock);
	return r != st->error;
}

static void attempt_free(struct attempt *at)
{
	staged_unref(at->st);
	free(at->key);
	free(at);
}

static void attempt_run(struct attempt *at)
{
	struct staged *st = at->st;
	struct object obj;
	int r = run_until_sound(at, &obj);
	if (r != -EINTR)
		metrics_add(r ? METRIC_UPLOADS_FAILED : METRIC_UPLOADS, 1);
	if (!r)
		record_done(at, &obj);
	else if (r == -ESTALE && !at->no_retry)
		record_conflict(at);
	else if (r == -ENODATA && st->fd < 0)
		record_lost(at);
	else if (r != -EINTR && r != -ESTALE && is_news(st, r))
		log_warn("upload",
			 "%s is not in the bucket yet (%s); its bytes are kept "
			 "and sent again later",
			 at->key, strerror(-r));

	(void)pthread_mutex_lock(&st->sg->lock);
	finish_locked(at, r, &obj);
	struct staged *older = take_superseded_locked(st);
	(void)pthread_mutex_unlock(&st->sg->lock);
	drop_superseded(older);
	staged_retire_if_idle(st);
	staging_run_orphans(st->sg);
	attempt_free(at);
}

/* --- waiting for a thread --- */

void attempt_queues_init(struct staging *sg)
{
	for (int rank = 0; rank < RANK_COUNT; rank++) {
		sg->queues[rank].sg = sg;
		TAILQ_INIT(&sg->queues[rank].list);
	}
}

static void dequeue_locked(struct attempt *at)
{
	TAILQ_REMOVE(&at->queue->list, at, link);
	at->queue->n--;
	at->st->queued = NULL;
}

static void take_main(void *arg)
{
	struct attempt_queue *q = arg;
	(void)pthread_mutex_lock(&q->sg->lock);
	struct attempt *at = TAILQ_FIRST(&q->list);
	q->asked--;
	if (at) {
		dequeue_locked(at);
		at->st->uploading = true;
	}
	(void)pthread_mutex_unlock(&q->sg->lock);
	if (at)
		attempt_run(at);
}

static int enqueue_locked(struct attempt *at, enum attempt_rank rank)
{
	struct staging *sg = at->st->sg;
	struct attempt_queue *q = &sg->queues[rank];
	enum prio prio = rank == RANK_FRESH ? PRIO_DEMAND : PRIO_HINT;
	if (q->asked <= q->n) { /* what was taken back leaves one over */
		int r = pool_submit(sg->jobs, prio, take_main, q);
		if (r)
			return r;
		q->asked++;
	}
	at->queue = q;
	TAILQ_INSERT_TAIL(&q->list, at, link);
	q->n++;
	at->st->queued = at;
	return 0;
}

void staged_hasten_locked(struct staged *st)
{
	struct attempt *at = st->queued;
	struct attempt_queue *slow = &st->sg->queues[RANK_AGAIN];
	if (!at || at->queue != slow)
		return;
	dequeue_locked(at);
	if (!enqueue_locked(at, RANK_FRESH))
		return;
	/* Back: there is a thread asked for it. */
	TAILQ_INSERT_HEAD(&slow->list, at, link);
	slow->n++;
	st->queued = at;
}

void staged_stop_sending_locked(struct staged *st)
{
	while (st->sending) {
		if (st->queued) {
			struct attempt *at = st->queued;
			dequeue_locked(at);
			st->sending = false;
			attempt_free(at); /* the caller has st too */
			(void)pthread_cond_broadcast(&st->sg->changed);
		} else {
			atomic_store(&st->cancel, true);
			cond_wait_ms(&st->sg->changed, &st->sg->lock, STAGED_LOOK_MS);
		}
	}
	if (!st->sg->closing) /* the parts of a file that grows go up again */
		atomic_store(&st->cancel, false);
}

static bool start_attempt_locked(struct staged *st)
{
	bool again = st->uncertain && !st->no_retry;
	struct attempt *at = calloc(1, sizeof(*at));
	if (!at)
		return false;
	at->key = strdup(st->key);
	at->st = staged_ref(st);
	at->no_retry = st->no_retry;
	staged_copy_string(at->base, sizeof(at->base), st->base);
	staged_copy_string(at->base_tags, sizeof(at->base_tags), st->base_tags);
	staged_copy_string(at->tag, sizeof(at->tag), st->tag);
	atomic_store(&st->cancel, false);
	if (at->key && !enqueue_locked(at, again ? RANK_AGAIN : RANK_FRESH))
		return true;
	attempt_free(at); /* the caller has st too */
	return false;
}

void staged_submit_locked(struct staged *st)
{
	if (!st->busy)
		staged_submit_claimed_locked(st);
}

void staged_submit_claimed_locked(struct staged *st)
{
	bool has_turn = !st->older || staged_get_state(st->older) != STAGED_SEALED;
	if (staged_get_state(st) != STAGED_SEALED || st->sending || !has_turn ||
	    st->sg->closing)
		return;
	if (start_attempt_locked(st)) {
		st->sending = true;
		return;
	}
	/* Whoever waits for it is told; the keeper comes by again. */
	st->attempts++;
	st->error = -ENOMEM;
	(void)pthread_cond_broadcast(&st->sg->changed);
}
