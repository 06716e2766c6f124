/* test_dir_move.c - a directory gets another name, the numbered promises of dir_move.h:
 * whatever call fails, wherever the daemon dies, each file is under one of both names,
 * all of them the same. */
#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
#include "backends/fault.h"
#include "backends/util/cleanup.h"
#include "cache/dir_move.h"
#include "tests/unit/scratch.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

static const char *const files[] = {"a", "b", "sub/c", "sub/deep/d"};
enum { N_FILES = 4, CALLS_MAX = 100, COMPLETE = 3 };

static int move(struct vrig *rig, const char *from, const char *to, bool over)
{
	struct call call = {.deadline_ns = clock_add(clock_now_ns(), 20 * NS_PER_S)};
	return view_rename_dir(rig->vw, from, to, over, &vrig_followers, &call);
}

/* --- over a local bucket --- */

struct place {
	struct scratch s;
	struct vrig rig;
	struct backend *be, *plain; /* the same bucket; be by a script */
};

static struct backend *open_bucket(const struct place *p)
{
	struct backend_conf conf = {.url = p->s.url};
	struct backend *be;
	CHECK_EQ(local_open(&conf, &be), 0);
	CHECK_EQ(backend_probe(be, true, NULL), 0);
	return be;
}

static void init(struct place *p)
{
	*p = (struct place){0};
	p->plain = scratch_backend(&p->s);
	vrig_init_dir(&p->rig, NULL);
	for (int i = 0; i < N_FILES; i++) {
		char key[64];
		(void)snprintf(key, sizeof(key), "old/%s", files[i]);
		CHECK_EQ(scratch_put(p->plain, key, files[i], NULL, NULL), 0);
	}
}

static void mount(struct place *p, const char *script)
{
	CHECK_EQ(fault_new(open_bucket(p), script, &p->be), 0);
	p->rig.be = p->be;
	vrig_open(&p->rig);
}

static void umount(struct place *p)
{
	vrig_close(&p->rig);
	backend_free(p->be);
	p->be = NULL;
}

static void end(struct place *p)
{
	umount(p);
	backend_free(p->plain);
	scratch_done(&p->s);
	vrig_done(&p->rig);
}

static bool in_bucket(struct place *p, const char *top, const char *name)
{
	char key[64];
	struct object obj;
	(void)snprintf(key, sizeof(key), "%s/%s", top, name);
	int r = backend_head(p->plain, key, &obj, NULL);
	CHECK(!r || r == -ENOENT);
	return !r;
}

static bool here(struct place *p, const char *top, const char *name, const char *text)
{
	char path[64];
	(void)snprintf(path, sizeof(path), "%s/%s", top, name);
	return vrig_reads(&p->rig, path, text);
}

static bool exists(struct place *p, const char *path)
{
	struct view_entry e;
	struct call call = {.deadline_ns = clock_add(clock_now_ns(), 5 * NS_PER_S)};
	int r = view_lookup(p->rig.vw, path, &e, &call);
	CHECK(!r || r == -ENOENT);
	if (!r)
		view_entry_done(&e);
	return !r;
}

/* All is at the one name, nothing at the other: here at once, in the bucket soon. */
static void check_at(struct place *p, const char *top)
{
	const char *other = strcmp(top, "new") ? "new" : "old";
	CHECK(exists(p, top) && !exists(p, other));
	for (int i = 0; i < N_FILES; i++) {
		CHECK(here(p, top, files[i], files[i]));
		CHECK(here(p, other, files[i], NULL));
	}
	CHECK_EQ(view_drain(p->rig.vw, clock_now_ns() + 20 * NS_PER_S), 0);
	for (int i = 0; i < N_FILES; i++) {
		CHECK(in_bucket(p, top, files[i]));
		CHECK(!in_bucket(p, other, files[i]));
		CHECK(here(p, top, files[i], files[i]));
	}
	CHECK(exists(p, top) && !exists(p, other));
}

/* One DELETE was refused, and that is final: all is at the new name, and at most that one
 * under the old one, too. */
static void check_but_one(struct place *p)
{
	int left = 0;
	CHECK_EQ(view_drain(p->rig.vw, clock_now_ns() + 20 * NS_PER_S), 0);
	for (int i = 0; i < N_FILES; i++) {
		CHECK(in_bucket(p, "new", files[i]));
		CHECK(here(p, "new", files[i], files[i]));
		left += in_bucket(p, "old", files[i]);
	}
	CHECK(left <= 1);
}

