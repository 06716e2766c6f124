/* s3_list.c - listings of objects and of unfinished uploads.
 *
 * An answer is parsed whole before its first entry is looked at: whether its keys are
 * encoded may be said last.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "backends/date.h"
#include "backends/page.h"
#include "backends/s3_request.h"
#include "backends/xml.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

/* S3 gives 1000 a page; a server may be more generous, but not without end. */
enum { ANSWER_ENTRIES_MAX = 20000, UPLOAD_PAGES_MAX = 10000 };

struct entry {
	size_t key_at, key_len; /* in answer.raw */
	size_t id_at;		/* the same, of an upload */
	bool is_prefix, sized;
	struct object obj;
};

/* What a page says, as it says it. */
struct answer {
	/* set once */
	const char *root, *item; /* names of elements */
	/* as parsed */
	struct buf raw;		  /* keys and ids as they came, each with a NUL */
	struct buf next, next_id; /* where the next page starts */
	struct entry *entries;	  /* owned */
	size_t n, alloc;
	bool truncated, encoded;
	bool told; /* whether it is truncated */
};

static void answer_init(struct answer *a, const char *root, const char *item)
{
	*a = (struct answer){.root = root, .item = item};
	buf_init(&a->raw, REQUEST_BODY_MAX);
	buf_init(&a->next, XML_TEXT_MAX);
	buf_init(&a->next_id, XML_TEXT_MAX);
}

static void answer_done(struct answer *a)
{
	buf_done(&a->raw);
	buf_done(&a->next);
	buf_done(&a->next_id);
	free(a->entries);
}
#define CLEANUP_ANSWER CLEANUP(answer_done)

static int add_entry(struct answer *a, bool is_prefix)
{
	if (a->n == ANSWER_ENTRIES_MAX)
		return -EBADMSG;
	if (a->n == a->alloc) {
		size_t alloc = a->alloc ? 2 * a->alloc : 256;
		struct entry *more = realloc(a->entries, alloc * sizeof *more);
		if (!more)
			return -ENOMEM;
		a->entries = more;
		a->alloc = alloc;
	}
	a->entries[a->n++] = (struct entry){.is_prefix = is_prefix, .key_at = SIZE_MAX};
	return 0;
}

static size_t add_raw(struct answer *a, const char *text, size_t len)
{
	size_t at = a->raw.len;
	buf_add(&a->raw, text, len);
	buf_addc(&a->raw, '\0');
	return at;
}

static int on_open(void *arg, int depth, const char *name)
{
	struct answer *a = arg;
	if (depth == 1)
		return strcmp(name, a->root) ? -EBADMSG : 0;
	if (depth != 2)
		return 0;
	bool is_prefix = !strcmp(name, "CommonPrefixes");
	return is_prefix || !strcmp(name, a->item) ? add_entry(a, is_prefix) : 0;
}

/* A field of the entry under way. */
static int on_field(struct answer *a, const char *name, const char *text, size_t len)
{
	struct entry *e = &a->entries[a->n - 1];
	if (!strcmp(name, e->is_prefix ? "Prefix" : "Key")) {
		e->key_at = add_raw(a, text, len);
		e->key_len = len;
	} else if (!strcmp(name, "Size")) {
		e->sized = true;
		return http_parse_u64(text, &e->obj.size);
	} else if (!strcmp(name, "ETag")) {
		return *text ? http_parse_etag(text, e->obj.etag) : 0;
	} else if (!strcmp(name, "LastModified") || !strcmp(name, "Initiated")) {
		/* Nonsense is no reason to hide a whole directory. */
		if (date_parse_iso(text, &e->obj.mtime_ns))
			e->obj.mtime_ns = 0;
	} else if (!strcmp(name, "UploadId")) {
		e->id_at = add_raw(a, text, len);
	}
	return buf_error(&a->raw);
}

