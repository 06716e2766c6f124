/* doctor_mount.c - the mount point, what it lies on, and other mounts of ours. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "fs/doctor.h"
#include "fs/mountpoint.h"
#include "backends/util/banned.h"

enum { STALE_MAX = 16 };	 /* that are named */
#define STALE_NS (10 * NS_PER_S) /* for asking all of them */

/* --- the mount point --- */

/* What the mount table says was mounted there; the last one lies on top. */
struct source_search {
	const char *path;
	struct buf *ret;
};

static int take_source(void *arg, const struct mount_line *m)
{
	const struct source_search *s = arg;
	if (!strcmp(m->path, s->path)) {
		buf_reset(s->ret);
		buf_adds(s->ret, m->source);
	}
	return 0;
}

static void each_mount(int (*fn)(void *arg, const struct mount_line *m), void *arg)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return;
	(void)mountinfo_each(f, fn, arg);
	(void)fclose(f);
}

/* A mastfs is there, and answers: this one? */
static void check_live(struct doctor *d)
{
	struct report *r = &d->report;
	const char *url = d->config.store.url, *path = d->mountpoint;
	char text[16] = "";
	CLEANUP_BUF struct buf source;
	buf_init(&source, 8192);
	each_mount(take_source, &(struct source_search){path, &source});
	if (url && !strcmp(url, source.data)) {
		(void)getxattr(path, "user.mastfs.pid", text, sizeof text - 1);
		d->mounted_pid = atoi(text);
		report_ok(r, "mountpoint", "%s is mounted on %s already (pid %d)", url,
			  path, d->mounted_pid);
		return;
	}
	report_remedy(r, "mastfs umount %s", report_quote(r, path));
	report_problem(r, "mountpoint", "another mastfs is mounted on %s: %s", path,
		       source.data);
}

static void check_ours(struct doctor *d)
{
	struct report *r = &d->report;
	const char *path = d->mountpoint;
	int error = mountpoint_probe(path);
	if (!error) {
		check_live(d);
	} else if (error == -ENOTCONN || error == -ECONNABORTED) {
		report_remedy(r, "mastfs umount %s  # mounting again does it as well",
			      report_quote(r, path));
		report_problem(r, "mountpoint",
			       "%s: a stale mount, whose daemon is dead: every access "
			       "fails",
			       path);
	} else {
		report_remedy(r, "fusermount3 -u -z %s", report_quote(r, path));
		report_problem(r, "mountpoint",
			       "%s: a mastfs is mounted there and does not answer (%s)",
			       path, strerror(-error));
	}
}

static void check_foreign(struct doctor *d, const struct mount_entry *e)
{
	struct report *r = &d->report;
	const char *path = d->mountpoint;
	bool fuse = !strncmp(e->type, "fuse", 4);
	if (fuse)
		report_remedy(r, "fusermount3 -u %s", report_quote(r, path));
	else
		report_remedy(r, "mastfs mount -o nonempty %s",
			      report_quote(r, d->config.mountpoint));
	report_problem(r, "mountpoint", "%s: something is mounted there (%s)", path,
		       e->type);
}

static void tell_directory(struct doctor *d, int error)
{
	struct report *r = &d->report;
	const char *path = d->mountpoint ? d->mountpoint : d->config.mountpoint;
	const char *quoted = report_quote(r, path);
	if (error == -ENOENT)
		report_remedy(r, "mkdir -p %s", quoted);
	else if (error == -ENOTEMPTY)
		report_remedy(r, "mastfs mount -o nonempty %s  # or: ls -A %s", quoted,
			      quoted);
	else if (error == -EACCES)
		report_remedy(r, "sudo chown \"$(id -un)\" %s", quoted);
	else
		report_remedy(r, "ls -ld %s", quoted);
	const char *heard = report_heard(r);
	if (*heard)
		report_problem(r, "mountpoint", "%s", heard);
	else
		report_problem(r, "mountpoint", "%s: %s", path, strerror(-error));
}

void doctor_mountpoint(struct doctor *d)
{
	struct mount_entry e;
	int found = mountpoint_resolve(d->config.mountpoint, &d->mountpoint, &e);
	bool ours = found == 0 && !strcmp(e.type, MASTFS_TYPE);
	/* A container's volume is a mount as well. */
	bool free_to_use = found == 1 || (found == 0 && d->config.nonempty &&
					  strncmp(e.type, "fuse", 4) != 0);
	if (ours) {
		check_ours(d);
	} else if (found == 0 && !free_to_use) {
		check_foreign(d, &e);
	} else {
		int error = found < 0
				    ? found
				    : mountpoint_check(d->mountpoint, d->config.nonempty);
		if (error)
			tell_directory(d, error);
		else
			report_ok(&d->report, "mountpoint", "%s can be mounted on",
				  d->mountpoint);
	}
}

/* --- who will see it --- */

static int find_over(const char *path, struct mount_entry *ret)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return -errno;
	int r = mountinfo_search_over(f, path, ret);
	(void)fclose(f);
	return r;
}

void doctor_propagation(struct doctor *d)
{
	struct report *r = &d->report;
	struct mount_entry e;
	CLEANUP_FREE char *parent =
		strdup(d->mountpoint ? d->mountpoint : d->config.mountpoint);
	char *slash = parent ? strrchr(parent, '/') : NULL;
	if (slash)
		slash[slash == parent] = '\0';
	if (!slash || find_over(parent, &e)) {
		report_skip(r, "propagation",
			    "what the mount point lies on is not known");
		return;
	}
	const char *is = e.shared ? "shared" : e.slave ? "slave" : "private";
	if (e.shared || !doctor_in_container()) {
		report_ok(r, "propagation", "%s is %s%s", parent, is,
			  e.shared ? ""
				   : ": containers that run already will not see the "
				     "mount");
		return;
	}
	const char *dir = report_quote(r, parent);
	report_remedy(r,
		      "docker run -v %s:%s:rshared ...  # after, on the host: mount "
		      "--bind %s %s; mount --make-shared %s",
		      dir, dir, dir, dir, dir);
	report_warning(r, "propagation",
		       "%s is %s: neither the host nor other containers will see the "
		       "mount",
		       parent, is);
}

/* --- other mounts --- */

struct stale {
	struct doctor *d;
	uint64_t until_ns;
	unsigned n;
};

static int look_at_mount(void *arg, const struct mount_line *m)
{
	struct stale *s = arg;
	struct report *r = &s->d->report;
	if (strcmp(m->entry.type, MASTFS_TYPE) != 0 ||
	    (s->d->mountpoint && !strcmp(m->path, s->d->mountpoint)))
		return 0;
	if (s->n == STALE_MAX || clock_now_ns() > s->until_ns)
		return 1;
	int error = mountpoint_probe(m->path);
	if (error != -ENOTCONN && error != -ECONNABORTED && error != -ETIMEDOUT)
		return 0;
	s->n++;
	report_remedy(r, "%s %s",
		      error == -ETIMEDOUT ? "fusermount3 -u -z" : "mastfs umount",
		      report_quote(r, m->path));
	report_warning(r, "stale", "%s: %s (%s)", m->path,
		       error == -ETIMEDOUT ? "its mastfs does not answer"
					   : "its mastfs is dead",
		       m->source);
	return 0;
}

void doctor_stale(struct doctor *d)
{
	struct stale s = {.d = d, .until_ns = clock_add(clock_now_ns(), STALE_NS)};
	each_mount(look_at_mount, &s);
	if (!s.n)
		report_ok(&d->report, "stale", "no dead mounts elsewhere");
}