static void dir_move__every_call_fails_once(void)
{
	enum { REFUSED = 2 };
	static const char *const how[] = {"before=ECOMM", "after=ECOMM", "before=EACCES"};
	for (int h = 0; h < 3; h++) {
		uint64_t n = 1;
		bool reached = true;
		for (; reached && n < CALLS_MAX; n++) {
			struct place p;
			char script[64];
			init(&p);
			(void)snprintf(script, sizeof(script), "any:%llu:%s",
				       (unsigned long long)n, how[h]);
			mount(&p, script);
			int r = move(&p.rig, "old", "new", false);
			reached = fault_count(p.be, "any") >= n;
			CHECK(reached || !r);
			if (reached && h == REFUSED && !r)
				check_but_one(&p);
			else if (reached)
				check_at(&p, r ? "old" : "new");
			end(&p);
		}
		CHECK(!reached && n > 2 * N_FILES);
	}
}

/* --- the daemon dies --- */

struct watch {
	struct place *p;
	uint64_t n; /* the call that is not done any more, or whose answer is not heard */
};

static void *die_at_call(void *arg)
{
	const struct watch *w = arg;
	while (fault_count(w->p->be, "any") < w->n)
		(void)usleep(500);
	_exit(0);
}

/* What is written here goes with it: a local name, and one that was synced. */
static void write_below(struct place *p)
{
	struct staged *local = vrig_create(&p->rig, "old/x.part");
	vrig_put(local, "local");
	struct staged *synced = vrig_create(&p->rig, "old/sub/s");
	vrig_put(synced, "synced");
	CHECK_EQ(staged_sync(synced), 0);
}

/* From the n-th call on none comes to an end, and there the daemon dies. */
static int die(struct place *p, uint64_t n)
{
	char script[64];
	(void)snprintf(script, sizeof(script), "any:%llu+:delay=100000",
		       (unsigned long long)n);
	(void)fflush(stdout);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		struct watch w = {p, n};
		pthread_t thread;
		mount(p, script);
		write_below(p);
		CHECK_EQ(pthread_create(&thread, NULL, die_at_call, &w), 0);
		CHECK_EQ(move(&p->rig, "old", "new", false), 0);
		(void)view_drain(p->rig.vw, clock_now_ns() + 5 * NS_PER_S);
		_exit(COMPLETE);
	}
	int status;
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) != 1);
	return WEXITSTATUS(status);
}

/* dir_move (1), also when the bucket is away at first (P10). */
static void dir_move__dies_at_every_call(void)
{
	bool seen[2] = {false, false};
	int status = 0;
	for (uint64_t n = 1; status != COMPLETE && n < CALLS_MAX; n++) {
		struct place p;
		init(&p);
		/* One at a time: the order of the calls is the same each time. */
		p.rig.conf.uploaders = 1;
		p.rig.conf.wait_uploads = false;
		status = die(&p, n);
		mount(&p, "del:*:before=ECOMM;head:*:before=ECOMM");
		bool moved = !exists(&p, "old/x.part");
		CHECK(here(&p, moved ? "new" : "old", "x.part", "local"));
		CHECK(here(&p, moved ? "new" : "old", "sub/s", "synced"));
		CHECK(here(&p, moved ? "old" : "new", "x.part", NULL));
		umount(&p);
		mount(&p, "");
		seen[moved] = true;
		check_at(&p, moved ? "new" : "old");
		CHECK(here(&p, moved ? "new" : "old", "x.part", "local"));
		CHECK(in_bucket(&p, moved ? "new" : "old", "sub/s"));
		CHECK(!in_bucket(&p, moved ? "old" : "new", "sub/s"));
		end(&p);
	}
	CHECK(status == COMPLETE && seen[0] && seen[1]);
}

/* --- over a bucket in memory --- */

static void start(struct vrig *rig)
{
	vrig_init(rig);
	for (int i = 0; i < N_FILES; i++) {
		char key[64];
		(void)snprintf(key, sizeof(key), "old/%s", files[i]);
		bucket_set(&rig->bucket, key, files[i], NULL);
	}
}

static void drain(struct vrig *rig)
{
	CHECK_EQ(view_drain(rig->vw, clock_now_ns() + 10 * NS_PER_S), 0);
}

/* One listing, and of each object a HEAD (its mtime), a COPY and a DELETE; each marker is
 * asked for once. */
static void dir_move__costs_no_more(void)
{
	struct vrig rig;
	start(&rig);
	CHECK_EQ(move(&rig, "old", "new", false), 0);
	CHECK_EQ(rig.bucket.lists, 1);
	CHECK_EQ(rig.bucket.heads, N_FILES);
	CHECK_EQ(rig.bucket.copies, N_FILES);
	drain(&rig);
	CHECK_EQ(rig.bucket.dels, N_FILES);
	CHECK_EQ(rig.bucket.heads, N_FILES + 1);
	CHECK_EQ(rig.bucket.puts, 0);
	CHECK_EQ(rig.bucket.gets, 0);
	vrig_done(&rig);
}

