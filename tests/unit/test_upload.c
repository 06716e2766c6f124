/* test_upload.c - one file into the bucket, once, under a condition (P2, P4, P5). */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include "cache/upload.h"
#include "tests/unit/bucket.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

enum { BIG = 33 << 20 };

struct rig {
	struct bucket b;
	struct pool *pool;
	atomic_bool cancelled;
	char ids[256]; /* what was journaled, one after the other */
	int save_error;
	struct upload_job job;
};

static int save_id(void *arg, const char *id)
{
	struct rig *rig = arg;
	size_t len = strlen(rig->ids);
	(void)snprintf(rig->ids + len, sizeof(rig->ids) - len, "%c;", *id ? *id : '-');
	return rig->save_error;
}

static void start(struct rig *rig, uint64_t size)
{
	struct pool_conf pc = {.name = "parts", .threads_max = 4};
	*rig = (struct rig){.save_error = 0};
	bucket_init(&rig->b);
	CHECK_EQ(pool_new(&pc, &rig->pool), 0);
	int fd = memfd_create("upload", MFD_CLOEXEC);
	CHECK(fd >= 0 && !ftruncate(fd, (off_t)size));
	for (uint64_t off = 0; off < size; off += 1 << 20)
		CHECK(pwrite(fd, &off, sizeof(off) < size ? sizeof(off) : 1, (off_t)off) >
		      0);
	rig->job = (struct upload_job){.key = "k",
				       .fd = fd,
				       .size = size,
				       .mtime_ns = 5,
				       .base = "",
				       .base_tags = "",
				       .tag = "mine",
				       .stale_id = "",
				       .save_id = save_id,
				       .arg = rig,
				       .parts = rig->pool,
				       .timeout_ns = 5 * NS_PER_S,
				       .cancelled = &rig->cancelled};
}

static void end(struct rig *rig)
{
	pool_free(rig->pool);
	if (rig->job.fd >= 0)
		(void)close(rig->job.fd);
	bucket_done(&rig->b);
}

