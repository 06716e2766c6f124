/* test_staged.c - the states, invariants and renames of staged.h. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "backends/util/clock.h"
#include "tests/unit/check.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

static struct call soon(void)
{
	return (struct call){.deadline_ns = clock_add(clock_now_ns(), 10 * NS_PER_S)};
}

static void close_writer(struct staged *st)
{
	staged_add_writers(st, -1);
	staged_retire_if_idle(st);
	staged_unref(st);
}

/* P2: close returned 0: it is there.  (none) -> OPEN -> SEALED -> DONE -> retired. */
static void staged__close_is_upload(void)
{
	struct vrig rig;
	vrig_init(&rig);
	struct staged *st = vrig_create(&rig, "a/f.fits");
	CHECK_STR(vrig_state(&rig, "a/f.fits"), "staged");
	CHECK(!staged_wants_publishing(st) || staged_is_open(st));
	vrig_put(st, "hello");
	CHECK(bucket_has(&rig.bucket, "a/f.fits", NULL)); /* P4 */
	struct call call = soon();
	CHECK_EQ(staged_publish(st, true, &call), 0);
	CHECK(bucket_has(&rig.bucket, "a/f.fits", "hello"));
	CHECK_EQ(staged_get_state(st), STAGED_DONE);
	CHECK(!staged_retired(st));		      /* there is a writer */
	CHECK_EQ(staged_publish(st, true, &call), 0); /* nothing new: no request */
	CHECK_EQ(rig.bucket.puts, 1);
	close_writer(st);
	CHECK_STR(vrig_state(&rig, "a/f.fits"), "none");
	CHECK(vrig_reads(&rig, "a/f.fits", "hello"));
	CHECK_EQ(rig.bucket.gets, 0); /* P7: the cache took it over */
	CHECK_EQ(staging_room(view_staging(rig.vw)), rig.conf.staging_bytes);
	vrig_done(&rig);
}

/* P2, P3: a failed close says so, keeps the bytes and leaves the old object. */
static void staged__failed_close_keeps_all(void)
{
	struct vrig rig;
	vrig_init(&rig);
	bucket_set(&rig.bucket, "f", "old", NULL);
	struct staged *st = vrig_open_write(&rig, "f");
	vrig_put(st, "new");
	atomic_store(&rig.bucket.down, -EIO);
	struct call call = soon();
	CHECK_EQ(staged_publish(st, true, &call), -EIO);
	CHECK(bucket_has(&rig.bucket, "f", "old"));
	CHECK(vrig_reads(&rig, "f", "new"));
	atomic_store(&rig.bucket.down, 0);
	CHECK_EQ(staged_publish(st, true, &call), 0);
	CHECK(bucket_has(&rig.bucket, "f", "new"));
	close_writer(st);
	vrig_done(&rig);
}

/* P8, staged (3): close behind a generation that cannot be uploaded fails with it,
 * and both get there in order. */
static void staged__generations_in_order(void)
{
	struct vrig rig;
	vrig_init(&rig);
	rig.conf.wait_uploads = false;
	struct call call = soon();
	CHECK(vrig_reads(&rig, "f", NULL)); /* known, for when the bucket is down */
	atomic_store(&rig.bucket.down, -EIO);
	CHECK_EQ(vrig_write(&rig, "f", "one"), 0);
	struct staged *two = vrig_open_write(&rig, "f");
	CHECK_EQ(staged_write(two, "two", 3, 0), 3); /* staged (2): a copy */
	CHECK_EQ(staged_publish(two, true, &call), -EIO);
	atomic_store(&rig.bucket.down, 0);
	CHECK_EQ(staged_publish(two, true, &call), 0);
	CHECK(bucket_has(&rig.bucket, "f", "two"));
	CHECK_EQ(staged_get_state(two), STAGED_DONE);
	close_writer(two);
	vrig_done(&rig);
}

