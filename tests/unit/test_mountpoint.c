/* test_mountpoint.c - what is mounted where, and what may be mounted on. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "fs/mountpoint.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include "backends/util/banned.h"

static struct scratch scratch = {.dir = "/tmp/mastfs-test-XXXXXX"};
static const char *const folder = scratch.dir;

static const char table[] =
	"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
	"36 22 0:33 / /mnt/a rw master:1 propagate_from:2 - fuse.mastfs s3://b rw\n"
	"37 22 0:34 / /mnt/with\\040space\\134x rw - fuse.mastfs s3://b rw\n"
	"38 22 0:35 / /mnt/b rw - tmpfs none rw\n"
	"39 38 0:36 / /mnt/b rw - fuse.mastfs s3://b rw\n"
	"40 22 zero / /mnt/c rw - tmpfs none rw\n"
	"41 22 0:37 / /mnt/d rw - \n"
	"garbage\n"
	"\n";

static int search(const char *path, struct mount_entry *ret)
{
	char copy[sizeof table];
	memcpy(copy, table, sizeof table);
	FILE *f = fmemopen(copy, sizeof table - 1, "r");
	CHECK(f != NULL);
	int r = mountinfo_search(f, path, ret);
	(void)fclose(f);
	return r;
}

static void mountinfo__finds_the_topmost_mount(void)
{
	struct mount_entry e;
	CHECK_EQ(search("/mnt/a", &e), 0);
	CHECK_STR(e.type, "fuse.mastfs");
	CHECK_EQ(e.major, 0);
	CHECK_EQ(e.minor, 33);
	CHECK_EQ(search("/mnt/b", &e), 0);
	CHECK_EQ(e.minor, 36);
	CHECK_EQ(search("/mnt/with space\\x", &e), 0);
	CHECK_EQ(search("/", &e), 0);
	CHECK_STR(e.type, "ext4");
	CHECK_EQ(search("/mnt", &e), -ENOENT);
	CHECK_EQ(search("/mnt/a/", &e), -ENOENT);
}

static void mountinfo__ignores_what_it_cannot_read(void)
{
	struct mount_entry e;
	CHECK_EQ(search("/mnt/c", &e), -ENOENT);
	CHECK_EQ(search("/mnt/d", &e), -ENOENT);
	CHECK_EQ(search("garbage", &e), -ENOENT);
}

/* Propagation of what the path lies on: "s", "m" (slave), both, or "". */
static const char *lies_on(const char *path)
{
	static char text[3];
	static char lines[] =
		"20 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n"
		"21 20 8:2 / /private rw - ext4 /dev/sdb rw\n"
		"22 20 8:3 / /slave rw master:4 - ext4 /dev/sdc rw\n"
		"23 20 8:4 / /both rw shared:5 master:4 propagate_from:2 - ext4 x rw\n"
		"24 22 8:5 / /slave/private rw unbindable - ext4 /dev/sde rw\n"
		"25 20 8:6 / /private rw shared:9 - ext4 /dev/sdf rw\n";
	struct mount_entry e;
	FILE *f = fmemopen(lines, sizeof lines - 1, "r");
	CHECK(f != NULL);
	CHECK_EQ(mountinfo_search_over(f, path, &e), 0);
	(void)fclose(f);
	(void)snprintf(text, sizeof text, "%s%s", e.shared ? "s" : "",
		       e.slave ? "m" : "");
	return text;
}

static void mountinfo__tells_how_mounts_propagate(void)
{
	CHECK_STR(lies_on("/"), "s");
	CHECK_STR(lies_on("/slaves/x"), "s");
	CHECK_STR(lies_on("/slave"), "m");
	CHECK_STR(lies_on("/slave/x/y"), "m");
	CHECK_STR(lies_on("/slave/private/x"), "");
	CHECK_STR(lies_on("/both/x"), "sm");
	CHECK_STR(lies_on("/private/x"), "s"); /* the later one lies over the other */
}

static int describe(void *arg, const struct mount_line *m)
{
	buf_addf(arg, "%s %s %u %u|", m->path, m->source, m->entry.minor, m->uid);
	return strcmp(m->path, "/mnt/stop") ? 0 : 7;
}

