/* status.c - see status.h: the table, as JSON. */
#include "fs/status.h"
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "backends/json.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/utf8.h"
#include "fs/status_table.h"
#include "backends/util/banned.h"

#define AT(field) offsetof(struct status, field), sizeof(((struct status *)0)->field)

/* clang-format off */
const struct status_row status_rows[] = {
	/* name, kind, field, meaning */
	{"mountpoint", STATUS_TEXT, AT(mountpoint), "where it is mounted"},
	{"source", STATUS_TEXT, AT(source), "what is mounted"},
	{"state", STATUS_TEXT, AT(state), "serving, or draining: unmounted, uploads go on"},
	{"problem", STATUS_TEXT, AT(problem), "what is wrong, if anything is"},
	{"version", STATUS_TEXT, AT(version), "of mastfs"},
	{"cache_dir", STATUS_TEXT, AT(cache_dir), "where on this disk its cache is"},
	{"log_level", STATUS_TEXT, AT(log_level), "how much is logged"},
	{"passthrough", STATUS_TEXT, AT(passthrough),
	 "does the kernel read complete files itself, or why not"},
	{"read_only", STATUS_FLAG, AT(read_only), "is nothing written"},
	{"pid", STATUS_GAUGE, AT(pid), "process id of the daemon, as it sees itself"},
	{"uptime_seconds", STATUS_TIME, AT(uptime_ns), "since it was mounted"},

	{"reachable", STATUS_FLAG, AT(reachable), "does the store answer"},
	{"unreachable_seconds", STATUS_TIME, AT(unreachable_ns),
	 "how long the store has not answered"},
	{"last_answer_seconds", STATUS_TIME, AT(answered_ns),
	 "age of the store's last answer; 0: there was none"},
	{"last_error", STATUS_TEXT, AT(last_error), "the last error or warning of the log"},
	{"last_error_seconds", STATUS_TIME, AT(last_error_ns), "age of the last error or warning"},
	{"latency_seconds", STATUS_TIME, AT(latency_ns),
	 "of the latest requests: how long until the first byte of the answer"},
	{"request_latency_seconds", STATUS_LATENCY, AT(latency),
	 "requests by how long the first byte of the answer took"},
	{"requests_total", STATUS_TOTAL, AT(requests), "HTTP requests that have ended"},
	{"requests_failed_total", STATUS_TOTAL, AT(requests_failed),
	 "of these: without an answer, or with 429 or 5xx"},
	{"requests_in_flight", STATUS_GAUGE, AT(requests_now), "HTTP requests under way"},
	{"requests_limit", STATUS_GAUGE, AT(requests_limit),
	 "HTTP requests that may be under way; fewer while the store asks to slow down"},
	{"received_bytes_total", STATUS_TOTAL, AT(received_bytes), "of answers' bodies"},
	{"sent_bytes_total", STATUS_TOTAL, AT(sent_bytes), "of requests' bodies"},

	{"cache_used_bytes", STATUS_GAUGE, AT(cache_used_bytes), "clean bytes on this disk"},
	{"cache_limit_bytes", STATUS_GAUGE, AT(cache_limit_bytes), "of those, at most"},
	{"cache_evicted_bytes_total", STATUS_TOTAL, AT(evicted_bytes), "given up for others"},
	{"fetched_bytes_total", STATUS_TOTAL, AT(fetched_bytes),
	 "from the store into the cache, read or not"},
	{"reads_cached_total", STATUS_TOTAL, AT(reads_cached),
	 "reads that waited for nothing"},
	{"reads_fetched_total", STATUS_TOTAL, AT(reads_fetched),
	 "reads that waited for the store"},
	{"read_cached_bytes_total", STATUS_TOTAL, AT(read_cached_bytes),
	 "bytes read that were on this disk"},
	{"read_fetched_bytes_total", STATUS_TOTAL, AT(read_fetched_bytes),
	 "bytes read that the store was waited for"},
	{"opens_total", STATUS_TOTAL, AT(opens), "files opened"},
	{"opens_passthrough_total", STATUS_TOTAL, AT(opens_passed),
	 "of these: the kernel reads the cache itself, and no read is counted"},
	{"damaged_blocks_total", STATUS_TOTAL, AT(damaged_blocks),
	 "blocks of the cache whose checksum was wrong; fetched again"},
	{"bypassed_reads_total", STATUS_TOTAL, AT(bypassed),
	 "reads past the cache, which had no room"},

	{"files_writing", STATUS_GAUGE, AT(files_writing), "files open for writing"},
	{"files_queued", STATUS_GAUGE, AT(files_queued), "files that wait for their upload"},
	{"files_uploading", STATUS_GAUGE, AT(files_uploading), "files on their way"},
	{"files_failed", STATUS_GAUGE, AT(files_failed),
	 "files whose last upload failed; it is tried again, or is a conflict"},
	{"failed_names", STATUS_NAMES, AT(failed_names), "the first few of them"},
	{"files_local", STATUS_GAUGE, AT(files_local), "temporary files that stay here"},
	{"removals_pending", STATUS_GAUGE, AT(removals),
	 "names removed here and not yet in the bucket"},
	{"staged_bytes", STATUS_GAUGE, AT(staged_bytes), "written and not yet uploaded"},
	{"staging_limit_bytes", STATUS_GAUGE, AT(staging_limit_bytes),
	 "of those, before writers are slowed"},
	{"uploads_total", STATUS_TOTAL, AT(uploads), "files that have arrived"},
	{"uploads_failed_total", STATUS_TOTAL, AT(uploads_failed), "attempts that failed"},
	{"uploaded_bytes_total", STATUS_TOTAL, AT(uploaded_bytes), "of files and their parts"},

	{"resident_bytes", STATUS_GAUGE, AT(resident_bytes), "memory of the daemon"},
	{"resident_peak_bytes", STATUS_GAUGE, AT(peak_bytes), "the most that it ever was"},
	{"threads", STATUS_GAUGE, AT(threads), "threads of the daemon"},
	{"open_files", STATUS_GAUGE, AT(open_files), "descriptors of the daemon"},
	{0},
};
/* clang-format on */

