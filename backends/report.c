/* report.c - see report.h. */
#include "backends/report.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/utf8.h"
#include "backends/util/banned.h"

enum {
	FINDINGS_MAX = 512,
	TEXT_MAX = 16 * 1024,
	JSON_MAX = 8 * 1024 * 1024,
	HEARD_MAX = 64 * 1024,
};

static const char *const state_names[] = {"ok", "skipped", "warning", "problem"};

void report_init(struct report *r, FILE *out)
{
	*r = (struct report){.out = out, .prefix = "", .log = -1};
	buf_init(&r->remedy, TEXT_MAX);
	buf_init(&r->skipped, TEXT_MAX);
	buf_init(&r->why, TEXT_MAX);
	buf_init(&r->heard, HEARD_MAX);
}

static void forget_quoted(struct report *r)
{
	while (r->n_quoted)
		free(r->quoted[--r->n_quoted]);
}

void report_done(struct report *r)
{
	forget_quoted(r);
	for (size_t i = 0; i < r->n; i++) {
		free(r->findings[i].check);
		free(r->findings[i].found);
		free(r->findings[i].remedy);
	}
	free(r->findings);
	buf_done(&r->remedy);
	buf_done(&r->skipped);
	buf_done(&r->why);
	buf_done(&r->heard);
	cleanup_close_(&r->log);
}

/* --- keeping --- */

static char *shown(const char *text)
{
	CLEANUP_BUF struct buf out;
	buf_init(&out, 8 * TEXT_MAX);
	utf8_show(&out, text, strlen(text));
	return buf_detach(&out);
}

static void print(const struct report *r, const struct finding *f)
{
	if (!r->out)
		return;
	(void)fprintf(r->out, "%-8s %s: %s\n", state_names[f->state], f->check, f->found);
	if (f->remedy)
		(void)fprintf(r->out, "         %s\n", f->remedy);
	(void)fflush(r->out);
}

void report_flush(struct report *r)
{
	if (r->skipped.len && r->out) {
		(void)fprintf(r->out, "%-8s %s: %s\n", state_names[REPORT_SKIPPED],
			      r->skipped.data, r->why.data);
		(void)fflush(r->out);
	}
	buf_reset(&r->skipped);
}

static const struct finding *keep(struct report *r, const char *check,
				  enum report_state state, const char *found,
				  const char *remedy)
{
	if (r->n == FINDINGS_MAX)
		return NULL;
	struct finding *more = reallocarray(r->findings, r->n + 1, sizeof *r->findings);
	struct finding f = {.state = state};
	if (more)
		r->findings = more;
	if (asprintf(&f.check, "%s%s", r->prefix, check) < 0)
		f.check = NULL;
	f.found = shown(found);
	f.remedy = remedy ? shown(remedy) : NULL;
	if (more && f.check && f.found && (f.remedy || !remedy)) {
		r->findings[r->n] = f;
		return &r->findings[r->n++];
	}
	free(f.check);
	free(f.found);
	free(f.remedy);
	r->error = -ENOMEM;
	return NULL;
}

static void add(struct report *r, enum report_state state, const char *check,
		const char *fmt, va_list ap)
{
	CLEANUP_BUF struct buf found;
	buf_init(&found, TEXT_MAX);
	buf_vaddf(&found, fmt, ap);
	report_flush(r);
	const struct finding *f =
		keep(r, check, state, found.data, r->remedy.len ? r->remedy.data : NULL);
	buf_reset(&r->remedy);
	forget_quoted(r);
	if (f)
		print(r, f);
}

void report_ok(struct report *r, const char *check, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	buf_reset(&r->remedy);
	add(r, REPORT_OK, check, fmt, ap);
	va_end(ap);
}

void report_add(struct report *r, enum report_state state, const char *check,
		const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	add(r, state, check, fmt, ap);
	va_end(ap);
}

