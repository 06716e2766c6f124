/* azure.c - see azure.h.  Opening a container, and the operations that are one
 * request. */
#include "backends/azure.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "backends/azure_store.h"
#include "backends/cred_azure.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

#define MIB UINT64_C(1048576)

static const struct backend_limits azure_limits = {
	/* What is so large goes in blocks, but where none are taken: azure_block.c. */
	.put_max = 5000 * MIB, .part_min = 1,	   .part_max = 4000 * MIB,
	.part_align = 1,       .parts_max = 50000, .object_max = 50000 * 4000 * MIB,
};

/* --- what answers say --- */

static const char *meta_of(const void *arg, const char *name)
{
	char header[64];
	(void)snprintf(header, sizeof header, "x-ms-meta-%s", name);
	return http_header(arg, header);
}

bool azure_is_folder(const struct http_reply *reply)
{
	const char *folder = meta_of(reply, "hdi_isfolder");
	const char *type = http_header(reply, "x-ms-resource-type");
	return (folder && !strcasecmp(folder, "true")) ||
	       (type && !strcasecmp(type, "directory"));
}

int azure_parse_object(const struct http_reply *reply, struct object *ret)
{
	return store_parse_object(reply, meta_of, "mastfs_tag", ret);
}

/* --- what writes carry --- */

static bool is_marker(const char *key)
{
	return key[strlen(key) - 1] == '/';
}

void azure_cond_headers(struct request *rq, const struct cond *cond)
{
	if (cond->if_absent) {
		request_header(rq, "if-none-match", "*");
		rq->on_412 = -EEXIST;
	} else if (cond->if_etag) {
		request_header(rq, "if-match", cond->if_etag);
		rq->on_404 = -ESTALE;
	}
}

/* Azure writes "Cool" what the user writes "COOL". */
static const char *tier_of(const struct azure *az, const char *key,
			   struct azure_meta *meta)
{
	const char *class = placement_class(az->st.placement, key);
	if (!class)
		return NULL;
	(void)snprintf(meta->tier, sizeof meta->tier, "%s", class);
	for (char *s = meta->tier; *s; s++)
		if (s > meta->tier && *s >= 'A' && *s <= 'Z')
			*s = (char)(*s - 'A' + 'a');
		else if (s == meta->tier && *s >= 'a' && *s <= 'z')
			*s = (char)(*s - 'a' + 'A');
	return meta->tier;
}

void azure_meta_headers(struct request *rq, const char *key, const struct put_opts *opts,
			struct azure_meta *meta)
{
	*meta = (struct azure_meta){0};
	request_header(rq, "x-ms-meta-mastfs_tag", opts->tag);
	if (opts->mtime_ns) {
		date_format_iso(opts->mtime_ns, meta->mtime);
		request_header(rq, "x-ms-meta-mtime", meta->mtime);
	}
	if (is_marker(key))
		request_header(rq, "x-ms-meta-hdi_isfolder", "true");
	request_header(rq, "x-ms-meta-" PLACEMENT_TAG, placement_level(key));
}

void azure_place_headers(const struct azure *az, struct request *rq, const char *key,
			 struct azure_meta *meta)
{
	const char *level = placement_level(key);
	if (level)
		(void)snprintf(meta->tags, sizeof meta->tags, PLACEMENT_TAG "=%s", level);
	request_header(rq, "x-ms-access-tier", tier_of(az, key, meta));
}

/* Is it the tags, perhaps, that were refused, and not the source of a copy? */
static bool refuses_tags(int error, const struct http_reply *reply)
{
	const char *code = http_header(reply, "x-ms-error-code");
	return (error == -EACCES || error == -EINVAL || error == -EOPNOTSUPP) &&
	       !(code && !strcmp(code, "CannotVerifyCopySource"));
}

