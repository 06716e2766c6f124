/* test_removal.c - removal.h's diagram edge by edge: a DELETE goes out only for what
 * the user removed. */
#include <errno.h>
#include <unistd.h>
#include "tests/unit/check.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

enum { THREADS = 4 };

/* The parts that a view makes, with other delays. */
struct rig {
	struct vrig v;
	struct journal *jn;
	struct names *nm;
	struct removal *rm;
};

static int no_row(void *arg, const struct journal_row *row)
{
	(void)arg;
	(void)row;
	return 0;
}

static int load_gone(void *arg, const char *key, const char *etag, const char *tag)
{
	struct rig *rig = arg;
	return removal_load(rig->rm, key, etag, tag);
}

static int no_dir(void *arg, const char *key)
{
	(void)arg;
	(void)key;
	return 0;
}

static void open_parts(struct rig *rig)
{
	char path[96];
	struct names_conf nc = {.ttl_ns = 60 * NS_PER_S,
				.negative_ttl_ns = NS_PER_S,
				.entries_max = 1000};
	struct removal_conf rc = {.delay_ns = 50 * NS_PER_MS,
				  .retry_ns = 50 * NS_PER_MS,
				  .timeout_ns = 30 * NS_PER_S,
				  .threads = THREADS};
	struct journal_visitor v = {
		.arg = rig, .row = no_row, .gone = load_gone, .dir = no_dir};
	(void)snprintf(path, sizeof(path), "%s/test.db", rig->v.dir);
	CHECK_EQ(journal_open(path, &rig->jn), 0);
	CHECK_EQ(names_new(&nc, rig->v.be, rig->v.bl, &rig->nm), 0);
	CHECK_EQ(removal_new(&rc, rig->v.be, rig->v.bl, rig->jn, rig->nm, &rig->rm), 0);
	CHECK_EQ(journal_load(rig->jn, &v), 0);
	CHECK_EQ(removal_start(rig->rm), 0);
}

static void close_parts(struct rig *rig)
{
	removal_free(rig->rm);
	names_free(rig->nm);
	journal_close(rig->jn);
}

static void start(struct rig *rig, bool can_compare)
{
	vrig_init(&rig->v);
	if (!can_compare)
		rig->v.be->caps &= ~(uint32_t)BACKEND_DEL_IF;
	open_parts(rig);
}

static void end(struct rig *rig)
{
	close_parts(rig);
	vrig_done(&rig->v);
}

static void add(struct rig *rig, const char *key, const char *text)
{
	struct object obj;
	bucket_set(&rig->v.bucket, key, text, NULL);
	CHECK_EQ(bucket_head(&rig->v.bucket, key, &obj), 0);
	CHECK_EQ(removal_add(rig->rm, key, obj.etag, NULL), 0);
	CHECK(removal_pending(rig->rm, key));
}

/* WAITING -> FLYING -> (none) */
static void removal__sends_what_is_due(void)
{
	for (int can = 0; can < 2; can++) {
		struct rig rig;
		start(&rig, can);
		add(&rig, "f", "x");
		CHECK(bucket_has(&rig.v.bucket, "f", "x")); /* not at once */
		VRIG_UNTIL(!removal_pending(rig.rm, "f"));
		CHECK(bucket_has(&rig.v.bucket, "f", NULL));
		CHECK_EQ(rig.v.bucket.dels, 1);
		enum name_kind kind;
		struct object obj;
		CHECK_EQ(names_lookup(rig.nm, "f", &kind, &obj, NULL), -ENOENT);
		end(&rig);
	}
}

/* Somebody else's new version stays, whether the store can compare or not. */
static void removal__spares_what_others_put(void)
{
	for (int can = 0; can < 2; can++) {
		struct rig rig;
		start(&rig, can);
		add(&rig, "f", "x");
		bucket_set(&rig.v.bucket, "f", "theirs", NULL);
		VRIG_UNTIL(!removal_pending(rig.rm, "f"));
		CHECK(bucket_has(&rig.v.bucket, "f", "theirs"));
		end(&rig);
	}
}

