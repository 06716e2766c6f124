/* status_verb.c - the verb status: each mount of this machine is asked how it is.
 *
 * Found in the mount table, asked through the control socket, and looked at from a child
 * that can be left behind: a mount that hangs must not hang who asks about it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "fs/control.h"
#include "fs/mount.h"
#include "fs/mounts.h"
#include "fs/status.h"
#include "backends/util/banned.h"

/* Exit statuses, the worst last. */
enum { WELL = 0, WRONG = 1, DEAD = 3 };
enum { LOOKS_MAX = 2 * MOUNTS_MAX, OUTPUT_MAX = 1 << 24, WATCH_S = 1 };

void status_help(void)
{
	(void)fputs(
		"usage: mastfs status [-q] [-w] [--json | --prometheus] [MOUNTPOINT]\n"
		"\n"
		"Says how the mount is; without MOUNTPOINT all that are seen from here.\n"
		"Of those, mounts of other containers and other users do not count.\n"
		"\n"
		"  -q, --quiet   say nothing, as a health check wants it\n"
		"  -w, --watch   again each second, until interrupted\n"
		"  --json        an object, without MOUNTPOINT an array of them\n"
		"  --prometheus  as the option metrics writes it\n"
		"\n"
		"Exit status:\n"
		"  0  the daemon and the mount point answer, and nothing is wrong\n"
		"  1  mounted, but the store does not answer, or an upload failed, or "
		"the\n"
		"     daemon cannot be asked from here; with --quiet only the last of "
		"these:\n"
		"     a mount whose store is away waits for it, and needs no restart\n"
		"  2  wrong usage\n"
		"  3  not mounted, or the daemon is dead or does not answer\n"
		"\n"
		"What --json tells, and --prometheus with mastfs_ in front:\n",
		stdout);
	status_help_figures(stdout);
}

/* One mount and what became of asking. */
struct look {
	int verdict;
	bool elsewhere; /* its daemon is, or was, another container's or user's */
	bool unmounted; /* it drains */
	struct status status;
};

struct looks {
	struct look *list; /* owned */
	size_t n;
	bool all; /* not one that was named */
};

struct wishes {
	bool quiet, watch, json, prometheus;
};

static void set_problem(struct look *l, int verdict, const char *state, const char *why)
{
	l->verdict = verdict;
	(void)snprintf(l->status.state, sizeof l->status.state, "%s", state);
	(void)snprintf(l->status.problem, sizeof l->status.problem, "%s", why);
}

static int ask(const struct mounted *m, struct status *ret, int *ret_seen)
{
	CLEANUP_BUF struct buf text;
	buf_init(&text, SERVER_ANSWER_MAX);
	int r = mounts_ask(m, "status", &text, ret_seen);
	return r < 0 ? r : status_read_json(text.data, text.len, ret);
}

static void look_at(const struct mounted *m, struct look *l)
{
	int seen;
	*l = (struct look){0};
	int asked = ask(m, &l->status, &seen);
	if (asked < 0) {
		l->status = (struct status){0};
		(void)snprintf(l->status.source, sizeof l->status.source, "%s",
			       m->source);
	}
	/* As it is seen from here. */
	(void)snprintf(l->status.mountpoint, sizeof l->status.mountpoint, "%s", m->path);
	if (seen == -ENOTCONN || seen == -ECONNABORTED)
		set_problem(l, DEAD, "dead", "its daemon is dead");
	else if (seen == -ETIMEDOUT)
		set_problem(l, DEAD, "dead", "the mount point does not answer");
	else if (asked == -ETIMEDOUT)
		set_problem(l, DEAD, "dead", mounts_why(asked));
	else if (asked < 0)
		set_problem(l, WRONG, "unknown", mounts_why(asked));
	/* One that was here has left its socket; of a mount that answers, a dead socket is
	 * an earlier one's that had the same number. */
	l->elsewhere = asked == -ENOENT || asked == -EACCES || asked == -EPERM ||
		       (asked == -ECONNREFUSED && seen == 0);
	if (l->verdict == WELL && l->status.problem[0])
		l->verdict = WRONG;
}

/* Of the sockets those whose mount is gone. */
static void add_draining(void *arg, const char *name, int r, struct buf *answer)
{
	struct looks *all = arg;
	(void)name;
	if (r < 0 || all->n == LOOKS_MAX)
		return;
	struct look *l = &all->list[all->n];
	*l = (struct look){.unmounted = true};
	if (status_read_json(answer->data, answer->len, &l->status) == 0 &&
	    !strcmp(l->status.state, "draining"))
		all->n++;
}

/* The worst.  A mount that is another container's or user's matters where it was meant,
 * or where there is no other. */
