/* azure_block.c - uploads in blocks.
 *
 * Nothing is begun at the store: the id of an upload is a nonce.  That one was given up
 * is remembered here, so that no late part revives it.
 *
 * The uncommitted blocks of a blob lie in one place, whoever sent them, until the blob is
 * written or a week has passed; nothing else removes them and leaves the blob as it is
 * (P4).  From that follows:
 *
 *  - The id of a block is random, and another one each time that a part is sent.  So
 *    two writers of one blob never take each other's, and a request that arrives late
 *    does not change the bytes of a block that was sent since (P1).
 *  - All ids have one length, or the store refuses the block (InvalidBlobOrBlock).
 *    Where another program left some that are longer or shorter than ours, ours become
 *    as long.  Of less than BLOCK_ID_MIN bytes two might be the same by chance: then no
 *    block is sent, and the file goes up in one piece (upload.h), as it does over one
 *    that was made by the Data Lake API (BlobOperationNotSupported).  Either way theirs
 *    are gone then.
 *  - An upload that was given up leaves its blocks there.  Our next one to that name
 *    takes them away.  AzCopy, Storage Explorer and the SDK for Java have ids as long
 *    as ours and go on over them; a program with others is refused until then.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/azure_store.h"
#include "backends/xml.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

#define OTHER_LENGTH  "InvalidBlobOrBlock"
#define NOT_SUPPORTED "BlobOperationNotSupported"

enum {
	NONCE_BYTES = (AZURE_NONCE_SIZE - 1) / 2,
	/* 64 bits: among 100000 blocks, which is all that may lie there, two are the same
	 * in one of 4e9 uploads. */
	BLOCK_ID_MIN = 8,
	BLOCK_ID_OURS = 36,
	BLOCK_ID_MAX = 64,
	BLOCK_ID_SIZE = 89,		   /* of the longest, as text */
	BLOCK_LIST_MAX = 16 * 1024 * 1024, /* 50000 of them with their tags */
};

int azure_upload_begin(struct backend *be, const char *key, uint64_t size,
		       const struct put_opts *opts, char **ret_id, struct call *call)
{
	uint8_t nonce[NONCE_BYTES];
	(void)be;
	(void)key;
	(void)size;
	(void)opts;
	(void)call;
	int r = crypto_random(nonce, sizeof nonce);
	if (r)
		return r;
	CLEANUP_FREE char *id = malloc(AZURE_NONCE_SIZE);
	if (!id)
		return -ENOMEM;
	hex_encode(nonce, sizeof nonce, id);
	*ret_id = STEAL(id);
	return 0;
}

/* --- what is remembered --- */

static struct azure_upload *find_locked(struct azure *az, const char *id)
{
	for (size_t i = 0; i < AZURE_UPLOADS_MAX; i++)
		if (!strcmp(az->uploads[i].id, id))
			return &az->uploads[i];
	return NULL;
}

static struct azure_upload *remember_locked(struct azure *az, const char *id)
{
	struct azure_upload *up = find_locked(az, id);
	if (up)
		return up;
	up = &az->uploads[az->n_uploads++ % AZURE_UPLOADS_MAX];
	*up = (struct azure_upload){.id_bytes = BLOCK_ID_OURS};
	(void)snprintf(up->id, sizeof up->id, "%s", id);
	return up;
}

/* -ENXIO: it is none of ours, or given up. */
static int look_up(struct azure *az, const char *id, struct azure_upload *ret)
{
	*ret = (struct azure_upload){.id_bytes = BLOCK_ID_OURS};
	if (strlen(id) != AZURE_NONCE_SIZE - 1 || id[strspn(id, "0123456789abcdef")])
		return -ENXIO;
	SCOPED_LOCK(&az->st.lock);
	const struct azure_upload *up = find_locked(az, id);
	if (up)
		*ret = *up;
	return ret->given_up ? -ENXIO : 0;
}

/* Said once: every part of it is refused. */
static int refuse(struct azure *az, const char *key, const char *id, const char *why)
{
	{
		SCOPED_LOCK(&az->st.lock);
		struct azure_upload *up = remember_locked(az, id);
		if (up->refused)
			return -EOPNOTSUPP;
		up->refused = true;
	}
	log_warn("azure",
		 "%s/%s%s takes no blocks from us, and goes up in one piece if it is not "
		 "too large for that: %s",
		 az->st.root, az->st.prefix, key, why);
	return -EOPNOTSUPP;
}