/* A broken-off upload of ours is known by its tag. */
static void removal__knows_its_tag(void)
{
	for (int can = 0; can < 2; can++) {
		struct rig rig;
		start(&rig, can);
		bucket_set(&rig.v.bucket, "mine", "x", "tag-a");
		bucket_set(&rig.v.bucket, "theirs", "x", "tag-b");
		bucket_set(&rig.v.bucket, "plain", "x", NULL);
		CHECK_EQ(removal_note(rig.rm, "mine", "\"old\"", "tag-a", NULL), 0);
		CHECK_EQ(removal_note(rig.rm, "theirs", "", "tag-a", NULL), 0);
		CHECK_EQ(removal_note(rig.rm, "plain", "", "", NULL), 0);
		CHECK_EQ(removal_drain(rig.rm, clock_now_ns() + 5 * NS_PER_S), 0);
		CHECK(bucket_has(&rig.v.bucket, "mine", NULL));
		CHECK(bucket_has(&rig.v.bucket, "theirs", "x"));
		CHECK(bucket_has(&rig.v.bucket, "plain", "x"));
		end(&rig);
	}
}

/* The request was given up, and the server has not carried it out yet (P3, P4). */
static void removal__waits_for_what_may_arrive(void)
{
	struct rig rig;
	start(&rig, true);
	atomic_store(&rig.v.bucket.late_heads, true);
	CHECK_EQ(removal_note(rig.rm, "late", "", "tag-a", NULL), 0);
	VRIG_UNTIL(rig.v.bucket.heads == 1);
	(void)usleep(20000); /* it has looked; what it saw is told later */
	bucket_set(&rig.v.bucket, "late", "x", "tag-a");
	atomic_store(&rig.v.bucket.late_heads, false);
	VRIG_UNTIL(!removal_pending(rig.rm, "late"));
	CHECK(bucket_has(&rig.v.bucket, "late", NULL));
	int before = rig.v.bucket.heads;
	CHECK_EQ(removal_note(rig.rm, "never", "", "tag-a", NULL), 0);
	CHECK_EQ(removal_drain(rig.rm, clock_now_ns() + 5 * NS_PER_S), 0);
	CHECK_EQ(rig.v.bucket.heads, before + 2);
	end(&rig);
}

/* WAITING -> HELD -> (none), and -> WAITING */
static void removal__taken_released_settled(void)
{
	struct rig rig;
	char etag[ETAG_SIZE], tags[TAGS_SIZE];
	struct object obj;
	start(&rig, true);
	add(&rig, "f", "x");
	CHECK(!removal_take(rig.rm, "other", etag, tags));
	CHECK(removal_take(rig.rm, "f", etag, tags));
	CHECK_EQ(bucket_head(&rig.v.bucket, "f", &obj), 0);
	CHECK_STR(etag, obj.etag);
	(void)usleep(150000);
	CHECK(removal_pending(rig.rm, "f"));
	CHECK(bucket_has(&rig.v.bucket, "f", "x")); /* held is held */
	CHECK_EQ(removal_drain(rig.rm, clock_now_ns() + 5 * NS_PER_S), 0);
	removal_release(rig.rm, "f");
	VRIG_UNTIL(!removal_pending(rig.rm, "f"));
	CHECK(bucket_has(&rig.v.bucket, "f", NULL));

	add(&rig, "g", "x");
	removal_settled(rig.rm, "g"); /* not held: nothing to settle */
	CHECK(removal_pending(rig.rm, "g"));
	CHECK(removal_take(rig.rm, "g", etag, tags));
	removal_settled(rig.rm, "g");
	(void)usleep(150000);
	CHECK(bucket_has(&rig.v.bucket, "g", "x"));
	end(&rig);
}