void report_skip(struct report *r, const char *check, const char *why)
{
	if (strcmp(r->why.data, why) != 0)
		report_flush(r);
	const struct finding *f = keep(r, check, REPORT_SKIPPED, why, NULL);
	if (!f)
		return;
	buf_addf(&r->skipped, "%s%s", r->skipped.len ? ", " : "", f->check);
	buf_reset(&r->why);
	buf_adds(&r->why, f->found);
}

void report_remedy(struct report *r, const char *fmt, ...)
{
	va_list ap;
	buf_reset(&r->remedy);
	va_start(ap, fmt);
	buf_vaddf(&r->remedy, fmt, ap);
	va_end(ap);
}

const char *report_quote(struct report *r, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_@%+=:,./-";
	if (*word && !word[strspn(word, plain)])
		return word;
	CLEANUP_BUF struct buf out;
	buf_init(&out, TEXT_MAX);
	buf_addc(&out, '\'');
	for (const char *p = word; *p; p++) {
		if (*p == '\'')
			buf_adds(&out, "'\\''");
		else
			buf_addc(&out, *p);
	}
	buf_addc(&out, '\'');
	char *text = r->n_quoted < REPORT_QUOTED_MAX ? buf_detach(&out) : NULL;
	if (!text)
		return "''";
	return r->quoted[r->n_quoted++] = text;
}

enum report_state report_worst(const struct report *r)
{
	enum report_state worst = REPORT_OK;
	for (size_t i = 0; i < r->n; i++) {
		enum report_state s = r->findings[i].state;
		if (s != REPORT_SKIPPED && s > worst)
			worst = s;
	}
	return worst;
}

static void add_member(struct buf *out, const char *name, const char *value)
{
	buf_addf(out, "%s\"%s\": ", strcmp(name, "check") ? ", " : "", name);
	if (value)
		utf8_quote(out, value, strlen(value));
	else
		buf_adds(out, "null");
}

int report_json(const struct report *r, struct buf *ret)
{
	CLEANUP_BUF struct buf out;
	buf_init(&out, JSON_MAX);
	buf_addf(&out, "{\"state\": \"%s\", \"checks\": [", state_names[report_worst(r)]);
	for (size_t i = 0; i < r->n; i++) {
		const struct finding *f = &r->findings[i];
		buf_adds(&out, i ? ",\n {" : "\n {");
		add_member(&out, "check", f->check);
		add_member(&out, "state", state_names[f->state]);
		add_member(&out, "found", f->found);
		add_member(&out, "remedy", f->remedy);
		buf_addc(&out, '}');
	}
	buf_adds(&out, "\n]}\n");
	buf_add(ret, out.data, out.len);
	return buf_error(&out) || buf_error(ret) ? -ENOMEM : r->error;
}

/* --- listening --- */

int report_listen(struct report *r)
{
	r->log = memfd_create("mastfs-report", MFD_CLOEXEC);
	int theirs = r->log < 0 ? -1 : fcntl(r->log, F_DUPFD_CLOEXEC, 0);
	if (theirs < 0)
		return -errno;
	log_use_fd(theirs);
	log_set_level(LOG_LEVEL_WARN);
	return 0;
}

/* The text of the first line of this level: "mastfs: error: area: text". */
static char *find_line(char *text, const char *level)
{
	size_t n = strlen(level);
	for (char *line = text, *end; *line; line = end + 1) {
		end = line + strcspn(line, "\n");
		if (!*end)
			break;
		char *area = !strncmp(line, level, n) ? line + n : NULL;
		char *words = area ? strstr(area, ": ") : NULL;
		if (!words || words > end)
			continue;
		*end = '\0';
		return words + 2;
	}
	return NULL;
}

const char *report_heard(struct report *r)
{
	char piece[4096];
	ssize_t n;
	buf_reset(&r->heard);
	while ((n = pread(r->log, piece, sizeof piece, r->heard_upto)) > 0) {
		buf_add(&r->heard, piece, (size_t)n);
		r->heard_upto += n;
	}
	char *line = find_line(r->heard.data, "mastfs: error: ");
	if (!line)
		line = find_line(r->heard.data, "mastfs: warning: ");
	return line ? line : "";
}
