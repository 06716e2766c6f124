/* staged_rename.c - staged files that change or lose their names; the set's birth
 * and end.  See staged.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cache/staged_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum { JOBS_MAX = 16 };

/* An earlier generation that waits for its upload: what follows replaces it. */
static struct staged *detach_older_locked(struct staged *st)
{
	struct staged *older = st->older;
	if (!older)
		return NULL;
	staged_stop_sending_locked(older);
	if (st->older != older) /* it got through, or gave up */
		return NULL;
	st->uncertain = true;
	st->older = older->older;
	older->older = NULL;
	staged_set_state_locked(older, STAGED_DROPPED);
	return older;
}

/* Claim it; nothing of it is in flight afterwards and no generation is before it. */
static void settle(struct staged *st)
{
	struct staging *sg = st->sg;
	(void)pthread_mutex_lock(&sg->lock);
	staged_claim_locked(st);
	while (st->older) {
		struct staged *older = detach_older_locked(st);
		if (!older)
			continue;
		(void)pthread_mutex_unlock(&sg->lock);
		struct journal_change c = {.kind = JOURNAL_DEL_ROW, .id = older->id};
		/* If this is lost it is uploaded once more, before st. */
		(void)journal_commit(sg->jn, &c, 1, false);
		(void)unlink(older->path);
		staged_unref(older);
		(void)pthread_mutex_lock(&sg->lock);
	}
	staged_stop_sending_locked(st);
	(void)pthread_mutex_unlock(&sg->lock);
}

/* What the bucket may hold under the name, as far as we are to answer for it. */
static const char *left_behind_locked(const struct staged *st)
{
	if (st->local || staged_get_state(st) == STAGED_CONFLICT)
		return NULL;
	if (staged_get_state(st) == STAGED_DONE)
		return st->object.etag;
	if (st->uncertain)
		return ""; /* whatever is there: it may be our own broken-off upload */
	return *st->base ? st->base : NULL;
}

int staged_drop(struct staged *st)
{
	struct staging *sg = st->sg;
	char base[ETAG_SIZE];
	settle(st);
	(void)pthread_mutex_lock(&sg->lock);
	if (staged_get_state(st) == STAGED_DROPPED) {
		staged_unclaim_locked(st);
		(void)pthread_mutex_unlock(&sg->lock);
		return 0;
	}
	const char *left = left_behind_locked(st);
	if (left)
		staged_copy_string(base, sizeof(base), left);
	(void)pthread_mutex_unlock(&sg->lock);

	struct journal_change changes[] = {
		{.kind = JOURNAL_DEL_ROW, .id = st->id},
		{.kind = JOURNAL_PUT_GONE, .key = st->key, .etag = base},
	};
	int r = journal_commit(sg->jn, changes, left ? 2 : 1, false);
	if (!r && left)
		r = removal_note(sg->rm, st->key, base, NULL);
	(void)pthread_mutex_lock(&sg->lock);
	if (!r) {
		staged_set_state_locked(st, STAGED_DROPPED);
		(void)unlink(st->path);
	}
	staged_unclaim_locked(st);
	if (!r)
		staged_unmap_locked(st);
	(void)pthread_mutex_unlock(&sg->lock);
	return r;
}

/* --- rename --- */

/* The file that is replaced at the target: its row goes in our transaction. */
static void forget_over_locked(struct staged *over)
{
	staged_set_state_locked(over, STAGED_DROPPED);
	(void)unlink(over->path);
	staged_unmap_locked(over);
}

struct move {
	struct staged *st;
	const struct staged_move *mv;
	char *to;	      /* owned: becomes the key */
	char base[ETAG_SIZE]; /* what st is to replace at the target */
	char left[ETAG_SIZE]; /* what is left at the old name */
	bool leaves, local, took_removal;
	struct journal_change changes[4];
	size_t n_changes;
};

static void plan_changes(struct move *m)
{
	if (m->mv->over)
		m->changes[m->n_changes++] = (struct journal_change){
			.kind = JOURNAL_DEL_ROW, .id = m->mv->over->id};
	if (m->leaves)
		m->changes[m->n_changes++] = (struct journal_change){
			.kind = JOURNAL_PUT_GONE, .key = m->st->key, .etag = m->left};
	if (m->took_removal)
		m->changes[m->n_changes++] =
			(struct journal_change){.kind = JOURNAL_DEL_GONE, .key = m->to};
}

/* Under its new name from here on; memory follows the journal. */
static int take_name(struct move *m)
{
	struct staged *st = m->st;
	struct staging *sg = st->sg;
	if (m->leaves) {
		int r = removal_note(sg->rm, st->key, m->left, NULL);
		if (r)
			return r;
	}
	if (m->took_removal)
		removal_settled(sg->rm, m->to);
	(void)pthread_mutex_lock(&sg->lock);
	if (m->mv->over)
		forget_over_locked(m->mv->over);
	staged_unmap_locked(st);
	free(st->key);
	st->key = STEAL(m->to);
	st->local = m->local;
	st->holds_removal = false;
	if (staged_get_state(st) != STAGED_DONE)
		staged_copy_string(st->base, sizeof(st->base), m->base);
	int r = staged_map_locked(st);
	(void)pthread_mutex_unlock(&sg->lock);
	return r;
}

