/* gcs_request.h - what the files of the Google backend share.  Private to gcs*.c. */
#ifndef BACKENDS_GCS_REQUEST_H
#define BACKENDS_GCS_REQUEST_H
#include "backends/json.h"
#include "backends/request.h"

#define GCS_PARTS_DIR	".mastfs-parts/"
#define GCS_UPLOAD_MARK ".upload"
/* What is asked of an object's resource. */
#define GCS_FIELDS "name,size,generation,updated,timeCreated,crc32c,metadata"

enum {
	GCS_PATH_MAX = 8 * 1024, /* two encoded keys */
	GCS_JSON_MAX = 64 * 1024,
	GCS_COMPOSE_MAX = 32,	  /* sources of one request */
	GCS_ID_SIZE = 2 * 16 + 1, /* of an upload: hex */
};

struct gcs {
	struct store st;
	/* set once */
	struct endpoint endpoint;
	char *bucket;		  /* owned */
	char *billing;		  /* owned; NULL = whoever owns the bucket pays */
	uint64_t one_request_max; /* bytes; larger objects go by a session */
};

static inline struct gcs *gcs_of(struct backend *be)
{
	return (struct gcs *)be; /* st is its first member, and be that one's */
}

extern const struct dialect gcs_dialect;

/* --- names and paths --- */

/* "/storage/v1/b/BUCKET/o", and "/KEY" if there is one; appended, encoded.
 * -ENAMETOOLONG; -EILSEQ: no object can have this name. */
int gcs_add_path(const struct gcs *gcs, const char *key, struct buf *ret);
/* Is it, or is it below, a directory of parts? */
bool gcs_is_hidden(const char *key);

/* --- resources --- */

/* What a resource says of an object. */
struct gcs_object {
	struct object obj;
	bool has_crc32c;
	uint32_t crc32c;
	int64_t created_ns;
	const char *upload_key; /* of an upload's mark; borrowed from the JSON, or NULL */
};
/* -EBADMSG. */
int gcs_parse_object(const struct json *v, struct gcs_object *ret);
/* The same of the body of an answer; logs what is wrong with it. */
int gcs_object_of(struct gcs *gcs, const struct request *rq,
		  const struct http_reply *reply, struct gcs_object *ret);

/* What an object is made with. */
struct gcs_new {
	const char *name;  /* full; NULL = the URL says it */
	const char *level; /* NULL = none */
	const char *class; /* NULL = the bucket's own */
	const struct put_opts *opts;
	const char *upload_key; /* NULL = it marks no upload */
	const uint32_t *crc32c; /* NULL = not known */
	bool is_dir;
};
/* The same for an object that a user sees: by its key. */
struct gcs_new gcs_new_for(const struct gcs *gcs, const char *key,
			   const struct put_opts *opts);
/* Append it as JSON.  -EILSEQ, -ENOMEM. */
int gcs_add_resource(struct buf *out, const struct gcs_new *new);
/* Only what changes when the metadata does. */
int gcs_add_patch(struct buf *out, const struct put_opts *opts);
/* "ifGenerationMatch" and what its failure means. */
void gcs_add_cond(struct request *rq, const struct cond *cond);

/* --- the operations, by file --- */

int gcs_stat(struct gcs *gcs, const char *key, struct gcs_object *ret, struct call *call);
int gcs_del(struct backend *be, const char *key, const struct cond *cond,
	    struct call *call);

/* One object from a file's bytes, verified.  resource.name and crc32c are set here. */
int gcs_send_object(struct gcs *gcs, const char *op, const char *key,
		    const struct source *src, struct gcs_new resource,
		    struct gcs_object *ret, struct call *call);
int gcs_put(struct backend *be, const char *key, const struct source *src,
	    const struct put_opts *opts, struct object *ret, struct call *call);

/* One page as Google gives it: "items" and "prefixes" by full name, "nextPageToken".
 * token NULL or "" starts.  To be json_free'd. */
int gcs_get_page(struct gcs *gcs, const struct list_query *q, const char *token,
		 struct json **ret, struct call *call);
/* The token of the page after it: owned, NULL at the end.  -ENOMEM. */
int gcs_next_page(const struct json *page, char **ret);
int gcs_list(struct backend *be, const struct list_query *q, char **token, list_fn *fn,
	     void *arg, struct call *call);

int gcs_upload_begin(struct backend *be, const char *key, uint64_t size,
		     const struct put_opts *opts, char **ret_id, struct call *call);
int gcs_upload_part(struct backend *be, const char *key, const char *id, uint64_t obj_off,
		    const struct source *src, struct part *part, struct call *call);
int gcs_upload_finish(struct backend *be, const char *key, const char *id,
		      const struct part *parts, uint32_t n_parts, uint64_t size,
		      const struct put_opts *opts, struct object *ret, struct call *call);
int gcs_upload_abort(struct backend *be, const char *key, const char *id,
		     struct call *call);
int gcs_upload_list(struct backend *be, const char *prefix, upload_list_fn *fn, void *arg,
		    struct call *call);
/* Remove what a crash left a week ago and nobody came back for. */
int gcs_expire_uploads(struct gcs *gcs, struct call *call);
/* Delete everything below a prefix, many at a time. */
int gcs_sweep(struct gcs *gcs, const char *prefix, struct call *call);

int gcs_copy(struct backend *be, const char *from, const struct object *from_obj,
	     const char *to, const struct put_opts *opts, struct object *ret,
	     struct call *call);
/* Atomic. */
int gcs_move(struct gcs *gcs, const char *from, const char *to, struct call *call);
int gcs_probe(struct backend *be, bool writes, struct call *call);
#endif
