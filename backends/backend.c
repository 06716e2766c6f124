/* backend.c - the argument checks in front of every backend; see backend.h.
 *
 * Each wrapper refuses, in this order: a call that is cancelled or past its
 * deadline, arguments that break the contract (-EINVAL, -ENAMETOOLONG, -EFBIG), an
 * operation that the store has not (-EOPNOTSUPP), a write to a store that takes
 * none (-EROFS).  So a concrete backend sees only arguments that hold.
 */
#include "backends/backend.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/azure.h"
#include "backends/gcs.h"
#include "backends/late.h"
#include "backends/local.h"
#include "backends/mast.h"
#include "backends/placement.h"
#include "backends/retry.h"
#include "backends/s3.h"
#include "backends/union.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

static const struct scheme {
	const char *start;
	int (*open)(const struct backend_conf *conf, struct backend **ret);
	bool far; /* over a network, where one of many answers is late */
} schemes[] = {
	{"az://", azure_open, true},
	{"file://", local_open, false},
	{"gs://", gcs_open, true},
	{"mast:", mast_open, true},
	{"s3://", s3_open, true},
};

static const struct scheme *find_scheme(const char *url)
{
	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
		if (!strncmp(url, schemes[i].start, strlen(schemes[i].start)))
			return &schemes[i];
	return NULL;
}

bool backend_known_url(const char *url)
{
	return url && find_scheme(url);
}

static int unknown_scheme(const char *url)
{
	CLEANUP_BUF struct buf known;
	buf_init(&known, 256);
	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
		buf_addf(&known, "%s%s", i ? ", " : "", schemes[i].start);
	log_error("mount", "%s: not a URL of a store that mastfs knows (%s)",
		  url ? url : "(no URL)", known.data);
	return -EINVAL;
}

int backend_open_bare(const struct backend_conf *conf, struct backend **ret)
{
	const struct scheme *scheme = conf->url ? find_scheme(conf->url) : NULL;
	if (!scheme)
		return unknown_scheme(conf->url);
	int r = scheme->open(conf, ret);
	if (r == 0 && conf->read_only)
		(*ret)->caps &= ~(uint32_t)BACKEND_WRITE;
	return r;
}

static int open_source(const struct backend_conf *conf, struct backend **ret)
{
	struct backend *be;
	int r = backend_open_bare(conf, &be);
	if (r < 0)
		return r;
	struct retry_conf retry = retry_defaults;
	retry.hedge = find_scheme(conf->url)->far ? &hedge_defaults : NULL;
	return retry_new(be, &retry, ret);
}

/* The second source, of which nothing is asked but to read it. */
static int open_under(const struct backend_conf *conf, struct backend *own,
		      struct backend **ret)
{
	struct backend_conf under_conf = *conf;
	struct backend *under;
	under_conf.url = conf->public_url;
	under_conf.public_url = NULL;
	under_conf.storage_class = NULL;
	under_conf.read_only = true;
	under_conf.wait = true;
	int r = open_source(&under_conf, &under);
	if (r < 0) {
		backend_free(own);
		return r;
	}
	return union_new(own, under, conf->ttl_ns, ret);
}

static int open_all(const struct backend_conf *conf, struct backend **ret)
{
	struct backend *own;
	int r = open_source(conf, &own);
	if (r < 0)
		return r;
	if (conf->public_url)
		return open_under(conf, own, ret);
	*ret = own;
	return 0;
}

int backend_open(const struct backend_conf *conf, struct backend **ret)
{
	struct backend *all;
	int r = open_all(conf, &all);
	if (r < 0)
		return r;
	if (conf->wait)
		return late_new(all, &late_defaults, ret);
	*ret = all;
	return 0;
}

void backend_free(struct backend *be)
{
	if (be)
		be->ops->free(be);
}

static int check_key(const char *key)
{
	size_t n = key ? strnlen(key, KEY_SIZE) : 0;
	if (!n)
		return -EINVAL;
	return n < KEY_SIZE ? 0 : -ENAMETOOLONG;
}

