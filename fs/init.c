/* init.c - see init.h. */
#include "fs/init.h"
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum { BY_SIGNAL = 128 }; /* as shells say who was killed */

static const int handed_on[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

static void take_signals(sigset_t *ret)
{
	(void)sigemptyset(ret);
	(void)sigaddset(ret, SIGCHLD);
	for (size_t i = 0; i < sizeof handed_on / sizeof handed_on[0]; i++)
		(void)sigaddset(ret, handed_on[i]);
}

/* All that have died.  Was the daemon among them? */
static bool bury(pid_t daemon, int *ret_status)
{
	int status;
	pid_t pid;
	bool found = false;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != daemon)
			continue;
		*ret_status = status;
		found = true;
	}
	return found;
}

static int wait_for(pid_t daemon, const sigset_t *signals)
{
	int status = 0;
	while (!bury(daemon, &status)) {
		int signal = sigwaitinfo(signals, NULL);
		if (signal > 0 && signal != SIGCHLD)
			(void)kill(daemon, signal);
	}
	if (!WIFSIGNALED(status))
		return WEXITSTATUS(status);
	log_error("mount", "the daemon died: %s", strsignal(WTERMSIG(status)));
	return BY_SIGNAL + WTERMSIG(status);
}

int init_split(int *ret_status)
{
	sigset_t signals, before;
	*ret_status = -1;
	if (getpid() != 1)
		return 0;
	take_signals(&signals);
	(void)sigprocmask(SIG_BLOCK, &signals, &before);
	pid_t pid = fork();
	if (pid < 0) {
		int r = -errno;
		log_error("mount", "fork: %s", strerror(-r));
		return r;
	}
	if (pid == 0) {
		/* A terminal's ^C comes once: from process 1. */
		(void)setpgid(0, 0);
		(void)sigprocmask(SIG_SETMASK, &before, NULL);
		return 0;
	}
	/* Its environment may hold keys. */
	(void)prctl(PR_SET_DUMPABLE, 0);
	*ret_status = wait_for(pid, &signals);
	return 0;
}
