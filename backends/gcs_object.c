/* gcs_object.c - an object's resource, read and written.
 *
 * Times are kept as rclone and as gcloud keep them; meta.h reads others' too.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "backends/crypto.h"
#include "backends/date.h"
#include "backends/gcs_request.h"
#include "backends/meta.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/banned.h"

#define TAG_NAME    "mastfs-tag"
#define UPLOAD_NAME "mastfs-key"

static const char *text_of(const struct json *v, const char *name)
{
	return json_text(json_member(v, name), NULL);
}

static const char *metadata_of(const void *arg, const char *name)
{
	return text_of(arg, name);
}

/* The user's time, else the store's, else 0. */
static int64_t mtime_of(const struct json *v, const struct json *metadata)
{
	const char *updated = text_of(v, "updated");
	int64_t ns;
	if (meta_mtime(metadata_of, metadata, &ns))
		return ns;
	return updated && !date_parse_iso(updated, &ns) ? ns : 0;
}

/* Four bytes, the highest first, in base64; *ret_has: they are there.  -ENOMEM: a sum
 * that was not read must not pass for none, or for another. */
static int crc32c_of(const struct json *v, uint32_t *ret, bool *ret_has)
{
	CLEANUP_BUF struct buf raw;
	size_t n;
	const char *s = json_text(json_member(v, "crc32c"), &n);
	buf_init(&raw, 64);
	int r = s ? base64_decode(&raw, s, n) : -ENOENT;
	*ret_has = !r && raw.len == 4;
	if (!*ret_has)
		return r == -ENOMEM ? r : 0;
	const unsigned char *p = (const unsigned char *)raw.data;
	*ret = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
	return 0;
}

int gcs_parse_object(const struct json *v, struct gcs_object *ret)
{
	const struct json *metadata = json_member(v, "metadata");
	const char *tag = text_of(metadata, TAG_NAME);
	const char *created = text_of(v, "timeCreated");
	uint64_t generation;
	struct gcs_object o = {.upload_key = text_of(metadata, UPLOAD_NAME)};
	if (json_u64(json_member(v, "size"), &o.obj.size) ||
	    json_u64(json_member(v, "generation"), &generation) || !generation)
		return -EBADMSG;
	(void)snprintf(o.obj.etag, sizeof o.obj.etag, "%" PRIu64, generation);
	o.obj.mtime_ns = mtime_of(v, metadata);
	if (tag && strlen(tag) < sizeof o.obj.tag)
		memcpy(o.obj.tag, tag, strlen(tag) + 1);
	if (!created || date_parse_iso(created, &o.created_ns))
		o.created_ns = o.obj.mtime_ns;
	int r = crc32c_of(v, &o.crc32c, &o.has_crc32c);
	if (!r)
		*ret = o;
	return r;
}

int gcs_object_of(struct gcs *gcs, const struct request *rq,
		  const struct http_reply *reply, struct gcs_object *ret)
{
	struct json *root = NULL;
	int r = json_parse(reply->body.data, reply->body.len, &root);
	if (!r)
		r = gcs_parse_object(root, ret);
	if (!r)
		ret->upload_key = NULL; /* was the JSON's */
	json_free(root);
	return r ? request_log(&gcs->st, rq, r, "no size or generation in the answer",
			       reply)
		 : 0;
}

struct gcs_new gcs_new_for(const struct gcs *gcs, const char *key,
			   const struct put_opts *opts)
{
	size_t n = strlen(key);
	return (struct gcs_new){
		.level = placement_level(key),
		.class = placement_class(gcs->st.placement, key),
		.opts = opts,
		.is_dir = n && key[n - 1] == '/',
	};
}

/* Members of an object under construction: a comma before all but the first. */
static int add_member(struct buf *out, bool *any, const char *name, const char *value)
{
	if (!value)
		return 0;
	buf_addf(out, "%s\"%s\":", *any ? "," : "", name);
	*any = true;
	return json_quote(out, value, strlen(value));
}

static int add_times(struct buf *out, bool *any, int64_t mtime_ns)
{
	char iso[DATE_ISO_SIZE], seconds[24];
	if (!mtime_ns)
		return 0;
	int64_t s = mtime_ns / (int64_t)NS_PER_S;
	if (mtime_ns % (int64_t)NS_PER_S < 0)
		s--;
	date_format_iso(mtime_ns, iso);
	(void)snprintf(seconds, sizeof seconds, "%" PRId64, s);
	int r = add_member(out, any, "mtime", iso);
	return r ? r : add_member(out, any, "goog-reserved-file-mtime", seconds);
}

static int add_metadata(struct buf *out, const struct put_opts *opts, const char *level,
			const char *upload_key)
{
	bool any = false;
	buf_adds(out, "\"metadata\":{");
	int r = add_times(out, &any, opts->mtime_ns);
	if (!r)
		r = add_member(out, &any, TAG_NAME, opts->tag);
	if (!r)
		r = add_member(out, &any, PLACEMENT_TAG, level);
	if (!r)
		r = add_member(out, &any, UPLOAD_NAME, upload_key);
	buf_addc(out, '}');
	return r;
}

static int add_crc32c(struct buf *out, bool *any, uint32_t crc)
{
	CLEANUP_BUF struct buf text;
	const uint8_t bytes[4] = {(uint8_t)(crc >> 24), (uint8_t)(crc >> 16),
				  (uint8_t)(crc >> 8), (uint8_t)crc};
	buf_init(&text, 64);
	base64_encode(&text, bytes, sizeof bytes);
	return add_member(out, any, "crc32c", text.data);
}

int gcs_add_resource(struct buf *out, const struct gcs_new *new)
{
	bool any = false;
	buf_addc(out, '{');
	int r = add_member(out, &any, "name", new->name);
	if (!r)
		r = add_member(out, &any, "contentType",
			       new->is_dir ? "application/x-directory"
					   : "application/octet-stream");
	if (!r)
		r = add_member(out, &any, "storageClass", new->class);
	if (!r && new->crc32c)
		r = add_crc32c(out, &any, *new->crc32c);
	buf_addc(out, ',');
	if (!r)
		r = add_metadata(out, new->opts, new->level, new->upload_key);
	buf_addc(out, '}');
	return r ? r : buf_error(out);
}

int gcs_add_patch(struct buf *out, const struct put_opts *opts)
{
	buf_addc(out, '{');
	int r = add_metadata(out, opts, NULL, NULL);
	buf_addc(out, '}');
	return r ? r : buf_error(out);
}

void gcs_add_cond(struct request *rq, const struct cond *cond)
{
	if (cond->if_absent) {
		request_param(rq, "ifGenerationMatch", "0");
		rq->on_412 = -EEXIST;
	} else if (cond->if_etag) {
		request_param(rq, "ifGenerationMatch", cond->if_etag);
		rq->on_404 = rq->on_404 ? rq->on_404 : -ESTALE;
	}
}
