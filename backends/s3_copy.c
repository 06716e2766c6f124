/* s3_copy.c - copies within the store: one CopyObject, or in parts when the object
 * is larger than that takes.
 *
 * Metadata is always replaced, not copied: the new object has its own mtime and
 * tag, and a copy of an object to itself would be refused otherwise.  What others have
 * set on the source would be lost by that: it is looked at before, and sent again
 * (s3_props.h).  So a copy is a HEAD of the source, the CopyObject, and a HEAD of what it
 * made; in parts, the HEAD, begin, the parts, complete, and the HEAD.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/probe.h"
#include "backends/s3_props.h"
#include "backends/s3_request.h"
#include "backends/xml.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

enum { COPY_SOURCE_MAX = 8 * 1024 };

/* "/bucket/key", encoded. */
static int add_source(const struct s3 *s3, const char *key, struct buf *ret)
{
	CLEANUP_BUF struct buf full;
	buf_init(&full, (size_t)2 * STORE_KEY_MAX + 1);
	int r = store_full_key(&s3->st, key, &full);
	if (r)
		return r;
	buf_addf(ret, "/%s/", s3->bucket);
	url_encode(ret, full.data, full.len, true);
	return buf_error(ret);
}

/* The ETag within the result; CopyObject and UploadPartCopy tell it alike. */
static int copied_etag(struct s3 *s3, const struct request *rq,
		       const struct http_reply *reply, const char *root,
		       char ret[static ETAG_SIZE])
{
	CLEANUP_BUF struct buf text;
	buf_init(&text, 1024);
	int r = s3_expect_xml(s3, rq, reply, root);
	if (r)
		return r;
	r = xml_find(reply->body.data, reply->body.len, 2, "ETag", &text);
	if (!r)
		r = http_parse_etag(text.data, ret);
	return r ? request_log(&s3->st, rq, r == -ENOMEM ? r : -EREMOTEIO,
			       "no ETag in the answer", reply)
		 : 0;
}

/* As s3_upload_part makes it: the ETag, and the checksum where there is one. */
static int copied_receipt(struct s3 *s3, const struct request *rq,
			  const struct http_reply *reply, char ret[static ETAG_SIZE])
{
	CLEANUP_BUF struct buf crc;
	char etag[ETAG_SIZE];
	buf_init(&crc, 64);
	int r = copied_etag(s3, rq, reply, "CopyPartResult", etag);
	if (r)
		return r;
	(void)xml_find(reply->body.data, reply->body.len, 2, "ChecksumCRC64NVME", &crc);
	int n = snprintf(ret, ETAG_SIZE, "%s%s%s", etag, crc.len ? " " : "", crc.data);
	return n < ETAG_SIZE ? 0 : -EBADMSG;
}

static int copy_whole(struct s3 *s3, const char *source, const struct object *from_obj,
		      const char *to, const struct put_opts *opts,
		      const struct s3_props *kept, struct object *ret, struct call *call)
{
	struct s3_meta meta;
	char etag[ETAG_SIZE];
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {.op = "copy to",
			     .method = "PUT",
			     .key = to,
			     .slow = true,
			     .on_404 = -ESTALE};
	request_header(&rq, "x-amz-copy-source", source);
	request_header(&rq, "x-amz-copy-source-if-match",
		       *from_obj->etag ? from_obj->etag : NULL);
	request_header(&rq, "x-amz-metadata-directive", "REPLACE");
	s3_meta_headers(&rq, opts, kept, &meta);
	int r = s3_send_placed(s3, &rq, kept, &reply, call);
	if (!r)
		r = copied_etag(s3, &rq, &reply, "CopyObjectResult", etag);
	if (r)
		return r;
	r = s3_head(&s3->st.be, to, ret, call);
	/* Who renames deletes the source next. */
	if (r == -ENOENT || (!r && strcmp(ret->etag, etag) != 0))
		return request_log(&s3->st, &rq, -EREMOTEIO,
				   "what is there is not the copy", &reply);
	if (!r && ret->size != from_obj->size)
		r = request_log(&s3->st, &rq, -EBADMSG, "the copy has another size",
				&reply);
	return r;
}