static int run(struct rig *rig)
{
	struct object obj;
	int r = upload_run(&rig->b.be, &rig->job, &obj);
	if (!r) {
		struct object there;
		CHECK_EQ(bucket_head(&rig->b, "k", &there), 0);
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
	CHECK_EQ(rig.b.puts, 1);
	CHECK_EQ(rig.b.heads + rig.b.begins, 0);
	end(&rig);
	start(&rig, 0);
	CHECK_EQ(run(&rig), 0);
	end(&rig);
}

/* The intent is journaled before, the id after it is begun. */
static void upload__large_in_parts(void)
{
	struct rig rig;
	start(&rig, BIG);
	CHECK_EQ(run(&rig), 0);
	CHECK_EQ(rig.b.puts, 0);
	CHECK_EQ(rig.b.begins, 1);
	CHECK(rig.b.parts >= 4);
	CHECK_EQ(bucket_uploads(&rig.b), 0);
	CHECK_STR(rig.ids, "?;u;");
	struct object obj;
	CHECK_EQ(bucket_head(&rig.b, "k", &obj), 0);
	CHECK_EQ(obj.size, BIG);
	end(&rig);
}

static void upload__failed_part_leaves_nothing(void)
{
	struct rig rig;
	start(&rig, BIG);
	atomic_store(&rig.b.bad_part, 3);
	CHECK_EQ(run(&rig), -EIO);
	CHECK(bucket_has(&rig.b, "k", NULL)); /* P4 */
	CHECK_EQ(bucket_uploads(&rig.b), 0);
	CHECK_STR(rig.ids, "?;u;-;");
	end(&rig);
}

/* It got through and the answer was lost: found by its tag, at once. */
static void upload__lost_answer_is_looked_into(void)
{
	for (int big = 0; big < 2; big++) {
		struct rig rig;
		start(&rig, big ? BIG : 10);
		atomic_store(&rig.b.lose, 1);
		CHECK_EQ(run(&rig), 0);
		CHECK_EQ(rig.b.puts + rig.b.finishes, 1);
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
				rig.b.be.caps &=
					~(uint32_t)(BACKEND_PUT_IF | BACKEND_FINISH_IF);
			bucket_set(&rig.b, "k", "theirs", "other");
			CHECK_EQ(run(&rig), -ESTALE); /* it should not exist */
			rig.job.base = "\"gone\"";
			CHECK_EQ(run(&rig), -ESTALE);
			bucket_unset(&rig.b, "k");
			CHECK_EQ(run(&rig), -ESTALE); /* removed by them */
			CHECK_EQ(bucket_uploads(&rig.b), 0);
			end(&rig);
		}
}

/* An earlier upload of ours is no foreign change. */
static void upload__own_generation_is_a_base(void)
{
	struct rig rig;
	start(&rig, 10);
	bucket_set(&rig.b, "k", "before", "older");
	rig.job.base_tags = "newer older oldest";
	CHECK_EQ(run(&rig), 0);
	CHECK_EQ(rig.b.puts, 2);
	end(&rig);
}

static void upload__looks_first_when_told(void)
{
	struct rig rig;
	start(&rig, 4);
	bucket_set(&rig.b, "k", "done", "mine");
	rig.job.look_first = true;
	CHECK_EQ(run(&rig), 0);
	CHECK_EQ(rig.b.puts, 0);
	/* Our tag and another size is not ours. */
	bucket_set(&rig.b, "k", "longer", "mine");
	CHECK_EQ(run(&rig), -ESTALE);
	/* P10: not to be asked is not absent. */
	atomic_store(&rig.b.down, -EIO);
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
	bucket_set(&rig.b, "k", "done", "mine");
	CHECK_EQ(run(&rig), 0);
	CHECK_EQ(rig.b.puts, 0);
	end(&rig);
}

/* Only our own unfinished uploads are aborted. */
static void upload__aborts_only_its_own(void)
{
	struct rig rig;
	char mine[16];
	start(&rig, 10);
	(void)snprintf(mine, sizeof(mine), "%s", bucket_begin(&rig.b, "k", 1));
	(void)bucket_begin(&rig.b, "k", clock_wall_ns());
	rig.job.stale_id = mine;
	CHECK_EQ(run(&rig), 0);
	CHECK_EQ(bucket_uploads(&rig.b), 1);
	CHECK_EQ(rig.b.aborts, 1);
	end(&rig);
}

/* Begun, and the daemon died before it knew the id: found by key and time. */
static void upload__finds_what_it_begun(void)
{
	struct rig rig;
	start(&rig, 10);
	int64_t now = clock_wall_ns();
	(void)bucket_begin(&rig.b, "k", now - 3600 * (int64_t)NS_PER_S); /* before */
	(void)bucket_begin(&rig.b, "k2", now + (int64_t)NS_PER_S);	 /* other key */
	(void)bucket_begin(&rig.b, "k", now + (int64_t)NS_PER_S);	 /* ours */
	(void)bucket_begin(&rig.b, "k", now + 9 * (int64_t)NS_PER_S);	 /* since */
	rig.job.mount_born_ns = now + 5 * (int64_t)NS_PER_S;
	rig.job.stale_id = "?";
	CHECK_EQ(run(&rig), 0);
	CHECK_EQ(rig.b.aborts, 1);
	CHECK_EQ(bucket_uploads(&rig.b), 3);
	CHECK_STR(rig.ids, "-;");
	end(&rig);
}

/* Nothing is begun that the journal does not know. */
static void upload__journal_failure_begins_nothing(void)
{
	struct rig rig;
	start(&rig, BIG);
	rig.save_error = -ENOSPC;
	CHECK_EQ(run(&rig), -ENOSPC);
	CHECK_EQ(rig.b.begins, 0);
	end(&rig);
}

static void upload__cancelled_leaves_nothing(void)
{
	struct rig rig;
	start(&rig, BIG);
	atomic_store(&rig.cancelled, true);
	CHECK_EQ(run(&rig), -EINTR);
	CHECK_EQ(bucket_uploads(&rig.b), 0);
	CHECK(bucket_has(&rig.b, "k", NULL));
	end(&rig);
}

int main(void)
{
	RUN(upload__small_is_one_put);
	RUN(upload__large_in_parts);
	RUN(upload__failed_part_leaves_nothing);
	RUN(upload__lost_answer_is_looked_into);
	RUN(upload__foreign_change_is_stale);
	RUN(upload__own_generation_is_a_base);
	RUN(upload__looks_first_when_told);
	RUN(upload__lost_file);
	RUN(upload__aborts_only_its_own);
	RUN(upload__finds_what_it_begun);
	RUN(upload__journal_failure_begins_nothing);
	RUN(upload__cancelled_leaves_nothing);
	return 0;
}
