/* test_late.c - a store that comes up after the mount: nothing reaches it before it was
 * looked at, who needs it waits (P8), and no write is shaped by what it is believed to
 * honour (P5). */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backends/late.h"
#include "backends/util/log.h"
#include "cache/upload.h"
#include "tests/unit/check.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

static const struct late_conf quick = {
	.first_ms = 20000,
	.look_ms = 20000,
	.again_ms = 1,
	.away_ms = 2,
	.refused_ms = 4,
	.deadline_ms = 20000,
};

struct store {
	struct bucket bucket; /* first */
	struct backend_ops ops, plain;
	struct backend *late;
	uint32_t found; /* caps, by a look that succeeds */
	_Atomic int error;
	atomic_bool silent; /* a look lasts until this is false, or it is cancelled */
	atomic_int looks, looking, conds, early;
	atomic_bool there;
};

static int store_probe(struct backend *be, bool writes, struct call *call)
{
	struct store *st = (struct store *)be;
	CHECK(writes);
	CHECK_EQ(atomic_fetch_add(&st->looking, 1), 0);
	while (atomic_load(&st->silent) && !call_check(call))
		(void)usleep(1000);
	int r = call_check(call) ? -EHOSTUNREACH : atomic_load(&st->error);
	if (r)
		log_error("mem", "the store says %d", r);
	else
		be->caps = st->found;
	atomic_store(&st->there, !r);
	atomic_fetch_add(&st->looks, 1);
	atomic_fetch_sub(&st->looking, 1);
	return r;
}

static int store_put(struct backend *be, const char *key, const struct source *src,
		     const struct put_opts *opts, struct object *ret, struct call *call)
{
	struct store *st = (struct store *)be;
	atomic_fetch_add(&st->early, !atomic_load(&st->there));
	atomic_fetch_add(&st->conds, opts->cond.if_etag || opts->cond.if_absent);
	return st->plain.put(be, key, src, opts, ret, call);
}

static int store_head(struct backend *be, const char *key, struct object *ret,
		      struct call *call)
{
	struct store *st = (struct store *)be;
	atomic_fetch_add(&st->early, !atomic_load(&st->there));
	return st->plain.head(be, key, ret, call);
}

/* The bucket outlives its wrappers. */
static void store_free(struct backend *be)
{
	(void)be;
}

/* Wrapped, and not looked at yet. */
static void store_init(struct store *st, int error, const struct late_conf *conf)
{
	*st = (struct store){.error = error};
	bucket_init(&st->bucket);
	st->plain = st->ops = *st->bucket.be.ops;
	st->ops.probe = store_probe;
	st->ops.put = store_put;
	st->ops.head = store_head;
	st->ops.free = store_free;
	st->bucket.be.ops = &st->ops;
	st->found = st->bucket.be.caps;
	CHECK_EQ(late_new(&st->bucket.be, conf, &st->late), 0);
}

static void store_done(struct store *st)
{
	CHECK_EQ(atomic_load(&st->early), 0);
	backend_free(st->late);
	bucket_done(&st->bucket);
}

#define UNTIL(cond) VRIG_UNTIL(cond)

/* --- the first look --- */

static void late__a_store_that_is_there_is_looked_at_once(void)
{
	struct store st;
	struct object obj;
	store_init(&st, 0, &quick);
	CHECK_EQ(backend_probe(st.late, true, NULL), 0);
	CHECK_EQ(st.late->caps, st.found);
	CHECK_EQ(backend_settle(st.late, NULL), 0);
	CHECK_EQ(backend_head(st.late, "none", &obj, NULL), -ENOENT);
	CHECK_EQ(st.looks, 1);
	store_done(&st);
}

static void late__what_is_wrong_ends_the_mount(void)
{
	static const int errors[] = {-ENODEV, -EACCES, -EIO, -EOPNOTSUPP};
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
		struct store st;
		store_init(&st, errors[i], &quick);
		CHECK_EQ(backend_probe(st.late, true, NULL), errors[i]);
		store_done(&st);
	}
}