const void *status_field(const struct status_row *row, const struct status *s)
{
	return (const char *)s + row->offset;
}

uint64_t status_number(const struct status_row *row, const struct status *s)
{
	return *(const uint64_t *)status_field(row, s);
}

void status_add_seconds(struct buf *ret, uint64_t ns)
{
	buf_addf(ret, "%" PRIu64 ".%06" PRIu64, ns / NS_PER_S, ns % NS_PER_S / 1000);
}

void status_add_bound(struct buf *ret, int bucket)
{
	if (bucket == LATENCY_BUCKETS - 1)
		buf_adds(ret, "+Inf");
	else
		buf_addf(ret, "%g", (double)latency_bounds_ms[bucket] / 1000);
}

/* --- written --- */

static void write_names(const struct status_names *names, struct buf *ret)
{
	buf_addc(ret, '[');
	for (int i = 0; i < STAGING_NAMED_MAX && names->name[i][0]; i++) {
		if (i)
			buf_addc(ret, ',');
		utf8_quote(ret, names->name[i], strlen(names->name[i]));
	}
	buf_addc(ret, ']');
}

/* {"0.005":3,...,"+Inf":0,"sum":1.5}: each bucket's own. */
static void write_latency(const struct latency *l, struct buf *ret)
{
	buf_addc(ret, '{');
	for (int i = 0; i < LATENCY_BUCKETS; i++) {
		buf_addc(ret, '"');
		status_add_bound(ret, i);
		buf_addf(ret, "\":%" PRIu64 ",", l->count[i]);
	}
	buf_adds(ret, "\"sum\":");
	status_add_seconds(ret, l->sum_ns);
	buf_addc(ret, '}');
}

static void write_value(const struct status_row *row, const struct status *s,
			struct buf *ret)
{
	const void *field = status_field(row, s);
	switch (row->kind) {
	case STATUS_TEXT:
		utf8_quote(ret, field, strlen(field));
		break;
	case STATUS_NAMES:
		write_names(field, ret);
		break;
	case STATUS_LATENCY:
		write_latency(field, ret);
		break;
	case STATUS_FLAG:
		buf_adds(ret, status_number(row, s) ? "true" : "false");
		break;
	case STATUS_TIME:
		status_add_seconds(ret, status_number(row, s));
		break;
	default:
		buf_addf(ret, "%" PRIu64, status_number(row, s));
	}
}

void status_write_json(const struct status *s, struct buf *ret)
{
	for (const struct status_row *row = status_rows; row->name; row++) {
		buf_addf(ret, "%c\"%s\":", row == status_rows ? '{' : ',', row->name);
		write_value(row, s, ret);
	}
	buf_addc(ret, '}');
}

/* --- read --- */

static int read_text(const struct json *v, char *dst, size_t size)
{
	const char *text = json_text(v, NULL);
	if (text)
		(void)snprintf(dst, size, "%s", text);
	return text ? 0 : -EBADMSG;
}

static int read_names(const struct json *v, struct status_names *ret)
{
	size_t n = json_count(v);
	int r = 0;
	for (size_t i = 0; r == 0 && i < n && i < STAGING_NAMED_MAX; i++)
		r = read_text(json_at(v, i), ret->name[i], KEY_SIZE);
	return r;
}

static int read_seconds(const struct json *v, uint64_t *ret_ns)
{
	double seconds;
	if (json_float(v, &seconds) < 0 || !(seconds >= 0 && seconds < 1e9))
		return -EBADMSG;
	*ret_ns = (uint64_t)(seconds * 1e6 + 0.5) * 1000; /* as exact as it was written */
	return 0;
}

static int read_latency(const struct json *v, struct latency *ret)
{
	int r = read_seconds(json_member(v, "sum"), &ret->sum_ns);
	for (int i = 0; r == 0 && i < LATENCY_BUCKETS; i++) {
		CLEANUP_BUF struct buf bound;
		buf_init(&bound, 32);
		status_add_bound(&bound, i);
		r = json_u64(json_member(v, bound.data), &ret->count[i]);
	}
	return r;
}

static int read_value(const struct status_row *row, const struct json *v,
		      struct status *s)
{
	void *field = (char *)s + row->offset;
	switch (row->kind) {
	case STATUS_TEXT:
		return read_text(v, field, row->size);
	case STATUS_NAMES:
		return read_names(v, field);
	case STATUS_LATENCY:
		return read_latency(v, field);
	case STATUS_FLAG:
		*(uint64_t *)field = json_flag(v);
		return 0;
	case STATUS_TIME:
		return read_seconds(v, field);
	default:
		return json_u64(v, field);
	}
}

int status_read_json(const char *text, size_t n, struct status *ret)
{
	struct json *v;
	int r = json_parse(text, n, &v);
	if (r < 0)
		return r;
	*ret = (struct status){0};
	for (const struct status_row *row = status_rows; r == 0 && row->name; row++) {
		const struct json *member = json_member(v, row->name);
		if (member)
			r = read_value(row, member, ret);
	}
	json_free(v);
	return r;
}

void status_help_figures(FILE *out)
{
	for (const struct status_row *row = status_rows; row->name; row++)
		(void)fprintf(out, "  %-26s  %s\n", row->name, row->meaning);
}

bool status_answered(const struct status *s)
{
	return s->version[0];
}