/* Any server's boolean; what is neither may be an end and may be none (P10). */
static int on_truncated(struct answer *a, const char *text)
{
	a->told = true;
	a->truncated = !strcasecmp(text, "true") || !strcmp(text, "1");
	bool last = !strcasecmp(text, "false") || !strcmp(text, "0");
	return a->truncated || last ? 0 : -EBADMSG;
}

static int on_close(void *arg, int depth, const char *name, const char *text, size_t len)
{
	struct answer *a = arg;
	if (depth == 3 && a->n)
		return on_field(a, name, text, len);
	if (depth != 2)
		return 0;
	if (!strcmp(name, a->item) || !strcmp(name, "CommonPrefixes"))
		return a->entries[a->n - 1].key_at == SIZE_MAX ? -EBADMSG : 0;
	if (!strcmp(name, "IsTruncated"))
		return on_truncated(a, text);
	if (!strcmp(name, "EncodingType"))
		a->encoded = !strcmp(text, "url");
	else if (!strcmp(name, "NextContinuationToken") || !strcmp(name, "NextKeyMarker"))
		buf_add(&a->next, text, len);
	else if (!strcmp(name, "NextUploadIdMarker"))
		buf_add(&a->next_id, text, len);
	return buf_error(&a->next);
}

static int parse(const struct http_reply *reply, struct answer *a)
{
	static const struct xml_handler handler = {.open = on_open, .close = on_close};
	int r = xml_parse(reply->body.data, reply->body.len, &handler, a);
	/* Where the next one starts is told only if there is one. */
	if (!a->told)
		a->truncated = a->next.len;
	return !r && a->truncated && !a->next.len ? -EBADMSG : r;
}

/* The key of an entry, decoded only if the server says that it encoded it. */
static int decode_key(const struct answer *a, const struct entry *e, struct buf *ret)
{
	const char *raw = a->raw.data + e->key_at;
	buf_reset(ret);
	if (a->encoded)
		return url_decode(ret, raw, e->key_len, true);
	buf_add(ret, raw, e->key_len);
	return buf_error(ret);
}

static int make_page(const struct answer *a, const char *prefix, char delim,
		     struct page *p)
{
	CLEANUP_BUF struct buf key;
	int r = 0;
	buf_init(&key, XML_TEXT_MAX);
	for (size_t i = 0; !r && i < a->n; i++) {
		const struct entry *e = &a->entries[i];
		/* One without a size is no empty file (P10). */
		r = e->is_prefix || e->sized ? decode_key(a, e, &key) : -EBADMSG;
		if (!r)
			r = page_add(p, key.data, key.len, e->is_prefix ? NULL : &e->obj);
	}
	return r ? r : page_finish(p, prefix, delim);
}

static int list_page(struct s3 *s3, const struct list_query *q, const char *token,
		     const char *prefix, struct answer *a, struct page *p,
		     struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	char delim[2] = {q->delim, '\0'}, max[16];
	http_reply_init(&reply);
	struct request rq = {.op = "list", .method = "GET"};
	CLEANUP_BUF struct buf after;
	buf_init(&after, (size_t)2 * STORE_KEY_MAX);
	int r = q->after ? store_full_key(&s3->st, q->after, &after) : 0;
	if (r)
		return r;
	request_param(&rq, "list-type", "2");
	request_param(&rq, "encoding-type", "url");
	request_param(&rq, "prefix", prefix);
	if (q->delim)
		request_param(&rq, "delimiter", delim);
	if (token)
		request_param(&rq, "continuation-token", token);
	else if (q->after)
		request_param(&rq, "start-after", after.data);
	if (q->max) {
		(void)snprintf(max, sizeof max, "%u", q->max);
		request_param(&rq, "max-keys", max);
	}
	/* That the bucket is gone does not make anything below it absent (P10). */
	rq.on_404 = -EREMOTEIO;
	r = request_send(&s3->st, &rq, &reply, call);
	if (r)
		return r;
	r = parse(&reply, a);
	if (!r)
		r = make_page(a, prefix, q->delim, p);
	return r ? request_log(&s3->st, &rq, r, "the page is not a sound listing", &reply)
		 : 0;
}