/* There and back before anything was deleted: what is to go becomes what is to stay. */
static void dir_move__back_at_once(void)
{
	struct vrig rig;
	start(&rig);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(move(&rig, "old", "new", false), 0);
		CHECK(vrig_reads(&rig, "new/a", "a") && vrig_reads(&rig, "old/a", NULL));
		CHECK_EQ(move(&rig, "new", "old", false), 0);
		CHECK(vrig_reads(&rig, "old/a", "a") && vrig_reads(&rig, "new/a", NULL));
	}
	drain(&rig);
	CHECK(bucket_has(&rig.bucket, "old/sub/c", "sub/c"));
	CHECK(bucket_has(&rig.bucket, "new/sub/c", NULL));
	CHECK(vrig_reads(&rig, "old/sub/c", "sub/c"));
	vrig_done(&rig);
}

/* dir_move (5): nothing but the listing was asked. */
static void dir_move__refuses_early(void)
{
	struct vrig rig;
	start(&rig);
	CHECK_EQ(move(&rig, "old", "old/x", false), -EINVAL);
	CHECK_EQ(move(&rig, "old", ".download_state/x", false), -EXDEV);
	bucket_set(&rig.bucket, "full/x", "x", NULL);
	CHECK_EQ(move(&rig, "old", "full", true), -ENOTEMPTY);
	rig.bucket.be.caps &= ~(uint32_t)BACKEND_COPY;
	CHECK_EQ(move(&rig, "old", "new", false), -EXDEV);
	rig.bucket.be.caps |= BACKEND_COPY;

	/* A conflict below it: the user decides first. */
	struct staged *st = vrig_open_write(&rig, "old/a");
	vrig_put(st, "mine");
	bucket_set(&rig.bucket, "old/a", "theirs", NULL);
	CHECK_EQ(staged_publish(st, true, NULL), -ESTALE);
	CHECK_EQ(move(&rig, "old", "new", false), -EXDEV);
	CHECK_STR(vrig_state(&rig, "old/a"), "conflict");
	CHECK(vrig_reads(&rig, "old/a", "mine") && vrig_reads(&rig, "new/a", NULL));
	CHECK_EQ(rig.bucket.copies, 0);
	CHECK_EQ(rig.bucket.dels, 0);
	staged_add_writers(st, -1);
	staged_unref(st);
	vrig_done(&rig);
}

static void dir_move__no_more_than_rename_max(void)
{
	struct vrig rig;
	start(&rig);
	vrig_close(&rig);
	rig.conf.rename_max = N_FILES;
	vrig_open(&rig);
	struct staged *st = vrig_create(&rig, "old/one.part");
	CHECK_EQ(move(&rig, "old", "new", false), -EXDEV);
	CHECK_EQ(rig.bucket.copies, 0);
	CHECK_EQ(vrig_unlink(&rig, "old/one.part"), 0);
	CHECK_EQ(move(&rig, "old", "new", false), 0);
	staged_add_writers(st, -1);
	staged_unref(st);
	vrig_done(&rig);
}

/* P5: what replaces an object replaces its copy; what another put there stays a
 * conflict. */
static void dir_move__staged_over_an_object(void)
{
	for (int theirs = 0; theirs < 2; theirs++) {
		struct vrig rig;
		start(&rig);
		struct staged *st = vrig_open_write(&rig, "old/a");
		vrig_put(st, "mine");
		if (theirs)
			bucket_set(&rig.bucket, "old/a", "theirs", NULL);
		CHECK_EQ(move(&rig, "old", "new", false), 0);
		CHECK(bucket_has(&rig.bucket, "new/a", theirs ? "theirs" : "a"));
		CHECK(vrig_reads(&rig, "new/a", "mine"));
		CHECK(vrig_reads(&rig, "old/a", NULL));
		CHECK_EQ(staged_publish(st, true, NULL), theirs ? -ESTALE : 0);
		CHECK(bucket_has(&rig.bucket, "new/a", theirs ? "theirs" : "mine"));
		vrig_close_writer(st);
		drain(&rig);
		CHECK(bucket_has(&rig.bucket, "old/a", NULL));
		vrig_done(&rig);
	}
}

/* P4: removed and written anew below it: one PUT over the copy, and if it never comes
 * the copy goes, as the old one would have. */
