/* command.c - what the verbs' command lines have in common; see mount.h. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "backends/util/log.h"
#include "fs/mount.h"
#include "backends/util/banned.h"

enum { ITEMS_MAX = 1 << 16 };

static const struct command_flag *find_flag(const struct command_syntax *syntax,
					    const char *word, char letter)
{
	for (const struct command_flag *f = syntax->flags; f && f->word; f++) {
		if (word ? !strcmp(word, f->word) : letter && letter == f->letter)
			return f;
	}
	return NULL;
}

static int take(struct command_line *cl, const struct command_syntax *syntax, int letter)
{
	const struct command_flag *flag = find_flag(syntax, NULL, (char)letter);
	if (flag) {
		*flag->given = true;
		return 0;
	}
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
	case 'd':
		cl->dead = true;
		return 0;
	case 'l':
		cl->lazy = true;
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

static int take_word(struct command_line *cl, const struct command_syntax *syntax,
		     const char *word)
{
	const struct command_flag *flag = find_flag(syntax, word, 0);
	if (flag) {
		*flag->given = true;
		return 0;
	}
	if (!strcmp(word, "help")) {
		cl->help = true;
		return 0;
	}
	log_error("config", "--%.*s: unknown; %s", (int)strcspn(word, "="), word,
		  syntax->flags ? "'mastfs help VERB' says what there is"
				: "options are given as -o name=value");
	return -EINVAL;
}

/* Long options are whole words without a value; they are taken out, since getopt(3)
 * knows none. */
static int take_words(int *argc, char **argv, const struct command_syntax *syntax,
		      struct command_line *cl)
{
	int kept = 1, i = 1;
	for (; i < *argc && strcmp(argv[i], "--") != 0; i++) {
		if (strncmp(argv[i], "--", 2) != 0) {
			argv[kept++] = argv[i];
			continue;
		}
		int r = take_word(cl, syntax, argv[i] + 2);
		if (r < 0)
			return r;
	}
	while (i < *argc)
		argv[kept++] = argv[i++];
	argv[kept] = NULL;
	*argc = kept;
	return 0;
}

int command_line_parse(int argc, char **argv, const struct command_syntax *syntax,
		       struct command_line *ret)
{
	*ret = (struct command_line){0};
	buf_init(&ret->items, ITEMS_MAX);
	int r = take_words(&argc, argv, syntax, ret);
	if (r < 0 || ret->help)
		return r;
	optind = 0; /* start anew */
	opterr = 0;
	for (int letter; (letter = getopt(argc, argv, syntax->letters)) != -1;) {
		r = take(ret, syntax, letter);
		if (r < 0)
			return r;
	}
	for (; optind < argc; optind++) {
		if (ret->n_args == syntax->args_max) {
			log_error("config", "%s: one argument too many", argv[optind]);
			return -EINVAL;
		}
		ret->args[ret->n_args++] = argv[optind];
	}
	return 0;
}
