/* test_mast.c - what the archive is asked, how often, and what is believed meanwhile. */
#include "backends/mast_impl.h"
#include <errno.h>
#include "backends/util/cleanup.h"
#include "tests/unit/bucket.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

#define OBS   "jw02731001001_02101_00001_nrcb1"
#define VISIT "jwst/public/jw02731/jw02731001001/"
#define CAL   OBS "/" OBS "_cal.fits"
#define TTL_S 60

/* The archive's bucket: pages of page_max entries, a probe that can fail. */
struct archive {
	struct bucket bucket; /* first */
	struct backend_ops ops, plain;
	struct backend *be; /* the archive over it */
	uint32_t page_max;  /* 0 = all at once */
	int probe_error, probes;
};

struct lines {
	char text[8192];
	int n;
};

static int add_line(void *arg, const char *key, size_t key_len, const struct object *obj)
{
	struct lines *l = arg;
	size_t at = strlen(l->text);
	CHECK_EQ(strlen(key), key_len);
	CHECK(!obj || *obj->etag || !obj->size);
	(void)snprintf(l->text + at, sizeof l->text - at, "%s%s", key,
		       obj ? "\n" : " DIR\n");
	l->n++;
	return 0;
}

struct pager {
	uint32_t at, from, to;
	list_fn *fn;
	void *arg;
};

static int page_line(void *arg, const char *key, size_t key_len, const struct object *obj)
{
	struct pager *p = arg;
	uint32_t i = p->at++;
	return i >= p->from && i < p->to ? p->fn(p->arg, key, key_len, obj) : 0;
}

static int paged_list(struct backend *be, const struct list_query *q, char **token,
		      list_fn *fn, void *arg, struct call *call)
{
	struct archive *a = (struct archive *)be;
	char *none = NULL;
	uint32_t from = *token ? (uint32_t)strtoul(*token, NULL, 10) : 0;
	struct pager p = {.from = from,
			  .to = a->page_max ? from + a->page_max : UINT32_MAX,
			  .fn = fn,
			  .arg = arg};
	int r = a->plain.list(be, q, &none, page_line, &p, call);
	if (r)
		return r;
	char *next = NULL;
	if (p.at > p.to)
		CHECK(asprintf(&next, "%u", p.to) > 0);
	free(*token);
	*token = next;
	return 0;
}

static int counted_probe(struct backend *be, bool writes, struct call *call)
{
	struct archive *a = (struct archive *)be;
	CHECK(!writes);
	CHECK(call_left_ns(call) <= MAST_PROBE_NS);
	a->probes++;
	return a->probe_error;
}

static void archive_init(struct archive *a)
{
	*a = (struct archive){0};
	bucket_init(&a->bucket);
	a->plain = a->ops = *a->bucket.be.ops;
	a->ops.list = paged_list;
	a->ops.probe = counted_probe;
	a->bucket.be.ops = &a->ops;
	struct backend_conf conf = {.ttl_ns = TTL_S * NS_PER_S, .wait = true};
	CHECK_EQ(mast_new(&a->bucket.be, &conf, &a->be), 0);
	static const char *const suffixes[] = {"_cal.fits", "_i2d.fits", "_o001_crf.fits",
					       "_uncal.fits"};
	for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
		char key[256];
		(void)snprintf(key, sizeof key, VISIT OBS "%s", suffixes[i]);
		bucket_set(&a->bucket, key, suffixes[i], NULL);
	}
	bucket_set(&a->bucket, VISIT "jw02731001001_02101_00001_nrcb2_cal.fits", "2",
		   NULL);
	bucket_set(&a->bucket, "jwst/public/jw02731/L3/t/o001/x_i2d.fits", "3", NULL);
}

static void archive_done(struct archive *a)
{
	backend_free(a->be);
	bucket_done(&a->bucket);
}

/* Requests since the last time. */
static int asked(struct archive *a)
{
	return atomic_exchange(&a->bucket.heads, 0) +
	       atomic_exchange(&a->bucket.lists, 0) + atomic_exchange(&a->bucket.gets, 0);
}

static int list(struct archive *a, const char *prefix, struct lines *ret)
{
	struct list_query q = {.prefix = prefix, .delim = '/'};
	*ret = (struct lines){0};
	return backend_list_all(a->be, &q, add_line, ret, NULL);
}

