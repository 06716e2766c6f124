/* test_parts.c - the invariants of parts.h and orphan.h. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "tests/unit/check.h"
#include "tests/unit/parts_rig.h"
#include "backends/util/banned.h"

#define MIB UINT64_C(1048576)

static int complete(struct prig *rig, uint64_t size)
{
	struct object obj;
	const char *tag = parts_tag(rig->parts);
	char copy[TAG_SIZE];
	(void)snprintf(copy, sizeof(copy), "%s", tag ? tag : "new");
	struct put_opts opts = {.tag = copy, .mtime_ns = 5};
	int r = parts_complete(rig->parts, size, &opts, &obj);
	CHECK(r || !strcmp(obj.tag, copy));
	return r;
}

static void parts__go_up_when_they_are_full(void)
{
	struct prig rig;
	prig_init(&rig, 0);
	prig_write(&rig, 'a', 0, 8 * MIB);
	prig_write(&rig, 'b', 8 * MIB, 8 * MIB);
	CHECK_EQ(rig.b.begins, 0); /* up to here it may become one put */
	prig_write(&rig, 'c', 16 * MIB, 8 * MIB - 1);
	CHECK_EQ(rig.b.parts, 0);
	prig_write(&rig, 'd', 24 * MIB - 1, 2);
	CHECK_EQ(rig.b.begins, 1);
	CHECK_EQ(rig.b.parts, 3);
	CHECK(bucket_has(&rig.b, "k", NULL)); /* P4 */
	CHECK_EQ(complete(&rig, 24 * MIB + 1), 0);
	CHECK_EQ(rig.b.parts, 4);
	CHECK(prig_has_file(&rig, "k"));
	prig_done(&rig);
}

/* Bytes are counted, not where the file ends. */
static void parts__holes_wait(void)
{
	struct prig rig;
	prig_init(&rig, 0);
	prig_write(&rig, 'a', 30 * MIB, MIB);
	prig_write(&rig, 'b', 8 * MIB, 8 * MIB); /* out of order */
	CHECK_EQ(rig.b.parts, 1);
	CHECK_EQ(complete(&rig, 31 * MIB), 0);
	CHECK_EQ(rig.b.parts, 4);
	CHECK(prig_has_file(&rig, "k"));
	prig_done(&rig);
}

/* (2), and not with each write. */
static void parts__written_again_is_sent_again(void)
{
	struct prig rig;
	prig_init(&rig, 0);
	prig_write(&rig, 'a', 0, 24 * MIB);
	CHECK_EQ(rig.b.parts, 3);
	for (uint64_t i = 0; i < 10; i++)
		prig_write(&rig, 'h', i * 100, 50);
	prig_write(&rig, 'e', 24 * MIB, 8 * MIB);
	CHECK_EQ(rig.b.parts, 4);
	CHECK_EQ(complete(&rig, 32 * MIB), 0);
	CHECK_EQ(rig.b.parts, 5);
	CHECK(prig_has_file(&rig, "k"));
	prig_done(&rig);
}

static void send(void *arg)
{
	parts_work(arg);
}

/* (2): a write that comes while the part is on its way. */
static void parts__written_while_it_is_sent(void)
{
	struct prig rig;
	prig_init(&rig, 0);
	char *bytes = calloc(1, 24 * MIB);
	CHECK(bytes && pwrite(rig.fd, bytes, 24 * MIB, 0) == (ssize_t)(24 * MIB));
	free(bytes);
	atomic_store(&rig.b.held, true);
	CHECK(parts_wrote(rig.parts, 0, 24 * MIB));
	CHECK_EQ(pool_submit(rig.pool, PRIO_HINT, send, rig.parts), 0);
	while (!atomic_load(&rig.b.begins))
		(void)usleep(1000);
	atomic_store(&rig.b.held, false);
	while (!atomic_load(&rig.b.parts))
		(void)usleep(100);
	/* Whichever it is, sent, being sent or still to be sent. */
	prig_write(&rig, 'x', 4 * MIB, 3);
	prig_write(&rig, 'y', 12 * MIB, 3);
	prig_write(&rig, 'z', 20 * MIB, 3);
	CHECK_EQ(complete(&rig, 24 * MIB), 0);
	CHECK(prig_has_file(&rig, "k"));
	prig_done(&rig);
}

