/* session.c - see session.h. */
#include "fs/session.h"
#include <errno.h>
#include <signal.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <fuse_lowlevel.h>
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "fs/mountpoint.h"
#include "backends/util/banned.h"

enum { OPTIONS_MAX = 65536, SAID_MAX = 1024 };

struct session {
	struct fuse_session *fuse; /* owned */
	struct fs *fs;		   /* borrowed */
	const char *mountpoint;	   /* borrowed */
	uint32_t max_threads;
	bool hangs_up; /* SIGHUP ends it; else it is another's (monitor.h) */
	bool mounted;
	bool exits; /* at a signal, by libfuse's handlers */
};

/* libfuse and fusermount3 write to stderr.  What they say while mounting is kept
 * apart, so that a failure is one line and not three. */
struct capture {
	int memory, stderr_fd;
};

static void capture_begin(struct capture *c)
{
	c->stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	c->memory = memfd_create("stderr", MFD_CLOEXEC);
	if (c->stderr_fd >= 0 && c->memory >= 0)
		(void)dup2(c->memory, STDERR_FILENO);
}

static void capture_end(struct capture *c, struct buf *said)
{
	char text[SAID_MAX];
	if (c->stderr_fd >= 0)
		(void)dup2(c->stderr_fd, STDERR_FILENO);
	ssize_t n = c->memory < 0 ? -1 : pread(c->memory, text, sizeof text, 0);
	if (n > 0)
		buf_add(said, text, (size_t)n);
	cleanup_close_(&c->memory);
	cleanup_close_(&c->stderr_fd);
}

__attribute__((format(printf, 2, 0))) static void to_log(enum fuse_log_level level,
							 const char *fmt, va_list ap)
{
	CLEANUP_BUF struct buf line;
	buf_init(&line, SAID_MAX);
	buf_vaddf(&line, fmt, ap);
	if (line.len && line.data[line.len - 1] == '\n')
		line.data[line.len - 1] = '\0';
	log_line(level <= FUSE_LOG_ERR	     ? LOG_LEVEL_ERROR
		 : level == FUSE_LOG_WARNING ? LOG_LEVEL_WARN
					     : LOG_LEVEL_DEBUG,
		 "fuse", "%s", line.data);
}

/* libfuse parses options at ',' and '\'. */
static void add_escaped(struct buf *b, const char *s)
{
	for (; *s; s++) {
		if (*s == ',' || *s == '\\')
			buf_addc(b, '\\');
		buf_addc(b, *s);
	}
}

/* The modes decide who may do what (default_permissions): without it libfuse
 * would ask us, and the first answer would be reused for other users. */
static void add_options(struct buf *b, const struct config *c)
{
	buf_adds(b, "-osubtype=mastfs,nosuid,nodev,default_permissions,fsname=");
	add_escaped(b, c->store.url);
	if (c->allow_other)
		buf_adds(b, ",allow_other");
	if (c->read_only)
		buf_adds(b, ",ro");
	buf_add(b, c->flags.data, c->flags.len);
}

static int new_fuse(const struct config *c, struct fs *fs, struct fuse_session **ret)
{
	CLEANUP_BUF struct buf text;
	buf_init(&text, OPTIONS_MAX);
	add_options(&text, c);
	if (buf_error(&text))
		return buf_error(&text);
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	int failed =
		fuse_opt_add_arg(&args, "mastfs") || fuse_opt_add_arg(&args, text.data);
	if (!failed)
		*ret = fuse_session_new(&args, &fs_ops, sizeof fs_ops, fs);
	fuse_opt_free_args(&args);
	return failed ? -ENOMEM : *ret ? 0 : -EINVAL;
}

/* The last line is fusermount3's; a line of libfuse's before it says less. */
static const char *last_line(struct buf *said)
{
	while (said->len && said->data[said->len - 1] == '\n')
		said->data[--said->len] = '\0';
	const char *newline = strrchr(said->data, '\n');
	return newline ? newline + 1 : said->data;
}

static void explain(const char *mountpoint, struct buf *said)
{
	const char *line = last_line(said);
	const char *hint = "";
	/* Root's own call was refused; where there is a fusermount3, so was that. */
	if (geteuid() == 0 && strstr(line, "fusermount3 failed"))
		line = "Operation not permitted";
	if (strstr(line, "user_allow_other"))
		hint = " (or mount without allow_other)";
	else if (strstr(line, "Operation not permitted"))
		hint = " (a container needs --cap-add SYS_ADMIN)";
	else if (geteuid() == 0 && strstr(line, "Permission denied"))
		hint = " (on a host with AppArmor a container needs --security-opt "
		       "apparmor:unconfined)";
	log_error("mount", "mount on %s: %s%s", mountpoint, *line ? line : "failed",
		  hint);
}

