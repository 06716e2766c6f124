/* test_local.c - what only the local backend has: real directories, links, rewrites
 * within a tick, what a dead process left behind.  What all stores share is in
 * tests/contract. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include "backends/util/log.h"
#include "tests/unit/scratch.h"

static void path_of(const struct scratch *s, const char *name, char ret[256])
{
	(void)snprintf(ret, 256, "%s/%s", s->dir, name);
}

static void local__hostile_keys_do_not_escape(void)
{
	static const char *const keys[] = {
		"../x",	       "a/../b", "./x",		  "/etc/passwd",
		"..",	       ".",	 "a//b",	  "a/./b",
		"a/..",	       "//",	 ".mastfs-tmp/x", ".mastfs-tmp",
		".mastfs-tmp/"};
	struct scratch s;
	struct object obj;
	struct backend *be = scratch_backend(&s);
	CHECK_EQ(scratch_put(be, "a/b", "text", NULL, NULL), 0);
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		CHECK_EQ(scratch_put(be, keys[i], "x", NULL, NULL),
			 keys[i][strlen(keys[i]) - 1] == '/' ? -EINVAL : -EILSEQ);
		CHECK_EQ(backend_head(be, keys[i], &obj, NULL), -EILSEQ);
		CHECK_EQ(backend_del(be, keys[i], NULL, NULL), -EILSEQ);
		CHECK_EQ(backend_rename(be, "a/b", keys[i], NULL),
			 keys[i][strlen(keys[i]) - 1] == '/' ? -EOPNOTSUPP : -EILSEQ);
	}
	char key[300];
	memset(key, 'x', 256);
	key[256] = '\0';
	CHECK_EQ(scratch_put(be, key, "x", NULL, NULL), -ENAMETOOLONG);
	backend_free(be);
	scratch_done(&s);
}

struct listing {
	char keys[2000];
	size_t n;
};

static int note_key(void *arg, const char *key, size_t key_len, const struct object *obj)
{
	struct listing *l = arg;
	CHECK_EQ(strlen(key), key_len);
	size_t used = strlen(l->keys);
	(void)snprintf(l->keys + used, sizeof l->keys - used, "%s%s ", key,
		       obj ? "" : "*");
	l->n++;
	return 0;
}

static const char *list(struct backend *be, const char *prefix, char delim, uint32_t max)
{
	static struct listing l;
	const struct list_query q = {.prefix = prefix, .delim = delim, .max = max};
	l = (struct listing){.n = 0};
	CHECK_EQ(backend_list_all(be, &q, note_key, &l, NULL), 0);
	return l.keys;
}

static void local__links_are_no_objects(void)
{
	struct scratch s;
	struct object obj;
	char path[256];
	struct backend *be = scratch_backend(&s);
	CHECK_EQ(scratch_put(be, "d/real", "text", NULL, NULL), 0);
	path_of(&s, "link", path);
	CHECK(!symlink("/etc/passwd", path));
	path_of(&s, "dirlink", path);
	CHECK(!symlink("/etc", path));
	path_of(&s, "fifo", path);
	CHECK(!mkfifo(path, 0600));
	CHECK_EQ(backend_head(be, "link", &obj, NULL), -ENOENT);
	CHECK_EQ(backend_head(be, "dirlink/passwd", &obj, NULL), -ENOENT);
	CHECK_EQ(backend_head(be, "fifo", &obj, NULL), -ENOENT);
	CHECK_EQ(backend_del(be, "link", NULL, NULL), -ENOENT);
	CHECK_EQ(scratch_put(be, "link", "x", NULL, NULL), -EEXIST);
	CHECK_EQ(scratch_put(be, "dirlink/x", "x", NULL, NULL), -ENOTDIR);
	CHECK_STR(list(be, "", '/', 0), "d/* ");
	CHECK_STR(list(be, "", 0, 0), "d/ d/real ");
	CHECK_STR(list(be, "dirlink/", 0, 0), "");
	backend_free(be);
	scratch_done(&s);
}

static void local__listing_has_the_order_of_an_object_store(void)
{
	static const char *const keys[] = {"a-b", "a/x", "a/y/z", "a0", "a.c", "b/c"};
	struct scratch s;
	struct backend *be = scratch_backend(&s);
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		CHECK_EQ(scratch_put(be, keys[i], "x", NULL, NULL), 0);
	for (uint32_t max = 0; max < 12; max++) {
		CHECK_STR(list(be, "", 0, max), "a-b a.c a/ a/x a/y/ a/y/z a0 b/ b/c ");
		CHECK_STR(list(be, "", '/', max), "a-b a.c a/* a0 b/* ");
		CHECK_STR(list(be, "a/", '/', max), "a/ a/x a/y/* ");
		CHECK_STR(list(be, "a", '/', max), "a-b a.c a/* a0 ");
		CHECK_STR(list(be, "a/y", 0, max), "a/y/ a/y/z ");
		CHECK_STR(list(be, "a/x", 0, max), "a/x ");
	}
	CHECK_STR(list(be, "zzz", 0, 0), "");
	CHECK_STR(list(be, "a-b/", 0, 0), "");
	CHECK_STR(list(be, "../", '/', 0), "");
	CHECK_STR(list(be, "/", '/', 0), "");
	backend_free(be);
	scratch_done(&s);
}

static void local__many_names_in_small_pages(void)
{
	enum { N = 3000 };
	struct scratch s;
	char path[256], last[16] = "";
	struct backend *be = scratch_backend(&s);
	for (int i = 0; i < N; i++) {
		char name[16];
		(void)snprintf(name, sizeof name, "n%d", i);
		path_of(&s, name, path);
		int fd = open(path, O_CREAT | O_WRONLY, 0600);
		CHECK(fd >= 0);
		(void)close(fd);
	}
	char *token = NULL;
	const struct list_query q = {.prefix = "n", .delim = '/', .max = 100};
	uint32_t n = 0;
	do {
		struct listing l = {.n = 0};
		CHECK_EQ(backend_list(be, &q, &token, note_key, &l, NULL), 0);
		CHECK(l.n == 100);
		for (char *rest = l.keys, *key; (key = strsep(&rest, " ")) && *key; n++) {
			CHECK(strcmp(last, key) < 0);
			(void)snprintf(last, sizeof last, "%s", key);
		}
	} while (token);
	CHECK_EQ(n, N);
	backend_free(be);
	scratch_done(&s);
}

static void local__markers_are_directories(void)
{
	struct scratch s;
	struct object obj, other;
	struct backend *be = scratch_backend(&s);
	const struct put_opts absent = {.cond.if_absent = true};
	CHECK_EQ(scratch_put(be, "d/", "", NULL, &obj), 0);
	CHECK_EQ(obj.size, 0);
	CHECK_EQ(scratch_put(be, "d/", "", &absent, NULL), -EEXIST);
	CHECK_EQ(scratch_put(be, "d/", "bytes", NULL, NULL), -EINVAL);
	CHECK_EQ(scratch_put(be, "d/x", "text", NULL, NULL), 0);
	CHECK_EQ(backend_head(be, "d/", &other, NULL), 0);
	CHECK_STR(obj.etag, other.etag);
	CHECK_EQ(backend_head(be, "d", &other, NULL), -ENOENT);
	CHECK_EQ(backend_del(be, "d/", NULL, NULL), 0);
	CHECK_EQ(backend_head(be, "d/x", &other, NULL), 0);
	CHECK_EQ(backend_del(be, "d/x", NULL, NULL), 0);
	CHECK_EQ(backend_head(be, "d/", &other, NULL), 0);
	CHECK_EQ(backend_del(be, "d/", NULL, NULL), 0);
	CHECK_EQ(backend_del(be, "d/", NULL, NULL), -ENOENT);
	CHECK_EQ(backend_head(be, "d/", &other, NULL), -ENOENT);
	backend_free(be);
	scratch_done(&s);
}

static void local__files_and_directories_conflict(void)
{
	struct scratch s;
	struct object obj;
	struct backend *be = scratch_backend(&s);
	CHECK_EQ(scratch_put(be, "f", "x", NULL, NULL), 0);
	CHECK_EQ(scratch_put(be, "d/", "", NULL, NULL), 0);
	CHECK_EQ(scratch_put(be, "f/x", "x", NULL, NULL), -ENOTDIR);
	CHECK_EQ(scratch_put(be, "f/", "", NULL, NULL), -ENOTDIR);
	CHECK_EQ(scratch_put(be, "d", "x", NULL, NULL), -EISDIR);
	CHECK_EQ(backend_head(be, "f/x", &obj, NULL), -ENOENT);
	CHECK_EQ(backend_del(be, "f/x", NULL, NULL), -ENOENT);
	CHECK_EQ(backend_del(be, "d", NULL, NULL), -ENOENT);
	CHECK_EQ(backend_rename(be, "f", "d", NULL), -EISDIR);
	CHECK_EQ(backend_rename(be, "d", "e", NULL), -ENOENT);
	backend_free(be);
	scratch_done(&s);
}

/* Delete and put, three rewrites, a rename over: the same name, size and mtime, and
 * often the same inode, far within one tick. */
