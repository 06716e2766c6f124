/* s3_request.h - one signed request to a bucket.  Private to s3*.c.
 *
 * Whatever an answer may tell of the bucket or of us and that is mended by asking
 * again (its region, our clock, keys that expired) is mended here, each once a
 * request.  Repeating for any other reason is the retry wrapper's.
 */
#ifndef BACKENDS_S3_REQUEST_H
#define BACKENDS_S3_REQUEST_H
#include <pthread.h>
#include "backends/backend.h"
#include "backends/cred.h"
#include "backends/http.h"
#include "backends/profile.h"
#include "backends/sign.h"
#include "backends/url.h"

enum {
	S3_REGION_SIZE = 64,
	S3_KEY_MAX = 1024, /* bytes, prefix and all */
	S3_PARAMS_MAX = 8,
	S3_HEADERS_MAX = 12,
	S3_XML_MAX = 16 * 1024 * 1024,
	S3_SLOW_MS = 10 * 60 * 1000, /* a server may be silent so long over a copy */
};

struct s3 {
	struct backend be;
	/* set once */
	struct http *http;   /* owned */
	struct creds *creds; /* owned; NULL = anonymous */
	char *profile_asked; /* owned */
	struct endpoint
		endpoint;      /* where it is given; else host is "" and it is Amazon */
	bool virtual_host;     /* the bucket is part of the host's name */
	bool crc64;	       /* Amazon's checksum instead of MD5 */
	char *bucket, *prefix; /* owned */
	uint64_t copy_max;     /* bytes that one CopyObject takes */

	/* guarded by lock */
	pthread_mutex_t lock;
	char region[S3_REGION_SIZE];
	int64_t skew_ns;     /* the server's clock less ours */
	struct sign_key key; /* derived for the next three */
	uint64_t key_generation;
	char key_region[S3_REGION_SIZE];
	char key_day[9];
};

static inline struct s3 *s3_of(struct backend *be)
{
	return (struct s3 *)be; /* be is its first member */
}

struct s3_request {
	const char *op; /* for messages: "get" */
	const char *method;
	const char *key; /* without the prefix; NULL = the bucket itself */
	struct url_param params[S3_PARAMS_MAX];
	size_t n_params;
	struct http_header headers[S3_HEADERS_MAX]; /* names in lower case */
	size_t n_headers;
	const struct source *source; /* or body, or neither */
	const void *body;
	size_t body_len;

	http_accept_fn *accept;
	sink_fn *sink;
	void *arg;	    /* of both */
	uint64_t off, len;  /* of a get: range and what the sink is told; len 0 = none */
	bool slow;	    /* the answer may take minutes */
	bool quiet;	    /* an experiment: a failure is no news */
	int on_404, on_412; /* what these mean here; 0: -ENOENT, -ESTALE */
};

void s3_param(struct s3_request *rq, const char *name, const char *value);
/* value NULL: the header is left out. */
void s3_header(struct s3_request *rq, const char *name, const char *value);

/* 0: a 2xx answer, in *reply.  Else what the answer means, logged. */
int s3_send(struct s3 *s3, const struct s3_request *rq, struct http_reply *reply,
	    struct call *call);
/* Is this 2xx the XML document it should be?  Some operations fail with a 200
 * that holds an <Error>.  0, or what that means, logged; -EREMOTEIO if it is
 * neither. */
int s3_expect_xml(struct s3 *s3, const struct s3_request *rq,
		  const struct http_reply *reply, const char *root);
/* Log the failure of an operation as s3_send does; returns error. */
int s3_log_failure(const struct s3 *s3, const struct s3_request *rq, int error,
		   const char *cause, const struct http_reply *reply);

/* The object key with the prefix in front.  -ENAMETOOLONG. */
int s3_full_key(const struct s3 *s3, const char *key, struct buf *ret);
/* What the headers of an answer say of an object; size from Content-Length.
 * -EBADMSG. */
int s3_parse_object(const struct http_reply *reply, struct object *ret);

/* The headers of a write: preconditions, or metadata.  The texts live here. */
struct s3_meta {
	char mtime[32];
};
void s3_cond_headers(struct s3_request *rq, const struct cond *cond);
void s3_meta_headers(struct s3_request *rq, const struct put_opts *opts,
		     struct s3_meta *meta);

/* s3_upload_begin, with the parts' checksums announced or not. */
int s3_begin(struct s3 *s3, const char *key, bool sums, const struct put_opts *opts,
	     char **ret_id, struct call *call);

/* The operations, by file. */
int s3_probe(struct backend *be, bool writes, struct call *call);
int s3_head(struct backend *be, const char *key, struct object *ret, struct call *call);
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