/* FLYING -> WAITING: no answer is no end; and the next mount goes on. */
static void removal__faults_wait_for_the_next_mount(void)
{
	struct rig rig;
	start(&rig, true);
	atomic_store(&rig.v.bucket.down, -EIO);
	add(&rig, "f", "x");
	VRIG_UNTIL(rig.v.bucket.dels > 1);
	CHECK(removal_pending(rig.rm, "f"));
	close_parts(&rig);
	atomic_store(&rig.v.bucket.down, 0);
	open_parts(&rig);
	CHECK(removal_pending(rig.rm, "f"));
	VRIG_UNTIL(bucket_has(&rig.v.bucket, "f", NULL));
	VRIG_UNTIL(!removal_pending(rig.rm, "f"));
	close_parts(&rig);
	open_parts(&rig);
	CHECK(!removal_pending(rig.rm, "f"));
	end(&rig);
}

/* FLYING -> (none), final: refused. */
static void removal__refusal_is_final(void)
{
	struct rig rig;
	start(&rig, true);
	atomic_store(&rig.v.bucket.down, -EACCES);
	add(&rig, "f", "x");
	VRIG_UNTIL(!removal_pending(rig.rm, "f"));
	CHECK(bucket_has(&rig.v.bucket, "f", "x"));
	end(&rig);
}

/* FLYING -> WAITING: that nobody would believe who we are is no refusal (P3). */
static void removal__lost_identity_is_not_final(void)
{
	struct rig rig;
	start(&rig, true);
	atomic_store(&rig.v.bucket.down, -EKEYEXPIRED);
	add(&rig, "f", "x");
	VRIG_UNTIL(rig.v.bucket.dels > 1);
	CHECK(removal_pending(rig.rm, "f"));
	atomic_store(&rig.v.bucket.down, 0);
	VRIG_UNTIL(!removal_pending(rig.rm, "f"));
	CHECK(bucket_has(&rig.v.bucket, "f", NULL));
	end(&rig);
}

/* Whoever writes the name anew waits for a DELETE that is out, not for a fetch. */
static void removal__take_waits_for_what_was_sent(void)
{
	struct rig rig;
	char etag[ETAG_SIZE], tags[TAGS_SIZE];
	start(&rig, true);
	add(&rig, "f", "x");
	(void)usleep(20000);
	CHECK(removal_take(rig.rm, "f", etag, tags));
	removal_settled(rig.rm, "f");

	struct object obj;
	struct version *v = NULL;
	bucket_set(&rig.v.bucket, "g", "y", NULL);
	CHECK_EQ(bucket_head(&rig.v.bucket, "g", &obj), 0);
	CHECK_EQ(version_get(rig.v.bl, "g", &obj, &v), 0);
	atomic_store(&rig.v.bucket.held, true); /* the GET for its reader hangs */
	CHECK_EQ(removal_add(rig.rm, "g", obj.etag, v), 0);
	VRIG_UNTIL(rig.v.bucket.gets > 0);
	uint64_t began = clock_now_ns();
	CHECK(removal_take(rig.rm, "g", etag, tags));
	CHECK(clock_now_ns() - began < 2 * NS_PER_S);
	atomic_store(&rig.v.bucket.held, false);
	CHECK_EQ(rig.v.bucket.dels, 0);
	version_unref(v);
	end(&rig);
}

/* QUEUED -> WAITING: of a tree that was removed and is written anew, no name waits for
 * those before it. */
static void removal__take_waits_for_no_turn(void)
{
	struct rig rig;
	char name[8], etag[ETAG_SIZE], tags[TAGS_SIZE];
	bool pending;
	start(&rig, true);
	atomic_store(&rig.v.bucket.held, true);
	for (int i = 0; i < 40; i++) {
		(void)snprintf(name, sizeof(name), "f%02d", i);
		add(&rig, name, "x");
		if (i == THREADS - 1) /* no thread is left for the rest */
			VRIG_UNTIL(rig.v.bucket.dels == THREADS);
	}
	(void)usleep(200000); /* all are due */
	CHECK(removal_take(rig.rm, "f39", etag, tags));
	CHECK_EQ(removal_hold(rig.rm, "f38", "tag-a", etag, tags, &pending), 0);
	CHECK(pending);
	CHECK_EQ(removal_note(rig.rm, "f37", "\"another\"", "", NULL), 0);
	CHECK_EQ(rig.v.bucket.dels, THREADS);
	removal_release(rig.rm, "f38");
	atomic_store(&rig.v.bucket.held, false);
	CHECK_EQ(removal_drain(rig.rm, clock_now_ns() + 10 * NS_PER_S), 0);
	CHECK_EQ(rig.v.bucket.dels, 39);
	CHECK(bucket_has(&rig.v.bucket, "f39", "x"));
	CHECK(bucket_has(&rig.v.bucket, "f38", NULL));
	CHECK(bucket_has(&rig.v.bucket, "f37", "x"));
	CHECK_EQ(removal_count(rig.rm), 1);
	end(&rig);
}

