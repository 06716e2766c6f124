/* publish.c - from OPEN to DONE: sealing, waiting, trying again.
 * See staged.h for the states and the invariants, attempt.c for what is sent. */
#include <errno.h>
#include <string.h>
#include "cache/staged_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/cond.h"
#include "backends/util/thread.h"
#include "backends/util/banned.h"

/* --- sealing --- */

static int commit_sealed(struct staged *st, const char *key, const char *base,
			 const char *tag, const struct journal_change *extra,
			 size_t n_extra)
{
	struct journal_change changes[2 + SEAL_EXTRA_MAX];
	struct row_image image;
	size_t n = 0;
	(void)pthread_mutex_lock(&st->sg->lock);
	staged_row_locked(st, &image);
	staged_tags_locked(st, key, image.base_tags);
	(void)pthread_mutex_unlock(&st->sg->lock);
	image.row.key = key;
	if (base)
		image.row.base = base;
	image.row.tag = tag;
	image.row.local = false;
	image.row.state = ROW_SEALED;
	changes[n++] =
		(struct journal_change){.kind = JOURNAL_PUT_ROW, .row = &image.row};
	/* Whether it was held or not: for want of memory there may be a row of which only
	 * the journal knows, and the next mount would hide this file for it. */
	changes[n++] = (struct journal_change){.kind = JOURNAL_DEL_GONE, .key = key};
	for (size_t i = 0; i < n_extra && i < SEAL_EXTRA_MAX; i++)
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
	/* Of the last write, which the caller may not have seen fail (7). */
	int r = atomic_load(&st->torn) ? st->torn_error : 0;
	if (!r)
		staged_set_state_locked(st, STAGED_SEALED);
	staged_tags_locked(st, key, before);
	(void)pthread_mutex_unlock(&sg->lock);
	if (!r)
		atomic_store(&st->dirty, false);
	(void)pthread_rwlock_unlock(&st->io);

	if (!r && !early_tag(st, key, tag))
		r = tag_make_kin(before, tag);
	if (!r)
		r = staged_sync_bytes(st);
	if (!r) {
		r = commit_sealed(st, key, base, tag, extra, n_extra);
		if (r == -ENOSPC) {
			staged_make_room(st, 0);
			r = commit_sealed(st, key, base, tag, extra, n_extra);
		}
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
		st->uncertain = st->owed = false;
		staged_copy_string(st->tag, sizeof(st->tag), tag);
	}
	bool settled = !r && st->holds_removal && !strcmp(key, st->key);
	st->holds_removal = st->holds_removal && !settled;
	(void)pthread_mutex_unlock(&sg->lock);
	if (settled)
		removal_settled(sg->rm, key);
	return r;
}

/* --- waiting --- */

/* The generation whose turn it is. */
static struct staged *first_due(struct staged *st)
{
	while (st->older && staged_get_state(st->older) == STAGED_SEALED)
		st = st->older;
	return st;
}

/* By somebody who changes its time or its name, not by who waits: it is sent again at
 * once.  Not where a rename waits for just this attempt. */
static bool was_stopped(const struct staged *st)
{
	return st->error == -EINTR && !st->no_retry;
}

/* What close says.  What was removed is nobody's any more; what a later generation took
 * the place of is not in the bucket, and that one may never be (P2). */
static int outcome_locked(const struct staged *st)
{
	switch (staged_get_state(st)) {
	case STAGED_CONFLICT:
		return -ESTALE;
	case STAGED_SEALED:
		return st->error;
	case STAGED_DROPPED:
		return st->superseded ? -EIO : 0;
	default:
		return 0;
	}
}

int staged_wait_locked(struct staged *st, uint64_t attempts_before, struct call *call)
{
	/* Only compared: it may be gone when we look again. */
	const struct staged *first = first_due(st);
	uint64_t first_before = first->attempts;
	while (staged_get_state(st) == STAGED_SEALED) {
		if (st->attempts != attempts_before && !was_stopped(st))
			break;
		attempts_before = st->attempts;
		/* The upload has deadlines of its own; only the caller's wish to
		 * leave is looked at here. */
		if (call_cancelled(call))
			return -EINTR;
		if (st->sg->closing)
			return -ESHUTDOWN;
		staged_hasten_locked(first_due(st));
		cond_wait_ms(&st->sg->changed, &st->sg->lock, STAGED_LOOK_MS);
		/* What must go before it has failed: so has this, for now. */
		const struct staged *now = first_due(st);
		if (now == st || now != first) {
			first = now;
			first_before = now->attempts;
		} else if (now->attempts != first_before) {
			if (!was_stopped(now))
				return now->error;
			first_before = now->attempts;
		}
	}
	return outcome_locked(st);
}

