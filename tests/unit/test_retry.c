/* test_retry.c - transient failures are repeated, final ones are not, and what a
 * blind repeat of a write would break is undone (P2, P5, P8). */
#include <errno.h>
#include <pthread.h>
#include "backends/fault.h"
#include "backends/retry.h"
#include "backends/util/log.h"
#include "tests/unit/scratch.h"

static const struct retry_conf quick = {
	.base_ms = 100, .cap_ms = 20000, .deadline_ms = 300000, .bad_answers_max = 3};

static const char tag_a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
static const char tag_b[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

struct rig {
	struct scratch scratch;
	struct backend *be, *fault, *plain; /* be owns fault owns plain */
};

static void rig_over(struct rig *rig, struct backend *inner, const char *script)
{
	rig->plain = inner;
	CHECK_EQ(fault_new(inner, script, &rig->fault), 0);
	CHECK_EQ(retry_new(rig->fault, &quick, &rig->be), 0);
}

static void rig_init(struct rig *rig, const char *script)
{
	rig_over(rig, scratch_backend(&rig->scratch), script);
}

static void rig_done(struct rig *rig)
{
	backend_free(rig->be);
	scratch_done(&rig->scratch);
}

static void retry__repeats_what_is_transient(void)
{
	struct rig rig;
	struct object obj;
	rig_init(&rig, "head:1:before=ECOMM;head:2:before=EBUSY;head:3:before=EREMOTEIO;"
		       "head:4:before=ETIMEDOUT;head:5:after=EBADMSG");
	CHECK_EQ(scratch_put(rig.be, "k", "text", NULL, NULL), 0);
	CHECK_EQ(backend_head(rig.be, "k", &obj, NULL), 0);
	CHECK_EQ(obj.size, 4);
	CHECK_EQ(fault_count(rig.fault, "head"), 6);
	rig_done(&rig);
}

static void retry__leaves_final_errors_alone(void)
{
	static const struct {
		const char *script;
		int r;
	} cases[] = {{"head:*:before=EACCES", -EACCES},
		     {"head:*:before=ENOENT", -ENOENT},
		     {"head:*:before=ENOSPC", -ENOSPC},
		     {"head:*:before=ESTALE", -ESTALE}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rig rig;
		struct object obj;
		rig_init(&rig, cases[i].script);
		CHECK_EQ(backend_head(rig.be, "k", &obj, NULL), cases[i].r);
		CHECK_EQ(fault_count(rig.fault, "head"), 1);
		rig_done(&rig);
	}
}

static void retry__gives_up_at_the_deadline(void)
{
	struct rig rig;
	struct object obj;
	rig_init(&rig, "head:*:before=ECOMM;del:1:before=EBUSY;del:2+:before=ECOMM");
	uint64_t start = clock_now_ns();
	CHECK_EQ(backend_head(rig.be, "k", &obj, NULL), -ETIMEDOUT);
	uint64_t took = clock_now_ns() - start;
	CHECK(took > 200 * NS_PER_S && took <= 301 * NS_PER_S);
	/* One answer came, if no good one: not "no answer ever". */
	struct call call = {.deadline_ns = clock_now_ns() + 10 * NS_PER_S};
	CHECK_EQ(backend_del(rig.be, "k", NULL, &call), -EIO);
	CHECK(clock_now_ns() <= call.deadline_ns + NS_PER_S);
	call.deadline_ns = clock_now_ns();
	CHECK_EQ(backend_del(rig.be, "k", NULL, &call), -ETIMEDOUT);
	rig_done(&rig);
}

static void retry__bad_answers_are_repeated_a_few_times(void)
{
	struct rig rig;
	struct object obj;
	rig_init(&rig, "head:*:before=EBADMSG");
	CHECK_EQ(backend_head(rig.be, "k", &obj, NULL), -EIO);
	CHECK_EQ(fault_count(rig.fault, "head"), 4);
	rig_done(&rig);
}

static void retry__get_goes_on_where_it_stopped(void)
{
	struct rig rig;
	struct object obj;
	struct bowl bowl;
	rig_init(&rig, "get:1:short=3=ECOMM;get:2:before=EBUSY;get:3:short=4=ETIMEDOUT;"
		       "get:4:short=0=ECOMM");
	CHECK_EQ(scratch_put(rig.be, "k", "0123456789", NULL, &obj), 0);
	CHECK_EQ(scratch_get(rig.be, "k", &obj, &bowl, NULL), 0);
	CHECK_STR(bowl.data, "0123456789"); /* bowl_sink checks that none comes twice */
	CHECK_EQ(fault_count(rig.fault, "get"), 5);
	rig_done(&rig);
}

static void retry__all_bytes_but_no_good_end_is_asked_again(void)
{
	struct rig rig;
	struct object obj;
	struct bowl bowl;
	rig_init(&rig, "get:1:short=10=ECOMM;get:3:short=10=EBADMSG");
	CHECK_EQ(scratch_put(rig.be, "k", "0123456789", NULL, &obj), 0);
	CHECK_EQ(scratch_get(rig.be, "k", &obj, &bowl, NULL), 0);
	CHECK_STR(bowl.data, "0123456789");
	CHECK_EQ(fault_count(rig.fault, "get"), 2);
	CHECK_EQ(scratch_get(rig.be, "k", &obj, &bowl, NULL), -EIO);
	rig_done(&rig);
}

static int bad_list(void *arg, const char *key, size_t key_len, const struct object *obj)
{
	(void)key;
	(void)key_len;
	(void)obj;
	return *(int *)arg;
}

static void retry__callbacks_error_is_final(void)
{
	struct rig rig;
	struct object obj;
	struct bowl bowl = {.error = -EBUSY};
	rig_init(&rig, "");
	CHECK_EQ(scratch_put(rig.be, "k", "text", NULL, &obj), 0);
	CHECK_EQ(backend_get(rig.be, "k", &obj, 0, 4, bowl_sink, &bowl, NULL), -EBUSY);
	CHECK_EQ(fault_count(rig.fault, "get"), 1);
	const struct list_query q = {.prefix = ""};
	int error = -ECOMM;
	CHECK_EQ(backend_list_all(rig.be, &q, bad_list, &error, NULL), -ECOMM);
	CHECK_EQ(fault_count(rig.fault, "list"), 1);
	rig_done(&rig);
}

static int count_entry(void *arg, const char *key, size_t key_len,
		       const struct object *obj)
{
	(void)key;
	(void)key_len;
	(void)obj;
	++*(int *)arg;
	return 0;
}

static void retry__page_comes_once(void)
{
	struct rig rig;
	int n = 0;
	const struct list_query q = {.prefix = "", .max = 2};
	rig_init(&rig, "list:1:after=ECOMM;list:3:before=EBUSY;list:4:after=EREMOTEIO");
	for (char key[] = "a"; key[0] <= 'e'; key[0]++)
		CHECK_EQ(scratch_put(rig.be, key, "x", NULL, NULL), 0);
	CHECK_EQ(backend_list_all(rig.be, &q, count_entry, &n, NULL), 0);
	CHECK_EQ(n, 5);
	rig_done(&rig);
}

/* Trap 1. */
static void retry__conditional_put_recognises_itself(void)
{
	struct rig rig;
	struct object obj, now;
	const struct put_opts absent = {.cond.if_absent = true, .tag = tag_a};
	rig_init(&rig, "put:1:after=ECOMM;put:3:after=ECOMM");
	CHECK_EQ(scratch_put(rig.be, "k", "text", &absent, &obj), 0);
	CHECK_EQ(fault_count(rig.fault, "put"), 2);
	CHECK_EQ(backend_head(rig.be, "k", &now, NULL), 0);
	CHECK_STR(obj.etag, now.etag);

	const struct put_opts over = {.cond.if_etag = now.etag, .tag = tag_b};
	CHECK_EQ(scratch_put(rig.be, "k", "other", &over, &obj), 0);
	CHECK_EQ(fault_count(rig.fault, "put"), 4);
	CHECK_EQ(obj.size, 5);
	CHECK_STR(obj.tag, tag_b);
	rig_done(&rig);
}

static void retry__somebody_elses_object_is_still_a_refusal(void)
{
	struct rig rig;
	const struct put_opts theirs = {.tag = tag_b};
	const struct put_opts absent = {.cond.if_absent = true, .tag = tag_a};
	const struct put_opts untagged = {.cond.if_absent = true};
	rig_init(&rig, "put:2:before=ECOMM");
	CHECK_EQ(scratch_put(rig.be, "k", "text", &theirs, NULL), 0);
	CHECK_EQ(scratch_put(rig.be, "k", "text", &absent, NULL), -EEXIST);
	CHECK_EQ(scratch_put(rig.be, "k", "text", &untagged, NULL), -EEXIST);
	rig_done(&rig);
}

static void retry__unknown_outcome_is_no_refusal(void)
{
	struct rig rig;
	const struct put_opts absent = {.cond.if_absent = true, .tag = tag_a};
	rig_init(&rig, "put:1:after=ECOMM;head:*:before=ECOMM");
	CHECK_EQ(scratch_put(rig.be, "k", "text", &absent, NULL), -ETIMEDOUT);
	rig_done(&rig);
}

/* Trap 3. */
static void retry__lost_delete_is_a_delete(void)
{
	struct rig rig;
	rig_init(&rig, "del:1:after=ECOMM");
	CHECK_EQ(scratch_put(rig.be, "k", "text", NULL, NULL), 0);
	CHECK_EQ(backend_del(rig.be, "k", NULL, NULL), 0);
	CHECK_EQ(backend_del(rig.be, "k", NULL, NULL), -ENOENT);
	rig_done(&rig);
}

/* What is at the new name may have been there before. */
static void retry__lost_rename_is_for_the_caller_to_find(void)
{
	struct rig rig;
	struct object obj;
	rig_init(&rig, "rename:1:after=ECOMM;rename:3:before=ECOMM");
	CHECK_EQ(scratch_put(rig.be, "k", "text", NULL, NULL), 0);
	CHECK_EQ(backend_rename(rig.be, "k", "l", NULL), -ENOENT);
	CHECK_EQ(backend_head(rig.be, "l", &obj, NULL), 0);
	CHECK_EQ(scratch_put(rig.be, "old", "text", NULL, NULL), 0);
	CHECK_EQ(backend_rename(rig.be, "k", "old", NULL), -ENOENT);
	CHECK_EQ(fault_count(rig.fault, "rename"), 4);
	rig_done(&rig);
}

static void retry__lost_copy_onto_itself_is_a_copy(void)
{
	struct rig rig;
	struct object obj, ret;
	const struct put_opts opts = {.mtime_ns = 12345, .tag = tag_a};
	rig_init(&rig, "copy:1:after=ECOMM");
	CHECK_EQ(scratch_put(rig.be, "k", "text", NULL, &obj), 0);
	CHECK_EQ(backend_copy(rig.be, "k", &obj, "k", &opts, &ret, NULL), 0);
	CHECK_EQ(ret.mtime_ns, 12345);
	CHECK_EQ(fault_count(rig.fault, "copy"), 2);
	rig_done(&rig);
}

/* The least of a store with uploads: one key, one upload, no bytes. */
struct fake {
	struct backend base;
	bool upload;	   /* it is there */
	struct object obj; /* etag "" = none */
	uint64_t hint_ms;  /* for the next failure of head */
	int head_error, probe_error, probe_failures;
};

static void fake_free(struct backend *be)
{
	(void)be;
}

static int fake_probe(struct backend *be, bool writes, struct call *call)
{
	struct fake *f = (struct fake *)be;
	(void)writes;
	(void)call;
	return f->probe_failures-- > 0 ? f->probe_error : 0;
}

static int fake_head(struct backend *be, const char *key, struct object *ret,
		     struct call *call)
{
	struct fake *f = (struct fake *)be;
	(void)key;
	(void)call;
	if (f->head_error) {
		int r = f->head_error;
		f->head_error = 0;
		retry_after_hint(f->hint_ms);
		return r;
	}
	if (!f->obj.etag[0])
		return -ENOENT;
	*ret = f->obj;
	return 0;
}

static int fake_finish(struct backend *be, const char *key, const char *id,
		       const struct part *parts, uint32_t n_parts, uint64_t size,
		       const struct put_opts *opts, struct object *ret, struct call *call)
{
	struct fake *f = (struct fake *)be;
	(void)key;
	(void)id;
	(void)parts;
	(void)n_parts;
	(void)call;
	if (opts->cond.if_absent && f->obj.etag[0])
		return -EEXIST;
	if (!f->upload)
		return -ENXIO;
	f->upload = false;
	f->obj = (struct object){.size = size, .etag = "\"e\""};
	(void)snprintf(f->obj.tag, sizeof f->obj.tag, "%s", opts->tag);
	*ret = f->obj;
	return 0;
}

static int fake_abort(struct backend *be, const char *key, const char *id,
		      struct call *call)
{
	(void)key;
	(void)id;
	(void)call;
	((struct fake *)be)->upload = false;
	return 0;
}

static int fake_begin(struct backend *be, const char *key, uint64_t size,
		      const struct put_opts *opts, char **ret_id, struct call *call)
{
	(void)be;
	(void)key;
	(void)size;
	(void)opts;
	(void)call;
	*ret_id = strdup("id");
	return *ret_id ? 0 : -ENOMEM;
}

static const struct backend_ops fake_ops = {.scheme = "fake",
					    .free = fake_free,
					    .probe = fake_probe,
					    .head = fake_head,
					    .upload_begin = fake_begin,
					    .upload_finish = fake_finish,
					    .upload_abort = fake_abort};
static char fake_name[] = "fake://";

static struct fake fake_new(void)
{
	return (struct fake){
		.base = {.ops = &fake_ops,
			 .caps = BACKEND_WRITE | BACKEND_UPLOAD | BACKEND_FINISH_IF,
			 .limits = {.put_max = 1 << 20,
				    .part_max = 1 << 20,
				    .parts_max = 10,
				    .object_max = 1 << 20},
			 .name = fake_name},
		.upload = true};
}

static int finish(struct backend *be, const struct put_opts *opts, struct object *ret)
{
	const struct part part = {.number = 1, .size = 7};
	return backend_upload_finish(be, "k", "id", &part, 1, 7, opts, ret, NULL);
}

/* Traps 1 and 2. */
static void retry__lost_finish_is_a_finish(void)
{
	static const char *const faults[] = {
		"finish:1:after=ECOMM;abort:1:after=ECOMM",
		"finish:1:after=ETIMEDOUT;abort:1:after=ECOMM",
		"finish:1:after=EREMOTEIO;abort:1:after=ECOMM", /* a proxy's 502 */
		"finish:1:after=EBADMSG;abort:1:after=ECOMM",
	};
	for (size_t i = 0; i < 8; i++) {
		struct rig rig;
		struct object ret;
		struct fake fake = fake_new();
		const struct put_opts opts = {.cond.if_absent = i % 2, .tag = tag_a};
		rig_over(&rig, &fake.base, faults[i / 2]);
		CHECK_EQ(finish(rig.be, &opts, &ret), 0);
		CHECK_EQ(fault_count(rig.fault, "finish"), 1); /* never two at once */
		CHECK_EQ(fault_count(rig.fault, "abort"), 2); /* parts are left nowhere */
		CHECK_STR(ret.tag, tag_a);
		CHECK_EQ(ret.size, 7);
		CHECK_EQ(backend_upload_abort(rig.be, "k", "id", NULL), 0);
		backend_free(rig.be);
	}
}

/* Trap 4: nobody knows of the first one, unless the caller is told. */
static void retry__lost_begin_is_told(void)
{
	static const struct {
		const char *faults;
		bool repeated;
	} cases[] = {
		{"", false},
		{"begin:1:before=EBUSY", false},
		{"begin:1:before=EACCES", false},
		{"begin:1:after=ECOMM", true},
		{"begin:1:after=EREMOTEIO", true},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct rig rig;
		struct fake fake = fake_new();
		struct call call = {.deadline_ns = CLOCK_NEVER};
		char *id = NULL;
		rig_over(&rig, &fake.base, cases[i].faults);
		int r = backend_upload_begin(rig.be, "k", 0, &(struct put_opts){0}, &id,
					     &call);
		CHECK(r == 0 || r == -EACCES);
		CHECK_EQ(call.repeated, cases[i].repeated);
		free(id);
		backend_free(rig.be);
	}
}

/* One that did not arrive is sent again, after a look. */
static void retry__finish_is_sent_again_after_a_look(void)
{
	struct rig rig;
	struct object ret;
	struct fake fake = fake_new();
	const struct put_opts opts = {.cond.if_absent = true, .tag = tag_a};
	rig_over(&rig, &fake.base, "finish:1:before=ECOMM;finish:2:before=ECOMM");
	CHECK_EQ(finish(rig.be, &opts, &ret), 0);
	CHECK_EQ(fault_count(rig.fault, "finish"), 3);
	CHECK_EQ(fault_count(rig.fault, "head"), 2);
	CHECK_STR(ret.tag, tag_a);
	backend_free(rig.be);
}

static void retry__upload_that_went_is_enxio(void)
{
	struct rig rig;
	struct object ret;
	struct fake fake = fake_new();
	const struct put_opts opts = {.tag = tag_a};
	fake.upload = false;
	fake.obj = (struct object){.size = 7, .etag = "\"x\""};
	memcpy(fake.obj.tag, tag_b, sizeof tag_b);
	rig_over(&rig, &fake.base, "finish:1:before=ECOMM");
	CHECK_EQ(finish(rig.be, &opts, &ret), -ENXIO);
	backend_free(rig.be);
}

static void retry__waits_as_long_as_the_server_asks(void)
{
	struct rig rig;
	struct object ret;
	struct fake fake = fake_new();
	fake.obj = (struct object){.size = 7, .etag = "\"x\""};
	fake.hint_ms = 60000;
	fake.head_error = -EBUSY;
	rig_over(&rig, &fake.base, "");
	uint64_t start = clock_now_ns();
	CHECK_EQ(backend_head(rig.be, "k", &ret, NULL), 0);
	uint64_t took = clock_now_ns() - start;
	CHECK(took >= 60 * NS_PER_S && took < 62 * NS_PER_S);
	/* Longer than there is time: no point in waiting. */
	fake.hint_ms = UINT64_MAX;
	fake.head_error = -EBUSY;
	start = clock_now_ns();
	CHECK_EQ(backend_head(rig.be, "k", &ret, NULL), -EIO);
	CHECK(clock_now_ns() - start < NS_PER_S);
	backend_free(rig.be);
}

/* P8: a busy server ends no mount; a wrong address is told at once. */
static void retry__probe_is_repeated_if_somebody_is_there(void)
{
	struct rig rig;
	struct fake fake = fake_new();
	fake.probe_failures = 3;
	rig_over(&rig, &fake.base, "");
	fake.probe_error = -EHOSTUNREACH;
	CHECK_EQ(backend_probe(rig.be, false, NULL), -ETIMEDOUT);
	CHECK_EQ(fake.probe_failures, 2);
	fake.probe_error = -EBUSY;
	CHECK_EQ(backend_probe(rig.be, false, NULL), 0);
	CHECK_EQ(fake.probe_failures, -1);
	fake.probe_failures = 1000;
	struct call call = {.deadline_ns = clock_now_ns() + 30 * NS_PER_S};
	CHECK_EQ(backend_probe(rig.be, false, &call), -EIO);
	fake.probe_failures = 0;
	CHECK_EQ(backend_probe(rig.be, false, &call), 0);
	CHECK(rig.be->caps & BACKEND_UPLOAD);
	/* Nobody waits, and who asks asks again. */
	fake.probe_failures = 1000;
	call = (struct call){.deadline_ns = CLOCK_NEVER, .prio = PRIO_HINT};
	CHECK_EQ(backend_probe(rig.be, false, &call), -EBUSY);
	CHECK_EQ(fake.probe_failures, 999);
	fake.probe_error = -EHOSTUNREACH;
	CHECK_EQ(backend_probe(rig.be, false, &call), -EHOSTUNREACH);
	backend_free(rig.be);
}

struct cancelled_call {
	struct backend *be;
	atomic_bool cancelled;
	int r;
};

static void *head_until_cancelled(void *arg)
{
	struct cancelled_call *c = arg;
	struct object obj;
	struct call call = {.deadline_ns = CLOCK_NEVER, .cancelled = &c->cancelled};
	c->r = backend_head(c->be, "k", &obj, &call);
	return NULL;
}

/* In real time: the wait it interrupts can last 20 s. */
static void retry__cancellation_cuts_the_wait_short(void)
{
	struct rig rig;
	pthread_t thread;
	rig_init(&rig, "head:*:before=ECOMM");
	struct cancelled_call c = {.be = rig.be};
	uint64_t start = clock_now_ns();
	CHECK(!pthread_create(&thread, NULL, head_until_cancelled, &c));
	clock_sleep_ns(300 * NS_PER_MS);
	atomic_store(&c.cancelled, true);
	(void)pthread_join(thread, NULL);
	CHECK_EQ(c.r, -EINTR);
	CHECK(clock_now_ns() - start < 2 * NS_PER_S);
	rig_done(&rig);
}

int main(void)
{
	RUN(retry__cancellation_cuts_the_wait_short);
	clock_pretend();
	RUN(retry__repeats_what_is_transient);
	RUN(retry__leaves_final_errors_alone);
	RUN(retry__gives_up_at_the_deadline);
	RUN(retry__bad_answers_are_repeated_a_few_times);
	RUN(retry__get_goes_on_where_it_stopped);
	RUN(retry__all_bytes_but_no_good_end_is_asked_again);
	RUN(retry__callbacks_error_is_final);
	RUN(retry__page_comes_once);
	RUN(retry__conditional_put_recognises_itself);
	RUN(retry__somebody_elses_object_is_still_a_refusal);
	RUN(retry__unknown_outcome_is_no_refusal);
	RUN(retry__lost_delete_is_a_delete);
	RUN(retry__lost_rename_is_for_the_caller_to_find);
	RUN(retry__lost_copy_onto_itself_is_a_copy);
	RUN(retry__lost_begin_is_told);
	RUN(retry__lost_finish_is_a_finish);
	RUN(retry__finish_is_sent_again_after_a_look);
	RUN(retry__upload_that_went_is_enxio);
	RUN(retry__waits_as_long_as_the_server_asks);
	RUN(retry__probe_is_repeated_if_somebody_is_there);
	return 0;
}
