/* crypto.c - see crypto.h. */
#include "backends/crypto.h"
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509_vfy.h>
#include "backends/util/banned.h"

struct digest {
	EVP_MD_CTX *ctx;
};

void digest_free(struct digest *d)
{
	if (!d)
		return;
	EVP_MD_CTX_free(d->ctx);
	free(d);
}

int digest_new(enum digest_kind kind, struct digest **ret)
{
	struct digest *d = calloc(1, sizeof *d);
	if (!d)
		return -ENOMEM;
	d->ctx = EVP_MD_CTX_new();
	if (!d->ctx) {
		digest_free(d);
		return -ENOMEM;
	}
	const EVP_MD *md = kind == DIGEST_SHA256 ? EVP_sha256() : EVP_md5();
	if (!EVP_DigestInit_ex(d->ctx, md, NULL)) {
		digest_free(d);
		return -ENOTSUP;
	}
	*ret = d;
	return 0;
}

int digest_add(struct digest *d, const void *bytes, size_t n)
{
	return EVP_DigestUpdate(d->ctx, bytes, n) ? 0 : -ENOTSUP;
}

int digest_end(struct digest *d, uint8_t *ret)
{
	return EVP_DigestFinal_ex(d->ctx, ret, NULL) ? 0 : -ENOTSUP;
}

int crypto_sha256(const void *bytes, size_t n, uint8_t ret[static SHA256_BYTES])
{
	return EVP_Digest(bytes, n, ret, NULL, EVP_sha256(), NULL) ? 0 : -ENOTSUP;
}

int crypto_md5(const void *bytes, size_t n, uint8_t ret[static MD5_BYTES])
{
	return EVP_Digest(bytes, n, ret, NULL, EVP_md5(), NULL) ? 0 : -ENOTSUP;
}

int crypto_hmac_sha256(const void *key, size_t key_len, const void *bytes, size_t n,
		       uint8_t ret[static SHA256_BYTES])
{
	if (key_len > INT_MAX)
		return -EINVAL;
	unsigned int len = SHA256_BYTES;
	return HMAC(EVP_sha256(), key, (int)key_len, bytes, n, ret, &len) ? 0 : -ENOTSUP;
}

/* Asked for a passphrase: there is none, and no terminal to ask at. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static int read_rsa_key(const char *pem, size_t n, EVP_PKEY **ret)
{
	if (n > INT_MAX)
		return -EBADMSG;
	BIO *bio = BIO_new_mem_buf(pem, (int)n);
	if (!bio)
		return -ENOMEM;
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	ERR_clear_error();
	if (!key || EVP_PKEY_base_id(key) != EVP_PKEY_RSA) {
		EVP_PKEY_free(key);
		return -EBADMSG;
	}
	*ret = key;
	return 0;
}

int crypto_rsa_sign(const char *pem, size_t pem_len, const void *bytes, size_t n,
		    struct buf *ret)
{
	EVP_PKEY *key;
	int r = read_rsa_key(pem, pem_len, &key);
	if (r)
		return r;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t len = (size_t)EVP_PKEY_size(key);
	unsigned char *signature = malloc(len);
	if (!ctx || !signature)
		r = -ENOMEM;
	else if (EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) != 1 ||
		 EVP_DigestSign(ctx, signature, &len, bytes, n) != 1)
		r = -ENOTSUP;
	else
		buf_add(ret, signature, len);
	ERR_clear_error();
	free(signature);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	return r ? r : buf_error(ret);
}

int crypto_random(void *ret, size_t n)
{
	if (n > INT_MAX)
		return -EINVAL;
	return RAND_bytes(ret, (int)n) == 1 ? 0 : -EIO;
}

void crypto_wipe(void *bytes, size_t n)
{
	OPENSSL_cleanse(bytes, n);
}

enum certificate crypto_certificate_fault(long verified)
{
	switch (verified) {
	case X509_V_OK:
		return CERTIFICATE_GOOD;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return CERTIFICATE_EXPIRED;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return CERTIFICATE_NOT_YET;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return CERTIFICATE_WRONG_NAME;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		return CERTIFICATE_UNKNOWN_CA;
	default:
		return CERTIFICATE_OTHER;
	}
}

void hex_encode(const void *bytes, size_t n, char *ret)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = bytes;
	for (size_t i = 0; i < n; i++) {
		*ret++ = digits[p[i] >> 4];
		*ret++ = digits[p[i] & 15];
	}
	*ret = '\0';
}

/* In whole groups of three bytes, so that only the last one is padded. */
void base64_encode(struct buf *out, const void *bytes, size_t n)
{
	const unsigned char *p = bytes;
	while (n) {
		unsigned char block[65];
		size_t step = n < 48 ? n : 48;
		int len = EVP_EncodeBlock(block, p, (int)step);
		buf_add(out, block, (size_t)len);
		p += step;
		n -= step;
	}
}

void base64url_encode(struct buf *out, const void *bytes, size_t n)
{
	size_t start = out->len;
	base64_encode(out, bytes, n);
	while (out->len > start && out->data[out->len - 1] == '=')
		out->data[--out->len] = '\0';
	for (char *p = out->data + start; *p; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
}

static bool base64_digit(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c >= '0' && c <= '9') || c == '+' || c == '/';
}

int base64_decode(struct buf *out, const char *s, size_t n)
{
	if (n % 4)
		return -EBADMSG;
	size_t pad = n && s[n - 1] == '=' ? 1 + (s[n - 2] == '=') : 0;
	for (size_t i = 0; i < n - pad; i++)
		if (!base64_digit(s[i]))
			return -EBADMSG;
	for (size_t i = 0; i < n; i += 4) {
		unsigned char three[3];
		if (EVP_DecodeBlock(three, (const unsigned char *)s + i, 4) != 3)
			return -EBADMSG;
		buf_add(out, three, i + 4 == n ? 3 - pad : 3);
	}
	return buf_error(out);
}

int secret_set(struct secret *s, const char *bytes, size_t n)
{
	char *copy = malloc(n + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, bytes, n);
	copy[n] = '\0';
	secret_done(s);
	*s = (struct secret){.bytes = copy, .len = n};
	return 0;
}

void secret_done(struct secret *s)
{
	if (s->bytes)
		crypto_wipe(s->bytes, s->len);
	free(s->bytes);
	*s = (struct secret){0};
}
