/* test_view.c - crashes, and what the next mount makes of them (P3). */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "backends/fault.h"
#include "tests/unit/view_crash.h"
#include "backends/util/banned.h"

/* --- one file in each state --- */

static void view__each_state_survives_as_promised(void)
{
	struct crash c;
	crash_init(&c);
	crash_in(&c, "put:*:before=EACCES", crash_write_each);
	crash_mount(&c, "");
	CHECK(vrig_reads(&c.rig, "a.part", "local"));
	CHECK(vrig_reads(&c.rig, "open", NULL)); /* promised nothing */
	CHECK(vrig_reads(&c.rig, "synced", "syncedmore"));
	crash_drain(&c);
	CHECK(crash_has(&c, "sealed", "sealed"));
	CHECK(crash_has(&c, "synced", "syncedmore"));
	CHECK(crash_has(&c, "open", NULL));
	CHECK(crash_has(&c, "a.part", NULL)); /* P6 */
	struct view_entry e;
	CHECK_EQ(view_lookup(c.rig.vw, "d/.download_state", &e, NULL), 0);
	CHECK_EQ(e.kind, NAME_DIR);
	CHECK_EQ(fault_count(c.be, "put"), 2);
	crash_done(&c);
}

/* A mount that may not write leaves everything to the next. */
static void view__read_only_touches_nothing(void)
{
	struct crash c;
	crash_init(&c);
	crash_in(&c, "put:*:before=EACCES", crash_write_each);
	c.rig.conf.read_only = true;
	crash_mount(&c, "");
	CHECK(vrig_reads(&c.rig, "a.part", "local"));
	CHECK(vrig_reads(&c.rig, "sealed", "sealed"));
	CHECK_EQ(view_drain(c.rig.vw, clock_now_ns()), 0);
	CHECK_EQ(fault_count(c.be, "put"), 0);
	crash_umount(&c);
	c.rig.conf.read_only = false;
	crash_mount(&c, "");
	crash_drain(&c);
	CHECK(crash_has(&c, "sealed", "sealed"));
	CHECK(crash_has(&c, "synced", "syncedmore"));
	crash_done(&c);
}

static void write_and_wait(struct vrig *rig)
{
	struct staged *st = vrig_create(rig, "f");
	vrig_put(st, "bytes");
	CHECK_EQ(staged_publish(st, false, NULL), 0);
	VRIG_UNTIL(fault_count(rig->be, "put") == 1);
	VRIG_UNTIL(!strcmp(vrig_state(rig, "f"), "waiting"));
}

/* D8: it is there, and the daemon died before it knew: recognised, no second PUT. */
static void view__object_is_recognised_by_its_tag(void)
{
	struct crash c;
	crash_init(&c);
	crash_in(&c, "put:1:after=ECOMM;head:*:before=EACCES", write_and_wait);
	crash_mount(&c, "");
	CHECK(crash_has(&c, "f", "bytes"));
	crash_drain(&c);
	CHECK_EQ(fault_count(c.be, "put"), 0);
	CHECK(vrig_reads(&c.rig, "f", "bytes"));
	crash_done(&c);
}

/* ... and where the user removes it first, the object goes too. */
static void view__recovered_and_removed(void)
{
	struct crash c;
	crash_init(&c);
	crash_in(&c, "put:1:after=ECOMM;head:*:before=EACCES", write_and_wait);
	crash_mount(&c, "put:*:before=EACCES");
	CHECK_EQ(vrig_unlink(&c.rig, "f"), 0);
	crash_drain(&c);
	CHECK(crash_has(&c, "f", NULL));
	crash_done(&c);
}

static void write_two(struct vrig *rig)
{
	CHECK(vrig_reads(rig, "f", NULL));
	CHECK_EQ(vrig_write(rig, "f", "one"), 0);
	CHECK_EQ(vrig_write(rig, "f", "two two"), 0);
}

