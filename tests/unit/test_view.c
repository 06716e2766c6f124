/* test_view.c - crashes, and what the next mount makes of them (P3).
 *
 * A child works and _exit()s without closing anything, as a killed daemon ends; the
 * parent mounts the same directories.  The bucket is a local one that counts. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "backends/fault.h"
#include "tests/unit/scratch.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

struct crash {
	struct scratch s;
	struct vrig rig;
	struct backend *be;
	struct backend *plain; /* the same bucket, uncounted */
};

static void crash_init(struct crash *c)
{
	*c = (struct crash){0};
	backend_free(scratch_backend(&c->s));
	vrig_init_dir(&c->rig, NULL);
	c->rig.conf.wait_uploads = false;
}

static void crash_mount(struct crash *c, const char *script)
{
	struct backend_conf conf = {.url = c->s.url};
	struct backend *inner;
	CHECK_EQ(local_open(&conf, &inner), 0);
	CHECK_EQ(backend_probe(inner, true, NULL), 0);
	CHECK_EQ(fault_new(inner, script, &c->be), 0);
	CHECK_EQ(local_open(&conf, &c->plain), 0);
	CHECK_EQ(backend_probe(c->plain, true, NULL), 0);
	/* fault_new counts and misbehaves; caps and limits are the inner one's. */
	c->rig.be = c->be;
	vrig_open(&c->rig);
}

static void crash_umount(struct crash *c)
{
	vrig_close(&c->rig);
	backend_free(c->be);
	backend_free(c->plain);
}

static void crash_done(struct crash *c)
{
	crash_umount(c);
	scratch_done(&c->s);
	struct vrig empty = {.be = NULL};
	(void)snprintf(empty.dir, sizeof(empty.dir), "%s", c->rig.dir);
	char command[128];
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", empty.dir);
	CHECK_EQ(system(command), 0);
}

/* Do it in a process that dies of it. */
static void crash_in(struct crash *c, const char *script, void (*work)(struct vrig *rig))
{
	(void)fflush(stdout);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		crash_mount(c, script);
		work(&c->rig);
		_exit(0);
	}
	int status;
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
}

static bool has(struct crash *c, const char *key, const char *text)
{
	struct object obj;
	struct bowl bowl;
	int r = backend_head(c->plain, key, &obj, NULL);
	if (r)
		return !text;
	if (!text || obj.size != strlen(text))
		return false;
	bowl = (struct bowl){.len = 0};
	r = obj.size ? backend_get(c->plain, key, &obj, 0, obj.size, bowl_sink, &bowl,
				   NULL)
		     : 0;
	return !r && !memcmp(bowl.data, text, obj.size);
}

static void drain(struct crash *c)
{
	CHECK_EQ(view_drain(c->rig.vw, clock_now_ns() + 10 * NS_PER_S), 0);
}

/* --- one file in each state --- */

static void write_each(struct vrig *rig)
{
	struct staged *local = vrig_create(rig, "a.part");
	CHECK_EQ(staged_write(local, "local", 5, 0), 5);
	struct staged *open = vrig_create(rig, "open");
	vrig_put(open, "unsynced");
	struct staged *synced = vrig_create(rig, "synced");
	vrig_put(synced, "synced");
	CHECK_EQ(staged_sync(synced), 0);
	CHECK_EQ(staged_write(synced, "more", 4, 6), 4);
	CHECK_EQ(vrig_write(rig, "sealed", "sealed"), 0);
	CHECK_EQ(view_mkdir(rig->vw, "d/.download_state", NULL), 0);
}

static void view__each_state_survives_as_promised(void)
{
	struct crash c;
	crash_init(&c);
	crash_in(&c, "put:*:before=EACCES", write_each);
	crash_mount(&c, "");
	CHECK(vrig_reads(&c.rig, "a.part", "local"));
	CHECK(vrig_reads(&c.rig, "open", NULL)); /* promised nothing */
	CHECK(vrig_reads(&c.rig, "synced", "syncedmore"));
	drain(&c);
	CHECK(has(&c, "sealed", "sealed"));
	CHECK(has(&c, "synced", "syncedmore"));
	CHECK(has(&c, "open", NULL));
	CHECK(has(&c, "a.part", NULL)); /* P6 */
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
	crash_in(&c, "put:*:before=EACCES", write_each);
	c.rig.conf.read_only = true;
	crash_mount(&c, "");
	CHECK(vrig_reads(&c.rig, "a.part", "local"));
	CHECK(vrig_reads(&c.rig, "sealed", "sealed"));
	CHECK_EQ(view_drain(c.rig.vw, clock_now_ns()), 0);
	CHECK_EQ(fault_count(c.be, "put"), 0);
	crash_umount(&c);
	c.rig.conf.read_only = false;
	crash_mount(&c, "");
	drain(&c);
	CHECK(has(&c, "sealed", "sealed"));
	CHECK(has(&c, "synced", "syncedmore"));
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
	CHECK(has(&c, "f", "bytes"));
	drain(&c);
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
	drain(&c);
	CHECK(has(&c, "f", NULL));
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
	drain(&c);
	CHECK(has(&c, "f", "two two"));
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
	drain(&c);
	CHECK(has(&c, "f", NULL));
	CHECK(has(&c, "g", "new"));
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
	drain(&c);
	CHECK(has(&c, "g", "synced"));
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
	drain(&c);
	CHECK(has(&c, "h", "new"));
	CHECK(has(&c, "f", NULL));
	CHECK(has(&c, "x", "local"));
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
	drain(&c);
	CHECK(has(&c, "f", "new"));
	CHECK(vrig_reads(&c.rig, "f", "new"));
	CHECK_EQ(vrig_write(&c.rig, "f", "next"), 0);
	drain(&c);
	CHECK(has(&c, "f", "next"));
	CHECK_EQ(fault_count(c.be, "del"), 0);
	crash_done(&c);
}

