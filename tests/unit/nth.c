/* nth.c - see nth.h: the sweep over n, a process each. */
#include "tests/unit/nth.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "backends/fault.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

/* SQLite's codes, without its header. */
enum { CODE_NOMEM = 7, CODE_IOERR = 10, CODE_FULL = 13 };
enum { JOBS_MAX = 8, HANGS_AFTER_S = 120, BAD_MAX = 20, SAMPLES = 12 };

struct kind {
	const char *name;
	enum nth_fails what;
	int code;	    /* vfs */
	bool after;	    /* vfs */
	const char *action; /* backend: of fault.h */
};

static const struct kind kinds[] = {
	{"malloc", NTH_MALLOC, 0, false, NULL},
	{"sqlmem", NTH_SQLMEM, 0, false, NULL},
	{"vfs-ioerr", NTH_VFS, CODE_IOERR, false, NULL},
	{"vfs-after", NTH_VFS, CODE_IOERR, true, NULL},
	{"vfs-full", NTH_VFS, CODE_FULL, false, NULL},
	{"vfs-nomem", NTH_VFS, CODE_NOMEM, false, NULL},
	{"backend-before", NTH_BACKEND, 0, false, "before=EIO"},
	{"backend-after", NTH_BACKEND, 0, false, "after=EIO"},
	{"backend-nomem", NTH_BACKEND, 0, false, "after=ENOMEM"},
	{"backend-denied", NTH_BACKEND, 0, false, "before=EACCES"},
};
enum { N_KINDS = sizeof(kinds) / sizeof(*kinds) };

/* What a run tells the parent. */
struct slot {
	_Atomic uint64_t points, hits, errors;
};

static struct {
	/* set before the scenario runs */
	const struct kind *kind;
	uint64_t at; /* UINT64_MAX: none fails */
	bool sticky;
	struct slot *slot;
	/* the scenario's */
	struct backend *fault;
	atomic_bool armed;
} now;

static struct slot *slots; /* shared, JOBS_MAX */
static const char *program, *only;
static uint64_t every; /* 0: a sample */
static uint64_t n_bad;

/* --- for scenarios --- */

bool nth_point(enum nth_fails what)
{
	if (!now.kind || now.kind->what != what || !atomic_load(&now.armed))
		return false;
	uint64_t n = atomic_fetch_add(&now.slot->points, 1) + 1;
	bool fails = n == now.at || (now.sticky && n > now.at);
	if (fails)
		atomic_fetch_add(&now.slot->hits, 1);
	return fails;
}

int nth_vfs_error(bool *ret_after)
{
	*ret_after = now.kind->after;
	return now.kind->code;
}

void nth_arm(void)
{
	atomic_store(&now.armed, true);
}

/* What fault.c counted, while its backend is there. */
static void count_fault(void)
{
	uint64_t n = now.fault ? fault_count(now.fault, "any") : 0;
	if (!now.fault)
		return;
	atomic_store(&now.slot->points, n);
	if (n >= now.at)
		atomic_store(&now.slot->hits, now.sticky ? n - now.at + 1 : 1);
}

void nth_disarm(void)
{
	atomic_store(&now.armed, false);
	count_fault();
	now.fault = NULL;
}

struct backend *nth_backend(struct backend *be)
{
	char script[64] = "";
	if (now.kind->what != NTH_BACKEND)
		return be;
	if (now.at != UINT64_MAX)
		(void)snprintf(script, sizeof(script), "any:%" PRIu64 "%s:%s", now.at,
			       now.sticky ? "+" : "", now.kind->action);
	CHECK_EQ(fault_new(be, script, &now.fault), 0);
	return now.fault;
}

bool nth_was_hit(void)
{
	count_fault();
	return atomic_load(&now.slot->hits) != 0;
}

bool nth_loses_answers(void)
{
	return now.kind->action && !strncmp(now.kind->action, "after", 5);
}

bool nth_is_sticky(void)
{
	return now.sticky;
}

