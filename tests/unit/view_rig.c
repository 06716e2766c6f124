/* view_rig.c - see view_rig.h. */
#include "tests/unit/view_rig.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include "backends/util/banned.h"

static void no_names(void *arg)
{
	(void)arg;
}

static void no_object(void *arg, const char *to, const struct object *was,
		      const struct object *is)
{
	(void)arg;
	(void)to;
	(void)was;
	(void)is;
}

const struct dir_followers vrig_followers = {.renamed = no_names, .moved = no_object};

int vrig_try_open(struct vrig *rig)
{
	struct blocks_conf bc = {.dir = rig->dir,
				 .max_bytes = UINT64_C(64) << 20,
				 .fetchers = 4,
				 .read_timeout_ns = 5 * NS_PER_S};
	int r = blocks_new(&bc, rig->be, &rig->bl);
	if (r)
		return r;
	r = view_new(&rig->conf, rig->be, rig->bl, &rig->vw);
	if (r) {
		blocks_free(rig->bl);
		rig->bl = NULL;
	}
	return r;
}

void vrig_open(struct vrig *rig)
{
	CHECK_EQ(vrig_try_open(rig), 0);
}

void vrig_init_dir(struct vrig *rig, struct backend *be)
{
	*rig = (struct vrig){.be = be};
	const char *tmp = getenv("TMPDIR");
	(void)snprintf(rig->dir, sizeof(rig->dir), "%s/mastfs-view-XXXXXX",
		       tmp ? tmp : "/tmp");
	CHECK(mkdtemp(rig->dir));
	rig->conf = (struct view_conf){.dir = rig->dir,
				       .local_only = RIG_LOCAL_ONLY,
				       .ttl_ns = 60 * NS_PER_S,
				       .staging_bytes = UINT64_C(256) << 20,
				       .timeout_ns = 5 * NS_PER_S,
				       .uploaders = 8,
				       .rename_max = 100,
				       .wait_uploads = true};
}

void vrig_init(struct vrig *rig)
{
	vrig_init_dir(rig, NULL);
	bucket_init(&rig->bucket);
	rig->be = &rig->bucket.be;
	vrig_open(rig);
}

void vrig_close(struct vrig *rig)
{
	view_free(rig->vw);
	blocks_free(rig->bl);
	rig->vw = NULL;
	rig->bl = NULL;
}

void vrig_done(struct vrig *rig)
{
	vrig_close(rig);
	if (rig->be == &rig->bucket.be)
		bucket_done(&rig->bucket);
	scratch_remove(rig->dir);
}

static struct call call_10s(void)
{
	return (struct call){.deadline_ns = clock_add(clock_now_ns(), 10 * NS_PER_S)};
}

struct staged *vrig_create(struct vrig *rig, const char *path)
{
	struct staged *st = NULL;
	CHECK_EQ(view_create(rig->vw, path, NULL, &st), 0);
	staged_add_writers(st, 1);
	return st;
}

struct staged *vrig_open_write(struct vrig *rig, const char *path)
{
	struct call call = call_10s();
	struct view_entry e;
	struct staged *st = NULL;
	int r = view_lookup(rig->vw, path, &e, &call);
	if (r == -ENOENT)
		return vrig_create(rig, path);
	CHECK_EQ(r, 0);
	if (e.staged) {
		r = staged_writable(e.staged, UINT64_MAX, &st);
		if (r == -ESTALE) {
			struct object obj;
			CHECK(staged_object(e.staged, &obj));
			r = view_create(rig->vw, path, &obj, &st);
		}
		CHECK_EQ(r, 0);
	} else {
		CHECK_EQ(view_create(rig->vw, path, &e.object, &st), 0);
	}
	view_entry_done(&e);
	staged_add_writers(st, 1);
	return st;
}

void vrig_close_writer(struct staged *st)
{
	staged_add_writers(st, -1);
	staged_retire_if_idle(st);
	staged_unref(st);
}

struct call vrig_soon(void)
{
	return (struct call){.deadline_ns = clock_add(clock_now_ns(), 10 * NS_PER_S)};
}

void vrig_put(struct staged *st, const char *text)
{
	CHECK_EQ(staged_truncate(st, 0), 0);
	CHECK_EQ(staged_write(st, text, strlen(text), 0), strlen(text));
}

int vrig_write(struct vrig *rig, const char *path, const char *text)
{
	struct call call = call_10s();
	struct staged *st = vrig_open_write(rig, path);
	vrig_put(st, text);
	int r = staged_publish(st, rig->conf.wait_uploads, &call);
	staged_add_writers(st, -1);
	staged_retire_if_idle(st);
	staged_unref(st);
	return r;
}

uint64_t vrig_kept(struct vrig *rig)
{
	struct staging_counts counts;
	staging_count(view_staging(rig->vw), &counts);
	return counts.used_bytes;
}

int vrig_rename(struct vrig *rig, const char *from, const char *to)
{
	struct call call = call_10s();
	struct view_entry e, over;
	struct object obj;
	bool clean;
	int r = view_lookup(rig->vw, from, &e, &call);
	if (r)
		return r;
	r = view_lookup(rig->vw, to, &over, &call);
	CHECK(!r || r == -ENOENT);
	bool exists = !r;
	r = view_rename(rig->vw, &e, from, exists ? &over : NULL, to, &clean, &obj,
			&call);
	if (exists)
		view_entry_done(&over);
	view_entry_done(&e);
	return r;
}

int vrig_unlink(struct vrig *rig, const char *path)
{
	struct call call = call_10s();
	struct view_entry e;
	int r = view_lookup(rig->vw, path, &e, &call);
	if (r)
		return r;
	r = view_unlink(rig->vw, &e, path, NULL);
	view_entry_done(&e);
	return r;
}

static bool read_is(struct vrig *rig, const char *path, const struct view_entry *e,
		    const char *text)
{
	char got[4096] = "";
	struct call call = call_10s();
	struct object obj = e->object;
	if (e->staged && !staged_retired(e->staged)) {
		ssize_t n = staged_read(e->staged, got, sizeof(got) - 1, 0);
		if (n != -ESTALE) /* else it became the cache's meanwhile */
			return n == (ssize_t)strlen(text) && !strcmp(got, text);
	}
	if (e->staged)
		CHECK(staged_object(e->staged, &obj));
	struct version *v = NULL;
	if (obj.size != strlen(text))
		return false;
	CHECK_EQ(version_get(rig->bl, path, &obj, &v), 0);
	int r = obj.size ? blocks_read(rig->bl, v, 0, got, obj.size, &call) : 0;
	version_unref(v);
	return !r && !strcmp(got, text);
}

bool vrig_reads(struct vrig *rig, const char *path, const char *text)
{
	struct call call = call_10s();
	struct view_entry e;
	int r = view_lookup(rig->vw, path, &e, &call);
	CHECK(!r || r == -ENOENT);
	if (r)
		return !text;
	bool same = text && read_is(rig, path, &e, text);
	view_entry_done(&e);
	return same;
}

const char *vrig_state(struct vrig *rig, const char *path)
{
	struct staged *st = staged_find(view_staging(rig->vw), path);
	const char *name = st ? staged_state_name(st) : "none";
	staged_unref(st);
	return name;
}