static int refuse_as_told(struct azure *az, const char *key, const char *id,
			  const struct store_error *e)
{
	char why[384];
	(void)snprintf(why, sizeof why, "%s%s (%d %s)",
		       !strcmp(e->code, NOT_SUPPORTED)
			       ? "it was made by the Data Lake API.  "
			       : "",
		       e->message, e->status, e->code);
	return refuse(az, key, id, why);
}

/* What was not logged when the answer came: -EOPNOTSUPP if no block is taken there, as
 * *ret says; else what it means, logged now. */
static int weigh(struct azure *az, struct request *rq, const struct http_reply *reply,
		 struct store_error *ret)
{
	static const char *const codes[] = {OTHER_LENGTH, NOT_SUPPORTED,
					    "InvalidBlobType"};
	int r = azure_error_parse(reply, ret);
	if (r)
		return r;
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
		if (!strcmp(ret->code, codes[i]))
			return -EOPNOTSUPP;
	rq->expected = 0;
	return request_fail(&az->st, rq, ret, reply);
}

/* --- ids --- */

static int block_id(size_t n, char ret[static BLOCK_ID_SIZE])
{
	uint8_t bytes[BLOCK_ID_MAX];
	CLEANUP_BUF struct buf coded;
	int r = crypto_random(bytes, n);
	if (r)
		return r;
	buf_init(&coded, BLOCK_ID_SIZE - 1);
	base64_encode(&coded, bytes, n);
	(void)snprintf(ret, BLOCK_ID_SIZE, "%s", coded.data);
	return buf_error(&coded);
}

/* How long the ids are that lie there: they are all alike.  Ours, if there are none any
 * more. */
static int ask_id_bytes(struct azure *az, const char *key, size_t *ret, struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	CLEANUP_BUF struct buf name, id;
	http_reply_init(&reply);
	buf_init(&name, XML_TEXT_MAX);
	buf_init(&id, XML_TEXT_MAX);
	struct request rq = {.op = "get block list", .method = "GET", .key = key};
	request_param(&rq, "comp", "blocklist");
	request_param(&rq, "blocklisttype", "uncommitted");
	int r = request_send(&az->st, &rq, &reply, call);
	if (!r) /* BlockList, UncommittedBlocks, Block, Name */
		r = xml_find(reply.body.data, reply.body.len, 4, "Name", &name);
	if (!r)
		r = base64_decode(&id, name.data, name.len);
	if (r == -EBADMSG)
		return request_log(&az->st, &rq, r, "a 200 without the answer", &reply);
	if (r && r != -ENOENT)
		return r;
	*ret = r ? BLOCK_ID_OURS : id.len;
	return 0;
}

/* -EOPNOTSUPP, logged: they are too short. */
static int learn_id_bytes(struct azure *az, const char *key, const char *id, size_t *ret,
			  struct call *call)
{
	char why[160];
	size_t n = 0;
	int r = ask_id_bytes(az, key, &n, call);
	if (r)
		return r;
	if (n < BLOCK_ID_MIN || n > BLOCK_ID_MAX) {
		(void)snprintf(why, sizeof why,
			       "another program left blocks there with ids of %zu bytes, "
			       "and ours need %d.  They go when the blob is written, or "
			       "after a week",
			       n, BLOCK_ID_MIN);
		return refuse(az, key, id, why);
	}
	*ret = n;
	{
		SCOPED_LOCK(&az->st.lock);
		struct azure_upload *up = remember_locked(az, id);
		if (up->id_bytes == n)
			return 0;
		up->id_bytes = (uint8_t)n;
	}
	if (n != BLOCK_ID_OURS)
		log_info("azure",
			 "%s/%s%s: blocks with ids of %zu bytes lie there, which another "
			 "program left; they go when this upload is complete",
			 az->st.root, az->st.prefix, key, n);
	return 0;
}

/* --- operations --- */

static int put_block(struct azure *az, const char *key, size_t id_bytes,
		     const struct source *src, struct part *part,
		     struct store_error *ret_why, struct call *call)
{
	char block[BLOCK_ID_SIZE];
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	int r = block_id(id_bytes, block);
	if (r)
		return r;
	struct request rq = {.op = "put block",
			     .method = "PUT",
			     .key = key,
			     .source = src,
			     .expected = -EINVAL};
	request_param(&rq, "comp", "block");
	request_param(&rq, "blockid", block);
	r = request_send(&az->st, &rq, &reply, call);
	if (!r)
		(void)snprintf(part->receipt, sizeof part->receipt, "%s", block);
	return r == -EINVAL ? weigh(az, &rq, &reply, ret_why) : r;
}