static int verdict_of(const struct looks *all, bool quiet)
{
	int worst = WELL;
	size_t counted = 0, seen = 0;
	for (size_t i = 0; i < all->n; i++) {
		const struct look *l = &all->list[i];
		seen += !l->unmounted;
		if (l->unmounted || (l->elsewhere && all->all))
			continue;
		counted++;
		/* Who has lost the store waits for it (P8): starting anew helps nothing.
		 */
		bool waits = quiet && l->verdict == WRONG && status_answered(&l->status);
		if (l->verdict > worst && !waits)
			worst = l->verdict;
	}
	return counted ? worst : seen ? WRONG : DEAD;
}

static void write_json(const struct looks *all, struct buf *out)
{
	if (all->all)
		buf_addc(out, '[');
	for (size_t i = 0; i < all->n; i++) {
		if (i)
			buf_addc(out, ',');
		status_write_json(&all->list[i].status, out);
	}
	buf_adds(out, all->all ? "]\n" : "\n");
}

static void write_prometheus(const struct looks *all, struct buf *out)
{
	const struct status *list[LOOKS_MAX];
	size_t n = 0;
	/* What drains has a mount point that another may have by now. */
	for (size_t i = 0; i < all->n; i++)
		if (!all->list[i].unmounted)
			list[n++] = &all->list[i].status;
	status_write_prometheus(list, n, out);
}

static int show(const struct looks *all, const struct wishes *w)
{
	CLEANUP_BUF struct buf out;
	buf_init(&out, OUTPUT_MAX);
	if (w->watch && isatty(STDOUT_FILENO))
		buf_adds(&out, "\033[H\033[2J"); /* home, clear */
	if (w->json)
		write_json(all, &out);
	else if (w->prometheus)
		write_prometheus(all, &out);
	else
		for (size_t i = 0; i < all->n; i++)
			status_write_text(&all->list[i].status, &out);
	if (buf_error(&out))
		return buf_error(&out);
	errno = 0;
	(void)fwrite(out.data, 1, out.len, stdout);
	return fflush(stdout) ? -errno : 0;
}

static int look_once(const struct mounts *mounts, struct looks *all,
		     const struct wishes *w)
{
	for (size_t i = 0; i < mounts->n; i++)
		look_at(&mounts->list[i], &all->list[all->n++]);
	if (all->all)
		control_ask_all("status", add_draining, all);
	if (!all->n && !w->quiet && !(all->all && (w->json || w->prometheus)))
		log_error("status", "%s%s", all->all ? "" : mounts->only,
			  all->all ? "no mastfs is mounted"
				   : ": no mastfs is mounted there");
	int r = 0;
	if (!w->quiet && (all->n || all->all))
		r = show(all, w);
	if (r < 0)
		log_error("status", "write: %s", strerror(-r));
	return r < 0 ? WRONG : verdict_of(all, w->quiet);
}

static int look(const char *path, const struct wishes *w)
{
	CLEANUP(mounts_done) struct mounts mounts;
	CLEANUP_FREE struct look *list = calloc(LOOKS_MAX, sizeof *list);
	int r = mounts_find(path, &mounts);
	if (r == 0 && !list)
		r = -ENOMEM;
	if (r < 0) {
		if (!w->quiet)
			log_error("status", "%s: %s", path ? path : "the mount table",
				  strerror(-r));
		return path ? DEAD : WRONG;
	}
	struct looks all = {.list = list, .all = !path};
	return look_once(&mounts, &all, w);
}

static int run(const char *path, const struct wishes *w)
{
	int verdict = look(path, w);
	/* Until interrupted, or until nobody reads it any more (SIGPIPE). */
	while (w->watch) {
		clock_sleep_ns(WATCH_S * NS_PER_S);
		verdict = look(path, w);
	}
	return verdict;
}

int status_verb(int argc, char **argv)
{
	struct wishes w = {0};
	const struct command_flag flags[] = {
		{'q', "quiet", &w.quiet},
		{'w', "watch", &w.watch},
		{0, "json", &w.json},
		{0, "prometheus", &w.prometheus},
		{0},
	};
	const struct command_syntax syntax = {":qwh", flags, 1};
	struct command_line cl;
	int r = command_line_parse(argc, argv, &syntax, &cl);
	int status = 2;
	if (r == 0 && cl.help) {
		status_help();
		status = 0;
	} else if (r == 0 &&
		   (w.json + w.prometheus + w.quiet > 1 || (w.quiet && w.watch))) {
		log_error("config", "of --quiet, --json and --prometheus only one, and "
				    "--quiet not with --watch");
	} else if (r == 0) {
		status = run(cl.args[0], &w);
	}
	buf_done(&cl.items);
	return status;
}