static void mountinfo__tells_all_of_a_line(void)
{
	static char lines[] =
		"37 22 0:34 / /mnt/with\\040space rw - fuse.mastfs s3://b\\134x "
		"rw,user_id=1001,group_id=5\n"
		"38 22 0:35 / /a rw - tmpfs none rw\n"
		"39 22 0:36 / /b rw shared:7 - fuse.mastfs\n"
		"40 22 0:37 / /mnt/stop rw - tmpfs none rw\n"
		"41 22 0:38 / /c rw - tmpfs none rw\n";
	CLEANUP_BUF struct buf seen;
	buf_init(&seen, 1024);
	FILE *f = fmemopen(lines, sizeof lines - 1, "r");
	CHECK(f != NULL);
	CHECK_EQ(mountinfo_each(f, describe, &seen), 7);
	(void)fclose(f);
	CHECK_STR(seen.data, "/mnt/with space s3://b\\x 34 1001|/a none 35 0|/b  36 0|"
			     "/mnt/stop none 37 0|");
}

static void path_within__is_by_whole_names(void)
{
	CHECK(path_within("/a/b", "/a"));
	CHECK(path_within("/a/b", "/a/b"));
	CHECK(path_within("/a/b", "/"));
	CHECK(path_within("/a/b", "/a/"));
	CHECK(!path_within("/ab", "/a"));
	CHECK(!path_within("/a", "/a/b"));
}

static char *in_folder(const char *name, char path[static PATH_MAX])
{
	(void)snprintf(path, PATH_MAX, "%s/%s", folder, name);
	return path;
}

static int prepare(const char *path, bool nonempty, const char *want)
{
	CLEANUP_FREE char *real = NULL;
	int r = mountpoint_prepare(path, nonempty, &real);
	if (r == 0)
		CHECK_STR(real, want);
	return r;
}

static void mountpoint__is_an_empty_directory(void)
{
	char path[PATH_MAX], dir[PATH_MAX], file[PATH_MAX];
	CHECK_EQ(prepare(in_folder("none", path), false, ""), -ENOENT);
	CHECK_EQ(prepare(in_folder("none/below", path), false, ""), -ENOENT);
	CHECK_EQ(mkdir(in_folder("dir", dir), 0700), 0);
	CHECK_EQ(prepare(dir, false, dir), 0);
	CHECK_EQ(prepare(in_folder("dir//", path), false, dir), 0);
	CHECK_EQ(prepare(in_folder("dir/.", path), false, dir), 0);
	CHECK_EQ(prepare(in_folder("dir/../dir", path), false, dir), 0);
	CHECK_EQ(close(creat(in_folder("dir/file", file), 0600)), 0);
	CHECK_EQ(prepare(dir, false, ""), -ENOTEMPTY);
	CHECK_EQ(prepare(dir, true, dir), 0);
	CHECK_EQ(prepare(file, false, ""), -ENOTDIR);
	CHECK_EQ(prepare("", false, ""), -ENOENT);
}

static void mountpoint__links_are_followed(void)
{
	char link[PATH_MAX], dir[PATH_MAX];
	CHECK_EQ(mkdir(in_folder("target", dir), 0700), 0);
	CHECK_EQ(symlink("target", in_folder("relative", link)), 0);
	CHECK_EQ(prepare(link, false, dir), 0);
	CHECK_EQ(symlink("relative", in_folder("twice", link)), 0);
	CHECK_EQ(prepare(link, false, dir), 0);
	CHECK_EQ(symlink(dir, in_folder("absolute", link)), 0);
	CHECK_EQ(prepare(link, false, dir), 0);
	CHECK_EQ(symlink("loop", in_folder("loop", link)), 0);
	CHECK_EQ(prepare(link, false, ""), -ELOOP);
}

static void mountpoint__a_mount_of_others_is_refused(void)
{
	CHECK_EQ(prepare("/proc", false, ""), -EBUSY);
	CHECK_EQ(mountpoint_probe("/proc"), 0);
	CHECK_EQ(mountpoint_probe("/nonexistent"), -ENOENT);
}

int main(void)
{
	CHECK(mkdtemp(scratch.dir) != NULL);
	RUN(mountinfo__finds_the_topmost_mount);
	RUN(mountinfo__ignores_what_it_cannot_read);
	RUN(mountinfo__tells_all_of_a_line);
	RUN(mountinfo__tells_how_mounts_propagate);
	RUN(path_within__is_by_whole_names);
	RUN(mountpoint__is_an_empty_directory);
	RUN(mountpoint__links_are_followed);
	RUN(mountpoint__a_mount_of_others_is_refused);
	scratch_done(&scratch);
	return 0;
}
