/* staged_rename.c - staged files that change or lose their names.  See staged.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cache/staged_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

/* The generation before st is over: its row is gone from the journal.  The reference to
 * it that st had; who has claimed it gives that up now, and not before: it would be sent. */
static struct staged *drop_older_locked(struct staged *st)
{
	struct staged *older = st->older;
	st->older = STEAL(older->older);
	staged_set_state_locked(older, STAGED_DROPPED);
	(void)unlink(older->path);
	return older;
}

/* st, which is promised as well, takes the place of an earlier generation that waits for
 * its upload.  Both are claimed. */
static int replace_older_locked(struct staged *st)
{
	struct staging *sg = st->sg;
	struct staged *older = st->older;
	struct journal_change c = {.kind = JOURNAL_DEL_ROW, .id = older->id};
	(void)pthread_mutex_unlock(&sg->lock);
	int r = journal_commit(sg->jn, &c, 1, false);
	(void)pthread_mutex_lock(&sg->lock);
	if (r)
		return r;
	/* What the bucket has may be the older one's, or what that started from. */
	staged_tags_locked(older, older->key, st->base_tags);
	older->superseded = true;
	(void)drop_older_locked(st);
	staged_unclaim_locked(older);
	staged_unref(older);
	return 0;
}

/* Claim it and all generations before it; nothing of them is in flight afterwards. */
static void claim_all(struct staged *st)
{
	SCOPED_LOCK(&st->sg->lock);
	staged_claim_locked(st);
	staged_stop_sending_locked(st);
	for (struct staged *at = st; at->older;) {
		struct staged *older = staged_ref(at->older);
		staged_claim_locked(older);
		staged_stop_sending_locked(older);
		if (at->older == older)
			at = older;
		else /* it got through */
			staged_unclaim_locked(older);
		staged_unref(older);
	}
}

static void unclaim_all(struct staged *st)
{
	SCOPED_LOCK(&st->sg->lock);
	for (struct staged *at = st; at; at = at->older)
		staged_unclaim_locked(at);
}

/* How many generations are left once they are settled. */
enum { SETTLED_MAX = 2 };

/* Claim all generations; of those that are promised the newest is left.  It is before st
 * if st is OPEN: nobody knows yet whether anything will come of st, and until that is
 * sure nothing else is there of what was acknowledged (P3).  They are claimed whatever is
 * returned. */
static int settle(struct staged *st)
{
	int r = 0;
	claim_all(st);
	SCOPED_LOCK(&st->sg->lock);
	bool keeps = st->older && staged_get_state(st) == STAGED_OPEN;
	struct staged *last = keeps ? st->older : st;
	while (!r && last->older)
		r = replace_older_locked(last);
	return r;
}

/* What the bucket may hold under a name, as far as we are to answer for it. */
struct left {
	bool any;
	char etag[ETAG_SIZE], tags[TAGS_SIZE];
};

/* Never another party's: a version that the user saw there, or an upload of ours.  Of
 * several generations it is the oldest that knows. */
static void left_behind_locked(const struct staged *st, struct left *ret)
{
	const struct staged *first = st;
	*ret = (struct left){0};
	if (st->local || staged_get_state(st) == STAGED_CONFLICT)
		return;
	bool done = staged_get_state(st) == STAGED_DONE;
	while (first->older)
		first = first->older;
	staged_copy_string(ret->etag, sizeof(ret->etag),
			   done ? st->object.etag : first->base);
	if (!done)
		staged_tags_locked(first, st->key, ret->tags);
	ret->any = *ret->etag || *ret->tags;
}

/* Its name is gone; whoever has it open keeps its bytes.  What the cache took over
 * stays DONE: its readers go there. */
static void forget_locked(struct staged *st)
{
	if (!staged_retired(st)) {
		staged_set_state_locked(st, STAGED_DROPPED);
		(void)unlink(st->path);
	}
	st->holds_removal = false;
	atomic_store(&st->cancel, true); /* parts of it that are on their way */
	staged_unmap_locked(st);
}

/* Nor are the claims on them needed any more. */
static void drop_all_older_locked(struct staged *st)
{
	while (st->older) {
		struct staged *older = drop_older_locked(st);
		staged_unclaim_locked(older);
		staged_unref(older);
	}
}