int s3_list(struct backend *be, const struct list_query *q, char **token, list_fn *fn,
	    void *arg, struct call *call)
{
	struct s3 *s3 = s3_of(be);
	CLEANUP_BUF struct buf prefix;
	CLEANUP_ANSWER struct answer answer;
	CLEANUP_PAGE struct page page;
	CLEANUP_FREE char *next = NULL;
	buf_init(&prefix, (size_t)2 * STORE_KEY_MAX);
	answer_init(&answer, "ListBucketResult", "Contents");
	page_init(&page);
	int r = store_full_key(&s3->st, q->prefix, &prefix);
	if (!r)
		r = list_page(s3, q, *token, prefix.data, &answer, &page, call);
	if (!r && answer.truncated) {
		next = buf_detach(&answer.next);
		r = next ? 0 : -ENOMEM;
	}
	if (!r)
		r = page_deliver(&page, strlen(s3->st.prefix), "s3", be->name, fn, arg);
	if (r < 0)
		return r;
	free(*token);
	*token = STEAL(next);
	return 0;
}

/* Each with an id, and where it was asked for. */
static int check_uploads(const struct answer *a, const char *prefix)
{
	CLEANUP_BUF struct buf key;
	buf_init(&key, XML_TEXT_MAX);
	for (size_t i = 0; i < a->n; i++) {
		const struct entry *e = &a->entries[i];
		int r = decode_key(a, e, &key);
		if (r)
			return r;
		if ((!e->is_prefix && !e->id_at) ||
		    strncmp(key.data, prefix, strlen(prefix)) != 0)
			return -EBADMSG;
	}
	return 0;
}

static int upload_page(struct s3 *s3, const char *prefix, const char *marker,
		       const char *id_marker, struct answer *a, struct call *call)
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
	r = parse(&reply, a);
	if (!r)
		r = check_uploads(a, prefix);
	return r ? request_log(&s3->st, &rq, r, "the page is not a sound listing", &reply)
		 : 0;
}

static int deliver_uploads(const struct s3 *s3, const struct answer *a,
			   upload_list_fn *fn, void *arg)
{
	size_t strip = strlen(s3->st.prefix);
	CLEANUP_BUF struct buf key;
	buf_init(&key, XML_TEXT_MAX);
	for (size_t i = 0; i < a->n; i++) {
		const struct entry *e = &a->entries[i];
		int r = decode_key(a, e, &key);
		if (r)
			return r;
		/* Keys that no file can have are not ours to look at. */
		if (e->is_prefix || key.len == strip || strlen(key.data) != key.len)
			continue;
		r = fn(arg, key.data + strip, a->raw.data + e->id_at, e->obj.mtime_ns);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The marker comes encoded like the keys.  A server that gives the same one again
 * would keep us for ever. */
static int advance(const struct answer *a, struct buf *marker, struct buf *id_marker)
{
	CLEANUP_BUF struct buf next;
	buf_init(&next, XML_TEXT_MAX);
	if (a->encoded) {
		int r = url_decode(&next, a->next.data, a->next.len, true);
		if (r)
			return r;
	} else {
		buf_add(&next, a->next.data, a->next.len);
	}
	if (!strcmp(next.data, marker->data) && !strcmp(a->next_id.data, id_marker->data))
		return -EREMOTEIO;
	buf_reset(marker);
	buf_reset(id_marker);
	buf_add(marker, next.data, next.len);
	buf_add(id_marker, a->next_id.data, a->next_id.len);
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
		CLEANUP_ANSWER struct answer answer;
		answer_init(&answer, "ListMultipartUploadsResult", "Upload");
		r = upload_page(s3, full.data, marker.data, id_marker.data, &answer,
				call);
		if (!r)
			r = deliver_uploads(s3, &answer, fn, arg);
		more = answer.truncated;
		if (!r && more)
			r = advance(&answer, &marker, &id_marker);
	}
	return r;
}
