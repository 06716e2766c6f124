/* test_backend.c - the wrappers refuse what breaks the contract, before any store
 * sees it. */
#include <errno.h>
#include "backends/util/log.h"
#include "tests/unit/scratch.h"

static void backend__keys_have_limits(void)
{
	struct scratch s;
	struct object obj;
	char key[KEY_SIZE + 1];
	struct backend *be = scratch_backend(&s);
	memset(key, 'k', sizeof key);
	for (size_t i = 200; i < sizeof key; i += 200)
		key[i] = '/';
	key[KEY_SIZE] = '\0';
	CHECK_EQ(backend_head(be, key, &obj, NULL), -ENAMETOOLONG);
	CHECK_EQ(backend_del(be, key, NULL, NULL), -ENAMETOOLONG);
	CHECK_EQ(scratch_put(be, key, "x", NULL, NULL), -ENAMETOOLONG);
	key[KEY_SIZE - 1] = '\0';
	CHECK_EQ(backend_head(be, key, &obj, NULL), -ENOENT);
	CHECK_EQ(backend_head(be, "", &obj, NULL), -EINVAL);
	CHECK_EQ(backend_head(be, NULL, &obj, NULL), -EINVAL);
	CHECK_EQ(backend_rename(be, "a", "", NULL), -EINVAL);
	backend_free(be);
	scratch_done(&s);
}

static void backend__ranges_lie_within_the_object(void)
{
	static const struct {
		uint64_t off, len;
	} bad[] = {{0, 0},	    {0, 5},	     {4, 1}, {5, 1},
		   {UINT64_MAX, 2}, {2, UINT64_MAX}, {3, 2}};
	struct scratch s;
	struct object obj;
	struct bowl bowl = {.len = 0};
	struct backend *be = scratch_backend(&s);
	CHECK_EQ(scratch_put(be, "k", "text", NULL, &obj), 0);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK_EQ(backend_get(be, "k", &obj, bad[i].off, bad[i].len, bowl_sink,
				     &bowl, NULL),
			 -EINVAL);
	obj.etag[0] = '\0';
	CHECK_EQ(backend_get(be, "k", &obj, 0, 1, bowl_sink, &bowl, NULL), -EINVAL);
	backend_free(be);
	scratch_done(&s);
}

static void backend__sources_and_conditions_are_checked(void)
{
	struct scratch s;
	struct object obj;
	struct backend *be = scratch_backend(&s);
	struct source src = scratch_source("text", 4), huge = src;
	const struct put_opts none = {0};
	const struct put_opts both = {.cond = {.if_etag = "e", .if_absent = true}};
	const struct put_opts long_tag = {
		.tag = "0123456789012345678901234567890123456789"};
	huge.off = UINT64_MAX;
	CHECK_EQ(backend_put(be, "k", &huge, &none, &obj, NULL), -EINVAL);
	CHECK_EQ(backend_put(be, "k", NULL, &none, &obj, NULL), -EINVAL);
	CHECK_EQ(backend_put(be, "k", &src, &both, &obj, NULL), -EINVAL);
	CHECK_EQ(backend_put(be, "k", &src, &long_tag, &obj, NULL), -EINVAL);
	CHECK_EQ(backend_put(be, "k", &src, NULL, &obj, NULL), -EINVAL);
	CHECK_EQ(backend_del(be, "k", &(struct cond){.if_absent = true}, NULL), -EINVAL);
	be->limits.put_max = 3;
	CHECK_EQ(backend_put(be, "k", &src, &none, &obj, NULL), -EFBIG);
	be->limits.put_max = 4;
	CHECK_EQ(backend_put(be, "k", &src, &none, &obj, NULL), 0);
	(void)close(src.fd);
	backend_free(be);
	scratch_done(&s);
}

static void backend__read_only_takes_no_writes(void)
{
	struct scratch s;
	struct object obj;
	char *id;
	struct backend *be;
	backend_free(scratch_backend(&s));
	struct backend_conf conf = {.url = s.url, .read_only = true};
	CHECK_EQ(backend_open(&conf, &be), 0);
	CHECK_EQ(backend_probe(be, true, NULL), 0);
	CHECK_EQ(scratch_put(be, "k", "text", NULL, NULL), -EROFS);
	CHECK_EQ(backend_del(be, "k", NULL, NULL), -EROFS);
	CHECK_EQ(backend_rename(be, "k", "l", NULL), -EROFS);
	CHECK_EQ(backend_head(be, "k", &obj, NULL), -ENOENT);
	const struct put_opts none = {0};
	CHECK_EQ(backend_upload_begin(be, "k", 0, &none, &id, NULL), -EOPNOTSUPP);
	backend_free(be);
	scratch_done(&s);
}

