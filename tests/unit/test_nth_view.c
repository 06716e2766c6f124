/* test_nth_view.c - a call fails, any call: names, writes, uploads and restarts of a
 * mount's view go on.  P2, P3, P4, P10.
 *
 * A fixed script of what programs do.  Whatever fails in it, an operation succeeds or
 * gives back an error; afterwards, when nothing fails any more, the journal loads, what
 * was acknowledged is there whole and what was not is old or new.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/unit/nth_model.h"
#include "tests/unit/nth_vrig.h"
#include "backends/util/banned.h"

enum { TEXT_MAX = 700000 };

static struct vrig rig;
static struct model model;
static char big[600001];

static struct call call_10s(void)
{
	return (struct call){.deadline_ns = clock_add(clock_now_ns(), 10 * NS_PER_S)};
}

/* --- operations, which may fail --- */

static int open_view(void)
{
	return nth_step(vrig_try_open(&rig));
}

static int open_for_write(const char *path, struct staged **ret)
{
	struct call call = call_10s();
	struct view_entry e;
	int r = view_lookup(rig.vw, path, &e, &call);
	if (r == -ENOENT)
		return view_create(rig.vw, path, NULL, ret);
	if (r)
		return r;
	if (e.staged) {
		r = staged_writable(e.staged, UINT64_MAX, ret);
		struct object obj;
		if (r == -ESTALE && staged_object(e.staged, &obj))
			r = view_create(rig.vw, path, &obj, ret);
	} else {
		r = view_create(rig.vw, path, &e.object, ret);
	}
	view_entry_done(&e);
	return r;
}

static int write_text(struct staged *st, const char *text)
{
	int r = staged_truncate(st, 0);
	if (r)
		return r;
	ssize_t n = staged_write(st, text, strlen(text), 0);
	return n < 0 ? (int)n : n == (ssize_t)strlen(text) ? 0 : -ENOSPC;
}

static int close_written(struct staged *st)
{
	struct call call = call_10s();
	int r = staged_publish(st, rig.conf.wait_uploads, &call);
	staged_add_writers(st, -1);
	staged_retire_if_idle(st);
	staged_unref(st);
	return r;
}

static void put(const char *path, const char *text)
{
	struct staged *st = NULL;
	if (!rig.vw)
		return;
	int r = open_for_write(path, &st);
	if (!r) {
		staged_add_writers(st, 1);
		r = write_text(st, text);
		int closed = close_written(st);
		r = r ? r : closed;
	}
	model_set(&model, path, text, nth_step(r));
}

/* fsync, and the mount ends before close. */
static void put_synced(const char *path, const char *text)
{
	struct staged *st = NULL;
	if (!rig.vw)
		return;
	int r = open_for_write(path, &st);
	if (!r)
		r = write_text(st, text);
	if (!r)
		r = staged_sync(st);
	staged_unref(st);
	model_set(&model, path, text, nth_step(r));
}

static void move(const char *from, const char *to)
{
	struct call call = call_10s();
	struct view_entry e, over;
	struct object obj;
	bool clean;
	if (!rig.vw)
		return;
	int r = view_lookup(rig.vw, from, &e, &call);
	if (r == -ENOENT) { /* what made it has failed */
		CHECK(model_may(&model, from, NULL));
		return;
	}
	if (r) {
		model_rename(&model, from, to, nth_step(r));
		return;
	}
	r = view_lookup(rig.vw, to, &over, &call);
	bool exists = !r;
	if (!r || r == -ENOENT)
		r = view_rename(rig.vw, &e, from, exists ? &over : NULL, to, &clean, &obj,
				&call);
	if (exists)
		view_entry_done(&over);
	view_entry_done(&e);
	model_rename(&model, from, to, nth_step(r));
}

static void drop(const char *path)
{
	struct call call = call_10s();
	struct view_entry e;
	if (!rig.vw)
		return;
	int r = view_lookup(rig.vw, path, &e, &call);
	if (!r) {
		r = view_unlink(rig.vw, &e, path, NULL);
		view_entry_done(&e);
	} else if (r == -ENOENT) {
		CHECK(model_may(&model, path, NULL));
		r = 0;
	}
	model_set(&model, path, NULL, nth_step(r));
}

static void make_dir(const char *path)
{
	struct call call = call_10s();
	if (!rig.vw)
		return;
	int r = view_make_way(rig.vw, path, NAME_DIR, &call);
	model_set(&model, path, "/", nth_step(r ? r : view_mkdir(rig.vw, path, &call)));
}

static void remove_dir(const char *path)
{
	struct call call = call_10s();
	if (!rig.vw || !model_must_be(&model, path))
		return;
	int r = view_rmdir(rig.vw, path, &call);
	if (r == -ENOTEMPTY) /* something in it was not removed */
		CHECK(nth_was_hit());
	else
		model_set(&model, path, NULL, nth_step(r));
}

/* --- looking --- */

