/* s3.c - see s3.h.  Opening a bucket, and the operations that are one request. */
#include "backends/s3.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "backends/cred_aws.h"
#include "backends/date.h"
#include "backends/s3_props.h"
#include "backends/s3_request.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

#define MIB UINT64_C(1048576)
#define GIB (1024 * MIB)

static const struct backend_limits s3_limits = {
	.put_max = 5 * GIB,
	.part_min = 5 * MIB,
	.part_max = 5 * GIB,
	.part_align = 1,
	.parts_max = 10000,
	/* 50 TB, what 10000 parts of 5 GiB can hold */
	.object_max = 10000 * 5 * GIB,
};

/* Nothing in a 404 to a HEAD says who sent it, if it has no request id: to a GET a store
 * says that it has no such key (P10). */
static int ask_if_absent(struct s3 *s3, const char *key, struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {.op = "head", .method = "GET", .key = key};
	request_header(&rq, "range", "bytes=0-0");
	int r = request_send(&s3->st, &rq, &reply, call);
	/* It is there after all, perhaps without a byte: the HEAD is to be asked again.
	 */
	return !r || r == -ESTALE ? -EREMOTEIO : r;
}

int s3_send_head(struct s3 *s3, const struct request *rq, struct http_reply *reply,
		 struct call *call)
{
	int r = request_send(&s3->st, rq, reply, call);
	if (r != -EREMOTEIO || reply->status != 404)
		return r;
	r = ask_if_absent(s3, rq->key, call);
	return r == -ENOENT && rq->on_404 ? rq->on_404 : r;
}

int s3_head_sum(struct s3 *s3, const char *key, struct object *ret,
		char ret_sum[static S3_SUM_SIZE], struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {.op = "head", .method = "HEAD", .key = key};
	if (s3->crc64)
		request_header(&rq, "x-amz-checksum-mode", "ENABLED");
	int r = s3_send_head(s3, &rq, &reply, call);
	if (r)
		return r;
	const char *sum = http_header(&reply, S3_SUM_HEADER);
	(void)snprintf(ret_sum, S3_SUM_SIZE, "%s", sum ? sum : "");
	r = s3_parse_object(&reply, ret);
	return r ? request_log(&s3->st, &rq, r, "no size or version in the answer",
			       &reply)
		 : 0;
}

int s3_head(struct backend *be, const char *key, struct object *ret, struct call *call)
{
	char sum[S3_SUM_SIZE];
	return s3_head_sum(s3_of(be), key, ret, sum, call);
}

static const char *get_meta(const void *arg, const char *name)
{
	char header[64];
	(void)snprintf(header, sizeof header, "x-amz-meta-%s", name);
	return http_header(arg, header);
}

int s3_parse_object(const struct http_reply *reply, struct object *ret)
{
	return store_parse_object(reply, get_meta, "mastfs-tag", ret);
}

static int s3_peek(struct backend *be, const char *key, struct object *ret,
		   struct first *first, struct call *call)
{
	struct s3 *s3 = s3_of(be);
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {.op = "head", .method = "GET", .key = key};
	int r = request_peek(&s3->st, &rq, "range", first, &reply, call);
	if (!r)
		r = s3_parse_object(&reply, ret);
	if (r != -EOPNOTSUPP && r != -EBADMSG)
		return r;
	first->len = 0;
	return s3_head(be, key, ret, call);
}

static int s3_get(struct backend *be, const char *key, const struct object *obj,
		  uint64_t off, uint64_t len, sink_fn *sink, void *arg, struct call *call)
{
	struct http_range want = {
		.off = off, .len = len, .total = obj->size, .etag = obj->etag};
	struct request rq = {.op = "get", .method = "GET", .key = key};
	request_header(&rq, "if-match", *obj->etag ? obj->etag : NULL);
	return request_get(&s3_of(be)->st, &rq, "range", &want, sink, arg, call);
}

void s3_cond_headers(struct request *rq, const struct cond *cond)
{
	if (cond->if_absent) {
		request_header(rq, "if-none-match", "*");
		rq->on_412 = -EEXIST;
	} else if (cond->if_etag) {
		request_header(rq, "if-match", cond->if_etag);
		rq->on_404 = -ESTALE;
	}
}

