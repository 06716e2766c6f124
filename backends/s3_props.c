/* s3_props.c - see s3_props.h.
 *
 * Nothing is left out in silence: what cannot be sent again as it is ends the copy with
 * -EOPNOTSUPP.  The values come from outside and go out as they are, so they are looked
 * at first: a control character could end a header, and how blanks other than ' ' are
 * signed is not agreed upon.
 */
#include "backends/s3_props.h"
#include <errno.h>
#include <string.h>
#include "backends/xml.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

#define META "x-amz-meta-"

enum {
	TAGS_MAX = 10,		/* of an object */
	TAGGING_MAX = 8 * 1024, /* bytes; headers have no more room together */
};

void s3_props_init(struct s3_props *p)
{
	*p = (struct s3_props){.n_tags = -1};
	http_reply_init(&p->head);
	buf_init(&p->tagging, TAGGING_MAX);
}

void s3_props_done(struct s3_props *p)
{
	http_reply_done(&p->head);
	buf_done(&p->tagging);
}

/* --- headers --- */

/* What REPLACE takes away from an object, beside its metadata. */
static bool is_kept(const char *name)
{
	static const char *const kept[] = {"cache-control",
					   "content-disposition",
					   "content-encoding",
					   "content-language",
					   "content-type",
					   "expires",
					   "x-amz-website-redirect-location"};
	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
		if (!strcmp(name, kept[i]))
			return true;
	return !strncmp(name, META, strlen(META));
}

/* put_opts has these. */
static bool is_ours(const char *name)
{
	return !strcmp(name, META "mtime") || !strcmp(name, META "mastfs-tag");
}

static bool is_token(const char *s)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789"
				      "!#$%&'*+-.^_`|~";
	return !s[strspn(s, allowed)];
}

static bool is_text(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	return true;
}

/* Whether the header was there before; told otherwise, it is another matter. */
static int seen_before(const struct s3_props *p, const char *name, const char *value,
		       const char **ret_why)
{
	for (size_t i = 0; i < p->n; i++)
		if (!strcmp(p->headers[i].name, name)) {
			*ret_why = "a header of the object contradicts itself";
			return strcmp(p->headers[i].value, value) ? -EOPNOTSUPP : 1;
		}
	return 0;
}

/* The time of change as another tool notes it is believed before our own (meta.h): the
 * copy's is the one that it is told. */
static const char *new_value(struct s3_props *p, const char *name, const char *value,
			     int64_t mtime_ns)
{
	if (!mtime_ns || p->n_times == S3_PROPS_TIMES ||
	    strncmp(name, META, strlen(META)) != 0 ||
	    !meta_format_mtime(name + strlen(META), mtime_ns, p->times[p->n_times]))
		return value;
	return p->times[p->n_times++];
}

static int keep(struct s3_props *p, const char *name, const char *value, int64_t mtime_ns,
		const char **ret_why)
{
	int r = seen_before(p, name, value, ret_why);
	if (r)
		return r < 0 ? r : 0;
	*ret_why = "the object has metadata that is no text";
	if (!is_token(name) || !is_text(value))
		return -EOPNOTSUPP;
	*ret_why = "the object has more metadata than can be sent again";
	if (p->n == S3_PROPS_MAX)
		return -EOPNOTSUPP;
	p->headers[p->n++] =
		(struct http_header){name, new_value(p, name, value, mtime_ns)};
	p->typed |= !strcmp(name, "content-type");
	return 0;
}

static int keep_headers(struct s3_props *p, int64_t mtime_ns, const char **ret_why)
{
	const char *name = p->head.headers.data, *end = name + p->head.headers.len;
	int r = 0;
	while (!r && name < end) {
		const char *value = name + strlen(name) + 1;
		if (is_kept(name) && !is_ours(name))
			r = keep(p, name, value, mtime_ns, ret_why);
		name = value + strlen(value) + 1;
	}
	return r;
}

/* NULL: it has no such property, or one that the store takes for granted. */
static const char *property(const struct s3_props *p, const char *name,
			    const char *default_value)
{
	const char *value = http_header(&p->head, name);
	return value && *value && strcmp(value, default_value) != 0 ? value : NULL;
}

static int keep_place(struct s3_props *p, const char **ret_why)
{
	p->class = property(p, "x-amz-storage-class", "STANDARD");
	p->sse = property(p, "x-amz-server-side-encryption", "AES256");
	if (p->sse) {
		p->sse_kms_key =
			property(p, "x-amz-server-side-encryption-aws-kms-key-id", "");
		p->bucket_key = property(
			p, "x-amz-server-side-encryption-bucket-key-enabled", "");
	}
	const char *const sent[] = {p->class, p->sse, p->sse_kms_key, p->bucket_key};
	*ret_why = "the class or the encryption of the object is no text";
	for (size_t i = 0; i < sizeof sent / sizeof *sent; i++)
		if (sent[i] && !is_text(sent[i]))
			return -EOPNOTSUPP;
	return 0;
}

