/* local_write.h - what the two files of the local backend share; see local.h.
 * Nobody else includes this. */
#ifndef BACKENDS_LOCAL_WRITE_H
#define BACKENDS_LOCAL_WRITE_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include "backends/backend.h"

#define LOCAL_TAG_XATTR "user.mastfs.tag"

struct local {
	struct backend base;
	/* set once: by open and probe */
	char *dir; /* owned */
	int root;  /* -1 before probe */

	pthread_mutex_t publish; /* see local_write.c, invariant 2 */

	/* atomic */
	_Atomic int64_t freed_ctime_ns; /* see settle() */
	atomic_bool told_odd;
};

static inline struct local *local_of(struct backend *be)
{
	return (struct local *)be;
}

static inline bool local_is_marker(const char *key)
{
	return key[strlen(key) - 1] == '/';
}

/* Whether what lies there is what the key means: a file, or for "d/" a directory. */
static inline bool local_is_object(const struct stat *st, const char *key)
{
	return local_is_marker(key) ? S_ISDIR(st->st_mode) : S_ISREG(st->st_mode);
}

/* The one place where an errno of the system becomes the backend's. */
int local_errno(const struct local *l, const char *op, const char *key, int r);
/* The same for what looks for an object: it finds none where a file or a link is
 * in the way. */
int local_read_errno(const struct local *l, const char *op, const char *key, int r);
/* The object under a key, open for reading.  -ENOENT: there is none. */
int local_open_object(struct local *l, const char *key, struct object *ret);

/* Sets obj->tag to what is kept with the file; "" = none. */
void local_read_tag(int fd, struct object *obj);

/* Can the directory be written?  Removes the temporary files of the dead.  If not,
 * says so and takes BACKEND_WRITE away. */
void local_probe_writes(struct local *l);

/* ops; the wrappers in backend.c checked the arguments */
int local_put(struct backend *be, const char *key, const struct source *src,
	      const struct put_opts *opts, struct object *ret, struct call *call);
int local_del(struct backend *be, const char *key, const struct cond *cond,
	      struct call *call);
int local_copy(struct backend *be, const char *from, const struct object *from_obj,
	       const char *to, const struct put_opts *opts, struct object *ret,
	       struct call *call);
int local_rename(struct backend *be, const char *from, const char *to, struct call *call);
#endif
