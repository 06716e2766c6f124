/* early.c - parts of a file go up while it grows.
 *
 * For its own name, or, where that is a temporary one (P6), for the name that it will
 * be renamed to.  If it is renamed to another after all, or removed, what went up is
 * an orphan.  Whether parts go up early changes nothing but the time that close or
 * rename takes: what they send and verify is the file as it is then (parts (2)).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cache/local_only.h"
#include "cache/staged_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/metrics.h"
#include "backends/util/banned.h"

/* --- making --- */

static void note_sent(void *arg, uint64_t bytes)
{
	metrics_add(METRIC_UPLOADED_BYTES, bytes);
	staged_sent(arg, bytes);
}

static struct parts_conf conf_of(struct staged *st, const char *key)
{
	struct staging *sg = st->sg;
	return (struct parts_conf){
		.be = sg->be,
		.pool = sg->parts,
		.jn = sg->jn,
		.orphans = sg->orphans,
		.staged_id = st->id,
		.key = key,
		.fd = st->fd,
		.timeout_ns = sg->conf.timeout_ns,
		.quiet_ns = sg->conf.retry_ns,
		.cancelled = &st->cancel,
		.sent = note_sent,
		.arg = st,
	};
}

/* For the object key.  staging.lock is held, and st has none. */
static struct parts *make_locked(struct staged *st, const char *key)
{
	struct parts *p;
	struct parts_conf conf = conf_of(st, key);
	if (st->fd < 0 || !(st->sg->be->caps & BACKEND_UPLOAD) || parts_new(&conf, &p))
		return NULL;
	atomic_store(&st->parts, p);
	return p;
}

/* The object that it will be, as far as can be told; false: none. */
static bool target_locked(const struct staged *st, char ret[KEY_SIZE])
{
	if (st->local)
		return local_only_target(st->sg->local_only, st->key, ret);
	staged_copy_string(ret, KEY_SIZE, st->key);
	return true;
}

/* *ret_made: by this call. */
static struct parts *make_early(struct staged *st, bool *ret_made)
{
	char key[KEY_SIZE];
	SCOPED_LOCK(&st->sg->lock);
	struct parts *p = atomic_load(&st->parts);
	/* Parts that must go in order cannot be sent again. */
	if (p || st->sg->be->caps & BACKEND_IN_ORDER || atomic_load(&st->nameless) ||
	    staged_get_state(st) != STAGED_OPEN || !target_locked(st, key))
		return p;
	p = make_locked(st, key);
	*ret_made = p != NULL;
	return p;
}

/* --- while it grows --- */

struct early_job {
	struct staged *st; /* a reference: its file is read */
	struct parts *p;
};

static void early_main(void *arg)
{
	struct early_job *job = arg;
	parts_work(job->p);
	staged_unref(job->st);
	free(job);
}

static void add_worker(struct staged *st, struct parts *p)
{
	struct early_job *job = malloc(sizeof(*job));
	if (job)
		*job = (struct early_job){staged_ref(st), p};
	/* Behind what somebody waits for. */
	if (job && !pool_submit(st->sg->parts, PRIO_HINT, early_main, job))
		return;
	parts_unwork(p);
	if (job)
		staged_unref(job->st);
	free(job);
}

/* Writers that go from the front to the back, one write after the other. */
static void move_front(struct staged *st, uint64_t off, uint64_t end)
{
	uint64_t front = atomic_load(&st->filled_to);
	while (off <= front && end > front &&
	       !atomic_compare_exchange_weak(&st->filled_to, &front, end))
		;
}

/* The first of its parts is full: what comes from now on is counted. */
static struct parts *start_counting(struct staged *st, uint64_t *off, uint64_t end)
{
	bool made = false;
	struct parts *p = make_early(st, &made);
	uint64_t front = atomic_load(&st->filled_to);
	if (made && front >= end)
		*off = 0; /* nothing was left out so far */
	return p;
}

void early_wrote(struct staged *st, uint64_t off, uint64_t len)
{
	uint64_t end = off + len;
	struct parts *p = atomic_load(&st->parts);
	move_front(st, off, end);
	if (!p && end >= EARLY_FROM)
		p = start_counting(st, &off, end);
	if (p && parts_wrote(p, off, end - off))
		add_worker(st, p);
}

void early_cut(struct staged *st, uint64_t size)
{
	struct parts *p = atomic_load(&st->parts);
	uint64_t front = atomic_load(&st->filled_to);
	if (size < front)
		atomic_store(&st->filled_to, size);
	if (p)
		parts_cut(p, size);
}

/* --- when it is sealed and sent --- */

bool early_tag(struct staged *st, const char *key, char ret[TAG_SIZE])
{
	struct parts *p = atomic_load(&st->parts);
	if (!p)
		return false;
	if (strcmp(parts_key(p), key)) {
		parts_hold(p);
		return false;
	}
	/* The link need not wait until the disk has the bytes, too. */
	parts_settle(p);
	const char *tag = parts_tag(p);
	if (tag)
		staged_copy_string(ret, TAG_SIZE, tag);
	return tag != NULL;
}

/* Who frees it after that frees nothing that is in use: writers look for it with io held,
 * whoever goes through all files with staging.lock. */
