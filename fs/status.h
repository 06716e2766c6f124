/* status.h - how a mount is: what the daemon tells, and how it is shown.
 *
 * One table (status.c) names each figure, its unit and its meaning.  The daemon writes it
 * as JSON, the asker reads that back; --json, --prometheus and the text for people come
 * from the same rows, so they cannot disagree.
 */
#ifndef FS_STATUS_H
#define FS_STATUS_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "backends/util/buf.h"
#include "backends/util/metrics.h"
#include "cache/staged.h"

enum { STATUS_PATH_SIZE = 4096, STATUS_WORDS_SIZE = 1024, STATUS_WORD_SIZE = 32 };

struct status_names {
	char name[STAGING_NAMED_MAX][KEY_SIZE]; /* "" = no more */
};

/* Texts are cut where they are longer.  Totals are since the daemon started. */
struct status {
	/* the mount */
	char mountpoint[STATUS_PATH_SIZE]; /* as the daemon knows it */
	char source[STATUS_WORDS_SIZE];
	char state[STATUS_WORD_SIZE];	 /* "serving", "draining"; by who asks "dead",
					    "unknown" */
	char problem[STATUS_WORDS_SIZE]; /* what is wrong; "" = nothing */
	char version[STATUS_WORD_SIZE];
	char cache_dir[STATUS_PATH_SIZE];
	char log_level[STATUS_WORD_SIZE];
	uint64_t read_only, pid, uptime_ns;

	/* the store */
	uint64_t reachable, unreachable_ns, answered_ns;
	char last_error[STATUS_WORDS_SIZE];
	uint64_t last_error_ns;
	uint64_t latency_ns;
	struct latency latency;
	uint64_t requests, requests_failed, requests_now, requests_limit;
	uint64_t received_bytes, sent_bytes;

	/* the cache */
	uint64_t cache_used_bytes, cache_limit_bytes, evicted_bytes, fetched_bytes;
	uint64_t reads_cached, reads_fetched, read_cached_bytes, read_fetched_bytes;
	uint64_t opens, opens_passed, damaged_blocks, bypassed;
	char passthrough[STATUS_WORDS_SIZE]; /* "active", or why not */

	/* what was written */
	uint64_t files_writing, files_queued, files_uploading, files_failed, files_local;
	struct status_names failed_names; /* the first few */
	uint64_t removals, staged_bytes, staging_limit_bytes;
	uint64_t uploads, uploads_failed, uploaded_bytes;

	/* the process */
	uint64_t resident_bytes, peak_bytes, threads, open_files;
};

/* --- the daemon's own --- */

/* Memory, threads, files of this process. */
void status_of_process(struct status *s);
/* Requests, reads, uploads: what metrics.h counts; the last error. */
void status_of_metrics(struct status *s);
struct fs;
/* Store, cache and staged files. */
void status_of_fs(struct fs *fs, struct status *s);
/* What of all that is wrong, in words. */
void status_judge(struct status *s);

/* --- as text --- */

/* One JSON object. */
void status_write_json(const struct status *s, struct buf *ret);
/* -EBADMSG: it is none.  What is not in it (a daemon of an older version) is 0. */
int status_read_json(const char *text, size_t n, struct status *ret);
/* A few lines for people, without control characters. */
void status_write_text(const struct status *s, struct buf *ret);
/* Prometheus' text format 0.0.4, of n mounts: each family once.  A mount whose daemon
 * does not answer is mastfs_up 0 and nothing else. */
void status_write_prometheus(const struct status *const *mounts, size_t n,
			     struct buf *ret);
/* The figures and their meanings, for --help. */
void status_help_figures(FILE *out);
/* Does it tell of a daemon that has answered? */
bool status_answered(const struct status *s);
#endif