static void local__no_two_versions_share_an_etag(void)
{
	enum { N = 120 };
	struct scratch s;
	static struct object objs[N];
	const struct put_opts opts = {.mtime_ns = 1000000000};
	struct backend *be = scratch_backend(&s);
	for (int i = 0; i < N; i++) {
		const char *key = i % 5 ? "k" : "other";
		CHECK_EQ(scratch_put(be, key, "text", &opts, &objs[i]), 0);
		if (!(i % 5))
			CHECK_EQ(backend_rename(be, key, "k", NULL), 0);
		CHECK_EQ(backend_head(be, "k", &objs[i], NULL), 0);
		if (i % 2)
			CHECK_EQ(backend_del(be, "k", NULL, NULL), 0);
		for (int j = 0; j < i; j++)
			CHECK(strcmp(objs[i].etag, objs[j].etag) != 0);
	}
	backend_free(be);
	scratch_done(&s);
}

/* P1. */
static int write_into_it(void *arg, uint64_t off, const void *bytes, size_t len)
{
	(void)off;
	(void)bytes;
	(void)len;
	int fd = open(arg, O_WRONLY);
	CHECK(fd >= 0 && pwrite(fd, "X", 1, 0) == 1);
	(void)close(fd);
	return 0;
}

static void local__file_written_while_read_is_stale(void)
{
	struct scratch s;
	struct object obj;
	char path[256];
	struct backend *be = scratch_backend(&s);
	CHECK_EQ(scratch_put(be, "k", "text", NULL, &obj), 0);
	path_of(&s, "k", path);
	clock_sleep_ns(20 * NS_PER_MS);
	CHECK_EQ(backend_get(be, "k", &obj, 0, 4, write_into_it, path, NULL), -ESTALE);
	CHECK_EQ(backend_head(be, "k", &obj, NULL), 0);
	CHECK(!truncate(path, 2));
	CHECK_EQ(backend_get(be, "k", &obj, 0, 4, write_into_it, path, NULL), -ESTALE);
	backend_free(be);
	scratch_done(&s);
}

