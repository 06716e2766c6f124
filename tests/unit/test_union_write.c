/* test_union_write.c - a second source laid under a bucket: what is written and removed
 * goes to the bucket, and lasts. */
#include "backends/union.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "backends/fault.h"
#include "backends/util/cleanup.h"
#include "tests/unit/check.h"
#include "tests/unit/union_rig.h"
#include "backends/util/banned.h"

/* --- writing --- */

static void union_write__over_public_means_nothing_of_ours_there(void)
{
	struct sources s;
	urig_start(&s);
	bucket_set(&s.under, "a", "public", NULL);
	struct object obj = urig_must_head(&s, "a");
	struct cond over = {.if_etag = obj.etag};
	CHECK_EQ(urig_put_empty(&s, "a", &over), 0);
	CHECK(bucket_has(&s.own, "a", ""));
	CHECK(bucket_has(&s.under, "a", "public"));
	/* Somebody was faster (P5). */
	CHECK_EQ(urig_put_empty(&s, "a", &over), -ESTALE);
	struct cond absent = {.if_absent = true};
	CHECK_EQ(urig_put_empty(&s, "a", &absent), -EEXIST);
	struct object ours = urig_must_head(&s, "a");
	struct cond over_ours = {.if_etag = ours.etag};
	CHECK_EQ(urig_put_empty(&s, "a", &over_ours), 0);
	CHECK_EQ(urig_asked(s.under_be, "put"), 0);
	urig_end(&s);
}

static void union_write__parts_over_public(void)
{
	struct sources s;
	urig_start(&s);
	bucket_set(&s.under, "a", "public", NULL);
	struct object obj = urig_must_head(&s, "a"), ret;
	struct put_opts opts = {.cond.if_etag = obj.etag};
	CLEANUP_FREE char *id = NULL;
	CHECK_EQ(backend_upload_begin(s.be, "a", 0, &opts, &id, NULL), 0);
	struct source none = {.fd = -1};
	struct part part = {.number = 1};
	CHECK_EQ(backend_upload_part(s.be, "a", id, 0, &none, &part, NULL), 0);
	bucket_set(&s.own, "a", "theirs", NULL);
	CHECK_EQ(backend_upload_finish(s.be, "a", id, &part, 1, 0, &opts, &ret, NULL),
		 -ESTALE);
	bucket_unset(&s.own, "a");
	CHECK_EQ(backend_upload_finish(s.be, "a", id, &part, 1, 0, &opts, &ret, NULL), 0);
	CHECK(bucket_has(&s.own, "a", ""));
	urig_end(&s);
}

static void union_write__copies_only_its_own(void)
{
	struct sources s;
	urig_start(&s);
	bucket_set(&s.own, "a", "own", NULL);
	bucket_set(&s.under, "b", "public", NULL);
	struct put_opts opts = {.mtime_ns = 1};
	struct object ret, a = urig_must_head(&s, "a"), b = urig_must_head(&s, "b");
	CHECK_EQ(backend_copy(s.be, "a", &a, "c", &opts, &ret, NULL), 0);
	CHECK_EQ(backend_copy(s.be, "b", &b, "c", &opts, &ret, NULL), -EXDEV);
	CHECK(bucket_has(&s.own, "c", "own"));
	CHECK(!(s.be->caps & BACKEND_RENAME) && s.be->caps & BACKEND_COPY);
	urig_end(&s);
}

static void union_write__reserved_names(void)
{
	struct sources s;
	struct cond none = {0};
	urig_start(&s);
	bucket_set(&s.own, "d/.wh.x/y", "1", NULL);
	bucket_set(&s.under, ".wh.z", "1", NULL);
	CHECK_STR(s.be->reserved, ".wh.");
	CHECK_EQ(urig_head(&s, ".wh.z"), -EILSEQ);
	CHECK_EQ(urig_head(&s, "d/.wh.x/y"), -EILSEQ);
	CHECK_EQ(urig_put_empty(&s, "d/.wh.a", &none), -EILSEQ);
	CHECK_EQ(urig_del(&s, "d/.wh.a", "\"e\""), -EILSEQ);
	CHECK_STR(urig_all(&s, "", 0), "");
	CHECK_STR(urig_all(&s, "d/.wh.x/", '/'), "error -84");
	/* Not what begins a little like it. */
	CHECK_EQ(urig_put_empty(&s, "d/.wha", &none), 0);
	CHECK_EQ(urig_put_empty(&s, "d/x.wh.a", &none), 0);
	CHECK_STR(urig_all(&s, "", 0), "d/.wha d/x.wh.a");
	urig_end(&s);
}

