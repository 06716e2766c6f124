/* union_impl.h - what union.c and union_list.c share.  Nobody else includes this. */
#ifndef BACKENDS_UNION_IMPL_H
#define BACKENDS_UNION_IMPL_H
#include "backends/backend.h"
#include "backends/union_white.h"

struct both {
	struct backend base;
	/* set once */
	struct backend_ops ops;	     /* only what own has */
	struct backend *own, *under; /* owned */
	struct whites *whites;
};

int union_list(struct backend *be, const struct list_query *q, char **token, list_fn *fn,
	       void *arg, struct call *call);

bool union_is_under(const char *etag);
/* It is the second source's.  -EBADMSG: its etag is too long to say so. */
int union_mark(struct object *obj);
/* What stands for a directory that has no marker in the own bucket. */
struct object union_dir_object(void);
/* The second source's way to say that it has no such name: it may not be able to. */
bool union_cannot_have(int r);
/* -EBADMSG: an own etag that cannot be told from a public one. */
int union_check_own(const struct both *u, const char *key, const struct object *obj);
#endif
