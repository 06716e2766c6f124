/* report.h - what an examination found: a line each, for people and as JSON.
 *
 *   problem  bucket: there is no bucket "b" at 127.0.0.1:9000
 *            aws s3 mb s3://b
 * A finding is the id of its check, how it stands, what was found, and for what is not
 * well a command to type; the words after a '#' in it are for whoever types it.  What is
 * shown came in part from outside: control bytes are escaped, and it is UTF-8.
 *
 * The code that is examined says what is wrong with it in the log; the report listens to
 * that, so that nothing is worded twice.
 */
#ifndef BACKENDS_REPORT_H
#define BACKENDS_REPORT_H
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>
#include "backends/util/buf.h"

/* Rising: the worst is what it comes to. */
enum report_state { REPORT_OK, REPORT_SKIPPED, REPORT_WARNING, REPORT_PROBLEM };

enum { REPORT_QUOTED_MAX = 8 }; /* words in one remedy */

struct finding {
	char *check, *found; /* owned */
	char *remedy;	     /* owned; NULL = none */
	enum report_state state;
};

struct report {
	FILE *out;	    /* findings are printed there as they come; NULL = not */
	const char *prefix; /* of the ids of the checks to come; "" */
	struct finding *findings;
	size_t n;
	int error;	   /* sticky: -ENOMEM, and the report is not whole */
	struct buf remedy; /* of the finding to come */
	char *quoted[REPORT_QUOTED_MAX]; /* owned; report_quote's */
	size_t n_quoted;
	struct buf skipped, why; /* not printed yet: ids, and their common reason */
	struct buf heard;
	int log;	  /* what is logged; -1 = not listened to */
	off_t heard_upto; /* in it */
};

void report_init(struct report *r, FILE *out);
void report_done(struct report *r);

void report_ok(struct report *r, const char *check, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Several in a row for the same reason are one line. */
void report_skip(struct report *r, const char *check, const char *why);
/* With the remedy that report_remedy set before, if it did. */
void report_add(struct report *r, enum report_state state, const char *check,
		const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void report_remedy(struct report *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
#define report_warning(r, ...) report_add(r, REPORT_WARNING, __VA_ARGS__)
#define report_problem(r, ...) report_add(r, REPORT_PROBLEM, __VA_ARGS__)
/* As a shell takes it.  Good until the next finding. */
const char *report_quote(struct report *r, const char *word);

/* Print what is still to be printed. */
void report_flush(struct report *r);
/* REPORT_OK if nothing is wrong; what was skipped is not wrong. */
enum report_state report_worst(const struct report *r);
/* {"state": .., "checks": [{"check": .., "state": .., "found": .., "remedy": ..}]}.
 * -ENOMEM. */
int report_json(const struct report *r, struct buf *ret);

/* From now on the log goes to the report alone.  0, or a negative errno. */
int report_listen(struct report *r);
/* The first error that was logged since it was asked last, else the first warning,
 * without what every line starts with; "" = nothing was.  Good until the next call. */
const char *report_heard(struct report *r);
#endif
