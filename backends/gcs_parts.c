/* gcs_parts.c - uploads in parts, each a temporary object, composed in the end.
 *
 *   .mastfs-parts/ID.upload    marks the upload, and tells for which key it is
 *   .mastfs-parts/ID/p00001    a part
 *   .mastfs-parts/ID/c00001    32 parts composed, where there are more than 32
 *
 * 1. While the mark is there, so is the upload.  upload_begin writes it first;
 *    upload_abort and a finished upload remove it last, when nothing is left below.
 * 2. A part looks for the mark when it has arrived: one that comes after an abort takes
 *    itself away again.
 * 3. A receipt is the part's generation and checksum.  Compose takes just these
 *    generations, and the checksum of the whole follows from those of the parts (P2).
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/crc.h"
#include "backends/crypto.h"
#include "backends/gcs_request.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

/* An id comes back from the journal: it becomes part of a name. */
static bool is_id(const char *id)
{
	return strlen(id) == GCS_ID_SIZE - 1 && !id[strspn(id, "0123456789abcdef")];
}

static void mark_key(const char *id, char ret[static KEY_SIZE])
{
	(void)snprintf(ret, KEY_SIZE, GCS_PARTS_DIR "%s" GCS_UPLOAD_MARK, id);
}

static void part_key(const char *id, char kind, uint32_t number,
		     char ret[static KEY_SIZE])
{
	(void)snprintf(ret, KEY_SIZE, GCS_PARTS_DIR "%s/%c%05" PRIu32, id, kind, number);
}

/* -ENXIO: there is no such upload (any more). */
static int look_for_mark(struct gcs *gcs, const char *id, struct call *call)
{
	struct gcs_object o;
	char mark[KEY_SIZE];
	mark_key(id, mark);
	int r = gcs_stat(gcs, mark, &o, call);
	return r == -ENOENT ? -ENXIO : r;
}

int gcs_upload_begin(struct backend *be, const char *key, uint64_t size,
		     const struct put_opts *opts, char **ret_id, struct call *call)
{
	static const struct put_opts plain;
	const struct source nothing = {.fd = -1};
	uint8_t random[(GCS_ID_SIZE - 1) / 2];
	char hex[GCS_ID_SIZE], mark[KEY_SIZE];
	struct gcs_object o;
	(void)size;
	(void)opts;
	if (gcs_is_hidden(key))
		return -EILSEQ;
	int r = crypto_random(random, sizeof random);
	if (r)
		return r;
	hex_encode(random, sizeof random, hex);
	mark_key(hex, mark);
	CLEANUP_FREE char *id = strdup(hex);
	if (!id)
		return -ENOMEM;
	r = gcs_send_object(gcs_of(be), "begin upload", mark, &nothing,
			    (struct gcs_new){.opts = &plain, .upload_key = key}, &o,
			    call);
	if (!r)
		*ret_id = STEAL(id);
	return r;
}

static int make_receipt(const struct gcs_object *o, char ret[static ETAG_SIZE])
{
	int n = snprintf(ret, ETAG_SIZE, "%s %08" PRIx32, o->obj.etag, o->crc32c);
	return n < ETAG_SIZE ? 0 : -EBADMSG;
}

int gcs_upload_part(struct backend *be, const char *key, const char *id, uint64_t obj_off,
		    const struct source *src, struct part *part, struct call *call)
{
	static const struct put_opts plain;
	struct gcs *gcs = gcs_of(be);
	struct gcs_object o;
	char name[KEY_SIZE];
	(void)obj_off;
	if (!is_id(id))
		return -ENXIO;
	part_key(id, 'p', part->number, name);
	/* Of the class of the whole: what is composed must be of one. */
	struct gcs_new new = {.opts = &plain,
			      .class = placement_class(gcs->st.placement, key)};
	int r = gcs_send_object(gcs, "upload part", name, src, new, &o, call);
	if (r)
		return r;
	r = look_for_mark(gcs, id, call);
	if (r == -ENXIO)
		(void)gcs_del(be, name, NULL, call);
	return r ? r : make_receipt(&o, part->receipt);
}

/* --- composing --- */

/* What is composed: an object of this bucket. */
struct piece {
	char key[KEY_SIZE];
	uint64_t generation, size;
	uint32_t crc32c;
};

static int add_pieces(const struct gcs *gcs, const struct piece *pieces, uint32_t n,
		      struct buf *body)
{
	CLEANUP_BUF struct buf full;
	buf_init(&full, (size_t)2 * STORE_KEY_MAX + 1);
	int r = 0;
	for (uint32_t i = 0; !r && i < n; i++) {
		buf_reset(&full);
		buf_addf(body, "%s{\"name\":", i ? "," : "");
		r = store_full_key(&gcs->st, pieces[i].key, &full);
		if (!r)
			r = json_quote(body, full.data, full.len);
		buf_addf(body, ",\"generation\":\"%" PRIu64 "\"}", pieces[i].generation);
	}
	return r;
}

