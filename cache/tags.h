/* tags.h - the uploads of ours that the bucket may have under one name.
 *
 * An upload that is broken off may have arrived; so may the one before it, if that
 * was broken off too.  Each has a tag; the list holds them, the newest first, with
 * spaces between them.  The oldest are forgotten: then our own object is taken for
 * somebody else's, which is safe (P5).
 */
#ifndef CACHE_TAGS_H
#define CACHE_TAGS_H
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "backends/backend.h"

enum { TAGS_SIZE = 8 * TAG_SIZE };

static inline bool tags_have(const char *list, const char *tag)
{
	size_t len = strlen(tag);
	for (const char *at = list; *tag && *at; at += strspn(at, " ")) {
		size_t n = strcspn(at, " ");
		if (n == len && !memcmp(at, tag, n))
			return true;
		at += n;
	}
	return false;
}

static inline void tags_add(char list[TAGS_SIZE], const char *tag)
{
	char all[TAGS_SIZE + TAG_SIZE + 1];
	if (!*tag || tags_have(list, tag))
		return;
	(void)snprintf(all, sizeof(all), "%s%s%s", tag, *list ? " " : "", list);
	while (strlen(all) >= TAGS_SIZE && strrchr(all, ' '))
		*strrchr(all, ' ') = '\0';
	memcpy(list, all, strlen(all) + 1);
}
#endif