/* --- removing --- */

static void union_write__removal_lasts(void)
{
	struct sources s;
	urig_start(&s);
	bucket_set(&s.under, "d/a", "public", NULL);
	bucket_set(&s.under, "d/b", "public", NULL);
	urig_remove(&s, "d/a");
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(urig_head(&s, "d/a"), -ENOENT);
		CHECK_STR(urig_all(&s, "d/", '/'), "d/* d/b*");
		urig_restart(&s);
	}
	CHECK(bucket_has(&s.own, "d/.wh.a", ""));
	CHECK(bucket_has(&s.under, "d/a", "public"));
	CHECK_EQ(urig_asked(s.under_be, "del"), 0);
	/* Written anew it is there again, and the whiteout does no harm. */
	struct cond absent = {.if_absent = true};
	CHECK_EQ(urig_put_empty(&s, "d/a", &absent), 0);
	CHECK_EQ(urig_head(&s, "d/a"), 0);
	urig_end(&s);
}

static void union_write__own_removal_does_not_bring_the_public_one(void)
{
	struct sources s;
	urig_start(&s);
	bucket_set(&s.own, "a", "own", NULL);
	bucket_set(&s.own, "b", "own", NULL);
	bucket_set(&s.under, "a", "public", NULL);
	urig_remove(&s, "a");
	CHECK_EQ(urig_head(&s, "a"), -ENOENT);
	CHECK(bucket_has(&s.own, "a", NULL) && bucket_has(&s.own, ".wh.a", ""));
	/* Where there is none no whiteout is left. */
	urig_remove(&s, "b");
	CHECK(bucket_has(&s.own, ".wh.b", NULL));
	CHECK_EQ(urig_del(&s, "b", "\"e9\""), -ENOENT);
	/* Another version: theirs stays. */
	bucket_set(&s.own, "a", "theirs", NULL);
	CHECK_EQ(urig_del(&s, "a", "\"e1\""), -ESTALE);
	CHECK(bucket_has(&s.own, "a", "theirs"));
	urig_end(&s);
}

static void union_write__whiteout_before_delete(void)
{
	struct sources s;
	bucket_init(&s.own);
	bucket_init(&s.under);
	urig_join(&s, &s.own.be, &s.under.be,
		  "put:1:before=ETIMEDOUT;del:1:before=ETIMEDOUT", "");
	bucket_set(&s.own, "a", "own", NULL);
	bucket_set(&s.under, "a", "public", NULL);
	struct object obj = urig_must_head(&s, "a");
	CHECK_EQ(urig_del(&s, "a", obj.etag), -ETIMEDOUT);
	CHECK(urig_reads(&s, "a", "own")); /* not the public one */
	CHECK_EQ(urig_del(&s, "a", obj.etag), -ETIMEDOUT);
	CHECK(urig_reads(&s, "a", "own"));
	CHECK_EQ(urig_del(&s, "a", obj.etag), 0);
	CHECK_EQ(urig_head(&s, "a"), -ENOENT);
	urig_end(&s);
}

