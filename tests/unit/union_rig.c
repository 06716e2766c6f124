/* union_rig.c - see union_rig.h. */
#include "tests/unit/union_rig.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/fault.h"
#include "backends/union.h"
#include "backends/util/cleanup.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

/* --- a bucket with pages --- */

struct one {
	int left; /* entries before the one that is meant */
	bool more;
	list_fn *fn;
	void *arg;
};

static int pick(void *arg, const char *key, size_t key_len, const struct object *obj)
{
	struct one *one = arg;
	one->more |= one->left < 0;
	return one->left-- ? 0 : one->fn(one->arg, key, key_len, obj);
}

static int paged_list(struct backend *be, const struct list_query *q, char **token,
		      list_fn *fn, void *arg, struct call *call)
{
	int at = *token ? atoi(*token) : 0;
	struct one one = {.left = at, .fn = fn, .arg = arg};
	CLEANUP_FREE char *none = NULL;
	int r = backend_list(((struct paged *)be)->inner, q, &none, pick, &one, call);
	if (r)
		return r;
	free(*token);
	*token = NULL;
	if (one.more && asprintf(token, "%d", at + 1) < 0)
		return -ENOMEM;
	return 0;
}

static int paged_head(struct backend *be, const char *key, struct object *ret,
		      struct call *call)
{
	return backend_head(((struct paged *)be)->inner, key, ret, call);
}

static int paged_check(struct backend *be, const char *key, const struct object *obj,
		       struct call *call)
{
	struct paged *p = (struct paged *)be;
	CHECK(strncmp(obj->etag, "under:", 6) != 0);
	(void)key;
	(void)call;
	p->checked++;
	return p->answer;
}

static void paged_free(struct backend *be)
{
	free(be->name);
}

struct backend *urig_paged(struct paged *p, struct bucket *b, const char *name)
{
	bucket_init(b);
	*p = (struct paged){.base = b->be, .ops = *b->be.ops, .inner = &b->be};
	p->ops.head = paged_head;
	p->ops.list = paged_list;
	p->ops.check = paged_check;
	p->ops.free = paged_free;
	p->base.ops = &p->ops;
	p->base.name = strdup(name);
	return &p->base;
}

void urig_join(struct sources *s, struct backend *own, struct backend *under,
	       const char *own_script, const char *under_script)
{
	CHECK_EQ(fault_new(own, own_script, &s->own_be), 0);
	CHECK_EQ(fault_new(under, under_script, &s->under_be), 0);
	CHECK_EQ(union_new(s->own_be, s->under_be, 60 * NS_PER_S, &s->be), 0);
}

void urig_start(struct sources *s)
{
	bucket_init(&s->own);
	bucket_init(&s->under);
	urig_join(s, &s->own.be, &s->under.be, "", "");
}

void urig_start_paged(struct sources *s)
{
	struct backend *own = urig_paged(&s->own_pages, &s->own, "mem://own");
	struct backend *under = urig_paged(&s->under_pages, &s->under, "mem://public");
	urig_join(s, own, under, "", "");
}

/* The same buckets, nothing remembered. */
void urig_restart(struct sources *s)
{
	backend_free(s->be);
	urig_join(s, &s->own.be, &s->under.be, "", "");
}

void urig_end(struct sources *s)
{
	backend_free(s->be);
	bucket_done(&s->own);
	bucket_done(&s->under);
}

uint64_t urig_asked(struct backend *be, const char *op)
{
	return fault_count(be, op);
}

static int add_name(void *arg, const char *key, size_t key_len, const struct object *obj)
{
	struct buf *b = arg;
	(void)key_len;
	buf_addf(b, "%s%s", b->len ? " " : "", key);
	if (obj && !strncmp(obj->etag, "under:", 6))
		buf_addc(b, '*');
	return 0;
}

/* Keys in the order they came; a public one has a star. */
const char *urig_all(struct sources *s, const char *prefix, char delim)
{
	static char text[1000];
	CLEANUP_BUF struct buf b;
	buf_init(&b, sizeof(text));
	struct list_query q = {.prefix = prefix, .delim = delim};
	int r = backend_list_all(s->be, &q, add_name, &b, NULL);
	if (r)
		(void)snprintf(text, sizeof(text), "error %d", r);
	else
		(void)snprintf(text, sizeof(text), "%s", b.data);
	return text;
}

/* The first page; whether there are more. */
bool urig_first_page(struct sources *s, const char *prefix, struct buf *ret)
{
	struct list_query q = {.prefix = prefix, .delim = '/'};
	CLEANUP_FREE char *token = NULL;
	CHECK_EQ(backend_list(s->be, &q, &token, add_name, ret, NULL), 0);
	return token != NULL;
}

struct object urig_must_head(struct sources *s, const char *key)
{
	struct object obj;
	CHECK_EQ(backend_head(s->be, key, &obj, NULL), 0);
	return obj;
}

int urig_head(struct sources *s, const char *key)
{
	struct object obj;
	return backend_head(s->be, key, &obj, NULL);
}

int urig_take(void *arg, uint64_t off, const void *bytes, size_t len)
{
	(void)off;
	buf_add(arg, bytes, len);
	return 0;
}

bool urig_reads(struct sources *s, const char *key, const char *text)
{
	CLEANUP_BUF struct buf b;
	buf_init(&b, 1000);
	struct object obj = urig_must_head(s, key);
	return !backend_get(s->be, key, &obj, 0, obj.size, urig_take, &b, NULL) &&
	       !strcmp(b.data, text);
}

int urig_del(struct sources *s, const char *key, const char *etag)
{
	struct cond cond = {.if_etag = etag};
	return backend_del(s->be, key, &cond, NULL);
}

void urig_remove(struct sources *s, const char *key)
{
	struct object obj = urig_must_head(s, key);
	CHECK_EQ(urig_del(s, key, obj.etag), 0);
}

int urig_put_empty(struct sources *s, const char *key, const struct cond *cond)
{
	struct source none = {.fd = -1};
	struct put_opts opts = {.cond = *cond};
	struct object obj;
	return backend_put(s->be, key, &none, &opts, &obj, NULL);
}
