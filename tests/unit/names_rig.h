/* names_rig.h - what is remembered of the names of a store with one long directory. */
#ifndef TESTS_UNIT_NAMES_RIG_H
#define TESTS_UNIT_NAMES_RIG_H
#include "tests/unit/view_rig.h"

enum { NRIG_KEYS_MAX = 20000, NRIG_PAGE = 20 };

/* The directory is d/, and pages are of NRIG_PAGE names. */
struct nstore {
	struct backend be; /* first */
	/* set once */
	char **keys; /* owned, sorted; below d/; a directory's ends in '/' */
	size_t n;
	bool ignores_after, unordered;
	size_t circle; /* > 0: only so many pages come, over and over, with new tokens */
	bool endless;  /* behind the keys come others, which cannot be names */
	const char *far; /* a listing that starts at it or behind comes late */
	/* changed by tests at any time */
	atomic_int fail_at;   /* the list of this number fails; 0 = none */
	atomic_int hold_from; /* from this number on they wait; 0 = none */
	atomic_bool refuses_after; /* a listing that starts behind a key fails */
	/* counted */
	atomic_int lists, far_starts, heads;
};

struct nrig {
	struct vrig v;
	struct nstore store;
	struct names *nm;
	struct names_conf conf;
};

/* caps: BACKEND_LIST_AFTER or nothing. */
void nrig_init(struct nrig *rig, uint32_t caps);
void nrig_done(struct nrig *rig);
/* names, as conf has it; names_free(rig->nm) comes before another. */
void nrig_start(struct nrig *rig);

/* What the store has: below d/; then settle, which sorts and leaves each key once. */
void nrig_add(struct nstore *st, const char *name);
void nrig_fill_numbers(struct nstore *st);
void nrig_settle(struct nstore *st);

struct call nrig_call(void);
/* What a reader gets; the result of the end. */
int nrig_read_all(struct nrig *rig, struct listing *got);
bool nrig_has_all(const struct nrig *rig, const struct listing *got);
/* Every name once, and no more requests than pages and what splitting may waste. */
void nrig_check(struct nrig *rig, int more_lists);
#endif