static char *staged_file(struct crash *c, int id, char path[128])
{
	(void)snprintf(path, 128, "%s/staged/%d", c->rig.dir, id);
	return path;
}

/* Missing or short: said, never uploaded as something else, and no reason to refuse
 * the rest. */
static void view__damaged_staged_files(void)
{
	struct crash c;
	char path[128];
	crash_init(&c);
	crash_in(&c, "put:*:before=EACCES", write_each); /* ids 1 to 4 */
	CHECK(!unlink(staged_file(&c, 3, path)));
	CHECK(!truncate(staged_file(&c, 4, path), 2));
	crash_mount(&c, "");
	CHECK(vrig_reads(&c.rig, "a.part", "local"));
	CHECK(vrig_reads(&c.rig, "synced", NULL));
	CHECK_STR(vrig_state(&c.rig, "sealed"), "conflict");
	drain(&c);
	CHECK(has(&c, "sealed", NULL));
	crash_umount(&c);
	crash_mount(&c, "");
	CHECK(vrig_reads(&c.rig, "sealed", "se"));
	crash_done(&c);
}

/* The journal is gone and its files are not: they are kept, and ids skip them. */
static void view__lost_journal_keeps_its_files(void)
{
	struct crash c;
	char path[160];
	struct stat sb;
	crash_init(&c);
	crash_in(&c, "put:*:before=EACCES", write_each);
	for (int i = 0; i < 3; i++) {
		static const char *const ends[] = {"", "-wal", "-shm"};
		(void)snprintf(path, sizeof(path), "%s/journal.db%s", c.rig.dir, ends[i]);
		(void)unlink(path);
	}
	crash_mount(&c, "");
	(void)snprintf(path, sizeof(path), "%s/staged/4.kept", c.rig.dir);
	CHECK(!stat(path, &sb));
	CHECK_EQ(sb.st_size, 6);
	CHECK_EQ(vrig_write(&c.rig, "new", "new"), 0);
	drain(&c);
	crash_umount(&c);
	crash_mount(&c, "");
	CHECK(!stat(path, &sb));
	crash_done(&c);
}

/* A file may lie where the next id leads. */
static void view__ids_skip_what_is_there(void)
{
	struct crash c;
	char path[128];
	crash_init(&c);
	crash_mount(&c, "");
	for (int id = 1; id < 4; id++) {
		int fd = open(staged_file(&c, id, path), O_CREAT | O_WRONLY, 0600);
		CHECK(fd >= 0 && !close(fd));
	}
	CHECK_EQ(vrig_write(&c.rig, "f", "bytes"), 0);
	drain(&c);
	CHECK(has(&c, "f", "bytes"));
	crash_done(&c);
}

/* A directory shows this disk over the bucket, each name once. */
struct seen {
	char names[1024];
};

static int see_all(struct vrig *rig, const char *dir, struct seen *s)
{
	struct call call = {.deadline_ns = CLOCK_NEVER};
	struct view_stream *vs;
	struct name name;
	uint64_t place = 0;
	bool clean;
	*s = (struct seen){""};
	int r = view_open(rig->vw, dir, &vs, &call);
	if (r)
		return r;
	for (; (r = view_next(vs, &place, &name, &clean, &call)) > 0; place++) {
		size_t len = strlen(s->names);
		(void)snprintf(s->names + len, sizeof(s->names) - len, "[%s%s]",
			       name.name, name.kind == NAME_DIR ? "/" : "");
	}
	view_close(vs);
	return r;
}

static void view__lists_each_name_once(void)
{
	struct vrig rig;
	vrig_init(&rig);
	bucket_set(&rig.bucket, "d/a", "1", NULL);
	bucket_set(&rig.bucket, "d/b", "2", NULL);
	bucket_set(&rig.bucket, "d/s/x", "3", NULL);
	struct staged *st = vrig_open_write(&rig, "d/a");
	CHECK_EQ(vrig_write(&rig, "d/l.part", "4"), 0);
	CHECK_EQ(vrig_unlink(&rig, "d/b"), 0);
	struct seen s;
	struct call call = {.deadline_ns = CLOCK_NEVER};
	CHECK_EQ(see_all(&rig, "d", &s), 0);
	CHECK(strstr(s.names, "[a]") && strstr(s.names, "[l.part]") &&
	      strstr(s.names, "[s/]"));
	CHECK_EQ(strlen(s.names), strlen("[a][l.part][s/]"));
	CHECK_EQ(view_rmdir(rig.vw, "d", &call), -ENOTEMPTY);
	staged_unref(st);
	vrig_done(&rig);
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
	RUN(view__damaged_staged_files);
	RUN(view__lost_journal_keeps_its_files);
	RUN(view__ids_skip_what_is_there);
	RUN(view__lists_each_name_once);
	RUN(view__markers_with_bytes_stay);
	return 0;
}
