/* late.c - see late.h. */
#include "backends/late.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/request.h"
#include "backends/util/cleanup.h"
#include "backends/util/cond.h"
#include "backends/util/log.h"
#include "backends/util/thread.h"
#include "backends/util/banned.h"

/* first: what somebody at a terminal waits for without a doubt.  look: some twenty
 * round trips across the world.  away: a store that is back is noticed while somebody
 * still looks at the screen.  refused: who asks with a wrong key more often is locked
 * out by some. */
const struct late_conf late_defaults = {
	.first_ms = 4000,
	.look_ms = 30000,
	.again_ms = 250,
	.away_ms = 2000,
	.refused_ms = 60000,
	.deadline_ms = 300000,
};

enum {
	SLICE_MS = 100, /* a cancelled wait ends after this long at the latest */
	WHY_SIZE = 512,
};

struct late {
	struct backend base;
	/* set once */
	struct backend_ops ops; /* only what the inner backend has */
	struct backend *inner;	/* owned */
	struct late_conf conf;
	bool writes;
	uint64_t born_ns;
	pthread_t looker;
	bool looks; /* the thread was started */

	atomic_bool settled; /* set under lock: the inner backend may be used */
	atomic_bool stopping;

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int error;	    /* of the last look; 0 = there is none yet */
	char why[WHY_SIZE]; /* in words; "" = none */
	bool told;	    /* that the mount is up without it */
};

static struct late *late_of(struct backend *be)
{
	return (struct late *)be;
}

/* --- looking --- */

/* Nobody who could say what is wrong: it may come up. */
static bool is_away(int error)
{
	return error == -EHOSTUNREACH || store_errno_is_transient(error);
}

static bool is_refused(int error)
{
	return error && !is_away(error);
}

/* A look's own lines are news if it is the last one, or says what is wrong with us for
 * the first time. */
static bool is_news(struct late *late, int r)
{
	SCOPED_LOCK(&late->lock);
	return !r || (is_refused(r) && r != late->error);
}

static void note(struct late *late, int r, struct log_held *said)
{
	char why[WHY_SIZE];
	(void)snprintf(why, sizeof why, "%s", log_held_last(said));
	log_release(said, is_news(late, r));

	(void)pthread_mutex_lock(&late->lock);
	bool told = late->told;
	late->error = r;
	if (*why)
		memcpy(late->why, why, sizeof why);
	if (!r) {
		late->base.caps = late->inner->caps;
		atomic_store(&late->settled, true);
	}
	(void)pthread_cond_broadcast(&late->changed);
	(void)pthread_mutex_unlock(&late->lock);
	if (!r && told)
		log_info("mount", "%s answers now", late->inner->name);
}

static int look(struct late *late)
{
	struct log_held said;
	struct call call = {
		.deadline_ns = clock_add(clock_now_ns(), late->conf.look_ms * NS_PER_MS),
		.cancelled = &late->stopping,
		.prio = PRIO_HINT, /* once: we ask again */
	};
	log_hold(&said);
	int r = backend_probe(late->inner, late->writes, &call);
	if (atomic_load(&late->stopping))
		log_release(&said, false);
	else
		note(late, r, &said);
	return r;
}

static void pause_between(struct late *late, uint64_t ms)
{
	uint64_t until_ns = clock_add(clock_now_ns(), ms * NS_PER_MS), now_ns;
	SCOPED_LOCK(&late->lock);
	while (!atomic_load(&late->stopping) && (now_ns = clock_now_ns()) < until_ns)
		cond_wait_ms(&late->changed, &late->lock,
			     (until_ns - now_ns) / NS_PER_MS + 1);
}

static void *looker_main(void *arg)
{
	struct late *late = arg;
	uint64_t pause_ms = late->conf.again_ms;
	(void)pthread_setname_np(pthread_self(), "store");
	for (;;) {
		int r = look(late);
		if (!r || atomic_load(&late->stopping))
			return NULL;
		uint64_t most_ms =
			is_away(r) ? late->conf.away_ms : late->conf.refused_ms;
		pause_ms = pause_ms > most_ms ? most_ms : pause_ms;
		pause_between(late, pause_ms);
		pause_ms *= 2;
	}
}