int azure_upload_part(struct backend *be, const char *key, const char *id,
		      uint64_t obj_off, const struct source *src, struct part *part,
		      struct call *call)
{
	struct azure *az = azure_of(be);
	struct azure_upload up;
	struct store_error why = {0};
	(void)obj_off;
	int r = look_up(az, id, &up);
	if (!r && up.refused)
		r = -EOPNOTSUPP;
	if (r)
		return r;
	r = put_block(az, key, up.id_bytes, src, part, &why, call);
	if (r == -EOPNOTSUPP && !strcmp(why.code, OTHER_LENGTH)) {
		size_t id_bytes;
		r = learn_id_bytes(az, key, id, &id_bytes, call);
		if (!r)
			r = put_block(az, key, id_bytes, src, part, &why, call);
	}
	return r == -EOPNOTSUPP && *why.code ? refuse_as_told(az, key, id, &why) : r;
}

static void add_blocks(struct buf *body, const struct part *parts, uint32_t n_parts)
{
	buf_adds(body, "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
	for (uint32_t i = 0; i < n_parts; i++) {
		buf_adds(body, "<Latest>");
		xml_escape(body, parts[i].receipt);
		buf_adds(body, "</Latest>");
	}
	buf_adds(body, "</BlockList>");
}

/* Is what lies there now what we made?  Another writer may have come since: then ours
 * was complete all the same. */
static int confirm(struct azure *az, const struct request *rq,
		   const struct http_reply *reply, struct object *made, struct call *call)
{
	struct object obj;
	int r = azure_head(&az->st.be, rq->key, &obj, call);
	if (r == -ENOENT)
		return request_log(&az->st, rq, -EREMOTEIO,
				   "the blob is not there after its blocks' commit",
				   reply);
	if (r || strcmp(obj.etag, made->etag) != 0)
		return r;
	if (obj.size != made->size)
		return request_log(&az->st, rq, -EBADE,
				   "the committed blob has another size", reply);
	*made = obj;
	return 0;
}

int azure_upload_finish(struct backend *be, const char *key, const char *id,
			const struct part *parts, uint32_t n_parts, uint64_t size,
			const struct put_opts *opts, struct object *ret,
			struct call *call)
{
	struct azure *az = azure_of(be);
	struct azure_meta meta;
	struct azure_upload up;
	struct store_error why;
	struct object made;
	CLEANUP_REPLY struct http_reply reply;
	CLEANUP_BUF struct buf body;
	http_reply_init(&reply);
	buf_init(&body, BLOCK_LIST_MAX);
	int r = look_up(az, id, &up);
	if (r)
		return r;
	add_blocks(&body, parts, n_parts);
	if (buf_error(&body))
		return buf_error(&body);
	struct request rq = {.op = "put block list",
			     .method = "PUT",
			     .key = key,
			     .body = body.data,
			     .body_len = body.len,
			     .slow = true,
			     .expected = -EINVAL};
	request_param(&rq, "comp", "blocklist");
	request_header(&rq, "content-type", "application/xml");
	request_header(&rq, "x-ms-blob-content-type", "application/octet-stream");
	azure_cond_headers(&rq, &opts->cond);
	azure_meta_headers(&rq, key, opts, &meta);
	azure_place_headers(az, &rq, key, &meta);
	r = azure_send_tagged(az, &rq, &meta, &reply, call);
	if (r == -EINVAL) {
		r = weigh(az, &rq, &reply, &why);
		return r == -EOPNOTSUPP ? refuse_as_told(az, key, id, &why) : r;
	}
	if (!r)
		r = store_made(&az->st, &rq, &reply, size, opts, &made);
	if (!r)
		r = confirm(az, &rq, &reply, &made, call);
	if (!r)
		*ret = made;
	return r;
}

int azure_upload_abort(struct backend *be, const char *key, const char *id,
		       struct call *call)
{
	struct azure *az = azure_of(be);
	struct azure_upload up;
	(void)key;
	(void)call;
	if (look_up(az, id, &up))
		return 0;
	SCOPED_LOCK(&az->st.lock);
	remember_locked(az, id)->given_up = true;
	return 0;
}