int azure_send_tagged(struct azure *az, const struct request *rq,
		      const struct azure_meta *meta, struct http_reply *reply,
		      struct call *call)
{
	int known = atomic_load(&az->tags);
	if (!*meta->tags || known == AZURE_TAGS_REFUSED)
		return request_send(&az->st, rq, reply, call);
	struct request tagged = *rq;
	request_header(&tagged, "x-ms-tags", meta->tags);
	tagged.quiet |= known == AZURE_TAGS_UNKNOWN;
	int r = request_send(&az->st, &tagged, reply, call);
	if (!r)
		atomic_store(&az->tags, AZURE_TAGS_TAKEN);
	if (!refuses_tags(r, reply)) {
		struct store_error e;
		/* What reply holds may be an answer before it, to the old token. */
		if (store_errno_is_transient(r) || r == -EINTR)
			return r;
		bool told = reply->status >= 300 && !azure_error_parse(reply, &e);
		/* It was kept quiet only for the sake of the tags. */
		return r && told && !rq->quiet ? request_fail(&az->st, rq, &e, reply) : r;
	}
	r = request_send(&az->st, rq, reply, call);
	if (!r && atomic_exchange(&az->tags, AZURE_TAGS_REFUSED) != AZURE_TAGS_REFUSED)
		log_warn("azure",
			 "%s takes no index tags from us: uploads have "
			 "their " PLACEMENT_TAG " in the metadata only",
			 az->st.be.name);
	return r;
}

/* --- operations --- */

static int head_blob(struct azure *az, const char *key, struct object *ret,
		     bool *ret_folder, struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {.op = "head", .method = "HEAD", .key = key};
	int r = request_send(&az->st, &rq, &reply, call);
	if (r)
		return r;
	*ret_folder = azure_is_folder(&reply);
	r = azure_parse_object(&reply, ret);
	return r ? request_log(&az->st, &rq, r, "no size or version in the answer",
			       &reply)
		 : 0;
}

int azure_head_folder(struct azure *az, const char *key, char **ret_bare,
		      struct object *ret, struct call *call)
{
	bool folder = false;
	CLEANUP_FREE char *bare = strndup(key, strlen(key) - 1);
	if (!bare)
		return -ENOMEM;
	int r = *bare ? head_blob(az, bare, ret, &folder, call) : -ENOENT;
	if (!r && !folder)
		r = -ENOENT;
	if (!r)
		*ret_bare = STEAL(bare);
	return r;
}

int azure_head(struct backend *be, const char *key, struct object *ret, struct call *call)
{
	struct azure *az = azure_of(be);
	struct object obj;
	bool folder = false;
	CLEANUP_FREE char *bare = NULL;
	int r = head_blob(az, key, &obj, &folder, call);
	if (is_marker(key) && r == -ENOENT)
		r = azure_head_folder(az, key, &bare, &obj, call);
	else if (!r && folder && !is_marker(key))
		r = -ENOENT;
	if (!r)
		*ret = obj;
	return r;
}

static int azure_peek(struct backend *be, const char *key, struct object *ret,
		      struct first *first, struct call *call)
{
	struct azure *az = azure_of(be);
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {.op = "head", .method = "GET", .key = key};
	int r = is_marker(key)
			? -EOPNOTSUPP
			: request_peek(&az->st, &rq, "x-ms-range", first, &reply, call);
	if (!r && azure_is_folder(&reply))
		return -ENOENT;
	if (!r)
		r = azure_parse_object(&reply, ret);
	if (r != -EOPNOTSUPP && r != -EBADMSG)
		return r;
	first->len = 0;
	return azure_head(be, key, ret, call);
}

static int azure_get(struct backend *be, const char *key, const struct object *obj,
		     uint64_t off, uint64_t len, sink_fn *sink, void *arg,
		     struct call *call)
{
	struct http_range want = {
		.off = off, .len = len, .total = obj->size, .etag = obj->etag};
	struct request rq = {.op = "get", .method = "GET", .key = key};
	request_header(&rq, "if-match", *obj->etag ? obj->etag : NULL);
	return request_get(&azure_of(be)->st, &rq, "x-ms-range", &want, sink, arg, call);
}

static int azure_put(struct backend *be, const char *key, const struct source *src,
		     const struct put_opts *opts, struct object *ret, struct call *call)
{
	struct azure *az = azure_of(be);
	struct azure_meta meta;
	CLEANUP_FREE char *bare = NULL;
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	/* In a hierarchy no name ends in '/': the metadata alone makes a directory. */
	if ((be->caps & BACKEND_RENAME) && is_marker(key)) {
		bare = strndup(key, strlen(key) - 1);
		if (!bare)
			return -ENOMEM;
	}
	struct request rq = {
		.op = "put", .method = "PUT", .key = bare ? bare : key, .source = src};
	request_header(&rq, "x-ms-blob-type", "BlockBlob");
	request_header(&rq, "x-ms-blob-content-type", "application/octet-stream");
	azure_cond_headers(&rq, &opts->cond);
	azure_meta_headers(&rq, key, opts, &meta);
	azure_place_headers(az, &rq, key, &meta);
	int r = azure_send_tagged(az, &rq, &meta, &reply, call);
	return r ? r : store_made(&az->st, &rq, &reply, src->len, opts, ret);
}