/* Names change at once; the upload, if one is due, follows. */
static int rename_now(struct move *m)
{
	struct staged *st = m->st;
	plan_changes(m);
	int r;
	if (m->mv->publish && staged_get_state(st) == STAGED_OPEN) {
		r = staged_seal(st, m->to, m->base, m->changes, m->n_changes);
	} else {
		struct journal_row row;
		(void)pthread_mutex_lock(&st->sg->lock);
		staged_row_locked(st, &row);
		(void)pthread_mutex_unlock(&st->sg->lock);
		row.key = m->to;
		row.base = m->base;
		row.local = m->local;
		struct journal_change all[5] = {{.kind = JOURNAL_PUT_ROW, .row = &row}};
		for (size_t i = 0; i < m->n_changes; i++)
			all[1 + i] = m->changes[i];
		r = journal_commit(st->sg->jn, all, 1 + m->n_changes,
				   row.state == ROW_SEALED);
	}
	if (!r)
		r = take_name(m);
	if (r)
		return r;
	SCOPED_LOCK(&st->sg->lock);
	staged_submit_locked(st);
	return 0;
}

/* Back to what it was: the caller is told that nothing changed. */
static void unseal(struct move *m, bool was_open)
{
	struct staged *st = m->st;
	struct journal_row row;
	(void)pthread_mutex_lock(&st->sg->lock);
	if (was_open) {
		atomic_store(&st->dirty, true);
		staged_set_state_locked(st, STAGED_OPEN);
	}
	staged_row_locked(st, &row);
	(void)pthread_mutex_unlock(&st->sg->lock);
	struct journal_change c = {.kind = JOURNAL_PUT_ROW, .row = &row};
	(void)journal_commit(st->sg->jn, &c, 1, true);
}

static int upload_under(struct move *m, struct call *call)
{
	struct staged *st = m->st;
	char *own_key = st->key;
	char own_base[ETAG_SIZE];
	SCOPED_LOCK(&st->sg->lock);
	/* The attempt copies the name that it uploads under. */
	staged_copy_string(own_base, sizeof(own_base), st->base);
	staged_copy_string(st->base, sizeof(st->base), m->base);
	st->key = m->to;
	uint64_t before = st->attempts;
	staged_submit_locked(st);
	st->key = own_key;
	staged_copy_string(st->base, sizeof(st->base), own_base);
	int r = st->sending ? staged_wait_locked(st, before, call) : -ENOMEM;
	if (r)
		staged_stop_sending_locked(st);
	/* It may have got through after all. */
	return staged_get_state(st) == STAGED_DONE ? 0 : r;
}

/* Upload under the new name first; names change only when it is there (P2, P4).
 * A crash in between finds the row under the new name and finishes it. */
static int rename_when_uploaded(struct move *m, struct call *call)
{
	struct staged *st = m->st;
	bool was_open = staged_get_state(st) == STAGED_OPEN;
	(void)pthread_mutex_lock(&st->sg->lock);
	st->no_retry = true;
	(void)pthread_mutex_unlock(&st->sg->lock);
	int r = was_open ? staged_seal(st, m->to, m->base, NULL, 0) : 0;
	if (!r)
		r = upload_under(m, call);
	if (r && staged_get_state(st) == STAGED_SEALED)
		unseal(m, was_open);
	(void)pthread_mutex_lock(&st->sg->lock);
	st->no_retry = false;
	(void)pthread_mutex_unlock(&st->sg->lock);
	if (r)
		return r;

	plan_changes(m);
	if (m->n_changes)
		r = journal_commit(st->sg->jn, m->changes, m->n_changes, false);
	return r ? r : take_name(m);
}

static int start_move(struct move *m)
{
	struct staged *st = m->st;
	struct staging *sg = st->sg;
	settle(st);
	SCOPED_LOCK(&sg->lock);
	enum staged_state state = staged_get_state(st);
	if (state == STAGED_DONE || state == STAGED_DROPPED || staged_retired(st))
		return -EALREADY;
	/* Under an ordinary name it would be uploaded (staged (7)). */
	if (atomic_load(&st->torn) && !m->local)
		return st->torn_error;
	const char *left = left_behind_locked(st);
	m->leaves = left != NULL;
	if (left)
		staged_copy_string(m->left, sizeof(m->left), left);
	return 0;
}

static void find_base(struct move *m)
{
	const struct staged_move *mv = m->mv;
	struct staging *sg = m->st->sg;
	if (m->local)
		return;
	if (mv->over) {
		SCOPED_LOCK(&sg->lock);
		const struct staged *over = mv->over;
		bool done = staged_get_state(over) == STAGED_DONE;
		staged_copy_string(m->base, sizeof(m->base),
				   done ? over->object.etag : over->base);
		if (over->uncertain)
			staged_copy_string(m->st->base_tag, sizeof(m->st->base_tag),
					   over->tag);
		m->took_removal = over->holds_removal;
	} else if (mv->base) {
		staged_copy_string(m->base, sizeof(m->base), mv->base->etag);
	} else {
		m->took_removal = removal_take(sg->rm, mv->to, m->base);
	}
}

