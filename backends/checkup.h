/* checkup.h - a source examined step by step, for somebody whose mount fails.
 *
 * What it finds is told to a report (report.h), each step with a remedy.  A step that
 * needs another one that failed is told as skipped.  Everything has a time limit; a
 * signal ends it early, and what was put into the bucket is removed all the same.
 */
#ifndef BACKENDS_CHECKUP_H
#define BACKENDS_CHECKUP_H
#include <stdatomic.h>
#include <stdbool.h>
#include "backends/report.h"
#include "backends/settings.h"

struct checkup_conf {
	const struct settings *settings; /* after source_choose; borrowed */
	bool read_only;			 /* the mount writes nothing */
	bool no_write;			 /* neither may the examination */
	atomic_bool *cancelled;		 /* borrowed */
	struct report *report;		 /* borrowed */
};

/* Files with credentials that others may read. */
void checkup_secrets(const struct checkup_conf *conf);
/* The way to the server, the credentials, the bucket, what they allow; then the same of
 * the public source, whose checks begin with "public-". */
void checkup_sources(const struct checkup_conf *conf);
#endif
