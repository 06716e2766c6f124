/* view_rig.h - a view over a bucket, with a cache directory of its own. */
#ifndef TESTS_UNIT_VIEW_RIG_H
#define TESTS_UNIT_VIEW_RIG_H
#include "cache/dir_move.h"
#include "cache/view.h"
#include "tests/unit/bucket.h"

#define RIG_LOCAL_ONLY "*.part:*.tmp:.download_state/"

struct vrig {
	char dir[64];
	struct bucket bucket; /* unless be is another */
	struct backend *be;   /* borrowed */
	struct blocks *bl;
	struct view *vw;
	struct view_conf conf;
};

/* A new directory, over its own bucket. */
void vrig_init(struct vrig *rig);
/* A new directory only; then vrig_open over be. */
void vrig_init_dir(struct vrig *rig, struct backend *be);
void vrig_open(struct vrig *rig);
int vrig_try_open(struct vrig *rig);
/* As the end of the daemon; what is pending stays so. */
void vrig_close(struct vrig *rig);
void vrig_done(struct vrig *rig);

/* What a program does.  write: create or open, truncate, write, close; the result of
 * the close. */
struct staged *vrig_create(struct vrig *rig, const char *path);
struct staged *vrig_open_write(struct vrig *rig, const char *path);
void vrig_put(struct staged *st, const char *text);
/* Of vrig_create and vrig_open_write: st is nobody's after it. */
void vrig_close_writer(struct staged *st);
/* Long enough for what is not held up. */
struct call vrig_soon(void);
int vrig_write(struct vrig *rig, const char *path, const char *text);
int vrig_rename(struct vrig *rig, const char *from, const char *to);
int vrig_unlink(struct vrig *rig, const char *path);
/* What a program reads there; NULL: no such file. */
bool vrig_reads(struct vrig *rig, const char *path, const char *text);
/* "" or the staged file's state in words; "none". */
const char *vrig_state(struct vrig *rig, const char *path);
/* Nobody. */
extern const struct dir_followers vrig_followers;
/* Bytes of staged files. */
uint64_t vrig_kept(struct vrig *rig);
/* Wait until cond(rig) or ten seconds; true if it came. */
#define VRIG_UNTIL(cond)                                      \
	do {                                                  \
		for (int i_ = 0; i_ < 20000 && !(cond); i_++) \
			(void)usleep(1000);                   \
		CHECK(cond);                                  \
	} while (0)
#endif