int staged_rename(struct staged *st, const struct staged_move *mv, struct call *call)
{
	struct staging *sg = st->sg;
	struct move m = {.st = st, .mv = mv, .local = staging_is_local(sg, mv->to)};
	m.to = strdup(mv->to);
	if (!m.to)
		return -ENOMEM;
	int r = start_move(&m);
	if (!r) {
		if (mv->over)
			settle(mv->over);
		find_base(&m);
		r = mv->publish && mv->wait ? rename_when_uploaded(&m, call)
					    : rename_now(&m);
		if (r && m.took_removal && !mv->over)
			removal_release(sg->rm, mv->to);
		if (mv->over) {
			(void)pthread_mutex_lock(&sg->lock);
			staged_unclaim_locked(mv->over);
			(void)pthread_mutex_unlock(&sg->lock);
		}
	}
	free(m.to);
	(void)pthread_mutex_lock(&sg->lock);
	staged_unclaim_locked(st);
	if (r) /* what was stopped above goes on under its old name */
		staged_submit_locked(st);
	(void)pthread_mutex_unlock(&sg->lock);
	staged_retire_if_idle(st);
	return r;
}

/* --- the set --- */

/* Files that no row names: made a moment before a crash, or DONE and not adopted. */
int staging_remove_strays(struct staging *sg)
{
	DIR *d = opendir(sg->dir);
	if (!d)
		return -errno;
	struct dirent *de;
	while ((de = readdir(d))) {
		char *end;
		unsigned long long id = strtoull(de->d_name, &end, 10);
		if (*end || end == de->d_name)
			continue;
		bool known = false;
		struct map_node *node = NULL;
		while (!known && (node = map_next(&sg->by_key, node))) {
			struct staged *st = container_of(node, struct staged, node);
			for (; st && !known; st = st->older)
				known = st->id == id;
		}
		if (!known)
			(void)unlinkat(dirfd(d), de->d_name, 0);
	}
	(void)closedir(d);
	return 0;
}

static int make_pools(struct staging *sg)
{
	struct pool_conf jobs = {.name = "upload", .threads_max = JOBS_MAX};
	struct pool_conf parts = {.name = "upload part", .threads_max = sg->conf.threads};
	int r = pool_new(&jobs, &sg->jobs);
	return r ? r : pool_new(&parts, &sg->parts);
}

int staging_new(const struct staging_conf *conf, struct backend *be, struct blocks *bl,
		struct journal *jn, struct names *nm, struct removal *rm,
		struct staging **ret)
{
	struct staging *sg = calloc(1, sizeof(*sg));
	if (!sg)
		return -ENOMEM;
	sg->conf = *conf;
	sg->be = be;
	sg->bl = bl;
	sg->jn = jn;
	sg->nm = nm;
	sg->rm = rm;
	pthread_condattr_t attr;
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&sg->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	(void)pthread_mutex_init(&sg->lock, NULL);
	sg->local_only = strdup(conf->local_only);
	int r = sg->local_only ? 0 : -ENOMEM;
	if (!r && asprintf(&sg->dir, "%s/staged", conf->dir) < 0) {
		sg->dir = NULL;
		r = -ENOMEM;
	}
	if (!r && mkdir(sg->dir, 0700) && errno != EEXIST) {
		r = -errno;
		log_error("journal", "make %s: %s", sg->dir, strerror(-r));
	}
	if (!r)
		r = make_pools(sg);
	if (r) {
		staging_free(sg);
		return r;
	}
	*ret = sg;
	return 0;
}

static void cancel_all(struct staging *sg)
{
	SCOPED_LOCK(&sg->lock);
	sg->closing = true;
	struct map_node *node = NULL;
	while ((node = map_next(&sg->by_key, node))) {
		struct staged *st = container_of(node, struct staged, node);
		for (; st; st = st->older)
			atomic_store(&st->cancel, true);
	}
	(void)pthread_cond_broadcast(&sg->changed);
}

void staging_free(struct staging *sg)
{
	if (!sg)
		return;
	cancel_all(sg);
	if (sg->keeper_runs)
		(void)pthread_join(sg->keeper, NULL);
	pool_free(sg->jobs);
	pool_free(sg->parts);
	struct map_node *node;
	while ((node = map_next(&sg->by_key, NULL))) {
		SCOPED_LOCK(&sg->lock);
		staged_unmap_locked(container_of(node, struct staged, node));
	}
	map_done(&sg->by_key);
	(void)pthread_cond_destroy(&sg->changed);
	(void)pthread_mutex_destroy(&sg->lock);
	free(sg->dropped);
	free(sg->local_only);
	free(sg->dir);
	free(sg);
}
