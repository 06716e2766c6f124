/* profile.c - see profile.h. */
#include "backends/profile.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/crypto.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum { FILE_MAX = 1024 * 1024 };

struct profile {
	char *name;	  /* owned */
	struct buf pairs; /* "key\0value\0" each; the first of a key counts */
	bool found;
};

void profile_free(struct profile *p)
{
	if (!p)
		return;
	crypto_wipe(p->pairs.data, p->pairs.len);
	buf_done(&p->pairs);
	free(p->name);
	free(p);
}

const char *profile_name(const struct profile *p)
{
	return p->name;
}

const char *profile_get(const struct profile *p, const char *key)
{
	if (!p)
		return NULL;
	const char *s = p->pairs.data, *end = s + p->pairs.len;
	while (s < end) {
		const char *value = s + strlen(s) + 1;
		if (!strcmp(s, key))
			return value;
		s = value + strlen(value) + 1;
	}
	return NULL;
}

/* The blanks at both ends off; the end is a NUL written into the line. */
static char *trim(char *s)
{
	s += strspn(s, " \t\r");
	size_t n = strlen(s);
	while (n && strchr(" \t\r", s[n - 1]))
		n--;
	s[n] = '\0';
	return s;
}

/* "[name]", in the config file "[profile name]" or "[default]". */
static bool is_ours(const struct profile *p, char *line, bool config)
{
	char *close = strchr(line, ']');
	if (!close)
		return false;
	*close = '\0';
	char *name = trim(line + 1);
	if (config && !strncmp(name, "profile", 7) && (name[7] == ' ' || name[7] == '\t'))
		name = trim(name + 7);
	else if (config && strcmp(name, "default"))
		return false;
	return !strcmp(name, p->name);
}

static void read_pair(struct profile *p, char *line)
{
	char *equals = strchr(line, '=');
	/* An indented line belongs to a nested table, which we have no use for. */
	if (!equals || *line == ' ' || *line == '\t')
		return;
	*equals = '\0';
	char *value = equals + 1;
	char *comment = strstr(value, " #");
	if (comment)
		*comment = '\0';
	char *key = trim(line);
	value = trim(value);
	buf_add(&p->pairs, key, strlen(key) + 1);
	buf_add(&p->pairs, value, strlen(value) + 1);
}

static void read_lines(struct profile *p, char *text, bool config)
{
	bool ours = false;
	for (char *line = text, *next; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (*line == '#' || *line == ';')
			continue;
		if (*line == '[') {
			ours = is_ours(p, line, config);
			p->found |= ours;
		} else if (ours) {
			read_pair(p, line);
		}
	}
}

static int read_file(struct profile *p, const char *path, bool config)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		if (errno != ENOENT && errno != ENOTDIR)
			log_warn("s3", "cannot read %s: %m", path);
		return 0;
	}
	char *text = malloc(FILE_MAX + 1);
	if (!text)
		return -ENOMEM;
	size_t n = 0;
	ssize_t got;
	while (n < FILE_MAX && (got = read(fd, text + n, FILE_MAX - n)) > 0)
		n += (size_t)got;
	text[n] = '\0';
	read_lines(p, text, config);
	crypto_wipe(text, n);
	free(text);
	return buf_error(&p->pairs);
}

static int read_either(struct profile *p, const char *variable, const char *below_home,
		       bool config)
{
	const char *path = getenv(variable);
	if (path && *path)
		return read_file(p, path, config);
	const char *home = getenv("HOME");
	if (!home || !*home)
		return 0;
	CLEANUP_BUF struct buf full;
	buf_init(&full, 4096);
	buf_addf(&full, "%s/%s", home, below_home);
	return buf_error(&full) ? buf_error(&full) : read_file(p, full.data, config);
}

static const char *first_set(const char *a, const char *b)
{
	const char *v = getenv(a);
	if (v && *v)
		return v;
	v = getenv(b);
	return v && *v ? v : NULL;
}

int profile_load(const char *name, struct profile **ret)
{
	const char *asked = name ? name : first_set("AWS_PROFILE", "AWS_DEFAULT_PROFILE");
	struct profile *p = calloc(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	/* Twice a file: a key and a value each. */
	buf_init(&p->pairs, (size_t)2 * FILE_MAX);
	p->name = strdup(asked ? asked : "default");
	int r = p->name ? 0 : -ENOMEM;
	if (!r)
		r = read_either(p, "AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials",
				false);
	if (!r)
		r = read_either(p, "AWS_CONFIG_FILE", ".aws/config", true);
	if (!r && asked && !p->found) {
		log_error("s3",
			  "profile \"%s\" is in neither ~/.aws/config nor "
			  "~/.aws/credentials",
			  asked);
		r = -ENOENT;
	}
	if (r) {
		profile_free(p);
		return r;
	}
	*ret = p;
	return 0;
}
