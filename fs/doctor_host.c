/* doctor_host.c - the machine, or the container: may it mount, and how well? */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "fs/doctor.h"
#include "backends/util/banned.h"

enum {
	SYS_ADMIN_BIT = 21, /* linux/capability.h */
	FILES_LEAST = 512,  /* connections, databases and a few open files */
	FILES_WANTED = 4096,
};
/* The inode of the first pid namespace (linux/proc_ns.h). */
#define FIRST_PID_NAMESPACE "pid:[4026531836]"

bool doctor_in_container(void)
{
	const char *container = getenv("container");
	return access("/.dockerenv", F_OK) == 0 ||
	       access("/run/.containerenv", F_OK) == 0 || (container && *container) ||
	       getenv("KUBERNETES_SERVICE_HOST");
}

void doctor_fuse(struct doctor *d)
{
	struct report *r = &d->report;
	int error = mount_check_fuse();
	if (!error) {
		report_ok(r, "fuse", "/dev/fuse can be opened");
		return;
	}
	if (error == -EACCES)
		report_remedy(r, "sudo chmod 666 /dev/fuse");
	else if (error == -EPERM)
		report_remedy(r, "docker run --device /dev/fuse --cap-add SYS_ADMIN ...");
	else
		report_remedy(r, "sudo modprobe fuse  # in a container: docker run "
				 "--device /dev/fuse --cap-add SYS_ADMIN ...");
	report_problem(r, "fuse", "%s", report_heard(r));
}

/* As posix_spawnp will find it. */
static int find_program(const char *name, struct stat *ret)
{
	const char *path = getenv("PATH");
	path = path && *path ? path : "/bin:/usr/bin";
	while (*path) {
		CLEANUP_BUF struct buf file;
		size_t n = strcspn(path, ":");
		buf_init(&file, PATH_MAX);
		buf_addf(&file, "%.*s/%s", (int)n, path, name);
		if (!buf_error(&file) && stat(file.data, ret) == 0 &&
		    S_ISREG(ret->st_mode) && (ret->st_mode & 0111))
			return 0;
		path += n + (path[n] == ':');
	}
	return -ENOENT;
}

void doctor_fusermount(struct doctor *d)
{
	struct report *r = &d->report;
	struct stat st;
	int error = find_program("fusermount3", &st);
	if (geteuid() == 0) {
		report_ok(r, "fusermount", "not needed by root");
	} else if (error) {
		report_remedy(r, "sudo apt-get install fuse3");
		report_problem(r, "fusermount",
			       "there is no fusermount3 in PATH, by "
			       "which users mount");
	} else if (!(st.st_mode & S_ISUID) || st.st_uid != 0) {
		report_remedy(r, "sudo chown root \"$(command -v fusermount3)\" && sudo "
				 "chmod u+s \"$(command -v fusermount3)\"");
		report_problem(r, "fusermount",
			       "fusermount3 does not run as root: it is "
			       "not setuid");
	} else {
		report_ok(r, "fusermount", "found, setuid");
	}
}

void doctor_allow_other(struct doctor *d)
{
	struct report *r = &d->report;
	if (!mount_check_allow_other(&d->config)) {
		report_ok(r, "allow_other", "%s",
			  d->config.allow_other ? "permitted" : "not asked for");
		return;
	}
	report_remedy(r, "echo user_allow_other | sudo tee -a /etc/fuse.conf");
	report_problem(r, "allow_other", "%s", report_heard(r));
}

/* The value of a line of /proc/self/status, in hex. */
static unsigned long long status_bits(const char *name)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	unsigned long long bits = 0;
	size_t n = strlen(name);
	while (f && fgets(line, sizeof line, f))
		if (!strncmp(line, name, n) && line[n] == ':')
			bits = strtoull(line + n + 1, NULL, 16);
	if (f)
		(void)fclose(f);
	return bits;
}

