/* s3_upload.c - uploads in parts.
 *
 * That Complete answered 200 proves nothing: the body may hold an error, and
 * stores have been seen to lose what they acknowledged.  So the answer is parsed
 * and the object looked at before an upload counts as done (P2): its size and, where
 * the store keeps CRC64NVME, the checksum of the whole, put together from the parts'.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "backends/crc.h"
#include "backends/s3_error.h"
#include "backends/s3_request.h"
#include "backends/xml.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

/* 10000 parts with an ETag of 128 bytes, each byte escaped. */
enum { COMPLETE_MAX = 16 * 1024 * 1024 };

int s3_begin(struct s3 *s3, const char *key, bool sums, const struct put_opts *opts,
	     const struct s3_props *kept, char **ret_id, struct call *call)
{
	struct s3_meta meta;
	CLEANUP_REPLY struct http_reply reply;
	CLEANUP_BUF struct buf id;
	http_reply_init(&reply);
	buf_init(&id, XML_TEXT_MAX);
	struct request rq = {.op = "begin upload", .method = "POST", .key = key};
	request_param(&rq, "uploads", NULL);
	s3_meta_headers(&rq, opts, kept, &meta);
	if (sums) {
		request_header(&rq, "x-amz-checksum-algorithm", "CRC64NVME");
		request_header(&rq, "x-amz-checksum-type", "FULL_OBJECT");
	}
	int r = s3_send_placed(s3, &rq, kept, &reply, call);
	if (call)
		call->repeated |= reply.resent;
	if (!r)
		r = s3_expect_xml(s3, &rq, &reply, "InitiateMultipartUploadResult");
	if (r)
		return r;
	r = xml_find(reply.body.data, reply.body.len, 2, "UploadId", &id);
	char *s = !r && id.len ? buf_detach(&id) : NULL;
	if (!s)
		return request_log(&s3->st, &rq, r == -ENOMEM ? r : -EREMOTEIO,
				   "no UploadId in the answer", &reply);
	*ret_id = s;
	return 0;
}

int s3_upload_begin(struct backend *be, const char *key, uint64_t size,
		    const struct put_opts *opts, char **ret_id, struct call *call)
{
	(void)size;
	return s3_begin(s3_of(be), key, s3_of(be)->crc64, opts, NULL, ret_id, call);
}

/* A receipt is the ETag, and where the server counted one, a blank and the checksum
 * of the part, which it wants to hear again in the end.  -EBADMSG. */
static int make_receipt(const struct http_reply *reply, char ret[static ETAG_SIZE])
{
	const char *etag = http_header(reply, "etag");
	const char *crc = http_header(reply, S3_SUM_HEADER);
	char parsed[ETAG_SIZE];
	if (!etag || http_parse_etag(etag, parsed))
		return -EBADMSG;
	int n = snprintf(ret, ETAG_SIZE, "%s%s%s", parsed, crc ? " " : "",
			 crc ? crc : "");
	return n < ETAG_SIZE ? 0 : -EBADMSG;
}

/* The checksum in a receipt, NULL if there is none; *ret_n: bytes of the ETag. */
static const char *receipt_sum(const char *receipt, size_t *ret_n)
{
	const char *end = strrchr(receipt, '"');
	*ret_n = end ? (size_t)(end - receipt) + 1 : strlen(receipt);
	return receipt[*ret_n] == ' ' ? receipt + *ret_n + 1 : NULL;
}

static void add_receipt(struct buf *body, const char *receipt)
{
	char etag[ETAG_SIZE];
	size_t n;
	const char *sum = receipt_sum(receipt, &n);
	memcpy(etag, receipt, n);
	etag[n] = '\0';
	buf_adds(body, "<ETag>");
	xml_escape(body, etag);
	buf_adds(body, "</ETag>");
	if (!sum)
		return;
	buf_adds(body, "<ChecksumCRC64NVME>");
	xml_escape(body, sum);
	buf_adds(body, "</ChecksumCRC64NVME>");
}

/* The checksum of the whole; "" where a part has none (a copy's). */
static int whole_sum(const struct s3 *s3, const struct part *parts, uint32_t n_parts,
		     char ret[static S3_SUM_SIZE])
{
	uint64_t whole = 0, one;
	size_t n;
	ret[0] = '\0';
	for (uint32_t i = 0; i < n_parts; i++) {
		const char *sum = receipt_sum(parts[i].receipt, &n);
		if (!s3->crc64 || !sum || s3_sum_parse(sum, &one))
			return 0;
		whole = crc64nvme_combine(whole, one, parts[i].size);
	}
	return s3_sum_text(whole, ret);
}

int s3_upload_part(struct backend *be, const char *key, const char *id, uint64_t obj_off,
		   const struct source *src, struct part *part, struct call *call)
{
	struct s3 *s3 = s3_of(be);
	CLEANUP_REPLY struct http_reply reply;
	char number[16], receipt[ETAG_SIZE];
	(void)obj_off;
	http_reply_init(&reply);
	(void)snprintf(number, sizeof number, "%u", part->number);
	struct request rq = {.op = "upload part",
			     .method = "PUT",
			     .key = key,
			     .source = src,
			     .on_404 = -ENXIO};
	request_param(&rq, "partNumber", number);
	request_param(&rq, "uploadId", id);
	int r = request_send(&s3->st, &rq, &reply, call);
	if (r)
		return r;
	if (make_receipt(&reply, receipt))
		return request_log(&s3->st, &rq, -EREMOTEIO, "no ETag in the answer",
				   &reply);
	memcpy(part->receipt, receipt, sizeof receipt);
	return 0;
}

