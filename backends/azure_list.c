/* azure_list.c - listings, with each blob's metadata.
 *
 * Directories that others made are blobs with hdi_isfolder: they are told as what they
 * are, a common prefix or a marker; see azure_store.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "backends/azure_store.h"
#include "backends/meta.h"
#include "backends/page.h"
#include "backends/xml.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum {
	RESULTS_MAX = 5000, /* what the service gives */
	/* Each blob may have 8 KiB of metadata: so many always fit into an answer. */
	RESULTS_SURE = 1000,
	META_MAX_BYTES = 128 * 1024,
};

struct parse {
	/* set once */
	bool delimited;
	/* of the entry under way */
	struct buf name, meta; /* meta: "name\0value\0" each */
	struct object obj;
	bool named, encoded, in_meta, sized, folder;
	/* so far */
	struct page page;
	struct buf next; /* where the next page starts; "" = this is the last */
};

static void parse_init(struct parse *p)
{
	*p = (struct parse){0};
	buf_init(&p->name, XML_TEXT_MAX);
	buf_init(&p->meta, META_MAX_BYTES);
	buf_init(&p->next, XML_TEXT_MAX);
	page_init(&p->page);
}

static void parse_done(struct parse *p)
{
	buf_done(&p->name);
	buf_done(&p->meta);
	buf_done(&p->next);
	page_done(&p->page);
}
#define CLEANUP_PARSE CLEANUP(parse_done)

static bool is_entry(const char *name)
{
	return !strcmp(name, "Blob") || !strcmp(name, "BlobPrefix");
}

static int on_open(void *arg, int depth, const char *name)
{
	struct parse *p = arg;
	if (depth == 1)
		return strcmp(name, "EnumerationResults") ? -EBADMSG : 0;
	if (depth == 3 && is_entry(name)) {
		buf_reset(&p->name);
		buf_reset(&p->meta);
		p->obj = (struct object){0};
		p->named = p->sized = p->folder = false;
	}
	if (depth == 4) {
		p->encoded = false;
		p->in_meta = !strcmp(name, "Metadata");
	}
	return 0;
}

static int on_attr(void *arg, int depth, const char *name, const char *value)
{
	struct parse *p = arg;
	if (depth == 4 && !strcmp(name, "Encoded"))
		p->encoded = !strcmp(value, "true");
	return 0;
}

static int on_name(struct parse *p, const char *text, size_t len)
{
	p->named = true;
	if (p->encoded)
		return url_decode(&p->name, text, len, false);
	buf_add(&p->name, text, len);
	return buf_error(&p->name);
}

static int on_property(struct parse *p, const char *name, const char *text)
{
	if (!strcmp(name, "Content-Length")) {
		p->sized = true;
		return http_parse_u64(text, &p->obj.size);
	}
	if (!strcmp(name, "Etag"))
		return *text ? http_parse_etag(text, p->obj.etag) : 0;
	if (!strcmp(name, "Last-Modified"))
		return date_parse_http(text, &p->obj.mtime_ns);
	if (!strcmp(name, "ResourceType") && !strcasecmp(text, "directory"))
		p->folder = true;
	return 0;
}

static const char *meta_of(const void *arg, const char *name)
{
	const struct buf *meta = arg;
	const char *s = meta->data, *end = s + meta->len;
	while (s < end) {
		const char *value = s + strlen(s) + 1;
		if (!strcasecmp(s, name))
			return value;
		s = value + strlen(value) + 1;
	}
	return NULL;
}

static void add_meta(struct buf *meta, const char *name, const char *text)
{
	buf_add(meta, name, strlen(name) + 1);
	buf_add(meta, text, strlen(text) + 1);
}

static void apply_meta(struct parse *p)
{
	const char *folder = meta_of(&p->meta, "hdi_isfolder");
	const char *tag = meta_of(&p->meta, "mastfs_tag");
	int64_t mtime_ns;
	if (folder && !strcasecmp(folder, "true"))
		p->folder = true;
	if (meta_mtime(meta_of, &p->meta, &mtime_ns))
		p->obj.mtime_ns = mtime_ns;
	if (tag && strlen(tag) < sizeof p->obj.tag)
		memcpy(p->obj.tag, tag, strlen(tag) + 1);
}

static int end_blob(struct parse *p)
{
	if (buf_error(&p->meta))
		return -EBADMSG;
	apply_meta(p);
	if (!p->named || !p->name.len || (!p->sized && !p->folder))
		return -EBADMSG;
	bool bare = p->folder && p->name.data[p->name.len - 1] != '/';
	if (bare) {
		buf_addc(&p->name, '/');
		p->obj.size = 0;
	}
	if (buf_error(&p->name))
		return buf_error(&p->name);
	return page_add(&p->page, p->name.data, p->name.len,
			bare && p->delimited ? NULL : &p->obj);
}

