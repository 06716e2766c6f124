/* union.c - see union.h.  Listings are in union_list.c. */
#include "backends/union.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/union_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

#define UNDER	  "under:"
#define UNDER_DIR UNDER "dir"
enum { UNDER_LEN = sizeof(UNDER) - 1 };
#define UNDER_PROBE_NS (3 * NS_PER_S)

static struct both *both_of(struct backend *be)
{
	return (struct both *)be;
}

static bool is_dir_key(const char *key)
{
	size_t len = strlen(key);
	return len && key[len - 1] == '/';
}

bool union_is_under(const char *etag)
{
	return !strncmp(etag, UNDER, UNDER_LEN);
}

int union_mark(struct object *obj)
{
	size_t size = strlen(obj->etag) + 1;
	if (UNDER_LEN + size > ETAG_SIZE)
		return -EBADMSG;
	memmove(obj->etag + UNDER_LEN, obj->etag, size);
	memcpy(obj->etag, UNDER, UNDER_LEN);
	return 0;
}

struct object union_dir_object(void)
{
	return (struct object){.etag = UNDER_DIR};
}

bool union_cannot_have(int r)
{
	return r == -ENOENT || r == -EILSEQ || r == -ENAMETOOLONG;
}

/* Whose version it is; *ret: as that source knows it. */
static struct backend *source_of(struct both *u, const struct object *obj,
				 struct object *ret)
{
	*ret = *obj;
	if (!union_is_under(obj->etag))
		return u->own;
	memmove(ret->etag, ret->etag + UNDER_LEN, strlen(ret->etag + UNDER_LEN) + 1);
	return u->under;
}

int union_check_own(const struct both *u, const char *key, const struct object *obj)
{
	if (!union_is_under(obj->etag))
		return 0;
	log_error(u->base.ops->scheme, "%s: %s has an etag that begins with " UNDER,
		  u->base.name, key);
	return -EBADMSG;
}

/* --- looking --- */

static int any_entry(void *arg, const char *key, size_t key_len, const struct object *obj)
{
	(void)key;
	(void)key_len;
	(void)obj;
	*(bool *)arg = true;
	return 0;
}

/* A directory of the second source: it has no markers, but something is below it. */
static int under_dir(struct both *u, const char *key, struct object *ret,
		     struct call *call)
{
	bool any = false;
	struct list_query q = {.prefix = key, .delim = '/', .max = 1};
	CLEANUP_FREE char *token = NULL;
	int r = backend_list(u->under, &q, &token, any_entry, &any, call);
	if (r)
		return r;
	*ret = union_dir_object();
	return any || token ? 0 : -ENOENT;
}

/* What the second source shows there.  -ENOENT too if it was removed. */
static int under_head(struct both *u, const char *key, struct object *ret,
		      struct first *first, struct call *call)
{
	struct object obj;
	bool dir = is_dir_key(key);
	int r = dir ? under_dir(u, key, &obj, call)
		    : backend_peek(u->under, key, &obj, first, call);
	if (r)
		return union_cannot_have(r) ? -ENOENT : r;
	r = whites_hide(u->whites, key, call);
	if (r)
		return r < 0 ? r : -ENOENT;
	r = dir ? 0 : union_mark(&obj);
	if (!r)
		*ret = obj;
	return r;
}

static int union_peek(struct backend *be, const char *key, struct object *ret,
		      struct first *first, struct call *call)
{
	struct both *u = both_of(be);
	if (whites_reserved(key))
		return -EILSEQ;
	int r = backend_peek(u->own, key, ret, first, call);
	if (!r)
		return union_check_own(u, key, ret);
	return r == -ENOENT ? under_head(u, key, ret, first, call) : r;
}

static int union_head(struct backend *be, const char *key, struct object *ret,
		      struct call *call)
{
	return union_peek(be, key, ret, NULL, call);
}

static int union_get(struct backend *be, const char *key, const struct object *obj,
		     uint64_t off, uint64_t len, sink_fn *sink, void *arg,
		     struct call *call)
{
	struct object there;
	struct backend *source = source_of(both_of(be), obj, &there);
	return backend_get(source, key, &there, off, len, sink, arg, call);
}

static int union_origin(struct backend *be, const char *key, const struct object *obj,
			struct buf *ret)
{
	struct object there;
	struct backend *source = source_of(both_of(be), obj, &there);
	return backend_origin(source, key, &there, ret);
}

static bool union_lasts(struct backend *be, const struct object *obj)
{
	(void)be;
	return union_is_under(obj->etag);
}

