/* kept.h - rows of a journal and an index, and what must hold of them when they are read
 * after somebody changed the file: each is one of these, every field of it.
 */
#ifndef TESTS_FUZZ_KEPT_H
#define TESTS_FUZZ_KEPT_H
#include "cache/index.h"
#include "cache/journal.h"
#include "tests/fuzz/fuzz.h"

enum { KEPT = 4, KEPT_UPLOADS = 2, KEPT_ALL = 3 * KEPT + KEPT_UPLOADS, KEPT_LAST_ID = 9 };

extern const struct journal_row kept_rows[KEPT];
extern const struct journal_change kept_gone[KEPT], kept_dirs[KEPT];
/* An upload, and a part of it. */
extern const struct journal_change kept_uploads[KEPT_UPLOADS];

/* What a load handed on; the visitors' arg. */
struct kept_seen {
	bool row[KEPT], gone[KEPT], dir[KEPT];
	unsigned n; /* KEPT_ALL: all */
};
int kept_on_row(void *arg, const struct journal_row *row);
int kept_on_gone(void *arg, const char *key, const char *etag, const char *tag);
int kept_on_dir(void *arg, const char *key);
int kept_on_upload(void *arg, const struct journal_upload *up);
int kept_on_part(void *arg, uint64_t upload_id, const struct part *p, uint32_t crc);

/* Once, into an empty index. */
void kept_make_index(struct index *ix);
/* Reads everything, whatever became of it. */
void kept_read_index(struct index *ix);
#endif
