/* azure_block.c - uploads in blocks.
 *
 * Nothing is begun at the store: an upload is a nonce with which its blocks' ids
 * start.  So two writers of one blob, whose uncommitted blocks lie in one place, never
 * take each other's; and an upload that was given up leaves blocks that the store
 * forgets after a week, or when the blob is next written.  That it was given up is
 * remembered here, so that no late part revives it.
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
	SENDING_BYTES = 4,
	BLOCK_ID_SIZE = 72,
	BLOCK_LIST_MAX = 16 * 1024 * 1024, /* 50000 ids of 88 bytes with their tags */
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

/* All of one length, as the store wants them.  Another one each time that a part is sent:
 * a request that arrives late must not change the bytes of a block that was sent since
 * (P1). */
static int block_id(const char *id, uint32_t number, char ret[static BLOCK_ID_SIZE])
{
	char text[AZURE_NONCE_SIZE + 8 + 2 * SENDING_BYTES], hex[2 * SENDING_BYTES + 1];
	uint8_t sending[SENDING_BYTES];
	CLEANUP_BUF struct buf coded;
	int r = crypto_random(sending, sizeof sending);
	if (r)
		return r;
	hex_encode(sending, sizeof sending, hex);
	buf_init(&coded, BLOCK_ID_SIZE - 1);
	(void)snprintf(text, sizeof text, "%s-%05u-%s", id, number % 100000, hex);
	base64_encode(&coded, text, strlen(text));
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
		r = block_id(id, part->number, block);
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