static void add_parts(struct buf *body, const struct part *parts, uint32_t n_parts)
{
	buf_adds(body, "<CompleteMultipartUpload "
		       "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	for (uint32_t i = 0; i < n_parts; i++) {
		buf_addf(body, "<Part><PartNumber>%u</PartNumber>", parts[i].number);
		add_receipt(body, parts[i].receipt);
		buf_adds(body, "</Part>");
	}
	buf_adds(body, "</CompleteMultipartUpload>");
}

/* What the finished object must be. */
struct made {
	uint64_t size;
	char etag[ETAG_SIZE], sum[S3_SUM_SIZE]; /* "" = unknown */
};

/* Is what lies there now what we made?  Another writer may have come since: then
 * ours was complete all the same.  But what was to be replaced is still there if
 * nothing was completed at all. */
static int confirm(struct s3 *s3, const struct request *rq,
		   const struct http_reply *reply, const struct made *made,
		   const struct put_opts *opts, struct object *ret, struct call *call)
{
	struct object obj;
	char sum[S3_SUM_SIZE];
	int r = s3_head_sum(s3, rq->key, &obj, sum, call);
	if (r == -ENOENT)
		return request_log(&s3->st, rq, -EREMOTEIO,
				   "the object is not there after its completion", reply);
	if (r)
		return r;
	bool ours = opts->tag && *obj.tag ? !strcmp(obj.tag, opts->tag)
					  : !strcmp(obj.etag, made->etag);
	if (ours && obj.size != made->size)
		return request_log(&s3->st, rq, -EBADE,
				   "the completed object has another size", reply);
	if (ours && *made->sum && *sum && strcmp(made->sum, sum) != 0)
		return request_log(&s3->st, rq, -EBADE,
				   "the completed object has another checksum", reply);
	if (!ours && opts->cond.if_etag && !strcmp(obj.etag, opts->cond.if_etag))
		return request_log(&s3->st, rq, -EREMOTEIO,
				   "the object is the old one after its completion",
				   reply);
	if (!ours) {
		obj = (struct object){.size = made->size, .mtime_ns = opts->mtime_ns};
		(void)snprintf(obj.etag, sizeof obj.etag, "%s", made->etag);
		(void)snprintf(obj.tag, sizeof obj.tag, "%s", opts->tag ? opts->tag : "");
	}
	*ret = obj;
	return 0;
}

/* The ETag that Complete tells; "" if it tells none. */
static int completed_etag(const struct http_reply *reply, char ret[static ETAG_SIZE])
{
	CLEANUP_BUF struct buf text;
	buf_init(&text, 1024);
	ret[0] = '\0';
	int r = xml_find(reply->body.data, reply->body.len, 2, "ETag", &text);
	if (r == -ENOENT || (!r && !text.len))
		return 0;
	return r ? r : http_parse_etag(text.data, ret);
}

int s3_upload_finish(struct backend *be, const char *key, const char *id,
		     const struct part *parts, uint32_t n_parts, uint64_t size,
		     const struct put_opts *opts, struct object *ret, struct call *call)
{
	struct s3 *s3 = s3_of(be);
	CLEANUP_REPLY struct http_reply reply;
	CLEANUP_BUF struct buf body;
	struct made made = {.size = size};
	char total[24];
	http_reply_init(&reply);
	buf_init(&body, COMPLETE_MAX);
	add_parts(&body, parts, n_parts);
	int r = buf_error(&body);
	if (!r)
		r = whole_sum(s3, parts, n_parts, made.sum);
	if (r)
		return r;
	(void)snprintf(total, sizeof total, "%llu", (unsigned long long)size);
	struct request rq = {.op = "complete upload",
			     .method = "POST",
			     .key = key,
			     .body = body.data,
			     .body_len = body.len,
			     .slow = true,
			     .once = true,
			     .on_404 = -ENXIO};
	request_param(&rq, "uploadId", id);
	request_header(&rq, "content-type", "application/xml");
	/* With these the store compares before it makes the object; one that does not
	 * know them may refuse them. */
	if (s3->crc64)
		request_header(&rq, "x-amz-mp-object-size", total);
	if (*made.sum) {
		request_header(&rq, S3_SUM_HEADER, made.sum);
		request_header(&rq, "x-amz-checksum-type", "FULL_OBJECT");
	}
	s3_cond_headers(&rq, &opts->cond);
	r = request_send(&s3->st, &rq, &reply, call);
	if (!r)
		r = s3_expect_xml(s3, &rq, &reply, "CompleteMultipartUploadResult");
	if (!r)
		r = completed_etag(&reply, made.etag);
	return r ? r : confirm(s3, &rq, &reply, &made, opts, ret, call);
}

int s3_upload_abort(struct backend *be, const char *key, const char *id,
		    struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {
		.op = "abort upload", .method = "DELETE", .key = key, .on_404 = -ENXIO};
	request_param(&rq, "uploadId", id);
	int r = request_send(&s3_of(be)->st, &rq, &reply, call);
	return r == -ENXIO ? 0 : r;
}
