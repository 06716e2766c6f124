/* test_staged.c - the states, invariants and renames of staged.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>
#include "backends/util/clock.h"
#include "tests/unit/check.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

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
	struct call call = vrig_soon();
	CHECK_EQ(staged_publish(st, true, &call), 0);
	CHECK(bucket_has(&rig.bucket, "a/f.fits", "hello"));
	CHECK_EQ(staged_get_state(st), STAGED_DONE);
	CHECK(!staged_retired(st));		      /* there is a writer */
	CHECK_EQ(staged_publish(st, true, &call), 0); /* nothing new: no request */
	CHECK_EQ(rig.bucket.puts, 1);
	vrig_close_writer(st);
	CHECK_STR(vrig_state(&rig, "a/f.fits"), "none");
	CHECK(vrig_reads(&rig, "a/f.fits", "hello"));
	CHECK_EQ(rig.bucket.gets, 0); /* P7: the cache took it over */
	CHECK_EQ(vrig_kept(&rig), 0);
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
	struct call call = vrig_soon();
	CHECK_EQ(staged_publish(st, true, &call), -EIO);
	CHECK(bucket_has(&rig.bucket, "f", "old"));
	CHECK(vrig_reads(&rig, "f", "new"));
	atomic_store(&rig.bucket.down, 0);
	CHECK_EQ(staged_publish(st, true, &call), 0);
	CHECK(bucket_has(&rig.bucket, "f", "new"));
	vrig_close_writer(st);
	vrig_done(&rig);
}

/* "WRITING LOCAL QUEUED UPLOADING FAILED". */
static const char *counts(struct vrig *rig, struct staging_counts *c)
{
	static char text[64];
	uint64_t removals;
	view_count(rig->vw, c, &removals);
	(void)snprintf(text, sizeof text, "%d %d %d %d %d", (int)c->writing,
		       (int)c->local, (int)c->queued, (int)c->uploading, (int)c->failed);
	return text;
}

/* Each file once, where it is on its way. */
static void staged__files_on_their_way_are_counted(void)
{
	struct vrig rig;
	struct staging_counts c;
	vrig_init(&rig);
	CHECK_STR(counts(&rig, &c), "0 0 0 0 0");
	struct staged *local = vrig_create(&rig, "x.part");
	struct staged *st = vrig_create(&rig, "f");
	vrig_put(st, "hello");
	CHECK_STR(counts(&rig, &c), "1 1 0 0 0");
	CHECK_EQ(c.used_bytes, 5);
	CHECK_EQ(c.max_bytes, rig.conf.staging_bytes);

	atomic_store(&rig.bucket.held, true);
	CHECK_EQ(staged_publish(st, false, NULL), 0);
	VRIG_UNTIL(!strcmp(counts(&rig, &c), "0 1 0 1 0"));
	atomic_store(&rig.bucket.down, -EIO);
	atomic_store(&rig.bucket.held, false);
	VRIG_UNTIL(!strcmp(counts(&rig, &c), "0 1 0 0 1"));
	CHECK_STR(c.failed_names[0], "f");
	CHECK_STR(c.failed_names[1], "");

	atomic_store(&rig.bucket.down, 0);
	struct call call = vrig_soon();
	CHECK_EQ(staged_publish(st, true, &call), 0);
	CHECK_STR(counts(&rig, &c), "0 1 0 0 0");
	vrig_close_writer(st);
	CHECK_EQ(counts(&rig, &c)[0], '0');
	CHECK_EQ(c.used_bytes, 0);
	vrig_close_writer(local);
	vrig_done(&rig);
}

/* P8, staged (3): close behind a generation that cannot be uploaded fails with it,
 * and both get there in order. */
static void staged__generations_in_order(void)
{
	struct vrig rig;
	vrig_init(&rig);
	rig.conf.wait_uploads = false;
	struct call call = vrig_soon();
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
	vrig_close_writer(two);
	vrig_done(&rig);
}

/* A generation that is made while the one before arrives is not left behind. */
static void staged__fork_while_sending(void)
{
	struct vrig rig;
	vrig_init(&rig);
	rig.conf.wait_uploads = false;
	struct call call = vrig_soon();
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
		vrig_close_writer(st);
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
	struct call call = vrig_soon();
	CHECK_EQ(staged_publish(st, true, &call), -ESTALE);
	vrig_close_writer(st);
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
		struct call call = vrig_soon();
		CHECK_EQ(staged_publish(st, true, &call), -ESTALE);
		vrig_close_writer(st);
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
	vrig_close_writer(st);
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
		vrig_close_writer(st);
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
		struct call call = vrig_soon();
		/* The object is there, and nobody can be asked. */
		atomic_store(&rig.bucket.lose, 1);
		atomic_store(&rig.bucket.held, true);
		CHECK_EQ(staged_publish(st, false, NULL), 0);
		VRIG_UNTIL(atomic_load(&rig.bucket.puts) == 1);
		(void)call;
		atomic_store(&rig.bucket.held, false);
		VRIG_UNTIL(bucket_has(&rig.bucket, "f", "mine"));
		vrig_close_writer(st);
		if (theirs)
			bucket_set(&rig.bucket, "f", "theirs", NULL);
		CHECK_EQ(vrig_unlink(&rig, "f"), 0);
		CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 5 * NS_PER_S), 0);
		CHECK(bucket_has(&rig.bucket, "f", theirs ? "theirs" : NULL));
		vrig_done(&rig);
	}
}

