/* sums.h - the checksums of bytes that are about to be uploaded, in one reading.
 */
#ifndef BACKENDS_SUMS_H
#define BACKENDS_SUMS_H
#include <stdbool.h>
#include <stdint.h>
#include "backends/backend.h"
#include "backends/crypto.h"

struct sums {
	/* which ones: set by the caller */
	bool want_md5, want_sha256, want_crc32c, want_crc64nvme;
	/* the answer */
	uint8_t md5[MD5_BYTES], sha256[SHA256_BYTES];
	uint32_t crc32c;
	uint64_t crc64nvme;
};

/* Notes src->sum, too.  -ENOTSUP: MD5 was asked for and this host has none (FIPS); else
 * what reading failed with, -EIO if there are fewer bytes than src says. */
int sums_of_source(const struct source *src, struct sums *s);
#endif