static bool may_administer(void)
{
	return status_bits("CapEff") >> SYS_ADMIN_BIT & 1;
}

void doctor_capabilities(struct doctor *d)
{
	struct report *r = &d->report;
	if (may_administer()) {
		report_ok(r, "capabilities", "CAP_SYS_ADMIN");
	} else if (geteuid() != 0) {
		report_ok(r, "capabilities", "none, none needed: fusermount3 mounts");
	} else {
		report_remedy(r, "docker run --cap-add SYS_ADMIN --device /dev/fuse ...");
		report_problem(r, "capabilities",
			       "root without CAP_SYS_ADMIN may not mount");
	}
}

static bool kernel_is_at_least(unsigned major, unsigned minor, struct utsname *ret)
{
	unsigned a = 0, b = 0;
	if (uname(ret) < 0 || sscanf(ret->release, "%u.%u", &a, &b) != 2)
		return false;
	return a > major || (a == major && b >= minor);
}

/* Of the first user namespace all ids are mapped to themselves. */
static bool in_first_user_namespace(void)
{
	FILE *f = fopen("/proc/self/uid_map", "re");
	unsigned long from = 1, to = 1, n = 0;
	bool read = f && fscanf(f, "%lu %lu %lu", &from, &to, &n) == 3;
	if (f)
		(void)fclose(f);
	return read && !from && !to && n == UINT32_MAX;
}

void doctor_passthrough(struct doctor *d)
{
	struct report *r = &d->report;
	struct utsname u = {0};
	const char *why = NULL;
	if (!d->config.passthrough || geteuid() != 0) {
		report_ok(r, "passthrough", "%s",
			  d->config.passthrough ? "only for root: the daemon hands on "
						  "what is read"
						: "off");
		return;
	}
	if (!kernel_is_at_least(6, 9, &u))
		why = "needs Linux 6.9";
	else if (!in_first_user_namespace())
		why = "not in a user namespace, as of a rootless container";
	else if (!may_administer())
		why = "needs CAP_SYS_ADMIN";
	if (!why) {
		report_ok(r, "passthrough", "possible, Linux %s", u.release);
		return;
	}
	report_remedy(r, "uname -r  # or accept it: -o passthrough=no");
	report_warning(r, "passthrough",
		       "%s (this is %s): files that are here whole are read at half the "
		       "speed or less",
		       why, u.release);
}

void doctor_pid_namespace(struct doctor *d)
{
	struct report *r = &d->report;
	char name[64] = "";
	ssize_t n = readlink("/proc/self/ns/pid", name, sizeof name - 1);
	if (n < 0) {
		report_remedy(r, "sudo mount -t proc proc /proc");
		report_warning(r, "pid_namespace", "/proc/self/ns/pid: %s",
			       strerror(errno));
	} else if (!strcmp(name, FIRST_PID_NAMESPACE)) {
		report_ok(r, "pid_namespace", "the machine's own");
	} else {
		report_remedy(r, "docker run --pid=host ...  # in a compose file: pid: "
				 "host");
		report_warning(r, "pid_namespace",
			       "processes of other containers cannot be told apart: a "
			       "file that they write may be uploaded several times "
			       "before it is closed");
	}
}

/* The daemon raises the soft limit itself. */
void doctor_open_files(struct doctor *d)
{
	struct report *r = &d->report;
	struct rlimit rl;
	if (getrlimit(RLIMIT_NOFILE, &rl) < 0 || rl.rlim_max >= FILES_WANTED) {
		report_ok(r, "open_files", "enough");
		return;
	}
	report_remedy(r, "ulimit -Hn 65536  # docker run --ulimit nofile=65536, of a "
			 "systemd unit LimitNOFILE=65536");
	report_add(r, rl.rlim_max < FILES_LEAST ? REPORT_PROBLEM : REPORT_WARNING,
		   "open_files", "no more than %llu at once: opening files will fail",
		   (unsigned long long)rl.rlim_max);
}