static void late__nobody_there_is_not_waited_for(void)
{
	struct store st;
	store_init(&st, -EHOSTUNREACH, &quick);
	uint64_t start = clock_now_ns();
	CHECK_EQ(backend_probe(st.late, true, NULL), 0);
	CHECK(clock_now_ns() - start < quick.first_ms * NS_PER_MS / 2);
	store_done(&st);
}

/* What another thread asks meanwhile. */
struct asker {
	struct store *st;
	pthread_t thread;
	uint64_t timeout_ns;
	atomic_bool cancelled, ended;
	int r;
};

static void *ask(void *arg)
{
	struct asker *a = arg;
	struct object obj;
	struct call call = {.deadline_ns = clock_add(clock_now_ns(), a->timeout_ns),
			    .cancelled = &a->cancelled};
	a->r = backend_head(a->st->late, "k", &obj, &call);
	atomic_store(&a->ended, true);
	return NULL;
}

static void asker_start(struct asker *a, struct store *st)
{
	*a = (struct asker){.st = st, .timeout_ns = 20 * NS_PER_S};
	CHECK_EQ(pthread_create(&a->thread, NULL, ask, a), 0);
}

static int asker_end(struct asker *a)
{
	CHECK_EQ(pthread_join(a->thread, NULL), 0);
	return a->r;
}

static void *come_up(void *arg)
{
	struct store *st = arg;
	UNTIL(atomic_load(&st->looks) > 3);
	atomic_store(&st->error, 0);
	return NULL;
}

/* A mount that succeeds where it would have before: one busy answer changes nothing. */
static void late__who_answers_badly_is_given_a_moment(void)
{
	struct store st;
	pthread_t server;
	store_init(&st, -EBUSY, &quick);
	CHECK_EQ(pthread_create(&server, NULL, come_up, &st), 0);
	CHECK_EQ(backend_probe(st.late, true, NULL), 0);
	CHECK(atomic_load(&st.there));
	CHECK_EQ(pthread_join(server, NULL), 0);
	store_done(&st);
}

static void late__a_black_hole_holds_up_no_mount(void)
{
	struct store st;
	struct late_conf conf = quick;
	conf.first_ms = 200;
	store_init(&st, -EBUSY, &conf);
	atomic_store(&st.silent, true);
	CHECK_EQ(backend_probe(st.late, true, NULL), 0);
	CHECK(atomic_load(&st.silent));
	uint64_t start = clock_now_ns();
	store_done(&st); /* nor the end: the look is cancelled */
	CHECK(clock_now_ns() - start < quick.look_ms * NS_PER_MS / 2);
}

/* --- waiting --- */

static void late__operations_wait_until_it_is_there(void)
{
	enum { N = 8 };
	struct store st;
	struct asker askers[N];
	store_init(&st, -EHOSTUNREACH, &quick);
	bucket_set(&st.bucket, "k", "text", NULL);
	CHECK_EQ(backend_probe(st.late, true, NULL), 0);
	for (int i = 0; i < N; i++)
		asker_start(&askers[i], &st);
	int looks = atomic_load(&st.looks);
	UNTIL(atomic_load(&st.looks) > looks + 5);
	for (int i = 0; i < N; i++)
		CHECK(!atomic_load(&askers[i].ended));
	struct store_health health;
	backend_health(st.late, &health);
	CHECK(!health.reachable && health.silent_ns);
	atomic_store(&st.error, 0);
	for (int i = 0; i < N; i++)
		CHECK_EQ(asker_end(&askers[i]), 0);
	looks = atomic_load(&st.looks);
	CHECK_EQ(backend_settle(st.late, NULL), 0);
	CHECK_EQ(st.looks, looks);
	backend_health(st.late, &health);
	CHECK(health.reachable);
	store_done(&st);
}