/* Those before it go with it. */
static void forget_all_locked(struct staged *st)
{
	drop_all_older_locked(st);
	forget_locked(st);
}

/* The rows of all generations; how many there are. */
static size_t drop_rows_locked(const struct staged *st, struct journal_change *ret)
{
	size_t n = 0;
	for (; st; st = st->older)
		ret[n++] = (struct journal_change){.kind = JOURNAL_DEL_ROW, .id = st->id};
	return n;
}

/* The same; or -ENOMEM. */
static ssize_t plan_drop_locked(const struct staged *st, struct journal_change **ret)
{
	size_t n = 0;
	for (const struct staged *at = st; at; at = at->older)
		n++;
	struct journal_change *changes = calloc(n + 1, sizeof(*changes));
	if (!changes)
		return -ENOMEM;
	*ret = changes;
	return (ssize_t)drop_rows_locked(st, changes);
}

/* All is told to the journal at once: were the older ones to go first, a crash would
 * leave what they had replaced (P3). */
static int drop_claimed(struct staged *st)
{
	struct staging *sg = st->sg;
	CLEANUP_FREE struct journal_change *changes = NULL;
	struct left left;
	(void)pthread_mutex_lock(&sg->lock);
	bool dropped = staged_get_state(st) == STAGED_DROPPED;
	left_behind_locked(st, &left);
	ssize_t n = dropped ? 0 : plan_drop_locked(st, &changes);
	(void)pthread_mutex_unlock(&sg->lock);
	if (n <= 0)
		return (int)n;
	if (left.any)
		changes[n++] = (struct journal_change){.kind = JOURNAL_PUT_GONE,
						       .key = st->key,
						       .etag = left.etag,
						       .tag = left.tags};
	int r = journal_commit(sg->jn, changes, (size_t)n, false);
	if (!r && left.any)
		r = removal_note(sg->rm, st->key, left.etag, left.tags, NULL);
	if (r)
		return r;
	SCOPED_LOCK(&sg->lock);
	forget_all_locked(st);
	return 0;
}

int staged_drop(struct staged *st)
{
	claim_all(st);
	int r = drop_claimed(st);
	(void)staged_ref(st); /* the map's was, perhaps, the last */
	unclaim_all(st);
	staged_unref(st);
	return r;
}

int staged_freeze(struct staged *st)
{
	int r = settle(st);
	if (r)
		unclaim_all(st);
	return r;
}

static void forget_replaced(struct staged *st)
{
	struct staging *sg = st->sg;
	struct journal_change changes[SETTLED_MAX + 1];
	(void)pthread_mutex_lock(&sg->lock);
	bool held = st->holds_removal;
	size_t n = drop_rows_locked(st, changes);
	(void)pthread_mutex_unlock(&sg->lock);
	if (held)
		changes[n++] =
			(struct journal_change){.kind = JOURNAL_DEL_GONE, .key = st->key};
	journal_forget(sg->jn, changes, n, true);
	(void)pthread_mutex_lock(&sg->lock);
	forget_all_locked(st);
	(void)pthread_mutex_unlock(&sg->lock);
	if (held)
		removal_settled(sg->rm, st->key);
}

void staged_thaw(struct staged *st, bool replaced)
{
	if (replaced)
		forget_replaced(st);
	unclaim_all(st);
}

/* --- rename --- */

/* Rows of the file that is replaced and of the one before st, two removals. */
enum { MOVE_CHANGES = SETTLED_MAX + 1 + 2 };
/* What is more would be left out, and lost with a crash (P3). */
_Static_assert((int)MOVE_CHANGES <= (int)SEAL_EXTRA_MAX, "all go with the seal");

struct move {
	struct staged *st;
	const struct staged_move *mv;
	enum staged_state was;
	char *to;	      /* owned: becomes the key */
	char base[ETAG_SIZE]; /* what st is to replace at the target ... */
	char tags[TAGS_SIZE]; /* ... or one of these uploads of ours */
	struct left left;     /* at the old name */
	char own_tags[TAGS_SIZE]; /* st's, as long as that is its name */
	bool local, took_removal;
	bool synced; /* its bytes are on the disk, and promised */
	struct journal_change changes[MOVE_CHANGES];
	size_t n_changes;
};

/* What goes with the new row: the file that it replaces, the generation before it, what
 * the bucket has under the old name, and the removal that the new name had. */
