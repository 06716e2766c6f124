/* status_fs.c - see status.h: what the daemon's parts know of themselves. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "fs/fs_impl.h"
#include "fs/passthrough.h"
#include "fs/status.h"
#include "backends/util/banned.h"

void status_of_metrics(struct status *s)
{
	struct log_last last;
	uint64_t now = clock_now_ns();
	s->requests = metrics_get(METRIC_REQUESTS);
	s->requests_failed = metrics_get(METRIC_REQUESTS_FAILED);
	s->requests_now = metrics_get(METRIC_REQUESTS_NOW);
	s->requests_limit = metrics_get(METRIC_REQUESTS_LIMIT);
	s->received_bytes = metrics_get(METRIC_RECEIVED_BYTES);
	s->sent_bytes = metrics_get(METRIC_SENT_BYTES);
	s->reads_cached = metrics_get(METRIC_READS_CACHED);
	s->reads_fetched = metrics_get(METRIC_READS_FETCHED);
	s->read_cached_bytes = metrics_get(METRIC_READ_CACHED_BYTES);
	s->read_fetched_bytes = metrics_get(METRIC_READ_FETCHED_BYTES);
	s->opens = metrics_get(METRIC_OPENS);
	s->opens_passed = metrics_get(METRIC_OPENS_PASSED);
	s->uploads = metrics_get(METRIC_UPLOADS);
	s->uploads_failed = metrics_get(METRIC_UPLOADS_FAILED);
	s->uploaded_bytes = metrics_get(METRIC_UPLOADED_BYTES);
	metrics_get_latency(&s->latency);
	s->latency_ns = s->latency.recent_ns;
	log_get_last(&last);
	(void)snprintf(s->last_error, sizeof s->last_error, "%s", last.text);
	s->last_error_ns = last.happened_ns ? now - last.happened_ns : 0;
}

static void of_store(struct fs *fs, struct status *s)
{
	struct store_health health;
	backend_health(fs->be, &health);
	s->reachable = health.reachable;
	s->unreachable_ns = health.silent_ns;
	s->answered_ns = health.answered_ns;
}

static void of_cache(struct fs *fs, struct status *s)
{
	struct blocks_stats stats;
	blocks_stats(fs->bl, &stats);
	s->cache_used_bytes = stats.used_bytes;
	s->cache_limit_bytes = stats.max_bytes;
	s->evicted_bytes = stats.evicted_bytes;
	s->fetched_bytes = stats.fetched_bytes;
	s->damaged_blocks = stats.crc_errors;
	s->bypassed = stats.bypassed;
}

static void of_staged(struct fs *fs, struct status *s)
{
	struct staging_counts counts;
	view_count(fs->vw, &counts, &s->removals);
	s->files_writing = counts.writing;
	s->files_queued = counts.queued;
	s->files_uploading = counts.uploading;
	s->files_failed = counts.failed;
	s->files_local = counts.local;
	s->staged_bytes = counts.used_bytes;
	s->staging_limit_bytes = counts.max_bytes;
	memcpy(s->failed_names.name, counts.failed_names, sizeof counts.failed_names);
}

void status_of_fs(struct fs *fs, struct status *s)
{
	s->read_only = !fs_writable(fs);
	passthrough_describe(fs->passthrough, s->passthrough, sizeof s->passthrough);
	of_store(fs, s);
	of_cache(fs, s);
	of_staged(fs, s);
}

void status_judge(struct status *s)
{
	size_t n = 0;
	s->problem[0] = '\0';
	if (!s->reachable)
		n = (size_t)snprintf(s->problem, sizeof s->problem,
				     "the store has not answered for %" PRIu64 " s",
				     s->unreachable_ns / NS_PER_S);
	if (s->files_failed)
		(void)snprintf(s->problem + n, sizeof s->problem - n,
			       "%s%" PRIu64 " %s not in the bucket: the upload failed",
			       n ? "; " : "", s->files_failed,
			       s->files_failed == 1 ? "file is" : "files are");
}
