/* test_control.c - the socket by which a daemon is asked. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "fs/control.h"
#include "fs/rundir.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include "backends/util/banned.h"

static struct scratch scratch = {.dir = "/tmp/mastfs-test-XXXXXX"};
/* A device that no mount has. */
static struct mount_entry mount = {.major = 4095};

static int echo(void *arg, const char *question, struct buf *ret)
{
	(void)arg;
	if (!strcmp(question, "unknown"))
		return -EOPNOTSUPP;
	if (!strcmp(question, "long"))
		for (int i = 0; i < SERVER_ANSWER_MAX - 100; i++)
			buf_addc(ret, 'x');
	buf_addf(ret, "you said %s", question);
	return 0;
}

/* A daemon, as far as it can be asked. */
struct asked {
	struct control *control;
	struct server *server;
};

static struct asked start(void)
{
	struct asked a;
	const struct control_conf conf = {.mount = mount, .answer = echo};
	struct server_conf sc = {.n_doors = 1};
	CHECK_EQ(control_new(&conf, &a.control, &sc.doors[0]), 0);
	CHECK_EQ(server_new(&sc, &a.server), 0);
	return a;
}

static void stop(struct asked a)
{
	server_free(a.server);
	control_free(a.control);
}

/* Is another one refused the name? */
static void no_second(void)
{
	struct control *c;
	struct server_door door;
	const struct control_conf conf = {.mount = mount, .answer = echo};
	CHECK_EQ(control_new(&conf, &c, &door), -EADDRINUSE);
}

/* 0, or what control_ask said. */
static int ask(const char *question, const char *want)
{
	CLEANUP_BUF struct buf answer;
	buf_init(&answer, SERVER_ANSWER_MAX);
	int r = control_ask(&mount, geteuid(), question, &answer);
	if (r == 0 && want)
		CHECK_STR(answer.data, want);
	return r;
}

/* The directory that control_new takes first, and the socket's name in it. */
static int place(char name[RUNDIR_NAME_SIZE])
{
	CLEANUP_BUF struct buf path;
	buf_init(&path, PATH_MAX);
	CHECK(rundir_path(geteuid(), 0, &path));
	int dir = rundir_open(path.data, geteuid(), true);
	CHECK(dir >= 0);
	rundir_name(&mount, name);
	return dir;
}

static void connect_address(struct sockaddr_un *ret, int *ret_dir)
{
	char name[RUNDIR_NAME_SIZE];
	*ret_dir = place(name);
	rundir_address(*ret_dir, name, ret);
}