static void parts__cut_and_grown_again(void)
{
	struct prig rig;
	prig_init(&rig, 0);
	prig_write(&rig, 'a', 0, 40 * MIB);
	CHECK_EQ(rig.b.parts, 5);
	CHECK(!ftruncate(rig.fd, 20 * MIB));
	parts_cut(rig.parts, 20 * MIB);
	CHECK_EQ(complete(&rig, 20 * MIB), 0);
	CHECK(prig_has_file(&rig, "k"));
	CHECK_EQ(rig.b.parts, 6);
	prig_parts(&rig);
	prig_write(&rig, 'b', 0, 40 * MIB);
	CHECK(!ftruncate(rig.fd, 9 * MIB));
	parts_cut(rig.parts, 9 * MIB);
	prig_write(&rig, 'c', 9 * MIB, 20 * MIB);
	bucket_unset(&rig.b, "k");
	CHECK_EQ(complete(&rig, 29 * MIB), 0);
	CHECK(prig_has_file(&rig, "k"));
	prig_done(&rig);
}

/* (3), (5): a finish that failed is the end of an upload and of its tag. */
static void parts__finished_once(void)
{
	struct prig rig;
	char tag[TAG_SIZE];
	prig_init(&rig, 0);
	prig_write(&rig, 'a', 0, 24 * MIB);
	(void)snprintf(tag, sizeof(tag), "%s", parts_tag(rig.parts));
	atomic_store(&rig.b.lose, 1);
	CHECK_EQ(complete(&rig, 24 * MIB), -ECOMM);
	CHECK_EQ(rig.b.finishes, 1);
	CHECK(!parts_tag(rig.parts));
	prig_write(&rig, 'b', 24 * MIB, 8 * MIB);
	bucket_unset(&rig.b, "k");
	CHECK_EQ(complete(&rig, 32 * MIB), 0);
	CHECK_EQ(rig.b.begins, 2);
	CHECK(prig_has_file(&rig, "k"));
	CHECK_EQ(prig_abort_orphans(&rig), 0);
	prig_done(&rig);
}

/* What failed before a finish goes on where it was. */
static void parts__failed_part_is_all_that_is_missing(void)
{
	struct prig rig;
	prig_init(&rig, 40 * MIB);
	atomic_store(&rig.b.bad_part, 3);
	CHECK_EQ(complete(&rig, 40 * MIB), -EIO);
	int sent = rig.b.parts;
	atomic_store(&rig.b.bad_part, 0);
	CHECK_EQ(complete(&rig, 40 * MIB), 0);
	CHECK_EQ(rig.b.begins, 1);
	CHECK(rig.b.parts - sent <= 5 - (sent - 1));
	CHECK(prig_has_file(&rig, "k"));
	prig_done(&rig);
}

/* The store forgot it: known at the next part, and nothing of it counts. */
static void parts__forgotten_by_the_store(void)
{
	struct prig rig;
	prig_init(&rig, 0);
	prig_write(&rig, 'a', 0, 24 * MIB);
	bucket_forget_uploads(&rig.b);
	prig_write(&rig, 'b', 24 * MIB, 8 * MIB);
	prig_write(&rig, 'c', 32 * MIB, 8 * MIB);
	int r = complete(&rig, 40 * MIB);
	CHECK(r == 0 || r == -ENXIO);
	if (r)
		CHECK_EQ(complete(&rig, 40 * MIB), 0);
	CHECK(prig_has_file(&rig, "k"));
	CHECK_EQ(prig_abort_orphans(&rig), 0);
	prig_restart(&rig, clock_wall_ns());
	prig_done(&rig);
}

