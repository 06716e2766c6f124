/* test_view_list.c - a directory as the user sees it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "tests/unit/check.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

struct seen {
	char names[1024];
};

static int see_stream(struct view_stream *vs, struct seen *s)
{
	struct call call = {.deadline_ns = CLOCK_NEVER};
	struct name name;
	uint64_t place = 0;
	bool clean;
	int r;
	*s = (struct seen){""};
	for (; (r = view_next(vs, &place, &name, &clean, &call)) > 0; place++) {
		size_t len = strlen(s->names);
		(void)snprintf(s->names + len, sizeof(s->names) - len, "[%s%s]",
			       name.name, name.kind == NAME_DIR ? "/" : "");
	}
	view_close(vs);
	return r;
}

static int see_all(struct vrig *rig, const char *dir, struct seen *s)
{
	struct call call = {.deadline_ns = CLOCK_NEVER};
	struct view_stream *vs;
	int r = view_open(rig->vw, dir, &vs, &call);
	return r ? r : see_stream(vs, s);
}

/* This disk over the bucket. */
static void view_list__each_name_once(void)
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

/* Behind the end is the end, however far. */
static void view_list__a_place_far_behind_the_end(void)
{
	struct vrig rig;
	vrig_init(&rig);
	bucket_set(&rig.bucket, "d/a", "1", NULL);
	bucket_set(&rig.bucket, "d/b", "2", NULL);
	struct call call = {.deadline_ns = CLOCK_NEVER};
	struct view_stream *vs;
	struct name name;
	bool clean;
	CHECK_EQ(view_open(rig.vw, "d", &vs, &call), 0);
	for (int shift = 2; shift < 64; shift++) {
		uint64_t place = UINT64_C(1) << shift;
		CHECK_EQ(view_next(vs, &place, &name, &clean, &call), 0);
		CHECK(place >= UINT64_C(1) << shift);
	}
	view_close(vs);
	vrig_done(&rig);
}

/* What was removed stays so while its DELETE ends: neither what the listing had nor what
 * was known better when the directory was opened is shown again. */
static void view_list__a_removal_that_ends_shows_nothing(void)
{
	struct vrig rig;
	vrig_init(&rig);
	struct call call = {.deadline_ns = CLOCK_NEVER};
	struct view_stream *vs;
	struct seen s;
	bucket_set(&rig.bucket, "d/listed", "1", NULL);
	CHECK_EQ(see_all(&rig, "d", &s), 0);
	CHECK_EQ(vrig_write(&rig, "d/put", "2"), 0);
	CHECK_EQ(vrig_write(&rig, "d/stays", "3"), 0);
	CHECK_EQ(vrig_unlink(&rig, "d/listed"), 0);
	CHECK_EQ(vrig_unlink(&rig, "d/put"), 0);
	CHECK_EQ(view_open(rig.vw, "d", &vs, &call), 0);
	CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 5 * NS_PER_S), 0);
	CHECK(bucket_has(&rig.bucket, "d/put", NULL));
	CHECK_EQ(see_stream(vs, &s), 0);
	CHECK_STR(s.names, "[stays]");
	vrig_done(&rig);
}

/* A file in the place of a directory that was removed, and the other way round: what is
 * left of the one neither hides the other nor takes it along. */
static void view_list__a_name_of_another_kind(void)
{
	struct vrig rig;
	vrig_init(&rig);
	struct call call = {.deadline_ns = CLOCK_NEVER};
	struct view_entry e;
	struct seen s;
	bucket_set(&rig.bucket, "d/", "", NULL);
	CHECK_EQ(view_rmdir(rig.vw, "d", &call), 0);
	CHECK_EQ(view_make_way(rig.vw, "d", NAME_FILE, NULL), -EAGAIN);
	CHECK_EQ(view_make_way(rig.vw, "d", NAME_FILE, &call), 0);
	CHECK(bucket_has(&rig.bucket, "d/", NULL));
	CHECK_EQ(vrig_write(&rig, "d", "1"), 0);
	CHECK(vrig_reads(&rig, "d", "1"));
	CHECK_EQ(vrig_unlink(&rig, "d"), 0);
	CHECK_EQ(view_make_way(rig.vw, "d", NAME_DIR, &call), 0);
	CHECK_EQ(view_mkdir(rig.vw, "d", &call), 0);
	CHECK(bucket_has(&rig.bucket, "d", NULL));
	CHECK_EQ(view_lookup(rig.vw, "d", &e, &call), 0);
	CHECK_EQ(e.kind, NAME_DIR);
	CHECK_EQ(see_all(&rig, "", &s), 0);
	CHECK_STR(s.names, "[d/]");
	vrig_done(&rig);
}