static void local__source_shorter_than_said_is_refused(void)
{
	struct scratch s;
	struct object obj;
	const struct put_opts none = {0};
	struct backend *be = scratch_backend(&s);
	struct source src = scratch_source("text", 4);
	src.len = 5;
	CHECK_EQ(backend_put(be, "k", &src, &none, &obj, NULL), -EINVAL);
	CHECK_EQ(backend_head(be, "k", &obj, NULL), -ENOENT);
	src.off = 1;
	src.len = 2;
	CHECK_EQ(backend_put(be, "k", &src, &none, &obj, NULL), 0);
	struct bowl bowl;
	CHECK_EQ(scratch_get(be, "k", &obj, &bowl, NULL), 0);
	CHECK_STR(bowl.data, "ex");
	(void)close(src.fd);
	backend_free(be);
	scratch_done(&s);
}

static void local__probe_removes_what_the_dead_left(void)
{
	struct scratch s;
	char live[256], young[256];
	struct backend *be = scratch_backend(&s);
	path_of(&s, ".mastfs-tmp/live", live);
	path_of(&s, ".mastfs-tmp/young", young);
	int fd = open(live, O_CREAT | O_RDWR, 0600);
	CHECK(fd >= 0 && !flock(fd, LOCK_EX));
	int fd2 = open(young, O_CREAT | O_RDWR, 0600);
	CHECK(fd2 >= 0);
	(void)close(fd2);
	/* Age is of the inode's change, which no test can set: only that neither a
	 * locked nor a young file goes can be shown here. */
	CHECK_EQ(backend_probe(be, true, NULL), 0);
	CHECK(!access(live, F_OK) && !access(young, F_OK));
	CHECK_STR(list(be, "", 0, 0), "");
	CHECK_STR(list(be, ".mastfs-tmp/", 0, 0), "");
	(void)close(fd);
	backend_free(be);
	scratch_done(&s);
}

