/* test_s3.c - what only S3 has, against a real server.
 *
 * usage: MASTFS_TEST_URL=s3://bucket/prefix AWS_ENDPOINT_URL=.. AWS_ACCESS_KEY_ID=..
 *        AWS_SECRET_ACCESS_KEY=.. test_s3
 * Ends with 77 (skipped) if the URL is not given.  The bucket exists; the prefix is
 * emptied before and after.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backends/backend.h"
#include "backends/crypto.h"
#include "backends/s3.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

#define MIB ((size_t)1024 * 1024)

static struct backend *be;

static int source_of(const void *bytes, size_t n)
{
	int fd = memfd_create("source", MFD_CLOEXEC);
	CHECK(fd >= 0);
	for (size_t done = 0; done < n;) {
		ssize_t r = write(fd, (const char *)bytes + done, n - done);
		CHECK(r > 0);
		done += (size_t)r;
	}
	return fd;
}

static int put(const char *key, const void *bytes, size_t n, const struct put_opts *opts,
	       struct object *ret)
{
	CLEANUP_CLOSE int fd = source_of(bytes, n);
	struct source src = {.fd = fd, .len = n};
	return be->ops->put(be, key, &src, opts, ret, NULL);
}

struct into {
	char *bytes;
	uint64_t from, next;
};

static int keep(void *arg, uint64_t off, const void *bytes, size_t len)
{
	struct into *to = arg;
	CHECK_EQ(off, to->next);
	memcpy(to->bytes + (off - to->from), bytes, len);
	to->next += len;
	return 0;
}

static int get(const char *key, const struct object *obj, uint64_t off, uint64_t len,
	       char *ret)
{
	struct into to = {.bytes = ret, .from = off, .next = off};
	int r = be->ops->get(be, key, obj, off, len, keep, &to, NULL);
	if (!r)
		CHECK_EQ(to.next, off + len);
	return r;
}

static char *pattern(size_t n)
{
	char *p = malloc(n);
	CHECK(p);
	for (size_t i = 0; i < n; i++)
		p[i] = (char)(i * 2654435761u >> 13);
	return p;
}

static void check_bytes(const char *key, const struct object *obj, const char *want)
{
	CLEANUP_FREE char *got = malloc(obj->size);
	CHECK(got);
	CHECK_EQ(get(key, obj, 0, obj->size, got), 0);
	CHECK(!memcmp(got, want, obj->size));
}

static const char *const odd_keys[] = {
	"plain.fits",
	"a b+c%20d.fits",
	"dir/./dots",
	"q?x=1&y=2#z",
	"\xc3\xa9\xe2\x82\xac.fits",
	"~tilde_-.",
	"semi;colon,comma'\"",
	"jw01234/uncal.fits",
	"<angle>&amp;",
};

static void s3__any_legal_key_comes_back_as_it_went(void)
{
	for (size_t i = 0; i < sizeof odd_keys / sizeof odd_keys[0]; i++) {
		struct put_opts opts = {.mtime_ns = 1700000000123456789,
					.tag = "0123456789abcdef0123456789abcdef"};
		struct object made, seen;
		char got[5];
		int r = put(odd_keys[i], "hello", 5, &opts, &made);
		/* MinIO keeps files in a file system: it refuses "." as a name. */
		if (r == -EILSEQ && strstr(odd_keys[i], "/./"))
			continue;
		CHECK_EQ(r, 0);
		CHECK_EQ(be->ops->head(be, odd_keys[i], &seen, NULL), 0);
		CHECK_EQ(seen.size, 5);
		CHECK_EQ(seen.mtime_ns, 1700000000123456789);
		CHECK_STR(seen.tag, opts.tag);
		CHECK_STR(seen.etag, made.etag);
		CHECK_EQ(get(odd_keys[i], &seen, 1, 3, got), 0);
		CHECK(!memcmp(got, "ell", 3));
	}
}

struct seen {
	char keys[256][64];
	size_t n;
};

static int note(void *arg, const char *key, size_t len, const struct object *obj)
{
	struct seen *s = arg;
	CHECK(s->n < 256 && len < 64);
	memcpy(s->keys[s->n++], key, len + 1);
	CHECK(obj || key[len - 1] == '/');
	return 0;
}

static int list_all(const struct list_query *q, struct seen *s)
{
	char *token = NULL;
	int r;
	do
		r = be->ops->list(be, q, &token, note, s, NULL);
	while (!r && token);
	free(token);
	return r;
}

