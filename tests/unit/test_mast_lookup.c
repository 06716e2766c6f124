/* test_mast_lookup.c - names without a rule, what is remembered, and what is opened. */
#include "backends/mast_lookup.h"
#include <errno.h>
#include "backends/mast.h"
#include "backends/mast_seen.h"
#include "backends/util/cleanup.h"
#include "tests/unit/bucket.h"
#include "tests/unit/canned.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

#define KNOWN "jw02731/jw02731001001/x.fits"

struct archive {
	struct bucket bucket;
	struct backend *be;
};

static void archive_init(struct archive *a, const struct backend_conf *conf)
{
	bucket_init(&a->bucket);
	bucket_set(&a->bucket, "jwst/public/" KNOWN, "x", NULL);
	CHECK_EQ(mast_new(&a->bucket.be, conf, &a->be), 0);
}

static void archive_done(struct archive *a)
{
	backend_free(a->be);
	bucket_done(&a->bucket);
}

static int asked(struct archive *a)
{
	return atomic_exchange(&a->bucket.heads, 0) +
	       atomic_exchange(&a->bucket.lists, 0);
}

static int head(struct archive *a, const char *path, struct object *ret)
{
	return backend_head(a->be, path, ret, NULL);
}

static void mast__a_url_has_nothing_more(void)
{
	static const char *const bad[] = {"mast:x", "mast://x", "mast", "mast:/x",
					  "mast:///jwst"};
	struct backend *be;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct backend_conf conf = {.url = bad[i]};
		CHECK_EQ(mast_open(&conf, &be), -EINVAL);
	}
	struct backend_conf conf = {.url = "mast:", .mast_bucket = "a/b"};
	CHECK_EQ(mast_open(&conf, &be), -EINVAL);
	conf.mast_bucket = NULL;
	conf.mast_endpoint = "nonsense";
	CHECK_EQ(mast_open(&conf, &be), -EINVAL);
	/* whatever the user's own store is */
	CHECK(!setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1", 1));
	CHECK(!setenv("AWS_PROFILE", "there-is-none", 1));
	conf.mast_endpoint = NULL;
	for (conf.url = "mast:///"; *conf.url != ':'; conf.url = ":") {
		CHECK_EQ(mast_open(&conf, &be), 0);
		CHECK_STR(be->name, "mast:");
		backend_free(be);
	}
	CHECK(!unsetenv("AWS_ENDPOINT_URL"));
	CHECK(!unsetenv("AWS_PROFILE"));
}

#define URI    "mast:JWST/product/odd_name.fits"
#define ODD_AT "jwst/public/jw01234/odd/odd_name.fits"

static int parsed(const char *text, char key[KEY_SIZE])
{
	return mast_lookup_parse(text, strlen(text), "odd_name.fits", key);
}

static void mast_lookup__hostile_answers_are_not_believed(void)
{
	char key[KEY_SIZE];
	CHECK_EQ(parsed("{\"" URI "\":{\"path\":\"/" ODD_AT "\"}}", key), 0);
	CHECK_STR(key, ODD_AT);
	CHECK_EQ(parsed("{\"" URI "\":{\"path\":\"" ODD_AT "\"}}", key), 0);
	CHECK_EQ(parsed("{\"" URI "\":{\"path\":null}}", key), -ENOENT);
	static const char *const bad[] = {
		"",
		"{}",
		"[]",
		"<html>",
		"{\"" URI "\":null}",
		"{\"other\":{\"path\":\"/" ODD_AT "\"}}",
		"{\"" URI "\":{\"path\":\"/etc/odd_name.fits\"}}",
		"{\"" URI "\":{\"path\":\"/jwst/public/../odd_name.fits\"}}",
		"{\"" URI "\":{\"path\":\"//" ODD_AT "\"}}",
		"{\"" URI "\":{\"path\":\"/jwst/private/odd_name.fits\"}}",
		"{\"" URI "\":{\"path\":\"/jwst/public/jw01234/other.fits\"}}",
		"{\"" URI "\":{\"path\":\"/jwst/public/jw01234/\"}}",
		"{\"" URI "\":{\"path\":\"http://evil/odd_name.fits\"}}",
		"{\"" URI "\":{\"path\":\"\"}}",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		int r = parsed(bad[i], key);
		if (r != -EBADMSG && strcmp(bad[i], "{\"" URI "\":null}") != 0)
			(void)fprintf(stderr, "%s: %d\n", bad[i], r);
		CHECK(r == -EBADMSG || r == -ENOENT);
	}
}

static struct backend_conf conf_of(struct server *s)
{
	/* the URL without its path */
	s->url[strlen("http://") + strcspn(s->url + strlen("http://"), "/")] = '\0';
	return (struct backend_conf){.mast_lookup = true, .mast_service = s->url};
}

#define ANSWER(body) "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" body