/* What the whole must be. */
static struct piece sum_of(const struct piece *pieces, uint32_t n)
{
	struct piece sum = {.size = 0};
	for (uint32_t i = 0; i < n; i++) {
		sum.crc32c = crc32c_combine(sum.crc32c, pieces[i].crc32c, pieces[i].size);
		sum.size += pieces[i].size;
	}
	return sum;
}

/* Nobody may take it for what it should be. */
static int reject(struct gcs *gcs, const struct request *rq, const struct gcs_object *o,
		  const struct http_reply *reply, struct call *call)
{
	struct cond this = {.if_etag = o->obj.etag};
	(void)gcs_del(&gcs->st.be, rq->key, &this, call);
	return request_log(&gcs->st, rq, -EBADE,
			   "what was composed is not the sum of its parts", reply);
}

/* -ENXIO: a source is gone. */
static int compose(struct gcs *gcs, const struct piece *pieces, uint32_t n,
		   const char *to, const struct gcs_new *resource, struct gcs_object *ret,
		   struct call *call)
{
	CLEANUP_BUF struct buf path, body;
	CLEANUP_REPLY struct http_reply reply;
	struct piece sum = sum_of(pieces, n);
	struct gcs_object o;
	http_reply_init(&reply);
	buf_init(&path, GCS_PATH_MAX);
	buf_init(&body, (size_t)4 * GCS_JSON_MAX);
	assert(n && n <= GCS_COMPOSE_MAX);
	buf_adds(&body, "{\"sourceObjects\":[");
	int r = add_pieces(gcs, pieces, n, &body);
	buf_adds(&body, "],\"destination\":");
	if (!r)
		r = gcs_add_resource(&body, resource);
	buf_addc(&body, '}');
	if (!r)
		r = gcs_add_path(gcs, to, &path);
	buf_adds(&path, "/compose");
	if (r || buf_error(&body))
		return r ? r : buf_error(&body);
	struct request rq = {.op = "compose",
			     .method = "POST",
			     .key = to,
			     .target = path.data,
			     .body = body.data,
			     .body_len = body.len,
			     .slow = true,
			     .on_404 = -ENXIO};
	request_header(&rq, "content-type", "application/json; charset=UTF-8");
	gcs_add_cond(&rq, &resource->opts->cond);
	r = request_send(&gcs->st, &rq, &reply, call);
	if (!r)
		r = gcs_object_of(gcs, &rq, &reply, &o);
	if (r)
		return r;
	if (o.obj.size != sum.size || !o.has_crc32c || o.crc32c != sum.crc32c)
		return reject(gcs, &rq, &o, &reply, call);
	*ret = o;
	return 0;
}

/* "GENERATION CRC", as make_receipt made it.  -EINVAL. */
static int read_receipt(const char *receipt, struct piece *ret)
{
	char digits[24];
	const char *space = strchr(receipt, ' ');
	size_t n = space ? (size_t)(space - receipt) : 0;
	if (!n || n >= sizeof digits || strlen(space + 1) != 8 ||
	    space[1 + strspn(space + 1, "0123456789abcdef")])
		return -EINVAL;
	memcpy(digits, receipt, n);
	digits[n] = '\0';
	ret->crc32c = (uint32_t)strtoul(space + 1, NULL, 16);
	return http_parse_u64(digits, &ret->generation) ? -EINVAL : 0;
}

static int pieces_of(const char *id, const struct part *parts, uint32_t n,
		     struct piece *ret)
{
	for (uint32_t i = 0; i < n; i++) {
		int r = read_receipt(parts[i].receipt, &ret[i]);
		if (r)
			return r;
		part_key(id, 'p', parts[i].number, ret[i].key);
		ret[i].size = parts[i].size;
	}
	return 0;
}

/* 32 at a time, in place, until 32 are enough. */
static int condense(struct gcs *gcs, const char *id, const char *class,
		    struct piece *pieces, uint32_t *n, struct call *call)
{
	static const struct put_opts plain;
	struct gcs_new new = {.opts = &plain, .class = class};
	uint32_t made = 0;
	if (*n <= GCS_COMPOSE_MAX)
		return 0;
	for (uint32_t at = 0; at < *n; at += GCS_COMPOSE_MAX) {
		struct piece whole;
		struct gcs_object o;
		uint32_t left = *n - at;
		uint32_t some = left < GCS_COMPOSE_MAX ? left : GCS_COMPOSE_MAX;
		part_key(id, 'c', made + 1, whole.key);
		int r = compose(gcs, pieces + at, some, whole.key, &new, &o, call);
		if (r)
			return r;
		if (http_parse_u64(o.obj.etag, &whole.generation))
			return -EBADMSG;
		whole.size = o.obj.size;
		whole.crc32c = o.crc32c;
		pieces[made++] = whole;
	}
	*n = made;
	return 0;
}

/* --- cleaning up --- */

static int remove_upload(struct gcs *gcs, const char *id, struct call *call)
{
	char mark[KEY_SIZE], dir[KEY_SIZE];
	mark_key(id, mark);
	(void)snprintf(dir, sizeof dir, GCS_PARTS_DIR "%s/", id);
	int r = gcs_sweep(gcs, dir, call);
	if (!r)
		r = gcs_del(&gcs->st.be, mark, NULL, call);
	return r == -ENOENT ? 0 : r;
}

