/* nth_canned.h - one operation of a store against canned answers, while calls fail.
 *
 * The store is opened for each, so that what it is opened from (environment, files,
 * URL) is part of what fails.
 */
#ifndef TESTS_UNIT_NTH_CANNED_H
#define TESTS_UNIT_NTH_CANNED_H
#include "backends/util/log.h"
#include "tests/unit/canned.h"
#include "tests/unit/nth.h"
#include "tests/unit/scratch.h"

struct canned_op {
	const char *name, *url;
	const char *answers[8];
	/* What it returns is the operation's; what it got is checked if that is 0. */
	int (*run)(struct backend *be);
};

typedef int canned_open_fn(const struct backend_conf *conf, struct backend **ret);

static canned_open_fn *canned_open;
static const struct canned_op *canned_now;

static inline void canned_scenario(void)
{
	struct server s = {.served = 0};
	struct backend *be = NULL;
	char endpoint[64];
	memcpy(s.answers, canned_now->answers, sizeof(s.answers));
	server_start(&s, NULL);
	(void)snprintf(endpoint, sizeof(endpoint), "%.*s", (int)(strlen(s.url) - 4),
		       s.url);
	struct backend_conf conf = {.url = canned_now->url, .endpoint = endpoint};
	nth_arm();
	int r = canned_open(&conf, &be);
	if (!r) {
		r = canned_now->run(be);
		be->ops->free(be);
	}
	nth_disarm();
	server_stop(&s);
	(void)nth_step(r);
}

/* Each of n operations, as scenario "name". */
static inline void canned_sweeps(canned_open_fn *open, const struct canned_op *ops,
				 size_t n)
{
	canned_open = open;
	for (size_t i = 0; i < n; i++) {
		canned_now = &ops[i];
		nth_sweep(ops[i].name, NTH_KIND_MALLOC, 10, canned_scenario);
	}
}

/* An object of these five bytes: all of them come, or none. */
static inline int canned_peek(struct backend *be, const char *want)
{
	char bytes[16];
	struct object obj;
	struct first first = {.bytes = bytes, .max = sizeof(bytes)};
	int r = backend_peek(be, "a b/c+", &obj, &first, NULL);
	CHECK(r || (obj.size == 5 && (!first.len || first.len == 5)));
	CHECK(!first.len || (!r && !memcmp(bytes, want, 5)));
	return r;
}

/* A listing as text: "key=size prefix/ ". */
struct canned_list {
	char text[1024];
};

static inline int canned_note(void *arg, const char *key, size_t len,
			      const struct object *obj)
{
	struct canned_list *l = arg;
	size_t n = strlen(l->text);
	(void)snprintf(l->text + n, sizeof(l->text) - n, "%.*s%s", (int)len, key,
		       obj ? "" : "*");
	n = strlen(l->text);
	if (obj)
		(void)snprintf(l->text + n, sizeof(l->text) - n, "=%d", (int)obj->size);
	(void)snprintf(l->text + strlen(l->text), 2, " ");
	return 0;
}

/* One page below d/; nothing of a page that fails is told, and the token stays. */
static inline int canned_list(struct backend *be, const char *want)
{
	struct canned_list seen = {""};
	struct list_query q = {.prefix = "d/", .delim = '/'};
	char *token = NULL;
	int r = be->ops->list(be, &q, &token, canned_note, &seen, NULL);
	CHECK_STR(seen.text, r ? "" : want);
	CHECK(!r || !token);
	free(token);
	return r;
}

static inline int canned_get(struct backend *be, const struct object *obj,
			     const char *want)
{
	struct bowl bowl = {.len = 0};
	int r = be->ops->get(be, "k", obj, 0, obj->size, bowl_sink, &bowl, NULL);
	CHECK(r || !strcmp(bowl.data, want));
	return r;
}

static inline int canned_put(struct backend *be, const char *want_etag)
{
	struct object obj;
	struct source src = scratch_source("123456789", 9);
	struct put_opts opts = {.cond.if_absent = true, .mtime_ns = 1, .tag = "t1"};
	int r = be->ops->put(be, "jw01_uncal.fits", &src, &opts, &obj, NULL);
	(void)close(src.fd);
	CHECK(r || !strcmp(obj.etag, want_etag));
	return r;
}

static inline int canned_del(struct backend *be, const char *if_etag)
{
	struct cond cond = {.if_etag = if_etag};
	return be->ops->del(be, "k", &cond, NULL);
}

static inline int canned_copy(struct backend *be, const struct object *from)
{
	struct object obj;
	struct put_opts opts = {.mtime_ns = 1};
	return be->ops->copy(be, "a b", from, "to", &opts, &obj, NULL);
}

static inline int canned_upload(void *arg, const char *key, const char *id,
				int64_t started_ns)
{
	(void)started_ns;
	CHECK(*key && *id);
	++*(int *)arg;
	return 0;
}
#endif
