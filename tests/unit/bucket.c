/* bucket.c - see bucket.h. */
#include "tests/unit/bucket.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static struct bucket *enter(struct backend *be, atomic_int *count)
{
	atomic_fetch_add(count, 1);
	return (struct bucket *)be;
}

static int wait_held(struct bucket *b, struct call *call)
{
	while (atomic_load(&b->held)) {
		int r = call_check(call);
		if (r)
			return r;
		(void)usleep(1000);
	}
	return atomic_load(&b->down);
}

/* What a write answers; what it made, if anything, may be something else. */
static int answer(struct bucket *b, struct bucket_object *made)
{
	if (made && atomic_load(&b->spoil) > 0) {
		atomic_fetch_sub(&b->spoil, 1);
		made->bytes[0] ^= 1;
		return -EBADE;
	}
	if (atomic_load(&b->lose) > 0) {
		atomic_fetch_sub(&b->lose, 1);
		if (atomic_load(&b->dies))
			atomic_store(&b->down, -ECOMM);
		return -ECOMM;
	}
	return 0;
}

static struct bucket_object *find_locked(struct bucket *b, const char *key)
{
	for (int i = 0; i < BUCKET_OBJECTS; i++)
		if (b->objects[i].key && !strcmp(b->objects[i].key, key))
			return &b->objects[i];
	return NULL;
}

static void remove_locked(struct bucket_object *o)
{
	free(o->key);
	free(o->bytes);
	*o = (struct bucket_object){0};
}

/* bytes becomes the bucket's. */
static struct bucket_object *store_locked(struct bucket *b, const char *key, char *bytes,
				   uint64_t size, const struct put_opts *opts)
{
	struct bucket_object *o = find_locked(b, key);
	if (o)
		remove_locked(o);
	for (int i = 0; !o && i < BUCKET_OBJECTS; i++)
		o = b->objects[i].key ? NULL : &b->objects[i];
	CHECK(o);
	o->key = strdup(key);
	CHECK(o->key);
	o->bytes = bytes;
	o->obj = (struct object){.size = size, .mtime_ns = opts->mtime_ns};
	if (b->rounds_mtime)
		o->obj.mtime_ns -= o->obj.mtime_ns % (int64_t)NS_PER_S;
	(void)snprintf(o->obj.etag, sizeof(o->obj.etag), "\"e%llu\"",
		       (unsigned long long)++b->serial);
	(void)snprintf(o->obj.tag, sizeof(o->obj.tag), "%s", opts->tag ? opts->tag : "");
	return o;
}

static int check_locked(struct bucket *b, const char *key, const struct cond *cond)
{
	struct bucket_object *o = find_locked(b, key);
	if (cond->if_absent && o)
		return -EEXIST;
	if (cond->if_etag && (!o || strcmp(o->obj.etag, cond->if_etag) != 0))
		return -ESTALE;
	return 0;
}

static char *load(const struct source *src)
{
	char *bytes = malloc(src->len + 1);
	CHECK(bytes);
	for (uint64_t done = 0; done < src->len;) {
		ssize_t n = pread(src->fd, bytes + done, src->len - done,
				  (off_t)(src->off + done));
		CHECK(n > 0);
		done += (uint64_t)n;
	}
	return bytes;
}

static int mem_head(struct backend *be, const char *key, struct object *ret,
		    struct call *call)
{
	struct bucket *b = enter(be, &((struct bucket *)be)->heads);
	(void)call;
	if (atomic_load(&b->down))
		return atomic_load(&b->down);
	int r = bucket_head(b, key, ret);
	while (atomic_load(&b->late_heads))
		(void)usleep(1000);
	return r;
}

static int mem_get(struct backend *be, const char *key, const struct object *obj,
		   uint64_t off, uint64_t len, sink_fn *sink, void *arg,
		   struct call *call)
{
	struct bucket *b = enter(be, &((struct bucket *)be)->gets);
	int r = wait_held(b, call);
	if (r)
		return r;
	CLEANUP_FREE char *copy = malloc(len);
	CHECK(copy);
	(void)pthread_mutex_lock(&b->lock);
	struct bucket_object *o = find_locked(b, key);
	bool same = o && !strcmp(o->obj.etag, obj->etag) && off + len <= o->obj.size;
	if (same)
		memcpy(copy, o->bytes + off, len);
	(void)pthread_mutex_unlock(&b->lock);
	return same ? sink(arg, off, copy, len) : -ESTALE;
}

struct line {
	char *key; /* owned */
	bool prefix;
	struct object obj;
};

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct line *)a)->key, ((const struct line *)b)->key);
}

