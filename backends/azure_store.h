/* azure_store.h - Azure Blob as a dialect of request.h.  Private to azure*.c.
 *
 * A directory marker of ours is a blob "dir/", as everywhere.  Others write a blob
 * "dir" with hdi_isfolder=true in its metadata, and an account with a hierarchical
 * namespace shows its directories so: that is found under "dir/", too, and never as a
 * file.
 */
#ifndef BACKENDS_AZURE_STORE_H
#define BACKENDS_AZURE_STORE_H
#include "backends/azure_account.h"
#include "backends/date.h"
#include "backends/request.h"

enum {
	AZURE_NONCE_SIZE = 33, /* 32 hex digits and a NUL: the id of an upload */
	AZURE_UPLOADS_MAX = 64,
};

/* What azure_block.c remembers of an upload: it is lost with the mount, and learned
 * again. */
struct azure_upload {
	char id[AZURE_NONCE_SIZE];
	uint8_t id_bytes;	/* of each of its blocks */
	bool given_up, refused; /* refused: no block of ours is taken there */
};

/* Does the account take index tags with a write? */
enum azure_tags { AZURE_TAGS_UNKNOWN, AZURE_TAGS_TAKEN, AZURE_TAGS_REFUSED };

struct azure {
	struct store st;
	/* set once */
	struct azure_account at;

	/* atomic */
	_Atomic int tags; /* enum azure_tags */

	/* guarded by st.lock */
	struct azure_upload uploads[AZURE_UPLOADS_MAX]; /* a ring */
	uint32_t n_uploads;
};

static inline struct azure *azure_of(struct backend *be)
{
	return (struct azure *)be; /* the first member of its first member */
}

extern const struct dialect azure_dialect;

/* rq->target: the account instead of the container; or the key, spoken of to the Data
 * Lake service of the account. */
#define AZURE_TARGET_ACCOUNT "account"
#define AZURE_TARGET_LAKE    "dfs"

/* "/account/container/key" as it stands in a URL, appended.  -ENAMETOOLONG, -EILSEQ. */
int azure_add_path(const struct azure *az, const char *key, struct buf *ret);
/* "https://host", appended. */
void azure_add_origin(const struct azure *az, struct buf *ret);

/* azure_error.c */
int azure_error_parse(const struct http_reply *reply, struct store_error *ret);
int azure_errno(const struct store_error *e);
bool azure_expired(const struct store_error *e);

/* azure.c: what the headers of an answer say of a blob; size from Content-Length.
 * -EBADMSG. */
int azure_parse_object(const struct http_reply *reply, struct object *ret);
/* Are these the headers of a directory? */
bool azure_is_folder(const struct http_reply *reply);

/* The blob "dir" that stands for the marker "dir/", its key to be freed.  -ENOENT: there
 * is none, or it is a file. */
int azure_head_folder(struct azure *az, const char *key, char **ret_bare,
		      struct object *ret, struct call *call);

/* The headers of a write: preconditions; metadata; tier, and the text of the tags.  The
 * texts live in azure_meta. */
struct azure_meta {
	char mtime[DATE_ISO_SIZE];
	char tags[64], tier[32];
};
void azure_cond_headers(struct request *rq, const struct cond *cond);
void azure_meta_headers(struct request *rq, const char *key, const struct put_opts *opts,
			struct azure_meta *meta);
void azure_place_headers(const struct azure *az, struct request *rq, const char *key,
			 struct azure_meta *meta);
/* Send with the tags of meta; if the account refuses them, without. */
int azure_send_tagged(struct azure *az, const struct request *rq,
		      const struct azure_meta *meta, struct http_reply *reply,
		      struct call *call);

/* The operations, by file. */
int azure_probe(struct backend *be, bool writes, struct call *call);
int azure_head(struct backend *be, const char *key, struct object *ret,
	       struct call *call);
int azure_list(struct backend *be, const struct list_query *q, char **token, list_fn *fn,
	       void *arg, struct call *call);
int azure_upload_begin(struct backend *be, const char *key, uint64_t size,
		       const struct put_opts *opts, char **ret_id, struct call *call);
int azure_upload_part(struct backend *be, const char *key, const char *id,
		      uint64_t obj_off, const struct source *src, struct part *part,
		      struct call *call);
int azure_upload_finish(struct backend *be, const char *key, const char *id,
			const struct part *parts, uint32_t n_parts, uint64_t size,
			const struct put_opts *opts, struct object *ret,
			struct call *call);
int azure_upload_abort(struct backend *be, const char *key, const char *id,
		       struct call *call);
int azure_copy(struct backend *be, const char *from, const struct object *from_obj,
	       const char *to, const struct put_opts *opts, struct object *ret,
	       struct call *call);
int azure_rename(struct backend *be, const char *from, const char *to, struct call *call);

/* Without the rename, which only a hierarchical namespace has. */
#endif