/* The end does not come to each that is due. */
static void removal__end_leaves_what_is_queued(void)
{
	struct rig rig;
	char name[8];
	start(&rig, true);
	atomic_store(&rig.v.bucket.held, true);
	for (int i = 0; i < 40; i++) {
		(void)snprintf(name, sizeof(name), "f%02d", i);
		add(&rig, name, "x");
	}
	VRIG_UNTIL(rig.v.bucket.dels == THREADS);
	(void)usleep(200000);
	close_parts(&rig);
	CHECK_EQ(rig.v.bucket.dels, THREADS);
	atomic_store(&rig.v.bucket.held, false);
	open_parts(&rig);
	CHECK_EQ(removal_drain(rig.rm, clock_now_ns() + 10 * NS_PER_S), 0);
	CHECK_EQ(removal_count(rig.rm), 0);
	CHECK(bucket_has(&rig.v.bucket, "f39", NULL));
	end(&rig);
}

/* An open file keeps its bytes (P1). */
static void removal__fetches_for_readers_first(void)
{
	struct rig rig;
	struct object obj;
	struct version *v = NULL;
	char got[2] = "";
	start(&rig, true);
	bucket_set(&rig.v.bucket, "f", "y", NULL);
	CHECK_EQ(bucket_head(&rig.v.bucket, "f", &obj), 0);
	CHECK_EQ(version_get(rig.v.bl, "f", &obj, &v), 0);
	CHECK_EQ(removal_add(rig.rm, "f", obj.etag, v), 0);
	VRIG_UNTIL(bucket_has(&rig.v.bucket, "f", NULL));
	CHECK_EQ(blocks_read(rig.v.bl, v, 0, got, 1, NULL), 0);
	CHECK_STR(got, "y");
	version_unref(v);
	end(&rig);
}

/* A marker goes after what was in it. */
static void removal__markers_last(void)
{
	struct rig rig;
	start(&rig, true);
	bucket_set(&rig.v.bucket, "d/", "", NULL);
	atomic_store(&rig.v.bucket.held, true);
	CHECK_EQ(removal_add(rig.rm, "d/", "", NULL), 0);
	add(&rig, "d/f", "x");
	(void)usleep(200000);
	CHECK(bucket_has(&rig.v.bucket, "d/", ""));
	CHECK_EQ(rig.v.bucket.heads, 0);
	atomic_store(&rig.v.bucket.held, false);
	CHECK_EQ(removal_drain(rig.rm, clock_now_ns() + 10 * NS_PER_S), 0);
	CHECK(bucket_has(&rig.v.bucket, "d/", NULL));
	CHECK(bucket_has(&rig.v.bucket, "d/f", NULL));
	end(&rig);
}

int main(void)
{
	RUN(removal__sends_what_is_due);
	RUN(removal__spares_what_others_put);
	RUN(removal__knows_its_tag);
	RUN(removal__waits_for_what_may_arrive);
	RUN(removal__taken_released_settled);
	RUN(removal__faults_wait_for_the_next_mount);
	RUN(removal__refusal_is_final);
	RUN(removal__lost_identity_is_not_final);
	RUN(removal__take_waits_for_what_was_sent);
	RUN(removal__take_waits_for_no_turn);
	RUN(removal__end_leaves_what_is_queued);
	RUN(removal__fetches_for_readers_first);
	RUN(removal__markers_last);
	return 0;
}
