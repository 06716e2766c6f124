/* test_dir_reply.c - what goes into one reply, and what it leaves when it is not sent. */
#define FUSE_USE_VERSION 314
#include <linux/fuse.h>
#include "fs/dir_reply.h"
#include "tests/unit/check.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

enum { ROOM = 4096, OF_ONE = 160 }; /* bytes of an entry with a short name */

struct rig {
	struct vrig view;
	struct fs fs;
	struct dir_place place;
};

static void rig_init(struct rig *rig)
{
	struct call call = vrig_soon();
	vrig_init(&rig->view);
	bucket_set(&rig->view.bucket, "d/a", "1", NULL);
	bucket_set(&rig->view.bucket, "d/b", "22", NULL);
	bucket_set(&rig->view.bucket, "d/c", "333", NULL);
	rig->fs = (struct fs){.be = rig->view.be, .bl = rig->view.bl, .vw = rig->view.vw};
	CHECK_EQ(tree_new(&rig->fs.tree), 0);
	struct view_entry dir = {.kind = NAME_DIR};
	struct tree_mark none = {0};
	struct inode *in;
	CHECK_EQ(tree_enter(rig->fs.tree, "d", &dir, &none, &in), 0);
	rig->place = (struct dir_place){.fs = &rig->fs, .ino = in->id, .path = "d"};
	CHECK_EQ(view_open(rig->fs.vw, "d", &rig->place.stream, &call), 0);
}

static void rig_done(struct rig *rig)
{
	view_close(rig->place.stream);
	tree_free(rig->fs.tree);
	vrig_done(&rig->view);
}

static struct dir_reply *make(struct rig *rig, uint64_t off, size_t size, bool plus)
{
	struct call call = vrig_soon();
	struct dir_reply *rp = NULL;
	CHECK_EQ(dir_reply_new(&rig->place, off, size, plus, &call, &rp), 0);
	CHECK_EQ(rp->off, off);
	CHECK_EQ(rp->size, size);
	return rp;
}

static uint64_t lookups(struct rig *rig, const char *path)
{
	struct inode *in = tree_find(rig->fs.tree, path);
	uint64_t n = in ? in->lookups : 0;
	tree_put(rig->fs.tree, in);
	return n;
}

/* Each reply goes on where the one before says, to an empty one. */
static void dir_reply__one_after_another(void)
{
	struct rig rig;
	rig_init(&rig);
	for (int plus = 0; plus < 2; plus++) {
		uint64_t off = 0;
		for (int n = 0; n < 5; n++) { /* the dots, too */
			struct dir_reply *rp = make(&rig, off, plus ? OF_ONE : 32, plus);
			CHECK(rp->used > 0 && rp->used <= rp->size);
			CHECK(rp->next > off);
			off = rp->next;
			dir_reply_take_back(&rig.fs, rp);
		}
		struct dir_reply *rp = make(&rig, off, ROOM, plus);
		CHECK_EQ(rp->used, 0);
		dir_reply_take_back(&rig.fs, rp);
	}
	rig_done(&rig);
}

/* The kernel was told of nothing: nothing is remembered for it, but for what an earlier
 * reply told it. */
static void dir_reply__not_sent(void)
{
	struct rig rig;
	rig_init(&rig);
	struct dir_reply *sent = make(&rig, 0, 4 * OF_ONE, true);
	CHECK_EQ(lookups(&rig, "d/a"), 1);
	CHECK_EQ(lookups(&rig, "d/b"), 1);
	CHECK_EQ(lookups(&rig, "d/c"), 0);
	struct dir_reply *all = make(&rig, 0, ROOM, true);
	CHECK_EQ(lookups(&rig, "d/a"), 2);
	CHECK_EQ(lookups(&rig, "d/c"), 1);
	dir_reply_take_back(&rig.fs, all);
	CHECK_EQ(lookups(&rig, "d/a"), 1);
	CHECK_EQ(lookups(&rig, "d/b"), 1);
	CHECK(!tree_find(rig.fs.tree, "d/c"));
	free(sent);
	rig_done(&rig);
}

/* Names alone: nobody is told of inodes. */
static void dir_reply__names_only(void)
{
	struct rig rig;
	rig_init(&rig);
	struct dir_reply *rp = make(&rig, 0, ROOM, false);
	CHECK_EQ(rp->next, 5);
	CHECK(!tree_find(rig.fs.tree, "d/a"));
	dir_reply_take_back(&rig.fs, rp);
	rig_done(&rig);
}

int main(void)
{
	RUN(dir_reply__one_after_another);
	RUN(dir_reply__not_sent);
	RUN(dir_reply__names_only);
	return 0;
}
