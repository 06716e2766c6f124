/* s3_place.c - what every upload says of its object: the tag that lifecycle rules go by,
 * the storage class, the encryption.
 *
 * A tag is a service to the owner of the bucket and never worth an upload: stores that
 * have none answer 400 or 501, and who may write but not tag gets the 403 of one who may
 * not write.  So a refused request is sent again without the tag; if that succeeds it was
 * the tag, and none is sent from then on.  A class or an encryption that is refused
 * fails the upload: its bytes would lie where the user does not want them.
 *
 * A copy keeps what its source has of these and no option names (s3_props.h).
 */
#include <errno.h>
#include <string.h>
#include "backends/s3_error.h"
#include "backends/s3_props.h"
#include "backends/s3_request.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

const char *s3_tag(struct s3 *s3, const char *key)
{
	static const struct {
		const char *level, *tag;
	} tags[] = {
		{"raw", PLACEMENT_TAG "=raw"},
		{"calibrated", PLACEMENT_TAG "=calibrated"},
		{"combined", PLACEMENT_TAG "=combined"},
		{"ancillary", PLACEMENT_TAG "=ancillary"},
	};
	const char *level = placement_level(key);
	SCOPED_LOCK(&s3->st.lock);
	for (size_t i = 0; level && !s3->tags_refused && i < 4; i++)
		if (!strcmp(level, tags[i].level))
			return tags[i].tag;
	return NULL;
}

static void remember_refusal(struct s3 *s3, const struct store_error *e)
{
	{
		SCOPED_LOCK(&s3->st.lock);
		if (s3->tags_refused)
			return;
		s3->tags_refused = true;
	}
	log_warn("s3",
		 "%s refuses the tag " PLACEMENT_TAG
		 " (%d %s): uploading without; lifecycle rules that go by it will not "
		 "find these objects",
		 s3->st.be.name, e->status, e->code);
}

/* The answer is known: say what is wrong with it, as request_send would have.  What the
 * user's own options have caused is told even of an experiment. */
static int say(struct s3 *s3, const struct request *rq, int r, const char *class,
	       const struct store_error *e, const struct http_reply *reply)
{
	if (!strcmp(e->code, "InvalidStorageClass") && class) {
		log_error("s3", "%s %s: %s has no class %s: see the option storage_class",
			  rq->op, rq->key, s3->st.be.name, class);
		return -EINVAL;
	}
	if (s3->sse && e->status && (r == -EINVAL || r == -EOPNOTSUPP)) {
		log_error("s3", "%s %s: %s refuses it with sse=%s: %d %s%s%s", rq->op,
			  rq->key, s3->st.be.name, s3->sse, e->status, e->code,
			  *e->message ? ": " : "", e->message);
		return -EINVAL;
	}
	if (rq->quiet || !e->status || store_errno_is_expected(r) ||
	    store_errno_is_transient(r))
		return r;
	/* It is not the answer that failed. */
	if (e->status < 400)
		return request_log(&s3->st, rq, r, strerror(-r), reply);
	return request_fail(&s3->st, rq, e, reply);
}

static bool may_be_the_tag(int error, const struct store_error *e)
{
	return (error == -EACCES || error == -EINVAL || error == -EOPNOTSUPP) &&
	       e->status >= 400 && strcmp(e->code, "InvalidStorageClass") != 0;
}

static bool is_copy(const struct request *rq)
{
	for (size_t i = 0; i < rq->n_headers; i++)
		if (!strcmp(rq->headers[i].name, "x-amz-copy-source"))
			return true;
	return false;
}

/* What is made, and how it may be placed. */
struct placing {
	const struct request *rq;
	const struct s3_props *kept; /* NULL = it is no copy */
	const char *tag;	     /* of x-amz-tagging; NULL = none */
	bool theirs;		     /* others' tags are among these */
};

static void add_encryption(const struct s3 *s3, const struct s3_props *kept,
			   struct request *rq)
{
	bool keeps = !s3->sse && kept && kept->sse;
	request_header(rq, "x-amz-server-side-encryption", keeps ? kept->sse : s3->sse);
	request_header(rq, "x-amz-server-side-encryption-aws-kms-key-id",
		       keeps ? kept->sse_kms_key : s3->sse_kms_key);
	request_header(rq, "x-amz-server-side-encryption-bucket-key-enabled",
		       keeps ? kept->bucket_key : NULL);
}

/* Failures are not logged yet.  *e: of an answer; else its status is 0. */
static int send_quietly(struct s3 *s3, const struct placing *p, const char *class,
			const char *tag, struct store_error *e, struct http_reply *reply,
			struct call *call)
{
	struct request quiet = *p->rq;
	quiet.quiet = true;
	request_header(&quiet, "x-amz-storage-class", class);
	add_encryption(s3, p->kept, &quiet);
	request_header(&quiet, "x-amz-tagging", tag);
	if (tag && is_copy(p->rq))
		request_header(&quiet, "x-amz-tagging-directive", "REPLACE");
	*e = (struct store_error){0};
	int r = request_send(&s3->st, &quiet, reply, call);
	if (r && reply->status && s3_error_parse(reply, e))
		e->status = 0;
	return r;
}

/* Who may not read tags is not told how many there are, and may not copy them either. */
static int send_keeping_tags(struct s3 *s3, const struct placing *p, const char *class,
			     struct store_error *e, struct http_reply *reply,
			     struct call *call)
{
	int r = send_quietly(s3, p, class, NULL, e, reply, call);
	if (r == -EACCES && p->tag && p->kept->n_tags < 0)
		r = send_quietly(s3, p, class, p->tag, e, reply, call);
	return r;
}

static int send_tagged(struct s3 *s3, const struct placing *p, const char *class,
		       struct store_error *e, struct http_reply *reply, struct call *call)
{
	if (p->kept && p->kept->keeps_tags)
		return send_keeping_tags(s3, p, class, e, reply, call);
	int r = send_quietly(s3, p, class, p->tag, e, reply, call);
	if (!r || !p->tag || p->theirs || !may_be_the_tag(r, e))
		return r;
	struct store_error first = *e;
	r = send_quietly(s3, p, class, NULL, e, reply, call);
	if (!r)
		remember_refusal(s3, &first);
	return r;
}

int s3_send_placed(struct s3 *s3, const struct request *rq, const struct s3_props *kept,
		   struct http_reply *reply, struct call *call)
{
	struct store_error e;
	const char *asked = placement_class(s3->st.placement, rq->key);
	const char *class = asked ? asked : kept ? kept->class : NULL;
	bool theirs = kept && kept->tagging.len;
	struct placing p = {
		.rq = rq,
		.kept = kept,
		.tag = theirs ? kept->tagging.data : s3_tag(s3, rq->key),
		.theirs = theirs,
	};
	int r = send_tagged(s3, &p, class, &e, reply, call);
	/* Where objects are moved by rules, a class may be told that none can ask for. */
	if (r && class && !asked && !strcmp(e.code, "InvalidStorageClass"))
		r = send_tagged(s3, &p, NULL, &e, reply, call);
	return r ? say(s3, rq, r, asked, &e, reply) : 0;
}
