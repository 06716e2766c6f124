/* test_upload.c - one file into the bucket, once, under a condition (P2, P4, P5). */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include "cache/upload.h"
#include "tests/unit/check.h"
#include "tests/unit/parts_rig.h"
#include "backends/util/banned.h"

enum { BIG = 33 << 20 };

struct rig {
	struct prig p;
	struct upload_job job;
};

static void start(struct rig *rig, uint64_t size)
{
	prig_init(&rig->p, size);
	rig->job =
		(struct upload_job){.key = "k",
				    .fd = rig->p.fd,
				    .size = size,
				    .mtime_ns = 5,
				    .base = "",
				    .base_tags = "",
				    .tag = "mine",
				    .parts = size > SINGLE_PUT_MAX ? rig->p.parts : NULL,
				    .timeout_ns = 5 * NS_PER_S,
				    .cancelled = &rig->p.cancelled};
}

static void end(struct rig *rig)
{
	prig_done(&rig->p);
}

static int run(struct rig *rig)
{
	struct object obj;
	int r = upload_run(&rig->p.b.be, &rig->job, &obj);
	if (!r) {
		struct object there;
		CHECK_EQ(bucket_head(&rig->p.b, "k", &there), 0);
		CHECK_STR(there.etag, obj.etag);
		CHECK_STR(there.tag, rig->job.tag);
	}
	return r;
}

static void upload__small_is_one_put(void)
{
	struct rig rig;
	start(&rig, 10);
	CHECK_EQ(run(&rig), 0);
	CHECK_EQ(rig.p.b.puts, 1);
	CHECK_EQ(rig.p.b.heads + rig.p.b.begins, 0);
	end(&rig);
	start(&rig, 0);
	CHECK_EQ(run(&rig), 0);
	end(&rig);
}

static void upload__large_in_parts(void)
{
	struct rig rig;
	start(&rig, BIG);
	CHECK_EQ(run(&rig), 0);
	CHECK_EQ(rig.p.b.puts, 0);
	CHECK_EQ(rig.p.b.begins, 1);
	CHECK(rig.p.b.parts >= 4);
	CHECK_EQ(bucket_uploads(&rig.p.b), 0);
	struct object obj;
	CHECK_EQ(bucket_head(&rig.p.b, "k", &obj), 0);
	CHECK_EQ(obj.size, BIG);
	end(&rig);
}

/* P4; and the next attempt sends what is missing. */
static void upload__failed_part_is_sent_again(void)
{
	struct rig rig;
	start(&rig, BIG);
	atomic_store(&rig.p.b.bad_part, 3);
	CHECK_EQ(run(&rig), -EIO);
	CHECK(bucket_has(&rig.p.b, "k", NULL));
	atomic_store(&rig.p.b.bad_part, 0);
	CHECK_EQ(run(&rig), 0);
	CHECK_EQ(rig.p.b.begins, 1);
	CHECK(prig_has_file(&rig.p, "k"));
	end(&rig);
}

/* It got through and the answer was lost: found by its tag, at once. */
static void upload__lost_answer_is_looked_into(void)
{
	for (int big = 0; big < 2; big++) {
		struct rig rig;
		start(&rig, big ? BIG : 10);
		atomic_store(&rig.p.b.lose, 1);
		CHECK_EQ(run(&rig), 0);
		CHECK_EQ(rig.p.b.puts + rig.p.b.finishes, 1);
		end(&rig);
	}
}

/* P5 */
static void upload__foreign_change_is_stale(void)
{
	for (int caps = 0; caps < 2; caps++)
		for (int big = 0; big < 2; big++) {
			struct rig rig;
			start(&rig, big ? BIG : 10);
			if (!caps)
				rig.p.b.be.caps &=
					~(uint32_t)(BACKEND_PUT_IF | BACKEND_FINISH_IF);
			bucket_set(&rig.p.b, "k", "theirs", "other");
			CHECK_EQ(run(&rig), -ESTALE); /* it should not exist */
			rig.job.base = "\"gone\"";
			CHECK_EQ(run(&rig), -ESTALE);
			bucket_unset(&rig.p.b, "k");
			CHECK_EQ(run(&rig), -ESTALE); /* removed by them */
			CHECK_EQ(prig_abort_orphans(&rig.p), 0);
			end(&rig);
		}
}

/* An earlier upload of ours is no foreign change. */
static void upload__own_generation_is_a_base(void)
{
	struct rig rig;
	start(&rig, 10);
	bucket_set(&rig.p.b, "k", "before", "older");
	rig.job.base_tags = "newer older oldest";
	CHECK_EQ(run(&rig), 0);
	CHECK_EQ(rig.p.b.puts, 2);
	end(&rig);
}