/* What failed, or that something did. */
static bool may_give(int r)
{
	switch (now.kind->what) {
	case NTH_MALLOC: /* or a thread */
		return r == -ENOMEM || r == -EAGAIN;
	case NTH_SQLMEM:
		return r == -ENOMEM || r == -EIO;
	case NTH_VFS:
		return r == -ENOMEM || r == -EIO || r == -ENOSPC;
	default:
		return r == -ENOMEM || r == -EIO || r == -EACCES;
	}
}

int nth_step(int r)
{
	if (r >= 0)
		return r;
	atomic_fetch_add(&now.slot->errors, 1);
	if (!nth_was_hit())
		(void)fprintf(stderr, "fails, and nothing was failed: %s\n",
			      strerror(-r));
	CHECK(nth_was_hit());
	if (!may_give(r))
		(void)fprintf(stderr, "not an error to give back: %s\n", strerror(-r));
	CHECK(may_give(r));
	return r;
}

/* --- one run --- */

struct job {
	pid_t pid; /* 0 = free */
	uint64_t at;
	int out; /* what it wrote */
	struct slot *slot;
};

struct sweep {
	const char *name;
	const struct kind *kind;
	bool sticky;
	void (*scenario)(void);
	uint64_t points, runs, hit, reported, bad;
	struct job jobs[JOBS_MAX];
	size_t n_jobs;
};

static void run_here(const struct sweep *s, uint64_t at, struct slot *slot)
{
	now.kind = s->kind;
	now.at = at;
	now.sticky = s->sticky;
	now.slot = slot;
	*slot = (struct slot){0};
	s->scenario();
	nth_disarm();
}

static void start(struct sweep *s, struct job *job, uint64_t at)
{
	job->at = at;
	job->out = memfd_create("out", MFD_CLOEXEC);
	CHECK(job->out >= 0);
	(void)fflush(NULL);
	job->pid = fork();
	CHECK(job->pid >= 0);
	if (job->pid)
		return;
	(void)dup2(job->out, STDOUT_FILENO);
	(void)dup2(job->out, STDERR_FILENO);
	(void)alarm(HANGS_AFTER_S);
	run_here(s, at, job->slot);
	exit(0); /* the leak detector looks now */
}

static void show_tail(int fd)
{
	char text[6001];
	off_t size = lseek(fd, 0, SEEK_END);
	off_t from = size > 6000 ? size - 6000 : 0;
	ssize_t n = pread(fd, text, sizeof(text) - 1, from);
	(void)fwrite(text, 1, n > 0 ? (size_t)n : 0, stdout);
}

static void report_bad(struct sweep *s, const struct job *job, int status)
{
	s->bad++;
	n_bad++;
	(void)printf("BAD %s %s %s %" PRIu64 ": ", s->name, s->kind->name,
		     s->sticky ? "sticky" : "once", job->at);
	if (WIFSIGNALED(status))
		(void)printf("%s\n", WTERMSIG(status) == SIGALRM
					     ? "hangs"
					     : strsignal(WTERMSIG(status)));
	else
		(void)printf("exit %d\n", WEXITSTATUS(status));
	show_tail(job->out);
	(void)printf("again: MASTFS_NTH=%s:%s:%s:%" PRIu64 " %s\n", s->name,
		     s->kind->name, s->sticky ? "sticky" : "once", job->at, program);
	if (n_bad >= BAD_MAX) {
		(void)printf("that is enough\n");
		exit(1);
	}
}

/* True if a call was failed in it. */
static bool finish(struct sweep *s, struct job *job, int status)
{
	bool hit = atomic_load(&job->slot->hits) != 0;
	s->runs++;
	s->hit += hit;
	s->reported += atomic_load(&job->slot->errors) != 0;
	if (status)
		report_bad(s, job, status);
	(void)close(job->out);
	job->pid = 0;
	return hit;
}

static bool run_alone(struct sweep *s, uint64_t at)
{
	int status;
	struct job *job = &s->jobs[0];
	start(s, job, at);
	CHECK_EQ(waitpid(job->pid, &status, 0), job->pid);
	return finish(s, job, status);
}

/* --- the sweep --- */

