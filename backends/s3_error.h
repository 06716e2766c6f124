/* s3_error.h - what an S3 answer that is no success means.  Private to s3*.c.  Pure. */
#ifndef BACKENDS_S3_ERROR_H
#define BACKENDS_S3_ERROR_H
#include <stdbool.h>
#include "backends/http.h"

struct s3_error {
	int status;
	char code[64];	   /* "NoSuchKey"; "" = the answer had no body */
	char message[256]; /* the server's words */
	char region[64];   /* where the bucket is; "" = not told, or not a region */
};
/* status: of the reply, or what it should have been for a 200 with an error. */
void s3_error_parse(const struct http_reply *reply, struct s3_error *ret);
/* By backend.h's list. */
int s3_errno(const struct s3_error *e);
bool s3_keys_expired(const struct s3_error *e);
/* Is the error one that the wrapper may retry, or that callers expect? */
bool s3_errno_is_transient(int error);
bool s3_errno_is_expected(int error);
#endif