/* staged (5), (7), P9: what the disk does not take fails at write, and no torn file is
 * published. */
static void staged__full_disk_fails_at_write(void)
{
	struct vrig rig;
	struct rlimit was, small = {1000, RLIM_INFINITY};
	char block[600];
	vrig_init(&rig);
	struct staged *st = vrig_create(&rig, "f");
	memset(block, 'x', sizeof(block));
	CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR && !getrlimit(RLIMIT_FSIZE, &was));
	CHECK(!setrlimit(RLIMIT_FSIZE, &small));
	CHECK_EQ(staged_write(st, block, sizeof(block), 0), 600);
	CHECK_EQ(staged_write(st, block, sizeof(block), 1000), -EFBIG);
	CHECK_EQ(staged_allocate(st, 0, 0, 2000), -EFBIG);
	struct call call = vrig_soon();
	CHECK_EQ(staged_sync(st), -EFBIG);
	CHECK(!setrlimit(RLIMIT_FSIZE, &was));
	CHECK_EQ(staged_publish(st, true, &call), -EFBIG);
	CHECK(bucket_has(&rig.bucket, "f", NULL));
	CHECK_EQ(staged_truncate(st, 100), 0);
	CHECK_EQ(staged_publish(st, true, &call), 0);
	vrig_close_writer(st);
	vrig_done(&rig);
}

/* P2: an object that is not what was sent is no success, and is replaced. */
static void staged__spoiled_object_is_replaced(void)
{
	struct vrig rig;
	vrig_init(&rig);
	struct call call = vrig_soon();
	bucket_set(&rig.bucket, "f", "old", NULL);
	struct staged *st = vrig_open_write(&rig, "f");
	vrig_put(st, "new");
	atomic_store(&rig.bucket.spoil, 1);
	CHECK_EQ(staged_publish(st, true, &call), 0);
	CHECK(bucket_has(&rig.bucket, "f", "new"));
	vrig_close_writer(st);
	st = vrig_open_write(&rig, "f");
	vrig_put(st, "newer");
	atomic_store(&rig.bucket.spoil, 2);
	CHECK_EQ(staged_publish(st, true, &call), -EIO);
	CHECK(!bucket_has(&rig.bucket, "f", "newer"));
	CHECK_EQ(staged_publish(st, true, &call), 0); /* not taken for ours */
	CHECK(bucket_has(&rig.bucket, "f", "newer"));
	vrig_close_writer(st);
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
	struct call call = vrig_soon();
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
	struct call call = vrig_soon();
	CHECK_EQ(staged_publish(open, true, &call), 0);
	vrig_close_writer(open);
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
	struct call call = vrig_soon();
	CHECK_EQ(staged_publish(st, true, &call), 0);
	vrig_close_writer(st);
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
	vrig_close_writer(st);
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
	struct call call = vrig_soon();
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
	vrig_close_writer(st);
	vrig_done(&rig);
}

/* What failed a while ago is not left behind because it was not its turn. */
static void staged__the_end_tries_once_more(void)
{
	struct vrig rig;
	vrig_init(&rig);
	struct staged *st = vrig_create(&rig, "f");
	vrig_put(st, "text");
	struct call call = {.deadline_ns = CLOCK_NEVER};
	atomic_store(&rig.bucket.down, -EIO);
	CHECK_EQ(staged_publish(st, true, &call), -EIO);
	atomic_store(&rig.bucket.down, 0);
	CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 20 * NS_PER_S), 0);
	CHECK(bucket_has(&rig.bucket, "f", "text"));
	staged_add_writers(st, -1);
	staged_unref(st);
	vrig_done(&rig);
}

int main(void)
{
	RUN(staged__close_is_upload);
	RUN(staged__failed_close_keeps_all);
	RUN(staged__files_on_their_way_are_counted);
	RUN(staged__generations_in_order);
	RUN(staged__fork_while_sending);
	RUN(staged__conflict_is_kept);
	RUN(staged__conflict_renamed_is_uploaded);
	RUN(staged__unlink_and_recreate_is_one_put);
	RUN(staged__unlink_recreate_unlink);
	RUN(staged__drop_removes_only_ours);
	RUN(staged__drop_of_uncertain_upload);
	RUN(staged__full_disk_fails_at_write);
	RUN(staged__spoiled_object_is_replaced);
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
	RUN(staged__the_end_tries_once_more);
	return 0;
}
