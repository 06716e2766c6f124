/* s3.h - Amazon S3 and the stores that speak its protocol. */
#ifndef BACKENDS_S3_H
#define BACKENDS_S3_H
#include "backends/backend.h"
#include "backends/profile.h"

/* No request is sent but for credentials.  -EINVAL, -EACCES (no credentials),
 * logged. */
int s3_open(const struct backend_conf *conf, struct backend **ret);

/* The endpoint that is given, or that the environment or the profile has, in Amazon's
 * order, the informal S3_ENDPOINT_URL last; NULL: Amazon's own.  Borrowed. */
const char *s3_endpoint(const char *given, const struct profile *profile);

/* Tests only: copy objects above this size in parts of at most this size. */
void s3_set_copy_max_for_test(struct backend *be, uint64_t bytes);
/* Tests only: as if the probe had found that the store takes CRC64NVME, or not. */
void s3_set_crc64_for_test(struct backend *be, bool on);
#endif