static void union_write__removed_directory_is_gone(void)
{
	struct sources s;
	urig_start(&s);
	bucket_set(&s.under, "d/e/a", "public", NULL);
	bucket_set(&s.under, "d/b", "public", NULL);
	bucket_set(&s.under, "k", "public", NULL);
	urig_remove(&s, "d/b");
	urig_remove(&s, "d/e/a");
	/* Empty, and there until it is removed. */
	CHECK_STR(urig_all(&s, "d/e/", '/'), "d/e/*");
	CHECK_STR(urig_all(&s, "d/", '/'), "d/e/ d/* d/e/");
	urig_remove(&s, "d/e/");
	CHECK_STR(urig_all(&s, "d/e/", '/'), "");
	CHECK_STR(urig_all(&s, "d/", '/'), "d/*");
	urig_remove(&s, "d/");
	urig_restart(&s);
	CHECK_STR(urig_all(&s, "", '/'), "k*");
	uint64_t before = urig_asked(s.under_be, "any");
	CHECK_STR(urig_all(&s, "d/", '/'), "");
	CHECK_EQ(urig_asked(s.under_be, "any"), before);
	CHECK_EQ(urig_head(&s, "d/e/a"), -ENOENT);
	CHECK_EQ(urig_head(&s, "d/"), -ENOENT);
	CHECK(bucket_has(&s.own, ".wh.d", "") && bucket_has(&s.own, "d/.wh.b", NULL) &&
	      bucket_has(&s.own, "d/e/.wh.a", NULL));
	/* A new one of that name starts empty. */
	bucket_set(&s.own, "d/new", "own", NULL);
	CHECK_STR(urig_all(&s, "d/", '/'), "d/new");
	CHECK_STR(urig_all(&s, "", '/'), "d/ k*");
	urig_end(&s);
}

static void union_write__own_marker_of_a_public_directory(void)
{
	struct sources s;
	urig_start(&s);
	bucket_set(&s.own, "d/", "", NULL);
	bucket_set(&s.own, "o/", "", NULL);
	bucket_set(&s.under, "d/a", "public", NULL);
	urig_remove(&s, "d/a");
	urig_remove(&s, "d/");
	urig_remove(&s, "o/");
	CHECK(bucket_has(&s.own, "d/", NULL) && bucket_has(&s.own, "o/", NULL));
	CHECK(bucket_has(&s.own, ".wh.d", "") && bucket_has(&s.own, ".wh.o", NULL));
	CHECK_STR(urig_all(&s, "", '/'), "");
	urig_end(&s);
}

static void union_write__other_mounts_see_removals(void)
{
	struct sources s;
	urig_start(&s);
	bucket_set(&s.under, "a", "public", NULL);
	struct backend *own = NULL, *under = NULL, *other;
	CHECK_EQ(fault_new(&s.own.be, "", &own), 0);
	CHECK_EQ(fault_new(&s.under.be, "", &under), 0);
	CHECK_EQ(union_new(own, under, 0, &other), 0); /* a second, that is the least */
	struct object obj;
	CHECK_EQ(backend_head(other, "a", &obj, NULL), 0);
	urig_remove(&s, "a");
	(void)usleep(1100000);
	CHECK_EQ(backend_head(other, "a", &obj, NULL), -ENOENT);
	backend_free(other);
	urig_end(&s);
}

static void *cancel_soon(void *arg)
{
	(void)usleep(100000);
	atomic_store((atomic_bool *)arg, true);
	return NULL;
}

/* P8: also when it is another's call that was interrupted, of which this one is a part.
 */
static void union_write__removal_ends_when_interrupted(void)
{
	struct sources s;
	pthread_t canceller;
	atomic_bool cancelled = false;
	struct call outer = {.deadline_ns = CLOCK_NEVER, .cancelled = &cancelled};
	struct call call = {.deadline_ns = CLOCK_NEVER, .outer = &outer};
	struct cond any = {0};
	urig_start(&s);
	bucket_set(&s.own, "a", "ours", NULL);
	backend_free(s.be);
	urig_join(&s, &s.own.be, &s.under.be, "", "head:1:delay=400");
	CHECK(!pthread_create(&canceller, NULL, cancel_soon, &cancelled));
	CHECK_EQ(backend_del(s.be, "a", &any, &call), -EINTR);
	CHECK(!pthread_join(canceller, NULL));
	CHECK_EQ(s.under.heads, 0);
	CHECK(bucket_has(&s.own, "a", "ours"));
	urig_end(&s);
}

int main(void)
{
	RUN(union_write__over_public_means_nothing_of_ours_there);
	RUN(union_write__parts_over_public);
	RUN(union_write__copies_only_its_own);
	RUN(union_write__reserved_names);
	RUN(union_write__removal_lasts);
	RUN(union_write__own_removal_does_not_bring_the_public_one);
	RUN(union_write__whiteout_before_delete);
	RUN(union_write__removed_directory_is_gone);
	RUN(union_write__own_marker_of_a_public_directory);
	RUN(union_write__other_mounts_see_removals);
	RUN(union_write__removal_ends_when_interrupted);
	return 0;
}
