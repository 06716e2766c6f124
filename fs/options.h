/* options.h - the one table of options, and what a value of each type looks like.
 *
 * -o, the environment (MASTFS_<NAME>), the config file, --help and the manual all
 * read this table, so they cannot disagree.  Pure but for the names of users.
 */
#ifndef FS_OPTIONS_H
#define FS_OPTIONS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "backends/util/buf.h"

enum option_type {
	OPTION_BOOL,	 /* bool: ro, ro=yes, ro=no */
	OPTION_SIZE,	 /* uint64_t, bytes: 4096, 256K, 10G */
	OPTION_AMOUNT,	 /* struct amount: a size, or 20% of the disk */
	OPTION_DURATION, /* uint64_t, ns: 60, 500ms, 5m, 2h */
	OPTION_COUNT,	 /* uint32_t */
	OPTION_OCTAL,	 /* uint32_t: 022 */
	OPTION_CHOICE,	 /* int: the place in choices */
	OPTION_UID,	 /* uint32_t: a name or a number */
	OPTION_GID,
	OPTION_TEXT, /* char *, owned; NULL = not given */
	OPTION_LIST, /* the same, and a value that starts with '+' adds to the default */
};

/* Of a disk whose size is only known later. */
struct amount {
	uint64_t bytes;
	uint32_t percent; /* not 0: this much of the disk instead */
};

struct option {
	const char *name;
	enum option_type type;
	size_t offset;	     /* of its field in struct config */
	const char *initial; /* the default as a user would write it; NULL = none */
	uint64_t min, max;   /* of numbers; in the field's unit */
	const char *choices; /* "close|background" */
	const char *meaning; /* one line for --help */
};

/* The table; ends with name NULL. */
extern const struct option options[];

/* NULL: there is none. */
const struct option *option_find(const char *name);
/* The option that was probably meant; NULL: none is near. */
const char *option_nearest(const char *name);
/* Does a name that is no option smell of a credential? */
bool option_is_secret(const char *name);

/* Set the field in conf (a struct config) from a value; NULL = the bare word.
 * -EINVAL with the reason appended to why, -ENOMEM. */
int option_set(const struct option *o, void *conf, const char *value, struct buf *why);
/* MASTFS_<NAME> of an option. */
void option_variable(const struct option *o, struct buf *ret);
/* The table as --help shows it. */
void options_help(FILE *out);

/* Words of mount(8) that fstab passes on.  *ret_pass: hand it to the kernel. */
bool mount_word(const char *word, bool *ret_pass);
#endif
