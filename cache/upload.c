/* upload.c - see upload.h. */
#include "cache/upload.h"
#include <errno.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "cache/tags.h"
#include "backends/util/banned.h"

#define LOOK_NS (3 * NS_PER_S) /* of a bucket that has just not answered */

static struct call job_call(const struct upload_job *job)
{
	return (struct call){
		.deadline_ns = clock_add(clock_now_ns(), job->timeout_ns),
		.cancelled = job->cancelled,
	};
}

static int send_whole(struct backend *be, const struct upload_job *job,
		      const struct put_opts *opts, struct object *ret)
{
	if (job->parts)
		return parts_complete(job->parts, job->size, opts, ret);
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
	return be->caps & (job->parts ? BACKEND_FINISH_IF : BACKEND_PUT_IF);
}

static int send_once(struct backend *be, const struct upload_job *job, const char *base,
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

/* Where no parts are taken it goes up in one piece, if that can be so large. */
static int send_over(struct backend *be, const struct upload_job *job, const char *base,
		     struct object *ret)
{
	struct upload_job one_piece = *job;
	int r = send_once(be, job, base, ret);
	one_piece.parts = NULL;
	return r == -EOPNOTSUPP && job->parts ? send_once(be, &one_piece, base, ret) : r;
}

/* 1: the object there is this upload.  0: it is not; *ret_rebase: it is the
 * upload of the generation before, whose etag is now in ret->etag, or nothing, which
 * a removal of ours explains: "". */
static int look_who_is_there(struct backend *be, const struct upload_job *job,
			     bool *ret_rebase, struct object *ret)
{
	struct call call = job_call(job);
	int r = backend_head(be, job->key, ret, &call);
	*ret_rebase = false;
	if (r == -ENOENT) {
		ret->etag[0] = '\0';
		*ret_rebase = tags_have(job->base_tags, TAG_NOTHING);
		return 0;
	}
	if (r)
		return r;
	if (!strcmp(ret->tag, job->tag))
		return ret->size == job->size || job->fd < 0;
	*ret_rebase = tags_own(job->base_tags, ret->tag);
	return 0;
}

/* *ret_found: it was there already. */
static int resolve(struct backend *be, const struct upload_job *job, bool *ret_found,
		   struct object *ret)
{
	bool rebase;
	struct object there;
	int r = look_who_is_there(be, job, &rebase, &there);
	if (r < 0)
		return r;
	if (r) {
		*ret = there;
		*ret_found = true;
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
 * for long: the attempt has failed then, its time is over (P8), and the next one looks
 * first. */
static int look_again(struct backend *be, const struct upload_job *job, int r,
		      struct object *ret)
{
	struct upload_job brief = *job;
	struct object there;
	bool rebase;
	if (brief.timeout_ns > LOOK_NS)
		brief.timeout_ns = LOOK_NS;
	if (look_who_is_there(be, &brief, &rebase, &there) != 1)
		return r;
	*ret = there;
	return 0;
}

/* What went up while the file grew was begun without its time, and what was found
 * there was sent by an attempt before, when the time may have been another.  What was
 * just sent with it has it, if to the precision of the store. */
static int correct_mtime(struct backend *be, const struct upload_job *job, bool found,
			 struct object *obj)
{
	if (!job->exact_mtime || obj->mtime_ns == job->mtime_ns ||
	    !(found || be->caps & BACKEND_BEGIN_META) || !(be->caps & BACKEND_COPY))
		return 0;
	struct object now;
	struct put_opts opts = {.mtime_ns = job->mtime_ns, .tag = job->tag};
	struct call call = job_call(job);
	int r = backend_copy(be, job->key, obj, job->key, &opts, &now, &call);
	if (!r)
		*obj = now;
	/* Somebody else's object has a time of its own. */
	if (!r || r == -ESTALE || r == -ENOENT)
		return 0;
	/* It may have been set all the same, and the ETag with it. */
	if (r == -EINTR || (may_have_arrived(r) && look_again(be, job, r, obj) < 0))
		return r;
	if (obj->mtime_ns == job->mtime_ns)
		return 0;
	/* That is not worth the upload: the bytes are there and checked, and the next
	 * attempt might end the same, as with a class that cannot be copied. */
	log_warn("upload",
		 "%s is in the bucket, with the time of its upload: its own could not be "
		 "set (%s)",
		 job->key, strerror(-r));
	return 0;
}

/* 0, and *ret is the object, *ret_found if that was there already; -ENXIO: the store
 * lost its parts. */
static int send_and_look(struct backend *be, const struct upload_job *job,
			 bool *ret_found, struct object *ret)
{
	int r = send_over(be, job, job->base, ret);
	/* -ENOENT: what it should replace was removed by somebody else. */
	if (r == -ESTALE || r == -EEXIST || (r == -ENOENT && *job->base))
		return resolve(be, job, ret_found, ret);
	if (!may_have_arrived(r))
		return r;
	r = look_again(be, job, r, ret);
	*ret_found = !r;
	return r;
}

int upload_run(struct backend *be, const struct upload_job *job, struct object *ret)
{
	struct call call = job_call(job);
	int r = backend_settle(be, &call);
	if (r)
		return r;
	if (job->look_first || job->fd < 0) {
		bool rebase;
		r = look_who_is_there(be, job, &rebase, ret);
		if (r < 0)
			return r;
		if (!r && job->fd < 0)
			return -ENODATA;
	}
	bool found = r;
	r = found ? 0 : send_and_look(be, job, &found, ret);
	/* What went up long ago may be forgotten by now: once more, from the file. */
	if (r == -ENXIO)
		r = send_and_look(be, job, &found, ret);
	if (!r)
		r = correct_mtime(be, job, found, ret);
	if (r == -ENXIO)
		return -EIO;
	return r == -EEXIST ? -ESTALE : r;
}