static void plan_changes(struct move *m)
{
	(void)pthread_mutex_lock(&m->st->sg->lock);
	m->n_changes = drop_rows_locked(m->mv->over, m->changes);
	m->n_changes += drop_rows_locked(m->st->older, m->changes + m->n_changes);
	(void)pthread_mutex_unlock(&m->st->sg->lock);
	if (m->left.any)
		m->changes[m->n_changes++] =
			(struct journal_change){.kind = JOURNAL_PUT_GONE,
						.key = m->st->key,
						.etag = m->left.etag,
						.tag = m->left.tags};
	if (m->took_removal)
		m->changes[m->n_changes++] =
			(struct journal_change){.kind = JOURNAL_DEL_GONE, .key = m->to};
}

/* A local name is never sealed (staged (6)); a conflict was one of the old name. */
static enum staged_state state_after(const struct move *m)
{
	if (m->local)
		return STAGED_OPEN;
	return m->was == STAGED_CONFLICT ? STAGED_SEALED : m->was;
}

/* Under its new name from here on; memory follows the journal. */
static int take_name(struct move *m)
{
	struct staged *st = m->st;
	struct staging *sg = st->sg;
	/* Without memory for it the next mount removes it. */
	if (m->left.any)
		(void)removal_note(sg->rm, st->key, m->left.etag, m->left.tags, NULL);
	if (m->took_removal)
		removal_settled(sg->rm, m->to);
	SCOPED_LOCK(&sg->lock);
	struct staged *over = staged_find_locked(sg, m->to);
	if (m->mv->over)
		forget_all_locked(m->mv->over);
	else if (over) /* it is in the bucket, and was found there */
		staged_unmap_locked(over);
	if (st->older)
		st->older->superseded = true;
	drop_all_older_locked(st);
	staged_unmap_locked(st);
	free(st->key);
	st->key = STEAL(m->to);
	st->local = m->local;
	st->synced = st->synced || m->synced;
	st->holds_removal = false;
	if (staged_get_state(st) != STAGED_DONE)
		staged_copy_string(st->base, sizeof(st->base), m->base);
	if (staged_get_state(st) == m->was && state_after(m) != m->was) {
		if (state_after(m) == STAGED_OPEN)
			atomic_store(&st->dirty, true);
		staged_set_state_locked(st, state_after(m));
	}
	return staged_map_locked(st);
}

/* The row under its new name, with what else changes, in one transaction. */
static int commit_move(struct move *m, enum row_state state,
		       const struct journal_change *extra, size_t n, bool durable)
{
	struct staged *st = m->st;
	struct row_image image;
	struct journal_change all[1 + MOVE_CHANGES] = {
		{.kind = JOURNAL_PUT_ROW, .row = &image.row}};
	(void)pthread_mutex_lock(&st->sg->lock);
	staged_row_locked(st, &image);
	(void)pthread_mutex_unlock(&st->sg->lock);
	image.row.key = m->to;
	image.row.base = m->base;
	image.row.local = m->local;
	image.row.state = state;
	image.row.synced = image.row.synced || m->synced;
	for (size_t i = 0; i < n; i++)
		all[1 + i] = extra[i];
	return journal_commit(st->sg->jn, all, 1 + n, durable);
}

/* Names change at once; the upload, if one is due, follows. */
static int rename_now(struct move *m)
{
	struct staged *st = m->st;
	plan_changes(m);
	if (m->mv->publish && !m->local && m->was == STAGED_OPEN) {
		int r = staged_seal(st, m->to, m->base, m->changes, m->n_changes);
		return r ? r : take_name(m);
	}
	/* What goes with the old name or under the new one was promised: so must be
	 * what takes its place, before it goes. */
	bool plain = st->local && m->local && !m->mv->over;
	int r = plain || m->was != STAGED_OPEN ? 0 : staged_sync_bytes(st);
	m->synced = !plain && !r;
	enum row_state state = state_after(m) == STAGED_OPEN ? ROW_OPEN : ROW_SEALED;
	if (!r)
		r = commit_move(m, state, m->changes, m->n_changes, !plain);
	return r ? r : take_name(m);
}

