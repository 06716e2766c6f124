/* upload.c - see upload.h. */
#include "cache/upload.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "cache/tags.h"
#include "backends/util/banned.h"

/* Up to here one PUT is as fast as parts and is one request. */
enum { SINGLE_PUT_MAX = 16 << 20, PARTS_AT_ONCE = 8 };

static struct call job_call(const struct upload_job *job)
{
	return (struct call){
		.deadline_ns = clock_add(clock_now_ns(), job->timeout_ns),
		.cancelled = job->cancelled,
	};
}

/* --- in parts --- */

/* What the senders of one file's parts share. */
struct sending {
	struct backend *be;
	const struct upload_job *job;
	const char *id;
	uint64_t part_size;
	struct part *parts; /* one each, receipts filled in as they come */
	uint32_t n_parts;

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t idle;
	uint32_t next, helpers;
	int error;
};

static bool next_part(struct sending *s, uint32_t *ret)
{
	SCOPED_LOCK(&s->lock);
	if (s->error || s->next == s->n_parts)
		return false;
	*ret = s->next++;
	return true;
}

static int send_part(struct sending *s, uint32_t at)
{
	uint64_t off = at * s->part_size;
	uint64_t left = s->job->size - off;
	struct source src = {.fd = s->job->fd,
			     .off = off,
			     .len = left < s->part_size ? left : s->part_size};
	struct call call = job_call(s->job);
	s->parts[at].number = at + 1;
	s->parts[at].size = src.len;
	return backend_upload_part(s->be, s->job->key, s->id, off, &src, &s->parts[at],
				   &call);
}

static void send_parts(struct sending *s)
{
	uint32_t at;
	while (next_part(s, &at)) {
		int r = send_part(s, at);
		if (r) {
			SCOPED_LOCK(&s->lock);
			s->error = s->error ? s->error : r;
		}
	}
}

static void helper_main(void *arg)
{
	struct sending *s = arg;
	send_parts(s);
	SCOPED_LOCK(&s->lock);
	s->helpers--;
	(void)pthread_cond_signal(&s->idle);
}

/* The caller's thread sends as well, so a pool that is busy only makes it slower. */
static int send_all_parts(struct sending *s)
{
	uint32_t want = s->be->caps & BACKEND_IN_ORDER ? 0 : PARTS_AT_ONCE - 1;
	if (want > s->n_parts - 1)
		want = s->n_parts - 1;
	for (uint32_t i = 0; i < want; i++) {
		(void)pthread_mutex_lock(&s->lock);
		s->helpers++;
		(void)pthread_mutex_unlock(&s->lock);
		if (pool_submit(s->job->parts, PRIO_DEMAND, helper_main, s)) {
			SCOPED_LOCK(&s->lock);
			s->helpers--;
			break;
		}
	}
	send_parts(s);
	SCOPED_LOCK(&s->lock);
	while (s->helpers)
		(void)pthread_cond_wait(&s->idle, &s->lock);
	return s->error;
}

/* Its id is not known to us: begun, and the answer or the daemon was lost. */
static const char unknown_id[] = "?";

/* Also when the job was cancelled: nothing of ours is left lying there. */
static struct call abort_call(void)
{
	return (struct call){.deadline_ns = clock_add(clock_now_ns(), 10 * NS_PER_S)};
}

static void abort_upload(struct backend *be, const struct upload_job *job, const char *id)
{
	struct call call = abort_call();
	if (!backend_upload_abort(be, job->key, id, &call))
		(void)job->save_id(job->arg, "");
}

struct search {
	struct backend *be;
	const struct upload_job *job;
	int64_t since_ns;
};

static int abort_if_ours(void *arg, const char *key, const char *id, int64_t started_ns)
{
	const struct search *s = arg;
	/* Stores tell whole seconds. */
	bool ours = !strcmp(key, s->job->key) &&
		    started_ns + (int64_t)NS_PER_S > s->since_ns &&
		    started_ns < s->job->mount_born_ns;
	struct call call = abort_call();
	return ours ? backend_upload_abort(s->be, key, id, &call) : 0;
}

static void abort_unknown(struct backend *be, const struct upload_job *job)
{
	struct stat sb;
	struct call call = abort_call();
	if (job->fd < 0 || fstat(job->fd, &sb) || !be->ops->upload_list)
		return;
	struct search s = {.be = be,
			   .job = job,
			   .since_ns = (int64_t)sb.st_ctim.tv_sec * (int64_t)NS_PER_S +
				       sb.st_ctim.tv_nsec};
	if (!backend_upload_list(be, job->key, abort_if_ours, &s, &call))
		(void)job->save_id(job->arg, "");
}

static int send_in_parts(struct backend *be, const struct upload_job *job,
			 const struct put_opts *opts, struct object *ret)
{
	struct sending s = {
		.be = be, .job = job, .part_size = backend_part_size(be, job->size)};
	if (!s.part_size)
		return -EFBIG;
	s.n_parts = (uint32_t)((job->size + s.part_size - 1) / s.part_size);
	CLEANUP_FREE struct part *parts = calloc(s.n_parts, sizeof(*parts));
	CLEANUP_FREE char *id = NULL;
	if (!parts)
		return -ENOMEM;
	int r = job->save_id(job->arg, unknown_id);
	if (r)
		return r;
	struct call call = job_call(job);
	r = backend_upload_begin(be, job->key, job->size, opts, &id, &call);
	if (r)
		return r;
	r = job->save_id(job->arg, id);
	if (!r) {
		s.id = id;
		s.parts = parts;
		(void)pthread_mutex_init(&s.lock, NULL);
		(void)pthread_cond_init(&s.idle, NULL);
		r = send_all_parts(&s);
		(void)pthread_cond_destroy(&s.idle);
		(void)pthread_mutex_destroy(&s.lock);
	}
	call = job_call(job);
	if (!r)
		r = backend_upload_finish(be, job->key, id, parts, s.n_parts, job->size,
					  opts, ret, &call);
	if (r)
		abort_upload(be, job, id);
	return r;
}