static void backend__opens_what_it_knows(void)
{
	static const char *const bad[] = {
		"file://host/dir", "file:dir",	  "ftp://x/",	"", "/dir",
		"file:///a%0",	   "file:///%00", "file:///%zz"};
	struct backend *be;
	CHECK(backend_known_url("file:///x"));
	CHECK(!backend_known_url("frob://x"));
	CHECK(!backend_known_url("/dir"));
	CHECK(!backend_known_url(NULL));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK_EQ(backend_open(&(struct backend_conf){.url = bad[i]}, &be),
			 -EINVAL);
	CHECK_EQ(backend_open(&(struct backend_conf){.url = NULL}, &be), -EINVAL);
	CHECK_EQ(backend_open(&(struct backend_conf){.url = "file:///no%20such/"}, &be),
		 0);
	CHECK_EQ(backend_probe(be, false, NULL), -ENODEV);
	CHECK_STR(be->ops->scheme, "file");
	backend_free(be);
}

/* A store that only lists: pages of nothing, with tokens from a wheel. */
struct wheel {
	struct backend base;
	uint32_t n, size; /* 0 = it ends after n pages */
};

static int wheel_list(struct backend *be, const struct list_query *q, char **token,
		      list_fn *fn, void *arg, struct call *call)
{
	struct wheel *w = (struct wheel *)be;
	(void)q;
	(void)fn;
	(void)arg;
	(void)call;
	free(*token);
	*token = NULL;
	if (!w->size && !w->n--)
		return 0;
	char name[20];
	(void)snprintf(name, sizeof name, "t%u", w->size ? w->n++ % w->size : w->n);
	*token = strdup(name);
	return 0;
}

static void backend__listing_that_never_ends_is_ended(void)
{
	static const struct backend_ops ops = {.scheme = "wheel", .list = wheel_list};
	static char name[] = "wheel://";
	const struct list_query q = {.prefix = ""};
	for (uint32_t size = 0; size < 9; size++) {
		struct wheel w = {.base = {.ops = &ops, .name = name},
				  .n = size ? 0 : 1000,
				  .size = size};
		CHECK_EQ(backend_list_all(&w.base, &q, NULL, NULL, NULL),
			 size ? -EREMOTEIO : 0);
		CHECK(!size || w.n < 100);
	}
}

static void backend__parts_fit_the_store(void)
{
	const uint64_t mib = 1 << 20, gib = mib << 10;
	struct backend be = {.caps = BACKEND_UPLOAD,
			     .limits = {.part_min = 5 * mib,
					.part_max = 5 * gib,
					.part_align = 1,
					.parts_max = 10000,
					.object_max = 5 * gib * 1024}};
	CHECK_EQ(backend_part_size(&be, 0), 8 * mib);
	CHECK_EQ(backend_part_size(&be, 10000 * 8 * mib), 8 * mib);
	CHECK_EQ(backend_part_size(&be, 10000 * 8 * mib + 1), 8 * mib + 1);
	uint64_t part = backend_part_size(&be, be.limits.object_max);
	CHECK(part * 10000 >= be.limits.object_max && part <= be.limits.part_max);
	CHECK_EQ(backend_part_size(&be, be.limits.object_max + 1), 0);
	be.limits.part_align = 256 << 10;
	part = backend_part_size(&be, be.limits.object_max - 1);
	CHECK_EQ(part % (256 << 10), 0);
	be.limits.part_max = 4 * mib;
	be.limits.part_min = 1;
	CHECK_EQ(backend_part_size(&be, 0), 4 * mib);
	CHECK_EQ(backend_part_size(&be, 50000 * mib), 0);
	be.caps = 0;
	CHECK_EQ(backend_part_size(&be, 1), 0);
}

/* A rename would keep the tag of the old name. */
static void backend__renames_only_what_is_placed_alike(void)
{
	static const char raw[] = "jw02731001001_02101_00001_nrcb1_uncal.fits";
	struct scratch s;
	struct object obj;
	struct backend *be = scratch_backend(&s);
	CHECK_EQ(scratch_put(be, "a", "x", NULL, &obj), 0);
	be->caps |= BACKEND_PLACED;
	CHECK_EQ(backend_rename(be, "a", raw, NULL), -EOPNOTSUPP);
	CHECK_EQ(backend_rename(be, "a", "b", NULL), 0);
	be->caps &= ~(uint32_t)BACKEND_PLACED;
	CHECK_EQ(backend_rename(be, "b", raw, NULL), 0);
	backend_free(be);
	scratch_done(&s);
}

int main(void)
{
	RUN(backend__keys_have_limits);
	RUN(backend__ranges_lie_within_the_object);
	RUN(backend__sources_and_conditions_are_checked);
	RUN(backend__read_only_takes_no_writes);
	RUN(backend__opens_what_it_knows);
	RUN(backend__listing_that_never_ends_is_ended);
	RUN(backend__parts_fit_the_store);
	RUN(backend__renames_only_what_is_placed_alike);
	return 0;
}
