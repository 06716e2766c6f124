/* gcs_copy.c - copies and renames within the bucket.
 *
 * A copy of an object onto itself is a change of its metadata: no byte moves, and the
 * version stays, because the generation does.
 */
#include <errno.h>
#include <string.h>
#include "backends/gcs_request.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

enum { REWRITES_MAX = 100000, TOKEN_MAX = 4096 };

/* A store that ignores preconditions outside uploads is asked before. */
static int check_version(struct gcs *gcs, const char *key, const struct object *want,
			 struct call *call)
{
	struct gcs_object o;
	if (gcs->st.be.caps & BACKEND_DEL_IF)
		return 0;
	int r = gcs_stat(gcs, key, &o, call);
	if (r)
		return r == -ENOENT ? -ESTALE : r;
	return strcmp(o.obj.etag, want->etag) ? -ESTALE : 0;
}

/* Metadata that is not named stays: what others keep there, and the tag. */
static int change_metadata(struct gcs *gcs, const char *key, const struct object *obj,
			   const struct put_opts *opts, struct object *ret,
			   struct call *call)
{
	CLEANUP_BUF struct buf body;
	CLEANUP_REPLY struct http_reply reply;
	struct gcs_object o;
	http_reply_init(&reply);
	buf_init(&body, GCS_JSON_MAX);
	int r = check_version(gcs, key, obj, call);
	if (!r)
		r = gcs_add_patch(&body, opts);
	if (r)
		return r;
	struct request rq = {.op = "change",
			     .method = "PATCH",
			     .key = key,
			     .body = body.data,
			     .body_len = body.len,
			     .on_404 = -ESTALE};
	request_param(&rq, "ifGenerationMatch", obj->etag);
	request_header(&rq, "content-type", "application/json; charset=UTF-8");
	r = request_send(&gcs->st, &rq, &reply, call);
	/* Not every store answers with the whole of what it is now. */
	if (!r)
		r = gcs_stat(gcs, key, &o, call);
	if (r)
		return r == -ENOENT ? -ESTALE : r;
	if (strcmp(o.obj.etag, obj->etag))
		return -ESTALE;
	*ret = o.obj;
	return 0;
}

/* "FROM/VERB/TO" of two paths. */
static int add_paths(const struct gcs *gcs, const char *from, const char *verb,
		     const char *to, size_t skip, struct buf *ret)
{
	CLEANUP_BUF struct buf dest;
	buf_init(&dest, GCS_PATH_MAX);
	int r = gcs_add_path(gcs, from, ret);
	if (!r)
		r = gcs_add_path(gcs, to, &dest);
	if (r)
		return r;
	buf_adds(ret, verb);
	buf_adds(ret, dest.data + skip);
	return buf_error(ret);
}

/* What a rewrite answered.  1: not done yet, *token says where to go on. */
static int read_rewrite(struct gcs *gcs, const struct request *rq,
			const struct http_reply *reply, struct buf *token,
			struct gcs_object *ret)
{
	struct json *root = NULL;
	size_t n;
	int r = json_parse(reply->body.data, reply->body.len, &root);
	if (!r && json_flag(json_member(root, "done"))) {
		r = gcs_parse_object(json_member(root, "resource"), ret);
		if (!r)
			ret->upload_key = NULL; /* was the JSON's */
	} else if (!r) {
		const char *next = json_text(json_member(root, "rewriteToken"), &n);
		buf_reset(token);
		buf_add(token, next ? next : "", next ? n : 0);
		r = next && *next ? buf_error_or(token, -EBADMSG) : -EBADMSG;
		r = r ? r : 1;
	}
	json_free(root);
	return r < 0 ? request_log(&gcs->st, rq, r, "no sound answer to a rewrite", reply)
		     : r;
}

/* One step of it: large objects that change class or place take several. */
static int rewrite(struct gcs *gcs, const char *path, const char *key,
		   const struct object *from_obj, const struct buf *body,
		   const struct cond *cond, struct buf *token, struct gcs_object *ret,
		   struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	CLEANUP_BUF struct buf last;
	http_reply_init(&reply);
	buf_init(&last, TOKEN_MAX);
	buf_add(&last, token->data, token->len);
	struct request rq = {.op = "copy to",
			     .method = "POST",
			     .key = key,
			     .target = path,
			     .body = body->data,
			     .body_len = body->len,
			     .slow = true,
			     .on_404 = -ESTALE};
	request_param(&rq, "sourceGeneration", from_obj->etag);
	request_param(&rq, "ifSourceGenerationMatch", from_obj->etag);
	if (last.len)
		request_param(&rq, "rewriteToken", last.data);
	request_header(&rq, "content-type", "application/json; charset=UTF-8");
	gcs_add_cond(&rq, cond);
	int r = request_send(&gcs->st, &rq, &reply, call);
	if (!r)
		r = read_rewrite(gcs, &rq, &reply, token, ret);
	if (!r && ret->obj.size != from_obj->size)
		r = request_log(&gcs->st, &rq, -EBADMSG, "the copy has another size",
				&reply);
	return r;
}

int gcs_copy(struct backend *be, const char *from, const struct object *from_obj,
	     const char *to, const struct put_opts *opts, struct object *ret,
	     struct call *call)
{
	struct gcs *gcs = gcs_of(be);
	CLEANUP_BUF struct buf path, body, token;
	struct gcs_object o;
	buf_init(&path, (size_t)2 * GCS_PATH_MAX);
	buf_init(&body, GCS_JSON_MAX);
	buf_init(&token, TOKEN_MAX);
	if (gcs_is_hidden(to))
		return -EILSEQ;
	if ((opts->cond.if_absent || opts->cond.if_etag) && !(be->caps & BACKEND_DEL_IF))
		return -EOPNOTSUPP;
	if (!strcmp(from, to))
		return change_metadata(gcs, from, from_obj, opts, ret, call);
	struct gcs_new new = gcs_new_for(gcs, to, opts);
	int r = add_paths(gcs, from, "/rewriteTo", to, strlen("/storage/v1"), &path);
	if (!r)
		r = gcs_add_resource(&body, &new);
	for (int i = 0; !r && i < REWRITES_MAX; i++) {
		r = rewrite(gcs, path.data, to, from_obj, &body, &opts->cond, &token, &o,
			    call);
		if (r != 1) {
			if (!r)
				*ret = o.obj;
			return r;
		}
		r = 0;
	}
	return r ? r : -EREMOTEIO;
}

int gcs_move(struct gcs *gcs, const char *from, const char *to, struct call *call)
{
	CLEANUP_BUF struct buf path, bucket;
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	buf_init(&path, (size_t)2 * GCS_PATH_MAX);
	buf_init(&bucket, GCS_PATH_MAX);
	if (gcs_is_hidden(to))
		return -EILSEQ;
	int r = gcs_add_path(gcs, NULL, &bucket);
	if (!r)
		r = add_paths(gcs, from, "/moveTo", to, bucket.len - strlen("/o"), &path);
	if (r)
		return r;
	struct request rq = {.op = "rename",
			     .method = "POST",
			     .key = from,
			     .target = path.data,
			     .slow = true};
	return request_send(&gcs->st, &rq, &reply, call);
}
