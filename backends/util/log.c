/* log.c - see log.h. */
#include "backends/util/log.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/utf8.h"
#include "backends/util/banned.h"

enum {
	LINE_MAX_BYTES = 8192,
	HELD_MAX_BYTES = 65536,
	LEVELS = LOG_LEVEL_DEBUG + 1,
};

static _Atomic int level_now = LOG_LEVEL_INFO;
static _Atomic int sink_fd = STDERR_FILENO; /* -1: syslog */
static atomic_bool stamped;		    /* text lines begin with the time */
static _Atomic int format_now = LOG_FORMAT_TEXT;

static _Thread_local struct log_held *held;

/* As the option has them, and as a line has them. */
static const char *const option_names[] = {"error", "warn", "info", "debug"};
static const char *const level_names[] = {"error", "warning", "info", "debug"};
static const int level_syslog[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};

void log_set_level(enum log_level level)
{
	atomic_store(&level_now, (int)level);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load(&level_now);
}

const char *log_level_name(enum log_level level)
{
	return option_names[level];
}

int log_level_find(const char *name)
{
	for (int i = 0; i < LEVELS; i++)
		if (!strcmp(name, option_names[i]))
			return i;
	return -EINVAL;
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load(&level_now);
}

void log_set_format(enum log_format format)
{
	atomic_store(&format_now, (int)format);
}

void log_use_syslog(void)
{
	openlog("mastfs", LOG_PID, LOG_DAEMON);
	atomic_store(&sink_fd, -1);
}

void log_use_fd(int fd)
{
	atomic_store(&sink_fd, fd);
}

void log_use_file(int fd)
{
	atomic_store(&stamped, true);
	log_use_fd(fd);
}

/* In one step: a line that is being written goes to the one file or to the other. */
int log_swap_file(int fd)
{
	int old = atomic_load(&sink_fd);
	int r = old < 0 || dup3(fd, old, O_CLOEXEC) < 0 ? -EBADF : 0;
	(void)close(fd);
	return r;
}

/* RFC 3339, UTC, to the millisecond. */
static void add_time(struct buf *out)
{
	int64_t now = clock_wall_ns();
	time_t s = (time_t)(now / (int64_t)NS_PER_S);
	struct tm tm;
	if (gmtime_r(&s, &tm))
		buf_addf(out, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
			 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
			 (int)(now % (int64_t)NS_PER_S / (int64_t)NS_PER_MS));
}

/* A key may hold anything: show control bytes as \xNN so that no line can forge
 * another one or steer a terminal. */
static void add_escaped(struct buf *out, const struct buf *raw)
{
	unsigned char before = 0;
	for (size_t i = 0; i < raw->len; i++) {
		unsigned char c = (unsigned char)raw->data[i];
		/* After 0xc2 the second set of controls in UTF-8: CSI is one. */
		if (c < 0x20 || c == 0x7f || (before == 0xc2 && c >= 0x80 && c < 0xa0))
			buf_addf(out, "\\x%02x", c);
		else
			buf_addc(out, (char)c);
		before = c;
	}
}

static pthread_mutex_t last_lock = PTHREAD_MUTEX_INITIALIZER;
static struct log_last last; /* guarded by last_lock */

static void keep_last(const char *area, const struct buf *raw)
{
	CLEANUP_BUF struct buf text;
	buf_init(&text, (size_t)4 * LINE_MAX_BYTES);
	add_escaped(&text, raw);
	SCOPED_LOCK(&last_lock);
	(void)snprintf(last.text, sizeof last.text, "%s: %s", area, text.data);
	last.happened_ns = clock_now_ns();
}

void log_get_last(struct log_last *ret)
{
	SCOPED_LOCK(&last_lock);
	*ret = last;
}

static void make_text(enum log_level level, const char *area, const struct buf *raw,
		      struct buf *out)
{
	if (atomic_load(&stamped)) {
		add_time(out);
		buf_addc(out, ' ');
	}
	buf_addf(out, "mastfs: %s: %s: ", level_names[level], area);
	add_escaped(out, raw);
}

static void make_json(enum log_level level, const char *area, const struct buf *raw,
		      struct buf *out)
{
	buf_adds(out, "{\"time\":\"");
	add_time(out);
	buf_addf(out, "\",\"level\":\"%s\",\"area\":", option_names[level]);
	utf8_quote(out, area, strlen(area));
	buf_adds(out, ",\"message\":");
	utf8_quote(out, raw->data, raw->len);
	buf_addc(out, '}');
}

static void send_line(enum log_level level, struct buf *line)
{
	int fd = atomic_load(&sink_fd);
	if (fd < 0) {
		syslog(level_syslog[level], "%s", line->data);
		return;
	}
	buf_addc(line, '\n');
	/* One write, so that lines of several threads do not mix.  A log that cannot be
	 * written has nowhere to say so. */
	ssize_t ignored = write(fd, line->data, line->len);
	(void)ignored;
}

/* One too many is dropped. */
static void keep(struct log_held *h, enum log_level level, const char *area,
		 const struct buf *text)
{
	if (h->lines.len + strlen(area) + text->len + 3 > HELD_MAX_BYTES)
		return;
	buf_addc(&h->lines, (char)('0' + level));
	buf_add(&h->lines, area, strlen(area) + 1);
	buf_add(&h->lines, text->data, text->len);
	buf_addc(&h->lines, '\0');
}

void log_line(enum log_level level, const char *area, const char *fmt, ...)
{
	if (!log_enabled(level))
		return;
	int saved = errno;
	CLEANUP_BUF struct buf raw, line;
	buf_init(&raw, LINE_MAX_BYTES);
	buf_init(&line, (size_t)6 * LINE_MAX_BYTES + 256); /* \u001b is six bytes */

	va_list ap;
	va_start(ap, fmt);
	buf_vaddf(&raw, fmt, ap);
	va_end(ap);
	if (buf_error(&raw)) {
		buf_reset(&raw);
		buf_adds(&raw, "(a message too long to show)");
	}
	if (held && level < LOG_LEVEL_DEBUG) {
		keep(held, level, area, &raw);
		errno = saved;
		return;
	}
	if (atomic_load(&format_now) == LOG_FORMAT_JSON)
		make_json(level, area, &raw, &line);
	else
		make_text(level, area, &raw, &line);
	send_line(level, &line);
	if (level <= LOG_LEVEL_WARN)
		keep_last(area, &raw);
	errno = saved;
}

void log_hold(struct log_held *h)
{
	buf_init(&h->lines, HELD_MAX_BYTES);
	held = h;
}

/* A line: *at is its area, and behind that the next. */
static bool next_line(const struct buf *lines, const char **at, enum log_level *ret_level,
		      const char **ret_text)
{
	if (*at >= lines->data + lines->len)
		return false;
	*ret_level = (enum log_level)(*(*at)++ - '0');
	*ret_text = *at + strlen(*at) + 1;
	return true;
}

void log_release(struct log_held *h, bool told)
{
	const char *area = h->lines.data, *text;
	enum log_level level;
	held = NULL;
	for (; next_line(&h->lines, &area, &level, &text); area = text + strlen(text) + 1)
		log_line(told ? level : LOG_LEVEL_DEBUG, area, "%s", text);
	buf_done(&h->lines);
}

const char *log_held_last(const struct log_held *h)
{
	const char *area = h->lines.data, *text, *found = "";
	enum log_level level;
	for (; next_line(&h->lines, &area, &level, &text); area = text + strlen(text) + 1)
		found = text;
	return found;
}