static void late__waits_end_at_the_deadline(void)
{
	static const struct {
		int error, r;
	} cases[] = {{-EHOSTUNREACH, -ETIMEDOUT},
		     {-ECOMM, -ETIMEDOUT},
		     {-EBUSY, -EIO},
		     {-EREMOTEIO, -EIO}};
	struct late_conf conf = quick;
	conf.first_ms = 1;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct store st;
		struct object obj;
		store_init(&st, cases[i].error, &conf);
		CHECK_EQ(backend_probe(st.late, true, NULL), 0);
		UNTIL(atomic_load(&st.looks) > 2);
		struct call call = {.deadline_ns = clock_now_ns() + 50 * NS_PER_MS};
		CHECK_EQ(backend_head(st.late, "k", &obj, &call), cases[i].r);
		call.deadline_ns = clock_now_ns() + 50 * NS_PER_MS;
		CHECK_EQ(backend_settle(st.late, &call), cases[i].r);
		store_done(&st);
	}
}

static void late__waits_can_be_cancelled(void)
{
	struct store st;
	struct asker a;
	store_init(&st, -EHOSTUNREACH, &quick);
	CHECK_EQ(backend_probe(st.late, true, NULL), 0);
	asker_start(&a, &st);
	atomic_store(&a.cancelled, true);
	CHECK_EQ(asker_end(&a), -EINTR);
	store_done(&st);
}

/* What nobody waits for, or what is known, is no reason to wait. */
static void late__some_need_no_store(void)
{
	struct store st;
	struct object obj = {.etag = "e"};
	CLEANUP_BUF struct buf origin;
	buf_init(&origin, 100);
	store_init(&st, -EHOSTUNREACH, &quick);
	CHECK_EQ(backend_probe(st.late, true, NULL), 0);
	CHECK_EQ(backend_check(st.late, "k", &obj, NULL), 0);
	CHECK_EQ(backend_warm(st.late, 4, NULL), 0);
	CHECK_EQ(backend_origin(st.late, "k", &obj, &origin), 0);
	CHECK(origin.len);
	store_done(&st);
}

/* And no look's error is taken for what became of an object (P10). */
static void late__what_is_wrong_may_be_mended(void)
{
	static const struct {
		int error, r;
	} cases[] = {{-EACCES, -EACCES}, {-ENODEV, -ENODEV}, {-ENOENT, -EIO},
		     {-EEXIST, -EIO},	 {-ESTALE, -EIO},    {-EOPNOTSUPP, -EIO}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct store st;
		struct object obj;
		store_init(&st, -EHOSTUNREACH, &quick);
		bucket_set(&st.bucket, "k", "text", NULL);
		CHECK_EQ(backend_probe(st.late, true, NULL), 0);
		atomic_store(&st.error, cases[i].error);
		CHECK_EQ(backend_head(st.late, "k", &obj, NULL), cases[i].r);
		int looks = atomic_load(&st.looks);
		UNTIL(atomic_load(&st.looks) > looks + 2);
		CHECK_EQ(backend_head(st.late, "k", &obj, NULL), cases[i].r);
		atomic_store(&st.error, 0);
		UNTIL(!backend_head(st.late, "k", &obj, NULL));
		store_done(&st);
	}
}

/* --- what is said --- */

static size_t count(const char *text, const char *word)
{
	size_t n = 0;
	for (; (text = strstr(text, word)); text += strlen(word))
		n++;
	return n;
}

static void read_all(int fd, char *ret, size_t size)
{
	ssize_t n = pread(fd, ret, size - 1, 0);
	CHECK(n >= 0);
	ret[n] = '\0';
}

