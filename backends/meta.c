/* meta.c - see meta.h. */
#include "backends/meta.h"
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "backends/date.h"
#include "backends/util/clock.h"
#include "backends/util/banned.h"

bool meta_parse_mtime(const char *value, int64_t *ret_ns)
{
	return !date_parse_seconds(value, ret_ns) || !date_parse_iso(value, ret_ns);
}

static bool parse_gateway(const char *value, int64_t *ret_ns)
{
	int64_t n = 0;
	const char *p = value;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, *p - '0', &n))
			return false;
	if (p == value || (*p && strcmp(p, "ns")))
		return false;
	return *p ? (*ret_ns = n, true)
		  : !__builtin_mul_overflow(n, (int64_t)NS_PER_MS, ret_ns);
}

static void format_gateway(int64_t ns, char ret[static DATE_ISO_SIZE])
{
	(void)snprintf(ret, DATE_ISO_SIZE, "%" PRId64 "ns", ns);
}

static void format_whole_seconds(int64_t ns, char ret[static DATE_ISO_SIZE])
{
	int64_t s = ns / (int64_t)NS_PER_S - (ns % (int64_t)NS_PER_S < 0);
	(void)snprintf(ret, DATE_ISO_SIZE, "%" PRId64, s);
}

/* The first that is there is believed. */
static const struct {
	const char *name;
	bool (*parse)(const char *value, int64_t *ret_ns);
	void (*format)(int64_t ns, char ret[static DATE_ISO_SIZE]); /* NULL: see
								       meta.h */
} forms[] = {
	{"file-mtime", parse_gateway, format_gateway},
	{"mtime", meta_parse_mtime, NULL},
	{"goog-reserved-file-mtime", meta_parse_mtime, format_whole_seconds},
	{"gcsfuse_mtime", meta_parse_mtime, date_format_iso},
};

bool meta_mtime(meta_get_fn *get, const void *arg, int64_t *ret_ns)
{
	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		const char *value = get(arg, forms[i].name);
		int64_t ns;
		if (value && forms[i].parse(value, &ns)) {
			*ret_ns = ns;
			return true;
		}
	}
	return false;
}

bool meta_format_mtime(const char *name, int64_t ns, char ret[static DATE_ISO_SIZE])
{
	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
		if (forms[i].format && !strcmp(name, forms[i].name)) {
			forms[i].format(ns, ret);
			return true;
		}
	return false;
}
