/* mount.h - the verbs that main.c offers.  Each returns the exit status: 0, 1
 * failed (one line said why), 2 wrong usage; the daemon also MOUNT_LEFT.
 */
#ifndef FS_MOUNT_H
#define FS_MOUNT_H
#include "fs/config.h"

/* EX_TEMPFAIL: it ended as it was told, and not all was uploaded. */
enum { MOUNT_LEFT = 75 };

/* mastfs mount [-f] [SOURCE] [MOUNTPOINT] [-o ...] */
int mount_verb(int argc, char **argv);
/* mastfs umount [-d] [-l] [-o ...] MOUNTPOINT */
int umount_verb(int argc, char **argv);

/* mastfs status [-q] [-w] [--json | --prometheus] [MOUNTPOINT], see status_verb.c */
int status_verb(int argc, char **argv);
/* mastfs log [LEVEL] [MOUNTPOINT] */
int log_verb(int argc, char **argv);

/* An option of one verb that has no value: "-q", "--quiet". */
struct command_flag {
	char letter;	  /* 0 = only the word; else in letters as well */
	const char *word; /* without the dashes */
	bool *given;	  /* set to true */
};
struct command_syntax {
	const char *letters;		  /* of getopt(3), ":o:h" */
	const struct command_flag *flags; /* ends with word NULL; NULL = none */
	int args_max;			  /* 2 at most */
};
/* What all have: options, and what is left are arguments. */
struct command_line {
	struct buf items; /* of all -o */
	const char *args[2];
	int n_args;
	bool foreground, help;
	bool dead, lazy; /* of umount */
};
/* Logs; -EINVAL.  items is freed by the caller (buf_done) whatever is returned. */
int command_line_parse(int argc, char **argv, const struct command_syntax *syntax,
		       struct command_line *ret);

/* What a mount looks at before it starts anything, for those who look at it, too.  Each
 * logs one line for what is wrong and returns a negative errno. */

/* Source and mount point, by the arguments. */
int mount_choose(struct config *c, const struct command_line *cl);
int mount_find_ca_file(struct config *c);
int mount_check_allow_other(const struct config *c);
int mount_check_fuse(void);
/* Source, mount point and cache directory (the two resolved) are not in one another. */
int mount_check_apart(const struct settings *s, const char *mountpoint,
		      const char *cache);
void mount_help(void);
void umount_help(void);
void status_help(void);
void log_help(void);
#endif