static size_t collect_locked(struct bucket *b, const struct list_query *q,
			     struct line *lines)
{
	size_t n = 0, skip = strlen(q->prefix);
	for (int i = 0; i < BUCKET_OBJECTS; i++) {
		const struct bucket_object *o = &b->objects[i];
		if (!o->key || strncmp(o->key, q->prefix, skip))
			continue;
		const char *slash = q->delim ? strchr(o->key + skip, q->delim) : NULL;
		struct line l = {.prefix = slash != NULL, .obj = o->obj};
		l.key = slash ? strndup(o->key, (size_t)(slash + 1 - o->key))
			      : strdup(o->key);
		bool seen = false;
		for (size_t k = 0; k < n; k++)
			seen = seen || !strcmp(lines[k].key, l.key);
		if (seen)
			free(l.key);
		else
			lines[n++] = l;
	}
	return n;
}

static int mem_list(struct backend *be, const struct list_query *q, char **token,
		    list_fn *fn, void *arg, struct call *call)
{
	struct bucket *b = enter(be, &((struct bucket *)be)->lists);
	struct line lines[BUCKET_OBJECTS];
	CHECK(!*token);
	int r = atomic_load(&b->down);
	if (r)
		return r;
	(void)pthread_mutex_lock(&b->lock);
	size_t n = collect_locked(b, q, lines);
	(void)pthread_mutex_unlock(&b->lock);
	/* Held here a listing is old when it arrives. */
	r = wait_held(b, call);
	if (b->listed)
		b->listed(b);
	qsort(lines, n, sizeof(*lines), by_key);
	for (size_t i = 0; i < n; i++) {
		struct line *l = &lines[i];
		l->obj.tag[0] = '\0';
		l->obj.mtime_ns = 1; /* the store's, not the user's */
		if (!r)
			r = fn(arg, l->key, strlen(l->key), l->prefix ? NULL : &l->obj);
		free(l->key);
	}
	return r;
}

static int mem_put(struct backend *be, const char *key, const struct source *src,
		   const struct put_opts *opts, struct object *ret, struct call *call)
{
	struct bucket *b = enter(be, &((struct bucket *)be)->puts);
	int r = wait_held(b, call);
	if (r)
		return r;
	char *bytes = load(src);
	SCOPED_LOCK(&b->lock);
	r = check_locked(b, key, &opts->cond);
	if (r) {
		free(bytes);
		return r;
	}
	struct bucket_object *made = store_locked(b, key, bytes, src->len, opts);
	*ret = made->obj;
	return answer(b, made);
}

static int mem_del(struct backend *be, const char *key, const struct cond *cond,
		   struct call *call)
{
	struct bucket *b = enter(be, &((struct bucket *)be)->dels);
	int r = wait_held(b, call);
	if (r)
		return r;
	SCOPED_LOCK(&b->lock);
	struct bucket_object *o = find_locked(b, key);
	if (!o)
		return -ENOENT;
	r = check_locked(b, key, cond);
	if (r)
		return r;
	remove_locked(o);
	return answer(b, NULL);
}

static int mem_copy(struct backend *be, const char *from, const struct object *from_obj,
		    const char *to, const struct put_opts *opts, struct object *ret,
		    struct call *call)
{
	struct bucket *b = enter(be, &((struct bucket *)be)->copies);
	int r = wait_held(b, call);
	if (!r)
		r = atomic_load(&b->no_copy);
	if (r)
		return r;
	SCOPED_LOCK(&b->lock);
	struct bucket_object *o = find_locked(b, from);
	if (b->blind_copies && (opts->cond.if_etag || opts->cond.if_absent))
		return -EOPNOTSUPP;
	if (!o || strcmp(o->obj.etag, from_obj->etag) != 0)
		return -ESTALE;
	r = check_locked(b, to, &opts->cond);
	if (r)
		return r;
	char *bytes = malloc(o->obj.size + 1);
	CHECK(bytes);
	memcpy(bytes, o->bytes, o->obj.size);
	struct bucket_object *made = store_locked(b, to, bytes, o->obj.size, opts);
	*ret = made->obj;
	return answer(b, made);
}

static int rename_object(struct bucket *b, const char *from, const char *to)
{
	SCOPED_LOCK(&b->lock);
	struct bucket_object *o = find_locked(b, from);
	if (!o)
		return -ENOENT;
	struct bucket_object moved = *o;
	struct put_opts opts = {.mtime_ns = moved.obj.mtime_ns, .tag = moved.obj.tag};
	*o = (struct bucket_object){0};
	free(moved.key);
	return answer(b, store_locked(b, to, moved.bytes, moved.obj.size, &opts));
}