/* The same by somebody else, while our removal is pending: what is listed is there, and a
 * file in the place of a directory need not be. */
static void view_list__others_may_reuse_a_name(void)
{
	struct vrig rig;
	vrig_init_dir(&rig, NULL);
	bucket_init(&rig.bucket);
	rig.be = &rig.bucket.be;
	rig.conf.ttl_ns = 0;
	vrig_open(&rig);
	struct call call = {.deadline_ns = CLOCK_NEVER};
	struct view_entry e;
	struct seen s;
	CHECK_EQ(vrig_write(&rig, "f", "1"), 0);
	CHECK_EQ(vrig_unlink(&rig, "f"), 0);
	CHECK_EQ(view_lookup(rig.vw, "f", &e, &call), -ENOENT);
	bucket_set(&rig.bucket, "f/x", "2", NULL);
	CHECK_EQ(see_all(&rig, "", &s), 0);
	CHECK_STR(s.names, "[f/]");
	CHECK_EQ(view_lookup(rig.vw, "f", &e, &call), 0);
	CHECK_EQ(e.kind, NAME_DIR);
	CHECK_EQ(view_mkdir(rig.vw, "d", &call), 0);
	CHECK_EQ(view_rmdir(rig.vw, "d", &call), 0);
	CHECK_EQ(view_lookup(rig.vw, "d", &e, &call), -ENOENT);
	bucket_unset(&rig.bucket, "d/");
	bucket_set(&rig.bucket, "d", "3", NULL);
	CHECK_EQ(vrig_write(&rig, "d", "4"), 0);
	CHECK(bucket_has(&rig.bucket, "d", "4"));
	vrig_done(&rig);
}

/* It would come back with them, and hide a file of its name that was written since. */
static void view_list__keys_that_cannot_be_shown_are_no_empty_directory(void)
{
	struct vrig rig;
	vrig_init(&rig);
	struct call call = {.deadline_ns = CLOCK_NEVER};
	struct seen s;
	bucket_set(&rig.bucket, "d/", "", NULL);
	bucket_set(&rig.bucket, "d//x", "1", NULL);
	CHECK_EQ(see_all(&rig, "d", &s), 0);
	CHECK_STR(s.names, "");
	CHECK_EQ(view_rmdir(rig.vw, "d", &call), -ENOTEMPTY);
	vrig_close(&rig); /* nor for the next mount */
	vrig_open(&rig);
	CHECK_EQ(view_rmdir(rig.vw, "d", &call), -ENOTEMPTY);
	vrig_done(&rig);
}

static void make_temporary(struct vrig *rig, struct seen *s)
{
	struct call call = vrig_soon();
	CHECK_EQ(view_mkdir(rig->vw, "x.tmp", &call), 0);
	CHECK_EQ(vrig_write(rig, "x.tmp/a", "1"), 0);
	CHECK_EQ(see_all(rig, "", s), 0);
	CHECK_STR(s->names, "[x.tmp/]");
}

static void check_not_there(struct vrig *rig, const char *left)
{
	struct call call = vrig_soon();
	struct view_entry e;
	struct seen s;
	CHECK_EQ(view_lookup(rig->vw, "x.tmp", &e, &call), -ENOENT);
	CHECK_EQ(see_all(rig, "", &s), 0);
	CHECK_STR(s.names, left);
}

/* Its own name is of those that are only here, those in it are not: it came back for as
 * long as they were in the bucket, or a listing was believed that had them. */
static void view_list__a_temporary_directory_goes(bool renamed)
{
	struct vrig rig;
	struct call call = vrig_soon();
	struct seen s;
	const char *left = renamed ? "[x/]" : "";
	vrig_init(&rig);
	make_temporary(&rig, &s);
	int r;
	if (renamed)
		r = view_rename_dir(rig.vw, "x.tmp", "x", false, &vrig_followers, &call);
	else
		r = vrig_unlink(&rig, "x.tmp/a") || view_rmdir(rig.vw, "x.tmp", &call);
	CHECK_EQ(r, 0);
	check_not_there(&rig, left);
	CHECK_EQ(view_drain(rig.vw, clock_now_ns() + 10 * NS_PER_S), 0);
	check_not_there(&rig, left);
	vrig_done(&rig);
}

int main(void)
{
	RUN(view_list__each_name_once);
	RUN(view_list__a_place_far_behind_the_end);
	RUN(view_list__a_name_of_another_kind);
	RUN(view_list__others_may_reuse_a_name);
	RUN(view_list__keys_that_cannot_be_shown_are_no_empty_directory);
	RUN(view_list__a_removal_that_ends_shows_nothing);
	view_list__a_temporary_directory_goes(false);
	view_list__a_temporary_directory_goes(true);
	return 0;
}
