/* parts_rig.h - uploads in parts over a bucket in memory, with a journal of their own. */
#ifndef TESTS_UNIT_PARTS_RIG_H
#define TESTS_UNIT_PARTS_RIG_H
#include "cache/orphan.h"
#include "cache/parts.h"
#include "tests/unit/bucket.h"

struct prig {
	char dir[64];
	struct bucket b;
	struct pool *pool;
	struct journal *jn;
	struct orphans *orphans;
	struct parts *parts; /* NULL until prig_parts */
	int fd;
	atomic_bool cancelled;
	char live[32]; /* an id that a file goes on with */
	/* what the journal had when it was opened */
	uint32_t n_uploads, n_parts;
	struct journal_upload upload; /* its strings in texts */
	char texts[3][64];
};

/* A file of size bytes of which no two pages are alike. */
void prig_init(struct prig *rig, uint64_t size);
void prig_done(struct prig *rig);
void prig_parts(struct prig *rig);
/* As a daemon that starts anew: the journal is read, and what it has goes on in
 * rig->parts. */
void prig_restart(struct prig *rig, int64_t born_ns);
/* Abort what will not be finished; what is left of it. */
int prig_abort_orphans(struct prig *rig);
/* As a writer: bytes, and the note of them.  Sends in this thread if one is wanted. */
void prig_write(struct prig *rig, char c, uint64_t off, uint64_t len);
/* Does the bucket have just what the file has? */
bool prig_has_file(struct prig *rig, const char *key);
#endif