static bool wait_one(struct sweep *s)
{
	int status;
	pid_t pid = waitpid(-1, &status, 0);
	for (size_t i = 0; pid > 0 && i < s->n_jobs; i++)
		if (s->jobs[i].pid == pid) {
			(void)finish(s, &s->jobs[i], status);
			return true;
		}
	return false;
}

static struct job *free_job(struct sweep *s)
{
	for (;;) {
		for (size_t i = 0; i < s->n_jobs; i++)
			if (!s->jobs[i].pid)
				return &s->jobs[i];
		CHECK(wait_one(s));
	}
}

static void run_points(struct sweep *s)
{
	uint64_t step = every ? every : s->points / SAMPLES + 1;
	for (uint64_t at = 1 + (step - 1) / 2; at <= s->points; at += step)
		start(s, free_job(s), at);
	while (wait_one(s))
		;
	/* As many as there are: threads run in other orders, so there may be more. */
	for (uint64_t at = s->points + 1; every == 1 && run_alone(s, at); at++)
		;
}

static void sweep_kind(struct sweep *s, uint64_t floor)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	s->n_jobs = cpus < 1 ? 1 : cpus > JOBS_MAX ? JOBS_MAX : (size_t)cpus;
	for (size_t i = 0; i < s->n_jobs; i++)
		s->jobs[i] = (struct job){.slot = &slots[i]};
	if (run_alone(s, UINT64_MAX) || s->bad)
		return;
	s->points = atomic_load(&slots[0].points);
	if (s->points < floor) {
		(void)printf("BAD %s %s: only %" PRIu64 " calls, not %" PRIu64 "\n",
			     s->name, s->kind->name, s->points, floor);
		n_bad++;
	}
	s->runs = s->hit = s->reported = 0;
	run_points(s);
	(void)printf("nth %s %s %s: %" PRIu64 " calls, %" PRIu64 " runs, %" PRIu64
		     " hit, %" PRIu64 " reported, %" PRIu64 " bad\n",
		     s->name, s->kind->name, s->sticky ? "sticky" : "once", s->points,
		     s->runs, s->hit, s->reported, s->bad);
	(void)fflush(stdout);
	/* A sample that hits nothing proves nothing; threads make the last ones rare. */
	if (s->hit * 2 < s->runs) {
		(void)printf("BAD %s %s: most runs failed no call\n", s->name,
			     s->kind->name);
		n_bad++;
	}
}

/* Is this sweep asked for?  *ret_at: its n, or 0: all of them. */
static bool is_wanted(const struct sweep *s, uint64_t *ret_at)
{
	char name[128];
	*ret_at = 0;
	if (!only)
		return true;
	size_t n = (size_t)snprintf(name, sizeof(name), "%s:%s:%s:", s->name,
				    s->kind->name, s->sticky ? "sticky" : "once");
	if (strlen(only) <= n)
		return !strncmp(only, name, strlen(only));
	*ret_at = strtoull(only + n, NULL, 10);
	return !strncmp(only, name, n);
}

void nth_sweep(const char *name, uint32_t which, uint64_t floor, void (*scenario)(void))
{
	for (int i = 0; i < 2 * N_KINDS; i++) {
		struct sweep s = {.name = name,
				  .kind = &kinds[i / 2],
				  .sticky = i % 2,
				  .scenario = scenario};
		uint64_t at;
		if (!(which & 1u << s.kind->what) || !is_wanted(&s, &at))
			continue;
		if (at)
			run_here(&s, at, &slots[0]);
		else
			sweep_kind(&s, floor);
	}
}

void nth_start(int argc, char **argv)
{
	const char *text = getenv("MASTFS_EVERY");
	(void)argc;
	program = argv[0];
	every = text ? strtoull(text, NULL, 10) : 0;
	only = getenv("MASTFS_NTH");
	slots = mmap(NULL, JOBS_MAX * sizeof(*slots), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(slots != MAP_FAILED);
	/* Thousands of caches are made and synced: memory is disk enough for them. */
	if (!getenv("TMPDIR") && !access("/dev/shm", W_OK))
		CHECK(!setenv("TMPDIR", "/dev/shm", 1));
}

int nth_end(void)
{
	return n_bad ? 1 : 0;
}
