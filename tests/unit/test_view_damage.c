/* test_view_damage.c - a cache directory in which something is missing, short or left
 * over. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/unit/view_crash.h"
#include "backends/util/banned.h"

static char *staged_file(struct crash *c, int id, char path[128])
{
	(void)snprintf(path, 128, "%s/staged/%d", c->rig.dir, id);
	return path;
}

/* Missing or short: said, never uploaded as something else, and no reason to refuse
 * the rest. */
static void view_damage__damaged_staged_files(void)
{
	struct crash c;
	char path[128];
	crash_init(&c);
	crash_in(&c, "put:*:before=EACCES", crash_write_each); /* ids 1 to 4 */
	CHECK(!unlink(staged_file(&c, 3, path)));
	CHECK(!truncate(staged_file(&c, 4, path), 2));
	crash_mount(&c, "");
	CHECK(vrig_reads(&c.rig, "a.part", "local"));
	CHECK(vrig_reads(&c.rig, "synced", NULL));
	CHECK_STR(vrig_state(&c.rig, "sealed"), "conflict");
	crash_drain(&c);
	CHECK(crash_has(&c, "sealed", NULL));
	crash_umount(&c);
	crash_mount(&c, "");
	CHECK(vrig_reads(&c.rig, "sealed", "se"));
	crash_done(&c);
}

/* P1: whose file is missing, and of which the bucket has not said yet whether it has it,
 * is not one that is empty. */
static void view_damage__a_lost_file_is_not_empty(void)
{
	struct crash c;
	char path[128], byte;
	uint64_t size;
	int64_t mtime_ns;
	crash_init(&c);
	crash_in(&c, "put:*:before=EACCES", crash_write_each);
	CHECK(!unlink(staged_file(&c, 4, path)));
	crash_mount(&c, "any:*:before=ECOMM");
	struct staged *st = staged_find(view_staging(c.rig.vw), "sealed");
	CHECK(st != NULL);
	staged_stat(st, &size, &mtime_ns);
	CHECK_EQ(size, 6);
	CHECK_EQ(staged_read(st, &byte, 1, 0), -EIO);
	staged_unref(st);
	crash_done(&c);
}

/* Killed between the very first file and its row: no journal was lost. */
static void view_damage__first_file_without_a_row_goes(void)
{
	struct crash c;
	char path[160];
	crash_init(&c);
	(void)snprintf(path, sizeof(path), "%s/staged", c.rig.dir);
	CHECK(!mkdir(path, 0700));
	int fd = open(staged_file(&c, 1, path), O_CREAT | O_WRONLY, 0600);
	CHECK(fd >= 0 && !close(fd));
	crash_mount(&c, "");
	CHECK(access(path, F_OK) < 0);
	(void)snprintf(path, sizeof(path), "%s/staged/1.kept", c.rig.dir);
	CHECK(access(path, F_OK) < 0);
	crash_done(&c);
}

/* The journal is gone and its files are not: they are kept, and ids skip them. */
static void view_damage__lost_journal_keeps_its_files(void)
{
	struct crash c;
	char path[160];
	struct stat sb;
	crash_init(&c);
	crash_in(&c, "put:*:before=EACCES", crash_write_each);
	for (int i = 0; i < 3; i++) {
		static const char *const ends[] = {"", "-wal", "-shm"};
		(void)snprintf(path, sizeof(path), "%s/journal.db%s", c.rig.dir, ends[i]);
		(void)unlink(path);
	}
	crash_mount(&c, "");
	(void)snprintf(path, sizeof(path), "%s/staged/4.kept", c.rig.dir);
	CHECK(!stat(path, &sb));
	CHECK_EQ(sb.st_size, 6);
	CHECK_EQ(vrig_write(&c.rig, "new", "new"), 0);
	crash_drain(&c);
	crash_umount(&c);
	crash_mount(&c, "");
	CHECK(!stat(path, &sb));
	crash_done(&c);
}

/* A file may lie where the next id leads. */
static void view_damage__ids_skip_what_is_there(void)
{
	struct crash c;
	char path[128];
	crash_init(&c);
	crash_mount(&c, "");
	for (int id = 1; id < 4; id++) {
		int fd = open(staged_file(&c, id, path), O_CREAT | O_WRONLY, 0600);
		CHECK(fd >= 0 && !close(fd));
	}
	CHECK_EQ(vrig_write(&c.rig, "f", "bytes"), 0);
	crash_drain(&c);
	CHECK(crash_has(&c, "f", "bytes"));
	crash_done(&c);
}

int main(void)
{
	RUN(view_damage__damaged_staged_files);
	RUN(view_damage__a_lost_file_is_not_empty);
	RUN(view_damage__first_file_without_a_row_goes);
	RUN(view_damage__lost_journal_keeps_its_files);
	RUN(view_damage__ids_skip_what_is_there);
	return 0;
}
