/* gcs_list.c - listings.
 *
 * Google's pages are one ascending run of objects and prefixes.  An emulator may tell
 * the prefixes of pages to come with each page.  To be in order with both, a prefix
 * behind the page's last object waits, within our token, for the next page, where it
 * meets itself or stands alone.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/gcs_request.h"
#include "backends/page.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

enum { PAGE_DEFAULT = 1000, TOKEN_MAX = 16 * 1024 * 1024 };

/* --- what Google answers --- */

static int unsound(struct gcs *gcs, const struct request *rq,
		   const struct http_reply *reply)
{
	return request_log(&gcs->st, rq, -EBADMSG, "the page is not a sound listing",
			   reply);
}

/* An empty listing has no members but its kind: without that it may be any answer. */
static int parse_page(const struct http_reply *reply, struct json **ret)
{
	struct json *root = NULL;
	int r = json_parse(reply->body.data, reply->body.len, &root);
	const char *kind = json_text(json_member(root, "kind"), NULL);
	const struct json *next = json_member(root, "nextPageToken");
	if (r || !kind || strcmp(kind, "storage#objects") != 0 ||
	    (next && !json_text(next, NULL))) {
		json_free(root);
		return r == -ENOMEM ? r : -EBADMSG;
	}
	*ret = root;
	return 0;
}

int gcs_get_page(struct gcs *gcs, const struct list_query *q, const char *token,
		 struct json **ret, struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	CLEANUP_BUF struct buf path, prefix, after;
	char delim[2] = {q->delim, '\0'}, max[16];
	http_reply_init(&reply);
	buf_init(&path, GCS_PATH_MAX);
	buf_init(&prefix, (size_t)2 * STORE_KEY_MAX);
	buf_init(&after, (size_t)2 * STORE_KEY_MAX);
	int r = store_full_key(&gcs->st, q->prefix, &prefix);
	if (!r && q->after)
		r = store_full_key(&gcs->st, q->after, &after);
	if (!r)
		r = gcs_add_path(gcs, NULL, &path);
	if (r)
		return r;
	(void)snprintf(max, sizeof max, "%u", q->max ? q->max : PAGE_DEFAULT);
	/* That the bucket is gone does not make anything in it absent (P10). */
	struct request rq = {
		.op = "list", .method = "GET", .target = path.data, .on_404 = -EREMOTEIO};
	request_param(&rq, "prefix", prefix.data);
	if (q->delim)
		request_param(&rq, "delimiter", delim);
	if (q->after) /* on every page, and with that key itself */
		request_param(&rq, "startOffset", after.data);
	if (token && *token)
		request_param(&rq, "pageToken", token);
	request_param(&rq, "maxResults", max);
	request_param(&rq, "fields", "kind,prefixes,nextPageToken,items(" GCS_FIELDS ")");
	r = request_send(&gcs->st, &rq, &reply, call);
	if (r)
		return r;
	r = parse_page(&reply, ret);
	return r == -EBADMSG ? unsound(gcs, &rq, &reply) : r;
}

int gcs_next_page(const struct json *page, char **ret)
{
	const char *next = json_text(json_member(page, "nextPageToken"), NULL);
	*ret = next && *next ? strdup(next) : NULL;
	return next && *next && !*ret ? -ENOMEM : 0;
}

/* --- our token: Google's, and the prefixes that wait, encoded, with '&' between --- */

static int read_token(const char *token, struct buf *google, struct page *p)
{
	size_t n = strcspn(token, "&");
	int r = url_decode(google, token, n, false);
	for (token += n; !r && *token == '&'; token += n) {
		CLEANUP_BUF struct buf key;
		buf_init(&key, TOKEN_MAX);
		n = strcspn(++token, "&");
		r = url_decode(&key, token, n, false);
		if (!r)
			r = page_add(p, key.data, key.len, NULL);
	}
	return r;
}

