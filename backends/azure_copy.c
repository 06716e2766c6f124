/* azure_copy.c - copies and renames within the store.
 *
 * Metadata is replaced, not copied: the new blob has its own mtime and tag.  A copy of
 * a blob to itself only changes the metadata, and keeps what is not ours.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/azure_store.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/banned.h"

enum {
	SOURCE_MAX_BYTES = 8 * 1024,
	POLL_FIRST_MS = 50,
	POLL_LAST_MS = 2000,
	ABORT_S = 10,
	OTHERS_MAX = 12, /* names of metadata that are kept; the request has room */
};

static bool header_is(const struct http_reply *reply, const char *name, const char *want)
{
	const char *value = http_header(reply, name);
	return value && !strcmp(value, want);
}

/* --- metadata only --- */

static bool is_ours(const char *name)
{
	static const char *const ours[] = {"x-ms-meta-mastfs_tag", "x-ms-meta-mtime",
					   "x-ms-meta-hdi_isfolder",
					   "x-ms-meta-" PLACEMENT_TAG};
	for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
		if (!strcmp(name, ours[i]))
			return true;
	return false;
}

/* Their names may come back in another case, in which Azure sees no difference.
 * -E2BIG: more than can be kept. */
static int keep_others(struct request *rq, const struct http_reply *reply)
{
	const char *s = reply->headers.data, *end = s + reply->headers.len;
	size_t n = 0;
	while (s < end) {
		const char *value = s + strlen(s) + 1;
		if (!strncmp(s, "x-ms-meta-", 10) && !is_ours(s)) {
			if (n++ == OTHERS_MAX)
				return -E2BIG;
			request_header(rq, s, value);
		}
		s = value + strlen(value) + 1;
	}
	return 0;
}

static int send_metadata(struct azure *az, const char *key, const struct object *obj,
			 const struct http_reply *found, const struct put_opts *opts,
			 struct object *ret, struct call *call)
{
	struct azure_meta meta;
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {
		.op = "set metadata", .method = "PUT", .key = key, .on_404 = -ESTALE};
	request_param(&rq, "comp", "metadata");
	request_header(&rq, "if-match", obj->etag);
	azure_meta_headers(&rq, key, opts, &meta);
	if (keep_others(&rq, found))
		return request_log(&az->st, &rq, -EOPNOTSUPP,
				   "the blob has more metadata than can be kept", found);
	int r = request_send(&az->st, &rq, &reply, call);
	return r ? r : store_made(&az->st, &rq, &reply, obj->size, opts, ret);
}

static int set_metadata(struct azure *az, const char *key, const struct object *obj,
			const struct put_opts *opts, struct object *ret,
			struct call *call)
{
	CLEANUP_REPLY struct http_reply found;
	http_reply_init(&found);
	struct request rq = {
		.op = "head", .method = "HEAD", .key = key, .on_404 = -ESTALE};
	if (opts->cond.if_absent)
		return -EEXIST;
	if (opts->cond.if_etag && strcmp(opts->cond.if_etag, obj->etag) != 0)
		return -ESTALE;
	request_header(&rq, "if-match", obj->etag);
	int r = request_send(&az->st, &rq, &found, call);
	return r ? r : send_metadata(az, key, obj, &found, opts, ret, call);
}

/* --- copies --- */

/* While it is pending, the destination is an empty blob: that is not left behind. */
static void abandon(struct azure *az, const char *to, const char *id)
{
	struct call call = {.deadline_ns = clock_now_ns() + ABORT_S * NS_PER_S};
	struct object obj;
	CLEANUP_REPLY struct http_reply reply, found;
	http_reply_init(&reply);
	http_reply_init(&found);
	struct request rq = {.op = "abort copy", .method = "PUT", .key = to};
	request_param(&rq, "comp", "copy");
	request_param(&rq, "copyid", id);
	request_header(&rq, "x-ms-copy-action", "abort");
	struct request look = {.op = "head", .method = "HEAD", .key = to};
	if (request_send(&az->st, &rq, &reply, &call) ||
	    request_send(&az->st, &look, &found, &call) ||
	    azure_parse_object(&found, &obj) || obj.size ||
	    !header_is(&found, "x-ms-copy-id", id))
		return;
	struct cond cond = {.if_etag = obj.etag};
	(void)az->st.be.ops->del(&az->st.be, to, &cond, &call);
}

/* A wait that a cancelled call ends. */
static int wait_ms(uint64_t ms, const struct call *call)
{
	int r = call_check(call);
	for (; !r && ms; r = call_check(call)) {
		uint64_t step_ms = ms < POLL_FIRST_MS ? ms : POLL_FIRST_MS;
		clock_sleep_ns(step_ms * NS_PER_MS);
		ms -= step_ms;
	}
	return r;
}

