/* test_union.c - a second source laid under a bucket: what is seen of the two, and what
 * they are asked. */
#include "backends/union.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "backends/fault.h"
#include "backends/util/cleanup.h"
#include "tests/unit/check.h"
#include "tests/unit/union_rig.h"
#include "backends/util/banned.h"

/* --- looking --- */

static void union__own_hides_public(void)
{
	struct sources s;
	urig_start(&s);
	bucket_set(&s.own, "a.fits", "own", NULL);
	bucket_set(&s.under, "a.fits", "public", NULL);
	CHECK(urig_reads(&s, "a.fits", "own"));
	CHECK_EQ(urig_asked(s.under_be, "any"), 0);
	urig_end(&s);
}

static void union__public_is_read_by_its_version(void)
{
	struct sources s;
	urig_start(&s);
	bucket_set(&s.under, "a.fits", "public", NULL);
	struct object obj = urig_must_head(&s, "a.fits");
	CHECK_STR(obj.etag, "under:\"e1\"");
	CHECK(urig_reads(&s, "a.fits", "public"));
	/* It keeps its bytes when an own one takes the name, and when it is removed. */
	bucket_set(&s.own, "a.fits", "own", NULL);
	CLEANUP_BUF struct buf b;
	buf_init(&b, 100);
	CHECK_EQ(backend_get(s.be, "a.fits", &obj, 0, 6, urig_take, &b, NULL), 0);
	CHECK_STR(b.data, "public");
	/* Another public version: not these bytes (P1). */
	bucket_set(&s.under, "a.fits", "newer!", NULL);
	CHECK_EQ(backend_get(s.be, "a.fits", &obj, 0, 6, urig_take, &b, NULL), -ESTALE);
	urig_end(&s);
}

static void union__etags_that_cannot_be_told_apart(void)
{
	struct sources s;
	urig_start(&s);
	bucket_set(&s.own, "a", "1", NULL);
	bucket_set(&s.under, "b", "1", NULL);
	(void)snprintf(s.own.objects[0].obj.etag, ETAG_SIZE, "under:1");
	memset(s.under.objects[0].obj.etag, 'x', ETAG_SIZE - 1);
	CHECK_EQ(urig_head(&s, "a"), -EBADMSG);
	CHECK_EQ(urig_head(&s, "b"), -EBADMSG);
	CHECK_STR(urig_all(&s, "", '/'), "error -74");
	urig_end(&s);
}

static void union__lists_both(void)
{
	struct sources s;
	urig_start(&s);
	bucket_set(&s.own, "d/a", "own", NULL);
	bucket_set(&s.own, "d/c", "own", NULL);
	bucket_set(&s.under, "d/a", "public", NULL);
	bucket_set(&s.under, "d/b", "public", NULL);
	bucket_set(&s.under, "e/b", "public", NULL);
	CHECK_STR(urig_all(&s, "", '/'), "d/ d/ e/");
	CHECK_STR(urig_all(&s, "d/", '/'), "d/a d/c d/a* d/b*");
	CHECK_STR(urig_all(&s, "", 0), "d/a d/c d/a* d/b* e/b*");
	CHECK_STR(urig_all(&s, "d/b", 0), "d/b*");
	CHECK_STR(urig_all(&s, "x/", '/'), "");
	urig_end(&s);
}

static void union__cold_questions_are_few(void)
{
	struct sources s;
	urig_start(&s);
	bucket_set(&s.under, "obs/a.fits", "public", NULL);
	CHECK_STR(urig_all(&s, "", '/'), "obs/");
	CHECK_EQ(urig_asked(s.own_be, "any"), 1);
	CHECK_EQ(urig_asked(s.under_be, "any"), 1);
	CHECK_STR(urig_all(&s, "obs/", '/'), "obs/a.fits*");
	CHECK_EQ(urig_asked(s.own_be, "list"), 2);
	CHECK_EQ(urig_asked(s.own_be, "head"), 1); /* no file of its name */
	CHECK_EQ(urig_asked(s.under_be, "any"), 2);
	(void)urig_must_head(&s, "obs/a.fits");
	CHECK_EQ(urig_asked(s.own_be, "any"), 4);
	CHECK_EQ(urig_asked(s.under_be, "any"), 3);
	/* What is nowhere, as the directory that it might be. */
	CHECK_STR(urig_all(&s, "obs/none.fits/", '/'), "");
	CHECK_EQ(urig_asked(s.own_be, "any"), 5);
	CHECK_EQ(urig_asked(s.under_be, "any"), 4);
	/* Nothing listed before: the whiteouts of two directories are asked for. */
	urig_restart(&s);
	(void)urig_must_head(&s, "obs/a.fits");
	CHECK_EQ(urig_asked(s.own_be, "head"), 1);
	CHECK_EQ(urig_asked(s.own_be, "list"), 2);
	CHECK_EQ(urig_asked(s.under_be, "any"), 1);
	urig_end(&s);
}

