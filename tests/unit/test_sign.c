/* test_sign.c - the four examples that Amazon publishes for S3's SigV4. */
#include "backends/sign.h"
#include "tests/unit/check.h"

#define SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define DATE   "20130524T000000Z"
#define HOST   "examplebucket.s3.amazonaws.com"

static void signature_is(const char *method, const char *path, const char *query,
			 const struct sign_header *headers, size_t n, const char *hash,
			 const char *want)
{
	struct secret secret = {0};
	struct sign_key key;
	CLEANUP_BUF struct buf auth;
	buf_init(&auth, 4096);
	CHECK_EQ(secret_set(&secret, SECRET, strlen(SECRET)), 0);
	CHECK_EQ(sign_key_derive(&secret, DATE, "us-east-1", "s3", &key), 0);
	secret_done(&secret);
	struct sign_request rq = {
		.method = method,
		.path = path,
		.query = query,
		.headers = headers,
		.n_headers = n,
		.payload_hash = hash,
		.date = DATE,
		.region = "us-east-1",
		.service = "s3",
		.access_key = "AKIAIOSFODNN7EXAMPLE",
	};
	CHECK_EQ(sign_v4(&key, &rq, &auth), 0);
	const char *at = strstr(auth.data, "Signature=");
	CHECK(at);
	CHECK_STR(at + 10, want);
	CHECK(!strncmp(auth.data, "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/",
		       49));
}

static void sign__a_ranged_get(void)
{
	struct sign_header headers[] = {{"host", HOST},
					{"range", "bytes=0-9"},
					{"x-amz-content-sha256", SIGN_EMPTY_HASH},
					{"x-amz-date", DATE}};
	signature_is("GET", "/test.txt", "", headers, 4, SIGN_EMPTY_HASH,
		     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void sign__a_put(void)
{
	uint8_t hash[SHA256_BYTES];
	char hex[SHA256_HEX_SIZE];
	CHECK_EQ(crypto_sha256("Welcome to Amazon S3.", 21, hash), 0);
	hex_encode(hash, sizeof hash, hex);
	struct sign_header headers[] = {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
					{"host", HOST},
					{"x-amz-content-sha256", hex},
					{"x-amz-date", DATE},
					{"x-amz-storage-class", "REDUCED_REDUNDANCY"}};
	signature_is("PUT", "/test%24file.text", "", headers, 5, hex,
		     "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

static void sign__a_query_without_a_value(void)
{
	struct sign_header headers[] = {{"host", HOST},
					{"x-amz-content-sha256", SIGN_EMPTY_HASH},
					{"x-amz-date", DATE}};
	signature_is("GET", "/", "lifecycle=", headers, 3, SIGN_EMPTY_HASH,
		     "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

static void sign__a_query_and_headers_with_blanks(void)
{
	struct sign_header headers[] = {{"host", "  " HOST "\t"},
					{"x-amz-content-sha256", SIGN_EMPTY_HASH},
					{"x-amz-date", DATE " "}};
	signature_is("GET", "/", "max-keys=2&prefix=J", headers, 3, SIGN_EMPTY_HASH,
		     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

int main(void)
{
	RUN(sign__a_ranged_get);
	RUN(sign__a_put);
	RUN(sign__a_query_without_a_value);
	RUN(sign__a_query_and_headers_with_blanks);
	return 0;
}
