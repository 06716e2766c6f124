/* azure_sign.h - Azure's SharedKey signature.  Pure: no clock, no environment. */
#ifndef BACKENDS_AZURE_SIGN_H
#define BACKENDS_AZURE_SIGN_H
#include "backends/crypto.h"
#include "backends/http.h"
#include "backends/url.h"

struct azure_sign_request {
	const char *method, *account;
	const char *path;		/* encoded, as sent */
	const struct url_param *params; /* not encoded; names in lower case */
	size_t n_params;
	const struct http_header *headers; /* all of them; names in lower case */
	size_t n_headers;
	uint64_t length; /* of the body */
};

/* Append what is signed.  -E2BIG: more headers or parameters than any request has. */
int azure_string_to_sign(const struct azure_sign_request *rq, struct buf *ret);
/* Append the value of the Authorization header. */
int azure_sign(const struct secret *key, const struct azure_sign_request *rq,
	       struct buf *ret);
#endif