/* (1), (4): the next daemon goes on, with what is still the file's. */
static void parts__go_on_after_a_crash(void)
{
	struct prig rig;
	prig_init(&rig, 0);
	prig_write(&rig, 'a', 0, 32 * MIB);
	CHECK_EQ(rig.b.parts, 4);
	/* As power loss leaves it: the row is there, the bytes are not. */
	CHECK_EQ(pwrite(rig.fd, "zero", 4, 8 * MIB), 4);
	prig_restart(&rig, clock_wall_ns());
	CHECK_EQ(rig.n_uploads, 1);
	CHECK_EQ(rig.n_parts, 4);
	CHECK_EQ(complete(&rig, 32 * MIB), 0);
	CHECK_EQ(rig.b.begins, 1);
	CHECK_EQ(rig.b.parts, 5);
	CHECK(prig_has_file(&rig, "k"));
	prig_done(&rig);
}

static atomic_int blocking;
static atomic_bool blocked;

static void block(void *arg)
{
	(void)arg;
	atomic_fetch_add(&blocking, 1);
	while (atomic_load(&blocked))
		(void)usleep(1000);
}

/* The pool sends other files, and has no thread until that is over: what was asked of it
 * is neither waited for nor lost when it comes. */
static void parts__wait_for_no_other_file(void)
{
	struct prig rig;
	prig_init(&rig, 0);
	atomic_store(&blocking, 0);
	atomic_store(&blocked, true);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(pool_submit(rig.pool, PRIO_DEMAND, block, NULL), 0);
	while (atomic_load(&blocking) < 4)
		(void)usleep(1000);
	CHECK_EQ(ftruncate(rig.fd, 24 * MIB), 0);
	CHECK(parts_wrote(rig.parts, 0, 24 * MIB));
	CHECK_EQ(pool_submit(rig.pool, PRIO_HINT, send, rig.parts), 0);
	CHECK_EQ(complete(&rig, 24 * MIB), 0);
	CHECK_EQ(rig.b.parts, 3);
	CHECK(prig_has_file(&rig, "k"));

	/* Another try asks for no more. */
	bucket_unset(&rig.b, "k");
	CHECK_EQ(complete(&rig, 24 * MIB), 0);
	CHECK_EQ(rig.b.parts, 6);
	CHECK(parts_working(rig.parts));
	prig_parts(&rig);
	atomic_store(&blocked, false);
	pool_drain(rig.pool);
	CHECK_EQ(rig.b.parts, 6);
	CHECK_EQ(rig.b.begins, 2);
	prig_done(&rig);
}

static void hold(void *arg)
{
	parts_hold(arg);
}

/* (5): the file is about to be sealed with a tag of its own, or with that of what went
 * up: who waited for a beginning that failed makes no other. */
static void parts__held_begins_nothing(void)
{
	struct prig rig;
	prig_init(&rig, 32 * MIB);
	atomic_store(&rig.b.held, true);
	CHECK(parts_wrote(rig.parts, 0, 24 * MIB));
	CHECK(parts_wrote(rig.parts, 24 * MIB, 8 * MIB));
	for (int i = 0; i < 2; i++)
		CHECK_EQ(pool_submit(rig.pool, PRIO_HINT, send, rig.parts), 0);
	while (!atomic_load(&rig.b.begins))
		(void)usleep(1000);
	CHECK_EQ(pool_submit(rig.pool, PRIO_HINT, hold, rig.parts), 0);
	(void)usleep(100000); /* it waits, and so does the other sender */
	atomic_store(&rig.b.down, -EIO);
	atomic_store(&rig.b.held, false);
	parts_wait(rig.parts);
	pool_drain(rig.pool);
	CHECK_EQ(rig.b.begins, 1);
	CHECK(!parts_tag(rig.parts));
	atomic_store(&rig.b.down, 0);
	CHECK_EQ(complete(&rig, 32 * MIB), 0);
	CHECK(prig_has_file(&rig, "k"));
	prig_done(&rig);
}

/* As held, but what is begun goes on while the file is made durable. */
static void parts__settled_go_on(void)
{
	struct prig rig;
	prig_init(&rig, 0);
	parts_settle(rig.parts);
	prig_write(&rig, 'a', 0, 24 * MIB); /* it grows again */
	CHECK_EQ(rig.b.parts, 3);
	CHECK(parts_wrote(rig.parts, 24 * MIB, 8 * MIB));
	CHECK_EQ(ftruncate(rig.fd, 32 * MIB), 0);
	parts_settle(rig.parts);
	parts_work(rig.parts);
	CHECK_EQ(rig.b.parts, 4);
	CHECK(parts_wrote(rig.parts, 32 * MIB, 8 * MIB));
	CHECK_EQ(ftruncate(rig.fd, 40 * MIB), 0);
	parts_hold(rig.parts);
	parts_work(rig.parts);
	CHECK_EQ(rig.b.parts, 4);
	CHECK_EQ(complete(&rig, 40 * MIB), 0);
	CHECK_EQ(rig.b.begins, 1);
	CHECK_EQ(rig.b.parts, 5);
	CHECK(prig_has_file(&rig, "k"));
	prig_done(&rig);
}