static void upload__looks_first_when_told(void)
{
	struct rig rig;
	start(&rig, 4);
	bucket_set(&rig.p.b, "k", "done", "mine");
	rig.job.look_first = true;
	CHECK_EQ(run(&rig), 0);
	CHECK_EQ(rig.p.b.puts, 0);
	/* Our tag and another size is not ours. */
	bucket_set(&rig.p.b, "k", "longer", "mine");
	CHECK_EQ(run(&rig), -ESTALE);
	/* P10: not to be asked is not absent. */
	atomic_store(&rig.p.b.down, -EIO);
	CHECK_EQ(run(&rig), -EIO);
	end(&rig);
}

/* The staged file is lost: only an upload that had succeeded helps. */
static void upload__lost_file(void)
{
	struct rig rig;
	start(&rig, 4);
	(void)close(rig.job.fd);
	rig.job.fd = -1;
	CHECK_EQ(run(&rig), -ENODATA);
	bucket_set(&rig.p.b, "k", "done", "mine");
	CHECK_EQ(run(&rig), 0);
	CHECK_EQ(rig.p.b.puts, 0);
	end(&rig);
}

static void upload__cancelled_begins_nothing(void)
{
	struct rig rig;
	start(&rig, BIG);
	atomic_store(&rig.p.cancelled, true);
	CHECK_EQ(run(&rig), -EINTR);
	CHECK_EQ(bucket_uploads(&rig.p.b), 0);
	CHECK(bucket_has(&rig.p.b, "k", NULL));
	end(&rig);
}

/* What went up while the file grew is finished, with the time that was set by hand. */
static void upload__early_parts_and_an_exact_time(void)
{
	for (int exact = 0; exact < 2; exact++) {
		struct rig rig;
		struct object obj;
		start(&rig, 0);
		rig.p.b.be.caps |= BACKEND_BEGIN_META;
		rig.p.b.begin_meta = true;
		for (uint64_t off = 0; off < BIG; off += 1 << 20)
			prig_write(&rig.p, 'x', off, 1 << 20);
		CHECK_EQ(rig.p.b.parts, 4);
		rig.job.parts = rig.p.parts;
		rig.job.size = BIG;
		rig.job.exact_mtime = exact;
		rig.job.tag = parts_tag(rig.p.parts);
		CHECK_EQ(upload_run(&rig.p.b.be, &rig.job, &obj), 0);
		CHECK_EQ(rig.p.b.parts, 5);
		CHECK_EQ(rig.p.b.copies, exact);
		CHECK(prig_has_file(&rig.p, "k"));
		CHECK_EQ(bucket_head(&rig.p.b, "k", &obj), 0);
		CHECK((obj.mtime_ns == 5) == exact);
		end(&rig);
	}
}

/* It is there by an earlier attempt, but not with its time. */
static void start_found(struct rig *rig)
{
	start(rig, 4);
	bucket_set(&rig->p.b, "k", "done", "mine");
	rig->job.look_first = true;
	rig->job.exact_mtime = true;
}

/* The answer to a first attempt was lost, and the time was set by hand since: the tag
 * tells that it is there, but with the time before.  Looked for, or met. */
static void upload__found_object_gets_the_exact_time(void)
{
	for (int look = 0; look < 2; look++) {
		struct rig rig;
		struct object obj;
		start_found(&rig);
		rig.job.look_first = look;
		CHECK_EQ(upload_run(&rig.p.b.be, &rig.job, &obj), 0);
		CHECK_EQ(rig.p.b.copies, 1);
		CHECK_EQ(bucket_head(&rig.p.b, "k", &obj), 0);
		CHECK_EQ(obj.mtime_ns, 5);
		CHECK_STR(obj.tag, "mine");
		end(&rig);
	}
}

/* P2: the bytes are there and checked.  A class that cannot be copied refuses for ever,
 * and a copy that takes longer than it may is not done the next time either. */
static void upload__time_that_cannot_be_set_fails_no_upload(void)
{
	static const int errors[] = {-ENODATA, -EACCES, -ETIMEDOUT};
	for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
		struct rig rig;
		struct object obj, there;
		start_found(&rig);
		atomic_store(&rig.p.b.no_copy, errors[i]);
		CHECK_EQ(upload_run(&rig.p.b.be, &rig.job, &obj), 0);
		CHECK_EQ(bucket_head(&rig.p.b, "k", &there), 0);
		CHECK_STR(obj.etag, there.etag);
		CHECK(obj.mtime_ns != 5);
		end(&rig);
	}
}

