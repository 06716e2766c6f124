/* request.h - one authorised request to a store: made, sent, understood.
 *
 * What S3, Azure Blob and Google have in common is here: addressing a key below the
 * prefix, credentials, the checksum of a body, the log line of a failure, and what is
 * mended by asking once more (a bucket that lives elsewhere, a clock that is off,
 * credentials that expired), each once a request.  What differs is a struct dialect.
 * Repeating for any other reason is the retry wrapper's.
 */
#ifndef BACKENDS_REQUEST_H
#define BACKENDS_REQUEST_H
#include <pthread.h>
#include "backends/backend.h"
#include "backends/cred.h"
#include "backends/http.h"
#include "backends/meta.h"
#include "backends/placement.h"
#include "backends/url.h"

enum {
	STORE_KEY_MAX = 1024, /* bytes, prefix and all */
	REQUEST_PARAMS_MAX = 12,
	REQUEST_HEADERS_MAX = 64, /* a copy sends what others have set on its source */
	ATTEMPT_HEADERS_MAX = REQUEST_HEADERS_MAX + 10,
	REQUEST_BODY_MAX = 16 * 1024 * 1024, /* of an answer that is kept in memory */
	REQUEST_SLOW_MS = 10 * 60 * 1000, /* a server may be silent so long over a copy */
};

struct dialect;
struct store_error;

/* Comes first in each store's own struct. */
struct store {
	struct backend be;
	/* set once */
	const struct dialect *dialect;
	struct http *http;	     /* owned */
	struct http *asking;	     /* owned; for credentials, which wait for no data */
	struct creds *creds;	     /* owned; NULL = anonymous */
	struct placement *placement; /* owned */
	char *root;   /* owned; for the log: "s3://bucket", no slash after */
	char *prefix; /* owned; "" or ends in '/' */
	bool quiet;   /* probe.c tries things: failures are no news */
	uint32_t probed; /* BACKEND_*: what is known of these; the rest is tried again */
	struct store_error *told; /* borrowed; NULL = nobody wants to know what the last
				     answer that was no success said.  One thread only */

	/* guarded by lock */
	pthread_mutex_t lock;
	int64_t skew_ns; /* the server's clock less ours */
};

struct request {
	const char *op;	    /* for messages: "get" */
	const char *method; /* of HTTP */
	const char *key;    /* without the prefix; NULL = the bucket itself */
	const char *target; /* for the dialect: another path, or a whole URL */
	struct url_param params[REQUEST_PARAMS_MAX];
	size_t n_params;
	struct http_header headers[REQUEST_HEADERS_MAX]; /* names in lower case */
	size_t n_headers;
	const struct source *source; /* or body, or neither */
	const void *body;
	size_t body_len;

	http_accept_fn *accept;
	sink_fn *sink;
	void *arg;	    /* of both */
	uint64_t off, len;  /* of a get: range and what the sink is told; len 0 = none */
	bool slow;	    /* the answer may take minutes */
	bool once;	    /* nothing below the retry wrapper sends it twice */
	bool quiet;	    /* an experiment: a failure is no news */
	int also;	    /* a status that is success beside 2xx; 0 = none */
	int on_404, on_412; /* what these mean here; 0: -ENOENT, -ESTALE */
	int expected;	    /* an error that is no news: the caller knows what to do */
};

/* What an answer that is no success says. */
struct store_error {
	int status;	   /* of the reply, or what it should have been */
	char code[64];	   /* "NoSuchKey"; "" = not told */
	char message[256]; /* the server's words */
	char region[64];   /* where the bucket is; "" = not told, or not a region */
	bool foreign; /* nothing in the answer is a store's: who is in between sent it */
};

/* What proves a body to the server, computed once for all tries. */
struct proof {
	const char *name; /* of the header with the checksum; NULL = none */
	char value[64];
	char sha256[80]; /* hex, or a word of the dialect's */
};

/* Everything that is sent, for one try. */
struct attempt {
	struct buf host, path, query, url, auth;
	struct cred cred; /* a copy; empty if the store is anonymous */
	struct http_header headers[ATTEMPT_HEADERS_MAX];
	size_t n_headers;
	int64_t now_ns;	 /* by the server's clock */
	char date[40];	 /* room for the dialect's form of it */
	char region[64]; /* the same for the region */
};
void attempt_header(struct attempt *a, const char *name, const char *value);
/* 0, or what became of building its URL: -ENAMETOOLONG, -ENOMEM. */
int attempt_url_error(const struct attempt *a);