/* (5): its tag is told by then, or it is to have one of its own. */
static void parts__settled_begin_nothing(void)
{
	struct prig rig;
	prig_init(&rig, 40 * MIB);
	CHECK(parts_wrote(rig.parts, 0, 24 * MIB));
	parts_settle(rig.parts);
	parts_work(rig.parts);
	CHECK_EQ(rig.b.begins, 0);
	prig_write(&rig, 'a', 24 * MIB, 8 * MIB);
	CHECK_EQ(rig.b.begins, 1);
	CHECK(parts_wrote(rig.parts, 32 * MIB, 8 * MIB));
	bucket_forget_uploads(&rig.b);
	parts_settle(rig.parts);
	parts_work(rig.parts);
	CHECK_EQ(rig.b.begins, 1);
	CHECK_EQ(complete(&rig, 40 * MIB), 0);
	CHECK_EQ(rig.b.begins, 2);
	CHECK(prig_has_file(&rig, "k"));
	prig_done(&rig);
}

/* (1): nothing is begun that the journal does not know. */
static void parts__intent_comes_first(void)
{
	struct prig rig;
	prig_init(&rig, 24 * MIB);
	atomic_store(&rig.b.held, true);
	CHECK(parts_wrote(rig.parts, 0, 24 * MIB));
	CHECK_EQ(pool_submit(rig.pool, PRIO_HINT, send, rig.parts), 0);
	while (!atomic_load(&rig.b.begins))
		(void)usleep(1000);
	/* Its answer is lost with the daemon, which the next finds by key and time. */
	atomic_store(&rig.b.down, -EIO);
	atomic_store(&rig.b.held, false);
	parts_wait(rig.parts);
	atomic_store(&rig.b.down, 0);
	int64_t now = clock_wall_ns();
	(void)bucket_begin(&rig.b, "k", now - 3600 * (int64_t)NS_PER_S); /* before */
	(void)bucket_begin(&rig.b, "k2", now + (int64_t)NS_PER_S); /* another key */
	(void)bucket_begin(&rig.b, "k", now + (int64_t)NS_PER_S);  /* ours */
	(void)bucket_begin(&rig.b, "k", now + 9 * (int64_t)NS_PER_S); /* since */
	(void)snprintf(rig.live, sizeof(rig.live), "%s",
		       bucket_begin(&rig.b, "k", now + 2 * (int64_t)NS_PER_S));
	int were = bucket_uploads(&rig.b);
	prig_restart(&rig, now + 5 * (int64_t)NS_PER_S);
	CHECK_EQ(rig.n_uploads, 1);
	CHECK_EQ(rig.upload.upload_id[0], PARTS_UNKNOWN);
	CHECK_EQ(prig_abort_orphans(&rig), were - 1);
	CHECK_EQ(rig.b.aborts, 1);
	prig_restart(&rig, now + 6 * (int64_t)NS_PER_S);
	CHECK_EQ(rig.n_uploads, 0); /* its row went with it */
	prig_done(&rig);
}

/* (1): one whose answer was lost is looked for as soon as a repeat has told its own, and
 * by the mount after if this one dies first. */
