/* mountinfo.c - see mountinfo.h.
 *
 *   36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
 *   (1)(2)(3)  (4)   (5)   (6)        (7)...   - (9)  (10)      (11)
 * Space, tab, newline and backslash in (5) and (10) are written as \ and three octal
 * digits.
 */
#include "fs/mountinfo.h"
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

/* What is kept of a line: (1) to (6), then the '-' and the three behind it. */
enum { AFTER = 4, FIELDS = 6 + AFTER };

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

static void unescape(char *s)
{
	char *out = s;
	while (*s) {
		if (s[0] == '\\' && is_octal(s[1]) && is_octal(s[2]) && is_octal(s[3])) {
			*out++ =
				(char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + s[3] - '0');
			s += 4;
		} else {
			*out++ = *s++;
		}
	}
	*out = '\0';
}

/* Of the super block's options, as the kernel writes them for a FUSE mount. */
static uint32_t owner_of(const char *options)
{
	const char *p = options ? strstr(options, "user_id=") : NULL;
	return p ? (uint32_t)strtoul(p + strlen("user_id="), NULL, 10) : 0;
}

/* What comes between the options and the '-'. */
static void note_propagation(const char *word, struct mount_entry *e)
{
	e->shared |= !strncmp(word, "shared:", 7);
	e->slave |= !strncmp(word, "master:", 7);
}

/* The words of ret are in the line, which is changed. */
static bool parse_line(char *line, struct mount_line *ret)
{
	struct mount_line m = {0};
	char *words[FIELDS] = {0}, *save = NULL;
	int field = 0, after = 0; /* after: words behind the '-', with itself */
	for (char *word = strtok_r(line, " \n", &save); word && after < AFTER;
	     word = strtok_r(NULL, " \n", &save)) {
		after += after || (field >= 6 && !strcmp(word, "-"));
		if (after)
			words[6 + after - 1] = word;
		else if (field < 6)
			words[field] = word;
		else
			note_propagation(word, &m.entry);
		field++;
	}
	if (after < 2 || sscanf(words[2], "%u:%u", &m.entry.major, &m.entry.minor) != 2)
		return false;
	(void)snprintf(m.entry.type, sizeof m.entry.type, "%s", words[7]);
	m.entry.id = strtoull(words[0], NULL, 10);
	unescape(words[4]);
	m.path = words[4];
	if (words[8])
		unescape(words[8]);
	m.source = words[8] ? words[8] : "";
	m.uid = owner_of(words[9]);
	*ret = m;
	return true;
}

int mountinfo_each(FILE *f, int (*fn)(void *arg, const struct mount_line *m), void *arg)
{
	CLEANUP_FREE char *line = NULL;
	size_t alloc = 0;
	int r = 0;
	while (r == 0 && getline(&line, &alloc, f) > 0) {
		struct mount_line m;
		if (parse_line(line, &m))
			r = fn(arg, &m);
	}
	return r;
}

struct search {
	const char *path; /* NULL: by id */
	uint64_t id;
	struct mount_entry *ret;
	bool found;
	size_t longest; /* of those that the path lies on */
};

/* Later lines lie over earlier ones. */
static int match(void *arg, const struct mount_line *m)
{
	struct search *s = arg;
	if (s->path ? strcmp(m->path, s->path) != 0 : m->entry.id != s->id)
		return 0;
	*s->ret = m->entry;
	s->found = true;
	return 0;
}

int mountinfo_search(FILE *f, const char *path, struct mount_entry *ret)
{
	struct search s = {.path = path, .ret = ret};
	(void)mountinfo_each(f, match, &s);
	return s.found ? 0 : -ENOENT;
}

/* Is the path below it, or itself? */
static bool lies_on(const char *path, const char *dir)
{
	size_t n = strlen(dir);
	n -= n && dir[n - 1] == '/';
	return !strncmp(path, dir, n) && (path[n] == '/' || !path[n]);
}

static int match_over(void *arg, const struct mount_line *m)
{
	struct search *s = arg;
	if (!lies_on(s->path, m->path) || strlen(m->path) < s->longest)
		return 0;
	s->longest = strlen(m->path);
	*s->ret = m->entry;
	s->found = true;
	return 0;
}

int mountinfo_search_over(FILE *f, const char *path, struct mount_entry *ret)
{
	struct search s = {.path = path, .ret = ret};
	(void)mountinfo_each(f, match_over, &s);
	return s.found ? 0 : -ENOENT;
}

int mountinfo_search_id(FILE *f, uint64_t id, struct mount_entry *ret)
{
	struct search s = {.id = id, .ret = ret};
	(void)mountinfo_each(f, match, &s);
	return s.found ? 0 : -ENOENT;
}

int mountinfo_find(const char *path, struct mount_entry *ret)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return -errno;
	int r = mountinfo_search(f, path, ret);
	(void)fclose(f);
	return r;
}