void s3_meta_headers(struct request *rq, const struct put_opts *opts,
		     const struct s3_props *kept, struct s3_meta *meta)
{
	size_t n = rq->key ? strlen(rq->key) : 0;
	if (!kept || !kept->typed)
		request_header(rq, "content-type",
			       n && rq->key[n - 1] == '/' ? "application/x-directory"
							  : "application/octet-stream");
	for (size_t i = 0; kept && i < kept->n; i++)
		request_header(rq, kept->headers[i].name, kept->headers[i].value);
	request_header(rq, "x-amz-meta-mastfs-tag", opts->tag);
	if (!opts->mtime_ns)
		return;
	date_format_seconds(opts->mtime_ns, meta->mtime);
	request_header(rq, "x-amz-meta-mtime", meta->mtime);
}

int s3_put(struct backend *be, const char *key, const struct source *src,
	   const struct put_opts *opts, struct object *ret, struct call *call)
{
	struct s3 *s3 = s3_of(be);
	struct s3_meta meta;
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {.op = "put", .method = "PUT", .key = key, .source = src};
	s3_cond_headers(&rq, &opts->cond);
	s3_meta_headers(&rq, opts, NULL, &meta);
	int r = s3_send_placed(s3, &rq, NULL, &reply, call);
	return r ? r : store_made(&s3->st, &rq, &reply, src->len, opts, ret);
}

int s3_del(struct backend *be, const char *key, const struct cond *cond,
	   struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {.op = "delete", .method = "DELETE", .key = key};
	if (cond)
		request_header(&rq, "if-match", cond->if_etag);
	return request_send(&s3_of(be)->st, &rq, &reply, call);
}

static void s3_free(struct backend *be)
{
	struct s3 *s3 = s3_of(be);
	store_done(&s3->st);
	crypto_wipe(&s3->key, sizeof s3->key);
	free(s3->bucket);
	free(s3->sse);
	free(s3->sse_kms_key);
	free(s3);
}

static const struct backend_ops s3_ops = {
	.scheme = "s3",
	.free = s3_free,
	.probe = s3_probe,
	.head = s3_head,
	.peek = s3_peek,
	.warm = store_warm,
	.get = s3_get,
	.list = s3_list,
	.put = s3_put,
	.del = s3_del,
	.copy = s3_copy,
	.upload_begin = s3_upload_begin,
	.upload_part = s3_upload_part,
	.upload_finish = s3_upload_finish,
	.upload_abort = s3_upload_abort,
	.upload_list = s3_upload_list,
};

void s3_set_copy_max_for_test(struct backend *be, uint64_t bytes)
{
	s3_of(be)->copy_max = bytes;
}

void s3_set_crc64_for_test(struct backend *be, bool on)
{
	s3_of(be)->crc64 = on;
}