static void late__each_news_is_one_line(void)
{
	struct store st;
	struct object obj;
	char text[8192];
	int fd = memfd_create("log", MFD_CLOEXEC);
	CHECK(fd >= 0);
	log_use_fd(fd);
	store_init(&st, -EHOSTUNREACH, &quick);
	CHECK_EQ(backend_probe(st.late, true, NULL), 0);
	UNTIL(atomic_load(&st.looks) > 5);
	read_all(fd, text, sizeof text);
	CHECK_EQ(count(text, "\n"), 1);
	CHECK(strstr(text, "mastfs: warning: mount: "));
	CHECK(strstr(text, "(the store says -113)"));

	atomic_store(&st.error, -EACCES);
	CHECK_EQ(backend_head(st.late, "k", &obj, NULL), -EACCES);
	int looks = atomic_load(&st.looks);
	UNTIL(atomic_load(&st.looks) > looks + 5);
	read_all(fd, text, sizeof text);
	CHECK_EQ(count(text, "\n"), 2);
	CHECK_EQ(count(text, "mastfs: error: mem: the store says -13\n"), 1);

	atomic_store(&st.error, 0);
	UNTIL(!backend_settle(st.late, NULL));
	store_done(&st);
	read_all(fd, text, sizeof text);
	CHECK_EQ(count(text, "\n"), 3);
	CHECK_EQ(count(text, "mastfs: info: mount: "), 1);
	log_use_fd(STDERR_FILENO);
	(void)close(fd);
}

/* --- writing --- */

struct uploading {
	struct store *st;
	struct upload_job job;
	atomic_bool cancelled;
	int r;
};

static void *upload(void *arg)
{
	struct uploading *u = arg;
	struct object obj;
	u->r = upload_run(u->st->late, &u->job, &obj);
	return NULL;
}

/* The store was believed to have `before`, and has `found`. */
static void upload_meanwhile(struct store *st, uint32_t before, uint32_t found)
{
	struct uploading u = {.st = st,
			      .job = {.key = "k",
				      .fd = memfd_create("bytes", MFD_CLOEXEC),
				      .size = 4,
				      .base = "",
				      .base_tags = "",
				      .tag = "mine",
				      .timeout_ns = 20 * NS_PER_S,
				      .cancelled = &u.cancelled}};
	pthread_t thread;
	CHECK_EQ(write(u.job.fd, "text", 4), 4);
	st->late->caps = before;
	st->found = found;
	CHECK_EQ(backend_probe(st->late, true, NULL), 0);
	CHECK_EQ(pthread_create(&thread, NULL, upload, &u), 0);
	int looks = atomic_load(&st->looks);
	UNTIL(atomic_load(&st->looks) > looks + 20);
	atomic_store(&st->error, 0);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	CHECK_EQ(u.r, 0);
	CHECK(bucket_has(&st->bucket, "k", "text"));
	(void)close(u.job.fd);
}

static void late__uploads_are_shaped_by_what_was_found(void)
{
	struct store st;
	store_init(&st, -EHOSTUNREACH, &quick);
	upload_meanwhile(&st, st.found & ~(uint32_t)BACKEND_PUT_IF, st.found);
	CHECK_EQ(st.conds, 1);
	CHECK_EQ(st.bucket.heads, 0);
	store_done(&st);
	/* A condition that is ignored would overwrite what somebody else has put. */
	store_init(&st, -EHOSTUNREACH, &quick);
	upload_meanwhile(&st, st.found, st.found & ~(uint32_t)BACKEND_PUT_IF);
	CHECK_EQ(st.conds, 0);
	CHECK_EQ(st.bucket.heads, 1);
	store_done(&st);
}

/* A mount over a store that is there. */
static void open_first(struct store *st, struct vrig *rig)
{
	store_init(st, 0, &quick);
	CHECK_EQ(backend_probe(st->late, true, NULL), 0);
	vrig_init_dir(rig, st->late);
	rig->conf.wait_uploads = false;
	vrig_open(rig);
}

/* A mount with pending work over a store that is away. */
static void open_late(struct store *st, struct vrig *rig, int error)
{
	atomic_store(&st->error, -EHOSTUNREACH);
	CHECK_EQ(late_new(&st->bucket.be, &quick, &st->late), 0);
	CHECK_EQ(backend_probe(st->late, true, NULL), 0);
	rig->be = st->late;
	vrig_open(rig);
	atomic_store(&st->error, error);
}

static bool is_left(struct vrig *rig)
{
	return view_drain(rig->vw, clock_now_ns() + 500 * NS_PER_MS) == 1;
}

static void close_late(struct store *st, struct vrig *rig)
{
	vrig_close(rig);
	backend_free(st->late);
}

struct making {
	struct vrig *rig;
	int r;
};

