/* gcs_sweep.c - many deletions in few requests.
 *
 * What is below the prefix is listed, deleted a hundred a batch, and listed again until
 * nothing is left: so what a batch said of each needs no reading, and what came
 * meanwhile goes, too.  Only what is hidden is ever deleted here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/gcs_request.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

#define BOUNDARY "mastfs-batch"

enum {
	BATCH_MAX = 100,
	BATCH_BYTES_MAX = 1024 * 1024,
	ROUNDS_MAX = 20,
	PAGES_MAX = 1000
};

struct victims {
	struct gcs *gcs;
	struct buf keys; /* each with a NUL */
};

/* Their keys, without the prefix of the URL. */
static int add_victims(struct victims *v, const struct json *items)
{
	size_t strip = strlen(v->gcs->st.prefix), n;
	for (size_t i = 0; i < json_count(items); i++) {
		const char *name = json_text(json_member(json_at(items, i), "name"), &n);
		if (!name || n <= strip || strncmp(name, v->gcs->st.prefix, strip) != 0 ||
		    !gcs_is_hidden(name + strip))
			return -EBADMSG;
		buf_add(&v->keys, name + strip, n - strip + 1);
	}
	return buf_error(&v->keys);
}

static int add_deletion(const struct gcs *gcs, const char *key, int number,
			struct buf *body)
{
	buf_addf(body,
		 "--" BOUNDARY "\r\nContent-Type: application/http\r\n"
		 "Content-ID: <%d>\r\n\r\nDELETE ",
		 number);
	CLEANUP_BUF struct buf path;
	buf_init(&path, GCS_PATH_MAX);
	int r = gcs_add_path(gcs, key, &path);
	if (r)
		return r;
	buf_add(body, path.data, path.len);
	if (gcs->billing) {
		buf_adds(body, "?userProject=");
		url_encode(body, gcs->billing, strlen(gcs->billing), false);
	}
	buf_adds(body, " HTTP/1.1\r\n\r\n\r\n");
	return buf_error(body);
}

static int send_batch(struct gcs *gcs, const struct buf *body, struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {.op = "delete parts",
			     .method = "POST",
			     .target = "/batch/storage/v1",
			     .body = body->data,
			     .body_len = body->len,
			     .quiet = true};
	request_header(&rq, "content-type", "multipart/mixed; boundary=" BOUNDARY);
	return request_send(&gcs->st, &rq, &reply, call);
}

/* From *at on, as many as a batch takes.  A store without batches: one by one. */
static int delete_some(const struct victims *v, size_t *at, struct call *call)
{
	CLEANUP_BUF struct buf body;
	size_t from = *at;
	int r = 0;
	buf_init(&body, BATCH_BYTES_MAX);
	for (int i = 0; !r && i < BATCH_MAX && *at < v->keys.len; i++) {
		r = add_deletion(v->gcs, v->keys.data + *at, i + 1, &body);
		*at += strlen(v->keys.data + *at) + 1;
	}
	buf_adds(&body, "--" BOUNDARY "--\r\n");
	if (!r)
		r = send_batch(v->gcs, &body, call);
	if (!r || store_errno_is_transient(r) || r == -EINTR || store_errno_is_refusal(r))
		return r;
	for (r = 0; (!r || r == -ENOENT) && from < *at;
	     from += strlen(v->keys.data + from) + 1)
		r = gcs_del(&v->gcs->st.be, v->keys.data + from, NULL, call);
	return r == -ENOENT ? 0 : r;
}

/* One page of them, and where the next is: *token, owned, NULL at the end.  1: there
 * was something. */
static int sweep_page(struct gcs *gcs, const struct list_query *q, char **token,
		      struct call *call)
{
	struct victims v = {.gcs = gcs};
	struct json *root = NULL;
	buf_init(&v.keys, (size_t)2 * 1024 * 1024);
	int r = gcs_get_page(gcs, q, *token, &root, call);
	free(STEAL(*token));
	if (!r)
		r = add_victims(&v, json_member(root, "items"));
	if (!r)
		r = gcs_next_page(root, token);
	json_free(root);
	for (size_t at = 0; !r && at < v.keys.len;)
		r = delete_some(&v, &at, call);
	bool any = v.keys.len != 0;
	buf_done(&v.keys);
	return r ? r : any;
}

/* All pages.  1: there was something. */
static int sweep_once(struct gcs *gcs, const struct list_query *q, struct call *call)
{
	CLEANUP_FREE char *token = NULL;
	bool any = false;
	for (int i = 0; i < PAGES_MAX; i++) {
		int r = sweep_page(gcs, q, &token, call);
		if (r < 0)
			return r;
		any |= r != 0;
		if (!token)
			return any;
	}
	return -EREMOTEIO;
}

int gcs_sweep(struct gcs *gcs, const char *prefix, struct call *call)
{
	struct list_query q = {.prefix = prefix};
	for (int i = 0; i < ROUNDS_MAX; i++) {
		int r = sweep_once(gcs, &q, call);
		if (r != 1)
			return r;
	}
	return -EREMOTEIO;
}