static int union_check(struct backend *be, const char *key, const struct object *obj,
		       struct call *call)
{
	struct object there;
	struct backend *source = source_of(both_of(be), obj, &there);
	return backend_check(source, key, &there, call);
}

static bool union_hides(struct backend *be, const char *key)
{
	struct both *u = both_of(be);
	return backend_hides(u->own, key) || backend_hides(u->under, key);
}

static int union_warm(struct backend *be, uint32_t n, struct call *call)
{
	struct both *u = both_of(be);
	int r = backend_warm(u->own, n, call);
	return r ? r : backend_warm(u->under, n, call);
}

static void union_health(struct backend *be, struct store_health *ret)
{
	struct both *u = both_of(be);
	struct store_health under;
	backend_health(u->own, ret);
	backend_health(u->under, &under);
	health_merge(ret, &under);
}

/* --- writing --- */

/* The own bucket's condition.  True: it is in the place of "over this version", and
 * what refuses it is -ESTALE.  cap: the own bucket honours it; else whoever writes has
 * looked before. */
static bool own_opts(struct backend *be, enum backend_cap cap,
		     const struct put_opts *opts, struct put_opts *ret)
{
	*ret = *opts;
	if (!opts->cond.if_etag || !union_is_under(opts->cond.if_etag))
		return false;
	ret->cond = (struct cond){.if_absent = be->caps & cap};
	return true;
}

static int own_error(bool over_public, int r)
{
	return over_public && r == -EEXIST ? -ESTALE : r;
}

static int union_put(struct backend *be, const char *key, const struct source *src,
		     const struct put_opts *opts, struct object *ret, struct call *call)
{
	struct put_opts own;
	bool over_public = own_opts(be, BACKEND_PUT_IF, opts, &own);
	if (whites_reserved(key))
		return -EILSEQ;
	return own_error(over_public,
			 backend_put(both_of(be)->own, key, src, &own, ret, call));
}

static int union_copy(struct backend *be, const char *from, const struct object *from_obj,
		      const char *to, const struct put_opts *opts, struct object *ret,
		      struct call *call)
{
	struct put_opts own;
	bool over_public = own_opts(be, BACKEND_PUT_IF, opts, &own);
	if (whites_reserved(to))
		return -EILSEQ;
	/* No store copies from another: the bytes must come here. */
	if (union_is_under(from_obj->etag))
		return -EXDEV;
	return own_error(over_public, backend_copy(both_of(be)->own, from, from_obj, to,
						   &own, ret, call));
}

static int union_upload_begin(struct backend *be, const char *key, uint64_t size,
			      const struct put_opts *opts, char **ret_id,
			      struct call *call)
{
	struct put_opts own;
	bool over_public = own_opts(be, BACKEND_FINISH_IF, opts, &own);
	if (whites_reserved(key))
		return -EILSEQ;
	return own_error(over_public, backend_upload_begin(both_of(be)->own, key, size,
							   &own, ret_id, call));
}

static int union_upload_part(struct backend *be, const char *key, const char *id,
			     uint64_t obj_off, const struct source *src,
			     struct part *part, struct call *call)
{
	return backend_upload_part(both_of(be)->own, key, id, obj_off, src, part, call);
}

static int union_upload_finish(struct backend *be, const char *key, const char *id,
			       const struct part *parts, uint32_t n_parts, uint64_t size,
			       const struct put_opts *opts, struct object *ret,
			       struct call *call)
{
	struct put_opts own;
	bool over_public = own_opts(be, BACKEND_FINISH_IF, opts, &own);
	return own_error(over_public,
			 backend_upload_finish(both_of(be)->own, key, id, parts, n_parts,
					       size, &own, ret, call));
}

static int union_upload_abort(struct backend *be, const char *key, const char *id,
			      struct call *call)
{
	return backend_upload_abort(both_of(be)->own, key, id, call);
}

static int union_upload_list(struct backend *be, const char *prefix, upload_list_fn *fn,
			     void *arg, struct call *call)
{
	return backend_upload_list(both_of(be)->own, prefix, fn, arg, call);
}

/* --- removing --- */

/* Must a whiteout be put, so that no public object appears when the own one goes?  A
 * source that does not answer soon may have one: then yes, a needless one is an empty
 * object. */
