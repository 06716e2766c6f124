/* mount.c - the verb mount: check everything, fork, build the stack bottom-up, run
 * it, take it down in the opposite order.
 *
 * Everything that can be wrong with the command line, the mount point and the
 * disk is found before the fork; everything that starts threads comes after it.
 * Whoever meets an error logs it, once: nobody above repeats it.
 */
#include "fs/mount.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "backends/backend.h"
#include "backends/source.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "cache/blocks.h"
#include "fs/cachedir.h"
#include "fs/daemon.h"
#include "fs/fs.h"
#include "fs/init.h"
#include "fs/monitor.h"
#include "fs/mountpoint.h"
#include "fs/notify.h"
#include "fs/session.h"
#include "backends/util/banned.h"

#define DEFAULT_MOUNTPOINT "/app/data/mast"

enum {
	IDENTITY_MAX = 16384,
	NAMES_MAX = 12288,
	FUSE_MAJOR = 10, /* Linux' devices.txt */
	FUSE_MINOR = 229,
};

struct mount {
	struct config config;
	struct cachedir cache;
	struct daemon daemon;
	char *mountpoint; /* owned; resolved */
	int log_fd;	  /* -1 = none was named */
	struct room room;
	struct scrape scrape;

	/* in the daemon */
	struct backend *backend;
	struct blocks *blocks;
	struct fs *fs;
	struct session *session;
	struct monitor *monitor;
};

void mount_help(void)
{
	(void)fputs("usage: mastfs mount [-f] [-r] [SOURCE] [MOUNTPOINT] [-o "
		    "OPTION[,...]]...\n"
		    "\n",
		    stdout);
	(void)fputs(source_help, stdout);
	(void)fputs("MOUNTPOINT is " DEFAULT_MOUNTPOINT
		    " if it is not given; that one is "
		    "made\n"
		    "if its parent is there.\n"
		    "\n"
		    "  -f   stay in the foreground, log to stderr; exit status 75: "
		    "ended with\n"
		    "       files that are not uploaded yet\n"
		    "  -r   the same as -o ro\n"
		    "\n"
		    "Options, also as MASTFS_<NAME> in the environment and as 'name = "
		    "value'\n"
		    "in /etc/mastfs.conf and ~/.config/mastfs.conf; -o wins over the\n"
		    "environment, the environment over the files:\n",
		    stdout);
	options_help(stdout);
	(void)fputs("\n", stdout);
	(void)fputs(source_keys_help, stdout);
}

/* One argument alone is the source if it is a URL, else the mount point. */
int mount_choose(struct config *c, const struct command_line *cl)
{
	const char *source = NULL, *mountpoint = NULL;
	if (cl->n_args == 2 || (cl->n_args == 1 && source_is_url(cl->args[0])))
		source = cl->args[0];
	if (cl->n_args == 2)
		mountpoint = cl->args[1];
	else if (cl->n_args == 1 && !source)
		mountpoint = cl->args[0];
	c->mountpoint = strdup(mountpoint ? mountpoint : DEFAULT_MOUNTPOINT);
	return c->mountpoint ? source_choose(&c->store, source) : -ENOMEM;
}

/* The daemon lives in "/": names that it opens later must be absolute. */
int mount_find_ca_file(struct config *c)
{
	if (!c->store.ca_file)
		return 0;
	char *real = realpath(c->store.ca_file, NULL);
	if (!real || access(real, R_OK) < 0) {
		int r = -errno;
		log_error("mount", "ca_file %s: %s", c->store.ca_file, strerror(-r));
		free(real);
		return r;
	}
	free(c->store.ca_file);
	c->store.ca_file = real;
	return 0;
}

static int open_log(struct mount *m)
{
	m->log_fd = -1;
	const char *path = m->config.log_file;
	if (!path)
		return 0;
	m->log_fd =
		open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
	if (m->log_fd < 0) {
		int r = -errno;
		log_error("mount", "open log_file %s: %s", path, strerror(-r));
		return r;
	}
	/* It is opened again from another directory.  What has no path stays. */
	char *real = realpath(path, NULL);
	if (real) {
		free(m->config.log_file);
		m->config.log_file = real;
	}
	return 0;
}

