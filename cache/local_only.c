/* local_only.c - see local_only.h. */
#include "cache/local_only.h"
#include <fnmatch.h>
#include <stddef.h>
#include <string.h>
#include "backends/backend.h"
#include "backends/util/banned.h"

enum { PATTERN_SIZE = 256, NAME_SIZE = 256 };

static bool part_matches(const char *pattern, const char *part, size_t len)
{
	char name[NAME_SIZE];
	if (len >= sizeof(name))
		return false;
	memcpy(name, part, len);
	name[len] = '\0';
	return fnmatch(pattern, name, 0) == 0;
}

/* Any part of the key but a file's own name is a directory; the whole key may be
 * the directory itself. */
static bool some_directory_matches(const char *pattern, const char *key)
{
	for (const char *part = key; *part;) {
		size_t len = strcspn(part, "/");
		if (part_matches(pattern, part, len))
			return true;
		part += len;
		part += *part == '/';
	}
	return false;
}

static bool last_part_matches(const char *pattern, const char *key)
{
	const char *slash = strrchr(key, '/');
	const char *part = slash ? slash + 1 : key;
	return part_matches(pattern, part, strlen(part));
}

bool local_only_match(const char *patterns, const char *key)
{
	for (const char *at = patterns; *at;) {
		size_t len = strcspn(at, ":");
		char pattern[PATTERN_SIZE];
		if (len > 0 && len < sizeof(pattern)) {
			bool dir = at[len - 1] == '/';
			memcpy(pattern, at, len - dir);
			pattern[len - dir] = '\0';
			if (dir ? some_directory_matches(pattern, key)
				: last_part_matches(pattern, key))
				return true;
		}
		at += len;
		at += *at == ':';
	}
	return false;
}
