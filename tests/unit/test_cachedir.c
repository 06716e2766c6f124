/* test_cachedir.c - who may use a cache directory, and how much of the disk. */
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "fs/cachedir.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include "backends/util/banned.h"

static struct scratch scratch = {.dir = "/tmp/mastfs-test-XXXXXX"};
static const char *const folder = scratch.dir;

static char *in_folder(const char *name, char path[static PATH_MAX])
{
	(void)snprintf(path, PATH_MAX, "%s/%s", folder, name);
	return path;
}

static int open_once(const char *path)
{
	struct cachedir d;
	int r = cachedir_open(path, &d);
	cachedir_done(&d);
	return r;
}

static void cachedir__is_made_for_us_alone(void)
{
	char path[PATH_MAX];
	struct cachedir d;
	struct stat st;
	CHECK_EQ(cachedir_open(in_folder("a/b", path), &d), 0);
	CHECK_STR(d.path, path);
	CHECK(stat(path, &st) == 0);
	CHECK_EQ(st.st_mode & 07777, 0700);
	CHECK_EQ(cachedir_lock(&d), 0);
	CHECK_EQ(cachedir_enter(&d, "s3://b/p at https://h"), 0);
	CHECK_EQ(strlen(d.source), strlen(path) + 1 + 16);
	CHECK(stat(d.source, &st) == 0);
	CHECK_EQ(st.st_mode & 07777, 0700);

	char name[PATH_MAX], line[64] = "";
	(void)snprintf(name, sizeof name, "%s/source", d.source);
	FILE *f = fopen(name, "re");
	CHECK(f && fgets(line, sizeof line, f) && fclose(f) == 0);
	CHECK_STR(line, "s3://b/p at https://h\n");
	cachedir_done(&d);
}

static void cachedir__sources_do_not_mix(void)
{
	char path[PATH_MAX];
	struct cachedir a, b;
	CHECK_EQ(cachedir_open(in_folder("mix", path), &a), 0);
	CHECK_EQ(cachedir_open(path, &b), 0);
	CHECK_EQ(cachedir_enter(&a, "s3://one"), 0);
	CHECK_EQ(cachedir_enter(&b, "s3://two"), 0);
	CHECK(strcmp(a.source, b.source) != 0);
	cachedir_done(&a);
	cachedir_done(&b);
}

/* T8. */
static void cachedir__is_refused_where_others_could_forge(void)
{
	char path[PATH_MAX], link[PATH_MAX], below[PATH_MAX];
	CHECK_EQ(mkdir(in_folder("open", path), 0700), 0);
	CHECK_EQ(chmod(path, 0770), 0);
	CHECK_EQ(open_once(path), -EPERM);
	CHECK_EQ(open_once(in_folder("open/below", below)), -EPERM);
	CHECK_EQ(chmod(path, 01777), 0);
	CHECK_EQ(open_once(below), 0);

	CHECK_EQ(mkdir(in_folder("good", path), 0700), 0);
	CHECK_EQ(symlink(path, in_folder("link", link)), 0);
	CHECK_EQ(open_once(link), -ENOTDIR);
	CHECK_EQ(symlink("/nonexistent", in_folder("dangling", link)), 0);
	CHECK(open_once(link) < 0);
	if (geteuid() == 0) {
		CHECK_EQ(chown(path, 65534, 65534), 0);
		CHECK_EQ(open_once(path), -EPERM);
	}
}

/* C6.  flock is of the open file: a second opening conflicts in one process too. */
static void cachedir__second_user_is_refused(void)
{
	char path[PATH_MAX];
	struct cachedir a, b;
	struct cachedir_holder h;
	CHECK_EQ(cachedir_open(in_folder("lock", path), &a), 0);
	CHECK_EQ(cachedir_open(path, &b), 0);
	CHECK_EQ(cachedir_lock(&a), 0);
	CHECK_EQ(cachedir_holder(path, &h), 0);
	CHECK_EQ(h.pid, getpid());
	CHECK_EQ(h.state, CACHEDIR_SERVING);
	CHECK_EQ(cachedir_lock(&b), -EBUSY);
	cachedir_tell(&a, CACHEDIR_ENDED, 3);
	CHECK_EQ(cachedir_holder(path, &h), 0);
	CHECK_EQ(h.state, CACHEDIR_ENDED);
	CHECK_EQ(h.number, 3);
	cachedir_done(&a);
	cachedir_done(&b);
	CHECK_EQ(cachedir_open(path, &b), 0);
	CHECK_EQ(cachedir_lock(&b), 0);
	cachedir_done(&b);
}