static void dir_move__staged_over_a_removal(void)
{
	for (int drops = 0; drops < 2; drops++) {
		struct vrig rig;
		start(&rig);
		CHECK_EQ(vrig_unlink(&rig, "old/a"), 0);
		struct staged *st = vrig_create(&rig, "old/a");
		vrig_put(st, "again");
		CHECK_EQ(move(&rig, "old", "new", false), 0);
		CHECK(vrig_reads(&rig, "new/a", "again"));
		CHECK_EQ(drops ? staged_drop(st) : staged_publish(st, true, NULL), 0);
		vrig_close_writer(st);
		drain(&rig);
		CHECK(bucket_has(&rig.bucket, "new/a", drops ? NULL : "again"));
		CHECK(bucket_has(&rig.bucket, "old/a", NULL));
		vrig_done(&rig);
	}
}

/* P5: the daemon died between a DELETE and its answer, and the name is written anew: what
 * the file had to replace is gone, and that is no conflict at its new name either. */
static void dir_move__staged_over_an_unheard_removal(void)
{
	struct vrig rig;
	start(&rig);
	CHECK_EQ(vrig_unlink(&rig, "old/a"), 0);
	vrig_close(&rig);
	bucket_unset(&rig.bucket, "old/a");
	vrig_open(&rig);
	struct staged *st = vrig_create(&rig, "old/a");
	vrig_put(st, "again");
	CHECK_EQ(move(&rig, "old", "new", false), 0);
	CHECK_EQ(staged_publish(st, true, NULL), 0);
	vrig_close_writer(st);
	drain(&rig);
	CHECK(bucket_has(&rig.bucket, "new/a", "again"));
	CHECK(bucket_has(&rig.bucket, "old/a", NULL));
	vrig_done(&rig);
}

/* What is staged takes the place of what was removed under the new name. */
static void dir_move__staged_to_a_removed_name(void)
{
	struct vrig rig;
	start(&rig);
	bucket_set(&rig.bucket, "new/w", "before", NULL);
	CHECK_EQ(vrig_unlink(&rig, "new/w"), 0);
	struct staged *st = vrig_create(&rig, "old/w");
	vrig_put(st, "after");
	CHECK_EQ(move(&rig, "old", "new", false), 0);
	CHECK_EQ(staged_publish(st, true, NULL), 0);
	vrig_close_writer(st);
	drain(&rig);
	CHECK(bucket_has(&rig.bucket, "new/w", "after"));
	CHECK(vrig_reads(&rig, "new/w", "after"));
	vrig_done(&rig);
}

/* A directory that is only here, for its name, and its files, which are not. */
static void dir_move__from_a_local_name(void)
{
	struct vrig rig;
	struct call call = {.deadline_ns = CLOCK_NEVER};
	vrig_init(&rig);
	CHECK_EQ(view_mkdir(rig.vw, "x.tmp", &call), 0);
	CHECK_EQ(vrig_write(&rig, "x.tmp/a", "a"), 0);
	CHECK(bucket_has(&rig.bucket, "x.tmp/a", "a"));
	CHECK_EQ(view_rmdir(rig.vw, "x.tmp", &call), -ENOTEMPTY); /* it is listed */
	CHECK_EQ(move(&rig, "x.tmp", "x", false), 0);
	CHECK(vrig_reads(&rig, "x/a", "a") && vrig_reads(&rig, "x.tmp/a", NULL));
	drain(&rig);
	CHECK(bucket_has(&rig.bucket, "x/a", "a"));
	CHECK(bucket_has(&rig.bucket, "x.tmp/a", NULL));
	CHECK_EQ(view_rmdir(rig.vw, "x", &call), -ENOTEMPTY);
	vrig_done(&rig);
}

/* Cached bytes follow: nothing is fetched twice (P7). */
static void dir_move__cached_bytes_follow(void)
{
	struct vrig rig;
	start(&rig);
	CHECK(vrig_reads(&rig, "old/a", "a"));
	CHECK_EQ(rig.bucket.gets, 1);
	CHECK_EQ(move(&rig, "old", "new", false), 0);
	CHECK(vrig_reads(&rig, "new/a", "a"));
	CHECK_EQ(rig.bucket.gets, 1);
	vrig_done(&rig);
}

int main(void)
{
	RUN(dir_move__every_call_fails_once);
	RUN(dir_move__dies_at_every_call);
	RUN(dir_move__costs_no_more);
	RUN(dir_move__back_at_once);
	RUN(dir_move__refuses_early);
	RUN(dir_move__no_more_than_rename_max);
	RUN(dir_move__staged_over_an_object);
	RUN(dir_move__staged_over_a_removal);
	RUN(dir_move__staged_over_an_unheard_removal);
	RUN(dir_move__staged_to_a_removed_name);
	RUN(dir_move__from_a_local_name);
	RUN(dir_move__cached_bytes_follow);
	return 0;
}
