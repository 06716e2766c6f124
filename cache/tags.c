/* tags.c - see tags.h. */
#include "cache/tags.h"
#include <stdio.h>
#include <string.h>
#include "backends/crypto.h"
#include "backends/util/banned.h"

int tag_make(char ret[static TAG_SIZE])
{
	unsigned char random[16];
	int r = crypto_random(random, sizeof(random));
	if (!r)
		hex_encode(random, sizeof(random), ret);
	return r;
}

/* Is the list's entry at, n characters long, one of the same family? */
static bool is_kin(const char *at, size_t n, const char *tag)
{
	return n == TAGS_CHARS && strlen(tag) == n && !memcmp(at, tag, TAGS_KIN_CHARS);
}

/* The newest that can have kin, if there are many; NULL: there are not. */
static const char *family_of(const char *list)
{
	const char *ret = NULL;
	int many = 0;
	for (const char *at = list; *at; at += strspn(at, " ")) {
		size_t n = strcspn(at, " ");
		if (n == TAGS_CHARS && !many++)
			ret = at;
		at += n;
	}
	return many >= TAGS_MANY ? ret : NULL;
}

int tag_make_kin(const char *list, char ret[static TAG_SIZE])
{
	const char *family = family_of(list);
	int r = tag_make(ret);
	if (!r && family)
		memcpy(ret, family, TAGS_KIN_CHARS);
	return r;
}

bool tags_have(const char *list, const char *tag)
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

bool tags_own(const char *list, const char *tag)
{
	if (!strcmp(tag, TAG_NOTHING))
		return false;
	for (const char *at = list; *at; at += strspn(at, " ")) {
		size_t n = strcspn(at, " ");
		if (is_kin(at, n, tag))
			return true;
		at += n;
	}
	return tags_have(list, tag);
}

void tags_add(char list[static TAGS_SIZE], const char *tag)
{
	char all[TAGS_SIZE + TAG_SIZE + 1];
	if (!*tag || tags_have(list, tag) || tags_own(list, tag))
		return;
	(void)snprintf(all, sizeof(all), "%s%s%s", tag, *list ? " " : "", list);
	while (strlen(all) >= TAGS_SIZE && strrchr(all, ' '))
		*strrchr(all, ' ') = '\0';
	memcpy(list, all, strlen(all) + 1);
}
