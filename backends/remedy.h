/* remedy.h - what to do about it: from an error to its cause, from that to a command.
 *
 * The one place where what stores say of a failure becomes advice.
 */
#ifndef BACKENDS_REMEDY_H
#define BACKENDS_REMEDY_H
#include "backends/backend.h"
#include "backends/report.h"
#include "backends/request.h"

/* What was to be done. */
enum wish {
	WISH_LIST,
	WISH_READ,
	WISH_WRITE,
	WISH_PARTS,
	WISH_TAG,
	WISH_DELETE,
	WISH_COUNT,
};

enum trouble {
	TROUBLE_KEYS,	   /* unknown, or their secret is wrong */
	TROUBLE_EXPIRED,   /* they were good */
	TROUBLE_CLOCK,	   /* ours or the server's */
	TROUBLE_REGION,	   /* the bucket is in another one */
	TROUBLE_NO_BUCKET, /* there is none of this name */
	TROUBLE_DENIED,	   /* they are good, and may not */
	TROUBLE_ARCHIVED,
	TROUBLE_FULL,
	TROUBLE_UNREACHED, /* nobody answers, or in vain */
	TROUBLE_OTHER,
};

/* Pure.  e: what the store said last; its status is 0 if it said nothing. */
enum trouble trouble_of(int error, const struct store_error *e);
/* Is it about who we are, not about what we may? */
bool trouble_is_identity(enum trouble t);

/* Set the remedy of the finding to come.  conf: of the store itself. */
void remedy_tell(struct report *r, const struct backend_conf *conf, enum trouble t,
		 enum wish wish, const struct store_error *e);
/* Unfinished uploads lie about. */
void remedy_tell_uploads(struct report *r, const struct backend_conf *conf);
/* There were no credentials at all. */
void remedy_tell_keys(struct report *r, const struct backend_conf *conf);
#endif