static int wait_for_copy(struct azure *az, const char *to, const char *id,
			 struct call *call)
{
	uint64_t ms = POLL_FIRST_MS;
	for (;;) {
		CLEANUP_REPLY struct http_reply reply;
		http_reply_init(&reply);
		struct request rq = {
			.op = "head", .method = "HEAD", .key = to, .on_404 = -EREMOTEIO};
		int r = wait_ms(ms, call);
		if (!r)
			r = request_send(&az->st, &rq, &reply, call);
		if (r)
			return r;
		if (!header_is(&reply, "x-ms-copy-id", id))
			return request_log(&az->st, &rq, -EREMOTEIO,
					   "another write came into the copy", &reply);
		if (header_is(&reply, "x-ms-copy-status", "success"))
			return 0;
		if (!header_is(&reply, "x-ms-copy-status", "pending"))
			return request_log(&az->st, &rq, -EREMOTEIO, "the copy failed",
					   &reply);
		ms = 2 * ms < POLL_LAST_MS ? 2 * ms : POLL_LAST_MS;
	}
}

/* Started is not done. */
static int complete(struct azure *az, const struct request *rq,
		    const struct http_reply *reply, struct call *call)
{
	const char *id = http_header(reply, "x-ms-copy-id");
	if (header_is(reply, "x-ms-copy-status", "success"))
		return 0;
	if (!id || !header_is(reply, "x-ms-copy-status", "pending"))
		return request_log(&az->st, rq, -EREMOTEIO,
				   "the answer does not say how the copy stands", reply);
	int r = wait_for_copy(az, rq->key, id, call);
	if (r)
		abandon(az, rq->key, id);
	return r;
}

static int copy_blob(struct azure *az, const char *source, const struct object *from_obj,
		     const char *to, const struct put_opts *opts, struct object *ret,
		     struct call *call)
{
	struct azure_meta meta;
	struct object obj;
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {.op = "copy to", .method = "PUT", .key = to, .slow = true};
	request_header(&rq, "x-ms-copy-source", source);
	request_header(&rq, "x-ms-source-if-match", from_obj->etag);
	azure_cond_headers(&rq, &opts->cond);
	azure_meta_headers(&rq, to, opts, &meta);
	azure_place_headers(az, &rq, to, &meta);
	/* It may be the source that is not there, or not the same. */
	rq.on_404 = -ESTALE;
	rq.on_412 = 0;
	int r = azure_send_tagged(az, &rq, &meta, &reply, call);
	if (r == -ESTALE && opts->cond.if_absent &&
	    (header_is(&reply, "x-ms-error-code", "ConditionNotMet") ||
	     header_is(&reply, "x-ms-error-code", "TargetConditionNotMet")))
		return -EEXIST;
	if (!r)
		r = complete(az, &rq, &reply, call);
	if (!r)
		r = azure_head(&az->st.be, to, &obj, call);
	/* Who renames takes what is cached of the source for it. */
	if (!r && opts->tag && strcmp(obj.tag, opts->tag) != 0)
		return request_log(&az->st, &rq, -EREMOTEIO,
				   "what is there is not the copy", &reply);
	if (!r && obj.size != from_obj->size)
		r = request_log(&az->st, &rq, -EBADMSG, "the copy has another size",
				&reply);
	if (!r)
		*ret = obj;
	return r;
}

int azure_copy(struct backend *be, const char *from, const struct object *from_obj,
	       const char *to, const struct put_opts *opts, struct object *ret,
	       struct call *call)
{
	struct azure *az = azure_of(be);
	CLEANUP_BUF struct buf source;
	buf_init(&source, SOURCE_MAX_BYTES);
	if (!strcmp(from, to))
		return set_metadata(az, to, from_obj, opts, ret, call);
	azure_add_origin(az, &source);
	int r = azure_add_path(az, from, &source);
	return r ? r : copy_blob(az, source.data, from_obj, to, opts, ret, call);
}

/* --- renames, in a hierarchical namespace --- */

static int send_rename(struct azure *az, const char *source, const char *to,
		       bool *ret_no_parent, struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {.op = "rename to",
			     .method = "PUT",
			     .key = to,
			     .target = AZURE_TARGET_LAKE};
	request_param(&rq, "mode", "legacy");
	request_header(&rq, "x-ms-rename-source", source);
	int r = request_send(&az->st, &rq, &reply, call);
	*ret_no_parent = header_is(&reply, "x-ms-error-code",
				   "RenameDestinationParentPathNotFound");
	return r;
}

/* With everything above it. */
static int make_directory(struct azure *az, const char *key, struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {.op = "make directory",
			     .method = "PUT",
			     .key = key,
			     .target = AZURE_TARGET_LAKE};
	request_param(&rq, "resource", "directory");
	/* Another may have made it, and filled it, since. */
	request_header(&rq, "if-none-match", "*");
	rq.on_412 = -EEXIST;
	int r = request_send(&az->st, &rq, &reply, call);
	return r == -EEXIST ? 0 : r;
}

int azure_rename(struct backend *be, const char *from, const char *to, struct call *call)
{
	struct azure *az = azure_of(be);
	CLEANUP_BUF struct buf source;
	buf_init(&source, SOURCE_MAX_BYTES);
	int r = azure_add_path(az, from, &source);
	if (r)
		return r;
	bool no_parent;
	const char *slash = strrchr(to, '/');
	r = send_rename(az, source.data, to, &no_parent, call);
	if (r != -ENOENT || !no_parent || !slash || slash == to)
		return r;
	CLEANUP_FREE char *parent = strndup(to, (size_t)(slash - to));
	if (!parent)
		return -ENOMEM;
	r = make_directory(az, parent, call);
	return r ? r : send_rename(az, source.data, to, &no_parent, call);
}