/* staged (3) */
static void view__two_generations_in_order(void)
{
	struct crash c;
	crash_init(&c);
	crash_in(&c, "put:*:before=EACCES", write_two);
	crash_mount(&c, "");
	CHECK(vrig_reads(&c.rig, "f", "two two"));
	crash_drain(&c);
	CHECK(crash_has(&c, "f", "two two"));
	CHECK_EQ(fault_count(c.be, "put"), 2);
	crash_done(&c);
}

static void put_old(struct vrig *rig)
{
	CHECK_EQ(vrig_write(rig, "f", "old"), 0);
	CHECK_EQ(vrig_write(rig, "g", "old"), 0);
	CHECK_EQ(view_drain(rig->vw, clock_now_ns() + 5 * NS_PER_S), 0);
}

static void unlink_both(struct vrig *rig)
{
	CHECK_EQ(vrig_unlink(rig, "f"), 0);
	CHECK_EQ(vrig_unlink(rig, "g"), 0);
	CHECK_EQ(vrig_write(rig, "g", "new"), 0);
}

/* P4: a pending removal is sent; one that was taken back is one PUT. */
static void view__removals_survive(void)
{
	struct crash c;
	crash_init(&c);
	crash_in(&c, "", put_old);
	crash_in(&c, "put:*:before=EACCES;del:*:before=ECOMM", unlink_both);
	crash_mount(&c, "");
	CHECK(vrig_reads(&c.rig, "f", NULL));
	CHECK(vrig_reads(&c.rig, "g", "new"));
	crash_drain(&c);
	CHECK(crash_has(&c, "f", NULL));
	CHECK(crash_has(&c, "g", "new"));
	CHECK_EQ(fault_count(c.be, "del"), 1);
	CHECK_EQ(fault_count(c.be, "put"), 1);
	crash_done(&c);
}

static void unlink_and_sync_anew(struct vrig *rig)
{
	CHECK_EQ(vrig_unlink(rig, "g"), 0);
	struct staged *st = vrig_create(rig, "g");
	vrig_put(st, "synced");
	CHECK_EQ(staged_sync(st), 0);
}

/* Unlinked, written anew, synced, not closed: the PUT replaces, nothing is deleted. */
static void view__synced_recreation_takes_the_removal(void)
{
	struct crash c;
	crash_init(&c);
	crash_in(&c, "", put_old);
	crash_in(&c, "del:*:before=ECOMM", unlink_and_sync_anew);
	crash_mount(&c, "");
	crash_drain(&c);
	CHECK(crash_has(&c, "g", "synced"));
	CHECK_EQ(fault_count(c.be, "del"), 0);
	crash_done(&c);
}

static void modify_and_rename_open(struct vrig *rig)
{
	struct staged *st = vrig_open_write(rig, "f");
	vrig_put(st, "new");
	CHECK_EQ(vrig_rename(rig, "f", "h"), 0);
	CHECK_EQ(vrig_write(rig, "x.part", "local"), 0);
	struct staged *part = vrig_open_write(rig, "x.part");
	CHECK_EQ(vrig_rename(rig, "x.part", "x"), 0);
	CHECK(part != NULL);
}

/* The old name's object is removed only because the new bytes are durable here. */
static void view__renamed_while_open_survives(void)
{
	struct crash c;
	crash_init(&c);
	crash_in(&c, "", put_old);
	crash_in(&c, "", modify_and_rename_open);
	crash_mount(&c, "");
	crash_drain(&c);
	CHECK(crash_has(&c, "h", "new"));
	CHECK(crash_has(&c, "f", NULL));
	CHECK(crash_has(&c, "x", "local"));
	crash_done(&c);
}

static void *rename_part(void *arg)
{
	(void)vrig_rename(arg, "f.part", "f"); /* its PUT outlasts the daemon */
	return NULL;
}