static int check_etag(const char *etag)
{
	size_t n = etag ? strnlen(etag, ETAG_SIZE) : 0;
	return n && n < ETAG_SIZE ? 0 : -EINVAL;
}

static int check_cond(const struct cond *cond)
{
	if (!cond || !cond->if_etag)
		return 0;
	return cond->if_absent ? -EINVAL : check_etag(cond->if_etag);
}

static int check_opts(const struct put_opts *opts)
{
	if (!opts)
		return -EINVAL;
	if (opts->tag && strnlen(opts->tag, TAG_SIZE) == TAG_SIZE)
		return -EINVAL;
	return check_cond(&opts->cond);
}

/* At most max bytes that the descriptor can have. */
static int check_source(const struct source *src, uint64_t max)
{
	uint64_t end;
	if (!src || (src->fd < 0 && src->len))
		return -EINVAL;
	if (__builtin_add_overflow(src->off, src->len, &end) || end > INT64_MAX)
		return -EINVAL;
	return src->len <= max ? 0 : -EFBIG;
}

static int check_id(const char *id)
{
	return id && *id ? 0 : -EINVAL;
}

/* The last two questions of every write. */
static int check_write(const struct backend *be, bool has_op)
{
	if (!has_op)
		return -EOPNOTSUPP;
	return be->caps & BACKEND_WRITE ? 0 : -EROFS;
}

int backend_probe(struct backend *be, bool writes, struct call *call)
{
	int r = call_check(call);
	if (!r)
		r = be->ops->probe(be, writes, call);
	return r == -EKEYEXPIRED ? -EACCES : r;
}

int backend_settle(struct backend *be, struct call *call)
{
	return be->ops->settle ? be->ops->settle(be, call) : 0;
}

int backend_head(struct backend *be, const char *key, struct object *ret,
		 struct call *call)
{
	int r = call_check(call);
	if (!r)
		r = check_key(key);
	return r < 0 ? r : be->ops->head(be, key, ret, call);
}

int backend_peek(struct backend *be, const char *key, struct object *ret,
		 struct first *first, struct call *call)
{
	if (first)
		first->len = 0;
	if (!first || !be->ops->peek)
		return backend_head(be, key, ret, call);
	int r = call_check(call);
	if (!r)
		r = check_key(key);
	if (!r)
		r = first->bytes && first->max ? 0 : -EINVAL;
	if (!r)
		r = be->ops->peek(be, key, ret, first, call);
	if (r)
		first->len = 0;
	return r;
}

int backend_get(struct backend *be, const char *key, const struct object *obj,
		uint64_t off, uint64_t len, sink_fn *sink, void *arg, struct call *call)
{
	uint64_t end;
	int r = call_check(call);
	if (!r)
		r = check_key(key);
	if (!r)
		r = check_etag(obj->etag);
	if (!r && (!len || __builtin_add_overflow(off, len, &end) || end > obj->size))
		r = -EINVAL;
	return r < 0 ? r : be->ops->get(be, key, obj, off, len, sink, arg, call);
}

int backend_list(struct backend *be, const struct list_query *q, char **token,
		 list_fn *fn, void *arg, struct call *call)
{
	int r = call_check(call);
	if (!r && (!q->prefix || (q->delim && q->delim != '/')))
		r = -EINVAL;
	if (!r && *q->prefix)
		r = check_key(q->prefix);
	if (!r && q->after && !(be->caps & BACKEND_LIST_AFTER))
		r = -EOPNOTSUPP;
	if (!r && q->after)
		r = check_key(q->after);
	return r < 0 ? r : be->ops->list(be, q, token, fn, arg, call);
}

int backend_list_all(struct backend *be, const struct list_query *q, list_fn *fn,
		     void *arg, struct call *call)
{
	CLEANUP_FREE char *token = NULL;
	CLEANUP_FREE char *mark = NULL;
	uint64_t page = 0, next_mark = 1;
	do {
		int r = backend_list(be, q, &token, fn, arg, call);
		if (r < 0)
			return r;
		if (!token)
			return 0;
		if (mark && !strcmp(mark, token)) {
			log_error(be->ops->scheme,
				  "list %s of %s: the server repeats "
				  "its pages without end",
				  q->prefix, be->name);
			return -EREMOTEIO;
		}
		/* Brent: a mark at pages 1, 2, 4, ... meets a cycle of any length. */
		if (++page == next_mark) {
			free(mark);
			mark = strdup(token);
			next_mark *= 2;
		}
	} while (mark);
	return -ENOMEM;
}