static int head(struct archive *a, const char *path, struct object *ret)
{
	return backend_head(a->be, path, ret, NULL);
}

static void pass(uint64_t seconds)
{
	clock_sleep_ns(seconds * NS_PER_S);
}

static void mast__an_observation_is_one_listing(void)
{
	struct archive a;
	struct lines l;
	struct object obj;
	archive_init(&a);
	CHECK_EQ(list(&a, OBS "/", &l), 0);
	CHECK_STR(l.text, CAL "\n" OBS "/" OBS "_i2d.fits\n" OBS "/" OBS
			      "_o001_crf.fits\n" OBS "/" OBS "_uncal.fits\n");
	CHECK_EQ(asked(&a), 1);
	/* and it answers what is asked of its files, under all their paths */
	CHECK_EQ(head(&a, CAL, &obj), 0);
	CHECK_EQ(obj.size, strlen("_cal.fits"));
	CHECK(*obj.etag);
	CHECK_EQ(head(&a, "mastDownload/JWST/" CAL, &obj), 0);
	CHECK_EQ(head(&a, VISIT OBS "_cal.fits", &obj), 0);
	CHECK_EQ(head(&a, "jw02731/jw02731001001/" OBS "_cal.fits", &obj), 0);
	CHECK_EQ(head(&a, OBS "/" OBS "_rate.fits", &obj), -ENOENT);
	CHECK_EQ(head(&a, CAL ".part", &obj), -ENOENT);
	CHECK_EQ(list(&a, "mastDownload/JWST/" OBS "/", &l), 0);
	CHECK_EQ(l.n, 4);
	CHECK_EQ(asked(&a), 0);
	archive_done(&a);
}

static void mast__a_file_alone_is_one_head(void)
{
	struct archive a;
	struct object obj;
	archive_init(&a);
	CHECK_EQ(head(&a, VISIT OBS "_cal.fits", &obj), 0);
	CHECK_EQ(asked(&a), 1);
	CHECK_EQ(head(&a, CAL, &obj), 0);
	CHECK_EQ(asked(&a), 0);
	archive_done(&a);
}

static void mast__answers_last_an_hour_and_absence_less(void)
{
	struct archive a;
	struct lines l;
	struct object obj;
	archive_init(&a);
	CHECK_EQ(list(&a, OBS "/", &l), 0);
	CHECK_EQ(list(&a, "jw99999/", &l), 0);
	CHECK_EQ(l.n, 0);
	CHECK_EQ(head(&a, "jw02731/no.fits", &obj), -ENOENT);
	CHECK_EQ(asked(&a), 3);
	pass(590);
	CHECK_EQ(list(&a, "jw99999/", &l), 0);
	CHECK_EQ(head(&a, "jw02731/no.fits", &obj), -ENOENT);
	CHECK_EQ(head(&a, OBS "/" OBS "_rate.fits", &obj), -ENOENT);
	CHECK_EQ(asked(&a), 0);
	pass(20);
	CHECK_EQ(list(&a, "jw99999/", &l), 0);
	CHECK_EQ(asked(&a), 1);
	CHECK_EQ(head(&a, "jw02731/no.fits", &obj), -ENOENT);
	CHECK_EQ(asked(&a), 1);
	CHECK_EQ(head(&a, OBS "/" OBS "_rate.fits", &obj), -ENOENT);
	CHECK_EQ(asked(&a), 1);
	CHECK_EQ(list(&a, OBS "/", &l), 0);
	CHECK_EQ(head(&a, CAL, &obj), 0);
	CHECK_EQ(asked(&a), 0);
	pass(3000);
	CHECK_EQ(list(&a, OBS "/", &l), 0);
	CHECK_EQ(asked(&a), 1);
	archive_done(&a);
}

