/* daemon.c - see daemon.h. */
#include "fs/daemon.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "fs/mountinfo.h"
#include "fs/notify.h"
#include "backends/util/banned.h"

enum { FILES_MAX = 65536 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 }; /* their leak check traces the process */
#else
enum { SANITIZED = 0 };
#endif

static int refuse(const char *operation)
{
	int r = -errno;
	log_error("mount", "%s: %s", operation, strerror(-r));
	return r;
}

static void take_end(struct daemon *d, const int fds[2])
{
	d->other = fds[d->waits ? 0 : 1];
	(void)close(fds[d->waits ? 1 : 0]);
}

/* The daemon is the child, this process waits for it. */
static int split_background(struct daemon *d, const int fds[2])
{
	pid_t pid = fork();
	if (pid < 0)
		return refuse("fork");
	d->waits = pid > 0;
	d->pid = pid;
	take_end(d, fds);
	return 0;
}

/* The daemon is this process; a grandchild waits, so that it leaves no zombie. */
static int split_foreground(struct daemon *d, const int fds[2])
{
	pid_t pid = fork();
	if (pid < 0)
		return refuse("fork");
	if (pid == 0) {
		pid_t again = fork();
		if (again != 0)
			_exit(again < 0);
		d->waits = true;
	} else {
		int status;
		(void)waitpid(pid, &status, 0);
	}
	take_end(d, fds);
	return 0;
}

int daemon_split(bool foreground, struct daemon *ret)
{
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return refuse("socketpair");
	*ret = (struct daemon){.foreground = foreground, .other = -1};
	int r = foreground ? split_foreground(ret, fds) : split_background(ret, fds);
	if (r < 0) {
		(void)close(fds[0]);
		(void)close(fds[1]);
	}
	return r;
}

/* One descriptor for each file that is open, and for each cache file. */
static void raise_files(void)
{
	struct rlimit rl;
	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return;
	rlim_t wanted = rl.rlim_max < FILES_MAX ? rl.rlim_max : FILES_MAX;
	if (rl.rlim_cur < wanted) {
		rl.rlim_cur = wanted;
		(void)setrlimit(RLIMIT_NOFILE, &rl);
	}
}

int daemon_settle(bool debug, unsigned umask_bits)
{
	/* For what a local bucket is given; what is ours alone says 0600 itself. */
	(void)umask(umask_bits);
	if (chdir("/") < 0)
		return refuse("chdir /");
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	(void)sigaction(SIGPIPE, &ignore, NULL);
	raise_files();
	/* A core holds the keys. */
	if (!debug && !SANITIZED) {
		(void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		(void)prctl(PR_SET_DUMPABLE, 0);
	}
	return 0;
}

/* Only now: an automounter that waits for this mount lets in its own process group. */
static void leave_terminal(void)
{
	(void)setsid(); /* fails for a group's leader, and we were forked */
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		(void)dup2(null, fd);
	if (null > STDERR_FILENO)
		(void)close(null);
}

void daemon_ready(struct daemon *d, int log_fd)
{
	if (log_fd >= 0)
		log_use_file(log_fd);
	else if (!d->foreground)
		log_use_syslog();
	if (!d->foreground)
		leave_terminal();
	/* Nobody may wait any more: then there is nobody to tell. */
	(void)send(d->other, "r", 1, MSG_NOSIGNAL);
	if (d->foreground)
		notify_ready_when(d->other);
	else
		(void)close(d->other);
	d->other = -1;
}

/* The kernel's 128 KiB are too few for a store that is milliseconds away.  Only
 * root may, and after INIT, which sets it. */
static void raise_read_ahead(const char *mountpoint, uint64_t bytes)
{
	struct mount_entry e;
	char path[96];
	if (geteuid() != 0 || !bytes || mountinfo_find(mountpoint, &e) < 0)
		return;
	(void)snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", e.major,
		       e.minor);
	CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || dprintf(fd, "%llu", (unsigned long long)(bytes / 1024)) < 0)
		log_debug("mount", "%s: %s", path, strerror(errno));
}

/* The daemon has said why it failed, unless it was killed. */
static int status_of_daemon(const struct daemon *d)
{
	int status;
	if (!d->pid)
		return 1;
	if (waitpid(d->pid, &status, 0) < 0)
		return 1;
	if (WIFSIGNALED(status))
		log_error("mount", "the daemon died before the mount was ready: %s",
			  strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) == 0)
		log_error("mount", "the daemon ended before the mount was ready");
	return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1;
}

int daemon_wait(struct daemon *d, const char *mountpoint, uint64_t read_ahead_bytes)
{
	CLEANUP_CLOSE int other = d->other;
	char byte;
	ssize_t n;
	do {
		n = read(other, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n != 1)
		return status_of_daemon(d);
	struct stat st;
	if (stat(mountpoint, &st) < 0) {
		if (d->foreground)
			return 1;
		log_error("mount",
			  "mount point %s: mounted, but does not answer: %s; see "
			  "the log",
			  mountpoint, strerror(errno));
		return 1;
	}
	raise_read_ahead(mountpoint, read_ahead_bytes);
	/* In the background nobody listens any more: our end tells. */
	(void)send(other, "r", 1, MSG_NOSIGNAL);
	return 0;
}