/* How a store is spoken to.  Each returns 0 or a negative errno; none logs. */
struct dialect {
	const char *log; /* topic of its log lines: "s3" */
	/* The checksum of the request's body.  NULL = none is sent. */
	int (*prove)(struct store *st, const struct request *rq, struct proof *ret);
	/* Fill in a->url and the headers, authorization and all.  The request's own
	 * headers and the proof's are there already, and a->cred, a->now_ns. */
	int (*make)(struct store *st, const struct request *rq, const struct proof *proof,
		    struct attempt *a);
	/* What an answer says of its failure: as much as it tells.  -ENOMEM: it was not
	 * read, and its status alone may mean something else. */
	int (*parse)(const struct http_reply *reply, struct store_error *ret);
	/* By backend.h's list; 404 is -ENOENT, 412 is -ESTALE. */
	int (*error)(const struct store_error *e);
	/* Were the credentials refused because they are too old? */
	bool (*expired)(const struct store_error *e);
	/* Does the bucket live elsewhere than where a went, and is that noted now?
	 * NULL = never. */
	bool (*moved)(struct store *st, const struct attempt *a,
		      const struct store_error *e);
	/* For an examination, in which nobody else uses the store: where the bucket is,
	 * as far as is known (NULL = there is no such thing); has the store refused tags
	 * (NULL = never)? */
	const char *(*region)(const struct store *st);
	bool (*untagged)(const struct store *st);
};

/* The parts of a store that are alike: be (name, caps of a store with uploads), lock,
 * prefix, placement, http.  The dialect's open fills in the rest: root, creds, limits.
 * On failure what was made is freed by store_done. */
int store_init(struct store *st, const struct dialect *dialect,
	       const struct backend_ops *ops, const struct backend_conf *conf);
/* root: "s3://bucket"; the name is that and the prefix, which is set already. */
int store_set_name(struct store *st, const char *root);
/* Frees the parts, not st itself. */
void store_done(struct store *st);

void request_param(struct request *rq, const char *name, const char *value);
/* value NULL: the header is left out. */
void request_header(struct request *rq, const char *name, const char *value);

/* 0: a 2xx answer (or rq->also), in *reply.  Else what the answer means, logged. */
int request_send(struct store *st, const struct request *rq, struct http_reply *reply,
		 struct call *call);
/* The same for the bytes of a version: adds the range, checks the answer against
 * want (P1), and hands the bytes to the sink.  range_header: "range",
 * "x-ms-range". */
int request_get(struct store *st, struct request *rq, const char *range_header,
		const struct http_range *want, sink_fn *sink, void *arg,
		struct call *call);
/* The same for the first bytes of whatever version is there (backend.h: peek); the
 * answer, checked, is in *reply.  -EOPNOTSUPP: ask for the head alone. */
int request_peek(struct store *st, struct request *rq, const char *range_header,
		 struct first *first, struct http_reply *reply, struct call *call);
/* An answer that came with a status of success is an error all the same: what e says,
 * as errno, logged. */
int request_fail(const struct store *st, const struct request *rq,
		 const struct store_error *e, const struct http_reply *reply);
/* Log the failure of an operation as request_send does; returns error. */
int request_log(const struct store *st, const struct request *rq, int error,
		const char *cause, const struct http_reply *reply);

/* "http(s)://host:port/", the server that requests about the bucket go to, appended.
 * For a store without credentials: who they are is not asked. */
int store_server(struct store *st, struct buf *ret);

/* The backend op of every such store. */
int store_warm(struct backend *be, uint32_t n, struct call *call);

/* The object key with the prefix in front, appended.  -ENAMETOOLONG. */
int store_full_key(const struct store *st, const char *key, struct buf *ret);

/* What the headers of an answer say of an object, whole or in part; times and
 * tag from the metadata, which meta reads by its bare name.  -EBADMSG. */
int store_parse_object(const struct http_reply *reply, meta_get_fn *meta,
		       const char *tag_name, struct object *ret);
/* The object that a write made, by its answer and what was asked.  -EREMOTEIO, logged,
 * if the answer has no ETag. */
int store_made(const struct store *st, const struct request *rq,
	       const struct http_reply *reply, uint64_t size, const struct put_opts *opts,
	       struct object *ret);

/* What a status alone means, by backend.h's list. */
int store_errno_of_status(int status);
/* We are not let in: for good, or because it was not proved who we are. */
bool store_errno_is_refusal(int error);
/* May the retry wrapper repeat it?  Do callers expect it, so that it is no news? */
bool store_errno_is_transient(int error);
bool store_errno_is_expected(int error);
#endif