static void unlink_and_rename_over(struct vrig *rig)
{
	pthread_t t;
	CHECK_EQ(vrig_unlink(rig, "f"), 0);
	CHECK_EQ(vrig_write(rig, "f.part", "new"), 0);
	CHECK(!pthread_create(&t, NULL, rename_part, rig));
	VRIG_UNTIL(fault_count(rig->be, "put") == 1);
}

/* P3, P4: killed while a waited rename sends a file in place of a removed one.  The
 * sealed row answers for the name: it is not hidden, nothing is deleted, and the
 * next change of it is no conflict. */
static void view__a_sealed_rename_takes_the_removal(void)
{
	struct crash c;
	crash_init(&c);
	crash_in(&c, "", put_old);
	c.rig.conf.wait_uploads = true;
	crash_in(&c, "put:*:delay=60000;del:*:before=ECOMM", unlink_and_rename_over);
	c.rig.conf.wait_uploads = false;
	crash_mount(&c, "");
	CHECK(vrig_reads(&c.rig, "f", "new"));
	crash_drain(&c);
	CHECK(crash_has(&c, "f", "new"));
	CHECK(vrig_reads(&c.rig, "f", "new"));
	CHECK_EQ(vrig_write(&c.rig, "f", "next"), 0);
	crash_drain(&c);
	CHECK(crash_has(&c, "f", "next"));
	CHECK_EQ(fault_count(c.be, "del"), 0);
	crash_done(&c);
}

static void write_new(struct vrig *rig)
{
	CHECK_EQ(vrig_write(rig, "f", "new"), 0);
}

static void *rename_old(void *arg)
{
	(void)vrig_rename(arg, "f", "h"); /* its PUT outlasts the daemon */
	return NULL;
}

static void rename_sealed(struct vrig *rig)
{
	pthread_t t;
	VRIG_UNTIL(fault_count(rig->be, "put") == 1);
	CHECK(!pthread_create(&t, NULL, rename_old, rig));
	VRIG_UNTIL(fault_count(rig->be, "put") == 2);
}

/* P3: killed while a waited rename sends a file that had replaced an object: that one is
 * not at the old name again, older than what was last there. */
static void view__a_sealed_rename_takes_the_old_name(void)
{
	struct crash c;
	crash_init(&c);
	crash_in(&c, "", put_old);
	crash_in(&c, "put:*:before=EACCES", write_new);
	c.rig.conf.wait_uploads = true;
	crash_in(&c, "put:1:before=EACCES;put:2+:delay=60000", rename_sealed);
	c.rig.conf.wait_uploads = false;
	crash_mount(&c, "");
	CHECK(vrig_reads(&c.rig, "h", "new"));
	CHECK(vrig_reads(&c.rig, "f", NULL));
	crash_drain(&c);
	CHECK(crash_has(&c, "h", "new"));
	CHECK(crash_has(&c, "f", NULL));
	crash_done(&c);
}

static void rename_in_vain(struct vrig *rig)
{
	CHECK_EQ(vrig_rename(rig, "f", "h"), -EACCES);
	CHECK(vrig_reads(rig, "f", "new"));
}

/* The same, refused: nothing is owed to either name. */
static void view__a_refused_rename_leaves_the_old_name(void)
{
	struct crash c;
	crash_init(&c);
	crash_in(&c, "", put_old);
	crash_in(&c, "put:*:before=EACCES", write_new);
	c.rig.conf.wait_uploads = true;
	crash_in(&c, "put:*:before=EACCES", rename_in_vain);
	c.rig.conf.wait_uploads = false;
	crash_mount(&c, "");
	CHECK(vrig_reads(&c.rig, "f", "new"));
	CHECK(vrig_reads(&c.rig, "h", NULL));
	crash_drain(&c);
	CHECK(crash_has(&c, "f", "new"));
	CHECK(crash_has(&c, "h", NULL));
	crash_done(&c);
}

/* What the bucket may have of ours under the old name is known after a rename that
 * failed, too: it is no conflict (P5), and goes with the name. */