static const char *env(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

static const char *first_of(const char *a, const char *b, const char *c, const char *d,
			    const char *e)
{
	return a ? a : b ? b : c ? c : d ? d : e;
}

static bool ignores_configured_endpoints(void)
{
	const char *value = env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
	return value && !strcasecmp(value, "true");
}

const char *s3_endpoint(const char *given, const struct profile *profile)
{
	bool ignore = ignores_configured_endpoints();
	return first_of(given, ignore ? NULL : env("AWS_ENDPOINT_URL_S3"),
			ignore ? NULL : env("AWS_ENDPOINT_URL"),
			ignore ? NULL : profile_get(profile, "endpoint_url"),
			env("S3_ENDPOINT_URL"));
}

static int set_endpoint(struct s3 *s3, const struct backend_conf *conf,
			const struct profile *profile)
{
	const char *url = s3_endpoint(conf->endpoint, profile);
	if (!url)
		return 0;
	if (url_parse_endpoint(url, &s3->endpoint)) {
		log_error("s3", "endpoint \"%s\" is not http(s)://host[:port]", url);
		return -EINVAL;
	}
	if (!s3->endpoint.https && !conf->allow_http &&
	    !url_host_is_loopback(s3->endpoint.host)) {
		log_error("s3",
			  "endpoint %s: plain http would show the data to everybody on "
			  "the way; the option allow_http permits it",
			  url);
		return -EINVAL;
	}
	return 0;
}

static int set_region(struct s3 *s3, const struct backend_conf *conf,
		      const struct profile *profile)
{
	const char *region =
		first_of(conf->region, env("AWS_REGION"), env("AWS_DEFAULT_REGION"),
			 profile_get(profile, "region"), "us-east-1");
	size_t n = strlen(region);
	if (n >= sizeof s3->region || !n ||
	    region[strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-")]) {
		log_error("s3", "\"%s\" is not the name of a region", region);
		return -EINVAL;
	}
	memcpy(s3->region, region, n + 1);
	return 0;
}

static bool ends_in(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);
	return n >= m && !strcmp(s + n - m, end);
}

static bool is_amazon(const struct s3 *s3)
{
	const char *host = s3->endpoint.host;
	return !*host || ends_in(host, ".amazonaws.com") ||
	       ends_in(host, ".amazonaws.com.cn");
}

/* May the bucket be a label of a host's name, under a wildcard certificate? */
static bool dns_safe(const char *bucket)
{
	size_t n = strlen(bucket);
	return n >= 3 && n <= 63 && *bucket != '-' && bucket[n - 1] != '-' &&
	       !bucket[strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789-")];
}

static int set_addressing(struct s3 *s3, const struct backend_conf *conf)
{
	bool by_name = dns_safe(s3->bucket) && !url_host_is_ip(s3->endpoint.host);
	if (conf->virtual_host && !by_name) {
		log_error("s3", "bucket %s cannot be part of a host's name", s3->bucket);
		return -EINVAL;
	}
	s3->virtual_host =
		conf->virtual_host || (!conf->path_style && is_amazon(s3) && by_name);
	return 0;
}

static int set_bucket(struct s3 *s3, const struct backend_conf *conf)
{
	int r = url_parse_bucket(conf->url, "s3", &s3->bucket, &s3->st.prefix);
	if (r == -EINVAL)
		log_error("s3", "\"%s\" is not s3://bucket[/prefix]", conf->url);
	if (!r && strlen(s3->st.prefix) >= STORE_KEY_MAX) {
		log_error("s3", "the prefix of %s is longer than a key can be",
			  conf->url);
		r = -ENAMETOOLONG;
	}
	if (r)
		return r;
	CLEANUP_BUF struct buf root;
	buf_init(&root, 8192);
	buf_addf(&root, "s3://%s", s3->bucket);
	return buf_error(&root) ? buf_error(&root) : store_set_name(&s3->st, root.data);
}

static int connect_creds(struct s3 *s3, const struct backend_conf *conf)
{
	if (conf->anonymous)
		return 0;
	return cred_aws_new(s3->st.asking, conf->profile, !*s3->endpoint.host, s3->region,
			    conf->wait, &s3->st.creds);
}

static int set_encryption(struct s3 *s3, const struct backend_conf *conf)
{
	s3->sse = conf->sse ? strdup(conf->sse) : NULL;
	s3->sse_kms_key = conf->sse_kms_key ? strdup(conf->sse_kms_key) : NULL;
	bool whole = (s3->sse || !conf->sse) && (s3->sse_kms_key || !conf->sse_kms_key);
	return whole ? 0 : -ENOMEM;
}

int s3_open(const struct backend_conf *conf, struct backend **ret)
{
	struct profile *profile = NULL;
	struct s3 *s3 = calloc(1, sizeof *s3);
	if (!s3)
		return -ENOMEM;
	int r = store_init(&s3->st, &s3_dialect, &s3_ops, conf);
	s3->st.be.limits = s3_limits;
	s3->st.be.caps |= BACKEND_LIST_AFTER | BACKEND_BEGIN_META;
	s3->copy_max = 5 * GIB;
	s3->requester_pays = conf->requester_pays;

	if (!r)
		r = set_bucket(s3, conf);
	/* Who is told everything is not held up by a profile that is broken. */
	bool told = conf->anonymous && conf->endpoint && conf->region;
	if (!r && !told)
		r = profile_load(conf->profile, &profile);
	if (!r)
		r = set_endpoint(s3, conf, profile);
	if (!r)
		r = set_region(s3, conf, profile);
	profile_free(profile);
	if (!r)
		r = set_addressing(s3, conf);
	if (!r)
		r = set_encryption(s3, conf);
	s3->crc64 = !r && is_amazon(s3);
	if (!r)
		r = connect_creds(s3, conf);
	if (r) {
		s3_free(&s3->st.be);
		return r == -ENOENT ? -EINVAL : r;
	}
	*ret = &s3->st.be;
	return 0;
}