/* Swept again in the end: a part may have seen the mark just before it went. */
int gcs_upload_abort(struct backend *be, const char *key, const char *id,
		     struct call *call)
{
	char dir[KEY_SIZE];
	(void)key;
	if (!is_id(id))
		return 0;
	(void)snprintf(dir, sizeof dir, GCS_PARTS_DIR "%s/", id);
	int r = remove_upload(gcs_of(be), id, call);
	return r ? r : gcs_sweep(gcs_of(be), dir, call);
}

int gcs_upload_finish(struct backend *be, const char *key, const char *id,
		      const struct part *parts, uint32_t n_parts, uint64_t size,
		      const struct put_opts *opts, struct object *ret, struct call *call)
{
	struct gcs *gcs = gcs_of(be);
	struct gcs_new new = gcs_new_for(gcs, key, opts);
	struct gcs_object o;
	uint32_t n = n_parts;
	(void)size; /* the sum of the parts', as backend.c checked */
	if (!is_id(id))
		return -ENXIO;
	CLEANUP_FREE struct piece *pieces = calloc(n_parts, sizeof *pieces);
	if (!pieces)
		return -ENOMEM;
	int r = pieces_of(id, parts, n_parts, pieces);
	if (!r)
		r = condense(gcs, id, new.class, pieces, &n, call);
	if (!r)
		r = compose(gcs, pieces, n, key, &new, &o, call);
	/* A store may say of a missing part no more than that it failed. */
	if (r == -EREMOTEIO && look_for_mark(gcs, id, call) == -ENXIO)
		r = -ENXIO;
	if (r)
		return r;
	*ret = o.obj;
	if (remove_upload(gcs, id, call))
		log_warn("gcs", "%s: the parts of %s stay in %s%s/ for now", be->name,
			 key, GCS_PARTS_DIR, id);
	return 0;
}

/* --- what a crash has left --- */

struct search {
	const char *prefix;
	upload_list_fn *fn;
	void *arg;
};

/* One object below .mastfs-parts/, by its full name. */
static int note_mark(const struct gcs *gcs, const struct search *s, const struct json *v)
{
	size_t dir = strlen(gcs->st.prefix) + strlen(GCS_PARTS_DIR), n;
	const char *name = json_text(json_member(v, "name"), &n);
	struct gcs_object o;
	char id[GCS_ID_SIZE];
	if (!name || gcs_parse_object(v, &o))
		return -EBADMSG;
	if (!o.upload_key || n != dir + GCS_ID_SIZE - 1 + strlen(GCS_UPLOAD_MARK))
		return 0;
	(void)snprintf(id, sizeof id, "%s", name + dir);
	if (!is_id(id) || strncmp(o.upload_key, s->prefix, strlen(s->prefix)) != 0)
		return 0;
	return s->fn(s->arg, o.upload_key, id, o.created_ns);
}

/* *token: owned; NULL at the end. */
static int search_page(struct gcs *gcs, const struct search *s, char **token,
		       struct call *call)
{
	struct list_query q = {.prefix = GCS_PARTS_DIR, .delim = '/'};
	struct json *root = NULL;
	int r = gcs_get_page(gcs, &q, *token, &root, call);
	free(STEAL(*token));
	const struct json *items = json_member(root, "items");
	for (size_t i = 0; r >= 0 && i < json_count(items); i++)
		r = note_mark(gcs, s, json_at(items, i));
	if (r >= 0)
		r = gcs_next_page(root, token);
	json_free(root);
	return r;
}

int gcs_upload_list(struct backend *be, const char *prefix, upload_list_fn *fn, void *arg,
		    struct call *call)
{
	enum { PAGES_MAX = 1000 };
	struct search s = {.prefix = prefix, .fn = fn, .arg = arg};
	CLEANUP_FREE char *token = NULL;
	for (int i = 0; i < PAGES_MAX; i++) {
		int r = search_page(gcs_of(be), &s, &token, call);
		if (r < 0 || !token)
			return r < 0 ? r : 0;
	}
	return -EREMOTEIO;
}

/* As long as Google keeps a session that nobody goes on with. */
#define UPLOAD_LIFE_NS (7 * 86400 * (int64_t)NS_PER_S)

struct expiry {
	struct gcs *gcs;
	struct call *call;
};

static int remove_if_old(void *arg, const char *key, const char *id, int64_t started_ns)
{
	const struct expiry *x = arg;
	if (started_ns > clock_wall_ns() - UPLOAD_LIFE_NS)
		return 0;
	log_info("gcs", "%s: an upload of %s is a week old: removed", x->gcs->st.be.name,
		 key);
	return gcs_upload_abort(&x->gcs->st.be, key, id, x->call);
}

int gcs_expire_uploads(struct gcs *gcs, struct call *call)
{
	struct expiry x = {.gcs = gcs, .call = call};
	return gcs_upload_list(&gcs->st.be, "", remove_if_old, &x, call);
}
