/* mast_impl.h - what mast.c and mast_list.c share. */
#ifndef BACKENDS_MAST_IMPL_H
#define BACKENDS_MAST_IMPL_H
#include <pthread.h>
#include <stdatomic.h>
#include "backends/mast.h"
#include "backends/mast_lookup.h"
#include "backends/mast_path.h"
#include "backends/mast_seen.h"

enum { MAST_PROGRAMS = 100000, MAST_HINTED = 256 };

struct mast {
	struct backend be; /* first */
	/* set once */
	struct backend *inner;	    /* owned */
	struct mast_seen *seen;	    /* owned */
	struct mast_lookup *lookup; /* owned; NULL = off */
	uint64_t ttl_ns;
	bool waits; /* an archive that is away fails no probe */
	/* atomic */
	_Atomic uint64_t programs[MAST_PROGRAMS / 64 + 1]; /* a bit each: known */
	_Atomic uint64_t silent_ns; /* until then no check is asked: it went wrong */
	/* guarded by lock */
	pthread_mutex_t lock;
	uint64_t hinted[MAST_HINTED]; /* hashes of names, a ring */
	uint32_t next_hinted;
};

static inline struct mast *mast_of(struct backend *be)
{
	return (struct mast *)be;
}

int mast_list(struct backend *be, const struct list_query *q, char **token, list_fn *fn,
	      void *arg, struct call *call);

/* Is an answer young enough to be given again? */
bool mast_answer_holds(const struct mast_answer *a, bool negative);
/* An answer told of something under this key or prefix. */
void mast_note_program(struct mast *m, const char *key);
/* Say once a name what a refusal (-EACCES) or an absence (-ENOENT) may mean. */
void mast_hint(struct mast *m, const char *path, int error);
#endif