static void check_uploads_known(bool unlinks)
{
	struct vrig rig;
	vrig_init(&rig);
	struct call call = vrig_soon();
	struct staged *st = vrig_create(&rig, "f"), *next = NULL;
	CHECK(vrig_reads(&rig, "g", NULL));
	vrig_put(st, "first");
	/* It is there, and from then on nobody answers. */
	atomic_store(&rig.bucket.lose, 1);
	atomic_store(&rig.bucket.dies, true);
	CHECK(staged_publish(st, true, &call));
	CHECK_EQ(staged_writable(st, 0, &next), 0);
	vrig_put(next, "second");
	CHECK(vrig_rename(&rig, "f", "g"));
	CHECK(vrig_reads(&rig, "f", "second"));
	atomic_store(&rig.bucket.down, 0);
	if (unlinks)
		CHECK_EQ(vrig_unlink(&rig, "f"), 0);
	else /* the one that waits may have tried a moment before */
		VRIG_UNTIL(!staged_publish(next, true, &call));
	staged_unref(next);
	vrig_close_writer(st);
	CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 5 * NS_PER_S), 0);
	CHECK(bucket_has(&rig.bucket, "f", unlinks ? NULL : "second"));
	vrig_done(&rig);
}

static void view__a_failed_rename_knows_its_uploads(void)
{
	check_uploads_known(false);
	check_uploads_known(true);
}

/* What a rename that failed may have put there all the same is ours, too. */
static void view__a_failed_rename_is_replaced(void)
{
	struct vrig rig;
	vrig_init(&rig);
	struct call call = vrig_soon();
	struct staged *to = vrig_create(&rig, "g"), *st = vrig_create(&rig, "f");
	vrig_put(to, "right");
	vrig_put(st, "wrong");
	staged_add_writers(st, -1);
	atomic_store(&rig.bucket.down, -EIO);
	CHECK(staged_publish(to, true, &call));
	atomic_store(&rig.bucket.down, 0);
	atomic_store(&rig.bucket.lose, 1);
	atomic_store(&rig.bucket.dies, true);
	CHECK(vrig_rename(&rig, "f", "g"));
	CHECK(bucket_has(&rig.bucket, "g", "wrong"));
	atomic_store(&rig.bucket.down, 0);
	/* A try of its own may have begun a moment before. */
	VRIG_UNTIL(!staged_publish(to, true, &call));
	CHECK(bucket_has(&rig.bucket, "g", "right"));
	staged_unref(st);
	vrig_close_writer(to);
	vrig_done(&rig);
}

static void unlink_unheard(struct vrig *rig)
{
	CHECK_EQ(vrig_unlink(rig, "f"), 0);
	(void)view_drain(rig->vw, clock_now_ns());
	VRIG_UNTIL(fault_count(rig->be, "del") == 1);
}

/* P3, P5: killed after a DELETE and before its answer: a file that is written there next
 * finds nothing to replace, and goes up. */
static void view__an_unheard_removal_is_no_conflict(void)
{
	struct crash c;
	crash_init(&c);
	crash_in(&c, "", put_old);
	crash_in(&c, "del:*:after=ECOMM", unlink_unheard);
	crash_mount(&c, "");
	CHECK(crash_has(&c, "f", NULL));
	CHECK_EQ(vrig_write(&c.rig, "f", "next"), 0);
	crash_drain(&c);
	CHECK(crash_has(&c, "f", "next"));
	crash_done(&c);
}

static void write_next(struct vrig *rig)
{
	CHECK_EQ(vrig_write(rig, "f", "next"), 0);
}

/* The copy is made and nobody hears of it. */
static void unlink_and_copy_over(struct vrig *rig)
{
	CHECK_EQ(vrig_unlink(rig, "f"), 0);
	CHECK_EQ(vrig_rename(rig, "g", "f"), -ECOMM);
}