static void orphan__of_a_repeated_begin(bool dies)
{
	struct prig rig;
	prig_init(&rig, 0);
	atomic_store(&rig.b.twice, 1);
	prig_write(&rig, 'a', 0, 24 * MIB);
	int64_t now = clock_wall_ns();
	(void)snprintf(rig.live, sizeof(rig.live), "u2");
	CHECK(parts_has_id(rig.parts, "u2"));
	(void)bucket_begin(&rig.b, "k", now + 9 * (int64_t)NS_PER_S); /* since */
	CHECK_EQ(bucket_uploads(&rig.b), 3);
	if (dies) {
		prig_restart(&rig, now + 5 * (int64_t)NS_PER_S);
		CHECK_EQ(rig.n_uploads, 2);
	}
	CHECK_EQ(prig_abort_orphans(&rig), 2);
	CHECK(parts_has_id(rig.parts, "u2"));
	CHECK_EQ(complete(&rig, 24 * MIB), 0);
	CHECK(prig_has_file(&rig, "k"));
	CHECK_EQ(rig.b.begins, 1);
	prig_restart(&rig, now + 6 * (int64_t)NS_PER_S);
	prig_done(&rig);
}

static void orphan__of_a_begin_that_was_repeated(void)
{
	orphan__of_a_repeated_begin(false);
	orphan__of_a_repeated_begin(true);
}

/* What cannot be aborted now is aborted later. */
static void orphan__is_tried_again(void)
{
	struct prig rig;
	prig_init(&rig, 0);
	prig_write(&rig, 'a', 0, 24 * MIB);
	atomic_store(&rig.b.down, -EIO);
	parts_give_up(rig.parts);
	CHECK_EQ(orphans_fresh(rig.orphans), 1);
	CHECK_EQ(prig_abort_orphans(&rig), 1);
	CHECK_EQ(orphans_fresh(rig.orphans), 0);
	CHECK(orphans_due(rig.orphans));
	atomic_store(&rig.b.down, 0);
	CHECK_EQ(prig_abort_orphans(&rig), 0);
	CHECK(!orphans_due(rig.orphans));
	prig_restart(&rig, clock_wall_ns());
	CHECK_EQ(rig.n_uploads, 0);
	prig_done(&rig);
}

/* parts (3), (5): it may have been finished, and cannot be aborted: the next mount goes
 * on with no file under its tag. */
static void parts__tried_is_nobodys_after_a_restart(void)
{
	struct prig rig;
	prig_init(&rig, 0);
	prig_write(&rig, 'a', 0, 24 * MIB);
	atomic_store(&rig.b.lose, 1);
	CHECK_EQ(complete(&rig, 24 * MIB), -ECOMM);
	atomic_store(&rig.b.down, -EIO);
	CHECK_EQ(prig_abort_orphans(&rig), 0);
	CHECK(orphans_due(rig.orphans)); /* it was finished, but who knows */
	prig_restart(&rig, clock_wall_ns());
	CHECK_EQ(rig.n_uploads, 1);
	CHECK_EQ(rig.upload.staged_id, 0);
	CHECK_STR(rig.upload.tag, "");
	atomic_store(&rig.b.down, 0);
	prig_done(&rig);
}

/* A failure while it grows is nobody's: close sends it all. */
static void parts__early_failure_rests(void)
{
	struct prig rig;
	prig_init(&rig, 0);
	atomic_store(&rig.b.down, -EACCES);
	prig_write(&rig, 'a', 0, 24 * MIB);
	atomic_store(&rig.b.down, 0);
	CHECK_EQ(rig.b.parts, 0);
	CHECK_EQ(complete(&rig, 24 * MIB), 0);
	CHECK(prig_has_file(&rig, "k"));
	prig_done(&rig);
}

int main(void)
{
	RUN(parts__go_up_when_they_are_full);
	RUN(parts__holes_wait);
	RUN(parts__written_again_is_sent_again);
	RUN(parts__written_while_it_is_sent);
	RUN(parts__cut_and_grown_again);
	RUN(parts__finished_once);
	RUN(parts__failed_part_is_all_that_is_missing);
	RUN(parts__forgotten_by_the_store);
	RUN(parts__go_on_after_a_crash);
	RUN(parts__wait_for_no_other_file);
	RUN(parts__held_begins_nothing);
	RUN(parts__settled_go_on);
	RUN(parts__settled_begin_nothing);
	RUN(parts__intent_comes_first);
	RUN(orphan__of_a_begin_that_was_repeated);
	RUN(orphan__is_tried_again);
	RUN(parts__tried_is_nobodys_after_a_restart);
	RUN(parts__early_failure_rests);
	return 0;
}
