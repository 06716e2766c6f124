/* helper.c - see helper.h. */
#include "fs/helper.h"
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "fs/mount.h"
#include "backends/util/banned.h"

enum { USAGE = 1, SYSTEM = 2, FAILED = 32 };

/* A command line of a verb, made of the helper's: never longer than that and MORE. */
struct rewritten {
	char **argv; /* owned, its strings are not */
	int argc;
	bool fake;
};

enum { MORE = 4 };
static char verb_mount[] = "mount", verb_umount[] = "umount", option_o[] = "-o",
	    option_l[] = "-l", end_of_options[] = "--";

static void add(struct rewritten *w, char *word)
{
	w->argv[w->argc++] = word;
}

/* What mount(8) means by its letters.  -f of umount(8) is about servers that do not
 * answer: umount says what to do then. */
static bool take(struct rewritten *w, int letter, bool umount)
{
	switch (letter) {
	case 'o':
		add(w, option_o);
		add(w, optarg);
		return true;
	case 'f':
		w->fake = !umount;
		return true;
	case 'l':
		add(w, option_l);
		return true;
	case 's': /* what is unknown stays an error */
	case 'n':
	case 'v':
	case 'r':
	case 't':
		return true;
	default:
		return false;
	}
}

static int rewrite(int argc, char **argv, bool umount, struct rewritten *w)
{
	w->argv = calloc((size_t)argc + MORE, sizeof *w->argv);
	if (!w->argv)
		return SYSTEM;
	add(w, umount ? verb_umount : verb_mount);
	opterr = 0;
	for (int letter;
	     (letter = getopt(argc, argv, umount ? ":flnrvt:" : ":sfnvo:t:")) != -1;) {
		if (!take(w, letter, umount)) {
			log_error("mount", "-%c: unknown, or its value is missing",
				  optopt);
			return USAGE;
		}
	}
	if (argc - optind != (umount ? 1 : 2)) {
		log_error("mount", "usage: %s %s", argv[0],
			  umount ? "DIR [-flnrv]" : "SOURCE DIR [-sfnv] [-o OPTION,...]");
		return USAGE;
	}
	add(w, end_of_options);
	for (; optind < argc; optind++)
		add(w, argv[optind]);
	return 0;
}

/* A unit that systemd makes of an fstab line has no HOME, and keys may lie there. */
static void find_home(void)
{
	const struct passwd *pw = getenv("HOME") ? NULL : getpwuid(geteuid());
	if (pw)
		(void)setenv("HOME", pw->pw_dir, 1);
}

static int run(int argc, char **argv, bool umount)
{
	struct rewritten w = {0};
	int status = rewrite(argc, argv, umount, &w);
	if (status == 0 && !w.fake) {
		find_home();
		status =
			umount ? umount_verb(w.argc, w.argv) : mount_verb(w.argc, w.argv);
		status = status == 0 ? 0 : status == 2 ? USAGE : FAILED;
	}
	free(w.argv);
	return status;
}

bool helper_run(int argc, char **argv, int *ret_status)
{
	if (argc < 1)
		return false;
	const char *slash = strrchr(argv[0], '/');
	const char *name = slash ? slash + 1 : argv[0];
	bool umount = !strncmp(name, "umount.", 7);
	if (!umount && strncmp(name, "mount.", 6) != 0)
		return false;
	/* By which umount, and people, know a daemon. */
	(void)prctl(PR_SET_NAME, "mastfs");
	*ret_status = run(argc, argv, umount);
	return true;
}