static int start_looking(struct late *late)
{
	int r = thread_start(&late->looker, 0, looker_main, late);
	late->looks = !r;
	return r;
}

/* Who answers, if not well, is waited for; where nobody is, there is nothing to wait
 * for. */
static int await_first_look(struct late *late, struct call *call)
{
	uint64_t until_ns = clock_add(clock_now_ns(), late->conf.first_ms * NS_PER_MS);
	SCOPED_LOCK(&late->lock);
	while (!late->settled && late->error != -EHOSTUNREACH &&
	       !is_refused(late->error) && clock_now_ns() < until_ns) {
		int r = call_check(call);
		if (r)
			return r;
		cond_wait_ms(&late->changed, &late->lock, SLICE_MS);
	}
	late->told = !late->settled && !is_refused(late->error);
	return is_refused(late->error) ? late->error : 0;
}

static void tell_away(struct late *late)
{
	char why[WHY_SIZE] = "no answer yet";
	(void)pthread_mutex_lock(&late->lock);
	if (*late->why)
		memcpy(why, late->why, sizeof why);
	else if (late->error)
		(void)snprintf(why, sizeof why, "%s", "only failures");
	(void)pthread_mutex_unlock(&late->lock);
	log_warn("mount",
		 "%s cannot be used yet (%s): mounted all the same, and what needs it "
		 "waits",
		 late->inner->name, why);
}

static int late_probe(struct backend *be, bool writes, struct call *call)
{
	struct late *late = late_of(be);
	late->writes = writes;
	int r = start_looking(late);
	if (!r)
		r = await_first_look(late, call);
	if (!r && late->told)
		tell_away(late);
	return r;
}

/* --- waiting --- */

static int give_up(const struct late *late, const char *op, const char *key,
		   const struct call *call, int error)
{
	log_line(!call || call->prio == PRIO_DEMAND ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN,
		 late->inner->ops->scheme,
		 "%s %s: gave up: the store has not answered yet", op, key);
	bool answers =
		error && error != -EHOSTUNREACH && error != -ETIMEDOUT && error != -ECOMM;
	return answers ? -EIO : -ETIMEDOUT;
}

/* Of a look to an operation: what would say something of its object says nothing. */
static int refusal(int error)
{
	return error == -EACCES || error == -ENODEV || error == -ENOMEM ? error : -EIO;
}

/* 0: settled.  > 0: the call's time is over; then *ret_error is the last look's. */
static int wait_settled(struct late *late, uint64_t until_ns, const struct call *call,
			int *ret_error)
{
	SCOPED_LOCK(&late->lock);
	while (!late->settled) {
		*ret_error = late->error;
		if (call_cancelled(call))
			return -EINTR;
		if (is_refused(late->error))
			return refusal(late->error);
		if (clock_now_ns() >= until_ns)
			return 1;
		cond_wait_ms(&late->changed, &late->lock, SLICE_MS);
	}
	return 0;
}

/* Before each operation: 0, and the inner backend may be asked. */
static int ready(struct late *late, const char *op, const char *key,
		 const struct call *call)
{
	int error = 0;
	if (atomic_load(&late->settled))
		return 0;
	uint64_t until_ns = call ? call->deadline_ns : CLOCK_NEVER;
	if (until_ns == CLOCK_NEVER)
		until_ns = clock_add(clock_now_ns(), late->conf.deadline_ms * NS_PER_MS);
	int r = wait_settled(late, until_ns, call, &error);
	return r > 0 ? give_up(late, op, key, call, error) : r;
}

static int late_settle(struct backend *be, struct call *call)
{
	return ready(late_of(be), "write to", be->name, call);
}

/* --- operations --- */