static int connected(void)
{
	struct sockaddr_un address;
	int dir;
	connect_address(&address, &dir);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK_EQ(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
	(void)close(dir);
	return fd;
}

/* Somebody else's socket under our name.  Listening, if backlog > 0. */
static int occupy(int backlog)
{
	struct sockaddr_un address;
	int dir;
	connect_address(&address, &dir);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK_EQ(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
	CHECK(!backlog || listen(fd, backlog) == 0);
	(void)close(dir);
	return fd;
}

static bool is_there(void)
{
	struct stat st;
	char name[RUNDIR_NAME_SIZE];
	CLEANUP_CLOSE int dir = place(name);
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void remove_name_of(const char *name)
{
	char here[RUNDIR_NAME_SIZE];
	CLEANUP_CLOSE int dir = place(here);
	CHECK_EQ(unlinkat(dir, name, 0), 0);
}

static void remove_name(void)
{
	char name[RUNDIR_NAME_SIZE];
	(void)close(place(name));
	remove_name_of(name);
}

static void control__answers_whoever_may_ask(void)
{
	CHECK_EQ(ask("hello", NULL), -ENOENT);
	struct asked a = start();
	CHECK_EQ(ask("hello there", "you said hello there"), 0);
	CHECK_EQ(ask("unknown", NULL), -EOPNOTSUPP);
	CHECK_EQ(ask("long", NULL), 0);
	stop(a);
	CHECK_EQ(ask("hello", NULL), -ENOENT);
}

static void control__is_for_its_user_alone(void)
{
	struct asked a = start();
	struct stat st;
	char name[RUNDIR_NAME_SIZE];
	CLEANUP_CLOSE int dir = place(name);
	CHECK_EQ(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	CHECK_EQ(st.st_mode & 07777, 0600);
	CHECK_EQ(fstat(dir, &st), 0);
	CHECK_EQ(st.st_mode & 07777, 0700);
	stop(a);
}

/* In a child that has root's powers, so that no mode keeps it from the socket, and
 * another name: only who it is stands against it. */
static void control__refuses_another_user(void)
{
	if (geteuid() != 0)
		return;
	struct asked a = start();
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		char byte;
		CHECK_EQ(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0), 0);
		struct sockaddr_un address;
		int dir, fd = socket(AF_UNIX, SOCK_STREAM, 0);
		connect_address(&address, &dir);
		CHECK_EQ(setresuid(4711, 4711, 4711), 0);
		CHECK_EQ(connect(fd, (const struct sockaddr *)&address, sizeof address),
			 0);
		(void)send(fd, "hello\n", 6, MSG_NOSIGNAL);
		CHECK(recv(fd, &byte, 1, 0) <= 0);
		_exit(0);
	}
	int status;
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK_EQ(ask("hello", "you said hello"), 0);
	stop(a);
}

static void control__takes_the_place_of_a_dead_daemon_only(void)
{
	(void)close(occupy(0));
	CHECK_EQ(ask("hello", NULL), -ECONNREFUSED);
	struct asked a = start();
	CHECK_EQ(ask("hello", "you said hello"), 0);

	no_second();
	CHECK_EQ(ask("hello", "you said hello"), 0);
	stop(a);
	CHECK(!is_there());

	/* A file is no socket of ours, whatever its name is. */
	char name[RUNDIR_NAME_SIZE];
	CLEANUP_CLOSE int dir = place(name);
	CLEANUP_CLOSE int file = openat(dir, name, O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	CHECK(file >= 0);
	no_second();
	CHECK(is_there());
	remove_name();
}

static void rename_it(const char *as)
{
	char name[RUNDIR_NAME_SIZE];
	CLEANUP_CLOSE int dir = place(name);
	CHECK_EQ(renameat(dir, name, dir, as), 0);
}

static bool has(const char *name)
{
	char here[RUNDIR_NAME_SIZE];
	CLEANUP_CLOSE int dir = place(here);
	return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A daemon that was killed left its socket, another one lives, and one is about to. */
static void control__clears_away_what_the_dead_have_left(void)
{
	char dead[RUNDIR_NAME_SIZE], living[RUNDIR_NAME_SIZE], coming[RUNDIR_NAME_SIZE];
	rundir_draining_name(getpid(), dead);
	(void)snprintf(living, sizeof living, "4095:%d-x", getpid());
	rundir_new_name(getpid() + 1, coming);
	(void)close(occupy(0));
	rename_it(dead);
	CLEANUP_CLOSE int listening = occupy(8);
	rename_it(living);
	CLEANUP_CLOSE int bound = occupy(0);
	rename_it(coming);
	struct asked a = start();
	CHECK(!has(dead));
	CHECK(has(living));
	CHECK(has(coming));
	stop(a);
	remove_name_of(living);
	remove_name_of(coming);
}

static void control__removes_no_name_but_its_own(void)
{
	struct asked a = start();
	remove_name();
	CLEANUP_CLOSE int other = occupy(1);
	stop(a);
	CHECK(is_there());
	remove_name();
}

static void note_draining(void *arg, const char *name, int r, struct buf *answer)
{
	char want[RUNDIR_NAME_SIZE];
	rundir_draining_name(getpid(), want);
	if (strcmp(name, want) != 0)
		return;
	CHECK_EQ(r, 0);
	CHECK_STR(answer->data, "you said hello");
	*(bool *)arg = true;
}

static void control__makes_its_name_free_when_it_drains(void)
{
	bool found = false;
	struct asked a = start();
	control_draining(a.control);
	CHECK(!is_there());
	struct asked next = start();
	control_ask_all("hello", note_draining, &found);
	CHECK(found);
	stop(a);
	CHECK_EQ(ask("hello", "you said hello"), 0);
	stop(next);
}

static void send_text(int fd, const char *text, size_t n)
{
	(void)send(fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Each of them keeps a place as long as it may, and there are more than places. */
static void control__is_not_disturbed_by_bad_clients(void)
{
	static const char garbage[2 * SERVER_QUESTION_MAX] = {'x', '\0', 'y'};
	int fds[3 * SERVER_CLIENTS_MAX];
	struct asked a = start();
	for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
		fds[i] = connected();
		if (i % 4 == 1)
			send_text(fds[i], "half a que", 10);
		else if (i % 4 == 2)
			send_text(fds[i], garbage, sizeof garbage);
		else if (i % 4 == 3) /* whose answer it never reads */
			send_text(fds[i], "long\n", 5);
		CHECK_EQ(ask("hello", "you said hello"), 0);
	}
	for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
		(void)close(fds[i]);
	CHECK_EQ(ask("hello", "you said hello"), 0);
	stop(a);
}

static bool was_dropped(int fd)
{
	char byte;
	return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static void control__drops_who_has_waited_longest(void)
{
	enum { MORE = 2 };
	int fds[SERVER_CLIENTS_MAX + MORE];
	struct asked a = start();
	for (int i = 0; i < SERVER_CLIENTS_MAX + MORE; i++)
		fds[i] = connected();
	CHECK_EQ(ask("hello", "you said hello"), 0); /* all were accepted, and this one */
	for (int i = 0; i < SERVER_CLIENTS_MAX + MORE; i++) {
		CHECK_EQ(was_dropped(fds[i]), i <= MORE);
		(void)close(fds[i]);
	}
	stop(a);
}

static void control__lets_nobody_stay(void)
{
	char byte;
	struct asked a = start();
	CLEANUP_CLOSE int fd = connected();
	uint64_t start_ns = clock_now_ns();
	CHECK_EQ(recv(fd, &byte, 1, 0), 0);
	CHECK(clock_now_ns() - start_ns >= (SERVER_CLIENT_MS - 100) * NS_PER_MS);
	stop(a);
}

/* sun_path has 108 bytes. */
static void rundir__has_addresses_in_long_paths(void)
{
	CLEANUP_BUF struct buf path;
	buf_init(&path, PATH_MAX);
	buf_adds(&path, scratch.dir);
	for (int i = 0; i < 8; i++) {
		buf_adds(&path, "/a-directory-with-a-long-name");
		CHECK_EQ(mkdir(path.data, 0700), 0);
	}
	CLEANUP_CLOSE int dir = rundir_open(path.data, geteuid(), false);
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	CHECK(dir >= 0);
	rundir_address(dir, "0:57", &address);
	CHECK_EQ(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
	CHECK_EQ(faccessat(dir, "0:57", F_OK, AT_SYMLINK_NOFOLLOW), 0);
}

static void rundir__trusts_no_directory_of_others(void)
{
	CHECK_EQ(rundir_open(scratch.dir, geteuid() + 1, false), -EPERM);
	CHECK_EQ(chmod(scratch.dir, 0770), 0);
	CHECK_EQ(rundir_open(scratch.dir, geteuid(), false), -EPERM);
	CHECK_EQ(chmod(scratch.dir, 0700), 0);
}

int main(void)
{
	CHECK(mkdtemp(scratch.dir));
	(void)setenv("XDG_RUNTIME_DIR", scratch.dir, 1);
	mount.minor = (unsigned)getpid();
	RUN(control__answers_whoever_may_ask);
	RUN(control__is_for_its_user_alone);
	RUN(control__refuses_another_user);
	RUN(control__takes_the_place_of_a_dead_daemon_only);
	RUN(control__clears_away_what_the_dead_have_left);
	RUN(control__removes_no_name_but_its_own);
	RUN(control__makes_its_name_free_when_it_drains);
	RUN(control__is_not_disturbed_by_bad_clients);
	RUN(control__drops_who_has_waited_longest);
	RUN(control__lets_nobody_stay);
	RUN(rundir__has_addresses_in_long_paths);
	RUN(rundir__trusts_no_directory_of_others);
	scratch_done(&scratch);
	return 0;
}