static int del_blob(struct azure *az, const char *key, const char *etag,
		    struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {.op = "delete", .method = "DELETE", .key = key};
	request_header(&rq, "if-match", etag);
	return request_send(&az->st, &rq, &reply, call);
}

static int azure_del(struct backend *be, const char *key, const struct cond *cond,
		     struct call *call)
{
	struct azure *az = azure_of(be);
	struct object obj;
	CLEANUP_FREE char *bare = NULL;
	const char *etag = cond ? cond->if_etag : NULL;
	int r = del_blob(az, key, etag, call);
	if ((r == -ENOENT || r == -ESTALE) && is_marker(key) &&
	    !azure_head_folder(az, key, &bare, &obj, call))
		r = del_blob(az, bare, etag ? etag : obj.etag, call);
	/* No version at all is another version, too, to the server. */
	if (r == -ESTALE && azure_head(be, key, &obj, call) == -ENOENT)
		r = -ENOENT;
	/* A hierarchy keeps the directory as long as something is in it. */
	return r == -EEXIST && is_marker(key) ? 0 : r;
}

static void azure_free(struct backend *be)
{
	struct azure *az = azure_of(be);
	store_done(&az->st);
	azure_account_done(&az->at);
	free(az);
}

static const struct backend_ops azure_ops = {
	.scheme = "az",
	.free = azure_free,
	.probe = azure_probe,
	.head = azure_head,
	.peek = azure_peek,
	.warm = store_warm,
	.get = azure_get,
	.list = azure_list,
	.put = azure_put,
	.del = azure_del,
	.copy = azure_copy,
	.rename = azure_rename,
	.upload_begin = azure_upload_begin,
	.upload_part = azure_upload_part,
	.upload_finish = azure_upload_finish,
	.upload_abort = azure_upload_abort,
};

/* --- opening --- */

static int check_scheme(const struct azure *az, const struct backend_conf *conf)
{
	const struct endpoint *ep = &az->at.endpoint;
	bool token = !conf->anonymous && az->at.cred.kind == CRED_BEARER;
	if (ep->https || url_host_is_loopback(ep->host))
		return 0;
	if (conf->allow_http && !token)
		return 0;
	log_error("azure",
		  "endpoint http://%s: plain http would show %s to everybody on the "
		  "way%s",
		  ep->host, token ? "the token" : "the data",
		  token ? "" : "; the option allow_http permits it");
	return -EINVAL;
}

static int set_name(struct azure *az)
{
	CLEANUP_BUF struct buf root;
	buf_init(&root, 256);
	buf_addf(&root, "az://%s/%s", az->at.account, az->at.container);
	if (buf_error(&root))
		return buf_error(&root);
	az->st.prefix = STEAL(az->at.prefix);
	if (strlen(az->st.prefix) >= STORE_KEY_MAX) {
		log_error("azure", "the prefix of %s is longer than a key can be",
			  root.data);
		return -ENAMETOOLONG;
	}
	return store_set_name(&az->st, root.data);
}

static int find_creds(struct azure *az, const struct backend_conf *conf)
{
	if (conf->anonymous)
		return 0;
	if (az->at.cred.kind == CRED_BEARER)
		return cred_azure_new(az->st.asking, conf->wait, &az->st.creds, NULL);
	int r = creds_new_static(&az->at.cred, &az->st.creds);
	/* One copy of the key is enough. */
	secret_done(&az->at.cred.secret);
	return r;
}

int azure_open(const struct backend_conf *conf, struct backend **ret)
{
	struct azure *az = calloc(1, sizeof *az);
	if (!az)
		return -ENOMEM;
	int r = store_init(&az->st, &azure_dialect, &azure_ops, conf);
	az->st.be.limits = azure_limits;
	az->st.be.caps |= BACKEND_LIST_META;
	if (!r)
		r = azure_account_read(conf->url, conf->endpoint, conf->anonymous,
				       &az->at);
	if (!r)
		r = check_scheme(az, conf);
	if (!r)
		r = set_name(az);
	if (!r)
		r = find_creds(az, conf);
	if (r)
		azure_free(&az->st.be);
	else
		*ret = &az->st.be;
	return r;
}
