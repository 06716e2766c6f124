/* doctor.c - the verb doctor: what it is given, the order of the checks, the report.
 * See doctor.h. */
#include "fs/doctor.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/checkup.h"
#include "backends/source.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

static atomic_bool interrupted;
static bool as_json, no_write;

void doctor_help(void)
{
	(void)fputs(
		"usage: mastfs doctor [--json] [--no-write] [SOURCE] [MOUNTPOINT] [-o "
		"OPTION[,...]]...\n"
		"\n"
		"Looks for what stands in the way of 'mastfs mount' with the same "
		"arguments,\n"
		"environment and files, and says what to do about it.  Nothing is "
		"changed: an\n"
		"object .mastfs-probe-* that is put into the bucket is removed again.\n"
		"\n"
		"  --json      one object: {\"state\", \"checks\": [{\"check\", "
		"\"state\", "
		"\"found\",\n"
		"              \"remedy\"}]}\n"
		"  --no-write  nothing is put into the bucket: what needs that is "
		"skipped\n"
		"\n"
		"Exit status: 0 all is well, 1 there is a problem, 2 wrong usage, 3 "
		"there are\n"
		"warnings only.\n",
		stdout);
}

/* --- options, source, secrets --- */

static void tell_options(struct doctor *d, int error)
{
	struct report *r = &d->report;
	const char *heard = report_heard(r), *path = strstr(heard, " file /");
	if (path && error != -EINVAL) {
		CLEANUP_FREE char *name = strdup(path + 6);
		char *end = name ? strstr(name, ": ") : NULL;
		if (end)
			*end = '\0';
		report_remedy(r, "ls -l %s  # may you read it?",
			      report_quote(r, name ? name : "/etc/mastfs.conf"));
	} else {
		report_remedy(r, "mastfs help mount  # lists the options");
	}
	report_problem(r, "options", "%s", *heard ? heard : strerror(-error));
}

static void check_options(struct doctor *d)
{
	int error = config_load(&d->config, &d->cl.items);
	if (error) {
		tell_options(d, error);
		return;
	}
	d->known |= KNOWN_OPTIONS;
	report_ok(&d->report, "options", "understood");
}

/* In one go, as a mount does; what is wrong is the source's. */
static void check_source(struct doctor *d)
{
	struct report *r = &d->report;
	int error = mount_choose(&d->config, &d->cl);
	if (!error) {
		d->known |= KNOWN_SOURCE;
		report_ok(r, "source", "%s", d->config.store.url);
		return;
	}
	const char *heard = report_heard(r);
	report_remedy(r, "mastfs help mount  # says what a source may be, and which "
			 "variables name it");
	report_problem(r, "source", "%s", *heard ? heard : strerror(-error));
}

static void check_ca_file(struct doctor *d)
{
	struct report *r = &d->report;
	const char *path = d->config.store.ca_file;
	if (!path) {
		report_ok(r, "ca_file", "the system's");
	} else if (!mount_find_ca_file(&d->config)) {
		report_ok(r, "ca_file", "%s", d->config.store.ca_file);
	} else {
		report_remedy(r, "ls -l %s", report_quote(r, path));
		report_problem(r, "ca_file", "%s", report_heard(r));
	}
}

/* It need not be there: what it is made in is. */
static void check_log_file(struct doctor *d)
{
	struct report *r = &d->report;
	const char *path = d->config.log_file;
	CLEANUP_FREE char *dir = strdup(path ? path : "");
	char *slash = dir ? strrchr(dir, '/') : NULL;
	bool there = path && access(path, F_OK) == 0;
	if (slash)
		slash[slash == dir] = '\0';
	const char *in = there ? path : slash ? dir : ".";
	if (!path) {
		report_ok(r, "log_file", "none: syslog");
	} else if (access(in, W_OK) == 0) {
		report_ok(r, "log_file", "%s", path);
	} else {
		int error = errno;
		report_remedy(r, "ls -ld %s", report_quote(r, in));
		report_problem(r, "log_file", "%s: %s: %s", path, in, strerror(error));
	}
}

static struct checkup_conf checkup_conf(struct doctor *d)
{
	return (struct checkup_conf){
		.settings = &d->config.store,
		.read_only = d->config.read_only,
		.no_write = no_write,
		.cancelled = d->cancelled,
		.report = &d->report,
	};
}

static void check_secrets(struct doctor *d)
{
	const struct checkup_conf conf = checkup_conf(d);
	checkup_secrets(&conf);
}

static void check_sources(struct doctor *d)
{
	const struct checkup_conf conf = checkup_conf(d);
	checkup_sources(&conf);
}

/* --- the order --- */

