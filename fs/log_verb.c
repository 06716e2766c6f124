/* log_verb.c - the verb log: how much a running daemon logs, said or set. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/utf8.h"
#include "fs/mount.h"
#include "fs/mounts.h"
#include "backends/util/banned.h"

void log_help(void)
{
	(void)fputs("usage: mastfs log [error|warn|info|debug] [MOUNTPOINT]\n"
		    "\n"
		    "Says how much the mount's daemon logs, or sets it until it ends;\n"
		    "without MOUNTPOINT of all that are seen from here.  SIGUSR1 sent to "
		    "the\n"
		    "daemon goes to debug and, sent once more, back to the option "
		    "log_level.\n"
		    "Exit status: 0, 1 a daemon could not be asked, 2 wrong usage, 3 not "
		    "mounted.\n",
		    stdout);
}

static int ask(const struct mounted *m, const char *level)
{
	CLEANUP_BUF struct buf question, answer;
	buf_init(&question, 64);
	buf_init(&answer, 64);
	buf_addf(&question, "log%s%s", level ? " " : "", level ? level : "");
	int seen, r = mounts_ask(m, question.data, &answer, &seen);
	if (r < 0) {
		log_error("log", "%s: %s", m->path, mounts_why(r));
		return 1;
	}
	CLEANUP_BUF struct buf line;
	buf_init(&line, 1 << 16);
	utf8_show(&line, m->path, strlen(m->path));
	buf_adds(&line, ": ");
	utf8_show(&line, answer.data, answer.len); /* by whoever made the mount */
	(void)printf("%s\n", line.data);
	return 0;
}

static int run(const char *level, const char *path)
{
	CLEANUP(mounts_done) struct mounts mounts;
	int r = mounts_find(path, &mounts), status = 0;
	if (r < 0 || !mounts.n) {
		log_error("log", "%s: %s", path ? path : "the mount table",
			  r < 0 ? strerror(-r) : "no mastfs is mounted there");
		return 3;
	}
	for (size_t i = 0; i < mounts.n; i++)
		status |= ask(&mounts.list[i], level);
	return status;
}

int log_verb(int argc, char **argv)
{
	const struct command_syntax syntax = {.letters = ":h", .args_max = 2};
	struct command_line cl;
	int r = command_line_parse(argc, argv, &syntax, &cl);
	int status = 2;
	bool first_is_level = cl.n_args && log_level_find(cl.args[0]) >= 0;
	if (r == 0 && cl.help) {
		log_help();
		status = 0;
	} else if (r == 0 && cl.n_args == 2 && !first_is_level) {
		log_error("config", "%s: no level; they are error, warn, info, debug",
			  cl.args[0]);
	} else if (r == 0) {
		status = run(first_is_level ? cl.args[0] : NULL,
			     first_is_level ? cl.args[1] : cl.args[0]);
	}
	buf_done(&cl.items);
	return status;
}
