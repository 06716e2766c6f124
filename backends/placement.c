/* placement.c - see placement.h. */
#include "backends/placement.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/jwst.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum { LEVELS = 4, CLASS_SIZE = 64 };

static const char *const level_names[LEVELS] = {
	[JWST_ANCILLARY] = "ancillary",
	[JWST_RAW] = "raw",
	[JWST_CALIBRATED] = "calibrated",
	[JWST_COMBINED_LEVEL] = "combined",
};

struct placement {
	char classes[LEVELS][CLASS_SIZE]; /* "" = none is asked for */
};

static const char *last_part(const char *key)
{
	const char *slash = strrchr(key, '/');
	return slash ? slash + 1 : key;
}

const char *placement_level(const char *key)
{
	const char *name = last_part(key);
	return *name ? level_names[jwst_level(name)] : NULL;
}

const char *placement_class(const struct placement *p, const char *key)
{
	const char *name = last_part(key);
	const char *class = *name && p ? p->classes[jwst_level(name)] : "";
	return *class ? class : NULL;
}

void placement_free(struct placement *p)
{
	free(p);
}

static bool is_class(const char *s, size_t n)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		"0123456789_";
	return n && n < CLASS_SIZE && strspn(s, allowed) >= n;
}

static int find_level(const char *s, size_t n)
{
	for (int i = 0; i < LEVELS; i++)
		if (strlen(level_names[i]) == n && !strncmp(level_names[i], s, n))
			return i;
	return -1;
}

/* One "level=class" of n bytes. */
static int add_level(struct placement *p, const char *s, size_t n)
{
	size_t name = strcspn(s, "=:");
	int level = name < n ? find_level(s, name) : -1;
	if (level < 0 || *p->classes[level] || !is_class(s + name + 1, n - name - 1))
		return -EINVAL;
	memcpy(p->classes[level], s + name + 1, n - name - 1);
	return 0;
}

static int parse(struct placement *p, const char *text)
{
	size_t n = strlen(text);
	if (!strchr(text, '=')) {
		for (int i = 0; i < LEVELS && is_class(text, n); i++)
			memcpy(p->classes[i], text, n);
		return is_class(text, n) ? 0 : -EINVAL;
	}
	for (const char *s = text;; s += n + 1) {
		n = strcspn(s, ":");
		int r = add_level(p, s, n);
		if (r || !s[n])
			return r;
	}
}

int placement_new(const char *text, struct placement **ret)
{
	CLEANUP_FREE struct placement *p = calloc(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	int r = text && *text ? parse(p, text) : 0;
	if (r)
		log_error("mount",
			  "storage_class \"%s\": not a class such as STANDARD_IA, nor "
			  "raw=CLASS:calibrated=CLASS:combined=CLASS:ancillary=CLASS",
			  text);
	else
		*ret = STEAL(p);
	return r;
}
