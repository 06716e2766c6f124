/* s3_error.h - what an S3 answer that is no success means.  Private to s3*.c.  Pure. */
#ifndef BACKENDS_S3_ERROR_H
#define BACKENDS_S3_ERROR_H
#include <stdbool.h>
#include "backends/request.h"

/* status: of the reply, or what it should have been for a 200 with an error. */
int s3_error_parse(const struct http_reply *reply, struct store_error *ret);
/* By backend.h's list.  A 404 that no store sent is -EREMOTEIO. */
int s3_errno(const struct store_error *e);
bool s3_keys_expired(const struct store_error *e);
#endif
