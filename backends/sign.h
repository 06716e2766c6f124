/* sign.h - Amazon's Signature Version 4.  Pure: no clock, no environment.
 *
 * S3's dialect: the path is encoded once and never normalised.
 */
#ifndef BACKENDS_SIGN_H
#define BACKENDS_SIGN_H
#include <stddef.h>
#include "backends/crypto.h"
#include "backends/util/buf.h"

#define SIGN_UNSIGNED	"UNSIGNED-PAYLOAD"
#define SIGN_EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* The derived key; good for one day, region and service. */
struct sign_key {
	uint8_t bytes[SHA256_BYTES];
};
/* date: the first 8 characters are used, YYYYMMDD. */
int sign_key_derive(const struct secret *secret, const char *date, const char *region,
		    const char *service, struct sign_key *ret);

struct sign_header {
	const char *name, *value; /* borrowed; the name in lower case */
};

struct sign_request {
	const char *method;
	const char *path;  /* encoded, as sent */
	const char *query; /* encoded and sorted, as sent; "" = none */
	const struct sign_header
		*headers; /* those to sign, sorted by name; host is one */
	size_t n_headers;
	const char *payload_hash; /* hex digits, or SIGN_UNSIGNED */
	const char *date;	  /* as in x-amz-date: YYYYMMDDTHHMMSSZ */
	const char *region, *service, *access_key;
};

/* Append the value of the Authorization header. */
int sign_v4(const struct sign_key *key, const struct sign_request *rq, struct buf *ret);
#endif
