/* retry.c - see retry.h.
 *
 * Each operation is a loop around the same operation of the inner backend:
 *
 *   try_start -> { try_again_? -> inner op -> (undo what a repeat breaks) } until
 *   tries_more() says no; it waits, or turns a transient error into the final one.
 *
 * A callback's own error (sink_fn, list_fn) is final whatever its number is: it is
 * remembered where it happened, not guessed from the return value.
 */
#include "backends/retry.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/tries.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

/* base: a round trip across the world.  cap: short enough that a bucket which is
 * back is noticed while somebody still looks at the screen. */
const struct retry_conf retry_defaults = {
	.base_ms = 200,
	.cap_ms = 20000,
	.deadline_ms = 300000,
	.bad_answers_max = 3,
};

struct retry {
	struct backend base;
	/* set once */
	struct backend_ops ops; /* only what the inner backend has */
	struct backend *inner;	/* owned */
	struct hedge *hedge;	/* owned; NULL = none */
	struct retry_conf conf;

	struct health health;
};

static struct retry *retry_of(struct backend *be)
{
	return (struct retry *)be;
}

static struct tries try_start(struct retry *retry, const char *op, const char *key,
			      const struct call *call)
{
	struct tries t = {
		.conf = &retry->conf,
		.health = &retry->health,
		.scheme = retry->inner->ops->scheme,
		.op = op,
		.key = key,
	};
	tries_start(&t, call);
	return t;
}

/* Some try before this one may have done its work and lost the answer. */
static bool repeated(const struct tries *t)
{
	return t->n > 0;
}

static void take_over(struct retry *retry)
{
	retry->base.caps = retry->inner->caps;
}

/* Who looks while nobody waits looks again himself, and wants to know why. */
static int probe_once(struct retry *retry, bool writes, struct call *call)
{
	int r = backend_probe(retry->inner, writes, call);
	health_note(&retry->health, r);
	take_over(retry);
	return r == -EINVAL ? -EIO : r;
}

/* Nobody there is no fault that passes: at the mount, somebody waits. */
static int retry_probe(struct backend *be, bool writes, struct call *call)
{
	struct retry *retry = retry_of(be);
	if (call && call->prio != PRIO_DEMAND)
		return probe_once(retry, writes, call);
	struct tries t = try_start(retry, "probe", be->name, call);
	int r;
	do
		r = backend_probe(retry->inner, writes, &t.call);
	while (tries_more(&t, &r));
	take_over(retry);
	return r == -EHOSTUNREACH ? -ETIMEDOUT : r;
}

static int retry_peek(struct backend *be, const char *key, struct object *ret,
		      struct first *first, struct call *call)
{
	struct retry *retry = retry_of(be);
	struct tries t = try_start(retry, "head", key, call);
	int r;
	do
		r = backend_peek(retry->inner, key, ret, first, &t.call);
	while (tries_more(&t, &r));
	return r;
}

static int retry_head(struct backend *be, const char *key, struct object *ret,
		      struct call *call)
{
	return retry_peek(be, key, ret, NULL, call);
}

/* What the sink got so far. */
struct progress {
	sink_fn *sink;
	void *arg;
	uint64_t next; /* offset of the first byte not delivered */
	int error;     /* the sink's own */
};

static int count_bytes(void *arg, uint64_t off, const void *bytes, size_t len)
{
	struct progress *p = arg;
	p->error = p->sink(p->arg, off, bytes, len);
	if (p->error >= 0)
		p->next = off + len;
	return p->error;
}

static int drop_bytes(void *arg, uint64_t off, const void *bytes, size_t len)
{
	(void)arg;
	(void)off;
	(void)bytes;
	(void)len;
	return 0;
}

static int get_once(struct retry *retry, const char *key, const struct object *obj,
		    uint64_t off, uint64_t len, sink_fn *sink, void *arg,
		    struct call *call)
{
	if (retry->hedge)
		return hedge_get(retry->hedge, key, obj, off, len, sink, arg, call);
	return backend_get(retry->inner, key, obj, off, len, sink, arg, call);
}

static int retry_get(struct backend *be, const char *key, const struct object *obj,
		     uint64_t off, uint64_t len, sink_fn *sink, void *arg,
		     struct call *call)
{
	struct retry *retry = retry_of(be);
	struct tries t = try_start(retry, "get", key, call);
	struct progress p = {.sink = sink, .arg = arg, .next = off};
	uint64_t end = off + len;
	int r;
	do {
		if (p.next < end)
			r = get_once(retry, key, obj, p.next, end - p.next, count_bytes,
				     &p, &t.call);
		else /* all was delivered, only the good end is missing (P1) */
			r = backend_get(retry->inner, key, obj, end - 1, 1, drop_bytes,
					NULL, &t.call);
		if (p.error < 0)
			return p.error;
		if (!r && p.next < end)
			r = -EBADMSG;
		/* What was delivered of a wrong answer cannot be taken back. */
		if (r == -EBADMSG && p.next == end)
			return -EIO;
	} while (tries_more(&t, &r));
	return r;
}