static void write_and_copy_over(struct vrig *rig)
{
	CHECK_EQ(vrig_write(rig, "f", "mine"), 0);
	CHECK_EQ(vrig_rename(rig, "g", "f"), -ECOMM);
}

/* What is left of f and g when a daemon died in this, and the next did that. */
static void check_copied_over(void (*work)(struct vrig *rig), const char *faults,
			      void (*next)(struct vrig *rig), const char *f)
{
	struct crash c;
	char script[128];
	(void)snprintf(script, sizeof(script),
		       "rename:*:before=EOPNOTSUPP;copy:*:after=ECOMM;%s", faults);
	crash_init(&c);
	crash_in(&c, "", put_old);
	crash_in(&c, script, work);
	if (next)
		crash_in(&c, faults, next);
	crash_mount(&c, "");
	crash_drain(&c);
	CHECK(crash_has(&c, "f", f));
	CHECK(crash_has(&c, "g", "old"));
	crash_done(&c);
}

/* P3, P5: killed in a rename within the bucket that no answer came to.  What was copied
 * there is known for ours: it is removed, or replaced, as what was there would be. */
static void view__a_copy_is_known_again(void)
{
	const char *faults = "del:*:before=ECOMM;put:*:before=ECOMM";
	check_copied_over(unlink_and_copy_over, faults, NULL, NULL);
	check_copied_over(unlink_and_copy_over, faults, write_next, "next");
	check_copied_over(write_and_copy_over, faults, NULL, "mine");
}

/* A marker that has bytes is somebody's object: rmdir and mkdir leave it. */
static void view__markers_with_bytes_stay(void)
{
	struct vrig rig;
	vrig_init(&rig);
	struct call call = {.deadline_ns = CLOCK_NEVER};
	bucket_set(&rig.bucket, "d/", "data", NULL);
	bucket_set(&rig.bucket, "e/", "", NULL);
	CHECK_EQ(view_rmdir(rig.vw, "d", &call), 0);
	CHECK_EQ(view_rmdir(rig.vw, "e", &call), 0);
	CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 5 * NS_PER_S), 0);
	CHECK(bucket_has(&rig.bucket, "d/", "data"));
	CHECK(bucket_has(&rig.bucket, "e/", NULL));
	CHECK_EQ(view_mkdir(rig.vw, "d", &call), 0);
	CHECK(bucket_has(&rig.bucket, "d/", "data"));
	CHECK_EQ(view_mkdir(rig.vw, "e", &call), 0);
	CHECK(bucket_has(&rig.bucket, "e/", ""));
	vrig_done(&rig);
}

/* A disk that takes no more: what would make the journal longer fails. */
static void set_full(bool full)
{
	struct rlimit limit;
	(void)signal(SIGXFSZ, SIG_IGN);
	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = full ? 1 : limit.rlim_max;
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void make_dir_on_full_disk(struct vrig *rig)
{
	struct call call = vrig_soon();
	CHECK_EQ(view_mkdir(rig->vw, "n", &call), 0);
	CHECK_EQ(view_rmdir(rig->vw, "n", &call), 0);
	set_full(true);
	(void)view_mkdir(rig->vw, "n", &call);
}

/* The disk becomes full while the store copies. */
static void *fill_while_copying(void *arg)
{
	struct bucket *b = arg;
	VRIG_UNTIL(atomic_load(&b->copies) == 1);
	set_full(true);
	atomic_store(&b->held, false);
	return NULL;
}

static void copy_on_full_disk(struct vrig *rig)
{
	pthread_t filler;
	bucket_set(&rig->bucket, "m", "bytes", NULL);
	bucket_set(&rig->bucket, "n", "old", NULL);
	CHECK(vrig_reads(rig, "m", "bytes"));
	CHECK_EQ(vrig_unlink(rig, "n"), 0);
	atomic_store(&rig->bucket.held, true);
	CHECK_EQ(pthread_create(&filler, NULL, fill_while_copying, &rig->bucket), 0);
	(void)vrig_rename(rig, "m", "n");
	CHECK_EQ(pthread_join(filler, NULL), 0);
}

/* Of a name that was removed and is made anew the journal cannot be told at once: it is
 * not removed by the next mount. */
static void check_made_anew(void (*make)(struct vrig *rig), const char *key,
			    const char *text)
{
	struct vrig rig;
	vrig_init(&rig);
	make(&rig);
	CHECK(bucket_has(&rig.bucket, key, text));
	set_full(false);
	vrig_close(&rig);
	vrig_open(&rig);
	CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 5 * NS_PER_S), 0);
	CHECK(bucket_has(&rig.bucket, key, text));
	vrig_done(&rig);
}

