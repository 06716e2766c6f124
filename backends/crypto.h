/* crypto.h - digests, encodings, randomness, secrets.  The only user of OpenSSL.
 *
 * Functions that return int return 0 or a negative errno: -ENOMEM, or -ENOTSUP
 * where the library refuses an algorithm (MD5 on a FIPS host).
 */
#ifndef BACKENDS_CRYPTO_H
#define BACKENDS_CRYPTO_H
#include <stddef.h>
#include <stdint.h>
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"

enum { SHA256_BYTES = 32, MD5_BYTES = 16, DIGEST_BYTES_MAX = 32 };
enum { SHA256_HEX_SIZE = 2 * SHA256_BYTES + 1 };

/* A digest over bytes that come in pieces. */
enum digest_kind { DIGEST_SHA256, DIGEST_MD5 };
struct digest;
int digest_new(enum digest_kind kind, struct digest **ret);
int digest_add(struct digest *d, const void *bytes, size_t n);
/* ret: SHA256_BYTES or MD5_BYTES of room.  Once. */
int digest_end(struct digest *d, uint8_t *ret);
void digest_free(struct digest *d); /* NULL is fine */

int crypto_sha256(const void *bytes, size_t n, uint8_t ret[static SHA256_BYTES]);
int crypto_md5(const void *bytes, size_t n, uint8_t ret[static MD5_BYTES]);
int crypto_hmac_sha256(const void *key, size_t key_len, const void *bytes, size_t n,
		       uint8_t ret[static SHA256_BYTES]);
/* Append the signature RS256 (PKCS #1 1.5 over SHA-256).  pem: a private RSA key
 * without a passphrase.  -EBADMSG: it is none. */
int crypto_rsa_sign(const char *pem, size_t pem_len, const void *bytes, size_t n,
		    struct buf *ret);
int crypto_random(void *ret, size_t n);
/* Not removed by the optimiser. */
void crypto_wipe(void *bytes, size_t n);

/* What OpenSSL's verdict on a server's certificate comes to. */
enum certificate {
	CERTIFICATE_GOOD,
	CERTIFICATE_EXPIRED,
	CERTIFICATE_NOT_YET,
	CERTIFICATE_UNKNOWN_CA,
	CERTIFICATE_WRONG_NAME,
	CERTIFICATE_OTHER,
};
enum certificate crypto_certificate_fault(long verified);

/* Lower-case hex digits and a NUL: room for 2 * n + 1. */
void hex_encode(const void *bytes, size_t n, char *ret);
void base64_encode(struct buf *out, const void *bytes, size_t n);
/* The alphabet for URLs, without padding: as in a JSON Web Token. */
void base64url_encode(struct buf *out, const void *bytes, size_t n);
/* Standard alphabet with padding, nothing else.  -EBADMSG. */
int base64_decode(struct buf *out, const char *s, size_t n);

/* Bytes that are wiped before they are freed.  There is no printf for them. */
struct secret {
	char *bytes; /* owned, NUL-terminated; NULL = none */
	size_t len;
};
int secret_set(struct secret *s, const char *bytes, size_t n);
void secret_done(struct secret *s);

static inline void digest_cleanup_(struct digest **d)
{
	digest_free(*d);
}
#define CLEANUP_DIGEST CLEANUP(digest_cleanup_)
#define CLEANUP_SECRET CLEANUP(secret_done)
#endif