static int needs_white(struct both *u, const char *key, struct call *call)
{
	struct object obj;
	struct call brief = {.deadline_ns = clock_add(clock_now_ns(), 10 * NS_PER_S),
			     .outer = call};
	if (call && call->deadline_ns < brief.deadline_ns)
		brief.deadline_ns = call->deadline_ns;
	int r = under_head(u, key, &obj, NULL, &brief);
	if (r == -EINTR || r == -ENOMEM)
		return r;
	return r != -ENOENT;
}

static int union_del(struct backend *be, const char *key, const struct cond *cond,
		     struct call *call)
{
	struct both *u = both_of(be);
	bool public = cond && cond->if_etag && union_is_under(cond->if_etag);
	if (whites_reserved(key))
		return -EILSEQ;
	int hides = public ? 1 : needs_white(u, key, call);
	if (hides < 0)
		return hides;
	/* Hidden first: never is the public object seen in between. */
	int r = hides ? whites_put(u->whites, key, call) : 0;
	/* Those of single names in it would keep the directory there. */
	if (!r && is_dir_key(key))
		r = whites_clear(u->whites, key, call);
	if (r || public)
		return r;
	r = backend_del(u->own, key, cond, call);
	return r == -ENOENT && hides ? 0 : r;
}

/* --- the two --- */

static void take_over(struct both *u)
{
	const uint32_t both = BACKEND_LIST_META;
	uint32_t own =
		u->own->caps & ~(uint32_t)(BACKEND_RENAME | BACKEND_LIST_AFTER | both);
	u->base.caps = own | (u->own->caps & u->under->caps & both);
}

static int union_probe(struct backend *be, bool writes, struct call *call)
{
	struct both *u = both_of(be);
	int r = backend_probe(u->own, writes, call);
	if (r)
		return r;
	/* The user's own bucket does not wait long for the other one. */
	struct call brief = {.deadline_ns = clock_add(clock_now_ns(), UNDER_PROBE_NS),
			     .outer = call};
	if (call && call->deadline_ns < brief.deadline_ns)
		brief.deadline_ns = call->deadline_ns;
	r = backend_probe(u->under, false, &brief);
	if (r == -ETIMEDOUT || r == -EIO) {
		log_warn("mount",
			 "%s does not answer: its files cannot be read until it does",
			 u->under->name);
		r = 0;
	}
	take_over(u);
	return r;
}

static void union_free(struct backend *be)
{
	struct both *u = both_of(be);
	whites_free(u->whites);
	backend_free(u->own);
	backend_free(u->under);
	free(be->name);
	free(u);
}

static struct backend_ops ops_around(const struct backend *own,
				     const struct backend *under)
{
	bool checks = own->ops->check || under->ops->check;
	bool peeks = own->ops->peek || under->ops->peek;
	return (struct backend_ops){
		.scheme = own->ops->scheme,
		.free = union_free,
		.probe = union_probe,
		.head = union_head,
		.peek = peeks ? union_peek : NULL,
		.get = union_get,
		.list = union_list,
		.put = own->ops->put ? union_put : NULL,
		.del = own->ops->put && own->ops->del ? union_del : NULL,
		.copy = own->ops->copy ? union_copy : NULL,
		.upload_begin = own->ops->upload_begin ? union_upload_begin : NULL,
		.upload_part = own->ops->upload_part ? union_upload_part : NULL,
		.upload_finish = own->ops->upload_finish ? union_upload_finish : NULL,
		.upload_abort = own->ops->upload_abort ? union_upload_abort : NULL,
		.upload_list = own->ops->upload_list ? union_upload_list : NULL,
		.origin = union_origin,
		.lasts = union_lasts,
		.check = checks ? union_check : NULL,
		.warm = union_warm,
		.health = union_health,
		.hides = own->ops->hides || under->ops->hides ? union_hides : NULL,
	};
}

int union_new(struct backend *own, struct backend *under, uint64_t ttl_ns,
	      struct backend **ret)
{
	struct both *u = calloc(1, sizeof(*u));
	int r = u ? whites_new(own, ttl_ns, &u->whites) : -ENOMEM;
	if (!r && !(u->base.name = strdup(own->name)))
		r = -ENOMEM;
	if (r) {
		if (u)
			whites_free(u->whites);
		free(u);
		backend_free(own);
		backend_free(under);
		return r;
	}
	u->own = own;
	u->under = under;
	u->ops = ops_around(own, under);
	u->base.ops = &u->ops;
	u->base.reserved = WHITE_PREFIX;
	u->base.limits = own->limits;
	take_over(u);
	*ret = &u->base;
	return 0;
}