/* A pid says who it is only where it was given. */
static void cachedir__holder_in_another_container_is_told_apart(void)
{
	static const struct {
		const char *line;
		int r;
		bool elsewhere;
		const char *host;
	} cases[] = {{"serving 7 0 1 there\nname\n", 0, true, "there"},
		     {"serving 7 0 0 there\n", 0, false, "there"},
		     {"serving 7 0\n", 0, false, ""},
		     {"serving 7\n", -EBADMSG, false, ""},
		     {"dancing 7 0 1 there\n", -EBADMSG, false, ""},
		     {"", -EBADMSG, false, ""}};
	char path[PATH_MAX];
	struct cachedir a;
	struct cachedir_holder h;
	CHECK_EQ(cachedir_open(in_folder("elsewhere", path), &a), 0);
	CHECK_EQ(cachedir_lock(&a), 0);
	CHECK_EQ(cachedir_holder(path, &h), 0);
	CHECK(!h.elsewhere && *h.host);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t n = strlen(cases[i].line);
		CHECK_EQ(ftruncate(a.lock, 0), 0);
		CHECK_EQ(pwrite(a.lock, cases[i].line, n, 0), n);
		CHECK_EQ(cachedir_holder(path, &h), cases[i].r);
		if (cases[i].r)
			continue;
		CHECK_EQ(h.elsewhere, cases[i].elsewhere);
		CHECK_STR(h.host, cases[i].host);
	}
	cachedir_done(&a);
}

/* The lock of a is held by a process that ends soon. */
static void waits_for_the_holder(struct cachedir *a, const char *path)
{
	struct cachedir b;
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		(void)usleep(300000);
		_exit(0);
	}
	cachedir_done(a); /* the child holds it */
	CHECK_EQ(cachedir_open(path, &b), 0);
	CHECK_EQ(cachedir_lock(&b), 0);
	cachedir_done(&b);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

static void cachedir__draining_daemon_is_waited_for(void)
{
	char path[PATH_MAX];
	struct cachedir a;
	CHECK_EQ(cachedir_open(in_folder("drain", path), &a), 0);
	CHECK_EQ(cachedir_lock(&a), 0);
	cachedir_tell(&a, CACHEDIR_DRAINING, 60);
	waits_for_the_holder(&a, path);
}

/* It has drained for longer than it may take to let go, and is seen before it has: an
 * ended one's number is no time. */
static void cachedir__drained_daemon_is_waited_for(void)
{
	char path[PATH_MAX];
	struct cachedir a, b;
	CHECK_EQ(cachedir_open(in_folder("drained", path), &a), 0);
	CHECK_EQ(cachedir_lock(&a), 0);
	cachedir_tell(&a, CACHEDIR_DRAINING, 60);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		(void)usleep(6500000);
		cachedir_tell(&a, CACHEDIR_ENDED, 0);
		(void)usleep(500000);
		_exit(0);
	}
	cachedir_done(&a);
	CHECK_EQ(cachedir_open(path, &b), 0);
	CHECK_EQ(cachedir_lock(&b), 0);
	cachedir_done(&b);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

/* It has the lock before it has said so. */
static void cachedir__a_holder_that_has_said_nothing_has_a_moment(void)
{
	char path[PATH_MAX];
	struct cachedir a;
	CHECK_EQ(cachedir_open(in_folder("mute", path), &a), 0);
	CHECK_EQ(cachedir_lock(&a), 0);
	CHECK_EQ(ftruncate(a.lock, 0), 0);
	waits_for_the_holder(&a, path);
}