static void mast__the_root_shows_what_is_known(void)
{
	struct archive a;
	struct lines l;
	struct object obj;
	archive_init(&a);
	CHECK_EQ(list(&a, "", &l), 0);
	CHECK_STR(l.text, "jwst/ DIR\n");
	CHECK_EQ(head(&a, "jw00001/x.fits", &obj), -ENOENT);
	CHECK_EQ(head(&a, CAL, &obj), 0);
	(void)asked(&a);
	CHECK_EQ(list(&a, "", &l), 0);
	CHECK_STR(l.text, "jw02731/ DIR\njwst/ DIR\n");
	CHECK_EQ(list(&a, "jwst/public/", &l), 0);
	CHECK_STR(l.text, "jwst/public/\njwst/public/jw02731/ DIR\n");
	CHECK_EQ(list(&a, "jwst/", &l), 0);
	CHECK_STR(l.text, "jwst/\njwst/public/ DIR\n");
	CHECK_EQ(list(&a, "mastDownload/", &l), 0);
	CHECK_STR(l.text, "mastDownload/\nmastDownload/JWST/ DIR\n");
	CHECK_EQ(list(&a, "mastDownload/JWST/", &l), 0);
	CHECK_STR(l.text, "mastDownload/JWST/\n");
	CHECK_EQ(asked(&a), 0);
	archive_done(&a);
}

static void mast__programs_and_visits_are_listed_one_level(void)
{
	struct archive a;
	struct lines l;
	archive_init(&a);
	CHECK_EQ(list(&a, "jw02731/", &l), 0);
	CHECK_STR(l.text, "jw02731/L3/ DIR\njw02731/jw02731001001/ DIR\n");
	CHECK_EQ(list(&a, "jw02731/jw02731001001/", &l), 0);
	CHECK_EQ(l.n, 5);
	CHECK_EQ(list(&a, "jw02731/L3/t/o001/", &l), 0);
	CHECK_STR(l.text, "jw02731/L3/t/o001/x_i2d.fits\n");
	CHECK_EQ(asked(&a), 3);
	CHECK_EQ(list(&a, "jwst/public/jw02731/", &l), 0);
	CHECK_STR(l.text, "jwst/public/jw02731/L3/ DIR\n"
			  "jwst/public/jw02731/jw02731001001/ DIR\n");
	CHECK_EQ(asked(&a), 0);
	archive_done(&a);
}

/* The first page of a directory that the layout has costs nothing and is no end. */
static void mast__what_is_likely_is_believed_until_it_is_listed(void)
{
	struct archive a;
	struct lines l = {0};
	struct list_query q = {.prefix = "jwst/public/jw02731/", .delim = '/'};
	char *token = NULL;
	archive_init(&a);
	CHECK_EQ(backend_list(a.be, &q, &token, add_line, &l, NULL), 0);
	CHECK(token);
	CHECK_STR(l.text, "jwst/public/jw02731/\n");
	CHECK_EQ(asked(&a), 0);
	CHECK_EQ(backend_list(a.be, &q, &token, add_line, &l, NULL), 0);
	CHECK(!token);
	CHECK_EQ(l.n, 3);
	CHECK_EQ(asked(&a), 1);
	q.prefix = "jwst/public/jw99999/";
	CHECK_EQ(backend_list(a.be, &q, &token, add_line, &l, NULL), 0);
	CHECK_EQ(backend_list(a.be, &q, &token, add_line, &l, NULL), 0);
	CHECK_EQ(l.n, 4);
	CHECK_EQ(backend_list(a.be, &q, &token, add_line, &l, NULL), 0);
	CHECK(!token && l.n == 4);
	CHECK_EQ(asked(&a), 1);
	archive_done(&a);
}

static void mast__nothing_is_listed_recursively(void)
{
	static const char *const prefixes[] = {"own/",	    "jw02731/../",
					       "jw02731//", "jwst/private/",
					       OBS "/sub/", "a.fits/"};
	struct archive a;
	struct lines l = {0};
	char *token = NULL;
	archive_init(&a);
	struct list_query q = {.prefix = "jwst/public/jw02731/"};
	CHECK_EQ(backend_list(a.be, &q, &token, add_line, &l, NULL), -EOPNOTSUPP);
	q = (struct list_query){.prefix = "jwst/public/jw0", .delim = '/'};
	CHECK_EQ(backend_list(a.be, &q, &token, add_line, &l, NULL), -EOPNOTSUPP);
	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
		CHECK_EQ(list(&a, prefixes[i], &l), 0);
		CHECK_EQ(l.n, 0);
	}
	CHECK_EQ(asked(&a), 0);
	archive_done(&a);
}

