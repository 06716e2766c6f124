/* config.c - see config.h. */
#include "fs/config.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/source.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum {
	CONFIG_FILE_MAX = 1 << 16, /* bytes */
	TEXT_MAX = 1 << 16,
};

#define SYSTEM_FILE "/etc/mastfs.conf"

int config_init(struct config *c)
{
	memset(c, 0, sizeof *c);
	buf_init(&c->flags, TEXT_MAX);
	c->uid = geteuid();
	c->gid = getegid();
	CLEANUP_BUF struct buf why;
	buf_init(&why, 256);
	for (const struct option *o = options; o->name; o++) {
		if (!o->initial)
			continue;
		int r = option_set(o, c, o->initial, &why);
		if (r < 0)
			return r;
	}
	return 0;
}

void config_done(struct config *c)
{
	for (const struct option *o = options; o->name; o++) {
		if (o->type == OPTION_TEXT || o->type == OPTION_LIST)
			free(*(char **)((char *)c + o->offset));
	}
	free(c->store.url);
	free(c->mountpoint);
	buf_done(&c->flags);
}

/* Items are kept one after the other, each with its NUL. */
int config_collect(struct buf *items, const char *text)
{
	size_t start = items->len;
	for (const char *p = text; *p; p++) {
		if (*p == '\\' && p[1]) {
			buf_addc(items, *++p);
		} else if (*p != ',') {
			buf_addc(items, *p);
		} else if (items->len > start) {
			buf_addc(items, '\0');
			start = items->len;
		}
	}
	if (items->len > start)
		buf_addc(items, '\0');
	return buf_error(items);
}

/* The value is never shown where the name may be a credential's. */
static int refuse_unknown(const char *origin, const char *name)
{
	const char *nearest = option_nearest(name);
	if (source_holds_secret(name))
		log_error("config", "%s: a URL with a password in it is refused", origin);
	else if (option_is_secret(name))
		log_error("config", "%s %s: refused: %s", origin, name, source_keys_hint);
	else if (nearest)
		log_error("config", "%s %s: unknown option; the nearest is %s", origin,
			  name, nearest);
	else
		log_error("config",
			  "%s %s: unknown option; 'mastfs help mount' lists them", origin,
			  name);
	return -EINVAL;
}

static int apply(struct config *c, const char *origin, const char *name,
		 const char *value)
{
	const struct option *o = option_find(name);
	if (!o)
		return refuse_unknown(origin, name);
	CLEANUP_BUF struct buf why;
	buf_init(&why, 512);
	int r = option_set(o, c, value, &why);
	if (r == -EINVAL && value && !source_holds_secret(value))
		log_error("config", "%s %s=%s: %s", origin, name, value, why.data);
	else if (r < 0)
		log_error("config", "%s %s: %s", origin, name,
			  why.len ? why.data : "not enough memory");
	if (r == 0 && o->offset == offsetof(struct config, cache_reserve))
		c->cache_reserve_given = true;
	return r;
}

/* "name", "name=value", or a word of mount(8). */
static int apply_item(struct config *c, char *item)
{
	bool pass;
	if (mount_word(item, &pass)) {
		if (pass)
			buf_addf(&c->flags, ",%s", item);
		if (!strcmp(item, "rw"))
			c->read_only = false;
		return buf_error(&c->flags);
	}
	char *value = strchr(item, '=');
	if (value)
		*value++ = '\0';
	return apply(c, "-o", item, value);
}

int config_load_items(struct config *c, const struct buf *items)
{
	for (size_t off = 0; off < items->len;) {
		CLEANUP_FREE char *item = strdup(items->data + off);
		if (!item)
			return -ENOMEM;
		off += strlen(item) + 1;
		int r = apply_item(c, item);
		if (r < 0)
			return r;
	}
	return 0;
}

static char *trim(char *s)
{
	s += strspn(s, " \t\r");
	size_t len = strlen(s);
	while (len && strchr(" \t\r", s[len - 1]))
		s[--len] = '\0';
	return s;
}