/* Who looks while it is written reads the old line or the new one. */
static void cachedir__what_it_says_is_always_whole(void)
{
	char path[PATH_MAX];
	struct cachedir d;
	struct cachedir_holder h;
	int status;
	CHECK_EQ(cachedir_open(in_folder("whole", path), &d), 0);
	CHECK_EQ(cachedir_lock(&d), 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	for (int i = 0; pid == 0 && i < 20000; i++)
		cachedir_tell(&d, i % 2 ? CACHEDIR_SERVING : CACHEDIR_DRAINING, 60);
	if (pid == 0)
		_exit(0);
	while (waitpid(pid, &status, WNOHANG) == 0)
		CHECK_EQ(cachedir_holder(path, &h), 0);
	CHECK_EQ(status, 0);
	cachedir_done(&d);
}

static void cachedir__plan_makes_nothing(void)
{
	char path[PATH_MAX];
	struct config c = {.cache_dir = in_folder("no/such/dir/", path)};
	CLEANUP_BUF struct buf planned;
	buf_init(&planned, PATH_MAX);
	CHECK_EQ(cachedir_plan(&c, &planned), 0);
	CHECK(!strncmp(planned.data, path, planned.len));
	CHECK_EQ(planned.len, strlen(path) - 1);
	CHECK(access(in_folder("no", path), F_OK) < 0);
}

#define GIB (UINT64_C(1) << 30)

static void room__is_what_the_disk_has(void)
{
	struct config c;
	struct room room;
	CHECK_EQ(config_init(&c), 0);
	struct disk big = {.total_bytes = 1000 * GIB, .free_bytes = 500 * GIB};
	CHECK_EQ(room_plan(&c, &big, &room), 0);
	CHECK_EQ(room.cache_bytes, 10 * GIB);
	CHECK_EQ(room.staging_bytes, 20 * GIB);
	CHECK_EQ(room.reserve_bytes, GIB);
	CHECK(!room.lowered);

	/* A full cache of an earlier mount is room, too. */
	struct disk used = {
		.total_bytes = 100 * GIB, .free_bytes = GIB, .ours_bytes = 10 * GIB};
	CHECK_EQ(room_plan(&c, &used, &room), 0);
	CHECK_EQ(room.cache_bytes, 10 * GIB);
	CHECK(room.lowered); /* staging */

	struct disk small = {.total_bytes = 2 * GIB, .free_bytes = GIB};
	CHECK_EQ(room_plan(&c, &small, &room), 0);
	CHECK_EQ(room.reserve_bytes, 2 * GIB / 20);
	CHECK_EQ(room.cache_bytes, GIB - 2 * GIB / 20);

	struct disk full = {.total_bytes = 2 * GIB, .free_bytes = 0};
	CHECK_EQ(room_plan(&c, &full, &room), -ENOSPC);

	/* What was asked for is kept, however small the disk. */
	c.cache_reserve_given = true;
	CHECK_EQ(room_plan(&c, &small, &room), -ENOSPC);
	c.cache_reserve = (struct amount){.percent = 10};
	c.cache_size = (struct amount){.percent = 20};
	CHECK_EQ(room_plan(&c, &big, &room), 0);
	CHECK_EQ(room.cache_bytes, 200 * GIB);
	CHECK_EQ(room.reserve_bytes, 100 * GIB);
	config_done(&c);
}

int main(void)
{
	CHECK(mkdtemp(scratch.dir) != NULL);
	RUN(cachedir__is_made_for_us_alone);
	RUN(cachedir__sources_do_not_mix);
	RUN(cachedir__is_refused_where_others_could_forge);
	RUN(cachedir__second_user_is_refused);
	RUN(cachedir__holder_in_another_container_is_told_apart);
	RUN(cachedir__draining_daemon_is_waited_for);
	RUN(cachedir__drained_daemon_is_waited_for);
	RUN(cachedir__a_holder_that_has_said_nothing_has_a_moment);
	RUN(cachedir__what_it_says_is_always_whole);
	RUN(cachedir__plan_makes_nothing);
	RUN(room__is_what_the_disk_has);
	scratch_done(&scratch);
	return 0;
}