/* --- whole --- */

static int send_whole(struct backend *be, const struct upload_job *job,
		      const struct put_opts *opts, struct object *ret)
{
	bool parts = job->size > SINGLE_PUT_MAX && (be->caps & BACKEND_UPLOAD);
	if (parts)
		return send_in_parts(be, job, opts, ret);
	if (job->size > be->limits.put_max)
		return -EFBIG;
	struct source src = {.fd = job->fd, .len = job->size};
	struct call call = job_call(job);
	return backend_put(be, job->key, &src, opts, ret, &call);
}

/* A store without preconditions: compare just before.  A moment is left in which
 * another client can slip in; probe said so when the bucket was mounted. */
static int check_base_by_hand(struct backend *be, const struct upload_job *job,
			      const char *base)
{
	struct object now;
	struct call call = job_call(job);
	int r = backend_head(be, job->key, &now, &call);
	if (r == -ENOENT)
		return *base ? -ESTALE : 0;
	if (r)
		return r;
	return !strcmp(now.etag, base) ? 0 : -ESTALE;
}

static bool store_checks(const struct backend *be, const struct upload_job *job)
{
	bool parts = job->size > SINGLE_PUT_MAX && (be->caps & BACKEND_UPLOAD);
	return be->caps & (parts ? BACKEND_FINISH_IF : BACKEND_PUT_IF);
}

static int send_over(struct backend *be, const struct upload_job *job, const char *base,
		     struct object *ret)
{
	struct put_opts opts = {.mtime_ns = job->mtime_ns, .tag = job->tag};
	if (store_checks(be, job)) {
		opts.cond.if_etag = *base ? base : NULL;
		opts.cond.if_absent = !*base;
	} else {
		int r = check_base_by_hand(be, job, base);
		if (r)
			return r;
	}
	return send_whole(be, job, &opts, ret);
}

/* 1: the object there is this upload.  0: it is not; *ret_rebase: it is the
 * upload of the generation before, whose etag is now in ret->etag. */
static int look_who_is_there(struct backend *be, const struct upload_job *job,
			     bool *ret_rebase, struct object *ret)
{
	struct call call = job_call(job);
	int r = backend_head(be, job->key, ret, &call);
	*ret_rebase = false;
	if (r)
		return r == -ENOENT ? 0 : r;
	if (!strcmp(ret->tag, job->tag))
		return ret->size == job->size || job->fd < 0;
	*ret_rebase = tags_have(job->base_tags, ret->tag);
	return 0;
}

static int resolve(struct backend *be, const struct upload_job *job, struct object *ret)
{
	bool rebase;
	struct object there;
	int r = look_who_is_there(be, job, &rebase, &there);
	if (r < 0)
		return r;
	if (r) {
		*ret = there;
		return 0;
	}
	return rebase ? send_over(be, job, there.etag, ret) : -ESTALE;
}

/* No answer, or one that says nothing of the outcome: it may be there. */
static bool may_have_arrived(int r)
{
	return r == -ENXIO || r == -EIO || r == -ETIMEDOUT || r == -ECOMM ||
	       r == -EREMOTEIO || r == -EBADMSG;
}

/* r, or 0 if it is there after all.  A bucket that cannot be reached is not asked
 * for long: the attempt has failed then, and the next one looks first. */
static int look_again(struct backend *be, const struct upload_job *job, int r,
		      struct object *ret)
{
	struct upload_job brief = *job;
	struct object there;
	bool rebase;
	if (brief.timeout_ns > 10 * NS_PER_S)
		brief.timeout_ns = 10 * NS_PER_S;
	if (look_who_is_there(be, &brief, &rebase, &there) != 1)
		return r;
	*ret = there;
	return 0;
}

int upload_run(struct backend *be, const struct upload_job *job, struct object *ret)
{
	if (!strcmp(job->stale_id, unknown_id))
		abort_unknown(be, job);
	else if (*job->stale_id)
		abort_upload(be, job, job->stale_id);
	int r = -ESTALE;
	if (job->look_first || job->fd < 0) {
		bool rebase;
		r = look_who_is_there(be, job, &rebase, ret);
		if (r)
			return r < 0 ? r : 0;
		if (job->fd < 0)
			return -ENODATA;
	}
	r = send_over(be, job, job->base, ret);
	/* -ENOENT: what it should replace was removed by somebody else. */
	if (r == -ESTALE || r == -EEXIST || (r == -ENOENT && *job->base))
		r = resolve(be, job, ret);
	else if (may_have_arrived(r))
		r = look_again(be, job, r, ret);
	if (r == -ENXIO) /* the store lost its parts: the next attempt sends anew */
		return -EIO;
	return r == -EEXIST ? -ESTALE : r;
}