static void view__what_is_made_anew_outlives_a_full_disk(void)
{
	check_made_anew(make_dir_on_full_disk, "n/", "");
	check_made_anew(copy_on_full_disk, "n", "bytes");
}

/* The disk becomes full while the upload waits, which then fails. */
static void *fill_while_sending(void *arg)
{
	struct bucket *b = arg;
	VRIG_UNTIL(atomic_load(&b->puts) == 1);
	set_full(true);
	atomic_store(&b->down, -EACCES);
	atomic_store(&b->held, false);
	return NULL;
}

/* P3, P4: of a rename that failed, and of which the journal could not be told, the next
 * mount may finish what was to be renamed, but not with half of what is written since. */
static void check_failed_rename(const char *old)
{
	struct vrig rig;
	pthread_t filler;
	vrig_init(&rig);
	CHECK(vrig_reads(&rig, "g", NULL));
	if (old)
		bucket_set(&rig.bucket, "f", old, NULL);
	struct staged *st = vrig_open_write(&rig, "f"), *same = NULL;
	vrig_put(st, "whole");
	staged_add_writers(st, -1);
	atomic_store(&rig.bucket.held, true);
	CHECK_EQ(pthread_create(&filler, NULL, fill_while_sending, &rig.bucket), 0);
	CHECK_EQ(vrig_rename(&rig, "f", "g"), -EACCES);
	CHECK_EQ(pthread_join(filler, NULL), 0);
	set_full(false);
	CHECK_EQ(staged_is_open(st) ? 0 : staged_writable(st, UINT64_MAX, &same), 0);
	staged_unref(same);
	CHECK_EQ(staged_write(st, "H", 1, 0), 1);
	staged_unref(st);
	vrig_close(&rig);
	atomic_store(&rig.bucket.down, 0);
	vrig_open(&rig);
	CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 5 * NS_PER_S), 0);
	CHECK(bucket_has(&rig.bucket, "f", old));
	CHECK(bucket_has(&rig.bucket, "g", NULL));
	vrig_done(&rig);
}

static void view__a_failed_rename_on_a_full_disk(void)
{
	check_failed_rename(NULL);
	check_failed_rename("old");
}

int main(void)
{
	RUN(view__each_state_survives_as_promised);
	RUN(view__read_only_touches_nothing);
	RUN(view__object_is_recognised_by_its_tag);
	RUN(view__recovered_and_removed);
	RUN(view__two_generations_in_order);
	RUN(view__removals_survive);
	RUN(view__synced_recreation_takes_the_removal);
	RUN(view__renamed_while_open_survives);
	RUN(view__a_sealed_rename_takes_the_removal);
	RUN(view__a_sealed_rename_takes_the_old_name);
	RUN(view__a_refused_rename_leaves_the_old_name);
	RUN(view__a_failed_rename_knows_its_uploads);
	RUN(view__a_failed_rename_is_replaced);
	RUN(view__a_copy_is_known_again);
	RUN(view__an_unheard_removal_is_no_conflict);
	RUN(view__markers_with_bytes_stay);
	RUN(view__what_is_made_anew_outlives_a_full_disk);
	RUN(view__a_failed_rename_on_a_full_disk);
	return 0;
}
