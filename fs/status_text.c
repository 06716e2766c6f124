/* status_text.c - see status.h: for people. */
#include <inttypes.h>
#include <string.h>
#include "backends/util/clock.h"
#include "backends/util/utf8.h"
#include "fs/status.h"
#include "backends/util/banned.h"

/* Three digits and a unit. */
static void add_bytes(struct buf *ret, uint64_t bytes)
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	size_t unit = 0;
	double n = (double)bytes;
	for (; n >= 1000 && unit < 4; unit++)
		n /= 1024;
	buf_addf(ret, "%.*f %s", unit && n < 10 ? 1 : 0, n, units[unit]);
}

static void add_duration(struct buf *ret, uint64_t ns)
{
	uint64_t s = ns / NS_PER_S;
	if (s >= 86400)
		buf_addf(ret, "%" PRIu64 " d %" PRIu64 " h", s / 86400, s % 86400 / 3600);
	else if (s >= 3600)
		buf_addf(ret, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s % 3600 / 60);
	else if (s >= 60)
		buf_addf(ret, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
	else
		buf_addf(ret, "%" PRIu64 " s", s);
}

/* Whoever may mount answers for his daemon: nothing of it steers the terminal. */
static void add_shown(struct buf *ret, const char *text)
{
	utf8_show(ret, text, strlen(text));
}

/* "75 %"; "-" of nothing. */
static void add_share(struct buf *ret, uint64_t part, uint64_t rest)
{
	if (part + rest)
		buf_addf(ret, "%.0f %%", 100.0 * (double)part / (double)(part + rest));
	else
		buf_addc(ret, '-');
}

static void add_daemon(const struct status *s, struct buf *ret)
{
	buf_adds(ret, "  daemon   mastfs ");
	add_shown(ret, s->version);
	buf_addf(ret, ", pid %" PRIu64 ", ", s->pid);
	add_shown(ret, s->state);
	buf_adds(ret, " for ");
	add_duration(ret, s->uptime_ns);
	buf_addf(ret, "%s, log level ", s->read_only ? ", read-only" : "");
	add_shown(ret, s->log_level);
	buf_addc(ret, '\n');
}

static void add_store(const struct status *s, struct buf *ret)
{
	buf_adds(ret, "  store    ");
	if (!s->reachable) {
		buf_adds(ret, "no answer for ");
		add_duration(ret, s->unreachable_ns);
	} else if (s->answered_ns) {
		buf_adds(ret, "answered ");
		add_duration(ret, s->answered_ns);
		buf_adds(ret, " ago");
	} else {
		buf_adds(ret, "not asked yet");
	}
	if (s->latency_ns)
		buf_addf(ret, " within %.3g ms",
			 (double)s->latency_ns / (double)NS_PER_MS);
	buf_addf(ret,
		 "; %" PRIu64 " of %" PRIu64 " requests in flight; %" PRIu64
		 " made, %" PRIu64 " failed\n",
		 s->requests_now, s->requests_limit, s->requests, s->requests_failed);
	if (!s->last_error[0])
		return;
	buf_adds(ret, "  error    ");
	add_duration(ret, s->last_error_ns);
	buf_adds(ret, " ago: ");
	add_shown(ret, s->last_error);
	buf_addc(ret, '\n');
}

static void add_cache(const struct status *s, struct buf *ret)
{
	buf_adds(ret, "  cache    ");
	add_bytes(ret, s->cache_used_bytes);
	buf_adds(ret, " of ");
	add_bytes(ret, s->cache_limit_bytes);
	buf_adds(ret, "; it had ");
	add_share(ret, s->reads_cached, s->reads_fetched);
	buf_addf(ret, " of %" PRIu64 " reads and ", s->reads_cached + s->reads_fetched);
	add_share(ret, s->read_cached_bytes, s->read_fetched_bytes);
	buf_adds(ret, " of ");
	add_bytes(ret, s->read_cached_bytes + s->read_fetched_bytes);
	buf_addf(ret,
		 "\n  opens    %" PRIu64 ", %" PRIu64 " passed through; passthrough ",
		 s->opens, s->opens_passed);
	add_shown(ret, s->passthrough);
	buf_addc(ret, '\n');
}

static void add_staged(const struct status *s, struct buf *ret)
{
	if (s->read_only)
		return;
	buf_addf(ret,
		 "  uploads  %" PRIu64 " being written, %" PRIu64 " queued, %" PRIu64
		 " going up, %" PRIu64 " failed, %" PRIu64 " done; ",
		 s->files_writing, s->files_queued, s->files_uploading, s->files_failed,
		 s->uploads);
	add_bytes(ret, s->staged_bytes);
	buf_adds(ret, " of ");
	add_bytes(ret, s->staging_limit_bytes);
	buf_adds(ret, " staged\n");
	for (int i = 0; i < STAGING_NAMED_MAX && s->failed_names.name[i][0]; i++) {
		buf_adds(ret, "  failed   ");
		add_shown(ret, s->failed_names.name[i]);
		buf_addc(ret, '\n');
	}
	if (s->files_failed > STAGING_NAMED_MAX)
		buf_addf(ret, "  failed   and %" PRIu64 " more\n",
			 s->files_failed - STAGING_NAMED_MAX);
}

static void add_process(const struct status *s, struct buf *ret)
{
	buf_adds(ret, "  process  ");
	add_bytes(ret, s->resident_bytes);
	buf_adds(ret, " of memory (");
	add_bytes(ret, s->peak_bytes);
	buf_addf(ret, " at most), %" PRIu64 " threads, %" PRIu64 " open files\n",
		 s->threads, s->open_files);
}

void status_write_text(const struct status *s, struct buf *ret)
{
	add_shown(ret, s->mountpoint);
	buf_adds(ret, ": ");
	add_shown(ret, s->source);
	buf_addc(ret, '\n');
	if (s->problem[0]) {
		buf_adds(ret, "  problem  ");
		add_shown(ret, s->problem);
		buf_addc(ret, '\n');
	}
	if (!status_answered(s))
		return;
	add_daemon(s, ret);
	add_store(s, ret);
	add_cache(s, ret);
	add_staged(s, ret);
	add_process(s, ret);
}
