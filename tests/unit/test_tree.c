/* test_tree.c - which inode a look-up finds, while the file is written. */
#include "backends/util/cleanup.h"
#include "fs/tree.h"
#include "tests/unit/check.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

static struct view_entry look_up(struct vrig *rig, const char *path)
{
	struct view_entry e;
	struct call call = {.deadline_ns = clock_add(clock_now_ns(), 10 * NS_PER_S)};
	CHECK_EQ(view_lookup(rig->vw, path, &e, &call), 0);
	return e;
}

static struct inode *enter(struct tree *tr, struct vrig *rig, const char *path)
{
	struct inode *in;
	struct tree_mark mark = tree_mark(tr, path);
	struct view_entry e = look_up(rig, path);
	CHECK_EQ(tree_enter(tr, path, &e, &mark, &in), 0);
	view_entry_done(&e);
	return in;
}

/* As write.c: in is claimed, and has another staged file afterwards. */
static void write_again(struct vrig *rig, struct inode *in)
{
	inode_claim(in);
	inode_set_staged(in, vrig_open_write(rig, "f.x"));
	vrig_put(in->staged, "second");
	inode_unclaim(in);
}

/* P1, P3: the answer to a look-up that comes when another process has written the file
 * meanwhile: both processes go on with one inode, or the one would never see what the
 * other writes, nor its locks. */
static void tree__old_answers_take_no_name(void)
{
	for (int in_bucket = 0; in_bucket < 2; in_bucket++) {
		struct vrig rig;
		struct tree *tr;
		vrig_init(&rig);
		vrig_close(&rig);
		rig.conf.wait_uploads = false;
		vrig_open(&rig);
		CHECK_EQ(tree_new(&tr), 0);
		bucket_set(&rig.bucket, "f.x", "before", NULL);
		atomic_store(&rig.bucket.held, !in_bucket);
		CHECK_EQ(vrig_write(&rig, "f.x", "first"), 0);
		if (in_bucket)
			VRIG_UNTIL(!strcmp(vrig_state(&rig, "f.x"), "none"));
		struct inode *in = enter(tr, &rig, "f.x"), *found = NULL;

		struct tree_mark before = tree_mark(tr, "f.x");
		struct view_entry old = look_up(&rig, "f.x");
		write_again(&rig, in);
		CHECK_EQ(tree_enter(tr, "f.x", &old, &before, &found), TREE_CHANGED);
		CHECK(!found && !tree_superseded(tr, in));
		view_entry_done(&old);

		found = enter(tr, &rig, "f.x");
		CHECK(found == in);
		atomic_store(&rig.bucket.held, false);
		tree_put(tr, found);
		tree_put(tr, in);
		tree_free(tr);
		vrig_done(&rig);
	}
}

/* P5: what others have put there is another file. */
static void tree__new_version_new_inode(void)
{
	struct vrig rig;
	struct tree *tr;
	vrig_init(&rig);
	CHECK_EQ(tree_new(&tr), 0);
	bucket_set(&rig.bucket, "f.x", "first", NULL);
	struct inode *in = enter(tr, &rig, "f.x");
	bucket_set(&rig.bucket, "f.x", "theirs", NULL);
	view_forget(rig.vw, "f.x");
	struct inode *found = enter(tr, &rig, "f.x");
	CHECK(found != in && tree_superseded(tr, in));
	tree_put(tr, found);
	tree_put(tr, in);
	tree_free(tr);
	vrig_done(&rig);
}

int main(void)
{
	RUN(tree__old_answers_take_no_name);
	RUN(tree__new_version_new_inode);
	return 0;
}
