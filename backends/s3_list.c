/* s3_list.c - listings of objects and of unfinished uploads.
 *
 * A page is taken in whole, parsed, checked and sorted before its first entry is
 * delivered, so that a page that is cut short or forged delivers nothing (P10).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/date.h"
#include "backends/s3_request.h"
#include "backends/xml.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

/* S3 gives 1000 a page; a server may be more generous, but not without end. */
enum { PAGE_ENTRIES_MAX = 20000, UPLOAD_PAGES_MAX = 10000 };

struct entry {
	size_t key_at, key_len; /* in page.raw, later in page.keys */
	size_t id_at;		/* in page.raw: of an upload */
	bool is_prefix;
	struct object obj;
};

struct page {
	/* set once */
	const char *root, *item; /* names of elements */
	/* as parsed */
	struct buf raw;		  /* keys as they came, each with a NUL */
	struct buf keys;	  /* decoded, each with a NUL */
	struct buf next, next_id; /* where the next page starts */
	struct entry *entries;	  /* owned */
	size_t n, alloc;
	bool truncated, encoded;
};

static void page_init(struct page *p, const char *root, const char *item)
{
	*p = (struct page){.root = root, .item = item};
	buf_init(&p->raw, REQUEST_BODY_MAX);
	buf_init(&p->keys, REQUEST_BODY_MAX);
	buf_init(&p->next, XML_TEXT_MAX);
	buf_init(&p->next_id, XML_TEXT_MAX);
}

static void page_done(struct page *p)
{
	buf_done(&p->raw);
	buf_done(&p->keys);
	buf_done(&p->next);
	buf_done(&p->next_id);
	free(p->entries);
}
#define CLEANUP_PAGE CLEANUP(page_done)

static int add_entry(struct page *p, bool is_prefix)
{
	if (p->n == PAGE_ENTRIES_MAX)
		return -EBADMSG;
	if (p->n == p->alloc) {
		size_t alloc = p->alloc ? 2 * p->alloc : 256;
		struct entry *more = realloc(p->entries, alloc * sizeof *more);
		if (!more)
			return -ENOMEM;
		p->entries = more;
		p->alloc = alloc;
	}
	p->entries[p->n++] = (struct entry){.is_prefix = is_prefix, .key_at = SIZE_MAX};
	return 0;
}

static size_t add_raw(struct page *p, const char *text, size_t len)
{
	size_t at = p->raw.len;
	buf_add(&p->raw, text, len);
	buf_addc(&p->raw, '\0');
	return at;
}

static int on_open(void *arg, int depth, const char *name)
{
	struct page *p = arg;
	if (depth == 1)
		return strcmp(name, p->root) ? -EBADMSG : 0;
	if (depth != 2)
		return 0;
	bool is_prefix = !strcmp(name, "CommonPrefixes");
	return is_prefix || !strcmp(name, p->item) ? add_entry(p, is_prefix) : 0;
}

/* A field of the entry under way. */
static int on_field(struct page *p, const char *name, const char *text, size_t len)
{
	struct entry *e = &p->entries[p->n - 1];
	if (!strcmp(name, e->is_prefix ? "Prefix" : "Key")) {
		e->key_at = add_raw(p, text, len);
		e->key_len = len;
	} else if (!strcmp(name, "Size")) {
		return http_parse_u64(text, &e->obj.size);
	} else if (!strcmp(name, "ETag")) {
		return *text ? http_parse_etag(text, e->obj.etag) : 0;
	} else if (!strcmp(name, "LastModified") || !strcmp(name, "Initiated")) {
		return date_parse_iso(text, &e->obj.mtime_ns);
	} else if (!strcmp(name, "UploadId")) {
		e->id_at = add_raw(p, text, len);
	}
	return buf_error(&p->raw);
}

static int on_close(void *arg, int depth, const char *name, const char *text, size_t len)
{
	struct page *p = arg;
	if (depth == 3 && p->n)
		return on_field(p, name, text, len);
	if (depth != 2)
		return 0;
	if (!strcmp(name, p->item) || !strcmp(name, "CommonPrefixes"))
		return p->entries[p->n - 1].key_at == SIZE_MAX ? -EBADMSG : 0;
	if (!strcmp(name, "IsTruncated"))
		p->truncated = !strcmp(text, "true");
	else if (!strcmp(name, "EncodingType"))
		p->encoded = !strcmp(text, "url");
	else if (!strcmp(name, "NextContinuationToken") || !strcmp(name, "NextKeyMarker"))
		buf_add(&p->next, text, len);
	else if (!strcmp(name, "NextUploadIdMarker"))
		buf_add(&p->next_id, text, len);
	return buf_error(&p->next);
}

