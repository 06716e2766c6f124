/* monitor.h - what a running daemon tells of itself, and lets itself be told: by its
 * control socket, by the option metrics, and by signals.
 *
 *   SIGUSR1  debug, and back to the level of the options
 *   SIGHUP   with log_file: open it anew, since it was moved away (logrotate); else it
 *            ends the mount, as libfuse has it: its terminal is gone
 */
#ifndef FS_MONITOR_H
#define FS_MONITOR_H
#include "fs/config.h"
#include "fs/fs.h"
#include "fs/scrape.h"

struct monitor;

/* Borrowed until monitor_free, but for scrape, which is copied and is the monitor's. */
struct monitor_conf {
	const struct config *config;
	const char *mountpoint, *cache_dir;
	struct fs *fs;
	struct scrape scrape;
};

/* From now on these signals end nothing: they are kept until monitor_ready.  Before the
 * session is made, whose SIGHUP would be the end of the mount. */
void monitor_listen(const struct config *c);
/* The mount is there.  A control socket that cannot be made is one warning: the mount
 * serves without. */
int monitor_new(const struct monitor_conf *conf, struct monitor **ret);
/* The log is where the options want it: what was kept is done, and what comes, at once.
 */
void monitor_ready(struct monitor *m);
/* The mount is about to go, uploads go on. */
void monitor_draining(struct monitor *m);
/* NULL is fine. */
void monitor_free(struct monitor *m);
#endif