static int mount_quietly(struct session *s, const char *mountpoint)
{
	struct capture capture;
	CLEANUP_BUF struct buf said;
	buf_init(&said, SAID_MAX);
	capture_begin(&capture);
	int failed = fuse_session_mount(s->fuse, mountpoint);
	capture_end(&capture, &said);
	if (!failed) {
		/* Lines of our own threads fell in between. */
		ssize_t ignored = write(STDERR_FILENO, said.data, said.len);
		(void)ignored;
		s->mounted = true;
		return 0;
	}
	explain(mountpoint, &said);
	return -EPERM;
}

int session_new(const struct config *c, const char *mountpoint, struct fs *fs,
		struct session **ret)
{
	struct session *s = calloc(1, sizeof *s);
	if (!s)
		return -ENOMEM;
	s->max_threads = c->max_threads;
	s->hangs_up = !c->log_file;
	s->fs = fs;
	s->mountpoint = mountpoint;
	int r = new_fuse(c, fs, &s->fuse);
	/* Before there is a mount: a signal would leave it to nobody.  It ends the loop
	 * at its start. */
	if (r == 0 && fuse_set_signal_handlers(s->fuse) < 0)
		r = -EINVAL;
	s->exits = r == 0;
	if (r == 0)
		r = mount_quietly(s, mountpoint);
	else
		log_error("mount", "start a FUSE session: %s", strerror(-r));
	if (r == 0 && (r = fs_attach(fs, s->fuse, mountpoint)) < 0)
		log_error("mount", "use the FUSE session: %s", strerror(-r));
	if (r < 0) {
		session_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

/* A signal handler has nothing else to reach. */
static atomic_bool hurry;

const atomic_bool *session_hurry(void)
{
	return &hurry;
}

static void on_signal(int signal)
{
	(void)signal;
	atomic_store(&hurry, true);
}

static void leave_signals(struct session *s)
{
	if (!s->exits)
		return;
	s->exits = false;
	fuse_remove_signal_handlers(s->fuse);
	/* As daemon.c has left it. */
	(void)sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
}

/* From libfuse's handlers to ours, without a moment in which a signal kills. */
static void take_signals(struct session *s)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
	struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
		if (s->hangs_up || signals[i] != SIGHUP)
			(void)sigaction(signals[i], &act, NULL);
	leave_signals(s);
}

/* The kernel says so.  Another may be mounted there by now. */
static bool is_unmounted(const struct session *s)
{
	struct pollfd p = {.fd = fuse_session_fd(s->fuse)};
	return poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
}

int session_loop(struct session *s)
{
	fuse_set_log_func(to_log);
	struct fuse_loop_config *loop = fuse_loop_cfg_create();
	if (!loop)
		return -ENOMEM;
	/* Threads stay: starting one costs more than keeping it. */
	fuse_loop_cfg_set_max_threads(loop, s->max_threads);
	fuse_loop_cfg_set_clone_fd(loop, 0);
	int r = fuse_session_loop_mt(s->fuse, loop);
	fuse_loop_cfg_destroy(loop);
	take_signals(s);
	/* The end of the mount is ENODEV, which libfuse takes for a good one; or this, if
	 * it came while a request was being read (fuse_dev_do_read). */
	if (r == -ECONNABORTED && is_unmounted(s))
		r = 0;
	/* > 0: the signal that ended it. */
	if (r < 0)
		log_error("fuse", "answer the kernel: %s", strerror(-r));
	return r < 0 ? r : 0;
}

/* Whoever still has files open there is told at once that nobody answers.  The number
 * stays taken: a thread that still answers a request (a RELEASE waits for nobody) would
 * write to whatever gets it next. */
static void hang_up(const struct session *s)
{
	CLEANUP_CLOSE int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0)
		(void)dup3(null, fuse_session_fd(s->fuse), O_CLOEXEC);
}

/* What fuse_session_unmount does, but for the descriptor. */
static void unmount(const struct session *s)
{
	bool gone = is_unmounted(s);
	CLEANUP_BUF struct buf why;
	buf_init(&why, SAID_MAX);
	hang_up(s);
	if (!gone && mountpoint_unmount(s->mountpoint, true, &why) < 0)
		log_error("mount", "unmount %s: %s", s->mountpoint, why.data);
}

void session_unmount(struct session *s)
{
	if (s->mounted) {
		fs_detach(s->fs);
		unmount(s);
	}
	s->mounted = false;
}

/* libfuse gives its memory of the mount back in fuse_session_unmount only, which detaches
 * what is mounted there, by now perhaps another, unless the descriptor is in error: its
 * own mount is gone then.  A pipe that nobody reads is. */
static void forget_mount(struct fuse_session *se)
{
	int ends[2];
	if (fuse_session_fd(se) < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return;
	(void)close(ends[0]);
	if (dup3(ends[1], fuse_session_fd(se), O_CLOEXEC) >= 0)
		fuse_session_unmount(se);
	(void)close(ends[1]);
}

void session_free(struct session *s)
{
	if (!s)
		return;
	session_unmount(s);
	leave_signals(s);
	if (s->fuse) {
		forget_mount(s->fuse);
		fuse_session_destroy(s->fuse);
	}
	free(s);
}
