/* main.c - the verbs of mastfs.  Exit status: 0 done, 1 failed, 2 wrong usage;
 * what status says besides is in its help. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "backends/util/log.h"
#include "fs/doctor.h"
#include "fs/helper.h"
#include "fs/mount.h"
#include "backends/util/banned.h"

static int help_verb(int argc, char **argv);
static int version_verb(int argc, char **argv);

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	void (*help)(void); /* NULL: the list of verbs says it all */
	const char *meaning;
} verbs[] = {
	{"mount", mount_verb, mount_help, "mount a bucket as a directory"},
	{"umount", umount_verb, umount_help, "unmount it, and wait for its uploads"},
	{"doctor", doctor_verb, doctor_help, "say what is in the way of a mount"},
	{"status", status_verb, status_help, "say how the mounts are"},
	{"log", log_verb, log_help, "say or set how much a mount logs"},
	{"help", help_verb, NULL, "say how a verb is used"},
	{"version", version_verb, NULL, "say which version this is"},
};
enum { N_VERBS = sizeof verbs / sizeof verbs[0] };

static const struct verb *find_verb(const char *name)
{
	for (int i = 0; i < N_VERBS; i++) {
		if (!strcmp(name, verbs[i].name))
			return &verbs[i];
	}
	return NULL;
}

static int unknown(const char *name)
{
	log_error("mastfs", "%s: unknown; 'mastfs help' lists what there is", name);
	return 2;
}

static void list_verbs(FILE *out)
{
	(void)fputs("usage: mastfs VERB [ARGUMENT]...\n\n", out);
	for (int i = 0; i < N_VERBS; i++)
		(void)fprintf(out, "  %-8s %s\n", verbs[i].name, verbs[i].meaning);
	(void)fputs("\n'mastfs help mount' lists the options of a mount.\n", out);
}

static int help_verb(int argc, char **argv)
{
	const struct verb *v = argc > 1 ? find_verb(argv[1]) : NULL;
	if (argc > 1 && !v)
		return unknown(argv[1]);
	if (v && v->help)
		v->help();
	else
		list_verbs(stdout);
	return 0;
}

static int version_verb(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	(void)puts("mastfs " MASTFS_VERSION);
	return 0;
}

/* Whoever started us may have closed one: its number would go to a file of ours, and what
 * is meant for a terminal into that.  Children inherit them. */
static int fill_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0 || open("/dev/null", O_RDWR) == fd)
			continue;
		log_error("mastfs", "open /dev/null: %s", strerror(errno));
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	int status = fill_standard_descriptors();
	if (status)
		return status;
	if (helper_run(argc, argv, &status))
		return status;
	if (argc < 2) {
		list_verbs(stderr);
		return 2;
	}
	const char *name = argv[1];
	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		name = "help";
	else if (!strcmp(name, "--version") || !strcmp(name, "-V"))
		name = "version";
	const struct verb *v = find_verb(name);
	return v ? v->run(argc - 1, argv + 1) : unknown(name);
}
