/* test_nth_local.c - no memory, at any point of what the local backend and the wrapper
 * that tries again do with real files: an object is old or new (P4), and nothing is left
 * lying about. */
#include <errno.h>
#include "backends/util/log.h"
#include "tests/unit/nth.h"
#include "tests/unit/nth_model.h"
#include "tests/unit/scratch.h"
#include "backends/util/banned.h"

static struct scratch scratch;
static struct model model;

static struct call call_10s(void)
{
	return (struct call){.deadline_ns = clock_add(clock_now_ns(), 10 * NS_PER_S)};
}

static struct backend *be_open(void)
{
	struct backend_conf conf = {.url = scratch.url};
	struct backend *be = NULL;
	struct call call = call_10s();
	int r = backend_open(&conf, &be);
	if (!r)
		r = backend_probe(be, true, &call);
	if (!nth_step(r))
		return be;
	backend_free(be);
	return NULL;
}

static void put(struct backend *be, const char *key, const char *text)
{
	struct call call = call_10s();
	struct source src = scratch_source(text, strlen(text));
	struct put_opts opts = {.tag = "t1", .mtime_ns = 1};
	struct object obj;
	int r = backend_put(be, key, &src, &opts, &obj, &call);
	(void)close(src.fd);
	model_set(&model, key, text, nth_step(r));
}

/* What is there; NULL: nothing. */
static int look(struct backend *be, const char *key, struct bowl *bowl, const char **ret)
{
	struct call call = call_10s();
	struct object obj;
	*ret = NULL;
	int r = backend_head(be, key, &obj, &call);
	if (r)
		return r == -ENOENT ? 0 : r;
	*ret = bowl->data;
	*bowl = (struct bowl){.len = 0};
	return obj.size ? backend_get(be, key, &obj, 0, obj.size, bowl_sink, bowl, &call)
			: 0;
}

static void check(struct backend *be, const char *key)
{
	static struct bowl bowl;
	const char *got;
	if (!nth_step(look(be, key, &bowl, &got)))
		CHECK(model_may(&model, key, got));
}

static void del(struct backend *be, const char *key)
{
	struct call call = call_10s();
	int r = backend_del(be, key, NULL, &call);
	model_set(&model, key, NULL, nth_step(r == -ENOENT ? 0 : r));
}

static void copy(struct backend *be, const char *from, const char *to, const char *text)
{
	struct call call = call_10s();
	struct put_opts opts = {.mtime_ns = 1};
	struct object obj, made;
	int r = backend_head(be, from, &obj, &call);
	if (r == -ENOENT)
		return;
	if (!r)
		r = backend_copy(be, from, &obj, to, &opts, &made, &call);
	model_set(&model, to, text, nth_step(r));
}

static void move(struct backend *be, const char *from, const char *to)
{
	struct call call = call_10s();
	int r = backend_rename(be, from, to, &call);
	if (r != -ENOENT)
		model_rename(&model, from, to, nth_step(r));
}

static int no_entry(void *arg, const char *key, size_t len, const struct object *obj)
{
	(void)key;
	(void)len;
	(void)obj;
	++*(int *)arg;
	return 0;
}

static void list(struct backend *be, const char *prefix)
{
	struct call call = call_10s();
	struct list_query q = {.prefix = prefix, .delim = '/'};
	int n = 0;
	(void)nth_step(backend_list_all(be, &q, no_entry, &n, &call));
}

static void script(struct backend *be)
{
	put(be, "a", "first");
	put(be, "a", "second");
	put(be, "d/e/f", "deep");
	list(be, "");
	list(be, "d/");
	check(be, "a");
	copy(be, "d/e/f", "d/copy", "deep");
	move(be, "d/copy", "moved/here");
	del(be, "d/e/f");
	check(be, "moved/here");
}

static void scenario(void)
{
	struct backend *be;
	(void)snprintf(scratch.dir, sizeof(scratch.dir), "%s/mastfs-test-XXXXXX",
		       getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	CHECK(mkdtemp(scratch.dir));
	(void)snprintf(scratch.url, sizeof(scratch.url), "file://%s", scratch.dir);
	nth_arm();
	be = be_open();
	if (be)
		script(be);
	backend_free(be);
	nth_disarm();

	be = be_open();
	CHECK(be);
	for (size_t i = 0; i < model.n; i++)
		check(be, model.names[i].path);
	put(be, "a", "after all");
	check(be, "a");
	backend_free(be);
	scratch_done(&scratch);
}

int main(int argc, char **argv)
{
	nth_start(argc, argv);
	nth_sweep("local", NTH_KIND_MALLOC, 10, scenario);
	return nth_end();
}