static void s3__a_listing_is_sorted_and_decoded(void)
{
	struct seen all = {.n = 0}, one = {.n = 0};
	struct list_query flat = {.prefix = "", .max = 3};
	struct list_query level = {.prefix = "", .delim = '/', .max = 2};
	CHECK_EQ(list_all(&flat, &all), 0);
	CHECK_EQ(list_all(&level, &one), 0);
	for (size_t i = 1; i < all.n; i++)
		CHECK(strcmp(all.keys[i - 1], all.keys[i]) < 0);
	for (size_t i = 0; i < sizeof odd_keys / sizeof odd_keys[0]; i++) {
		bool found = !!strstr(odd_keys[i], "/./");
		for (size_t j = 0; j < all.n; j++)
			found |= !strcmp(all.keys[j], odd_keys[i]);
		CHECK(found);
	}
	for (size_t i = 1; i < one.n; i++)
		CHECK(strcmp(one.keys[i - 1], one.keys[i]) < 0);
	bool dir = false;
	for (size_t j = 0; j < one.n; j++)
		dir |= !strcmp(one.keys[j], "jw01234/");
	CHECK(dir);
	struct seen none = {.n = 0};
	struct list_query missing = {.prefix = "no such dir/", .delim = '/'};
	CHECK_EQ(list_all(&missing, &none), 0);
	CHECK_EQ(none.n, 0);
}

static void s3__P1_a_read_is_of_one_version(void)
{
	struct put_opts opts = {0};
	struct object first, second;
	char got[8];
	CHECK_EQ(put("p1", "version1", 8, &opts, &first), 0);
	CHECK_EQ(put("p1", "version2", 8, &opts, &second), 0);
	CHECK_EQ(get("p1", &first, 0, 8, got), -ESTALE);
	CHECK_EQ(get("p1", &second, 0, 8, got), 0);
	CHECK_EQ(be->ops->del(be, "p1", NULL, NULL), 0);
	CHECK_EQ(get("p1", &second, 0, 8, got), -ESTALE);
	CHECK_EQ(be->ops->head(be, "p1", &first, NULL), -ENOENT);
}

static void s3__P5_a_write_is_conditional(void)
{
	struct object first, now;
	struct put_opts absent = {.cond.if_absent = true}, plain = {0};
	CHECK(be->caps & BACKEND_PUT_IF);
	CHECK_EQ(put("p5", "one", 3, &absent, &first), 0);
	CHECK_EQ(put("p5", "two", 3, &absent, &now), -EEXIST);
	struct put_opts over = {.cond.if_etag = first.etag};
	CHECK_EQ(put("p5", "two", 3, &over, &now), 0);
	CHECK_EQ(put("p5", "three", 5, &over, &now), -ESTALE);
	CHECK_EQ(put("p5", "", 0, &plain, &now), 0);
	CHECK_EQ(be->ops->head(be, "p5", &first, NULL), 0);
	CHECK_EQ(first.size, 0);
	/* refused before, or in the middle of, a large body */
	CLEANUP_FREE char *bytes = pattern(32 * MIB);
	CHECK_EQ(put("p5", bytes, 32 * MIB, &absent, &now), -EEXIST);
	CHECK_EQ(be->ops->del(be, "p5", NULL, NULL), 0);
	CHECK_EQ(put("p5", "four", 4, &over, &now), -ESTALE);
}

static int upload(const char *key, const char *bytes, size_t n, size_t part_size,
		  const struct put_opts *opts, struct object *ret)
{
	CLEANUP_CLOSE int fd = source_of(bytes, n);
	CLEANUP_FREE char *id = NULL;
	struct part parts[8];
	uint32_t n_parts = 0;
	CHECK_EQ(be->ops->upload_begin(be, key, n, opts, &id, NULL), 0);
	for (size_t off = 0; off < n; off += part_size, n_parts++) {
		struct source src = {.fd = fd,
				     .off = off,
				     .len = n - off < part_size ? n - off : part_size};
		parts[n_parts] = (struct part){.number = n_parts + 1, .size = src.len};
		CHECK_EQ(be->ops->upload_part(be, key, id, off, &src, &parts[n_parts],
					      NULL),
			 0);
	}
	int r = be->ops->upload_finish(be, key, id, parts, n_parts, n, opts, ret, NULL);
	struct object again;
	if (!r)
		CHECK_EQ(be->ops->upload_finish(be, key, id, parts, n_parts, n, opts,
						&again, NULL),
			 -ENXIO);
	CHECK_EQ(be->ops->upload_abort(be, key, id, NULL), 0);
	return r;
}

