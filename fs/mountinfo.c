/* mountinfo.c - see mountinfo.h.
 *
 *   36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
 *   (1)(2)(3)  (4)   (5)   (6)        (7)...   - (9)
 * Space, tab, newline and backslash in (5) are written as \ and three octal digits.
 */
#include "fs/mountinfo.h"
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

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

static bool parse_line(char *line, const char *path, struct mount_entry *ret)
{
	struct mount_entry e = {0};
	int field = 0;
	bool optional_done = false, here = false;
	char *save = NULL;
	for (char *word = strtok_r(line, " \n", &save); word;
	     word = strtok_r(NULL, " \n", &save)) {
		field++;
		if (optional_done) {
			(void)snprintf(e.type, sizeof e.type, "%s", word);
			break;
		}
		if (field == 3 && sscanf(word, "%u:%u", &e.major, &e.minor) != 2)
			return false;
		if (field == 5) {
			unescape(word);
			here = !strcmp(word, path);
		}
		optional_done = field > 6 && !strcmp(word, "-");
	}
	if (!here || !e.type[0])
		return false;
	*ret = e;
	return true;
}

int mountinfo_search(FILE *f, const char *path, struct mount_entry *ret)
{
	CLEANUP_FREE char *line = NULL;
	size_t alloc = 0;
	int r = -ENOENT;
	/* Later lines lie over earlier ones. */
	while (getline(&line, &alloc, f) > 0) {
		if (parse_line(line, path, ret))
			r = 0;
	}
	return r;
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