static int mem_rename(struct backend *be, const char *from, const char *to,
		      struct call *call)
{
	struct bucket *b = enter(be, &((struct bucket *)be)->renames);
	int r = wait_held(b, call);
	if (!r)
		r = rename_object(b, from, to);
	if (b->renamed)
		b->renamed(b);
	return r;
}

static struct bucket_upload *upload_locked(struct bucket *b, const char *id)
{
	for (int i = 0; i < BUCKET_UPLOADS; i++)
		if (!strcmp(b->uploads[i].id, id))
			return &b->uploads[i];
	return NULL;
}

static void end_locked(struct bucket_upload *u)
{
	for (int i = 0; i < BUCKET_PARTS; i++)
		free(u->parts[i]);
	*u = (struct bucket_upload){0};
}

static struct bucket_upload *begin_locked(struct bucket *b, const char *key,
					  int64_t started_ns)
{
	struct bucket_upload *u = upload_locked(b, "");
	CHECK(u);
	(void)snprintf(u->id, sizeof(u->id), "u%llu", (unsigned long long)++b->serial);
	(void)snprintf(u->key, sizeof(u->key), "%s", key);
	u->started_ns = started_ns;
	return u;
}

static int mem_begin(struct backend *be, const char *key, uint64_t size,
		     const struct put_opts *opts, char **ret_id, struct call *call)
{
	struct bucket *b = enter(be, &((struct bucket *)be)->begins);
	(void)size;
	int r = wait_held(b, call);
	if (r)
		return r;
	SCOPED_LOCK(&b->lock);
	if (atomic_load(&b->twice) > 0) {
		atomic_fetch_sub(&b->twice, 1);
		(void)begin_locked(b, key, clock_wall_ns());
		call->repeated = true;
	}
	struct bucket_upload *u = begin_locked(b, key, clock_wall_ns());
	u->mtime_ns = opts->mtime_ns;
	*ret_id = strdup(u->id);
	return 0;
}

static int mem_part(struct backend *be, const char *key, const char *id, uint64_t obj_off,
		    const struct source *src, struct part *part, struct call *call)
{
	struct bucket *b = enter(be, &((struct bucket *)be)->parts);
	(void)obj_off;
	int r = wait_held(b, call);
	if (!r && atomic_load(&b->bad_part) == (int)part->number)
		r = -EIO;
	if (!r && b->no_parts)
		r = -EOPNOTSUPP;
	if (r)
		return r;
	char *bytes = load(src);
	SCOPED_LOCK(&b->lock);
	struct bucket_upload *u = upload_locked(b, id);
	if (!u || strcmp(u->key, key) != 0) {
		free(bytes);
		return -ENXIO;
	}
	free(u->parts[part->number]);
	u->parts[part->number] = bytes;
	u->sizes[part->number] = src->len;
	(void)snprintf(part->receipt, sizeof(part->receipt), "p%u", part->number);
	return 0;
}

static int mem_finish(struct backend *be, const char *key, const char *id,
		      const struct part *parts, uint32_t n_parts, uint64_t size,
		      const struct put_opts *opts, struct object *ret, struct call *call)
{
	struct bucket *b = enter(be, &((struct bucket *)be)->finishes);
	int r = wait_held(b, call);
	if (!r && b->no_finish)
		r = -EOPNOTSUPP;
	if (r)
		return r;
	SCOPED_LOCK(&b->lock);
	struct bucket_upload *u = upload_locked(b, id);
	r = u ? check_locked(b, key, &opts->cond) : -ENXIO;
	if (r)
		return r;
	char *bytes = malloc(size + 1);
	uint64_t at = 0;
	CHECK(bytes);
	for (uint32_t i = 0; i < n_parts; i++) {
		uint32_t no = parts[i].number;
		CHECK(u->parts[no] && u->sizes[no] == parts[i].size);
		memcpy(bytes + at, u->parts[no], u->sizes[no]);
		at += u->sizes[no];
	}
	CHECK_EQ(at, size);
	struct put_opts told = *opts;
	if (b->begin_meta)
		told.mtime_ns = u->mtime_ns;
	struct bucket_object *made = store_locked(b, key, bytes, size, &told);
	*ret = made->obj;
	end_locked(u);
	return answer(b, made);
}

static int mem_abort(struct backend *be, const char *key, const char *id,
		     struct call *call)
{
	struct bucket *b = enter(be, &((struct bucket *)be)->aborts);
	(void)key;
	(void)call;
	if (atomic_load(&b->down))
		return atomic_load(&b->down);
	SCOPED_LOCK(&b->lock);
	struct bucket_upload *u = upload_locked(b, id);
	if (u)
		end_locked(u);
	return 0;
}

