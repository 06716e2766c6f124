/* notify.h - tell the service manager that started us how we stand.
 *
 * systemd's readiness protocol (sd_notify(3)), which other managers speak as well: lines
 * of NAME=value in a datagram to the Unix socket that NOTIFY_SOCKET names, '@' in front
 * of an abstract one.  Only the process that the manager started is believed
 * (NotifyAccess=main), so only a daemon in the foreground speaks.  Without the variable
 * every call does nothing.
 *
 * There is no watchdog: a mount whose threads all wait for a network that is down (P8)
 * could not be told from one that hangs, and would be killed for it.
 */
#ifndef FS_NOTIFY_H
#define FS_NOTIFY_H
#include <stdint.h>

/* Takes NOTIFY_SOCKET out of the environment: the commands that we start are not the
 * service.  Before any thread. */
void notify_take(void);

/* What the manager shows of the service. */
void notify_status(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* fd (owned): ready once a byte comes from it, and never if it ends without. */
void notify_ready_when(int fd);
/* What goes on now, start or end, takes up to that long. */
void notify_extend(uint64_t seconds);
/* It ends, which takes up to that long. */
void notify_stopping(uint64_t seconds);
#endif
