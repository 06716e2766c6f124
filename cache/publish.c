/* publish.c - from OPEN to DONE: sealing, uploading, trying again.
 * See staged.h for the states and the invariants. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "cache/staged_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/cond.h"
#include "backends/util/log.h"
#include "backends/util/metrics.h"
#include "backends/util/thread.h"
#include "cache/upload.h"
#include "backends/util/banned.h"

/* --- sealing --- */

static int commit_sealed(struct staged *st, const char *key, const char *base,
			 const char *tag, const struct journal_change *extra,
			 size_t n_extra)
{
	enum { EXTRA_MAX = 4 };
	struct journal_change changes[2 + EXTRA_MAX];
	struct row_image image;
	size_t n = 0;
	(void)pthread_mutex_lock(&st->sg->lock);
	staged_row_locked(st, &image);
	staged_tags_locked(st, key, image.base_tags);
	bool settles = st->holds_removal && !strcmp(key, st->key);
	(void)pthread_mutex_unlock(&st->sg->lock);
	image.row.key = key;
	if (base)
		image.row.base = base;
	image.row.tag = tag;
	image.row.local = false;
	image.row.state = ROW_SEALED;
	changes[n++] =
		(struct journal_change){.kind = JOURNAL_PUT_ROW, .row = &image.row};
	if (settles)
		changes[n++] =
			(struct journal_change){.kind = JOURNAL_DEL_GONE, .key = key};
	for (size_t i = 0; i < n_extra && i < EXTRA_MAX; i++)
		changes[n++] = extra[i];
	return journal_commit(st->sg->jn, changes, n, true);
}

/* (1): bytes synced, then the row.  (2): from the first line on no write gets in. */
int staged_seal(struct staged *st, const char *key, const char *base,
		const struct journal_change *extra, size_t n_extra)
{
	struct staging *sg = st->sg;
	char tag[TAG_SIZE], before[TAGS_SIZE];
	removal_keep(sg->rm, key);
	(void)pthread_rwlock_wrlock(&st->io);
	(void)pthread_mutex_lock(&sg->lock);
	staged_set_state_locked(st, STAGED_SEALED);
	staged_tags_locked(st, key, before);
	(void)pthread_mutex_unlock(&sg->lock);
	atomic_store(&st->dirty, false);
	(void)pthread_rwlock_unlock(&st->io);

	int r = early_tag(st, key, tag) ? 0 : tag_make_kin(before, tag);
	if (!r)
		r = staged_sync_bytes(st);
	if (!r) {
		r = commit_sealed(st, key, base, tag, extra, n_extra);
		atomic_store(&st->unsure, r != 0);
	}
	(void)pthread_mutex_lock(&sg->lock);
	if (r) {
		atomic_store(&st->dirty, true);
		staged_set_state_locked(st, STAGED_OPEN);
	} else {
		char tags[TAGS_SIZE];
		staged_tags_locked(st, key, tags);
		staged_copy_string(st->base_tags, sizeof(st->base_tags), tags);
		st->uncertain = false;
		staged_copy_string(st->tag, sizeof(st->tag), tag);
	}
	bool settled = !r && st->holds_removal && !strcmp(key, st->key);
	st->holds_removal = st->holds_removal && !settled;
	(void)pthread_mutex_unlock(&sg->lock);
	if (settled)
		removal_settled(sg->rm, key);
	return r;
}

/* --- one attempt --- */