/* A generation that is made while the one before arrives is not left behind. */
static void staged__fork_while_sending(void)
{
	struct vrig rig;
	vrig_init(&rig);
	rig.conf.wait_uploads = false;
	struct call call = soon();
	for (int i = 0; i < 20; i++) {
		char text[32];
		CHECK(i || vrig_reads(&rig, "f", NULL));
		atomic_store(&rig.bucket.held, true);
		CHECK_EQ(vrig_write(&rig, "f", "first"), 0);
		(void)snprintf(text, sizeof(text), "second %d", i);
		atomic_store(&rig.bucket.held, i % 2);
		struct staged *st = vrig_open_write(&rig, "f");
		atomic_store(&rig.bucket.held, false);
		vrig_put(st, text);
		CHECK_EQ(staged_publish(st, true, &call), 0);
		CHECK(bucket_has(&rig.bucket, "f", text));
		close_writer(st);
	}
	vrig_done(&rig);
}

/* P5, staged (4): somebody else was first.  Kept, readable, replaceable; theirs is
 * never deleted. */
static void staged__conflict_is_kept(void)
{
	struct vrig rig;
	vrig_init(&rig);
	bucket_set(&rig.bucket, "f", "old", NULL);
	struct staged *st = vrig_open_write(&rig, "f");
	vrig_put(st, "mine");
	bucket_set(&rig.bucket, "f", "theirs", NULL);
	struct call call = soon();
	CHECK_EQ(staged_publish(st, true, &call), -ESTALE);
	close_writer(st);
	CHECK_STR(vrig_state(&rig, "f"), "conflict");
	CHECK(vrig_reads(&rig, "f", "mine"));
	vrig_close(&rig);
	vrig_open(&rig); /* survives the next mount */
	CHECK_STR(vrig_state(&rig, "f"), "conflict");
	CHECK(vrig_reads(&rig, "f", "mine"));
	/* A later generation conflicts too, and then there is one. */
	CHECK_EQ(vrig_write(&rig, "f", "mine 2"), -ESTALE);
	CHECK(vrig_reads(&rig, "f", "mine 2"));
	vrig_close(&rig);
	vrig_open(&rig);
	CHECK(vrig_reads(&rig, "f", "mine 2"));
	CHECK_EQ(vrig_unlink(&rig, "f"), 0);
	CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 5 * NS_PER_S), 0);
	CHECK(bucket_has(&rig.bucket, "f", "theirs"));
	CHECK(vrig_reads(&rig, "f", "theirs"));
	vrig_done(&rig);
}

/* A conflict is one of its name: under another it is uploaded. */
static void staged__conflict_renamed_is_uploaded(void)
{
	for (int wait = 0; wait < 2; wait++) {
		struct vrig rig;
		vrig_init(&rig);
		vrig_close(&rig);
		rig.conf.wait_uploads = wait;
		vrig_open(&rig);
		bucket_set(&rig.bucket, "f", "old", NULL);
		struct staged *st = vrig_open_write(&rig, "f");
		vrig_put(st, "mine");
		bucket_set(&rig.bucket, "f", "theirs", NULL);
		struct call call = soon();
		CHECK_EQ(staged_publish(st, true, &call), -ESTALE);
		close_writer(st);
		CHECK_EQ(vrig_rename(&rig, "f", "g"), 0);
		VRIG_UNTIL(bucket_has(&rig.bucket, "g", "mine"));
		CHECK(bucket_has(&rig.bucket, "f", "theirs"));
		CHECK(vrig_reads(&rig, "g", "mine"));
		CHECK(vrig_reads(&rig, "f", "theirs"));
		vrig_done(&rig);
	}
}

/* P4: unlink and write anew is one overwriting PUT. */
static void staged__unlink_and_recreate_is_one_put(void)
{
	struct vrig rig;
	vrig_init(&rig);
	bucket_set(&rig.bucket, "f", "old", NULL);
	CHECK_EQ(vrig_unlink(&rig, "f"), 0);
	CHECK(vrig_reads(&rig, "f", NULL));
	CHECK_EQ(vrig_write(&rig, "f", "new"), 0);
	CHECK(bucket_has(&rig.bucket, "f", "new"));
	CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 3 * NS_PER_S), 0);
	CHECK_EQ(rig.bucket.puts, 1);
	CHECK_EQ(rig.bucket.dels, 0);
	vrig_done(&rig);
}