static int read_head(struct s3_props *p, const struct object *from_obj, int64_t mtime_ns,
		     const char **ret_why)
{
	char etag[ETAG_SIZE];
	uint64_t n;
	const char *given = http_header(&p->head, "etag");
	if (*from_obj->etag && given && !http_parse_etag(given, etag) &&
	    strcmp(etag, from_obj->etag) != 0)
		return -ESTALE;
	const char *missing = http_header(&p->head, "x-amz-missing-meta");
	*ret_why = "the object has metadata that the store does not tell";
	if (missing && strcmp(missing, "0") != 0)
		return -EOPNOTSUPP;
	const char *count = http_header(&p->head, "x-amz-tagging-count");
	if (count && !http_parse_u64(count, &n))
		p->n_tags = n > TAGS_MAX ? TAGS_MAX : (int)n;
	p->ours = http_header(&p->head, META "mastfs-tag");
	int r = keep_headers(p, mtime_ns, ret_why);
	return r ? r : keep_place(p, ret_why);
}

/* --- tags --- */

struct tag_list {
	struct buf *out;
	const char *skip; /* the name that is left out; NULL = none */
	int n;
	struct buf key, value;
};

static int add_tag(struct tag_list *t)
{
	if (t->key.len && (!t->skip || strcmp(t->key.data, t->skip) != 0)) {
		if (t->n++)
			buf_addc(t->out, '&');
		url_encode(t->out, t->key.data, t->key.len, false);
		buf_addc(t->out, '=');
		url_encode(t->out, t->value.data, t->value.len, false);
	}
	buf_reset(&t->key);
	buf_reset(&t->value);
	return buf_error_or(t->out, -EOPNOTSUPP);
}

static int on_close(void *arg, int depth, const char *name, const char *text, size_t len)
{
	struct tag_list *t = arg;
	struct buf *to = !strcmp(name, "Key") ? &t->key : &t->value;
	if (depth == 4 && (to == &t->key || !strcmp(name, "Value"))) {
		buf_reset(to);
		buf_add(to, text, len);
		return buf_error_or(to, -EOPNOTSUPP);
	}
	return depth == 3 && !strcmp(name, "Tag") ? add_tag(t) : 0;
}

/* Theirs, and the tag that we would give: own, or NULL. */
static int list_tags(const struct http_reply *reply, const char *own, struct buf *ret)
{
	static const struct xml_handler handler = {.close = on_close};
	struct tag_list t = {.out = ret, .skip = own ? PLACEMENT_TAG : NULL};
	buf_init(&t.key, TAGGING_MAX);
	buf_init(&t.value, TAGGING_MAX);
	int r = xml_parse(reply->body.data, reply->body.len, &handler, &t);
	buf_done(&t.key);
	buf_done(&t.value);
	if (!r && own && t.n < TAGS_MAX)
		buf_addf(ret, "%s%s", t.n ? "&" : "", own);
	return r ? r : buf_error_or(ret, -EOPNOTSUPP);
}

static void warn_of_hidden_tags(struct s3 *s3, const char *from)
{
	{
		SCOPED_LOCK(&s3->st.lock);
		if (s3->tags_hidden)
			return;
		s3->tags_hidden = true;
	}
	log_warn("s3",
		 "%s does not let us read tags: the copy of %s, which is in parts, has "
		 "only ours, and so will others",
		 s3->st.be.name, from);
}

static int read_tags(struct s3 *s3, const char *from, const char *own,
		     struct s3_props *ret, struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {.op = "get tags",
			     .method = "GET",
			     .key = from,
			     .quiet = true,
			     .on_404 = -ESTALE};
	request_param(&rq, "tagging", NULL);
	int r = request_send(&s3->st, &rq, &reply, call);
	if (r == -EACCES || r == -EOPNOTSUPP) {
		warn_of_hidden_tags(s3, from);
		return 0;
	}
	rq.quiet = false;
	if (!r)
		r = s3_expect_xml(s3, &rq, &reply, "Tagging");
	if (r)
		return r;
	r = list_tags(&reply, own, &ret->tagging);
	return r ? request_log(&s3->st, &rq, r, "the tags cannot be sent again", &reply)
		 : 0;
}

/* One that mastfs has written has the tag of its level, and perhaps no other. */
static bool has_foreign_tags(const struct s3_props *p)
{
	return p->n_tags > 1 || (p->n_tags == 1 && !p->ours);
}

static bool same_level(const char *from, const char *to)
{
	const char *a = placement_level(from), *b = placement_level(to);
	return a == b || (a && b && !strcmp(a, b));
}

static int keep_tags(struct s3 *s3, const char *from, const char *to, bool in_parts,
		     struct s3_props *p, struct call *call)
{
	bool itself = !strcmp(from, to);
	if (!in_parts) {
		p->keeps_tags = itself || has_foreign_tags(p) ||
				(p->n_tags == 1 && same_level(from, to));
		return 0;
	}
	if (!has_foreign_tags(p))
		return 0;
	return read_tags(s3, from, itself ? NULL : s3_tag(s3, to), p, call);
}

/* --- all of it --- */

int s3_props_read(struct s3 *s3, const char *from, const struct object *from_obj,
		  const char *to, bool in_parts, const struct put_opts *opts,
		  struct s3_props *ret, struct call *call)
{
	const char *why = "";
	struct request rq = {
		.op = "head", .method = "HEAD", .key = from, .on_404 = -ESTALE};
	request_header(&rq, "if-match", *from_obj->etag ? from_obj->etag : NULL);
	int r = s3_send_head(s3, &rq, &ret->head, call);
	if (r)
		return r;
	r = read_head(ret, from_obj, opts->mtime_ns, &why);
	if (r)
		return request_log(&s3->st, &rq, r, why, &ret->head);
	return keep_tags(s3, from, to, in_parts, ret, call);
}