static void union__own_file_hides_a_public_directory(void)
{
	struct sources s;
	urig_start(&s);
	bucket_set(&s.own, "d/x", "own", NULL);
	bucket_set(&s.under, "d/x/a", "public", NULL);
	atomic_store(&s.under.down, -ETIMEDOUT);
	CHECK_STR(urig_all(&s, "d/x/", '/'), "");
	CHECK(urig_reads(&s, "d/x", "own"));
	CHECK_EQ(urig_asked(s.under_be, "any"), 0);
	urig_end(&s);
}

static void union__own_directory_asks_one_source(void)
{
	struct sources s;
	urig_start(&s);
	bucket_set(&s.own, "d/a", "own", NULL);
	atomic_store(&s.under.down, -ETIMEDOUT);
	CLEANUP_BUF struct buf b;
	buf_init(&b, 1000);
	/* More is to come, so this is no complete listing. */
	CHECK(urig_first_page(&s, "d/", &b));
	CHECK_STR(b.data, "d/a");
	CHECK_EQ(urig_asked(s.under_be, "any"), 0);
	urig_end(&s);
}

static void union__pages_end_where_something_is_shown(void)
{
	struct sources s;
	urig_start_paged(&s);
	bucket_set(&s.own, "d/.wh.p1", "", NULL);
	bucket_set(&s.own, "d/.wh.p2", "", NULL);
	bucket_set(&s.own, "d/a", "own", NULL);
	bucket_set(&s.own, "d/b", "own", NULL);
	bucket_set(&s.under, "d/p1", "public", NULL);
	bucket_set(&s.under, "d/p2", "public", NULL);
	bucket_set(&s.under, "d/p3", "public", NULL);
	bucket_set(&s.under, "d/p4", "public", NULL);
	CHECK_STR(urig_all(&s, "d/", '/'), "d/* d/* d/a d/b d/p3* d/p4*");
	CLEANUP_BUF struct buf b;
	buf_init(&b, 1000);
	CHECK(!urig_first_page(&s, "x/", &b));
	CHECK_STR(b.data, "");
	urig_end(&s);
}

/* --- when a source is down (P10) --- */

static void union__public_source_down(void)
{
	struct sources s;
	urig_start(&s);
	bucket_set(&s.own, "d/a", "own", NULL);
	bucket_set(&s.under, "d/b", "public", NULL);
	atomic_store(&s.under.down, -ETIMEDOUT);
	CHECK(urig_reads(&s, "d/a", "own"));
	CHECK_EQ(urig_head(&s, "d/b"), -ETIMEDOUT);
	CHECK_EQ(urig_head(&s, "d/nothing"), -ETIMEDOUT);
	CHECK_STR(urig_all(&s, "d/", '/'), "error -110");
	/* What is removed now must not come back with it. */
	urig_remove(&s, "d/a");
	CHECK(bucket_has(&s.own, "d/.wh.a", ""));
	CHECK(bucket_has(&s.own, "d/a", NULL));
	urig_end(&s);
}

