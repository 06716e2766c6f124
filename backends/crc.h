/* crc.h - the two checksums that stores and the cache use.  Pure.
 *
 * Both start at 0 and chain: crc(crc(0, a), b) is the checksum of a and b.
 */
#ifndef BACKENDS_CRC_H
#define BACKENDS_CRC_H
#include <stddef.h>
#include <stdint.h>

/* Castagnoli; by the processor's instruction where it has one. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t n);
/* Of two pieces one after the other, from that of each and the second's length. */
uint32_t crc32c_combine(uint32_t a, uint32_t b, uint64_t b_len);
/* What S3 calls CRC64NVME and Azure x-ms-content-crc64; in the same way. */
uint64_t crc64nvme(uint64_t crc, const void *bytes, size_t n);
uint64_t crc64nvme_combine(uint64_t a, uint64_t b, uint64_t b_len);

/* By table alone, so that a test can compare the two ways. */
uint32_t crc32c_by_table(uint32_t crc, const void *bytes, size_t n);
uint64_t crc64nvme_by_table(uint64_t crc, const void *bytes, size_t n);
#endif
