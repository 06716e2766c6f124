/* s3_request.h - S3 as a dialect of request.h: addressing, SigV4, regions, and answers
 * that fail with a 200.  Private to s3*.c.
 */
#ifndef BACKENDS_S3_REQUEST_H
#define BACKENDS_S3_REQUEST_H
#include "backends/date.h"
#include "backends/profile.h"
#include "backends/request.h"
#include "backends/sign.h"

extern const struct dialect s3_dialect;

enum {
	S3_REGION_SIZE = 64,
	S3_SUM_SIZE = 64, /* a checksum of 8 bytes in base64, or what is sent instead */
};
#define S3_SUM_HEADER "x-amz-checksum-crc64nvme"

struct s3 {
	struct store st;
	/* set once */
	struct endpoint
		endpoint;  /* where it is given; else host is "" and it is Amazon */
	bool virtual_host; /* the bucket is part of the host's name */
	bool crc64;	   /* takes CRC64NVME, instead of MD5; settled by probe */
	char *bucket;	   /* owned */
	uint64_t copy_max; /* bytes that one CopyObject takes */
	bool requester_pays;
	char *sse, *sse_kms_key; /* owned; NULL = as the bucket has it */

	/* guarded by st.lock */
	bool tags_refused; /* to write them */
	bool tags_hidden;  /* that has been said */
	char region[S3_REGION_SIZE];
	struct sign_key key; /* derived for the next three */
	uint64_t key_generation;
	char key_region[S3_REGION_SIZE];
	char key_day[9];
};

static inline struct s3 *s3_of(struct backend *be)
{
	return (struct s3 *)be; /* the first member of its first member */
}

/* Is this 2xx the XML document it should be?  Some operations fail with a 200
 * that holds an <Error>.  0, or what that means, logged; -EREMOTEIO if it is
 * neither. */
int s3_expect_xml(struct s3 *s3, const struct request *rq, const struct http_reply *reply,
		  const char *root);
/* What the headers of an answer say of an object; size from Content-Length.
 * -EBADMSG. */
int s3_parse_object(const struct http_reply *reply, struct object *ret);

/* A CRC64NVME as S3 writes it: base64, the highest byte first. */
int s3_sum_text(uint64_t crc, char ret[static S3_SUM_SIZE]);
/* -EBADMSG. */
int s3_sum_parse(const char *text, uint64_t *ret);

/* The headers of a write: preconditions, or metadata.  The texts live here. */
struct s3_meta {
	char mtime[DATE_ISO_SIZE];
};
struct s3_props; /* kept: what a copy keeps of its source; NULL = it is none */
void s3_cond_headers(struct request *rq, const struct cond *cond);
void s3_meta_headers(struct request *rq, const struct put_opts *opts,
		     const struct s3_props *kept, struct s3_meta *meta);

/* As request_send, for a request that makes an object: with its tag, class and
 * encryption; without the tag where that is refused. */
int s3_send_placed(struct s3 *s3, const struct request *rq, const struct s3_props *kept,
		   struct http_reply *reply, struct call *call);
/* The tag that the object gets: "name=value"; NULL = none.  Static. */
const char *s3_tag(struct s3 *s3, const char *key);

/* As request_send, for a HEAD: a 404 that may be anybody's is asked about (P10). */
int s3_send_head(struct s3 *s3, const struct request *rq, struct http_reply *reply,
		 struct call *call);

/* s3_upload_begin, with the parts' checksums announced or not. */
int s3_begin(struct s3 *s3, const char *key, bool sums, const struct put_opts *opts,
	     const struct s3_props *kept, char **ret_id, struct call *call);

/* The operations, by file. */
int s3_probe(struct backend *be, bool writes, struct call *call);
int s3_head(struct backend *be, const char *key, struct object *ret, struct call *call);
/* And the checksum that the store has of it; "" if it tells none. */
int s3_head_sum(struct s3 *s3, const char *key, struct object *ret,
		char ret_sum[static S3_SUM_SIZE], struct call *call);
int s3_put(struct backend *be, const char *key, const struct source *src,
	   const struct put_opts *opts, struct object *ret, struct call *call);
int s3_del(struct backend *be, const char *key, const struct cond *cond,
	   struct call *call);
int s3_list(struct backend *be, const struct list_query *q, char **token, list_fn *fn,
	    void *arg, struct call *call);
int s3_upload_list(struct backend *be, const char *prefix, upload_list_fn *fn, void *arg,
		   struct call *call);
int s3_upload_begin(struct backend *be, const char *key, uint64_t size,
		    const struct put_opts *opts, char **ret_id, struct call *call);
int s3_upload_part(struct backend *be, const char *key, const char *id, uint64_t obj_off,
		   const struct source *src, struct part *part, struct call *call);
int s3_upload_finish(struct backend *be, const char *key, const char *id,
		     const struct part *parts, uint32_t n_parts, uint64_t size,
		     const struct put_opts *opts, struct object *ret, struct call *call);
int s3_upload_abort(struct backend *be, const char *key, const char *id,
		    struct call *call);
int s3_copy(struct backend *be, const char *from, const struct object *from_obj,
	    const char *to, const struct put_opts *opts, struct object *ret,
	    struct call *call);
#endif