/* Decode the keys, only if the server says that it encoded them, and see that
 * each lies where it was asked for. */
static int decode_keys(struct page *p, const char *prefix)
{
	size_t prefix_len = strlen(prefix);
	for (size_t i = 0; i < p->n; i++) {
		struct entry *e = &p->entries[i];
		const char *raw = p->raw.data + e->key_at;
		size_t at = p->keys.len;
		if (p->encoded) {
			int r = url_decode(&p->keys, raw, e->key_len, true);
			if (r)
				return r;
		} else {
			buf_add(&p->keys, raw, e->key_len);
		}
		e->key_at = at;
		e->key_len = p->keys.len - at;
		buf_addc(&p->keys, '\0');
		if (buf_error(&p->keys))
			return buf_error(&p->keys);
		if (e->key_len < prefix_len ||
		    memcmp(p->keys.data + at, prefix, prefix_len))
			return -EBADMSG;
	}
	return 0;
}

static int by_key(const void *a, const void *b, void *keys)
{
	const struct entry *ea = a, *eb = b;
	const char *base = keys;
	size_t n = ea->key_len < eb->key_len ? ea->key_len : eb->key_len;
	int order = memcmp(base + ea->key_at, base + eb->key_at, n);
	return order ? order : (ea->key_len > eb->key_len) - (ea->key_len < eb->key_len);
}

static int parse_page(const struct http_reply *reply, const char *prefix, struct page *p)
{
	static const struct xml_handler handler = {.open = on_open, .close = on_close};
	int r = xml_parse(reply->body.data, reply->body.len, &handler, p);
	if (!r && p->truncated && !p->next.len)
		r = -EBADMSG;
	if (!r)
		r = decode_keys(p, prefix);
	if (!r && p->n)
		qsort_r(p->entries, p->n, sizeof *p->entries, by_key, p->keys.data);
	return r;
}

static int deliver(const struct s3 *s3, const struct page *p, list_fn *fn, void *arg)
{
	size_t strip = strlen(s3->st.prefix);
	for (size_t i = 0; i < p->n; i++) {
		const struct entry *e = &p->entries[i];
		size_t len = e->key_len - strip;
		/* The marker of the prefix itself is not below it. */
		if (!len)
			continue;
		if (len >= KEY_SIZE) {
			log_warn("s3",
				 "%s: a key of %zu bytes is left out of the listing",
				 s3->st.be.name, len);
			continue;
		}
		int r = fn(arg, p->keys.data + e->key_at + strip, len,
			   e->is_prefix ? NULL : &e->obj);
		if (r < 0)
			return r;
	}
	return 0;
}

static int list_page(struct s3 *s3, const struct list_query *q, const char *token,
		     const char *prefix, struct page *p, struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	char delim[2] = {q->delim, '\0'}, max[16];
	http_reply_init(&reply);
	struct request rq = {.op = "list", .method = "GET"};
	request_param(&rq, "list-type", "2");
	request_param(&rq, "encoding-type", "url");
	request_param(&rq, "prefix", prefix);
	if (q->delim)
		request_param(&rq, "delimiter", delim);
	if (token)
		request_param(&rq, "continuation-token", token);
	if (q->max) {
		(void)snprintf(max, sizeof max, "%u", q->max);
		request_param(&rq, "max-keys", max);
	}
	/* That the bucket is gone does not make anything below it absent (P10). */
	rq.on_404 = -EREMOTEIO;
	int r = request_send(&s3->st, &rq, &reply, call);
	if (r)
		return r;
	r = parse_page(&reply, prefix, p);
	return r ? request_log(&s3->st, &rq, r, "the page is not a sound listing", &reply)
		 : 0;
}