/* Part number n of a copy; the last one is shorter. */
static int copy_part(struct s3 *s3, const char *source, const struct object *from_obj,
		     const char *to, const char *id, uint64_t part_size,
		     struct part *part, struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	char number[16], range[64];
	uint64_t off = (part->number - 1) * part_size;
	http_reply_init(&reply);
	part->size = from_obj->size - off < part_size ? from_obj->size - off : part_size;
	(void)snprintf(number, sizeof number, "%u", part->number);
	(void)snprintf(range, sizeof range, "bytes=%" PRIu64 "-%" PRIu64, off,
		       off + part->size - 1);
	struct request rq = {.op = "copy part to",
			     .method = "PUT",
			     .key = to,
			     .slow = true,
			     .on_404 = -ESTALE};
	request_param(&rq, "partNumber", number);
	request_param(&rq, "uploadId", id);
	request_header(&rq, "x-amz-copy-source", source);
	request_header(&rq, "x-amz-copy-source-if-match",
		       *from_obj->etag ? from_obj->etag : NULL);
	request_header(&rq, "x-amz-copy-source-range", range);
	int r = request_send(&s3->st, &rq, &reply, call);
	return r ? r : copied_receipt(s3, &rq, &reply, part->receipt);
}

/* What the finished upload may replace.  A change of metadata takes its time, and
 * replaces only what it has copied (P5). */
static struct put_opts opts_of_finish(const struct s3 *s3, const char *from,
				      const struct object *from_obj, const char *to,
				      const struct put_opts *opts)
{
	struct put_opts ret = *opts;
	bool compares = s3->st.be.caps & BACKEND_FINISH_IF;
	if (compares && !ret.cond.if_absent && !ret.cond.if_etag && !strcmp(from, to))
		ret.cond.if_etag = *from_obj->etag ? from_obj->etag : NULL;
	return ret;
}

/* In parts as large as one request takes, so that 10000 always suffice. */
static int copy_parts(struct s3 *s3, const char *source, const struct object *from_obj,
		      const char *to, const struct put_opts *opts,
		      const struct s3_props *kept, struct object *ret, struct call *call)
{
	uint64_t n = (from_obj->size - 1) / s3->copy_max + 1;
	CLEANUP_FREE char *id = NULL;
	CLEANUP_FREE struct part *parts = NULL;
	if (n > s3->st.be.limits.parts_max)
		return -EFBIG;
	parts = calloc((size_t)n, sizeof *parts);
	if (!parts)
		return -ENOMEM;
	/* No sums: not every store that knows them counts those of a copied part. */
	int r = s3_begin(s3, to, false, opts, kept, &id, call);
	if (r)
		return r;
	for (uint32_t i = 0; !r && i < n; i++) {
		parts[i].number = i + 1;
		r = copy_part(s3, source, from_obj, to, id, s3->copy_max, &parts[i],
			      call);
	}
	if (!r)
		r = s3_upload_finish(&s3->st.be, to, id, parts, (uint32_t)n,
				     from_obj->size, opts, ret, call);
	if (r) {
		/* The call may be what has ended it. */
		struct call last = probe_last_call();
		(void)s3_upload_abort(&s3->st.be, to, id, &last);
	}
	return r;
}

int s3_copy(struct backend *be, const char *from, const struct object *from_obj,
	    const char *to, const struct put_opts *opts, struct object *ret,
	    struct call *call)
{
	struct s3 *s3 = s3_of(be);
	CLEANUP_BUF struct buf source;
	CLEANUP_PROPS struct s3_props kept;
	buf_init(&source, COPY_SOURCE_MAX);
	s3_props_init(&kept);
	bool in_parts = from_obj->size > s3->copy_max;
	/* The destination's condition is one that few stores honour in a single request.
	 */
	if ((opts->cond.if_absent || opts->cond.if_etag) &&
	    !(in_parts && be->caps & BACKEND_FINISH_IF))
		return -EOPNOTSUPP;
	int r = add_source(s3, from, &source);
	if (!r)
		r = s3_props_read(s3, from, from_obj, to, in_parts, opts, &kept, call);
	if (r)
		return r;
	if (!in_parts)
		return copy_whole(s3, source.data, from_obj, to, opts, &kept, ret, call);
	struct put_opts over = opts_of_finish(s3, from, from_obj, to, opts);
	return copy_parts(s3, source.data, from_obj, to, &over, &kept, ret, call);
}