/* ... and where the new file is dropped before it was closed, the old one goes. */
static void staged__unlink_recreate_unlink(void)
{
	struct vrig rig;
	vrig_init(&rig);
	bucket_set(&rig.bucket, "f", "old", NULL);
	CHECK_EQ(vrig_unlink(&rig, "f"), 0);
	struct staged *st = vrig_create(&rig, "f");
	vrig_put(st, "never");
	CHECK_EQ(vrig_unlink(&rig, "f"), 0);
	CHECK_EQ(staged_write(st, "more", 4, 0), 4); /* its handle goes on */
	CHECK_EQ(staged_sync(st), 0);		     /* and no row comes back */
	close_writer(st);
	CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 5 * NS_PER_S), 0);
	CHECK(bucket_has(&rig.bucket, "f", NULL));
	vrig_close(&rig);
	vrig_open(&rig);
	CHECK(vrig_reads(&rig, "f", NULL));
	CHECK_EQ(rig.bucket.puts, 0);
	vrig_done(&rig);
}

/* What was broken off may have arrived: it goes with its name.  Nobody else's does. */
static void staged__drop_removes_only_ours(void)
{
	for (int theirs = 0; theirs < 2; theirs++) {
		struct vrig rig;
		vrig_init(&rig);
		struct staged *st = vrig_create(&rig, "f");
		vrig_put(st, "mine");
		atomic_store(&rig.bucket.lose, 1);
		atomic_store(&rig.bucket.held, true);
		rig.conf.wait_uploads = false;
		CHECK_EQ(staged_publish(st, false, NULL), 0);
		close_writer(st);
		atomic_store(&rig.bucket.held, false);
		/* Found by its tag although the answer was lost. */
		VRIG_UNTIL(!strcmp(vrig_state(&rig, "f"), "none"));
		CHECK_EQ(rig.bucket.puts, 1);
		if (theirs)
			bucket_set(&rig.bucket, "f", "theirs", NULL);
		CHECK_EQ(vrig_unlink(&rig, "f"), 0);
		CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 5 * NS_PER_S), 0);
		CHECK(bucket_has(&rig.bucket, "f", theirs ? "theirs" : NULL));
		vrig_done(&rig);
	}
}

static void staged__drop_of_uncertain_upload(void)
{
	for (int theirs = 0; theirs < 2; theirs++) {
		struct vrig rig;
		vrig_init(&rig);
		struct staged *st = vrig_create(&rig, "f");
		vrig_put(st, "mine");
		struct call call = soon();
		/* The object is there, and nobody can be asked. */
		atomic_store(&rig.bucket.lose, 1);
		atomic_store(&rig.bucket.held, true);
		CHECK_EQ(staged_publish(st, false, NULL), 0);
		VRIG_UNTIL(atomic_load(&rig.bucket.puts) == 1);
		(void)call;
		atomic_store(&rig.bucket.held, false);
		VRIG_UNTIL(bucket_has(&rig.bucket, "f", "mine"));
		close_writer(st);
		if (theirs)
			bucket_set(&rig.bucket, "f", "theirs", NULL);
		CHECK_EQ(vrig_unlink(&rig, "f"), 0);
		CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 5 * NS_PER_S), 0);
		CHECK(bucket_has(&rig.bucket, "f", theirs ? "theirs" : NULL));
		vrig_done(&rig);
	}
}