static void s3__an_upload_in_parts_is_whole(void)
{
	size_t n = 11 * MIB + 7;
	CLEANUP_FREE char *bytes = pattern(n);
	struct put_opts opts = {.mtime_ns = 1600000000000000001, .tag = "tag"};
	struct object obj;
	CHECK_EQ(upload("parts", bytes, n, 5 * MIB, &opts, &obj), 0);
	CHECK_EQ(obj.size, n);
	CHECK_EQ(obj.mtime_ns, opts.mtime_ns);
	CHECK_STR(obj.tag, "tag");
	check_bytes("parts", &obj, bytes);
	struct put_opts absent = {.cond.if_absent = true};
	if (be->caps & BACKEND_FINISH_IF)
		CHECK_EQ(upload("parts", bytes, 100, 5 * MIB, &absent, &obj), -EEXIST);
}

static void s3__an_upload_that_nobody_knows_is_ENXIO(void)
{
	CLEANUP_CLOSE int fd = source_of("x", 1);
	struct source src = {.fd = fd, .len = 1};
	struct part part = {.number = 1, .size = 1};
	CHECK_EQ(be->ops->upload_part(be, "k", "bm9uZQ", 0, &src, &part, NULL), -ENXIO);
	CHECK_EQ(be->ops->upload_abort(be, "k", "bm9uZQ", NULL), 0);
}

static int note_upload(void *arg, const char *key, const char *id, int64_t started_ns)
{
	const char *want = arg;
	if (!strcmp(id, want)) {
		CHECK_STR(key, "unfinished");
		CHECK(started_ns > 0);
		return -ECANCELED; /* seen: enough */
	}
	return 0;
}

static void s3__unfinished_uploads_are_listed(void)
{
	CLEANUP_FREE char *id = NULL;
	struct put_opts opts = {0};
	CHECK_EQ(be->ops->upload_begin(be, "unfinished", 0, &opts, &id, NULL), 0);
	CHECK_EQ(be->ops->upload_list(be, "unfinished", note_upload, id, NULL),
		 -ECANCELED);
	CHECK_EQ(be->ops->upload_abort(be, "unfinished", id, NULL), 0);
	CHECK_EQ(be->ops->upload_list(be, "unfinished", note_upload, id, NULL), 0);
}

static void s3__a_copy_has_its_own_metadata(void)
{
	struct put_opts opts = {.mtime_ns = 5, .tag = "new"}, plain = {0};
	struct object obj, copy, other;
	CHECK_EQ(put("copy from+%", "bytes", 5, &plain, &obj), 0);
	CHECK_EQ(be->ops->copy(be, "copy from+%", &obj, "copy to", &opts, &copy, NULL),
		 0);
	CHECK_EQ(copy.mtime_ns, 5);
	CHECK_STR(copy.tag, "new");
	check_bytes("copy to", &copy, "bytes");
	/* to itself: only the metadata change */
	CHECK_EQ(be->ops->copy(be, "copy to", &copy, "copy to", &opts, &copy, NULL), 0);
	CHECK_EQ(put("copy from+%", "other", 5, &plain, &other), 0);
	CHECK_EQ(be->ops->copy(be, "copy from+%", &obj, "copy to", &opts, &copy, NULL),
		 -ESTALE);
}

static void s3__a_large_copy_goes_in_parts(void)
{
	size_t n = 11 * MIB;
	CLEANUP_FREE char *bytes = pattern(n);
	struct put_opts opts = {.mtime_ns = 7000000000, .tag = "large"};
	struct object obj, copy;
	CHECK_EQ(put("large", bytes, n, &opts, &obj), 0);
	s3_set_copy_max_for_test(be, 5 * MIB);
	CHECK_EQ(be->ops->copy(be, "large", &obj, "large copy", &opts, &copy, NULL), 0);
	s3_set_copy_max_for_test(be, 5 * 1024 * (uint64_t)MIB);
	CHECK_EQ(copy.size, n);
	CHECK_EQ(copy.mtime_ns, 7000000000);
	check_bytes("large copy", &copy, bytes);
}

static void s3__amazons_checksum_is_taken(void)
{
	size_t n = 6 * MIB;
	CLEANUP_FREE char *bytes = pattern(n);
	struct put_opts opts = {0};
	struct object obj;
	s3_set_crc64_for_test(be, true);
	CHECK_EQ(put("crc64", bytes, n, &opts, &obj), 0);
	check_bytes("crc64", &obj, bytes);
	CHECK_EQ(upload("crc64 parts", bytes, n, 5 * MIB, &opts, &obj), 0);
	check_bytes("crc64 parts", &obj, bytes);
	s3_set_copy_max_for_test(be, 5 * MIB);
	CHECK_EQ(be->ops->copy(be, "crc64", &obj, "crc64 copy", &opts, &obj, NULL),
		 -ESTALE);
	CHECK_EQ(be->ops->head(be, "crc64", &obj, NULL), 0);
	CHECK_EQ(be->ops->copy(be, "crc64", &obj, "crc64 copy", &opts, &obj, NULL), 0);
	check_bytes("crc64 copy", &obj, bytes);
	s3_set_copy_max_for_test(be, 5 * 1024 * (uint64_t)MIB);
	s3_set_crc64_for_test(be, false);
}

