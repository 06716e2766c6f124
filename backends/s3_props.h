/* s3_props.h - what others have set on an object, so that a copy of it has that, too: how
 * it is to be read (type, encoding, caching), their metadata, its tags, its class and its
 * encryption.  Private to s3*.c.
 *
 * Costs one HEAD a copy; and one GET of the tags where the copy is in parts, to which the
 * store copies none, and some of them are not ours.  Access lists and locks would cost
 * more, and are as the bucket has them.
 */
#ifndef BACKENDS_S3_PROPS_H
#define BACKENDS_S3_PROPS_H
#include "backends/s3_request.h"

enum {
	S3_PROPS_OWN = 12, /* headers that a copy has without these */
	S3_PROPS_MAX = REQUEST_HEADERS_MAX - S3_PROPS_OWN,
	S3_PROPS_TIMES = 3, /* keys of others that say the time of change */
};

struct s3_props {
	struct http_reply head; /* the values below lie in it */
	struct http_header headers[S3_PROPS_MAX];
	size_t n;
	char times[S3_PROPS_TIMES][DATE_ISO_SIZE];
	size_t n_times;
	bool typed;	   /* content-type is one of the headers */
	bool ours;	   /* mastfs has written it */
	const char *class; /* NULL = STANDARD */
	const char *sse, *sse_kms_key, *bucket_key; /* NULL = as the bucket has it */
	int n_tags;	    /* -1 = not told: none, or we may not know */
	bool keeps_tags;    /* the store is to copy them */
	struct buf tagging; /* else what it is told; "" = ours alone */
};
void s3_props_init(struct s3_props *p);
void s3_props_done(struct s3_props *p);
#define CLEANUP_PROPS CLEANUP(s3_props_done)

/* Of the version from_obj at from, for a copy to to.  ret is initialised.  -ESTALE: it is
 * another version.  -EOPNOTSUPP, logged: there is something that cannot be sent again. */
int s3_props_read(struct s3 *s3, const char *from, const struct object *from_obj,
		  const char *to, bool in_parts, const struct put_opts *opts,
		  struct s3_props *ret, struct call *call);
#endif