static int on_close(void *arg, int depth, const char *name, const char *text, size_t len)
{
	struct parse *p = arg;
	if (depth == 2 && !strcmp(name, "NextMarker"))
		buf_add(&p->next, text, len);
	else if (depth == 3 && !strcmp(name, "Blob"))
		return end_blob(p);
	else if (depth == 3 && !strcmp(name, "BlobPrefix"))
		return p->named && p->name.len
			       ? page_add(&p->page, p->name.data, p->name.len, NULL)
			       : -EBADMSG;
	else if (depth == 4 && !strcmp(name, "Name"))
		return on_name(p, text, len);
	else if (depth == 5 && p->in_meta)
		add_meta(&p->meta, name, text);
	else if (depth == 5)
		return on_property(p, name, text);
	return buf_error(&p->next);
}

static int ask(struct azure *az, const struct list_query *q, const char *token,
	       const char *prefix, uint32_t max, struct request *rq,
	       struct http_reply *reply, struct call *call)
{
	char delim[2] = {q->delim, '\0'}, results[16];
	(void)snprintf(results, sizeof results, "%u", max);
	/* That the container is gone does not make what is in it absent (P10). */
	*rq = (struct request){.op = "list", .method = "GET", .on_404 = -EREMOTEIO};
	request_param(rq, "restype", "container");
	request_param(rq, "comp", "list");
	request_param(rq, "include", "metadata");
	request_param(rq, "maxresults", results);
	if (*prefix)
		request_param(rq, "prefix", prefix);
	if (q->delim)
		request_param(rq, "delimiter", delim);
	if (token)
		request_param(rq, "marker", token);
	return request_send(&az->st, rq, reply, call);
}

static int list_page(struct azure *az, const struct list_query *q, const char *token,
		     const char *prefix, struct parse *p, struct call *call)
{
	static const struct xml_handler handler = {
		.open = on_open, .attr = on_attr, .close = on_close};
	CLEANUP_REPLY struct http_reply reply;
	struct request rq;
	uint32_t max = q->max && q->max < RESULTS_MAX ? q->max : RESULTS_MAX;
	http_reply_init(&reply);
	int r = ask(az, q, token, prefix, max, &rq, &reply, call);
	if (r == -EBADMSG && reply.received > REQUEST_BODY_MAX && max > RESULTS_SURE)
		r = ask(az, q, token, prefix, RESULTS_SURE, &rq, &reply, call);
	if (r)
		return r;
	p->delimited = q->delim;
	r = xml_parse(reply.body.data, reply.body.len, &handler, p);
	if (!r)
		r = page_finish(&p->page, prefix, q->delim);
	return r ? request_log(&az->st, &rq, r, "the page is not a sound listing", &reply)
		 : 0;
}

/* A directory that another tool made, with nothing in it, is not below its own
 * prefix. */
static int deliver_folder(struct azure *az, const struct list_query *q, list_fn *fn,
			  void *arg, struct call *call)
{
	struct object obj;
	CLEANUP_FREE char *bare = NULL;
	size_t n = strlen(q->prefix);
	if (!q->delim || !n || q->prefix[n - 1] != '/')
		return 0;
	int r = azure_head_folder(az, q->prefix, &bare, &obj, call);
	if (!r)
		r = fn(arg, q->prefix, n, &obj);
	return r == -ENOENT || r == -EACCES || r == -EILSEQ ? 0 : r;
}

int azure_list(struct backend *be, const struct list_query *q, char **token, list_fn *fn,
	       void *arg, struct call *call)
{
	struct azure *az = azure_of(be);
	CLEANUP_BUF struct buf prefix;
	CLEANUP_PARSE struct parse p;
	CLEANUP_FREE char *next = NULL;
	buf_init(&prefix, (size_t)2 * STORE_KEY_MAX);
	parse_init(&p);
	int r = store_full_key(&az->st, q->prefix, &prefix);
	if (!r)
		r = list_page(az, q, *token, prefix.data, &p, call);
	if (!r && p.next.len) {
		next = buf_detach(&p.next);
		r = next ? 0 : -ENOMEM;
	}
	if (!r && !p.page.n && !*token && !next)
		r = deliver_folder(az, q, fn, arg, call);
	else if (!r)
		r = page_deliver(&p.page, strlen(az->st.prefix), "azure", be->name, fn,
				 arg);
	if (r < 0)
		return r;
	free(*token);
	*token = STEAL(next);
	return 0;
}
