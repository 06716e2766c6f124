/* test_early.c - what does not wait for what: the disk, the link and the cache, when a
 * file is renamed to the name under which it goes up. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/unit/check.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

#define PART (UINT64_C(8) << 20)

/* The disk, which is as slow as a test needs it. */
static atomic_bool disk_waits;
static atomic_int disk_syncs;

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

int __wrap_fdatasync(int fd)
{
	atomic_fetch_add(&disk_syncs, 1);
	while (atomic_load(&disk_waits))
		(void)usleep(1000);
	return __real_fdatasync(fd);
}

/* That the cache takes a file over is a rename of it. */
static atomic_bool cache_waits;

int __real_renameat(int from_fd, const char *from, int to_fd, const char *to);
int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to);

int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	/* Not for ever: a rename that waits for it fails the test, and ends. */
	for (int i = 0; i < 10000 && atomic_load(&cache_waits); i++)
		(void)usleep(1000);
	return __real_renameat(from_fd, from, to_fd, to);
}

/* One part after the other, so that most of them wait. */
static void init(struct vrig *rig)
{
	vrig_init(rig);
	vrig_close(rig);
	rig->conf.uploaders = 1;
	vrig_open(rig);
	atomic_store(&disk_syncs, 0);
}

/* Of n parts, each of another letter. */
static void write_parts(struct staged *st, int from, int n)
{
	char *bytes = malloc(PART);
	CHECK(bytes);
	for (int i = from; i < from + n; i++) {
		memset(bytes, 'a' + i, PART);
		CHECK_EQ(staged_write(st, bytes, PART, (uint64_t)i * PART),
			 (ssize_t)PART);
	}
	free(bytes);
}

static bool has_parts(struct vrig *rig, const char *key, int n)
{
	char *bytes = malloc((size_t)n * PART);
	CHECK(bytes);
	for (int i = 0; i < n; i++)
		memset(bytes + (size_t)i * PART, 'a' + i, PART);
	bool has = bucket_has_bytes(&rig->bucket, key, bytes, (uint64_t)n * PART);
	free(bytes);
	return has;
}

/* Three parts that are there, and three of which one is on its way.  That the bucket has
 * nothing under the name that it is to have is known. */
static void write_half_sent(struct vrig *rig, const char *path, const char *to)
{
	struct staged *st = vrig_create(rig, path);
	write_parts(st, 0, 3);
	VRIG_UNTIL(atomic_load(&rig->bucket.parts) == 3);
	CHECK(vrig_reads(rig, to, NULL));
	atomic_store(&rig->bucket.held, true);
	write_parts(st, 3, 3);
	VRIG_UNTIL(atomic_load(&rig->bucket.parts) == 4);
	vrig_close_writer(st);
}

struct renaming {
	struct vrig *rig;
	const char *from, *to;
	int result;
};

static void *rename_main(void *arg)
{
	struct renaming *rn = arg;
	rn->result = vrig_rename(rn->rig, rn->from, rn->to);
	return NULL;
}

/* Sealing waits for the disk from here on. */
static pthread_t start_rename(struct renaming *rn)
{
	pthread_t thread;
	atomic_store(&disk_waits, true);
	CHECK_EQ(pthread_create(&thread, NULL, rename_main, rn), 0);
	VRIG_UNTIL(atomic_load(&disk_syncs) == 1);
	return thread;
}

static void end_rename(pthread_t thread)
{
	atomic_store(&disk_waits, false);
	CHECK_EQ(pthread_join(thread, NULL), 0);
}

/* All of them, but nothing is finished before it is durable (P3). */
static void early__parts_do_not_wait_for_the_disk(void)
{
	struct vrig rig;
	init(&rig);
	write_half_sent(&rig, "f.part", "f");
	struct renaming rn = {.rig = &rig, .from = "f.part", .to = "f"};
	pthread_t thread = start_rename(&rn);
	atomic_store(&rig.bucket.held, false);
	VRIG_UNTIL(atomic_load(&rig.bucket.parts) == 6);
	CHECK_EQ(rig.bucket.finishes, 0);
	end_rename(thread);
	CHECK_EQ(rn.result, 0);
	CHECK_EQ(rig.bucket.begins, 1);
	CHECK_EQ(rig.bucket.parts, 6);
	CHECK_EQ(rig.bucket.finishes, 1);
	CHECK(has_parts(&rig, "f", 6));
	vrig_done(&rig);
}

/* What goes up for another name is given up: no more of it meanwhile. */
static void early__parts_of_another_name_stop(void)
{
	struct vrig rig;
	init(&rig);
	write_half_sent(&rig, "f.part", "g");
	struct renaming rn = {.rig = &rig, .from = "f.part", .to = "g"};
	pthread_t thread = start_rename(&rn);
	atomic_store(&rig.bucket.held, false);
	(void)usleep(100000); /* for those that should not come */
	CHECK_EQ(rig.bucket.parts, 4);
	end_rename(thread);
	CHECK_EQ(rn.result, 0);
	CHECK_EQ(rig.bucket.begins, 2);
	CHECK_EQ(rig.bucket.parts, 4 + 6);
	CHECK(has_parts(&rig, "g", 6));
	CHECK(bucket_has(&rig.bucket, "f", NULL));
	vrig_done(&rig);
}

/* P5, in a store that we must compare for: before its parts are asked for. */
static void early__parts_of_a_conflict_stop(void)
{
	struct vrig rig;
	init(&rig);
	rig.bucket.be.caps &= ~(unsigned)BACKEND_FINISH_IF;
	write_half_sent(&rig, "f.part", "f");
	struct renaming rn = {.rig = &rig, .from = "f.part", .to = "f"};
	pthread_t thread = start_rename(&rn);
	bucket_set(&rig.bucket, "f", "theirs", NULL);
	end_rename(thread);
	CHECK_EQ(rn.result, -EBUSY);
	atomic_store(&rig.bucket.held, false);
	(void)usleep(100000); /* for those that should not come */
	CHECK_EQ(rig.bucket.parts, 4);
	CHECK_EQ(rig.bucket.finishes, 0);
	CHECK(bucket_has(&rig.bucket, "f", "theirs"));
	vrig_done(&rig);
}

/* The rename is over before the cache has summed up what it takes over. */
static void early__rename_does_not_wait_for_the_cache(void)
{
	struct vrig rig;
	init(&rig);
	CHECK_EQ(vrig_write(&rig, "f.part", "bytes"), 0);
	atomic_store(&cache_waits, true);
	CHECK_EQ(vrig_rename(&rig, "f.part", "f"), 0);
	CHECK(bucket_has(&rig.bucket, "f", "bytes"));
	CHECK_STR(vrig_state(&rig, "f"), "clean");
	atomic_store(&cache_waits, false);
	VRIG_UNTIL(!strcmp(vrig_state(&rig, "f"), "none"));
	CHECK(vrig_reads(&rig, "f", "bytes"));
	CHECK_EQ(rig.bucket.gets, 0);
	vrig_done(&rig);
}

int main(void)
{
	RUN(early__parts_do_not_wait_for_the_disk);
	RUN(early__parts_of_another_name_stop);
	RUN(early__parts_of_a_conflict_stop);
	RUN(early__rename_does_not_wait_for_the_cache);
	return 0;
}