int s3_list(struct backend *be, const struct list_query *q, char **token, list_fn *fn,
	    void *arg, struct call *call)
{
	struct s3 *s3 = s3_of(be);
	CLEANUP_BUF struct buf prefix;
	CLEANUP_PAGE struct page page;
	CLEANUP_FREE char *next = NULL;
	buf_init(&prefix, (size_t)2 * STORE_KEY_MAX);
	page_init(&page, "ListBucketResult", "Contents");
	int r = store_full_key(&s3->st, q->prefix, &prefix);
	if (!r)
		r = list_page(s3, q, *token, prefix.data, &page, call);
	if (!r && page.truncated) {
		next = buf_detach(&page.next);
		r = next ? 0 : -ENOMEM;
	}
	if (!r)
		r = deliver(s3, &page, fn, arg);
	if (r < 0)
		return r;
	free(*token);
	*token = STEAL(next);
	return 0;
}

static int upload_page(struct s3 *s3, const char *prefix, const char *marker,
		       const char *id_marker, struct page *p, struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {.op = "list uploads", .method = "GET"};
	request_param(&rq, "uploads", NULL);
	request_param(&rq, "encoding-type", "url");
	request_param(&rq, "prefix", prefix);
	if (*marker) {
		request_param(&rq, "key-marker", marker);
		request_param(&rq, "upload-id-marker", id_marker);
	}
	rq.on_404 = -EREMOTEIO;
	int r = request_send(&s3->st, &rq, &reply, call);
	if (r)
		return r;
	r = parse_page(&reply, prefix, p);
	for (size_t i = 0; !r && i < p->n; i++)
		if (!p->entries[i].is_prefix && !p->entries[i].id_at)
			r = -EBADMSG;
	return r ? request_log(&s3->st, &rq, r, "the page is not a sound listing", &reply)
		 : 0;
}

static int deliver_uploads(const struct s3 *s3, const struct page *p, upload_list_fn *fn,
			   void *arg)
{
	size_t strip = strlen(s3->st.prefix);
	for (size_t i = 0; i < p->n; i++) {
		const struct entry *e = &p->entries[i];
		const char *key = p->keys.data + e->key_at + strip;
		/* Keys that no file can have are not ours to look at. */
		if (e->is_prefix || e->key_len == strip ||
		    strlen(key) != e->key_len - strip)
			continue;
		int r = fn(arg, key, p->raw.data + e->id_at, e->obj.mtime_ns);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The marker comes encoded like the keys.  A server that gives the same one again
 * would keep us for ever. */
static int advance(const struct page *p, struct buf *marker, struct buf *id_marker)
{
	CLEANUP_BUF struct buf next;
	buf_init(&next, XML_TEXT_MAX);
	if (p->encoded) {
		int r = url_decode(&next, p->next.data, p->next.len, true);
		if (r)
			return r;
	} else {
		buf_add(&next, p->next.data, p->next.len);
	}
	if (!strcmp(next.data, marker->data) && !strcmp(p->next_id.data, id_marker->data))
		return -EREMOTEIO;
	buf_reset(marker);
	buf_reset(id_marker);
	buf_add(marker, next.data, next.len);
	buf_add(id_marker, p->next_id.data, p->next_id.len);
	return buf_error(marker) ? buf_error(marker) : buf_error(id_marker);
}

int s3_upload_list(struct backend *be, const char *prefix, upload_list_fn *fn, void *arg,
		   struct call *call)
{
	struct s3 *s3 = s3_of(be);
	CLEANUP_BUF struct buf full, marker, id_marker;
	buf_init(&full, (size_t)2 * STORE_KEY_MAX);
	buf_init(&marker, XML_TEXT_MAX);
	buf_init(&id_marker, XML_TEXT_MAX);
	int r = store_full_key(&s3->st, prefix, &full);
	bool more = true;
	for (int i = 0; !r && more && i < UPLOAD_PAGES_MAX; i++) {
		CLEANUP_PAGE struct page page;
		page_init(&page, "ListMultipartUploadsResult", "Upload");
		r = upload_page(s3, full.data, marker.data, id_marker.data, &page, call);
		if (!r)
			r = deliver_uploads(s3, &page, fn, arg);
		more = page.truncated;
		if (!r && more)
			r = advance(&page, &marker, &id_marker);
	}
	return r;
}
