/* view.h - the names as the user sees them: staged files over removals over the
 * bucket.  Keys here are paths without a slash at either end; "" is the root.
 *
 * It owns the journal, the staged files, the removals and the remembered names,
 * and makes every change of a name that involves more than one of them.
 */
#ifndef CACHE_VIEW_H
#define CACHE_VIEW_H
#include <stdbool.h>
#include <stdint.h>
#include "cache/names.h"
#include "cache/staged.h"

struct view;

struct view_conf {
	const char *dir;	/* the cache directory; borrowed for the call */
	const char *local_only; /* borrowed for the call */
	uint64_t ttl_ns, staging_bytes, timeout_ns;
	uint32_t uploaders;
	uint32_t rename_max; /* see dir_move.h */
	bool read_only;
	bool wait_uploads; /* close and rename wait for the upload (P2) */
};

/* Recovers the journal and goes on with what it holds.  be and bl are borrowed. */
int view_new(const struct view_conf *conf, struct backend *be, struct blocks *bl,
	     struct view **ret);
/* How many files are not in the bucket when the deadline passes. */
uint64_t view_drain(struct view *vw, uint64_t deadline_ns);
/* The names of those files, under a lock: fn must only copy. */
void view_each_left(struct view *vw, void (*fn)(void *arg, const char *key), void *arg);
/* What is on its way to the bucket; all 0 where nothing is written. */
void view_count(struct view *vw, struct staging_counts *ret, uint64_t *ret_removals);
void view_free(struct view *vw);

struct view_entry {
	enum name_kind kind;
	struct staged *staged; /* a reference, or NULL: then object is all of it */
	struct object object;  /* of a file that is not staged */
};
void view_entry_done(struct view_entry *e);

/* call NULL in any of these: -EAGAIN rather than asking the bucket. */
int view_lookup(struct view *vw, const char *path, struct view_entry *ret,
		struct call *call);

/* A directory: every name in it that was there at view_open and still is, each once.
 * Places (from 0) keep their meaning while it is open. */
struct view_stream;
/* Waits for the first names. */
int view_open(struct view *vw, const char *dir, struct view_stream **ret,
	      struct call *call);
/* 1: the first at *place or behind it, whose place *place is now; 0: the end; or the
 * error of a page that did not come (P10).  *ret_clean: it is ret->object, or a
 * directory, as view_lookup would have it; else only name and kind are told. */
int view_next(struct view_stream *vs, uint64_t *place, struct name *ret,
	      bool *ret_clean, struct call *call);
void view_close(struct view_stream *vs);

bool view_is_local(const struct view *vw, const char *path);
/* Is its removal from the bucket still to come?  Who makes it anew may have to wait. */
bool view_is_going(struct view *vw, const char *path);
struct staging *view_staging(struct view *vw);
/* What is about to have the name is of this kind: if one of the other kind was removed
 * and is still in the bucket, that is waited for.  Else it would be removed, or hidden,
 * with it.  To be asked before view_lookup, from which it may hide what somebody else has
 * put there.  call NULL: -EAGAIN. */
int view_make_way(struct view *vw, const char *path, enum name_kind kind,
		  struct call *call);
int view_create(struct view *vw, const char *path, const struct object *base,
		struct staged **ret);
int view_mkdir(struct view *vw, const char *path, struct call *call);
/* -ENOTEMPTY */
int view_rmdir(struct view *vw, const char *path, struct call *call);
/* Every change of a name that was made so far survives a loss of power. */
int view_sync(struct view *vw);
/* open_version: somebody has it open (NULL = nobody). */
int view_unlink(struct view *vw, const struct view_entry *e, const char *path,
		struct version *open_version);
/* A file gets another name.  e is what is there now; over (or NULL) what it
 * replaces.  *ret: the object at the new name, if it is in the bucket now
 * (*ret_clean), as a copy of the version that was e.  Somebody else was at the new name
 * (P5): -EEXIST, there is something and over is NULL; -EBUSY, it is not over, or not
 * what was renamed any more; of a staged file -EBUSY always.  -ESTALE:
 * it is not e at the old name. */
int view_rename(struct view *vw, const struct view_entry *e, const char *from,
		const struct view_entry *over, const char *to, bool *ret_clean,
		struct object *ret, struct call *call);
/* After view_rename, when nobody reads by the old name any more: it goes from the bucket
 * now, and that is waited for a moment. */
void view_renamed(struct view *vw, const char *from, struct call *call);
/* st, new and empty, whose name is to, becomes a copy of obj, which is from, within the
 * store: *ret, and st is nobody's any more.  -EOPNOTSUPP, -EINTR: nothing changed; fill
 * it with bytes. */
int view_copy(struct view *vw, const char *from, const struct object *obj,
	      struct staged *st, const char *to, struct object *ret, struct call *call);
/* The user's mtime of a file in the bucket; *ret: the version that it is now.
 * -EXDEV, -EOPNOTSUPP: the store cannot; write the file anew. */
int view_set_mtime(struct view *vw, const char *path, const struct object *obj,
		   int64_t mtime_ns, struct object *ret, struct call *call);
/* Somebody is about to open it: is obj still what path is, as far as the store wants that
 * asked (backend_check)?  -ESTALE: no, and what was believed is forgotten. */
int view_check(struct view *vw, const char *path, const struct object *obj,
	       struct call *call);
/* Where the bytes of obj come from, for the user; appended.  No request. */
int view_origin(struct view *vw, const char *path, const struct object *obj,
		struct buf *ret);
/* Need not be fetched for who has it open before its name is another's: its bytes stay
 * where they are. */
bool view_lasts(struct view *vw, const struct object *obj);
/* What was believed of a path proved wrong. */
void view_forget(struct view *vw, const char *path);
#endif
