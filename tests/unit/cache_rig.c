/* cache_rig.c - see cache_rig.h. */
#include "tests/unit/cache_rig.h"
#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "backends/util/clock.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

void rig_init(struct rig *rig, uint64_t max_bytes)
{
	*rig = (struct rig){0};
	const char *tmp = getenv("TMPDIR");
	(void)snprintf(rig->dir, sizeof rig->dir, "%s/mastfs-XXXXXX", tmp ? tmp : "/tmp");
	CHECK(mkdtemp(rig->dir));
	rig->conf = (struct blocks_conf){
		.dir = rig->dir,
		.max_bytes = max_bytes,
		.fetchers = 16,
		.read_timeout_ns = 20 * NS_PER_S,
	};
	membackend_init(&rig->mb, 7);
	CHECK_EQ(blocks_new(&rig->conf, &rig->mb.be, &rig->bl), 0);
}

void rig_reopen(struct rig *rig)
{
	blocks_free(rig->bl);
	CHECK_EQ(blocks_new(&rig->conf, &rig->mb.be, &rig->bl), 0);
}

void rig_done(struct rig *rig)
{
	char command[128];
	blocks_free(rig->bl);
	membackend_done(&rig->mb);
	(void)snprintf(command, sizeof command, "rm -rf '%s'", rig->dir);
	CHECK_EQ(system(command), 0);
}

struct version *rig_version(struct rig *rig, const char *key, uint64_t size)
{
	struct object obj = {.size = size, .etag = "\"e1\""};
	struct version *v = NULL;
	CHECK_EQ(version_get(rig->bl, key, &obj, &v), 0);
	return v;
}

struct call rig_call(uint64_t ns)
{
	return (struct call){.deadline_ns = clock_add(clock_now_ns(), ns)};
}

int rig_try(struct rig *rig, struct version *v, uint64_t off, void *dst, size_t len)
{
	struct call call = rig_call(60 * NS_PER_S);
	return blocks_read(rig->bl, v, off, dst, len, &call);
}

void rig_read(struct rig *rig, struct version *v, uint64_t off, size_t len)
{
	char *bytes = malloc(len ? len : 1);
	CHECK(bytes);
	CHECK_EQ(rig_try(rig, v, off, bytes, len), 0);
	CHECK(membackend_same(atomic_load(&rig->mb.seed), off, bytes, len));
	free(bytes);
}

struct blocks_stats rig_stats(struct rig *rig)
{
	struct blocks_stats st;
	blocks_stats(rig->bl, &st);
	return st;
}

static void each_in(const char *dir, void (*fn)(const char *path, void *arg), void *arg)
{
	DIR *d = opendir(dir);
	if (!d)
		return;
	for (struct dirent *e; (e = readdir(d));) {
		char path[512];
		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
		fn(path, arg);
	}
	(void)closedir(d);
}

struct each {
	void (*fn)(const char *path, void *arg);
	void *arg;
};

static void each_dir(const char *path, void *arg)
{
	struct each *e = arg;
	each_in(path, e->fn, e->arg);
}

void rig_files(struct rig *rig, void (*fn)(const char *path, void *arg), void *arg)
{
	char path[128];
	(void)snprintf(path, sizeof path, "%s/blocks", rig->dir);
	each_in(path, each_dir, &(struct each){fn, arg});
}

static void add_disk(const char *path, void *arg)
{
	struct stat sb;
	if (!stat(path, &sb))
		*(uint64_t *)arg += (uint64_t)sb.st_blocks * 512;
}

uint64_t rig_disk_bytes(struct rig *rig)
{
	uint64_t sum = 0;
	rig_files(rig, add_disk, &sum);
	return sum;
}

static void add_one(const char *path, void *arg)
{
	(void)path;
	++*(uint64_t *)arg;
}

uint64_t rig_count_files(struct rig *rig)
{
	uint64_t n = 0;
	rig_files(rig, add_one, &n);
	return n;
}

void rig_in_child(void (*fn)(struct rig *rig), struct rig *rig)
{
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		fn(rig);
		_exit(0); /* nothing is closed, nothing is written out */
	}
	int status;
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
}