/* Cheap ones first. */
static const struct check {
	const char *name;
	void (*run)(struct doctor *d);
	unsigned needs;
} checks[] = {
	{"options", check_options, 0},
	{"source", check_source, KNOWN_OPTIONS},
	{"fuse", doctor_fuse, 0},
	{"fusermount", doctor_fusermount, 0},
	{"capabilities", doctor_capabilities, 0},
	{"pid_namespace", doctor_pid_namespace, 0},
	{"open_files", doctor_open_files, 0},
	{"passthrough", doctor_passthrough, KNOWN_OPTIONS},
	{"allow_other", doctor_allow_other, KNOWN_OPTIONS},
	{"mountpoint", doctor_mountpoint, KNOWN_OPTIONS},
	{"propagation", doctor_propagation, KNOWN_OPTIONS},
	{"stale", doctor_stale, 0},
	{"log_file", check_log_file, KNOWN_OPTIONS},
	{"cache", doctor_cache, KNOWN_OPTIONS},
	{"cache_disk", doctor_cache_disk, KNOWN_CACHE},
	{"cache_lock", doctor_cache_lock, KNOWN_CACHE},
	{"cache_room", doctor_cache_room, KNOWN_CACHE},
	{"cache_speed", doctor_cache_speed, KNOWN_CACHE},
	{"secrets", check_secrets, KNOWN_SOURCE},
	{"ca_file", check_ca_file, KNOWN_SOURCE},
	{"store", check_sources, KNOWN_SOURCE},
};

static const char *why_not(const struct doctor *d, unsigned needs)
{
	unsigned missing = needs & ~d->known;
	if (atomic_load(d->cancelled))
		return "interrupted";
	if (!missing)
		return NULL;
	if (!(d->known & KNOWN_OPTIONS))
		return "the options are not understood";
	return missing & KNOWN_SOURCE ? "the source is not known"
				      : "the cache directory cannot be used";
}

static void run_checks(struct doctor *d)
{
	for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
		const char *why = why_not(d, checks[i].needs);
		if (why)
			report_skip(&d->report, checks[i].name, why);
		else
			checks[i].run(d);
	}
	report_flush(&d->report);
}

/* --- the verb --- */

static void on_signal(int number)
{
	(void)number;
	atomic_store(&interrupted, true);
}

/* Once: whoever signals again means it. */
static void catch_signals(void)
{
	const struct sigaction action = {.sa_handler = on_signal,
					 .sa_flags = (int)SA_RESETHAND | SA_RESTART};
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
}

static int print_json(const struct report *r)
{
	CLEANUP_BUF struct buf out;
	buf_init(&out, (size_t)16 << 20);
	int error = report_json(r, &out);
	if (!error && (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout)))
		error = -errno;
	return error;
}

static int tell(const struct doctor *d)
{
	static const int statuses[] = {
		[REPORT_OK] = DOCTOR_OK,
		[REPORT_WARNING] = DOCTOR_WARNING,
		[REPORT_PROBLEM] = DOCTOR_PROBLEM,
	};
	int error = as_json ? print_json(&d->report) : d->report.error;
	if (atomic_load(&interrupted))
		return DOCTOR_PROBLEM;
	return error ? DOCTOR_PROBLEM : statuses[report_worst(&d->report)];
}

static int examine(struct doctor *d)
{
	report_init(&d->report, as_json ? NULL : stdout);
	buf_init(&d->cache, PATH_MAX);
	buf_init(&d->base, PATH_MAX);
	d->cancelled = &interrupted;
	int status = DOCTOR_PROBLEM;
	int error = config_init(&d->config);
	if (!error)
		error = report_listen(&d->report);
	if (error) {
		log_error("doctor", "%s", strerror(-error));
	} else {
		catch_signals();
		run_checks(d);
		status = tell(d);
	}
	config_done(&d->config);
	free(d->mountpoint);
	buf_done(&d->cache);
	buf_done(&d->base);
	report_done(&d->report);
	return status;
}

int doctor_verb(int argc, char **argv)
{
	const struct command_flag flags[] = {
		{.word = "json", .given = &as_json},
		{.word = "no-write", .given = &no_write},
		{0},
	};
	const struct command_syntax syntax = {
		.letters = ":o:frh", .flags = flags, .args_max = 2};
	struct doctor d = {0};
	int r = command_line_parse(argc, argv, &syntax, &d.cl);
	int status = DOCTOR_USAGE;
	if (r == 0 && d.cl.help) {
		doctor_help();
		status = DOCTOR_OK;
	} else if (r == 0) {
		status = examine(&d);
	}
	buf_done(&d.cl.items);
	return status;
}
