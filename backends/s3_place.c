/* s3_place.c - what every upload says of its object: the tag that lifecycle rules go by,
 * the storage class, the encryption.
 *
 * A tag is a service to the owner of the bucket and never worth an upload: stores that
 * have none answer 400 or 501, and who may write but not tag gets the 403 of one who may
 * not write.  So a refused request is sent again without the tag; if that succeeds it was
 * the tag, and none is sent from then on.  A class or an encryption that is refused
 * fails the upload: its bytes would lie where the user does not want them.
 */
#include <errno.h>
#include <string.h>
#include "backends/s3_error.h"
#include "backends/s3_request.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

static const char *tag_of(struct s3 *s3, const char *key)
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

/* Failures are not logged yet.  *e: of an answer; else its status is 0. */
static int send_quietly(struct s3 *s3, const struct request *rq, struct store_error *e,
			struct http_reply *reply, struct call *call)
{
	struct request quiet = *rq;
	quiet.quiet = true;
	*e = (struct store_error){0};
	int r = request_send(&s3->st, &quiet, reply, call);
	if (r && reply->status && s3_error_parse(reply, e))
		e->status = 0;
	return r;
}

static bool is_copy(const struct request *rq)
{
	for (size_t i = 0; i < rq->n_headers; i++)
		if (!strcmp(rq->headers[i].name, "x-amz-copy-source"))
			return true;
	return false;
}

int s3_send_placed(struct s3 *s3, const struct request *rq, struct http_reply *reply,
		   struct call *call)
{
	struct request placed = *rq;
	struct store_error e, again;
	const char *class = placement_class(s3->st.placement, rq->key);
	const char *tag = tag_of(s3, rq->key);
	request_header(&placed, "x-amz-storage-class", class);
	request_header(&placed, "x-amz-server-side-encryption", s3->sse);
	request_header(&placed, "x-amz-server-side-encryption-aws-kms-key-id",
		       s3->sse_kms_key);
	struct request tagged = placed;
	request_header(&tagged, "x-amz-tagging", tag);
	if (tag && is_copy(rq))
		request_header(&tagged, "x-amz-tagging-directive", "REPLACE");
	int r = send_quietly(s3, &tagged, &e, reply, call);
	if (!r || !tag || !may_be_the_tag(r, &e))
		return r ? say(s3, rq, r, class, &e, reply) : 0;

	r = send_quietly(s3, &placed, &again, reply, call);
	if (r)
		return say(s3, rq, r, class, &again, reply);
	remember_refusal(s3, &e);
	return 0;
}