static void union__own_bucket_down(void)
{
	struct sources s;
	urig_start(&s);
	bucket_set(&s.under, "d/b", "public", NULL);
	atomic_store(&s.own.down, -ETIMEDOUT);
	CHECK_EQ(urig_head(&s, "d/b"), -ETIMEDOUT);
	CHECK_STR(urig_all(&s, "d/", '/'), "error -110");
	/* Whiteouts that cannot be asked for: neither there nor gone. */
	atomic_store(&s.own.down, 0);
	struct backend *own;
	backend_free(s.be);
	CHECK_EQ(fault_new(&s.own.be, "list:*:before=ETIMEDOUT", &own), 0);
	CHECK_EQ(union_new(own, &s.under.be, 0, &s.be), 0);
	CHECK_EQ(urig_head(&s, "d/b"), -ETIMEDOUT);
	urig_end(&s);
}

static int one_word(struct backend *be, const char *key, struct object *ret,
		    struct call *call)
{
	(void)be;
	(void)key;
	(void)ret;
	(void)call;
	return -EILSEQ;
}

static void union__a_name_that_the_public_source_cannot_have(void)
{
	struct sources s;
	bucket_init(&s.own);
	struct backend *under = urig_paged(&s.under_pages, &s.under, "mem://public");
	s.under_pages.ops.head = one_word;
	urig_join(&s, &s.own.be, under, "", "");
	CHECK_EQ(urig_head(&s, "d/b"), -ENOENT);
	urig_end(&s);
}

/* --- where it comes from, and whether it is still that --- */

static void union__asks_the_source_of_a_version(void)
{
	struct sources s;
	urig_start_paged(&s);
	bucket_set(&s.own, "a", "own", NULL);
	bucket_set(&s.under, "b", "public", NULL);
	struct object a = urig_must_head(&s, "a"), b = urig_must_head(&s, "b");
	s.under_pages.answer = -ESTALE;
	CHECK_EQ(backend_check(s.be, "a", &a, NULL), 0);
	CHECK_EQ(backend_check(s.be, "b", &b, NULL), -ESTALE);
	CHECK_EQ(s.own_pages.checked, 1);
	CHECK_EQ(s.under_pages.checked, 1);
	CHECK(!backend_lasts(s.be, &a) && backend_lasts(s.be, &b));
	CHECK(!backend_lasts(&s.under.be, &b));
	CLEANUP_BUF struct buf text;
	buf_init(&text, 100);
	CHECK_EQ(backend_origin(s.be, "b", &b, &text), 0);
	CHECK_STR(text.data, "mem://public/b");
	urig_end(&s);
}

static void union__without_check_nobody_is_asked(void)
{
	struct sources s;
	urig_start(&s);
	CHECK(!s.be->ops->check);
	urig_end(&s);
}

static void is_silent(struct backend *be, struct store_health *ret)
{
	(void)be;
	*ret = (struct store_health){.silent_ns = 5};
}

/* Whoever reads through it waits for either. */
static void union__answers_if_both_do(void)
{
	struct sources s;
	struct store_health health;
	struct backend *own = urig_paged(&s.own_pages, &s.own, "mem://own");
	struct backend *under = urig_paged(&s.under_pages, &s.under, "mem://public");
	CHECK_EQ(union_new(own, under, 0, &s.be), 0);
	backend_health(s.be, &health);
	CHECK(health.reachable);
	for (int i = 0; i < 2; i++) {
		s.own_pages.ops.health = i ? NULL : is_silent;
		s.under_pages.ops.health = i ? is_silent : NULL;
		backend_health(s.be, &health);
		CHECK(!health.reachable);
		CHECK_EQ(health.silent_ns, 5);
	}
	urig_end(&s);
}

int main(void)
{
	RUN(union__own_hides_public);
	RUN(union__public_is_read_by_its_version);
	RUN(union__etags_that_cannot_be_told_apart);
	RUN(union__lists_both);
	RUN(union__cold_questions_are_few);
	RUN(union__own_file_hides_a_public_directory);
	RUN(union__own_directory_asks_one_source);
	RUN(union__pages_end_where_something_is_shown);
	RUN(union__public_source_down);
	RUN(union__own_bucket_down);
	RUN(union__a_name_that_the_public_source_cannot_have);
	RUN(union__asks_the_source_of_a_version);
	RUN(union__answers_if_both_do);
	RUN(union__without_check_nobody_is_asked);
	return 0;
}