static void mast__pages_make_one_listing(void)
{
	struct archive a;
	struct lines l, again;
	struct object obj;
	archive_init(&a);
	a.page_max = 2;
	CHECK_EQ(list(&a, "jw02731/jw02731001001/", &l), 0);
	CHECK_EQ(l.n, 5);
	CHECK_EQ(asked(&a), 3);
	CHECK_EQ(list(&a, "jw02731/jw02731001001/", &again), 0);
	CHECK_STR(again.text, l.text);
	CHECK_EQ(head(&a, CAL, &obj), 0);
	CHECK_EQ(asked(&a), 0);
	archive_done(&a);
}

static void mast__half_a_listing_answers_nothing(void)
{
	struct archive a;
	struct lines l = {0};
	struct object obj;
	struct list_query q = {.prefix = OBS "/", .delim = '/'};
	CLEANUP_FREE char *token = NULL;
	archive_init(&a);
	a.page_max = 2;
	CHECK_EQ(backend_list(a.be, &q, &token, add_line, &l, NULL), 0);
	CHECK(token);
	CHECK_EQ(asked(&a), 1);
	CHECK_EQ(head(&a, OBS "/" OBS "_uncal.fits", &obj), 0);
	CHECK_EQ(asked(&a), 1);
	/* the second page fails, and may be asked for again */
	atomic_store(&a.bucket.down, -ECOMM);
	CHECK_EQ(backend_list(a.be, &q, &token, add_line, &l, NULL), -ECOMM);
	CHECK(token);
	atomic_store(&a.bucket.down, 0);
	CHECK_EQ(backend_list(a.be, &q, &token, add_line, &l, NULL), 0);
	CHECK(!token);
	CHECK_EQ(l.n, 4);
	(void)asked(&a);
	CHECK_EQ(list(&a, OBS "/", &l), 0);
	CHECK_EQ(asked(&a), 0);
	archive_done(&a);
}

static void mast__a_page_that_must_be_short_is_asked_for(void)
{
	struct archive a;
	struct lines l = {0};
	struct list_query q = {.prefix = OBS "/", .delim = '/', .max = 2};
	char *token = NULL;
	archive_init(&a);
	CHECK_EQ(list(&a, OBS "/", &l), 0);
	(void)asked(&a);
	CHECK_EQ(backend_list(a.be, &q, &token, add_line, &l, NULL), 0);
	CHECK_EQ(asked(&a), 1);
	archive_done(&a);
}

static void mast__an_error_is_not_an_absence(void)
{
	struct archive a;
	struct lines l;
	struct object obj;
	archive_init(&a);
	atomic_store(&a.bucket.down, -ECOMM);
	CHECK_EQ(list(&a, OBS "/", &l), -ECOMM);
	CHECK_EQ(head(&a, CAL, &obj), -ECOMM);
	atomic_store(&a.bucket.down, -EACCES);
	CHECK_EQ(head(&a, CAL, &obj), -EACCES);
	atomic_store(&a.bucket.down, 0);
	CHECK_EQ(head(&a, CAL, &obj), 0);
	CHECK_EQ(list(&a, OBS "/", &l), 0);
	CHECK_EQ(l.n, 4);
	archive_done(&a);
}

static void mast__a_check_asks_once_a_ttl(void)
{
	struct archive a;
	struct lines l;
	struct object obj;
	struct call call = {.deadline_ns = CLOCK_NEVER};
	archive_init(&a);
	CHECK_EQ(list(&a, OBS "/", &l), 0);
	CHECK_EQ(head(&a, CAL, &obj), 0);
	(void)asked(&a);
	CHECK_EQ(backend_check(a.be, CAL, &obj, NULL), 0);
	pass(TTL_S + 1);
	CHECK_EQ(backend_check(a.be, CAL, &obj, NULL), -EAGAIN);
	CHECK_EQ(asked(&a), 0);
	CHECK_EQ(backend_check(a.be, CAL, &obj, &call), 0);
	CHECK_EQ(asked(&a), 1);
	CHECK_EQ(backend_check(a.be, CAL, &obj, NULL), 0);
	/* the other files of the listing are as old as before */
	CHECK_EQ(backend_check(a.be, OBS "/" OBS "_i2d.fits", &obj, NULL), -EAGAIN);
	CHECK_EQ(asked(&a), 0);
	archive_done(&a);
}