/* fusermount3 refuses it as well, but only when everything is up. */
int mount_check_allow_other(const struct config *c)
{
	if (!c->allow_other || geteuid() == 0)
		return 0;
	FILE *f = fopen("/etc/fuse.conf", "re");
	char line[256];
	bool allowed = false;
	while (f && fgets(line, sizeof line, f)) {
		const char *word = line + strspn(line, " \t");
		allowed |= !strncmp(word, "user_allow_other", 16);
	}
	if (f)
		(void)fclose(f);
	if (allowed)
		return 0;
	log_error("mount",
		  "allow_other: only root may, or anybody once /etc/fuse.conf says "
		  "user_allow_other");
	return -EPERM;
}

int mount_check_fuse(void)
{
	CLEANUP_CLOSE int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	int r = fd < 0 ? -errno : 0;
	struct stat st;
	if (r == 0 &&
	    (fstat(fd, &st) < 0 || st.st_rdev != makedev(FUSE_MAJOR, FUSE_MINOR)))
		r = -ENODEV;
	if (r == -ENOENT || r == -ENODEV || r == -ENXIO)
		log_error("mount",
			  "no /dev/fuse: load the fuse module (modprobe fuse), or "
			  "give the container --device /dev/fuse");
	else if (r < 0)
		log_error("mount", "open /dev/fuse: %s", strerror(-r));
	return r;
}

static int refuse_inside(const char *what, const char *path, const char *whole,
			 const char *other)
{
	log_error("mount", "%s %s and %s %s: one is inside the other", what, path, whole,
		  other);
	return -EINVAL;
}

/* url: a source, or NULL. */
static int check_source_apart(const char *url, const char *mp, const char *cache)
{
	const char *dir = url ? source_directory(url) : NULL;
	CLEANUP_FREE char *source = dir ? realpath(dir, NULL) : NULL;
	if (!source)
		return 0;
	if (path_within(mp, source) || path_within(source, mp))
		return refuse_inside("source", source, "mount point", mp);
	if (!path_within(cache, source))
		return 0;
	log_error("mount", "cache directory %s: inside the source %s", cache, source);
	return -EINVAL;
}

/* A daemon that meets its own mount waits for itself for ever. */
int mount_check_apart(const struct settings *s, const char *mp, const char *cache)
{
	if (path_within(cache, mp) || path_within(mp, cache))
		return refuse_inside("cache directory", cache, "mount point", mp);
	int r = check_source_apart(s->url, mp, cache);
	return r == 0 ? check_source_apart(s->public_url, mp, cache) : r;
}

static int prepare_cache(struct mount *m)
{
	CLEANUP_BUF struct buf identity, path;
	buf_init(&identity, IDENTITY_MAX);
	buf_init(&path, PATH_MAX);
	int r = source_identity(&m->config.store, &identity);
	if (r == 0)
		r = cachedir_plan(&m->config, &path);
	if (r == 0)
		r = mount_check_apart(&m->config.store, m->mountpoint, path.data);
	if (r == 0)
		r = cachedir_open(path.data, &m->cache);
	if (r == 0)
		r = cachedir_lock(&m->cache);
	if (r == 0)
		r = cachedir_enter(&m->cache, identity.data);
	if (r == 0)
		cachedir_log_others(&m->cache);
	return r;
}

/* A volume that comes empty, shared with the application, has no such directory.  Root's
 * own: while nothing is mounted, nobody else's files fall into it. */
static void make_default_mountpoint(const char *path)
{
	if (!strcmp(path, DEFAULT_MOUNTPOINT))
		(void)mkdir(path, 0755); /* what is wrong is seen next, and said */
}

/* Everything that needs no thread, cheapest first. */
static int prepare(struct mount *m)
{
	struct config *c = &m->config;
	log_set_level(c->debug ? LOG_LEVEL_DEBUG : (enum log_level)c->log_level);
	log_set_format((enum log_format)c->log_format);
	int r = mount_find_ca_file(c);
	if (r == 0)
		r = open_log(m);
	if (r == 0)
		r = mount_check_allow_other(c);
	if (r == 0)
		make_default_mountpoint(c->mountpoint);
	if (r == 0)
		r = mountpoint_prepare(c->mountpoint, c->nonempty, &m->mountpoint);
	if (r == 0)
		r = mount_check_fuse();
	if (r == 0)
		r = prepare_cache(m);
	/* A daemon that drains has its port for as long as its cache directory's lock. */
	return r == 0 ? scrape_open(c->metrics, &m->scrape) : r;
}

