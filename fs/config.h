/* config.h - what the user asked for: command line, environment, config files.
 *
 * What is set later wins: default < /etc/mastfs.conf < the user's mastfs.conf <
 * environment < -o.  A file that was named (-o config=, MASTFS_CONFIG) takes the
 * place of the two standard ones and must be readable.
 */
#ifndef FS_CONFIG_H
#define FS_CONFIG_H
#include <stdbool.h>
#include <stdint.h>
#include "backends/settings.h"
#include "backends/util/buf.h"
#include "fs/options.h"

enum upload_when { UPLOAD_CLOSE, UPLOAD_BACKGROUND };

/* Strings are owned by config_done; NULL = not given. */
struct config {
	/* the bucket */
	struct settings store;
	uint32_t fetchers, uploaders, rename_max;

	/* what is seen */
	bool read_only, allow_other, nonempty, require_backend;
	uint32_t uid, gid, umask;
	uint64_t ttl_ns, read_timeout_ns, drain_ns;
	int upload; /* enum upload_when */
	char *local_only;

	/* this disk */
	char *cache_dir;
	struct amount cache_size, cache_reserve, staging_size;
	uint64_t read_ahead_bytes, array_bytes;
	bool fill, passthrough;

	/* the daemon */
	uint32_t max_threads;
	int log_level; /* enum log_level */
	int log_format; /* enum log_format */
	bool debug;
	char *log_file, *metrics, *config;

	/* not options */
	bool cache_reserve_given;
	char *mountpoint; /* as given */
	struct buf flags; /* mount(8) words for the kernel, each with a ',' in front */
};

/* Defaults.  config_done is due whatever is returned. */
int config_init(struct config *c);
void config_done(struct config *c);

/* The items of one -o: "a,b=c\,d".  Collected, not yet applied: the environment
 * and the files come first. */
int config_collect(struct buf *items, const char *text);

/* Files, environment, then the collected items; logs one line for what is wrong.
 * -EINVAL: the user's mistake; else a file that cannot be read. */
int config_load(struct config *c, const struct buf *items);
/* The collected items alone. */
int config_load_items(struct config *c, const struct buf *items);
#endif
