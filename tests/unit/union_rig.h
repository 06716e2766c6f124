/* union_rig.h - two buckets in memory, one laid under the other; each is counted. */
#ifndef TESTS_UNIT_UNION_RIG_H
#define TESTS_UNIT_UNION_RIG_H
#include "backends/util/buf.h"
#include "tests/unit/bucket.h"

/* A bucket that delivers listings in pages of one entry, and answers check. */
struct paged {
	struct backend base; /* first */
	struct backend_ops ops;
	struct backend *inner;
	int checked, answer; /* of check */
};

struct sources {
	struct bucket own, under;
	struct paged own_pages, under_pages;
	struct backend *own_be, *under_be; /* the counting ones */
	struct backend *be;
};

/* Two empty buckets; paged: that deliver one entry a page and answer check. */
void urig_start(struct sources *s);
void urig_start_paged(struct sources *s);
struct backend *urig_paged(struct paged *p, struct bucket *b, const char *name);
/* Lay under under own, each behind a script of fault.h. */
void urig_join(struct sources *s, struct backend *own, struct backend *under,
	       const char *own_script, const char *under_script);
/* The same buckets, nothing remembered. */
void urig_restart(struct sources *s);
void urig_end(struct sources *s);

/* Calls of an op ("any") that reached one of the two. */
uint64_t urig_asked(struct backend *be, const char *op);
/* Keys in the order they came, a public one with a star; or "error -N".  Valid until the
 * next call. */
const char *urig_all(struct sources *s, const char *prefix, char delim);
/* The first page; whether there are more. */
bool urig_first_page(struct sources *s, const char *prefix, struct buf *ret);
struct object urig_must_head(struct sources *s, const char *key);
int urig_head(struct sources *s, const char *key);
/* A sink into a struct buf. */
int urig_take(void *arg, uint64_t off, const void *bytes, size_t len);
bool urig_reads(struct sources *s, const char *key, const char *text);
int urig_del(struct sources *s, const char *key, const char *etag);
/* As the user does: the version that is there. */
void urig_remove(struct sources *s, const char *key);
int urig_put_empty(struct sources *s, const char *key, const struct cond *cond);
#endif