/* staged (5), (7), P9: full is ENOSPC at write, and no torn file is published. */
static void staged__full_is_enospc_at_write(void)
{
	struct vrig rig;
	vrig_init(&rig);
	vrig_close(&rig);
	rig.conf.staging_bytes = 1000;
	vrig_open(&rig);
	struct staged *st = vrig_create(&rig, "f");
	char block[600];
	memset(block, 'x', sizeof(block));
	CHECK_EQ(staged_write(st, block, sizeof(block), 0), 600);
	CHECK_EQ(staging_room(view_staging(rig.vw)), 400);
	CHECK_EQ(staged_write(st, block, 1, 5000), -ENOSPC); /* a hole counts */
	CHECK_EQ(staged_write(st, block, sizeof(block), 600), -ENOSPC);
	CHECK_EQ(staged_allocate(st, 0, 0, 2000), -ENOSPC);
	struct call call = soon();
	CHECK_EQ(staged_publish(st, true, &call), -ENOSPC);
	CHECK_EQ(staged_sync(st), -ENOSPC);
	CHECK(bucket_has(&rig.bucket, "f", NULL));
	CHECK_EQ(staged_truncate(st, 100), 0);
	CHECK_EQ(staging_room(view_staging(rig.vw)), 900);
	CHECK_EQ(staged_publish(st, true, &call), 0);
	close_writer(st);
	/* The thread that uploaded it may still be handing it to the cache. */
	for (int ms = 0; staging_room(view_staging(rig.vw)) != 1000; ms++) {
		CHECK(ms < 10000);
		clock_sleep_ns(NS_PER_MS);
	}
	vrig_done(&rig);
}

/* P6, staged (6): local names stay here; renamed, they are one PUT. */
static void staged__local_renamed_is_one_put(void)
{
	for (int wait = 0; wait < 2; wait++) {
		struct vrig rig;
		vrig_init(&rig);
		vrig_close(&rig);
		rig.conf.wait_uploads = wait;
		vrig_open(&rig);
		bucket_set(&rig.bucket, "f", "old", NULL);
		CHECK_EQ(vrig_write(&rig, "f.part", "new"), 0);
		CHECK_STR(vrig_state(&rig, "f.part"), "local");
		CHECK_EQ(rig.bucket.puts, 0);
		CHECK_EQ(vrig_rename(&rig, "f.part", "f"), 0);
		if (!wait)
			VRIG_UNTIL(bucket_has(&rig.bucket, "f", "new"));
		CHECK(bucket_has(&rig.bucket, "f", "new"));
		CHECK(vrig_reads(&rig, "f", "new"));
		CHECK(vrig_reads(&rig, "f.part", NULL));
		CHECK_EQ(rig.bucket.puts, 1);
		CHECK_EQ(rig.bucket.dels + rig.bucket.copies, 0);
		vrig_done(&rig);
	}
}

/* On failure nothing has changed: both names, both contents, on this disk too. */
static void staged__failed_rename_changes_nothing(void)
{
	struct vrig rig;
	vrig_init(&rig);
	bucket_set(&rig.bucket, "f", "old", NULL);
	CHECK_EQ(vrig_write(&rig, "f.part", "new"), 0);
	struct call call = soon();
	struct view_entry e;
	CHECK_EQ(view_lookup(rig.vw, "f", &e, &call), 0);
	view_entry_done(&e);
	atomic_store(&rig.bucket.down, -EIO);
	CHECK_EQ(vrig_rename(&rig, "f.part", "f"), -EIO);
	CHECK(vrig_reads(&rig, "f.part", "new"));
	CHECK_STR(vrig_state(&rig, "f.part"), "local");
	CHECK_STR(vrig_state(&rig, "f"), "none");
	atomic_store(&rig.bucket.down, 0);
	CHECK(bucket_has(&rig.bucket, "f", "old"));
	vrig_close(&rig);
	vrig_open(&rig);
	CHECK(vrig_reads(&rig, "f.part", "new"));
	CHECK(vrig_reads(&rig, "f", "old"));
	CHECK_EQ(vrig_rename(&rig, "f.part", "f"), 0);
	CHECK(bucket_has(&rig.bucket, "f", "new"));
	vrig_done(&rig);
}

/* Over a file that waits for its upload: one object in the end, the right one, now
 * and after the next start. */