bool staged_asks_nothing(struct staged *st)
{
	SCOPED_LOCK(&st->sg->lock);
	return !st->holds_removal; /* whose bytes are kept for who still reads them */
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

/* The close is told, and its bytes stay to be sealed when that can be done (P2). */
static void owe_locked(struct staged *st)
{
	st->owed = true;
	st->retry_at_ns = clock_add(clock_now_ns(), st->sg->conf.retry_ns);
}

void staged_owe(struct staged *st)
{
	SCOPED_LOCK(&st->sg->lock);
	if (staged_get_state(st) == STAGED_OPEN && !atomic_load(&st->writers))
		owe_locked(st);
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
	/* If that fails the journal has said why; the close fails anyway. */
	if (r)
		(void)staged_keep_torn(st);
	(void)pthread_mutex_lock(&sg->lock);
	if (r)
		owe_locked(st);
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
	enum staged_state state = staged_get_state(st);
	if (state == STAGED_DROPPED && !wait)
		return 0;
	if (state != STAGED_SEALED)
		return outcome_locked(st);
	uint64_t before = st->attempts;
	staged_submit_locked(first_due(st));
	staged_submit_locked(st);
	return wait ? staged_wait_locked(st, before, call) : 0;
}

/* --- the set: starting, trying again, ending --- */

/* A close could not seal it, for want of room, say, and nothing is in the way now. */
static bool is_owed_locked(const struct staged *st)
{
	return st->owed && staged_get_state(st) == STAGED_OPEN && st->mapped &&
	       !st->local && atomic_load(&st->dirty) && !atomic_load(&st->writers) &&
	       !atomic_load(&st->torn);
}

bool staged_is_left_locked(const struct staged *st)
{
	return staged_get_state(st) == STAGED_SEALED || is_owed_locked(st);
}

static struct staged *claim_owed_locked(struct staging *sg, uint64_t now)
{
	struct map_node *node = NULL;
	while ((node = map_next(&sg->by_key, node))) {
		struct staged *st = container_of(node, struct staged, node);
		if (st->busy || st->retry_at_ns > now || !is_owed_locked(st))
			continue;
		staged_claim_locked(st);
		return staged_ref(st);
	}
	return NULL;
}

/* From here on whoever writes makes a new generation.  False: somebody has it open for
 * that already, and what is half written is not published. */
static bool shut(struct staged *st)
{
	(void)pthread_rwlock_wrlock(&st->io);
	(void)pthread_mutex_lock(&st->sg->lock);
	bool idle = is_owed_locked(st);
	if (idle)
		staged_set_state_locked(st, STAGED_SEALED);
	(void)pthread_mutex_unlock(&st->sg->lock);
	(void)pthread_rwlock_unlock(&st->io);
	return idle;
}

/* Drops the lock meanwhile. */
static void seal_owed_locked(struct staging *sg, uint64_t now)
{
	struct staged *st;
	while (!sg->closing && (st = claim_owed_locked(sg, now))) {
		(void)pthread_mutex_unlock(&sg->lock);
		int r = shut(st) ? staged_seal(st, st->key, NULL, NULL, 0) : 0;
		(void)pthread_mutex_lock(&sg->lock);
		if (r)
			owe_locked(st);
		staged_unclaim_locked(st);
		(void)pthread_mutex_unlock(&sg->lock);
		staged_unref(st);
		(void)pthread_mutex_lock(&sg->lock);
	}
}

static void *keeper_main(void *arg)
{
	struct staging *sg = arg;
	(void)pthread_setname_np(pthread_self(), "keeper");
	SCOPED_LOCK(&sg->lock);
	while (!sg->closing) {
		uint64_t now = clock_now_ns();
		seal_owed_locked(sg, now);
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
void staging_hurry(struct staging *sg)
{
	struct map_node *node = NULL;
	SCOPED_LOCK(&sg->lock);
	if (sg->hurried)
		return;
	sg->hurried = true;
	while ((node = map_next(&sg->by_key, node))) {
		struct staged *st = container_of(node, struct staged, node);
		if (is_owed_locked(st))
			st->retry_at_ns = 0;
		for (; st; st = st->older)
			if (!st->no_retry)
				staged_submit_locked(st);
	}
	(void)pthread_cond_broadcast(&sg->ends); /* the keeper's turn is now */
}

static uint64_t count_pending_locked(struct staging *sg)
{
	uint64_t n = 0;
	struct map_node *node = NULL;
	while ((node = map_next(&sg->by_key, node))) {
		struct staged *st = container_of(node, struct staged, node);
		for (; st; st = st->older)
			n += staged_is_left_locked(st);
	}
	return n;
}

uint64_t staging_drain(struct staging *sg, uint64_t deadline_ns)
{
	staging_hurry(sg);
	SCOPED_LOCK(&sg->lock);
	uint64_t left = count_pending_locked(sg);
	while ((left || orphans_fresh(sg->orphans)) && clock_now_ns() < deadline_ns) {
		staging_run_orphans(sg);
		cond_wait_ms(&sg->changed, &sg->lock, STAGED_LOOK_MS);
		left = count_pending_locked(sg);
	}
	return left;
}