static int start_backend(struct mount *m)
{
	const struct config *c = &m->config;
	struct backend_conf conf = settings_conf(&c->store);
	conf.read_only = c->read_only;
	conf.ttl_ns = c->ttl_ns;
	conf.wait = !c->require_backend;
	int r = backend_open(&conf, &m->backend);
	return r < 0 ? r : backend_probe(m->backend, !c->read_only, NULL);
}

static int measure(struct mount *m)
{
	struct disk disk;
	int r = disk_measure(m->cache.source, &disk);
	if (r == 0)
		r = room_plan(&m->config, &disk, &m->room);
	if (r < 0)
		log_error("mount", "cache directory %s: %s", m->cache.path,
			  r == -ENOSPC ? "the disk is full, but for what cache_reserve "
					 "keeps free"
				       : strerror(-r));
	return r;
}

static void tell_mounted(const struct mount *m)
{
	const struct room *room = &m->room;
	log_info("mount", "%s is mounted on %s", m->config.store.url, m->mountpoint);
	notify_status("%s on %s", m->config.store.url, m->mountpoint);
	if (room->lowered)
		log_info("mount",
			 "cache directory %s: the disk has less than was asked for: "
			 "cache_size %llu MiB, staging_size %llu MiB, %llu MiB stay free",
			 m->cache.path, (unsigned long long)room->cache_bytes >> 20,
			 (unsigned long long)room->staging_bytes >> 20,
			 (unsigned long long)room->reserve_bytes >> 20);
	if (!m->config.read_only && cachedir_on_overlay(&m->cache))
		log_warn("mount",
			 "cache directory %s: on overlayfs; what is not uploaded yet is "
			 "gone with the container: give it a volume",
			 m->cache.path);
}

static int start_blocks(struct mount *m)
{
	const struct blocks_conf conf = {
		.dir = m->cache.source,
		.max_bytes = m->room.cache_bytes,
		.reserve_bytes = m->room.reserve_bytes,
		.fetchers = m->config.fetchers,
		.array_bytes = m->config.array_bytes,
		.read_timeout_ns = m->config.read_timeout_ns,
		.fill = m->config.fill,
	};
	return blocks_new(&conf, m->backend, &m->blocks);
}

static int start_fs(struct mount *m)
{
	const struct config *c = &m->config;
	const struct fs_conf conf = {
		.cache_dir = m->cache.source,
		.uid = c->uid,
		.gid = c->gid,
		.umask = c->umask,
		.ttl_ns = c->ttl_ns,
		.staging_bytes = m->room.staging_bytes,
		.read_timeout_ns = c->read_timeout_ns,
		.drain_ns = c->drain_ns,
		.local_only = c->local_only,
		.read_only = c->read_only,
		.passthrough = c->passthrough,
		.upload_background = c->upload == UPLOAD_BACKGROUND,
		.uploaders = c->uploaders,
		.threads = c->max_threads,
		.rename_max = c->rename_max,
	};
	return fs_new(&conf, m->backend, m->blocks, &m->fs);
}

static int start_monitor(struct mount *m)
{
	const struct monitor_conf conf = {
		.config = &m->config,
		.mountpoint = m->mountpoint,
		.cache_dir = m->cache.path,
		.fs = m->fs,
		.scrape = m->scrape,
	};
	m->scrape = (struct scrape){.door = -1};
	return monitor_new(&conf, &m->monitor);
}

static int start(struct mount *m)
{
	monitor_listen(&m->config);
	int r = daemon_settle(m->config.debug, m->config.umask);
	if (r == 0)
		r = start_backend(m);
	if (r == 0)
		r = measure(m);
	if (r == 0)
		r = start_blocks(m);
	if (r == 0)
		r = start_fs(m);
	if (r == 0)
		r = session_new(&m->config, m->mountpoint, m->fs, &m->session);
	return r == 0 ? start_monitor(m) : r;
}

static void tell_left(const struct mount *m, uint64_t left)
{
	CLEANUP_BUF struct buf names;
	buf_init(&names, NAMES_MAX);
	fs_name_left(m->fs, &names);
	log_warn("mount",
		 "%s: %llu changes are not in the bucket yet; the next mount of the same "
		 "source with cache directory %s goes on",
		 m->config.store.url, (unsigned long long)left, m->cache.path);
	cachedir_log_left("mount", names.data);
	cachedir_tell_left(&m->cache, left, names.data);
	notify_status("%llu changes are not in the bucket yet; the next start goes on",
		      (unsigned long long)left);
}