static int mem_upload_list(struct backend *be, const char *prefix, upload_list_fn *fn,
			   void *arg, struct call *call)
{
	struct bucket *b = (struct bucket *)be;
	(void)call;
	for (int i = 0; i < BUCKET_UPLOADS; i++) {
		(void)pthread_mutex_lock(&b->lock);
		struct bucket_upload u = b->uploads[i];
		(void)pthread_mutex_unlock(&b->lock);
		int r = *u.id && !strncmp(u.key, prefix, strlen(prefix))
				? fn(arg, u.key, u.id, u.started_ns)
				: 0;
		if (r)
			return r;
	}
	return 0;
}

static void mem_free(struct backend *be)
{
	(void)be; /* the test's */
}

static const struct backend_ops ops = {
	.scheme = "mem",
	.free = mem_free,
	.head = mem_head,
	.get = mem_get,
	.list = mem_list,
	.put = mem_put,
	.del = mem_del,
	.copy = mem_copy,
	.rename = mem_rename,
	.upload_begin = mem_begin,
	.upload_part = mem_part,
	.upload_finish = mem_finish,
	.upload_abort = mem_abort,
	.upload_list = mem_upload_list,
};

void bucket_init(struct bucket *b)
{
	static char name[] = "mem://bucket";
	*b = (struct bucket){
		.be = {.ops = &ops,
		       .name = name,
		       .caps = BACKEND_WRITE | BACKEND_PUT_IF | BACKEND_FINISH_IF |
			       BACKEND_DEL_IF | BACKEND_UPLOAD | BACKEND_COPY,
		       .limits = {.put_max = UINT64_C(5) << 30,
				  .part_min = 5 << 20,
				  .part_max = UINT64_C(5) << 30,
				  .part_align = 1,
				  .parts_max = 10000,
				  .object_max = UINT64_C(5) << 40}},
	};
	(void)pthread_mutex_init(&b->lock, NULL);
}

void bucket_done(struct bucket *b)
{
	for (int i = 0; i < BUCKET_OBJECTS; i++)
		remove_locked(&b->objects[i]);
	for (int i = 0; i < BUCKET_UPLOADS; i++)
		end_locked(&b->uploads[i]);
	(void)pthread_mutex_destroy(&b->lock);
}

void bucket_set(struct bucket *b, const char *key, const char *text, const char *tag)
{
	struct put_opts opts = {.mtime_ns = 7 * (int64_t)NS_PER_S, .tag = tag};
	char *bytes = strdup(text);
	CHECK(bytes);
	SCOPED_LOCK(&b->lock);
	(void)store_locked(b, key, bytes, strlen(text), &opts);
}

void bucket_unset(struct bucket *b, const char *key)
{
	SCOPED_LOCK(&b->lock);
	struct bucket_object *o = find_locked(b, key);
	if (o)
		remove_locked(o);
}

bool bucket_has(struct bucket *b, const char *key, const char *text)
{
	SCOPED_LOCK(&b->lock);
	struct bucket_object *o = find_locked(b, key);
	if (!o || !text)
		return !o && !text;
	return o->obj.size == strlen(text) && !memcmp(o->bytes, text, o->obj.size);
}

bool bucket_has_bytes(struct bucket *b, const char *key, const void *bytes, size_t n)
{
	SCOPED_LOCK(&b->lock);
	struct bucket_object *o = find_locked(b, key);
	return o && o->obj.size == n && !memcmp(o->bytes, bytes, n);
}

int bucket_head(struct bucket *b, const char *key, struct object *ret)
{
	SCOPED_LOCK(&b->lock);
	struct bucket_object *o = find_locked(b, key);
	if (o)
		*ret = o->obj;
	return o ? 0 : -ENOENT;
}

const char *bucket_begin(struct bucket *b, const char *key, int64_t started_ns)
{
	SCOPED_LOCK(&b->lock);
	return begin_locked(b, key, started_ns)->id;
}

void bucket_forget_uploads(struct bucket *b)
{
	SCOPED_LOCK(&b->lock);
	for (int i = 0; i < BUCKET_UPLOADS; i++)
		end_locked(&b->uploads[i]);
}

int bucket_uploads(struct bucket *b)
{
	int n = 0;
	SCOPED_LOCK(&b->lock);
	for (int i = 0; i < BUCKET_UPLOADS; i++)
		n += *b->uploads[i].id != '\0';
	return n;
}