/* The answer to it was lost: the version is the one that it made. */
static void upload__time_that_was_set_is_found(void)
{
	struct rig rig;
	struct object obj, there;
	start_found(&rig);
	atomic_store(&rig.p.b.lose, 1);
	CHECK_EQ(upload_run(&rig.p.b.be, &rig.job, &obj), 0);
	CHECK_EQ(bucket_head(&rig.p.b, "k", &there), 0);
	CHECK_STR(obj.etag, there.etag);
	CHECK_EQ(obj.mtime_ns, 5);
	end(&rig);
}

/* A store may keep whole seconds: what was just sent has its time all the same. */
static void upload__rounded_time_is_no_copy(void)
{
	struct rig rig;
	start(&rig, 10);
	rig.p.b.rounds_mtime = true;
	rig.job.exact_mtime = true;
	CHECK_EQ(run(&rig), 0);
	CHECK_EQ(rig.p.b.copies, 0);
	end(&rig);
}

/* What went up long ago is forgotten by now: sent anew, in the same attempt. */
static void upload__forgotten_parts_are_sent_anew(void)
{
	struct rig rig;
	start(&rig, BIG);
	prig_write(&rig.p, 'x', 0, 24 << 20);
	CHECK(rig.p.b.parts > 0);
	rig.job.tag = parts_tag(rig.p.parts);
	bucket_forget_uploads(&rig.p.b);
	CHECK_EQ(run(&rig), 0);
	CHECK(prig_has_file(&rig.p, "k"));
	end(&rig);
}

/* What lies there takes no parts: one put, under the same condition (P4, P5). */
static void upload__without_parts_in_one_piece(void)
{
	for (int late = 0; late < 2; late++) {
		struct rig rig;
		start(&rig, BIG);
		rig.p.b.no_parts = !late;
		rig.p.b.no_finish = late;
		CHECK_EQ(run(&rig), 0);
		CHECK(prig_has_file(&rig.p, "k"));
		CHECK_EQ(rig.p.b.puts, 1);
		CHECK_EQ(prig_abort_orphans(&rig.p), 0);
		CHECK_EQ(bucket_uploads(&rig.p.b), 0);
		bucket_set(&rig.p.b, "k", "theirs", "other");
		CHECK_EQ(run(&rig), -ESTALE);
		rig.job.base = "\"gone\"";
		CHECK_EQ(run(&rig), -ESTALE);
		/* a put that takes no condition is looked after by hand */
		rig.p.b.be.caps &= ~(uint32_t)BACKEND_PUT_IF;
		CHECK_EQ(run(&rig), -ESTALE);
		CHECK_EQ(rig.p.b.puts, 3);
		rig.p.b.be.limits.put_max = BIG - 1;
		bucket_unset(&rig.p.b, "k");
		rig.job.base = "";
		CHECK_EQ(run(&rig), -EFBIG);
		CHECK(bucket_has(&rig.p.b, "k", NULL));
		end(&rig);
	}
}

/* The same of one whose parts were to go up while it grew. */
static void upload__early_parts_that_are_not_taken(void)
{
	struct rig rig;
	start(&rig, 0);
	rig.p.b.no_parts = true;
	for (uint64_t off = 0; off < BIG; off += 1 << 20)
		prig_write(&rig.p, 'x', off, 1 << 20);
	rig.job.parts = rig.p.parts;
	rig.job.size = BIG;
	rig.job.tag = parts_tag(rig.p.parts);
	CHECK_EQ(run(&rig), 0);
	CHECK(prig_has_file(&rig.p, "k"));
	CHECK_EQ(prig_abort_orphans(&rig.p), 0);
	CHECK_EQ(rig.p.b.puts, 1);
	end(&rig);
}

int main(void)
{
	RUN(upload__small_is_one_put);
	RUN(upload__large_in_parts);
	RUN(upload__failed_part_is_sent_again);
	RUN(upload__lost_answer_is_looked_into);
	RUN(upload__foreign_change_is_stale);
	RUN(upload__own_generation_is_a_base);
	RUN(upload__looks_first_when_told);
	RUN(upload__lost_file);
	RUN(upload__cancelled_begins_nothing);
	RUN(upload__early_parts_and_an_exact_time);
	RUN(upload__found_object_gets_the_exact_time);
	RUN(upload__time_that_cannot_be_set_fails_no_upload);
	RUN(upload__time_that_was_set_is_found);
	RUN(upload__rounded_time_is_no_copy);
	RUN(upload__forgotten_parts_are_sent_anew);
	RUN(upload__without_parts_in_one_piece);
	RUN(upload__early_parts_that_are_not_taken);
	return 0;
}