static void mast__what_was_reprocessed_is_noticed(void)
{
	struct archive a;
	struct lines l;
	struct object obj, now;
	struct call call = {.deadline_ns = CLOCK_NEVER};
	archive_init(&a);
	CHECK_EQ(list(&a, OBS "/", &l), 0);
	CHECK_EQ(head(&a, CAL, &obj), 0);
	bucket_set(&a.bucket, VISIT OBS "_cal.fits", "better", NULL);
	pass(TTL_S + 1);
	(void)asked(&a);
	CHECK_EQ(backend_check(a.be, CAL, &obj, &call), -ESTALE);
	CHECK_EQ(asked(&a), 1);
	CHECK_EQ(head(&a, CAL, &now), 0);
	CHECK_EQ(now.size, 6);
	CHECK_EQ(asked(&a), 0);
	CHECK_EQ(list(&a, OBS "/", &l), 0);
	CHECK_EQ(asked(&a), 1);
	/* told of lately, and it is another */
	CHECK_EQ(backend_check(a.be, CAL, &obj, NULL), -ESTALE);
	CHECK_EQ(backend_check(a.be, CAL, &now, NULL), 0);
	bucket_unset(&a.bucket, VISIT OBS "_cal.fits");
	pass(TTL_S + 1);
	CHECK_EQ(backend_check(a.be, CAL, &now, &call), -ENOENT);
	CHECK_EQ(head(&a, CAL, &now), -ENOENT);
	archive_done(&a);
}

static void mast__an_archive_that_is_away_changes_nothing(void)
{
	struct archive a;
	struct object obj;
	struct call call = {.deadline_ns = CLOCK_NEVER};
	archive_init(&a);
	CHECK_EQ(head(&a, CAL, &obj), 0);
	pass(TTL_S + 1);
	(void)asked(&a);
	atomic_store(&a.bucket.down, -ECOMM);
	CHECK_EQ(backend_check(a.be, CAL, &obj, &call), 0);
	CHECK_EQ(backend_check(a.be, CAL, &obj, &call), 0);
	CHECK_EQ(asked(&a), 1);
	pass(11);
	atomic_store(&a.bucket.down, 0);
	CHECK_EQ(backend_check(a.be, CAL, &obj, &call), 0);
	CHECK_EQ(asked(&a), 1);
	CHECK_EQ(head(&a, CAL, &obj), 0);
	CHECK_EQ(asked(&a), 0);
	archive_done(&a);
}

static int sink(void *arg, uint64_t off, const void *bytes, size_t len)
{
	memcpy((char *)arg + off, bytes, len);
	return 0;
}

static void mast__a_get_of_an_old_version_forgets(void)
{
	struct archive a;
	struct lines l;
	struct object obj, now;
	char bytes[16] = "";
	archive_init(&a);
	CHECK_EQ(list(&a, OBS "/", &l), 0);
	CHECK_EQ(head(&a, CAL, &obj), 0);
	CHECK_EQ(backend_get(a.be, CAL, &obj, 0, obj.size, sink, bytes, NULL), 0);
	CHECK_STR(bytes, "_cal.fits");
	bucket_set(&a.bucket, VISIT OBS "_cal.fits", "better", NULL);
	CHECK_EQ(backend_get(a.be, CAL, &obj, 0, obj.size, sink, bytes, NULL), -ESTALE);
	(void)asked(&a);
	CHECK_EQ(head(&a, CAL, &now), 0);
	CHECK_EQ(asked(&a), 1);
	CHECK_EQ(backend_get(a.be, "own/x", &obj, 0, 1, sink, bytes, NULL), -ESTALE);
	archive_done(&a);
}

static void mast__nothing_is_written(void)
{
	struct archive a;
	struct object obj;
	struct source src = {.fd = -1};
	struct put_opts opts = {0};
	archive_init(&a);
	CHECK_EQ(backend_put(a.be, CAL, &src, &opts, &obj, NULL), -EOPNOTSUPP);
	CHECK_EQ(a.be->caps, 0);
	archive_done(&a);
}