static struct parts *detach(struct staged *st)
{
	(void)pthread_rwlock_wrlock(&st->io);
	(void)pthread_mutex_lock(&st->sg->lock);
	struct parts *p = atomic_exchange(&st->parts, NULL);
	(void)pthread_mutex_unlock(&st->sg->lock);
	(void)pthread_rwlock_unlock(&st->io);
	return p;
}

void early_give_up(struct staged *st)
{
	struct parts *p = detach(st);
	if (!p)
		return;
	atomic_store(&st->cancel, true);
	parts_hold(p);
	parts_wait(p);
	parts_give_up(p);
	parts_free(p);
	staged_unsend(st, 0);
	SCOPED_LOCK(&st->sg->lock);
	if (!st->sg->closing)
		atomic_store(&st->cancel, false);
}

int early_complete(struct staged *st, const char *key, const char *tag, uint64_t size,
		   struct parts **ret)
{
	struct parts *p = atomic_load(&st->parts);
	const char *begun = p ? parts_tag(p) : NULL;
	bool in_parts = size > SINGLE_PUT_MAX && (st->sg->be->caps & BACKEND_UPLOAD);
	if (p &&
	    (!in_parts || strcmp(parts_key(p), key) || (begun && strcmp(begun, tag)))) {
		early_give_up(st);
		p = NULL;
	}
	if (!p && in_parts) {
		SCOPED_LOCK(&st->sg->lock);
		p = make_locked(st, key);
	}
	*ret = p;
	return in_parts && !p ? -ENOMEM : 0;
}

uint64_t early_row(struct staged *st)
{
	struct parts *p = atomic_load(&st->parts);
	return p ? parts_row(p) : 0;
}

void early_over(struct staged *st)
{
	struct parts *p = detach(st);
	if (!p)
		return;
	/* Of an object that was there already nobody waited for the parts. */
	parts_hold(p);
	parts_wait(p);
	parts_free(p);
}

void early_free(struct staged *st)
{
	struct parts *p = atomic_exchange(&st->parts, NULL);
	/* At the end of the mount the next one goes on. */
	if (p && !atomic_load(&st->sg->cancelled))
		parts_give_up(p);
	parts_free(p);
}

/* --- what an earlier mount had begun --- */

/* A growing file goes on with it if it is for the name that it will have, one that was
 * sealed if it makes the object that the row tells of. */
static bool goes_on_locked(const struct staged *st, const struct journal_upload *up)
{
	char key[KEY_SIZE];
	if (*up->upload_id == PARTS_UNKNOWN || atomic_load(&st->parts) ||
	    strlen(up->tag) >= TAG_SIZE || !target_locked(st, key) ||
	    strcmp(key, up->key))
		return false;
	return staged_get_state(st) == STAGED_OPEN ||
	       (staged_get_state(st) == STAGED_SEALED && !strcmp(st->tag, up->tag));
}

static struct staged *find_id_locked(struct staging *sg, uint64_t id)
{
	struct map_node *node = NULL;
	while ((node = map_next(&sg->by_key, node))) {
		struct staged *st = container_of(node, struct staged, node);
		for (; st; st = st->older)
			if (st->id == id)
				return st;
	}
	return NULL;
}

int staging_load_upload(struct staging *sg, const struct journal_upload *up)
{
	SCOPED_LOCK(&sg->lock);
	struct staged *st = find_id_locked(sg, up->staged_id);
	struct parts *p = st && goes_on_locked(st, up) ? make_locked(st, up->key) : NULL;
	if (!p) {
		orphans_add(sg->orphans, up->id, up->key, up->upload_id);
		return 0;
	}
	return parts_restore(p, up);
}

int staging_load_part(struct staging *sg, uint64_t upload, const struct part *part,
		      uint32_t crc)
{
	SCOPED_LOCK(&sg->lock);
	struct map_node *node = NULL;
	while ((node = map_next(&sg->by_key, node))) {
		struct staged *st = container_of(node, struct staged, node);
		for (; st; st = st->older) {
			struct parts *p = atomic_load(&st->parts);
			if (!p || parts_row(p) != upload)
				continue;
			/* One that is refused is sent again. */
			(void)parts_restore_part(p, part, crc);
			return 0;
		}
	}
	return 0;
}

/* --- orphans --- */

bool staging_has_upload(void *arg, const char *id)
{
	struct staging *sg = arg;
	SCOPED_LOCK(&sg->lock);
	struct map_node *node = NULL;
	while ((node = map_next(&sg->by_key, node))) {
		struct staged *st = container_of(node, struct staged, node);
		for (; st; st = st->older) {
			struct parts *p = atomic_load(&st->parts);
			if (p && parts_has_id(p, id))
				return true;
		}
	}
	return false;
}

static void orphans_main(void *arg)
{
	struct staging *sg = arg;
	orphans_run(sg->orphans);
}

/* One that is not submitted is the keeper's. */
void staging_run_orphans(struct staging *sg)
{
	if (orphans_due(sg->orphans))
		(void)pool_submit(sg->jobs, PRIO_DEMAND, orphans_main, sg);
}
