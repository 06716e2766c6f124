/* dir_move.h - a directory of an object store gets another name: copies within the
 * store, one commit, deletions.
 *
 *   (1) Its staged files are claimed; what is below it is listed, once; the names that
 *       the copies will have are held, and journaled as removals of whatever carries
 *       this rename's tag.
 *   (2) The objects are copied, several at once, each pinned to the version that was
 *       seen, each tagged.
 *   (3) The commit: in one transaction the removals of the copies go, removals of the
 *       sources (that version, and no other) come, and the rows of staged files and of
 *       directories that are only here change their names.
 *   (4) The sources are deleted by removal.h, which goes on through faults and mounts;
 *       while the store answers, that is waited for.
 *
 * Invariants (cited as "dir_move (n)"):
 *  (1) Before the commit the journal removes the copies, after it the sources.  So after
 *      a crash at any moment, and with the bucket away for any time, each file comes to
 *      have exactly one of both names, all of them the same one, with nothing but the
 *      rows of removals and of staged files to go by (P3, P10).
 *  (2) No source is deleted before every copy is there and was compared by the store
 *      with the version that was seen: others see some files under both names, and none
 *      under neither (P4).
 *  (3) What somebody else puts at a source's name meanwhile stays (removal.h says so in
 *      the log); what somebody else puts at a new name is not written over where the
 *      store can tell, and is never removed.
 *  (4) Here the new names are seen from the commit on, the old ones until then.
 *  (5) A failure before the commit changes no name; nor does that of the commit, which is
 *      taken back in the journal before a copy goes.
 *
 * An atomic rename of one object, where a store has that, is not used: a crash would
 * leave a directory of which one half has gone, and only the bucket would know which.
 */
#ifndef CACHE_DIR_MOVE_H
#define CACHE_DIR_MOVE_H
#include "cache/view.h"

/* Who is told after the commit: once, that what was below from is below to; then of
 * each object, what it is there.  A staged file stays what it is. */
struct dir_followers {
	void *arg;
	void (*renamed)(void *arg);
	void (*moved)(void *arg, const char *to, const struct object *was,
		      const struct object *is);
};

/* What is below from moves to to.  over: to is there, and empty if this returns 0.
 * Nobody else changes names below either meanwhile (fs/gate.h).
 *
 * -EXDEV: more than rename_max objects and staged files, or something that cannot move
 * so (no copies in this store; a conflict; a name that is local at one place and not at
 * the other): nothing was changed, and nothing but the listing asked of the bucket.
 * -ENOTEMPTY, -EINVAL (into itself). */
int view_rename_dir(struct view *vw, const char *from, const char *to, bool over,
		    const struct dir_followers *followers, struct call *call);
#endif