struct consumer {
	list_fn *fn;
	void *arg;
	int error; /* its own */
};

static int hand_on(void *arg, const char *key, size_t key_len, const struct object *obj)
{
	struct consumer *c = arg;
	c->error = c->fn(c->arg, key, key_len, obj);
	return c->error;
}

/* One page.  A page is delivered whole or not at all, so it can be asked again. */
static int retry_list(struct backend *be, const struct list_query *q, char **token,
		      list_fn *fn, void *arg, struct call *call)
{
	struct retry *retry = retry_of(be);
	struct tries t = try_start(retry, "list", q->prefix, call);
	struct consumer c = {.fn = fn, .arg = arg};
	int r;
	do {
		r = backend_list(retry->inner, q, token, hand_on, &c, &t.call);
		if (c.error < 0)
			return c.error;
	} while (tries_more(&t, &r));
	return r;
}

/* Traps 1 and 2: the write said r, but is what lies there ours after all?  The tag
 * is unique for each attempt to publish, so it answers also after a first try: the
 * connection's library repeats on its own now and then. */
static int was_it_us(struct retry *retry, const char *key, uint64_t size,
		     const struct put_opts *opts, int r, struct object *ret,
		     struct call *call)
{
	struct object now;
	if (!opts->tag || !*opts->tag)
		return r;
	int head = backend_head(&retry->base, key, &now, call);
	if (head == -EIO || head == -ETIMEDOUT || head == -EINTR)
		return head;
	if (head < 0 || strcmp(now.tag, opts->tag) != 0 || now.size != size)
		return r;
	*ret = now;
	return 0;
}

static bool is_refusal(int r)
{
	return r == -EEXIST || r == -ESTALE;
}

static int retry_put(struct backend *be, const char *key, const struct source *src,
		     const struct put_opts *opts, struct object *ret, struct call *call)
{
	struct retry *retry = retry_of(be);
	struct tries t = try_start(retry, "put", key, call);
	int r;
	do
		r = backend_put(retry->inner, key, src, opts, ret, &t.call);
	while (tries_more(&t, &r));
	if (is_refusal(r))
		r = was_it_us(retry, key, src->len, opts, r, ret, &t.call);
	return r;
}

/* Trap 3. */
static int retry_del(struct backend *be, const char *key, const struct cond *cond,
		     struct call *call)
{
	struct retry *retry = retry_of(be);
	struct tries t = try_start(retry, "del", key, call);
	struct object now;
	bool again;
	int r;
	do {
		again = repeated(&t);
		r = backend_del(retry->inner, key, cond, &t.call);
	} while (tries_more(&t, &r));
	/* Some stores answer a condition on nothing with "precondition failed". */
	if (again && r == -ESTALE && backend_head(be, key, &now, &t.call) == -ENOENT)
		r = 0;
	return again && r == -ENOENT ? 0 : r;
}

static int retry_copy(struct backend *be, const char *from, const struct object *from_obj,
		      const char *to, const struct put_opts *opts, struct object *ret,
		      struct call *call)
{
	struct retry *retry = retry_of(be);
	struct tries t = try_start(retry, "copy", from, call);
	int r;
	do
		r = backend_copy(retry->inner, from, from_obj, to, opts, ret, &t.call);
	while (tries_more(&t, &r));
	/* A copy onto itself changes the version that it asks for. */
	if (is_refusal(r))
		r = was_it_us(retry, to, from_obj->size, opts, r, ret, &t.call);
	return r;
}

static int retry_rename(struct backend *be, const char *from, const char *to,
			struct call *call)
{
	struct retry *retry = retry_of(be);
	struct tries t = try_start(retry, "rename", from, call);
	int r;
	do
		r = backend_rename(retry->inner, from, to, &t.call);
	while (tries_more(&t, &r));
	return r;
}

/* A lost answer leaves an upload that nobody knows: upload_list finds it. */
static int retry_upload_begin(struct backend *be, const char *key, uint64_t size,
			      const struct put_opts *opts, char **ret_id,
			      struct call *call)
{
	struct retry *retry = retry_of(be);
	struct tries t = try_start(retry, "begin", key, call);
	int r;
	do
		r = backend_upload_begin(retry->inner, key, size, opts, ret_id, &t.call);
	while (tries_more(&t, &r));
	if (call)
		call->repeated |= t.call.repeated || t.lost;
	return r;
}

static int retry_upload_part(struct backend *be, const char *key, const char *id,
			     uint64_t obj_off, const struct source *src,
			     struct part *part, struct call *call)
{
	struct retry *retry = retry_of(be);
	struct tries t = try_start(retry, "part", key, call);
	int r;
	do
		r = backend_upload_part(retry->inner, key, id, obj_off, src, part,
					&t.call);
	while (tries_more(&t, &r));
	return r;
}