/* The rows of what would have been replaced, once more. */
static size_t restore_rows_locked(const struct move *m, struct row_image images[],
				  struct journal_change *ret)
{
	size_t n = 0;
	for (struct staged *at = m->mv->over; at; at = at->older) {
		enum staged_state state = staged_get_state(at);
		if (state == STAGED_DONE || state == STAGED_DROPPED)
			continue;
		tags_add(at->base_tags, m->st->tag); /* it may be there after all */
		staged_row_locked(at, &images[n]);
		ret[n] = (struct journal_change){.kind = JOURNAL_PUT_ROW,
						 .row = &images[n].row};
		n++;
	}
	return n;
}

/* Back to what it was: the caller is told that nothing changed. */
static void unseal(struct move *m)
{
	struct staged *st = m->st;
	struct row_image image, images[SETTLED_MAX];
	struct journal_change changes[1 + MOVE_CHANGES] = {
		{.kind = JOURNAL_PUT_ROW, .row = &image.row}};
	struct journal_change stays = {.kind = JOURNAL_DEL_GONE, .key = st->key};
	size_t n = 1;
	(void)pthread_mutex_lock(&st->sg->lock);
	if (m->was == STAGED_OPEN)
		atomic_store(&st->dirty, true);
	atomic_store(&st->unsure, m->was == STAGED_OPEN);
	staged_set_state_locked(st, m->was);
	staged_copy_string(st->base_tags, sizeof(st->base_tags), m->own_tags);
	staged_row_locked(st, &image);
	bool leaves = m->left.any && !st->holds_removal;
	n += restore_rows_locked(m, images, changes + n);
	(void)pthread_mutex_unlock(&st->sg->lock);
	if (leaves)
		changes[n++] = stays;
	if (m->took_removal)
		changes[n++] = (struct journal_change){.kind = JOURNAL_PUT_GONE,
						       .key = m->to,
						       .etag = m->base,
						       .tag = m->tags};
	/* If this is lost the next mount finishes the rename; but once st is written to,
	 * its row is of the old name again, and what the bucket has there must stay. */
	if (!journal_commit(st->sg->jn, changes, n, true))
		atomic_store(&st->unsure, false);
	else if (leaves)
		journal_forget(st->sg->jn, &stays, 1, true);
}

static int upload_under(struct move *m, struct call *call)
{
	struct staged *st = m->st;
	char *own_key = st->key;
	char own_base[ETAG_SIZE];
	SCOPED_LOCK(&st->sg->lock);
	staged_set_state_locked(st, STAGED_SEALED);
	/* The attempt copies the name that it uploads under. */
	staged_copy_string(own_base, sizeof(own_base), st->base);
	staged_copy_string(st->base, sizeof(st->base), m->base);
	st->key = m->to;
	uint64_t before = st->attempts;
	staged_submit_claimed_locked(st);
	st->key = own_key;
	staged_copy_string(st->base, sizeof(st->base), own_base);
	int r = st->sending ? staged_wait_locked(st, before, call) : -ENOMEM;
	if (r)
		staged_stop_sending_locked(st);
	/* It may have got through after all; and nothing else is success. */
	return staged_get_state(st) == STAGED_DONE ? 0 : r ? r : -EIO;
}

static void set_no_retry(struct staged *st, bool no_retry)
{
	SCOPED_LOCK(&st->sg->lock);
	st->no_retry = no_retry;
}

/* Upload under the new name first; names change only when it is there (P2, P4).
 * A crash in between finds the row under the new name and finishes it: all of the rename
 * is in the journal by then.  What is at the old name would come back as it was before
 * the last write; the removal at the new name would hide what the row uploads. */
static int rename_when_uploaded(struct move *m, struct call *call)
{
	struct staged *st = m->st;
	plan_changes(m);
	set_no_retry(st, true);
	int r = m->was == STAGED_OPEN
			? staged_seal(st, m->to, m->base, m->changes, m->n_changes)
			: commit_move(m, ROW_SEALED, m->changes, m->n_changes, true);
	bool sealed = !r;
	if (!r)
		r = upload_under(m, call);
	if (r && sealed)
		unseal(m);
	set_no_retry(st, false);
	/* After -ESTALE the kernel looks anew and renames again by itself: what the user
	 * has never seen would be replaced (P5). */
	if (r == -ESTALE) {
		names_forget(st->sg->nm, m->to);
		r = -EBUSY;
	}
	return r ? r : take_name(m);
}

static bool waits_for_upload(const struct move *m)
{
	return m->mv->publish && m->mv->wait && !m->local;
}

