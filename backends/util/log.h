/* log.h - one line per event, for the person who runs the mount.
 *
 *   error: something was lost or the user must act     warn: it may come to that
 *   info: a few lines a day                            debug: one line a request
 *
 * Lines go to stderr, or to syslog once log_use_syslog() was called.  Control
 * bytes in operands are shown escaped, because keys come from outside (a key may
 * hold a terminal's escape sequence).  Never log a credential, a signed query
 * string or an object's content.
 */
#ifndef BACKENDS_UTIL_LOG_H
#define BACKENDS_UTIL_LOG_H
#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
/* From now on lines go to syslog(3): a daemon has no stderr. */
void log_use_syslog(void);
/* From now on lines go to this descriptor (owned by the log from here on). */
void log_use_fd(int fd);

/* area: "http", "s3", "cache", "journal", "fuse", "mount", ... */
void log_line(enum log_level level, const char *area, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(area, ...) log_line(LOG_LEVEL_ERROR, area, __VA_ARGS__)
#define log_warn(area, ...)  log_line(LOG_LEVEL_WARN, area, __VA_ARGS__)
#define log_info(area, ...)  log_line(LOG_LEVEL_INFO, area, __VA_ARGS__)
#define log_debug(area, ...)                                          \
	do {                                                          \
		if (log_enabled(LOG_LEVEL_DEBUG))                     \
			log_line(LOG_LEVEL_DEBUG, area, __VA_ARGS__); \
	} while (0)
#endif
