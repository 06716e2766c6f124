/* doctor.h - the verb doctor: what stands in the way of a mount, and what to do about it.
 *
 * It takes what mount takes, and looks at the same things by the same code, without
 * changing any: where that code logs one line, the line is what was found.  Each check is
 * a function and a row of the table in doctor.c.
 */
#ifndef FS_DOCTOR_H
#define FS_DOCTOR_H
#include <stdatomic.h>
#include "backends/report.h"
#include "fs/mount.h"

/* mastfs doctor [--json] [--no-write] [SOURCE] [MOUNTPOINT] [-o ...] */
int doctor_verb(int argc, char **argv);
void doctor_help(void);

/* Exit status: the worst that was found. */
enum { DOCTOR_OK, DOCTOR_PROBLEM, DOCTOR_USAGE, DOCTOR_WARNING };

struct doctor {
	struct report report;
	struct command_line cl;
	struct config config;
	unsigned known;	  /* enum doctor_known */
	char *mountpoint; /* owned, resolved; NULL = it cannot be followed */
	int mounted_pid;  /* of the daemon of this very mount; 0 = it is not mounted */
	struct buf cache; /* resolved path of the cache directory */
	struct buf base;  /* what of that is there: itself, or what it will be made in */
	atomic_bool *cancelled; /* borrowed */
};

/* What later checks need. */
enum doctor_known {
	KNOWN_OPTIONS = 1 << 0,
	KNOWN_SOURCE = 1 << 1,
	KNOWN_CACHE = 1 << 2, /* where it is, and that it can be used */
};

/* --- doctor_host.c --- */
void doctor_fuse(struct doctor *d);
void doctor_fusermount(struct doctor *d);
void doctor_allow_other(struct doctor *d);
void doctor_capabilities(struct doctor *d);
void doctor_passthrough(struct doctor *d);
void doctor_pid_namespace(struct doctor *d);
void doctor_open_files(struct doctor *d);

/* --- doctor_mount.c --- */
void doctor_mountpoint(struct doctor *d);
void doctor_propagation(struct doctor *d);
void doctor_stale(struct doctor *d);

/* --- doctor_disk.c --- */
void doctor_cache(struct doctor *d);
void doctor_cache_disk(struct doctor *d);
void doctor_cache_lock(struct doctor *d);
void doctor_cache_room(struct doctor *d);
void doctor_cache_speed(struct doctor *d);

/* Do we run in a container, as far as can be seen? */
bool doctor_in_container(void);
#endif