/* Nobody has it open, and it could not be sealed when it was closed.  Now it must be, for
 * the one before it to go before the rename is sure: until then nothing is sent. */
static int seal_first(struct move *m)
{
	struct staged *st = m->st;
	int r = staged_seal(st, st->key, NULL, NULL, 0);
	SCOPED_LOCK(&st->sg->lock);
	return r ? r : replace_older_locked(st);
}

static int look_at_source(struct move *m)
{
	struct staged *st = m->st;
	SCOPED_LOCK(&st->sg->lock);
	enum staged_state state = staged_get_state(st);
	if (state == STAGED_DONE || state == STAGED_DROPPED || staged_retired(st))
		return -EALREADY;
	/* Its bytes are in the bucket, under this name, if anywhere: that is being asked.
	 */
	if (st->fd < 0)
		return -EBUSY;
	/* Under an ordinary name it would be uploaded (staged (7)). */
	return atomic_load(&st->torn) && !m->local ? st->torn_error : 0;
}

static int start_move(struct move *m)
{
	struct staged *st = m->st;
	int r = settle(st);
	if (!r)
		r = look_at_source(m);
	if (!r && st->older && waits_for_upload(m))
		r = seal_first(m);
	if (r)
		return r;
	SCOPED_LOCK(&st->sg->lock);
	m->was = staged_get_state(st);
	left_behind_locked(st, &m->left);
	staged_tags_locked(st, st->key, m->own_tags);
	return 0;
}

/* Of several generations it is the oldest that knows. */
static void base_locked(const struct staged *st, char ret_etag[ETAG_SIZE],
			char ret_tags[TAGS_SIZE])
{
	bool done = staged_get_state(st) == STAGED_DONE;
	const struct staged *first = st;
	while (!done && first->older)
		first = first->older;
	staged_copy_string(ret_etag, ETAG_SIZE, done ? st->object.etag : first->base);
	staged_tags_locked(first, st->key, ret_tags);
}

void staged_get_base(struct staged *st, char ret_etag[ETAG_SIZE],
		     char ret_tags[TAGS_SIZE])
{
	SCOPED_LOCK(&st->sg->lock);
	base_locked(st, ret_etag, ret_tags);
}

static void find_base(struct move *m)
{
	const struct staged_move *mv = m->mv;
	struct staging *sg = m->st->sg;
	if (m->local)
		return;
	if (!mv->over && mv->base)
		staged_copy_string(m->base, sizeof(m->base), mv->base->etag);
	else if (!mv->over)
		m->took_removal = removal_take(sg->rm, mv->to, m->base, m->tags);
	SCOPED_LOCK(&sg->lock);
	if (mv->over) {
		base_locked(mv->over, m->base, m->tags);
		m->took_removal = mv->over->holds_removal;
	}
	staged_copy_string(m->st->base_tags, sizeof(m->st->base_tags), m->tags);
}

/* It keeps its old name, and may have uploads of ours there. */
static void restore_tags(struct move *m)
{
	SCOPED_LOCK(&m->st->sg->lock);
	staged_copy_string(m->st->base_tags, sizeof(m->st->base_tags), m->own_tags);
}

/* Both are claimed. */
static int move_claimed(struct move *m, struct call *call)
{
	const struct staged_move *mv = m->mv;
	find_base(m);
	if (m->took_removal)
		removal_keep(m->st->sg->rm, mv->to);
	int r = waits_for_upload(m) ? rename_when_uploaded(m, call) : rename_now(m);
	if (r)
		restore_tags(m);
	if (r && m->took_removal && !mv->over)
		removal_release(m->st->sg->rm, mv->to);
	return r;
}

int staged_rename(struct staged *st, const struct staged_move *mv, struct call *call)
{
	struct move m = {.st = st, .mv = mv, .local = staging_is_local(st->sg, mv->to)};
	m.to = strdup(mv->to);
	if (!m.to)
		return -ENOMEM;
	int r = start_move(&m);
	if (!r && mv->over)
		r = staged_freeze(mv->over);
	if (!r) {
		r = move_claimed(&m, call);
		if (mv->over)
			unclaim_all(mv->over);
	}
	free(m.to);
	staged_owe(st);
	/* What was stopped above goes on, under the one name or the other. */
	unclaim_all(st);
	staged_retire_later(st);
	return r;
}
