/* checkup_impl.h - what the files behind checkup.h share. */
#ifndef BACKENDS_CHECKUP_IMPL_H
#define BACKENDS_CHECKUP_IMPL_H
#include "backends/checkup.h"
#include "backends/remedy.h"
#include "backends/request.h"

enum {
	CHECKUP_STEP_S = 10,  /* one question, with all its repetitions */
	CHECKUP_PROBE_S = 20, /* the mount's own experiments: some fifteen requests */
	CHECKUP_TOTAL_S = 60, /* of one source */
};

/* One source. */
struct checkup {
	const struct checkup_conf *conf;
	struct backend_conf place; /* of the bucket itself: never "mast:" */
	char *url;		   /* owned: place.url, where it was made */
	bool writes;
	struct report *report; /* borrowed */
	uint64_t until_ns;

	struct backend *be; /* owned; repeats what fails in passing */
	struct store *st;   /* what it wraps, borrowed; NULL: a directory */
	struct store_error told;
};

/* For the next question. */
struct call checkup_call(const struct checkup *c, uint64_t seconds);
/* Does the source go over a network? */
bool checkup_is_far(const struct checkup *c);
/* Tell a problem: the words are what was logged, or else these; the remedy goes by error
 * and by what the store answered last. */
void checkup_problem(struct checkup *c, const char *check, enum wish wish, int error,
		     const char *words);

/* The steps; false: what comes after has no sense. */
bool checkup_net(struct checkup *c);
void checkup_objects(struct checkup *c);
#endif