/* *ret: NULL, "/", or the text in buf. */
static int look(const char *path, char *buf, const char **ret)
{
	struct call call = call_10s();
	struct view_entry e;
	struct version *v = NULL;
	int r = view_lookup(rig.vw, path, &e, &call);
	*ret = NULL;
	if (r)
		return r == -ENOENT ? 0 : r;
	*ret = e.kind == NAME_DIR ? "/" : buf;
	struct object obj = e.object;
	ssize_t n = e.staged && e.kind == NAME_FILE
			    ? staged_read(e.staged, buf, TEXT_MAX, 0)
			    : -ESTALE;
	if (n == -ESTALE && e.staged)
		CHECK(staged_object(e.staged, &obj));
	if (n >= 0) {
		buf[n] = '\0';
	} else if (n == -ESTALE && e.kind == NAME_FILE) {
		CHECK(obj.size < TEXT_MAX);
		r = version_get(rig.bl, path, &obj, &v);
		if (!r && obj.size)
			r = blocks_read(rig.bl, v, 0, buf, obj.size, &call);
		buf[obj.size] = '\0';
		version_unref(v);
	} else if (e.kind == NAME_FILE) {
		r = (int)n;
	}
	view_entry_done(&e);
	return r;
}

static void show(const char *path, const char *got)
{
	const struct model_name *name = model_name(&model, path);
	(void)fprintf(stderr, "%s is %.40s, not", path, got ? got : "(none)");
	for (size_t i = 0; i < name->n; i++)
		(void)fprintf(stderr, " or %.40s",
			      name->texts[i] ? name->texts[i] : "(none)");
	(void)fprintf(stderr, "\n");
}

/* In a file that a write failed in there may be anything, until it is closed. */
static void check_read(const char *path)
{
	static char buf[TEXT_MAX + 1];
	const char *got;
	if (!rig.vw || nth_step(look(path, buf, &got)))
		return;
	if (!model_may(&model, path, got))
		show(path, got);
	CHECK(model_may(&model, path, got));
}

/* Each name in dir that must be there is, and none that must not be. */
static int list(const char *dir, char names[][NAME_MAX_BYTES + 1], size_t *ret_n)
{
	struct call call = call_10s();
	struct view_stream *vs = NULL;
	struct name name;
	uint64_t place = 0;
	bool clean;
	*ret_n = 0;
	int r = view_open(rig.vw, dir, &vs, &call);
	if (r)
		return r;
	while ((r = view_next(vs, &place, &name, &clean, &call)) > 0) {
		CHECK(*ret_n < MODEL_NAMES);
		memcpy(names[(*ret_n)++], name.name, sizeof(name.name));
		place++;
	}
	view_close(vs);
	return r;
}

static bool is_in(const char *path, const char *dir)
{
	size_t n = strlen(dir);
	if (n && (strncmp(path, dir, n) || path[n] != '/'))
		return false;
	return !strchr(path + (n ? n + 1 : 0), '/');
}

static void check_list(const char *dir)
{
	char names[MODEL_NAMES][NAME_MAX_BYTES + 1];
	size_t n, skip = *dir ? strlen(dir) + 1 : 0;
	if (!rig.vw || nth_step(list(dir, names, &n)))
		return;
	for (size_t i = 0; i < model.n; i++) {
		const char *path = model.names[i].path;
		size_t seen = 0;
		for (size_t k = 0; is_in(path, dir) && k < n; k++)
			seen += !strcmp(names[k], path + skip);
		if (!is_in(path, dir))
			continue;
		if ((model_must_be(&model, path) && seen != 1) ||
		    (model_must_not_be(&model, path) && seen))
			(void)fprintf(stderr, "%s is listed %zu times\n", path, seen);
		CHECK(!model_must_be(&model, path) || seen == 1);
		CHECK(!model_must_not_be(&model, path) || !seen);
	}
}

/* --- the script --- */

/* What goes up in the background, until the fault is met: else how many calls there are
 * would depend on how soon the script is through. */
static void let_upload(void)
{
	while (rig.vw && !nth_was_hit() &&
	       view_drain(rig.vw, clock_now_ns() + 10 * NS_PER_MS))
		;
}

static void remount(void)
{
	if (rig.vw)
		vrig_close(&rig);
	if (open_view() && !nth_is_sticky())
		(void)open_view(); /* once was enough */
}

static void start_with(bool wait)
{
	memset(big, 'b', sizeof(big) - 1);
	vrig_init_dir(&rig, NULL);
	rig.conf.wait_uploads = wait;
	bucket_init(&rig.bucket);
	static const char *const there[][2] = {{"old.fits", "old bytes"},
					       {"dir/one", "one"},
					       {"dir/two", "two"},
					       {"big", big}};
	for (size_t i = 0; i < sizeof(there) / sizeof(*there); i++) {
		bucket_set(&rig.bucket, there[i][0], there[i][1], NULL);
		model_set(&model, there[i][0], there[i][1], 0);
	}
	rig.be = nth_backend(&rig.bucket.be);
	nth_arm();
	if (open_view() && !nth_is_sticky())
		(void)open_view();
}