static void *make_directory(void *arg)
{
	struct making *m = arg;
	struct call call = {.deadline_ns = clock_add(clock_now_ns(), 20 * NS_PER_S)};
	m->r = view_mkdir(m->rig->vw, "d", &call);
	return NULL;
}

static void late__directories_are_too(void)
{
	struct store st;
	struct vrig rig;
	pthread_t thread;
	struct making m = {.rig = &rig};
	open_first(&st, &rig);
	close_late(&st, &rig);
	st.bucket.be.caps &= ~(uint32_t)BACKEND_PUT_IF;
	open_late(&st, &rig, -EHOSTUNREACH);
	CHECK_EQ(pthread_create(&thread, NULL, make_directory, &m), 0);
	int looks = atomic_load(&st.looks);
	UNTIL(atomic_load(&st.looks) > looks + 20);
	atomic_store(&st.error, 0);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	CHECK_EQ(m.r, 0);
	CHECK_EQ(st.conds, 1);
	vrig_done(&rig);
	store_done(&st);
}

/* P3: what was acknowledged before is done when the store lets us. */
static void late__journaled_work_outlasts_a_refusal(void)
{
	struct store st;
	struct vrig rig;
	open_first(&st, &rig);
	CHECK_EQ(vrig_write(&rig, "gone", "text"), 0);
	UNTIL(bucket_has(&st.bucket, "gone", "text"));
	atomic_store(&st.bucket.down, -EIO);
	CHECK_EQ(vrig_unlink(&rig, "gone"), 0);
	close_late(&st, &rig);
	atomic_store(&st.bucket.down, 0);

	open_late(&st, &rig, -EACCES);
	CHECK(is_left(&rig));
	CHECK(bucket_has(&st.bucket, "gone", "text"));
	close_late(&st, &rig);

	/* Found out late that it takes no writes at all. */
	uint32_t caps = st.found;
	st.found &= ~(uint32_t)BACKEND_WRITE;
	open_late(&st, &rig, 0);
	CHECK(is_left(&rig));
	close_late(&st, &rig);
	st.bucket.be.caps = st.found = caps;

	open_late(&st, &rig, 0);
	UNTIL(bucket_has(&st.bucket, "gone", NULL));
	vrig_done(&rig);
	store_done(&st);
}

static void late__a_journaled_upload_goes_up(void)
{
	struct store st;
	struct vrig rig;
	open_first(&st, &rig);
	atomic_store(&st.bucket.down, -EIO);
	struct staged *staged = vrig_create(&rig, "f");
	vrig_put(staged, "text");
	CHECK_EQ(staged_publish(staged, false, NULL), 0);
	staged_add_writers(staged, -1);
	staged_unref(staged);
	close_late(&st, &rig);
	atomic_store(&st.bucket.down, 0);

	open_late(&st, &rig, -EHOSTUNREACH);
	CHECK(vrig_reads(&rig, "f", "text"));
	CHECK(is_left(&rig));
	CHECK_EQ(vrig_write(&rig, "f", "more"), 0);
	atomic_store(&st.error, 0);
	UNTIL(bucket_has(&st.bucket, "f", "more"));
	vrig_done(&rig);
	store_done(&st);
}

int main(void)
{
	RUN(late__a_store_that_is_there_is_looked_at_once);
	RUN(late__what_is_wrong_ends_the_mount);
	RUN(late__nobody_there_is_not_waited_for);
	RUN(late__who_answers_badly_is_given_a_moment);
	RUN(late__a_black_hole_holds_up_no_mount);
	RUN(late__operations_wait_until_it_is_there);
	RUN(late__waits_end_at_the_deadline);
	RUN(late__waits_can_be_cancelled);
	RUN(late__some_need_no_store);
	RUN(late__what_is_wrong_may_be_mended);
	RUN(late__each_news_is_one_line);
	RUN(late__uploads_are_shaped_by_what_was_found);
	RUN(late__directories_are_too);
	RUN(late__journaled_work_outlasts_a_refusal);
	RUN(late__a_journaled_upload_goes_up);
	return 0;
}