static void mast_lookup__a_stray_name_is_asked_for_once(void)
{
	struct server s = {.answers = {ANSWER("{\"" URI "\":{\"path\":\"/" ODD_AT "\"}}"),
				       ANSWER("{\"mast:JWST/product/no.fits\":"
					      "{\"path\":null}}")}};
	struct archive a;
	struct object obj;
	server_start(&s, NULL);
	struct backend_conf conf = conf_of(&s);
	archive_init(&a, &conf);
	bucket_set(&a.bucket, ODD_AT, "odd", NULL);
	for (int turn = 0; turn < 2; turn++) {
		CHECK_EQ(head(&a, "some/odd_name.fits", &obj), 0);
		CHECK_EQ(obj.size, 3);
		CHECK_EQ(s.served, 1);
	}
	CHECK(strstr(s.seen, "GET /api/v0.1/path_lookup/"
			     "?uri=mast%3AJWST%2Fproduct%2Fodd_name.fits"
			     "&use_cloud_path=True HTTP/1.1\r\n"));
	CHECK_EQ(asked(&a), 1);
	for (int turn = 0; turn < 2; turn++) {
		CHECK_EQ(head(&a, "some/no.fits", &obj), -ENOENT);
		CHECK_EQ(s.served, 2);
	}
	CHECK_EQ(asked(&a), 0);
	/* what has a rule is not asked for there */
	CHECK_EQ(head(&a, KNOWN, &obj), 0);
	server_stop(&s);
	archive_done(&a);
}

static void mast_lookup__off_asks_nobody(void)
{
	struct archive a;
	struct object obj;
	struct backend_conf off = {0};
	archive_init(&a, &off);
	CHECK_EQ(head(&a, "some/odd_name.fits", &obj), -ENOENT);
	CHECK_EQ(asked(&a), 0);
	archive_done(&a);
}

static void mast_lookup__a_service_that_is_ill_is_no_absence(void)
{
	struct server s = {.answers = {"HTTP/1.1 503 X\r\n\r\n", ANSWER("<html>")}};
	struct archive a;
	struct object obj;
	server_start(&s, NULL);
	struct backend_conf conf = conf_of(&s);
	archive_init(&a, &conf);
	CHECK_EQ(head(&a, "some/odd_name.fits", &obj), -EBUSY);
	CHECK_EQ(head(&a, "some/odd_name.fits", &obj), -EBADMSG);
	server_stop(&s);
	archive_done(&a);
}

static void mast_seen__the_least_used_goes_first(void)
{
	struct mast_seen *seen;
	struct object obj = {.size = 1, .etag = "e"};
	CHECK_EQ(mast_seen_new(64 << 10, &seen), 0);
	for (int i = 0; i < 2000; i++) {
		char key[32];
		(void)snprintf(key, sizeof key, "k%d", i);
		struct mast_answer *a = mast_answer_new(MAST_HEAD, key, 1);
		CHECK_EQ(mast_answer_add(a, "", &obj), 0);
		mast_seen_keep(seen, a);
		CHECK(mast_seen_bytes(seen) <= 64 << 10);
		CLEANUP_ANSWER struct mast_answer *first =
			mast_seen_get(seen, MAST_HEAD, "k0");
		CHECK(first);
		CHECK_EQ(mast_answer_find(first, "", &obj), 0);
	}
	CHECK(!mast_seen_get(seen, MAST_HEAD, "k1"));
	mast_seen_forget(seen, MAST_HEAD, "k0");
	CHECK(!mast_seen_get(seen, MAST_HEAD, "k0"));
	CHECK(!mast_seen_get(seen, MAST_LISTING, "k1999"));
	mast_seen_free(seen);
}

static void mast_seen__what_is_too_much_is_not_kept(void)
{
	struct object obj = {.size = 1, .etag = "e"};
	struct mast_answer *a = mast_answer_new(MAST_LISTING, "p/", 1);
	int r = 0;
	for (int i = 0; i < 2000000 && !r; i++) {
		char name[16];
		(void)snprintf(name, sizeof name, "n%08d", i);
		r = mast_answer_add(a, name, &obj);
	}
	CHECK_EQ(r, -EMSGSIZE);
	mast_answer_drop(&a);
	a = mast_answer_new(MAST_LISTING, "p/", 1);
	CHECK_EQ(mast_answer_add(a, "b", &obj), 0);
	CHECK_EQ(mast_answer_add(a, "a", &obj), -EINVAL);
	CHECK_EQ(mast_answer_add(a, "b", &obj), -EINVAL);
	CHECK_EQ(mast_answer_add(a, "c/", NULL), 0);
	CHECK_EQ(mast_answer_find(a, "b", &obj), 0);
	CHECK_EQ(mast_answer_find(a, "c/", &obj), -ENOENT);
	mast_answer_drop(&a);
}

int main(void)
{
	RUN(mast__a_url_has_nothing_more);
	RUN(mast_lookup__hostile_answers_are_not_believed);
	RUN(mast_lookup__a_stray_name_is_asked_for_once);
	RUN(mast_lookup__off_asks_nobody);
	RUN(mast_lookup__a_service_that_is_ill_is_no_absence);
	RUN(mast_seen__the_least_used_goes_first);
	RUN(mast_seen__what_is_too_much_is_not_kept);
	return 0;
}
