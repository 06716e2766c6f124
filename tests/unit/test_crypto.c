/* test_crypto.c - published vectors (FIPS 180-4, RFC 1321, RFC 4231, RFC 4648). */
#include "backends/crypto.h"
#include <errno.h>
#include "tests/unit/check.h"
#include "tests/unit/rsa_key.h"

static void hex_is(const uint8_t *bytes, size_t n, const char *want)
{
	char hex[SHA256_HEX_SIZE];
	hex_encode(bytes, n, hex);
	CHECK_STR(hex, want);
}

static void crypto__digests_are_the_published_ones(void)
{
	uint8_t h[DIGEST_BYTES_MAX];
	CHECK_EQ(crypto_sha256("abc", 3, h), 0);
	hex_is(h, SHA256_BYTES,
	       "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	CHECK_EQ(crypto_sha256("", 0, h), 0);
	hex_is(h, SHA256_BYTES,
	       "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	CHECK_EQ(crypto_md5("message digest", 14, h), 0);
	hex_is(h, MD5_BYTES, "f96b697d7cb7938d525a2f31aaf161d0");
}

static void crypto__digest_in_pieces_is_the_same(void)
{
	static const enum digest_kind kinds[] = {DIGEST_SHA256, DIGEST_MD5};
	for (int i = 0; i < 2; i++) {
		CLEANUP_DIGEST struct digest *d = NULL;
		uint8_t one[DIGEST_BYTES_MAX], two[DIGEST_BYTES_MAX];
		CHECK_EQ(digest_new(kinds[i], &d), 0);
		CHECK_EQ(digest_add(d, "mess", 4), 0);
		CHECK_EQ(digest_add(d, "", 0), 0);
		CHECK_EQ(digest_add(d, "age", 3), 0);
		CHECK_EQ(digest_end(d, one), 0);
		CHECK_EQ(i ? crypto_md5("message", 7, two)
			   : crypto_sha256("message", 7, two),
			 0);
		CHECK(!memcmp(one, two, i ? MD5_BYTES : SHA256_BYTES));
	}
}

static void crypto__hmac_is_the_published_one(void)
{
	uint8_t h[SHA256_BYTES];
	CHECK_EQ(crypto_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, h), 0);
	hex_is(h, sizeof h,
	       "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

static void crypto__base64_goes_both_ways(void)
{
	static const char *const pairs[][2] = {
		{"", ""},
		{"f", "Zg=="},
		{"fo", "Zm8="},
		{"foo", "Zm9v"},
		{"foob", "Zm9vYg=="},
		{"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"},
	};
	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
		CLEANUP_BUF struct buf a, b;
		buf_init(&a, 64);
		buf_init(&b, 64);
		base64_encode(&a, pairs[i][0], strlen(pairs[i][0]));
		CHECK_STR(a.data, pairs[i][1]);
		CHECK_EQ(base64_decode(&b, a.data, a.len), 0);
		CHECK_STR(b.data, pairs[i][0]);
	}
}

static void crypto__long_base64_has_no_seam(void)
{
	CLEANUP_BUF struct buf a, b;
	char bytes[200];
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (char)(i * 7);
	buf_init(&a, 1024);
	buf_init(&b, 1024);
	base64_encode(&a, bytes, sizeof bytes);
	CHECK_EQ(a.len, 268);
	CHECK_EQ(base64_decode(&b, a.data, a.len), 0);
	CHECK_EQ(b.len, sizeof bytes);
	CHECK(!memcmp(b.data, bytes, sizeof bytes));
}

static void crypto__what_is_not_base64_is_refused(void)
{
	static const char *const bad[] = {"Zg=",  "Zg",	  "Z===",     "====", "Zm9v\n===",
					  "Zm 9", "=Zg=", "Zg==Zg==", "-_-_"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		CLEANUP_BUF struct buf b;
		buf_init(&b, 64);
		CHECK_EQ(base64_decode(&b, bad[i], strlen(bad[i])), -EBADMSG);
	}
}

static void crypto__base64_for_urls_has_no_padding(void)
{
	CLEANUP_BUF struct buf b;
	buf_init(&b, 64);
	buf_adds(&b, "+/=");
	base64url_encode(&b, "\xfb\xef\xff\xfe", 4);
	/* what stood there before stays */
	CHECK_STR(b.data, "+/=--___g");
}

static void crypto__rsa_signs_as_openssl_does(void)
{
	/* printf signed | openssl dgst -sha256 -sign key.pem */
	static const char want[] =
		"59ef38e88d576a4414b063a48a4f196dcab65d1f40b6b26b86da6960b41ea7ee"
		"9d02a9806de6fcbc0693926de53e3591aaa46c24a5c8d455206c1e0c4f201170"
		"676fda066d5550450d130249a84e300d50d68e77e432c4fcb231047617f59d8c"
		"c7e3e52d93c1995d32265387228eb7a08e947949608f76a75a11b8523210a55b";
	static const char key[] = TEST_RSA_KEY("\n");
	CLEANUP_BUF struct buf b;
	char hex[257];
	buf_init(&b, 1024);
	CHECK_EQ(crypto_rsa_sign(key, strlen(key), "signed", 6, &b), 0);
	CHECK_EQ(b.len, 128);
	hex_encode(b.data, b.len, hex);
	CHECK_STR(hex, want);
}

static void crypto__what_is_no_rsa_key_is_refused(void)
{
	static const char *const bad[] = {
		"",
		"no key",
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		/* of an elliptic curve */
		"-----BEGIN PRIVATE KEY-----\n"
		"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg7nNXnv7UtD70Fbb3\n"
		"6eyhmJeyAeQ9BVsJtIEfOY2/mtyhRANCAAR8ID0KZa5cpRxPjJv8/0vqLuRrIiib\n"
		"sKiBHc9E3BYFLAVG8M7WhNcj0aPzEuyoKCmEw3+8pILFqX/c0AFGR6Xq\n"
		"-----END PRIVATE KEY-----\n",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		CLEANUP_BUF struct buf b;
		buf_init(&b, 1024);
		CHECK_EQ(crypto_rsa_sign(bad[i], strlen(bad[i]), "x", 1, &b), -EBADMSG);
		CHECK_EQ(b.len, 0);
	}
}

static void crypto__random_bytes_differ(void)
{
	uint8_t a[16], b[16];
	CHECK_EQ(crypto_random(a, sizeof a), 0);
	CHECK_EQ(crypto_random(b, sizeof b), 0);
	CHECK(memcmp(a, b, sizeof a));
}

static void crypto__a_secret_is_replaced_and_gone(void)
{
	struct secret s = {0};
	CHECK_EQ(secret_set(&s, "first", 5), 0);
	CHECK_EQ(secret_set(&s, "second", 6), 0);
	CHECK_STR(s.bytes, "second");
	secret_done(&s);
	CHECK(!s.bytes && !s.len);
	secret_done(&s);
}

int main(void)
{
	RUN(crypto__digests_are_the_published_ones);
	RUN(crypto__digest_in_pieces_is_the_same);
	RUN(crypto__hmac_is_the_published_one);
	RUN(crypto__base64_goes_both_ways);
	RUN(crypto__long_base64_has_no_seam);
	RUN(crypto__what_is_not_base64_is_refused);
	RUN(crypto__base64_for_urls_has_no_padding);
	RUN(crypto__rsa_signs_as_openssl_does);
	RUN(crypto__what_is_no_rsa_key_is_refused);
	RUN(crypto__random_bytes_differ);
	RUN(crypto__a_secret_is_replaced_and_gone);
	return 0;
}