/* "name = value", "name", "# comment". */
static int apply_line(struct config *c, const char *origin, char *line)
{
	line = trim(line);
	if (!*line || *line == '#')
		return 0;
	char *value = strchr(line, '=');
	if (value) {
		*value++ = '\0';
		value = trim(value);
	}
	char *name = trim(line);
	if (!strcmp(name, "config")) {
		log_error("config", "%s config: a config file cannot name another",
			  origin);
		return -EINVAL;
	}
	return apply(c, origin, name, value);
}

static int apply_text(struct config *c, const char *path, char *text)
{
	CLEANUP_BUF struct buf origin;
	buf_init(&origin, TEXT_MAX);
	int number = 0;
	for (char *line = text, *next; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		buf_reset(&origin);
		buf_addf(&origin, "%s:%d:", path, ++number);
		int r = apply_line(c, origin.data, line);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The whole file; -EFBIG if it is no config file by its size. */
static int read_text(const char *path, struct buf *ret)
{
	FILE *f = fopen(path, "re");
	if (!f)
		return -errno;
	char chunk[4096];
	size_t n;
	/* A device has no end. */
	while (!buf_error(ret) && (n = fread(chunk, 1, sizeof chunk, f)) > 0)
		buf_add(ret, chunk, n);
	int r = ferror(f) ? -(errno ? errno : EIO) : 0;
	(void)fclose(f);
	if (buf_error(ret) == -EMSGSIZE || strlen(ret->data) != ret->len)
		return -EFBIG;
	return r < 0 ? r : buf_error(ret);
}

static int apply_file(struct config *c, const char *path, bool must_exist)
{
	CLEANUP_BUF struct buf text;
	buf_init(&text, CONFIG_FILE_MAX);
	errno = 0;
	int r = read_text(path, &text);
	/* HOME may be another user's, whose directory is closed to us. */
	if (r < 0 && !must_exist && access(path, F_OK) < 0)
		return 0;
	if (r < 0) {
		log_error("config", "read config file %s: %s", path,
			  r == -EFBIG ? "not a text of at most 64 KiB" : strerror(-r));
		return r == -EINVAL ? -EIO : r;
	}
	return apply_text(c, path, text.data);
}

static int apply_standard_files(struct config *c)
{
	int r = apply_file(c, SYSTEM_FILE, false);
	if (r < 0)
		return r;
	CLEANUP_BUF struct buf path;
	buf_init(&path, TEXT_MAX);
	const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	if (base && base[0] == '/')
		buf_addf(&path, "%s/mastfs.conf", base);
	else if (home && home[0] == '/')
		buf_addf(&path, "%s/.config/mastfs.conf", home);
	else
		return 0;
	return buf_error(&path) ? buf_error(&path) : apply_file(c, path.data, false);
}

/* An empty variable counts as not set: that is how compose files leave one out. */
static int apply_environment(struct config *c)
{
	for (const struct option *o = options; o->name; o++) {
		CLEANUP_BUF struct buf name;
		buf_init(&name, 64);
		option_variable(o, &name);
		if (buf_error(&name))
			return buf_error(&name);
		const char *value = getenv(name.data);
		if (!value || !*value)
			continue;
		CLEANUP_BUF struct buf origin;
		buf_init(&origin, 128);
		buf_addf(&origin, "environment %s:", name.data);
		int r = apply(c, origin.data, o->name, value);
		if (r < 0)
			return r;
	}
	return 0;
}

/* config= among the items, the last one; else MASTFS_CONFIG; else NULL. */
static const char *named_file(const struct buf *items)
{
	const char *found = NULL;
	for (size_t off = 0; off < items->len; off += strlen(items->data + off) + 1) {
		if (!strncmp(items->data + off, "config=", 7))
			found = items->data + off + 7;
	}
	if (!found)
		found = getenv("MASTFS_CONFIG");
	return found && *found ? found : NULL;
}

int config_load(struct config *c, const struct buf *items)
{
	const char *named = named_file(items);
	int r = named ? apply_file(c, named, true) : apply_standard_files(c);
	if (r == 0)
		r = apply_environment(c);
	if (r == 0)
		r = config_load_items(c, items);
	return r;
}