int backend_put(struct backend *be, const char *key, const struct source *src,
		const struct put_opts *opts, struct object *ret, struct call *call)
{
	int r = call_check(call);
	if (!r)
		r = check_key(key);
	if (!r)
		r = check_opts(opts);
	if (!r)
		r = check_write(be, be->ops->put);
	if (!r)
		r = check_source(src, be->limits.put_max);
	return r < 0 ? r : be->ops->put(be, key, src, opts, ret, call);
}

int backend_del(struct backend *be, const char *key, const struct cond *cond,
		struct call *call)
{
	int r = call_check(call);
	if (!r)
		r = check_key(key);
	if (!r && cond && cond->if_absent)
		r = -EINVAL;
	if (!r)
		r = check_cond(cond);
	if (!r)
		r = check_write(be, be->ops->del);
	return r < 0 ? r : be->ops->del(be, key, cond, call);
}

int backend_copy(struct backend *be, const char *from, const struct object *from_obj,
		 const char *to, const struct put_opts *opts, struct object *ret,
		 struct call *call)
{
	int r = call_check(call);
	if (!r)
		r = check_key(from);
	if (!r)
		r = check_key(to);
	if (!r)
		r = check_etag(from_obj->etag);
	if (!r)
		r = check_opts(opts);
	if (!r)
		r = check_write(be, be->ops->copy);
	return r < 0 ? r : be->ops->copy(be, from, from_obj, to, opts, ret, call);
}

/* Do both names have the same level, so that a rename leaves the object as it should
 * be? */
static bool is_placed_alike(const struct backend *be, const char *from, const char *to)
{
	const char *a = placement_level(from), *b = placement_level(to);
	return !(be->caps & BACKEND_PLACED) || a == b;
}

int backend_rename(struct backend *be, const char *from, const char *to,
		   struct call *call)
{
	int r = call_check(call);
	if (!r)
		r = check_key(from);
	if (!r)
		r = check_key(to);
	if (!r)
		r = check_write(be, be->ops->rename);
	if (!r && (!(be->caps & BACKEND_RENAME) || !is_placed_alike(be, from, to)))
		r = -EOPNOTSUPP;
	return r < 0 ? r : be->ops->rename(be, from, to, call);
}

int backend_upload_begin(struct backend *be, const char *key, uint64_t size,
			 const struct put_opts *opts, char **ret_id, struct call *call)
{
	int r = call_check(call);
	if (!r)
		r = check_key(key);
	if (!r)
		r = check_opts(opts);
	if (!r)
		r = check_write(be, be->ops->upload_begin);
	if (!r && size > be->limits.object_max)
		r = -EFBIG;
	return r < 0 ? r : be->ops->upload_begin(be, key, size, opts, ret_id, call);
}

int backend_upload_part(struct backend *be, const char *key, const char *id,
			uint64_t obj_off, const struct source *src, struct part *part,
			struct call *call)
{
	uint64_t end;
	int r = call_check(call);
	if (!r)
		r = check_key(key);
	if (!r)
		r = check_id(id);
	if (!r)
		r = check_write(be, be->ops->upload_part);
	if (!r)
		r = check_source(src, be->limits.part_max);
	if (!r &&
	    (!part->number || part->number > be->limits.parts_max ||
	     part->size != src->len || __builtin_add_overflow(obj_off, src->len, &end)))
		r = -EINVAL;
	return r < 0 ? r : be->ops->upload_part(be, key, id, obj_off, src, part, call);
}

