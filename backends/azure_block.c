/* azure_block.c - uploads in blocks.
 *
 * Nothing is begun at the store: the id of an upload is a nonce.  That one was given up
 * is remembered here, so that no late part revives it.
 *
 * The uncommitted blocks of a blob lie in one place, whoever sent them, until the blob is
 * written or a week has passed; nothing else removes them and leaves the blob as it is
 * (P4).  From that follows:
 *
 *  - The id of a block is random, and another one each time that a part is sent.  So two
 *    writers of one blob never take each other's, and a request that arrives late does
 * not change the bytes of a block that was sent since (P1).
 *  - All ids have one length, or the store refuses the block.  An upload that was given
 * up leaves its blocks there.  Our next one to that name takes them away.  AzCopy,
 * Storage Explorer and the SDK for Java have ids as long as ours and go on over them; a
 * program with others is refused until then.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/azure_store.h"
#include "backends/xml.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

enum {
	NONCE_BYTES = (AZURE_NONCE_SIZE - 1) / 2,
	BLOCK_ID_BYTES = 36,
	BLOCK_ID_SIZE = 49,		   /* as text */
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

/* Is it one of ours, and not given up? */
static int check_upload(struct azure *az, const char *id)
{
	if (strlen(id) != AZURE_NONCE_SIZE - 1 || id[strspn(id, "0123456789abcdef")])
		return -ENXIO;
	SCOPED_LOCK(&az->st.lock);
	for (size_t i = 0; i < AZURE_GIVEN_UP_MAX; i++)
		if (!strcmp(az->given_up[i], id))
			return -ENXIO;
	return 0;
}

static int block_id(char ret[static BLOCK_ID_SIZE])
{
	uint8_t bytes[BLOCK_ID_BYTES];
	CLEANUP_BUF struct buf coded;
	int r = crypto_random(bytes, sizeof bytes);
	if (r)
		return r;
	buf_init(&coded, BLOCK_ID_SIZE - 1);
	base64_encode(&coded, bytes, sizeof bytes);
	(void)snprintf(ret, BLOCK_ID_SIZE, "%s", coded.data);
	return buf_error(&coded);
}

int azure_upload_part(struct backend *be, const char *key, const char *id,
		      uint64_t obj_off, const struct source *src, struct part *part,
		      struct call *call)
{
	struct azure *az = azure_of(be);
	char block[BLOCK_ID_SIZE];
	CLEANUP_REPLY struct http_reply reply;
	(void)obj_off;
	http_reply_init(&reply);
	int r = check_upload(az, id);
	if (!r)
		r = block_id(block);
	if (r)
		return r;
	struct request rq = {
		.op = "put block", .method = "PUT", .key = key, .source = src};
	request_param(&rq, "comp", "block");
	request_param(&rq, "blockid", block);
	r = request_send(&az->st, &rq, &reply, call);
	if (!r)
		(void)snprintf(part->receipt, sizeof part->receipt, "%s", block);
	return r;
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
	struct object made;
	CLEANUP_REPLY struct http_reply reply;
	CLEANUP_BUF struct buf body;
	http_reply_init(&reply);
	buf_init(&body, BLOCK_LIST_MAX);
	int r = check_upload(az, id);
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
			     .slow = true};
	request_param(&rq, "comp", "blocklist");
	request_header(&rq, "content-type", "application/xml");
	request_header(&rq, "x-ms-blob-content-type", "application/octet-stream");
	azure_cond_headers(&rq, &opts->cond);
	azure_meta_headers(&rq, key, opts, &meta);
	azure_place_headers(az, &rq, key, &meta);
	r = azure_send_tagged(az, &rq, &meta, &reply, call);
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
	(void)key;
	(void)call;
	if (check_upload(az, id))
		return 0;
	SCOPED_LOCK(&az->st.lock);
	(void)snprintf(az->given_up[az->n_given_up++ % AZURE_GIVEN_UP_MAX],
		       AZURE_NONCE_SIZE, "%s", id);
	return 0;
}
