/* nth_model.h - what each name may hold after operations that succeeded, and after some
 * that did not.
 *
 * An operation that succeeded leaves one possibility; one that failed adds what it would
 * have made to what may be there already.  NULL is "no such name".
 */
#ifndef TESTS_UNIT_NTH_MODEL_H
#define TESTS_UNIT_NTH_MODEL_H
#include <stdbool.h>
#include <stddef.h>

enum { MODEL_NAMES = 24, MODEL_TEXTS = 12 };

struct model_name {
	const char *path;		/* borrowed */
	const char *texts[MODEL_TEXTS]; /* borrowed */
	size_t n;
};

struct model {
	struct model_name names[MODEL_NAMES];
	size_t n;
	/* Bytes that a rename that failed must have left at one of two names. */
	struct {
		const char *from, *to, *text;
	} either[MODEL_NAMES];
	size_t n_either;
};

/* r: of the operation that was to leave text there. */
void model_set(struct model *m, const char *path, const char *text, int r);
void model_rename(struct model *m, const char *from, const char *to, int r);
bool model_may(struct model *m, const char *path, const char *text);
/* The only possibility is that there is nothing, or that there is something. */
bool model_must_not_be(struct model *m, const char *path);
bool model_must_be(struct model *m, const char *path);
struct model_name *model_name(struct model *m, const char *path);
#endif