/* Ascending numbers, and sizes whose sum is the object's. */
static int check_parts(const struct backend *be, const struct part *parts,
		       uint32_t n_parts, uint64_t size)
{
	uint64_t sum = 0;
	uint32_t last = 0;
	if (!n_parts || n_parts > be->limits.parts_max)
		return -EINVAL;
	for (uint32_t i = 0; i < n_parts; i++) {
		if (parts[i].number <= last || parts[i].number > be->limits.parts_max)
			return -EINVAL;
		last = parts[i].number;
		if (__builtin_add_overflow(sum, parts[i].size, &sum))
			return -EINVAL;
	}
	if (sum != size)
		return -EINVAL;
	return size <= be->limits.object_max ? 0 : -EFBIG;
}

int backend_upload_finish(struct backend *be, const char *key, const char *id,
			  const struct part *parts, uint32_t n_parts, uint64_t size,
			  const struct put_opts *opts, struct object *ret,
			  struct call *call)
{
	int r = call_check(call);
	if (!r)
		r = check_key(key);
	if (!r)
		r = check_id(id);
	if (!r)
		r = check_opts(opts);
	if (!r)
		r = check_write(be, be->ops->upload_finish);
	if (!r)
		r = check_parts(be, parts, n_parts, size);
	return r < 0 ? r
		     : be->ops->upload_finish(be, key, id, parts, n_parts, size, opts,
					      ret, call);
}

int backend_upload_abort(struct backend *be, const char *key, const char *id,
			 struct call *call)
{
	int r = call_check(call);
	if (!r)
		r = check_key(key);
	if (!r)
		r = check_id(id);
	if (!r)
		r = check_write(be, be->ops->upload_abort);
	return r < 0 ? r : be->ops->upload_abort(be, key, id, call);
}

int backend_upload_list(struct backend *be, const char *prefix, upload_list_fn *fn,
			void *arg, struct call *call)
{
	int r = call_check(call);
	if (!r && !prefix)
		r = -EINVAL;
	if (!r && *prefix)
		r = check_key(prefix);
	if (!r && !be->ops->upload_list)
		r = -EOPNOTSUPP;
	return r < 0 ? r : be->ops->upload_list(be, prefix, fn, arg, call);
}

static uint64_t round_up(uint64_t n, uint64_t align)
{
	uint64_t over = align > 1 ? n % align : 0;
	return over && __builtin_add_overflow(n, align - over, &n) ? UINT64_MAX : n;
}

int backend_origin(struct backend *be, const char *key, const struct object *obj,
		   struct buf *ret)
{
	int r = check_key(key);
	if (r < 0)
		return r;
	if (be->ops->origin)
		return be->ops->origin(be, key, obj, ret);
	buf_addf(ret, "%s/%s", be->name, key);
	return buf_error(ret);
}

bool backend_lasts(struct backend *be, const struct object *obj)
{
	return be->ops->lasts && be->ops->lasts(be, obj);
}

int backend_check(struct backend *be, const char *key, const struct object *obj,
		  struct call *call)
{
	int r = be->ops->check ? check_key(key) : 0;
	if (r < 0 || !be->ops->check)
		return r;
	return be->ops->check(be, key, obj, call);
}

int backend_warm(struct backend *be, uint32_t n, struct call *call)
{
	int r = call_check(call);
	return r || !be->ops->warm ? r : be->ops->warm(be, n, call);
}

bool backend_hides(struct backend *be, const char *key)
{
	return be->ops->hides && !check_key(key) && be->ops->hides(be, key);
}

void backend_health(struct backend *be, struct store_health *ret)
{
	*ret = (struct store_health){.reachable = true};
	if (be->ops->health)
		be->ops->health(be, ret);
}

uint64_t backend_part_size(const struct backend *be, uint64_t size)
{
	/* Below 8 MiB the request costs more than the bytes. */
	enum { PART_LEAST = 8 << 20 };
	const struct backend_limits *lim = &be->limits;
	if (!(be->caps & BACKEND_UPLOAD) || !lim->parts_max || size > lim->object_max)
		return 0;

	uint64_t part = PART_LEAST < lim->part_max ? PART_LEAST : lim->part_max;
	uint64_t spread = size / lim->parts_max + (size % lim->parts_max != 0);
	if (part < lim->part_min)
		part = lim->part_min;
	if (part < spread)
		part = spread;
	part = round_up(part, lim->part_align);
	return part <= lim->part_max ? part : 0;
}