static void check_all(void)
{
	for (size_t i = 0; i < model.n; i++)
		check_read(model.names[i].path);
}

static size_t count_staged(void)
{
	char path[128];
	size_t n = 0;
	(void)snprintf(path, sizeof(path), "%s/staged", rig.dir);
	DIR *d = opendir(path);
	CHECK(d);
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	(void)closedir(d);
	return n;
}

/* What the user sees is what the bucket has, or a local file's. */
static void check_bucket(void)
{
	static char buf[TEXT_MAX + 1];
	const char *got;
	size_t n_local = 0;
	for (size_t i = 0; i < model.n; i++) {
		const char *path = model.names[i].path;
		CHECK_EQ(look(path, buf, &got), 0);
		if (view_is_local(rig.vw, path)) {
			n_local += got && *got != '/';
			continue;
		}
		if (got && *got == '/')
			continue;
		/* A copy whose answer was lost bears no tag of ours: what waits for
		 * its upload there is kept, and the user decides (P5). */
		if (nth_loses_answers() && !strcmp(vrig_state(&rig, path), "conflict")) {
			n_local++;
			continue;
		}
		if (!bucket_has(&rig.bucket, path, got))
			(void)fprintf(stderr, "%s is another in the bucket\n", path);
		CHECK(bucket_has(&rig.bucket, path, got));
	}
	CHECK_EQ(count_staged(), n_local);
	CHECK_EQ(bucket_uploads(&rig.bucket), 0);
}

/* A failed rename lost nothing. */
static void check_either(void)
{
	static char a[TEXT_MAX + 1], b[TEXT_MAX + 1];
	const char *from, *to;
	for (size_t i = 0; i < model.n_either; i++) {
		CHECK_EQ(look(model.either[i].from, a, &from), 0);
		CHECK_EQ(look(model.either[i].to, b, &to), 0);
		const char *text = model.either[i].text;
		CHECK((from && !strcmp(from, text)) || (to && !strcmp(to, text)));
	}
}

/* Nothing fails any more. */
static void end(void)
{
	nth_vrig_recover(&rig);
	check_all();
	check_list("");
	check_list("dir");
	check_either();
	/* It goes on as ever. */
	put("dir/after", "after all");
	put("old.fits", "after all");
	CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 60 * NS_PER_S), 0);
	vrig_close(&rig);
	vrig_open(&rig);
	CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 60 * NS_PER_S), 0);
	check_all();
	check_bucket();
	vrig_done(&rig);
}

static void write_script(bool wait)
{
	start_with(wait);
	check_list("");
	put("new", "first");
	put("new", "second");
	put("old.fits", "new bytes");
	check_read("new");
	put("dir/sub/deep", "deep");
	check_list("dir");
	put_synced("synced", "synced bytes");
	check_read("old.fits");
	let_upload();
	remount();
	check_read("synced");
	put("new", "third");
	end();
}

static void writes__close(void)
{
	write_script(true);
}

static void writes__background(void)
{
	write_script(false);
}

static void name_script(bool wait)
{
	start_with(wait);
	make_dir("made");
	put("made/file", "in it");
	put("a.part", "temporary");
	move("a.part", "a.fits");
	put("b.part", "replaces");
	move("b.part", "old.fits");
	move("dir/one", "dir/three");
	drop("dir/two");
	put("dir/two", "again");
	check_list("dir");
	move("a.fits", "c.part");
	drop("made/file");
	remove_dir("made");
	remount();
	check_list("");
	move("dir/three", "dir/two");
	drop("old.fits");
	move("c.part", "d.part");
	make_dir(".download_state");
	put(".download_state/s", "state");
	end();
}

static void names__close(void)
{
	name_script(true);
}

static void names__background(void)
{
	name_script(false);
}

static void reads(void)
{
	start_with(true);
	check_list("");
	check_read("big");
	check_read("big"); /* from the disk */
	check_read("old.fits");
	if (rig.vw)
		(void)blocks_shrink(rig.bl, UINT64_MAX);
	check_read("big");
	if (rig.vw)
		blocks_sync(rig.bl);
	remount();
	check_list("");
	check_read("big");
	check_read("dir/one");
	end();
}

int main(int argc, char **argv)
{
	nth_start(argc, argv);
	nth_sqlite_start();
	const uint32_t all =
		NTH_KIND_MALLOC | NTH_KIND_SQLMEM | NTH_KIND_VFS | NTH_KIND_BACKEND;
	nth_sweep("writes-close", all, 10, writes__close);
	nth_sweep("writes-background", all, 10, writes__background);
	nth_sweep("names-close", all, 10, names__close);
	nth_sweep("names-background", all, 10, names__background);
	nth_sweep("reads", all, 5, reads);
	return nth_end();
}
