/* local_only.c - see local_only.h. */
#include "cache/local_only.h"
#include <fnmatch.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
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

/* --- what it will be called --- */

static size_t suffix_by_patterns(const char *patterns, const char *name, size_t len)
{
	for (const char *at = patterns; *at;) {
		size_t n = strcspn(at, ":");
		/* Star and an ending without any other sign of a pattern. */
		bool ending = n > 2 && n < PATTERN_SIZE && at[0] == '*' && at[1] == '.' &&
			      strcspn(at + 1, "*?[\\/") >= n - 1;
		if (ending && len > n - 1 && !memcmp(name + len - (n - 1), at + 1, n - 1))
			return n - 1;
		at += n;
		at += *at == ':';
	}
	return 0;
}

static bool all_of(const char *s, size_t n, const char *set)
{
	return strspn(s, set) >= n;
}

#define HEX   "0123456789abcdefABCDEF"
#define ALNUM "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* How much of the name is the final one, from *skip on; 0: it cannot be told. */
static size_t final_part(const char *patterns, const char *name, size_t *skip)
{
	size_t len = strlen(name), n = suffix_by_patterns(patterns, name, len);
	*skip = 0;
	if (n)
		return len - n;
	if (len > 9 && name[len - 9] == '.' && all_of(name + len - 8, 8, HEX))
		return len - 9;
	*skip = 1;
	if (len > 8 && name[0] == '.' && name[len - 7] == '.' &&
	    all_of(name + len - 6, 6, ALNUM))
		return len - 8;
	return 0;
}

bool local_only_target(const char *patterns, const char *key, char ret[static KEY_SIZE])
{
	const char *slash = strrchr(key, '/'), *name = slash ? slash + 1 : key;
	size_t skip, n = final_part(patterns, name, &skip);
	if (!n || (size_t)(name - key) + n >= KEY_SIZE)
		return false;
	(void)snprintf(ret, KEY_SIZE, "%.*s%.*s", (int)(name - key), key, (int)n,
		       name + skip);
	return !local_only_match(patterns, ret);
}