static int late_peek(struct backend *be, const char *key, struct object *ret,
		     struct first *first, struct call *call)
{
	int r = ready(late_of(be), "head", key, call);
	return r ? r : backend_peek(late_of(be)->inner, key, ret, first, call);
}

static int late_head(struct backend *be, const char *key, struct object *ret,
		     struct call *call)
{
	return late_peek(be, key, ret, NULL, call);
}

static int late_get(struct backend *be, const char *key, const struct object *obj,
		    uint64_t off, uint64_t len, sink_fn *sink, void *arg,
		    struct call *call)
{
	int r = ready(late_of(be), "get", key, call);
	return r ? r
		 : backend_get(late_of(be)->inner, key, obj, off, len, sink, arg, call);
}

static int late_list(struct backend *be, const struct list_query *q, char **token,
		     list_fn *fn, void *arg, struct call *call)
{
	int r = ready(late_of(be), "list", q->prefix, call);
	return r ? r : backend_list(late_of(be)->inner, q, token, fn, arg, call);
}

static int late_put(struct backend *be, const char *key, const struct source *src,
		    const struct put_opts *opts, struct object *ret, struct call *call)
{
	int r = ready(late_of(be), "put", key, call);
	return r ? r : backend_put(late_of(be)->inner, key, src, opts, ret, call);
}

static int late_del(struct backend *be, const char *key, const struct cond *cond,
		    struct call *call)
{
	int r = ready(late_of(be), "del", key, call);
	return r ? r : backend_del(late_of(be)->inner, key, cond, call);
}

static int late_copy(struct backend *be, const char *from, const struct object *from_obj,
		     const char *to, const struct put_opts *opts, struct object *ret,
		     struct call *call)
{
	int r = ready(late_of(be), "copy", from, call);
	return r ? r
		 : backend_copy(late_of(be)->inner, from, from_obj, to, opts, ret, call);
}

static int late_rename(struct backend *be, const char *from, const char *to,
		       struct call *call)
{
	int r = ready(late_of(be), "rename", from, call);
	return r ? r : backend_rename(late_of(be)->inner, from, to, call);
}

static int late_upload_begin(struct backend *be, const char *key, uint64_t size,
			     const struct put_opts *opts, char **ret_id,
			     struct call *call)
{
	int r = ready(late_of(be), "begin", key, call);
	return r ? r
		 : backend_upload_begin(late_of(be)->inner, key, size, opts, ret_id,
					call);
}

static int late_upload_part(struct backend *be, const char *key, const char *id,
			    uint64_t obj_off, const struct source *src, struct part *part,
			    struct call *call)
{
	int r = ready(late_of(be), "part", key, call);
	return r ? r
		 : backend_upload_part(late_of(be)->inner, key, id, obj_off, src, part,
				       call);
}

static int late_upload_finish(struct backend *be, const char *key, const char *id,
			      const struct part *parts, uint32_t n_parts, uint64_t size,
			      const struct put_opts *opts, struct object *ret,
			      struct call *call)
{
	int r = ready(late_of(be), "finish", key, call);
	return r ? r
		 : backend_upload_finish(late_of(be)->inner, key, id, parts, n_parts,
					 size, opts, ret, call);
}

static int late_upload_abort(struct backend *be, const char *key, const char *id,
			     struct call *call)
{
	int r = ready(late_of(be), "abort", key, call);
	return r ? r : backend_upload_abort(late_of(be)->inner, key, id, call);
}

static int late_upload_list(struct backend *be, const char *prefix, upload_list_fn *fn,
			    void *arg, struct call *call)
{
	int r = ready(late_of(be), "uploads", prefix, call);
	return r ? r : backend_upload_list(late_of(be)->inner, prefix, fn, arg, call);
}

/* What a look is changing is not asked meanwhile. */
static int late_origin(struct backend *be, const char *key, const struct object *obj,
		       struct buf *ret)
{
	struct late *late = late_of(be);
	if (atomic_load(&late->settled))
		return backend_origin(late->inner, key, obj, ret);
	buf_addf(ret, "%s/%s", be->name, key);
	return buf_error(ret);
}

