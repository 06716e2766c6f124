/* status_prometheus.c - see status.h: for Prometheus.
 *
 * Each family has one HELP and one TYPE, and its samples directly behind them.  Texts
 * become labels of mastfs_info; the figures have the mount point as their only label.
 */
#include <inttypes.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/utf8.h"
#include "fs/status_table.h"
#include "backends/util/banned.h"

/* What never changes while it is mounted. */
static const char *const info_labels[] = {"source", "version", "cache_dir", NULL};

/* Escapes of its own: '\\', '"' and newline, which utf8_show leaves as \x0a. */
static void add_label(struct buf *ret, const char *name, const char *value)
{
	CLEANUP_BUF struct buf shown;
	buf_init(&shown, (size_t)4 * STATUS_PATH_SIZE);
	utf8_show(&shown, value, strlen(value));
	buf_addf(ret, "%s=\"", name);
	for (const char *p = shown.data; *p; p++) {
		if (*p == '\\' || *p == '"')
			buf_addc(ret, '\\');
		buf_addc(ret, *p);
	}
	buf_addc(ret, '"');
}

static void add_family(struct buf *ret, const char *name, const char *type,
		       const char *help)
{
	buf_addf(ret, "# HELP mastfs_%s %s\n# TYPE mastfs_%s %s\n", name, help, name,
		 type);
}

static void add_sample(struct buf *ret, const char *name, const struct status *s)
{
	buf_addf(ret, "mastfs_%s{", name);
	add_label(ret, "mountpoint", s->mountpoint);
}

static void add_up(const struct status *const *mounts, size_t n, struct buf *ret)
{
	add_family(ret, "up", "gauge", "does the daemon answer");
	for (size_t i = 0; i < n; i++) {
		add_sample(ret, "up", mounts[i]);
		buf_addf(ret, "} %d\n", status_answered(mounts[i]));
	}
}

static void add_info(const struct status *s, struct buf *ret)
{
	add_sample(ret, "info", s);
	for (const struct status_row *row = status_rows; row->name; row++)
		for (int i = 0; info_labels[i]; i++)
			if (!strcmp(row->name, info_labels[i])) {
				buf_addc(ret, ',');
				add_label(ret, row->name, status_field(row, s));
			}
	buf_adds(ret, "} 1\n");
}

static void add_passthrough(const struct status *s, struct buf *ret)
{
	add_sample(ret, "passthrough_active", s);
	buf_addf(ret, "} %d\n", !strcmp(s->passthrough, "active"));
}

static void add_latency(const struct status_row *row, const struct status *s,
			struct buf *ret)
{
	const struct latency *l = status_field(row, s);
	uint64_t sum = 0;
	for (int i = 0; i < LATENCY_BUCKETS; i++) {
		sum += l->count[i];
		buf_addf(ret, "mastfs_%s_bucket{", row->name);
		add_label(ret, "mountpoint", s->mountpoint);
		buf_adds(ret, ",le=\"");
		status_add_bound(ret, i);
		buf_addf(ret, "\"} %" PRIu64 "\n", sum);
	}
	buf_addf(ret, "mastfs_%s_sum{", row->name);
	add_label(ret, "mountpoint", s->mountpoint);
	buf_adds(ret, "} ");
	status_add_seconds(ret, l->sum_ns);
	buf_addf(ret, "\nmastfs_%s_count{", row->name);
	add_label(ret, "mountpoint", s->mountpoint);
	buf_addf(ret, "} %" PRIu64 "\n", sum);
}

static void add_number(const struct status_row *row, const struct status *s,
		       struct buf *ret)
{
	add_sample(ret, row->name, s);
	buf_adds(ret, "} ");
	if (row->kind == STATUS_TIME)
		status_add_seconds(ret, status_number(row, s));
	else
		buf_addf(ret, "%" PRIu64, status_number(row, s));
	buf_addc(ret, '\n');
}

static void add_row(const struct status_row *row, const struct status *const *mounts,
		    size_t n, struct buf *ret)
{
	add_family(ret, row->name,
		   row->kind == STATUS_TOTAL	 ? "counter"
		   : row->kind == STATUS_LATENCY ? "histogram"
						 : "gauge",
		   row->meaning);
	for (size_t i = 0; i < n; i++) {
		if (!status_answered(mounts[i]))
			continue;
		if (row->kind == STATUS_LATENCY)
			add_latency(row, mounts[i], ret);
		else
			add_number(row, mounts[i], ret);
	}
}

typedef void add_fn(const struct status *s, struct buf *ret);

static void add_each(const char *name, const char *help, add_fn *fn,
		     const struct status *const *mounts, size_t n, struct buf *ret)
{
	add_family(ret, name, "gauge", help);
	for (size_t i = 0; i < n; i++)
		if (status_answered(mounts[i]))
			fn(mounts[i], ret);
}

void status_write_prometheus(const struct status *const *mounts, size_t n,
			     struct buf *ret)
{
	add_up(mounts, n, ret);
	add_each("info", "what is mounted", add_info, mounts, n, ret);
	add_each("passthrough_active", "does the kernel read complete files itself",
		 add_passthrough, mounts, n, ret);
	for (const struct status_row *row = status_rows; row->name; row++)
		if (row->kind != STATUS_TEXT && row->kind != STATUS_NAMES &&
		    strcmp(row->name, "pid") != 0)
			add_row(row, mounts, n, ret);
}