static void local__failed_put_leaves_nothing(void)
{
	struct scratch s;
	struct object obj;
	char path[256];
	const struct put_opts stale = {.cond.if_etag = "other"};
	struct backend *be = scratch_backend(&s);
	CHECK_EQ(scratch_put(be, "k", "text", NULL, &obj), 0);
	CHECK_EQ(scratch_put(be, "k", "more", &stale, NULL), -ESTALE);
	CHECK_EQ(scratch_put(be, "l", "more", &stale, NULL), -ESTALE);
	path_of(&s, ".mastfs-tmp", path);
	CHECK(!rmdir(path));				       /* it is empty */
	CHECK_EQ(scratch_put(be, "k", "more", NULL, NULL), 0); /* and made again */
	backend_free(be);
	scratch_done(&s);
}

static void local__missing_or_unwritable_root_is_told(void)
{
	struct scratch s;
	struct backend *be = scratch_backend(&s);
	char path[256], url[300];
	path_of(&s, "f", path);
	CHECK_EQ(scratch_put(be, "f", "x", NULL, NULL), 0);
	(void)snprintf(url, sizeof url, "file://%s", path);
	backend_free(be);
	CHECK_EQ(local_open(&(struct backend_conf){.url = url}, &be), 0);
	CHECK_EQ(backend_probe(be, true, NULL), -ENODEV);
	backend_free(be);
	/* procfs takes no files from anybody, root or not. */
	CHECK_EQ(local_open(&(struct backend_conf){.url = "file:///proc/self"}, &be), 0);
	CHECK_EQ(backend_probe(be, true, NULL), 0);
	CHECK(!(be->caps & BACKEND_WRITE));
	CHECK_EQ(scratch_put(be, "k", "x", NULL, NULL), -EROFS);
	backend_free(be);
	scratch_done(&s);
}

struct racer {
	struct backend *be;
	atomic_uint *won;
	const char *etag;
};

static void *race(void *arg)
{
	struct racer *racer = arg;
	const struct put_opts opts = {
		.cond = {.if_etag = racer->etag, .if_absent = !racer->etag}};
	int r = scratch_put(racer->be, "k", "text", &opts, NULL);
	CHECK(!r || r == (racer->etag ? -ESTALE : -EEXIST));
	if (!r)
		atomic_fetch_add(racer->won, 1);
	return NULL;
}

/* P5. */
static void local__one_of_many_conditional_puts_wins(void)
{
	struct scratch s;
	struct object obj;
	struct backend *be = scratch_backend(&s);
	for (int round = 0; round < 20; round++) {
		atomic_uint won = 0;
		pthread_t threads[8];
		struct racer racer = {be, &won, round ? obj.etag : NULL};
		for (int i = 0; i < 8; i++)
			CHECK(!pthread_create(&threads[i], NULL, race, &racer));
		for (int i = 0; i < 8; i++)
			(void)pthread_join(threads[i], NULL);
		CHECK_EQ(atomic_load(&won), 1);
		CHECK_EQ(backend_head(be, "k", &obj, NULL), 0);
	}
	backend_free(be);
	scratch_done(&s);
}

int main(void)
{
	RUN(local__hostile_keys_do_not_escape);
	RUN(local__links_are_no_objects);
	RUN(local__listing_has_the_order_of_an_object_store);
	RUN(local__many_names_in_small_pages);
	RUN(local__markers_are_directories);
	RUN(local__files_and_directories_conflict);
	RUN(local__no_two_versions_share_an_etag);
	RUN(local__file_written_while_read_is_stale);
	RUN(local__source_shorter_than_said_is_refused);
	RUN(local__probe_removes_what_the_dead_left);
	RUN(local__failed_put_leaves_nothing);
	RUN(local__missing_or_unwritable_root_is_told);
	RUN(local__one_of_many_conditional_puts_wins);
	return 0;
}