static bool late_lasts(struct backend *be, const struct object *obj)
{
	return backend_lasts(late_of(be)->inner, obj);
}

/* Nobody waits for it. */
static int late_warm(struct backend *be, uint32_t n, struct call *call)
{
	struct late *late = late_of(be);
	return atomic_load(&late->settled) ? backend_warm(late->inner, n, call) : 0;
}

/* What is known holds while the store cannot be reached. */
static int late_check(struct backend *be, const char *key, const struct object *obj,
		      struct call *call)
{
	struct late *late = late_of(be);
	return atomic_load(&late->settled) ? backend_check(late->inner, key, obj, call)
					   : 0;
}

/* Until a look has succeeded, what the last one met. */
static void late_health(struct backend *be, struct store_health *ret)
{
	struct late *late = late_of(be);
	backend_health(late->inner, ret);
	if (atomic_load(&late->settled))
		return;
	SCOPED_LOCK(&late->lock);
	ret->reachable = ret->reachable && late->error && !is_away(late->error);
	if (!ret->reachable && !ret->silent_ns)
		ret->silent_ns = clock_now_ns() - late->born_ns;
}

static bool late_hides(struct backend *be, const char *key)
{
	return backend_hides(late_of(be)->inner, key);
}

/* --- birth and end --- */

static void stop_looking(struct late *late)
{
	(void)pthread_mutex_lock(&late->lock);
	atomic_store(&late->stopping, true);
	(void)pthread_cond_broadcast(&late->changed);
	(void)pthread_mutex_unlock(&late->lock);
	if (late->looks)
		(void)pthread_join(late->looker, NULL);
}

static void late_free(struct backend *be)
{
	struct late *late = late_of(be);
	stop_looking(late);
	backend_free(late->inner);
	(void)pthread_cond_destroy(&late->changed);
	(void)pthread_mutex_destroy(&late->lock);
	free(be->name);
	free(late);
}

static struct backend_ops ops_around(const struct backend_ops *inner)
{
	return (struct backend_ops){
		.scheme = inner->scheme,
		.free = late_free,
		.probe = late_probe,
		.settle = late_settle,
		.head = late_head,
		.peek = inner->peek ? late_peek : NULL,
		.get = late_get,
		.list = late_list,
		.put = inner->put ? late_put : NULL,
		.del = inner->del ? late_del : NULL,
		.copy = inner->copy ? late_copy : NULL,
		.rename = inner->rename ? late_rename : NULL,
		.upload_begin = inner->upload_begin ? late_upload_begin : NULL,
		.upload_part = inner->upload_part ? late_upload_part : NULL,
		.upload_finish = inner->upload_finish ? late_upload_finish : NULL,
		.upload_abort = inner->upload_abort ? late_upload_abort : NULL,
		.upload_list = inner->upload_list ? late_upload_list : NULL,
		.origin = late_origin,
		.lasts = late_lasts,
		.check = inner->check ? late_check : NULL,
		.warm = inner->warm ? late_warm : NULL,
		.hides = inner->hides ? late_hides : NULL,
		.health = late_health,
	};
}

int late_new(struct backend *inner, const struct late_conf *conf, struct backend **ret)
{
	struct late *late = calloc(1, sizeof *late);
	if (late)
		late->base.name = strdup(inner->name);
	if (!late || !late->base.name) {
		free(late);
		backend_free(inner);
		return -ENOMEM;
	}
	(void)pthread_mutex_init(&late->lock, NULL);
	cond_init_monotonic(&late->changed);
	late->inner = inner;
	late->conf = *conf;
	late->ops = ops_around(inner->ops);
	late->base.ops = &late->ops;
	late->born_ns = clock_now_ns();
	late->base.caps = inner->caps;
	late->base.limits = inner->limits;
	late->base.reserved = inner->reserved;
	*ret = &late->base;
	return 0;
}