static void staged__rename_over_sealed(void)
{
	struct vrig rig;
	vrig_init(&rig);
	vrig_close(&rig);
	rig.conf.wait_uploads = false;
	vrig_open(&rig);
	CHECK(vrig_reads(&rig, "f", NULL));
	atomic_store(&rig.bucket.down, -EIO);
	CHECK_EQ(vrig_write(&rig, "f.part", "new"), 0); /* the older id */
	CHECK_EQ(vrig_write(&rig, "f", "old"), 0);
	CHECK_EQ(vrig_rename(&rig, "f.part", "f"), 0);
	CHECK(vrig_reads(&rig, "f", "new"));
	vrig_close(&rig);
	atomic_store(&rig.bucket.down, 0);
	vrig_open(&rig);
	VRIG_UNTIL(bucket_has(&rig.bucket, "f", "new"));
	CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 5 * NS_PER_S), 0);
	CHECK(bucket_has(&rig.bucket, "f", "new"));
	vrig_done(&rig);
}

/* Over what is open: its writers keep a file without a name. */
static void staged__rename_over_open(void)
{
	struct vrig rig;
	vrig_init(&rig);
	struct staged *open = vrig_create(&rig, "f");
	vrig_put(open, "torso");
	CHECK_EQ(vrig_write(&rig, "f.part", "whole"), 0);
	CHECK_EQ(vrig_rename(&rig, "f.part", "f"), 0);
	CHECK_EQ(staged_write(open, "more", 4, 5), 4);
	struct call call = soon();
	CHECK_EQ(staged_publish(open, true, &call), 0);
	close_writer(open);
	CHECK(bucket_has(&rig.bucket, "f", "whole"));
	CHECK(vrig_reads(&rig, "f", "whole"));
	vrig_done(&rig);
}

/* Over a removed name: no DELETE. */
static void staged__rename_over_removed(void)
{
	struct vrig rig;
	vrig_init(&rig);
	bucket_set(&rig.bucket, "f", "old", NULL);
	CHECK_EQ(vrig_write(&rig, "f.part", "new"), 0);
	CHECK_EQ(vrig_unlink(&rig, "f"), 0);
	CHECK_EQ(vrig_rename(&rig, "f.part", "f"), 0);
	CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 5 * NS_PER_S), 0);
	CHECK(bucket_has(&rig.bucket, "f", "new"));
	CHECK_EQ(rig.bucket.dels, 0);
	vrig_done(&rig);
}

/* From the bucket to a local name and back: its bytes come, the object goes. */
static void staged__ordinary_to_local(void)
{
	struct vrig rig;
	vrig_init(&rig);
	bucket_set(&rig.bucket, "f", "bytes", NULL);
	CHECK_EQ(vrig_rename(&rig, "f", "f.part"), 0);
	CHECK(vrig_reads(&rig, "f.part", "bytes"));
	CHECK(vrig_reads(&rig, "f", NULL));
	CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 5 * NS_PER_S), 0);
	CHECK(bucket_has(&rig.bucket, "f", NULL));
	CHECK(bucket_has(&rig.bucket, "f.part", NULL));
	vrig_done(&rig);
}

/* P6, staged (6): sealed and waiting, then renamed to a local name: never sent. */
static void staged__sealed_to_local(void)
{
	struct vrig rig;
	vrig_init(&rig);
	vrig_close(&rig);
	rig.conf.wait_uploads = false;
	vrig_open(&rig);
	CHECK(vrig_reads(&rig, "f", NULL));
	atomic_store(&rig.bucket.down, -EIO);
	CHECK_EQ(vrig_write(&rig, "f", "bytes"), 0);
	CHECK_EQ(vrig_rename(&rig, "f", "f.part"), 0);
	atomic_store(&rig.bucket.down, 0);
	CHECK_STR(vrig_state(&rig, "f.part"), "local");
	vrig_close(&rig);
	vrig_open(&rig);
	CHECK_STR(vrig_state(&rig, "f.part"), "local");
	CHECK(vrig_reads(&rig, "f.part", "bytes"));
	CHECK(bucket_has(&rig.bucket, "f", NULL));
	CHECK(bucket_has(&rig.bucket, "f.part", NULL));
	vrig_done(&rig);
}

