/* log.h - one line per event, for the person who runs the mount.
 *
 *   error: something was lost or the user must act     warn: it may come to that
 *   info: a few lines a day                            debug: one line a request
 *
 * Lines go to stderr until a daemon says otherwise, as text or as one JSON object each:
 *
 *   mastfs: warning: upload: a.fits is not in the bucket yet ...
 *   {"time":"2026-11-26T20:15:07.123Z","level":"warn","area":"upload","message":"..."}
 *
 * Text has the time in front in a file only: who collects stderr or syslog (a service
 * manager, a container engine) stamps each line itself.  Control bytes in operands are
 * shown escaped, because keys come from outside (a key may hold a terminal's escape
 * sequence); JSON is valid UTF-8 whatever a key holds.  Never log a credential, a signed
 * query string or an object's content.
 */
#ifndef BACKENDS_UTIL_LOG_H
#define BACKENDS_UTIL_LOG_H
#include <stdbool.h>
#include <stdint.h>
#include "backends/util/buf.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* May be called at any time. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* "error", "warn", "info", "debug". */
const char *log_level_name(enum log_level level);
/* The level of that name, or -EINVAL. */
int log_level_find(const char *name);
bool log_enabled(enum log_level level);
/* From now on lines go to syslog(3): a daemon has no stderr. */
void log_use_syslog(void);
/* From now on lines go to this descriptor (owned by the log from here on). */
void log_use_fd(int fd);
/* The same of a file: lines have the time in front. */
void log_use_file(int fd);
/* To this one in its place, which it takes over: the other was moved away.  -EBADF:
 * there was none. */
int log_swap_file(int fd);

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };
void log_set_format(enum log_format format);

/* The last error or warning, for whoever asks how the mount is. */
struct log_last {
	char text[512];	      /* "area: message", escaped; cut if longer */
	uint64_t happened_ns; /* of clock_now_ns; 0 = there was none */
};
void log_get_last(struct log_last *ret);

/* area: "http", "s3", "cache", "journal", "fuse", "mount", ... */
void log_line(enum log_level level, const char *area, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Lines of the calling thread, but for debug ones, kept back until it is known whether
 * they are news: from log_hold to log_release, one at a time.  told: they are logged
 * then, else they count as debug lines. */
struct log_held {
	struct buf lines; /* of each: level, area, NUL, text, NUL */
};
void log_hold(struct log_held *h);
void log_release(struct log_held *h, bool told);
/* The last text that was kept, borrowed until then; "" = none. */
const char *log_held_last(const struct log_held *h);

#define log_error(area, ...) log_line(LOG_LEVEL_ERROR, area, __VA_ARGS__)
#define log_warn(area, ...)  log_line(LOG_LEVEL_WARN, area, __VA_ARGS__)
#define log_info(area, ...)  log_line(LOG_LEVEL_INFO, area, __VA_ARGS__)
#define log_debug(area, ...)                                          \
	do {                                                          \
		if (log_enabled(LOG_LEVEL_DEBUG))                     \
			log_line(LOG_LEVEL_DEBUG, area, __VA_ARGS__); \
	} while (0)
#endif