static void s3__a_key_that_is_too_long_is_refused(void)
{
	char key[KEY_SIZE];
	struct object obj;
	memset(key, 'k', sizeof key - 1);
	key[sizeof key - 1] = '\0';
	CHECK_EQ(be->ops->head(be, key, &obj, NULL), -ENAMETOOLONG);
}

static int delete_it(void *arg, const char *key, size_t len, const struct object *obj)
{
	(void)arg;
	(void)len;
	if (obj)
		CHECK_EQ(be->ops->del(be, key, NULL, NULL), 0);
	return 0;
}

static void empty_it(void)
{
	struct list_query all = {.prefix = ""};
	char *token = NULL;
	do
		CHECK_EQ(be->ops->list(be, &all, &token, delete_it, NULL, NULL), 0);
	while (token);
}

static void s3__what_is_wrong_is_said(void)
{
	struct backend *other;
	struct backend_conf conf = {.url = "s3://no-such-bucket-at-all"};
	CHECK_EQ(s3_open(&conf, &other), 0);
	CHECK_EQ(other->ops->probe(other, false, NULL), -ENODEV);
	other->ops->free(other);
	conf = (struct backend_conf){.url = getenv("MASTFS_TEST_URL"),
				     .endpoint = "http://127.0.0.1:9"};
	CHECK_EQ(s3_open(&conf, &other), 0);
	CHECK_EQ(other->ops->probe(other, false, NULL), -EHOSTUNREACH);
	other->ops->free(other);
	conf.endpoint = "http://192.0.2.1:9000";
	CHECK_EQ(s3_open(&conf, &other), -EINVAL);
	conf = (struct backend_conf){.url = getenv("MASTFS_TEST_URL")};
	char *secret = strdup(getenv("AWS_SECRET_ACCESS_KEY"));
	CHECK(secret);
	CHECK(!setenv("AWS_SECRET_ACCESS_KEY", "wrong-wrong-wrong", 1));
	CHECK_EQ(s3_open(&conf, &other), 0);
	CHECK_EQ(backend_probe(other, false, NULL), -EACCES);
	other->ops->free(other);
	CHECK(!setenv("AWS_SECRET_ACCESS_KEY", secret, 1));
	free(secret);
	conf.anonymous = true;
	CHECK_EQ(s3_open(&conf, &other), 0);
	CHECK_EQ(other->ops->probe(other, false, NULL), -EACCES);
	other->ops->free(other);
}

int main(void)
{
	struct backend_conf conf = {.url = getenv("MASTFS_TEST_URL")};
	if (!conf.url)
		return 77;
	if (getenv("MASTFS_TEST_DEBUG"))
		log_set_level(LOG_LEVEL_DEBUG);
	CHECK_EQ(s3_open(&conf, &be), 0);
	CHECK_EQ(be->ops->probe(be, true, NULL), 0);
	CHECK(be->caps & BACKEND_WRITE);
	(void)printf("# put_if %d finish_if %d del_if %d\n",
		     !!(be->caps & BACKEND_PUT_IF), !!(be->caps & BACKEND_FINISH_IF),
		     !!(be->caps & BACKEND_DEL_IF));
	empty_it();
	RUN(s3__any_legal_key_comes_back_as_it_went);
	RUN(s3__a_listing_is_sorted_and_decoded);
	RUN(s3__P1_a_read_is_of_one_version);
	RUN(s3__P5_a_write_is_conditional);
	RUN(s3__an_upload_in_parts_is_whole);
	RUN(s3__an_upload_that_nobody_knows_is_ENXIO);
	RUN(s3__unfinished_uploads_are_listed);
	RUN(s3__a_copy_has_its_own_metadata);
	RUN(s3__a_large_copy_goes_in_parts);
	RUN(s3__amazons_checksum_is_taken);
	RUN(s3__a_key_that_is_too_long_is_refused);
	RUN(s3__what_is_wrong_is_said);
	empty_it();
	be->ops->free(be);
	return 0;
}