/* A modified file under a new name leaves a removal of the old one. */
static void staged__renamed_with_base_leaves_removal(void)
{
	struct vrig rig;
	vrig_init(&rig);
	bucket_set(&rig.bucket, "a", "old", NULL);
	struct staged *st = vrig_open_write(&rig, "a");
	vrig_put(st, "new");
	CHECK_EQ(vrig_rename(&rig, "a", "b"), 0); /* while it is written */
	CHECK(vrig_reads(&rig, "a", NULL));
	struct call call = soon();
	CHECK_EQ(staged_publish(st, true, &call), 0);
	close_writer(st);
	CHECK(bucket_has(&rig.bucket, "b", "new"));
	CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 5 * NS_PER_S), 0);
	CHECK(bucket_has(&rig.bucket, "a", NULL));
	vrig_done(&rig);
}

/* A clean object renamed over a staged file: what is staged goes, what was copied
 * there is not taken for what the staged file had replaced. */
static void staged__object_renamed_over_staged(void)
{
	struct vrig rig;
	vrig_init(&rig);
	bucket_set(&rig.bucket, "a", "clean", NULL);
	bucket_set(&rig.bucket, "b", "old", NULL);
	struct staged *st = vrig_open_write(&rig, "b");
	vrig_put(st, "unsaved");
	CHECK_EQ(vrig_rename(&rig, "a", "b"), 0);
	CHECK(vrig_reads(&rig, "b", "clean"));
	close_writer(st);
	CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 5 * NS_PER_S), 0);
	CHECK(bucket_has(&rig.bucket, "a", NULL));
	CHECK(bucket_has(&rig.bucket, "b", "clean"));
	vrig_done(&rig);
}

/* DONE and open for writing: it goes on in the same file, over its own version. */
static void staged__done_is_reopened(void)
{
	struct vrig rig;
	vrig_init(&rig);
	struct call call = soon();
	struct staged *st = vrig_create(&rig, "f");
	vrig_put(st, "one");
	CHECK_EQ(staged_publish(st, true, &call), 0);
	struct staged *again = NULL;
	CHECK_EQ(staged_write(st, "two", 3, 0), -EAGAIN);
	CHECK_EQ(staged_writable(st, UINT64_MAX, &again), 0);
	CHECK(again == st);
	CHECK_EQ(staged_write(st, "two", 3, 0), 3);
	CHECK_EQ(staged_publish(st, true, &call), 0);
	CHECK(bucket_has(&rig.bucket, "f", "two"));
	CHECK_EQ(rig.bucket.puts, 2);
	staged_unref(again);
	close_writer(st);
	vrig_done(&rig);
}

int main(void)
{
	RUN(staged__close_is_upload);
	RUN(staged__failed_close_keeps_all);
	RUN(staged__generations_in_order);
	RUN(staged__fork_while_sending);
	RUN(staged__conflict_is_kept);
	RUN(staged__conflict_renamed_is_uploaded);
	RUN(staged__unlink_and_recreate_is_one_put);
	RUN(staged__unlink_recreate_unlink);
	RUN(staged__drop_removes_only_ours);
	RUN(staged__drop_of_uncertain_upload);
	RUN(staged__full_is_enospc_at_write);
	RUN(staged__local_renamed_is_one_put);
	RUN(staged__failed_rename_changes_nothing);
	RUN(staged__rename_over_sealed);
	RUN(staged__rename_over_open);
	RUN(staged__rename_over_removed);
	RUN(staged__ordinary_to_local);
	RUN(staged__sealed_to_local);
	RUN(staged__renamed_with_base_leaves_removal);
	RUN(staged__object_renamed_over_staged);
	RUN(staged__done_is_reopened);
	return 0;
}