/* The loop has ended: nobody uses the mount any more.  What is left to the next one. */
static uint64_t drain(const struct mount *m)
{
	uint64_t drain_s = m->config.drain_ns / NS_PER_S;
	monitor_draining(m->monitor);
	notify_stopping(drain_s);
	notify_status("uploading what is left, for %llu s at most",
		      (unsigned long long)drain_s);
	session_unmount(m->session);
	cachedir_tell(&m->cache, CACHEDIR_DRAINING, drain_s);
	uint64_t left = fs_stop(m->fs, session_hurry());
	if (left)
		tell_left(m, left);
	else
		cachedir_tell(&m->cache, CACHEDIR_ENDED, 0);
	return left;
}

/* The monitor and the session know fs, fs knows blocks and backend. */
static void take_down(struct mount *m)
{
	monitor_free(m->monitor);
	session_free(m->session);
	if (m->fs)
		fs_free(m->fs);
	if (m->blocks)
		blocks_free(m->blocks);
	backend_free(m->backend);
}

static int serve(struct mount *m)
{
	cachedir_tell(&m->cache, CACHEDIR_SERVING, 0);
	int r = start(m);
	uint64_t left = 0;
	if (r == 0) {
		daemon_ready(&m->daemon, m->log_fd);
		monitor_ready(m->monitor);
		tell_mounted(m);
		blocks_warm(m->blocks);
		r = session_loop(m->session);
		left = drain(m);
	}
	take_down(m);
	return r < 0 ? 1 : left ? MOUNT_LEFT : 0;
}

/* A mount that failed leaves nothing behind. */
static void detach_dead(const char *mountpoint)
{
	struct mount_entry e;
	CLEANUP_BUF struct buf why;
	buf_init(&why, IDENTITY_MAX);
	if (mountinfo_find(mountpoint, &e) == 0 && !strcmp(e.type, MASTFS_TYPE) &&
	    mountpoint_probe(mountpoint) == -ENOTCONN)
		(void)mountpoint_unmount(mountpoint, true, &why);
}

static int wait_until_ready(struct mount *m)
{
	/* The lock is the daemon's alone. */
	(void)close(m->cache.lock);
	m->cache.lock = -1;
	int status = daemon_wait(&m->daemon, m->mountpoint, m->config.read_ahead_bytes);
	if (m->daemon.foreground)
		_exit(0); /* nobody's child */
	if (status)
		detach_dead(m->mountpoint);
	return status;
}

static int load_and_run(struct mount *m, const struct command_line *cl)
{
	int r = config_load(&m->config, &cl->items);
	if (r == 0)
		r = mount_choose(&m->config, cl);
	if (r < 0)
		return r == -EINVAL ? 2 : 1;
	/* Whoever waits for the end of a pipe of his must not wait for us. */
	if (cl->foreground)
		notify_take();
	else
		(void)close_range(STDERR_FILENO + 1, UINT_MAX, 0);
	if (prepare(m) < 0 || daemon_split(cl->foreground, &m->daemon) < 0)
		return 1;
	return m->daemon.waits ? wait_until_ready(m) : serve(m);
}

static int run(struct mount *m, const struct command_line *cl)
{
	int status = -1;
	if (cl->foreground && init_split(&status) < 0)
		return 1;
	return status < 0 ? load_and_run(m, cl) : status;
}

int mount_verb(int argc, char **argv)
{
	struct command_line cl;
	struct mount m = {.cache = {.lock = -1}, .scrape = {.door = -1}};
	const struct command_syntax syntax = {.letters = ":o:frh", .args_max = 2};
	int r = command_line_parse(argc, argv, &syntax, &cl);
	int status = 2;
	if (r == 0 && cl.help) {
		mount_help();
		status = 0;
	} else if (r == 0) {
		status = config_init(&m.config) < 0 ? 1 : run(&m, &cl);
		config_done(&m.config);
	}
	free(m.mountpoint);
	scrape_done(&m.scrape);
	cachedir_done(&m.cache);
	buf_done(&cl.items);
	return status;
}
