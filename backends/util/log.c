/* log.c - see log.h. */
#include "backends/util/log.h"
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <syslog.h>
#include <unistd.h>
#include "backends/util/buf.h"
#include "backends/util/banned.h"

enum { LINE_MAX_BYTES = 8192 };

static _Atomic int level_now = LOG_LEVEL_INFO;
static _Atomic int sink_fd = STDERR_FILENO; /* -1: syslog */

static const char *const level_names[] = {"error", "warning", "info", "debug"};
static const int level_syslog[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};

void log_set_level(enum log_level level)
{
	atomic_store(&level_now, (int)level);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load(&level_now);
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

void log_line(enum log_level level, const char *area, const char *fmt, ...)
{
	if (!log_enabled(level))
		return;
	int saved = errno;
	CLEANUP_BUF struct buf raw, line;
	buf_init(&raw, LINE_MAX_BYTES);
	buf_init(&line, (size_t)4 * LINE_MAX_BYTES + 64);

	va_list ap;
	va_start(ap, fmt);
	buf_vaddf(&raw, fmt, ap);
	va_end(ap);
	if (buf_error(&raw)) {
		buf_reset(&raw);
		buf_adds(&raw, "(a message too long to show)");
	}
	buf_addf(&line, "mastfs: %s: %s: ", level_names[level], area);
	add_escaped(&line, &raw);

	int fd = atomic_load(&sink_fd);
	if (fd < 0) {
		syslog(level_syslog[level], "%s", line.data);
	} else {
		buf_addc(&line, '\n');
		/* One write, so that lines of several threads do not mix.  A log
		 * that cannot be written has nowhere to say so. */
		ssize_t ignored = write(fd, line.data, line.len);
		(void)ignored;
	}
	errno = saved;
}