struct attempt {
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

/* An older generation that nobody will upload: st has its bytes and has arrived. */
static void drop_superseded(struct staged *st)
{
	struct staging *sg = st->sg;
	struct staged *older = NULL;
	(void)pthread_mutex_lock(&sg->lock);
	if (st->older && staged_get_state(st) != STAGED_SEALED &&
	    staged_get_state(st->older) != STAGED_SEALED) {
		older = st->older;
		st->older = STEAL(older->older);
		staged_set_state_locked(older, STAGED_DROPPED);
	}
	(void)pthread_mutex_unlock(&sg->lock);
	if (!older)
		return;
	struct journal_change c = {.kind = JOURNAL_DEL_ROW, .id = older->id};
	journal_forget(sg->jn, &c, 1, false);
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
	st->retry_at_ns = clock_add(clock_now_ns(), st->sg->conf.retry_ns);
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

static void attempt_main(void *arg)
{
	struct attempt *at = arg;
	struct staged *st = at->st;
	struct object obj;
	(void)pthread_mutex_lock(&st->sg->lock);
	st->uploading = true;
	(void)pthread_mutex_unlock(&st->sg->lock);
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
	(void)pthread_mutex_unlock(&st->sg->lock);
	drop_superseded(st);
	staged_retire_if_idle(st);
	staging_run_orphans(st->sg);
	staged_unref(st);
	free(at->key);
	free(at);
}

static bool start_attempt_locked(struct staged *st)
{
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
	if (at->key && !pool_submit(st->sg->jobs, PRIO_DEMAND, attempt_main, at))
		return true;
	free(at->key);
	free(at);
	atomic_fetch_sub(&st->refs, 1); /* the caller holds one: never the last */
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

/* --- waiting --- */

static void wait_a_little_locked(struct staging *sg)
{
	uint64_t until = clock_now_ns() + 100 * NS_PER_MS;
	struct timespec ts = {.tv_sec = (time_t)(until / NS_PER_S),
			      .tv_nsec = (long)(until % NS_PER_S)};
	(void)pthread_cond_timedwait(&sg->changed, &sg->lock, &ts);
}

/* The generation whose turn it is. */
static struct staged *first_due(struct staged *st)
{
	while (st->older && staged_get_state(st->older) == STAGED_SEALED)
		st = st->older;
	return st;
}

int staged_wait_locked(struct staged *st, uint64_t attempts_before, struct call *call)
{
	/* Only compared: it may be gone when we look again. */
	const struct staged *first = first_due(st);
	uint64_t first_before = first->attempts;
	while (staged_get_state(st) == STAGED_SEALED && st->attempts == attempts_before) {
		/* The upload has deadlines of its own; only the caller's wish to
		 * leave is looked at here. */
		if (call_cancelled(call))
			return -EINTR;
		if (st->sg->closing)
			return -ESHUTDOWN;
		wait_a_little_locked(st->sg);
		/* What must go before it has failed: so has this, for now. */
		const struct staged *now = first_due(st);
		if (now == st || now != first) {
			first = now;
			first_before = now->attempts;
		} else if (now->attempts != first_before) {
			return now->error;
		}
	}
	switch (staged_get_state(st)) {
	case STAGED_CONFLICT:
		return -ESTALE;
	case STAGED_SEALED:
		return st->error;
	default:
		return 0;
	}
}

void staged_stop_sending_locked(struct staged *st)
{
	while (st->sending) {
		atomic_store(&st->cancel, true);
		wait_a_little_locked(st->sg);
	}
	if (!st->sg->closing) /* the parts of a file that grows go up again */
		atomic_store(&st->cancel, false);
}

bool staged_wants_publishing(struct staged *st)
{
	SCOPED_LOCK(&st->sg->lock);
	switch (staged_get_state(st)) {
	case STAGED_OPEN:
		return !st->local && !atomic_load(&st->nameless) &&
		       atomic_load(&st->dirty);
	case STAGED_SEALED:
	case STAGED_CONFLICT:
		return true;
	default:
		return false;
	}
}

static int seal_if_written(struct staged *st)
{
	struct staging *sg = st->sg;
	(void)pthread_mutex_lock(&sg->lock);
	staged_claim_locked(st);
	bool due = staged_get_state(st) == STAGED_OPEN && !st->local &&
		   !atomic_load(&st->nameless) && atomic_load(&st->dirty);
	int torn = due && atomic_load(&st->torn) ? st->torn_error : 0;
	(void)pthread_mutex_unlock(&sg->lock);
	/* The key changes only by who has claimed it. */
	int r = torn ? torn : due ? staged_seal(st, st->key, NULL, NULL, 0) : 0;
	(void)pthread_mutex_lock(&sg->lock);
	staged_unclaim_locked(st);
	(void)pthread_mutex_unlock(&sg->lock);
	return r;
}

int staged_publish(struct staged *st, bool wait, struct call *call)
{
	struct staging *sg = st->sg;
	int r = seal_if_written(st);
	if (r)
		return r;
	SCOPED_LOCK(&sg->lock);
	if (staged_get_state(st) == STAGED_CONFLICT)
		return -ESTALE;
	if (staged_get_state(st) != STAGED_SEALED)
		return 0;
	uint64_t before = st->attempts;
	staged_submit_locked(first_due(st));
	staged_submit_locked(st);
	return wait ? staged_wait_locked(st, before, call) : 0;
}

/* --- the set: starting, trying again, ending --- */

static void *keeper_main(void *arg)
{
	struct staging *sg = arg;
	(void)pthread_setname_np(pthread_self(), "keeper");
	SCOPED_LOCK(&sg->lock);
	while (!sg->closing) {
		uint64_t now = clock_now_ns();
		struct map_node *node = NULL;
		while ((node = map_next(&sg->by_key, node))) {
			struct staged *st = container_of(node, struct staged, node);
			for (; st; st = st->older)
				if (!st->no_retry && st->retry_at_ns <= now)
					staged_submit_locked(st);
		}
		staging_run_orphans(sg);
		if (!sg->closing)
			cond_wait_ms(&sg->ends, &sg->lock, 1000);
	}
	return NULL;
}

int staging_start(struct staging *sg)
{
	int r = staging_recover(sg);
	if (r)
		return r;
	r = thread_start(&sg->keeper, 0, keeper_main, sg);
	sg->keeper_runs = !r;
	return r;
}

/* What failed a while ago may go now, and there may be no time for its turn. */
static void hurry_once_locked(struct staging *sg)
{
	struct map_node *node = NULL;
	if (sg->hurried)
		return;
	sg->hurried = true;
	while ((node = map_next(&sg->by_key, node))) {
		struct staged *st = container_of(node, struct staged, node);
		for (; st; st = st->older)
			if (!st->no_retry)
				staged_submit_locked(st);
	}
}

static uint64_t count_pending_locked(struct staging *sg)
{
	uint64_t n = 0;
	struct map_node *node = NULL;
	while ((node = map_next(&sg->by_key, node))) {
		struct staged *st = container_of(node, struct staged, node);
		for (; st; st = st->older)
			n += staged_get_state(st) == STAGED_SEALED;
	}
	return n;
}

uint64_t staging_drain(struct staging *sg, uint64_t deadline_ns)
{
	SCOPED_LOCK(&sg->lock);
	hurry_once_locked(sg);
	uint64_t left = count_pending_locked(sg);
	while ((left || orphans_fresh(sg->orphans)) && clock_now_ns() < deadline_ns) {
		staging_run_orphans(sg);
		wait_a_little_locked(sg);
		left = count_pending_locked(sg);
	}
	return left;
}
