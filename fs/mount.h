/* mount.h - the verbs that main.c offers.  Each returns the exit status: 0, 1
 * failed (one line said why), 2 wrong usage.
 */
#ifndef FS_MOUNT_H
#define FS_MOUNT_H
#include "fs/config.h"

/* mastfs mount [-f] [SOURCE] [MOUNTPOINT] [-o ...] */
int mount_verb(int argc, char **argv);
/* mastfs umount [-o ...] MOUNTPOINT */
int umount_verb(int argc, char **argv);

/* What both have: options, and what is left are at most max arguments. */
struct command_line {
	struct buf items; /* of all -o */
	const char *args[2];
	int n_args;
	bool foreground, help;
};
/* Logs; -EINVAL.  items is freed by the caller (buf_done) whatever is returned. */
int command_line_parse(int argc, char **argv, const char *letters, int max,
		       struct command_line *ret);
void mount_help(void);
void umount_help(void);
#endif
