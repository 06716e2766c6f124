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

/* What the pattern makes of the key; len: of the pattern. */
static enum local_only kind_by(char *pattern, size_t len, const char *key)
{
	if (pattern[len - 1] == '/') {
		pattern[len - 1] = '\0';
		return some_directory_matches(pattern, key) ? LOCAL_BELOW : LOCAL_NOT;
	}
	if (!last_part_matches(pattern, key))
		return LOCAL_NOT;
	bool shape = *pattern != '.' && strpbrk(pattern, "?[");
	return shape ? LOCAL_BY_SHAPE : LOCAL_BY_WORD;
}

enum local_only local_only_kind(const char *patterns, const char *key)
{
	enum local_only kind = LOCAL_NOT;
	for (const char *at = patterns; *at;) {
		size_t len = strcspn(at, ":");
		bool not = *at == '!';
		char pattern[PATTERN_SIZE];
		if (len > not && len < sizeof(pattern)) {
			memcpy(pattern, at + not, len - not);
			pattern[len - not] = '\0';
			enum local_only by = kind_by(pattern, len - not, key);
			if (by && not)
				kind = LOCAL_NOT;
			else if (by > kind)
				kind = by;
		}
		at += len;
		at += *at == ':';
	}
	return kind;
}

bool local_only_match(const char *patterns, const char *key)
{
	return local_only_kind(patterns, key) != LOCAL_NOT;
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