static int retry_upload_finish(struct backend *be, const char *key, const char *id,
			       const struct part *parts, uint32_t n_parts, uint64_t size,
			       const struct put_opts *opts, struct object *ret,
			       struct call *call)
{
	struct retry *retry = retry_of(be);
	struct tries t = try_start(retry, "finish", key, call);
	int r, seen;
	do {
		/* Only "busy" says that the one before was not begun.  It may be done, or
		 * under way still behind a proxy that gave up, and two at once have been
		 * seen to lose the object (MinIO 17858): a look comes first. */
		seen = t.lost ? was_it_us(retry, key, size, opts, 1, ret, &t.call) : 1;
		r = seen == 1 ? backend_upload_finish(retry->inner, key, id, parts,
						      n_parts, size, opts, ret, &t.call)
			      : seen;
	} while (tries_more(&t, &r));
	if (is_refusal(r) || r == -ENXIO)
		r = seen = was_it_us(retry, key, size, opts, r, ret, &t.call);
	/* It was, and the caller will not abort: what made it is to go all the same. */
	if (!r && !seen)
		(void)backend_upload_abort(&retry->base, key, id, &t.call);
	return r;
}

static int retry_upload_abort(struct backend *be, const char *key, const char *id,
			      struct call *call)
{
	struct retry *retry = retry_of(be);
	struct tries t = try_start(retry, "abort", key, call);
	int r;
	do
		r = backend_upload_abort(retry->inner, key, id, &t.call);
	while (tries_more(&t, &r));
	return r;
}

struct upload_consumer {
	upload_list_fn *fn;
	void *arg;
	int error; /* its own */
};

static int hand_on_upload(void *arg, const char *key, const char *id, int64_t started_ns)
{
	struct upload_consumer *c = arg;
	c->error = c->fn(c->arg, key, id, started_ns);
	return c->error;
}

static int retry_upload_list(struct backend *be, const char *prefix, upload_list_fn *fn,
			     void *arg, struct call *call)
{
	struct retry *retry = retry_of(be);
	struct tries t = try_start(retry, "uploads", prefix, call);
	struct upload_consumer c = {.fn = fn, .arg = arg};
	int r;
	do {
		r = backend_upload_list(retry->inner, prefix, hand_on_upload, &c,
					&t.call);
		if (c.error < 0)
			return c.error;
	} while (tries_more(&t, &r));
	return r;
}

static int retry_origin(struct backend *be, const char *key, const struct object *obj,
			struct buf *ret)
{
	return backend_origin(retry_of(be)->inner, key, obj, ret);
}

/* Once: an answer that does not come counts as none. */
static int retry_check(struct backend *be, const char *key, const struct object *obj,
		       struct call *call)
{
	return backend_check(retry_of(be)->inner, key, obj, call);
}

/* Once: nobody waits for it. */
static int retry_warm(struct backend *be, uint32_t n, struct call *call)
{
	return backend_warm(retry_of(be)->inner, n, call);
}

static void retry_health(struct backend *be, struct store_health *ret)
{
	health_read(&retry_of(be)->health, ret);
}

static bool retry_hides(struct backend *be, const char *key)
{
	return backend_hides(retry_of(be)->inner, key);
}

static void retry_free(struct backend *be)
{
	struct retry *retry = retry_of(be);
	hedge_free(retry->hedge);
	backend_free(retry->inner);
	free(be->name);
	free(retry);
}

/* Looks like the store that it wraps: without the operations that this has not. */
static struct backend_ops ops_around(const struct backend_ops *inner)
{
	return (struct backend_ops){
		.scheme = inner->scheme,
		.free = retry_free,
		.probe = retry_probe,
		.head = retry_head,
		.peek = inner->peek ? retry_peek : NULL,
		.get = retry_get,
		.list = retry_list,
		.put = inner->put ? retry_put : NULL,
		.del = inner->del ? retry_del : NULL,
		.copy = inner->copy ? retry_copy : NULL,
		.rename = inner->rename ? retry_rename : NULL,
		.upload_begin = inner->upload_begin ? retry_upload_begin : NULL,
		.upload_part = inner->upload_part ? retry_upload_part : NULL,
		.upload_finish = inner->upload_finish ? retry_upload_finish : NULL,
		.upload_abort = inner->upload_abort ? retry_upload_abort : NULL,
		.upload_list = inner->upload_list ? retry_upload_list : NULL,
		.origin = retry_origin,
		.check = inner->check ? retry_check : NULL,
		.warm = inner->warm ? retry_warm : NULL,
		.hides = inner->hides ? retry_hides : NULL,
		.health = retry_health,
	};
}

int retry_new(struct backend *inner, const struct retry_conf *conf, struct backend **ret)
{
	struct retry *retry = calloc(1, sizeof *retry);
	if (retry)
		retry->base.name = strdup(inner->name);
	int r = retry && retry->base.name ? 0 : -ENOMEM;
	if (!r && conf->hedge)
		r = hedge_new(inner, conf->hedge, &retry->hedge);
	if (r) {
		if (retry)
			free(retry->base.name);
		free(retry);
		backend_free(inner);
		return r;
	}
	retry->inner = inner;
	retry->conf = *conf;
	retry->conf.hedge = NULL;
	retry->ops = ops_around(inner->ops);
	retry->base.ops = &retry->ops;
	retry->base.limits = inner->limits;
	take_over(retry);
	*ret = &retry->base;
	return 0;
}
