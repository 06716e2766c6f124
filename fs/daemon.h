/* daemon.h - one process serves, another waits until the mount answers.
 *
 * Forked before any thread is started or library opened, since neither survives a
 * fork.  The one that waits asks the mount itself, from outside: a thread of the
 * daemon that waits for its own mount could not be killed.
 */
#ifndef FS_DAEMON_H
#define FS_DAEMON_H
#include <stdbool.h>
#include <stdint.h>

struct daemon {
	bool foreground;
	bool waits; /* this process is the one that waits */
	int pid;    /* of the daemon, as its waiter sees it; 0 = not its child */
	int other;  /* fd; a socket to the other of the two */
};

/* After 0 there are two processes, told apart by ret->waits; in the foreground
 * this one serves, else it waits.  Logs. */
int daemon_split(bool foreground, struct daemon *ret);
/* What a process that runs for months must set up: files, core. */
int daemon_settle(bool debug, unsigned umask_bits);
/* The mount is there, its loop about to run: tell the waiter, let go of the
 * terminal; a service manager is told once the mount has answered.  log_fd: the log goes
 * there, -1 = to syslog (owned). */
void daemon_ready(struct daemon *d, int log_fd);
/* In the waiter: until the mount answers or the daemon ends.  The exit status. */
int daemon_wait(struct daemon *d, const char *mountpoint, uint64_t read_ahead_bytes);
#endif