static void mast__files_have_an_origin(void)
{
	struct archive a;
	CLEANUP_BUF struct buf b;
	buf_init(&b, 1024);
	archive_init(&a);
	CHECK_EQ(backend_origin(a.be, CAL, NULL, &b), 0);
	CHECK_STR(b.data, "mem://bucket/" VISIT OBS "_cal.fits");
	buf_reset(&b);
	CHECK_EQ(backend_origin(a.be, "own/x", NULL, &b), 0);
	CHECK_STR(b.data, "mast:own/x");
	CHECK_EQ(asked(&a), 0);
	archive_done(&a);
}

static void mast__an_archive_that_is_away_fails_no_mount(void)
{
	struct archive a;
	archive_init(&a);
	CHECK_EQ(backend_probe(a.be, true, NULL), 0);
	a.probe_error = -ECOMM;
	CHECK_EQ(backend_probe(a.be, false, NULL), 0);
	a.probe_error = -ENODEV;
	CHECK_EQ(backend_probe(a.be, false, NULL), -ENODEV);
	a.probe_error = -EACCES;
	CHECK_EQ(backend_probe(a.be, false, NULL), -EACCES);
	mast_of(a.be)->waits = false;
	a.probe_error = -ECOMM;
	CHECK_EQ(backend_probe(a.be, false, NULL), -ECOMM);
	CHECK_EQ(a.probes, 5);
	archive_done(&a);
}

static void *use(void *arg)
{
	struct archive *a = arg;
	struct call call = {.deadline_ns = CLOCK_NEVER};
	for (int i = 0; i < 200; i++) {
		struct lines l;
		struct object obj = {.etag = "gone"};
		char bytes[16];
		CHECK_EQ(list(a, i % 2 ? OBS "/" : "jw02731/jw02731001001/", &l), 0);
		CHECK(l.n >= 4);
		CHECK_EQ(head(a, CAL, &obj), 0);
		int r = backend_check(a->be, CAL, &obj, &call);
		CHECK(!r || r == -ESTALE);
		if (i % 5 == 0)
			bucket_set(&a->bucket, VISIT OBS "_cal.fits", "other", NULL);
		r = backend_get(a->be, CAL, &obj, 0, 1, sink, bytes, NULL);
		CHECK(!r || r == -ESTALE);
		CHECK_EQ(list(a, "", &l), 0);
	}
	return NULL;
}

static void mast__threads_share_what_is_remembered(void)
{
	struct archive a;
	pthread_t threads[4];
	archive_init(&a);
	a.page_max = 2;
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&threads[i], NULL, use, &a));
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_join(threads[i], NULL));
	archive_done(&a);
}

static void mast__what_a_listing_does_not_tell(void)
{
	struct archive a;
	archive_init(&a);
	CHECK(backend_hides(a.be, OBS));
	CHECK(backend_hides(a.be, OBS "/jw02731_20240101t000000_pool.csv"));
	CHECK(!backend_hides(a.be, CAL));
	CHECK(!backend_hides(a.be, "some/odd_name.fits"));
	CHECK(!backend_hides(&a.bucket.be, OBS));
	CHECK_EQ(asked(&a), 0);
	archive_done(&a);
}

int main(void)
{
	RUN(mast__threads_share_what_is_remembered);
	clock_pretend();
	RUN(mast__an_observation_is_one_listing);
	RUN(mast__a_file_alone_is_one_head);
	RUN(mast__answers_last_an_hour_and_absence_less);
	RUN(mast__the_root_shows_what_is_known);
	RUN(mast__programs_and_visits_are_listed_one_level);
	RUN(mast__what_is_likely_is_believed_until_it_is_listed);
	RUN(mast__nothing_is_listed_recursively);
	RUN(mast__pages_make_one_listing);
	RUN(mast__half_a_listing_answers_nothing);
	RUN(mast__a_page_that_must_be_short_is_asked_for);
	RUN(mast__an_error_is_not_an_absence);
	RUN(mast__a_check_asks_once_a_ttl);
	RUN(mast__what_was_reprocessed_is_noticed);
	RUN(mast__an_archive_that_is_away_changes_nothing);
	RUN(mast__a_get_of_an_old_version_forgets);
	RUN(mast__what_a_listing_does_not_tell);
	RUN(mast__nothing_is_written);
	RUN(mast__files_have_an_origin);
	RUN(mast__an_archive_that_is_away_fails_no_mount);
	return 0;
}
