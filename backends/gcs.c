/* gcs.c - see gcs.h.  Opening a bucket, and the operations that are one request. */
#include "backends/gcs.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/cred_google.h"
#include "backends/gcs_request.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

#define MIB UINT64_C(1048576)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)

/* Held in memory; above, an interruption costs more than the session's request. */
#define ONE_REQUEST_MAX (8 * MIB)

static const struct backend_limits gcs_limits = {
	.put_max = 64 * MIB,
	.part_min = 1,
	.part_max = 5 * GIB,
	.part_align = 1,
	.parts_max = GCS_COMPOSE_MAX * GCS_COMPOSE_MAX,
	.object_max = 5 * TIB,
};

int gcs_stat(struct gcs *gcs, const char *key, struct gcs_object *ret, struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {.op = "head", .method = "GET", .key = key};
	request_param(&rq, "fields", GCS_FIELDS);
	int r = request_send(&gcs->st, &rq, &reply, call);
	return r ? r : gcs_object_of(gcs, &rq, &reply, ret);
}

static int gcs_head(struct backend *be, const char *key, struct object *ret,
		    struct call *call)
{
	struct gcs_object o;
	int r = gcs_is_hidden(key) ? -ENOENT : gcs_stat(gcs_of(be), key, &o, call);
	if (!r)
		*ret = o.obj;
	return r;
}

/* That the bytes are taken as they are stored is what Accept-Encoding says: an object
 * with Content-Encoding gzip would come unpacked otherwise, of another length. */
static int gcs_get(struct backend *be, const char *key, const struct object *obj,
		   uint64_t off, uint64_t len, sink_fn *sink, void *arg,
		   struct call *call)
{
	struct http_range want = {.off = off,
				  .len = len,
				  .total = obj->size,
				  .etag = obj->etag,
				  .etag_header = "x-goog-generation"};
	struct request rq = {.op = "get", .method = "GET", .key = key};
	request_param(&rq, "alt", "media");
	request_param(&rq, "generation", obj->etag);
	request_param(&rq, "ifGenerationMatch", obj->etag);
	request_header(&rq, "accept-encoding", "gzip");
	return request_get(&gcs_of(be)->st, &rq, "range", &want, sink, arg, call);
}

int gcs_del(struct backend *be, const char *key, const struct cond *cond,
	    struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {.op = "delete", .method = "DELETE", .key = key};
	if (cond && cond->if_etag)
		request_param(&rq, "ifGenerationMatch", cond->if_etag);
	return request_send(&gcs_of(be)->st, &rq, &reply, call);
}

static int gcs_rename(struct backend *be, const char *from, const char *to,
		      struct call *call)
{
	return gcs_move(gcs_of(be), from, to, call);
}

static void gcs_free(struct backend *be)
{
	struct gcs *gcs = gcs_of(be);
	store_done(&gcs->st);
	free(gcs->bucket);
	free(gcs->billing);
	free(gcs);
}

static const struct backend_ops gcs_ops = {
	.scheme = "gs",
	.free = gcs_free,
	.probe = gcs_probe,
	.head = gcs_head,
	.warm = store_warm,
	.get = gcs_get,
	.list = gcs_list,
	.put = gcs_put,
	.del = gcs_del,
	.copy = gcs_copy,
	.rename = gcs_rename,
	.upload_begin = gcs_upload_begin,
	.upload_part = gcs_upload_part,
	.upload_finish = gcs_upload_finish,
	.upload_abort = gcs_upload_abort,
	.upload_list = gcs_upload_list,
};

void gcs_set_one_request_max_for_test(struct backend *be, uint64_t bytes)
{
	gcs_of(be)->one_request_max = bytes;
}

/* --- opening --- */

static const char *env(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

/* The emulator's may come without a scheme, and is plain http then. */
static int set_endpoint(struct gcs *gcs, const struct backend_conf *conf)
{
	CLEANUP_BUF struct buf url;
	const char *emulator = env("STORAGE_EMULATOR_HOST");
	buf_init(&url, 1024);
	if (conf->endpoint)
		buf_adds(&url, conf->endpoint);
	else if (emulator)
		buf_addf(&url, "%s%s", strstr(emulator, "://") ? "" : "http://",
			 emulator);
	else
		buf_adds(&url, "https://storage.googleapis.com");
	if (buf_error(&url) == -ENOMEM)
		return -ENOMEM;
	if (buf_error(&url) || url_parse_endpoint(url.data, &gcs->endpoint)) {
		log_error("gcs", "endpoint \"%s\" is not http(s)://host[:port]",
			  conf->endpoint ? conf->endpoint : emulator);
		return -EINVAL;
	}
	if (!gcs->endpoint.https && !conf->allow_http &&
	    !url_host_is_loopback(gcs->endpoint.host)) {
		log_error("gcs",
			  "endpoint %s: plain http would show the data to everybody on "
			  "the way; the option allow_http permits it",
			  url.data);
		return -EINVAL;
	}
	return 0;
}

static int set_bucket(struct gcs *gcs, const struct backend_conf *conf)
{
	CLEANUP_BUF struct buf root;
	buf_init(&root, 1024);
	int r = url_parse_bucket(conf->url, "gs", &gcs->bucket, &gcs->st.prefix);
	if (r == -EINVAL)
		log_error("gcs", "\"%s\" is not gs://bucket[/prefix]", conf->url);
	if (!r && strlen(gcs->st.prefix) >= STORE_KEY_MAX) {
		log_error("gcs", "the prefix of %s is longer than a key can be",
			  conf->url);
		r = -ENAMETOOLONG;
	}
	if (r)
		return r;
	buf_addf(&root, "gs://%s", gcs->bucket);
	return buf_error(&root) ? buf_error(&root) : store_set_name(&gcs->st, root.data);
}

static int open_parts(struct gcs *gcs, const struct backend_conf *conf)
{
	int r = store_init(&gcs->st, &gcs_dialect, &gcs_ops, conf);
	if (!r)
		r = set_bucket(gcs, conf);
	if (!r)
		r = set_endpoint(gcs, conf);
	if (!r && conf->billing_project) {
		gcs->billing = strdup(conf->billing_project);
		r = gcs->billing ? 0 : -ENOMEM;
	}
	if (r)
		return r;
	gcs->st.be.limits = gcs_limits;
	gcs->one_request_max = ONE_REQUEST_MAX;
	gcs->st.be.caps |= BACKEND_LIST_META | BACKEND_RENAME | BACKEND_LIST_AFTER;
	if (conf->anonymous || env("STORAGE_EMULATOR_HOST"))
		return 0;
	return cred_google_new(gcs->st.asking, conf->read_only, conf->wait,
			       &gcs->st.creds, NULL);
}

int gcs_open(const struct backend_conf *conf, struct backend **ret)
{
	struct gcs *gcs = calloc(1, sizeof *gcs);
	if (!gcs)
		return -ENOMEM;
	int r = open_parts(gcs, conf);
	if (r) {
		gcs_free(&gcs->st.be);
		return r;
	}
	*ret = &gcs->st.be;
	return 0;
}