static char *make_token(const char *google, const struct page *p, size_t from)
{
	CLEANUP_BUF struct buf out;
	buf_init(&out, TOKEN_MAX);
	url_encode(&out, google, strlen(google), false);
	for (size_t i = from; i < p->n; i++) {
		buf_addc(&out, '&');
		url_encode(&out, p->keys.data + p->entries[i].at, p->entries[i].len,
			   false);
	}
	return buf_detach(&out);
}

/* --- a page of ours --- */

static int add_name(struct page *p, const struct json *name, const struct object *obj)
{
	size_t n;
	const char *key = json_text(name, &n);
	return key ? page_add(p, key, n, obj) : -EBADMSG;
}

static int add_entries(struct page *p, const struct json *root)
{
	const struct json *items = json_member(root, "items");
	const struct json *prefixes = json_member(root, "prefixes");
	int r = 0;
	for (size_t i = 0; !r && i < json_count(items); i++) {
		struct gcs_object o;
		r = gcs_parse_object(json_at(items, i), &o);
		if (!r)
			r = add_name(p, json_member(json_at(items, i), "name"), &o.obj);
	}
	for (size_t i = 0; !r && i < json_count(prefixes); i++)
		r = add_name(p, json_at(prefixes, i), NULL);
	return r;
}

/* How many may be delivered though pages follow: all, or, if there is an object, what
 * is not behind the last one. */
static size_t ready(const struct page *p)
{
	size_t n = p->n;
	while (n && p->entries[n - 1].is_prefix)
		n--;
	return n ? n : p->n;
}

struct consumer {
	const struct list_query *q;
	list_fn *fn;
	void *arg;
};

static int hand_on(void *arg, const char *key, size_t key_len, const struct object *obj)
{
	const struct consumer *c = arg;
	bool is_start = c->q->after && !strcmp(key, c->q->after);
	return is_start || gcs_is_hidden(key) ? 0 : c->fn(c->arg, key, key_len, obj);
}

/* Everything that this page has, or that waited for it.  *ret: Google's next token, or
 * NULL. */
static int take_page(struct gcs *gcs, const struct list_query *q, const char *token,
		     struct page *p, char **ret, struct call *call)
{
	struct json *root = NULL;
	CLEANUP_BUF struct buf google, prefix;
	buf_init(&google, TOKEN_MAX);
	buf_init(&prefix, (size_t)2 * STORE_KEY_MAX);
	int r = store_full_key(&gcs->st, q->prefix, &prefix);
	if (!r && token)
		r = read_token(token, &google, p);
	if (!r)
		r = gcs_get_page(gcs, q, google.data, &root, call);
	if (r)
		return r;
	r = add_entries(p, root);
	if (!r)
		r = page_finish(p, prefix.data, q->delim);
	if (r == -EBADMSG) {
		CLEANUP_REPLY struct http_reply none;
		http_reply_init(&none);
		(void)unsound(gcs, &(struct request){.op = "list", .key = q->prefix},
			      &none);
	}
	if (!r)
		r = gcs_next_page(root, ret);
	json_free(root);
	return r;
}

int gcs_list(struct backend *be, const struct list_query *q, char **token, list_fn *fn,
	     void *arg, struct call *call)
{
	struct gcs *gcs = gcs_of(be);
	struct consumer c = {.q = q, .fn = fn, .arg = arg};
	CLEANUP_PAGE struct page page;
	CLEANUP_FREE char *next = NULL;
	CLEANUP_FREE char *google = NULL;
	page_init(&page);
	int r = take_page(gcs, q, *token, &page, &google, call);
	if (!r && google) {
		size_t n = ready(&page);
		next = make_token(google, &page, n);
		page.n = n;
		r = next ? 0 : -ENOMEM;
	}
	if (!r)
		r = page_deliver(&page, strlen(gcs->st.prefix), "gcs", be->name, hand_on,
				 &c);
	if (r < 0)
		return r;
	free(*token);
	*token = STEAL(next);
	return 0;
}
