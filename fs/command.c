/* command.c - what the verbs' command lines have in common; see mount.h. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "backends/util/log.h"
#include "fs/mount.h"
#include "backends/util/banned.h"

enum { ITEMS_MAX = 1 << 16 };

static int take(struct command_line *cl, int letter)
{
	switch (letter) {
	case 'o':
		if (config_collect(&cl->items, optarg) == 0)
			return 0;
		log_error("config", "-o: more than 64 KiB of options");
		return -EINVAL;
	case 'r':
		return config_collect(&cl->items, "ro");
	case 'f':
		cl->foreground = true;
		return 0;
	case 'h':
		cl->help = true;
		return 0;
	case ':':
		log_error("config", "-%c: needs a value", optopt);
		return -EINVAL;
	default:
		log_error("config", "-%c: unknown; 'mastfs help' says what there is",
			  optopt);
		return -EINVAL;
	}
}

/* There is one long option; getopt(3) knows none. */
static int scan_long(int argc, char **argv, bool *ret_help)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (!strcmp(argv[i], "--help")) {
			*ret_help = true;
		} else if (!strncmp(argv[i], "--", 2)) {
			log_error("config",
				  "%.*s: unknown; options are given as -o name=value",
				  (int)strcspn(argv[i], "="), argv[i]);
			return -EINVAL;
		}
	}
	return 0;
}

int command_line_parse(int argc, char **argv, const char *letters, int max,
		       struct command_line *ret)
{
	*ret = (struct command_line){0};
	buf_init(&ret->items, ITEMS_MAX);
	int scanned = scan_long(argc, argv, &ret->help);
	if (scanned < 0 || ret->help)
		return scanned;
	optind = 0; /* start anew */
	opterr = 0;
	for (int letter; (letter = getopt(argc, argv, letters)) != -1;) {
		int r = take(ret, letter);
		if (r < 0)
			return r;
	}
	for (; optind < argc; optind++) {
		if (ret->n_args == max) {
			log_error("config", "%s: one argument too many", argv[optind]);
			return -EINVAL;
		}
		ret->args[ret->n_args++] = argv[optind];
	}
	return 0;
}
