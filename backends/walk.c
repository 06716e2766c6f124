/* walk.c - see walk.h.
 *
 * Depth first.  Of each directory only the names that can still come into the page
 * are kept: those after page->after, and of these the least page->max + 1, because
 * every one of them makes at least one entry (but the directory that holds
 * page->after, hence one more).
 */
#include "backends/walk.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/beneath.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

/* The names of one directory, a directory's with its '/'. */
struct names {
	char **name; /* owned, and each of them */
	size_t n, alloc, keep;
	const char *bound; /* one of them: later ones are not needed; NULL = none */
};

static void names_done(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->name[i]);
	free(names->name);
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_sort(struct names *names)
{
	if (names->n)
		qsort(names->name, names->n, sizeof *names->name, by_bytes);
	if (names->n < names->keep)
		return;
	while (names->n > names->keep)
		free(names->name[--names->n]);
	names->bound = names->name[names->n - 1];
}

/* Most names of a large directory end at the first line: they come after those of
 * this page, or the page before had them. */
static int names_add(struct names *names, const char *name)
{
	if (names->bound && strcmp(name, names->bound) > 0)
		return 0;
	if (names->n == names->alloc && names->n >= 2 * names->keep)
		names_sort(names);
	if (names->n == names->alloc) {
		size_t alloc = names->alloc ? 2 * names->alloc : 64;
		char **p = reallocarray(names->name, alloc, sizeof *p);
		if (!p)
			return -ENOMEM;
		names->name = p;
		names->alloc = alloc;
	}
	char *copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	names->name[names->n++] = copy;
	return 0;
}

static int page_add(struct walk_page *page, const char *key, const struct stat *st)
{
	if (page->n == page->max) {
		page->more = true;
		return 0;
	}
	struct walk_entry *e = &page->entries[page->n];
	e->key = strdup(key);
	if (!e->key)
		return -ENOMEM;
	e->prefix = !st;
	if (st)
		beneath_object(st, &e->obj);
	page->n++;
	return 0;
}

/* DT_REG, DT_DIR, DT_UNKNOWN (gone) or another type, where readdir may not know. */
static unsigned char type_of(int dir, const struct dirent *de)
{
	struct stat st;
	if (de->d_type != DT_UNKNOWN)
		return de->d_type;
	return beneath_stat(dir, de->d_name, &st) < 0 ? DT_UNKNOWN : IFTODT(st.st_mode);
}

/* Whether the key, or something below it, comes after page->after. */
static bool still_to_come(const struct walk_page *page, const char *key, bool is_dir)
{
	if (strcmp(key, page->after) > 0)
		return true;
	return is_dir && !page->delim && !strncmp(page->after, key, strlen(key));
}

/* key has room for KEY_SIZE bytes and holds the directory's, base_len long. */
static int consider(struct walk_page *page, int dir, char *key, size_t base_len,
		    const struct dirent *de, struct names *names)
{
	const char *name = de->d_name;
	size_t len = strlen(name);
	if (!strcmp(name, ".") || !strcmp(name, "..") ||
	    (!base_len && !strcmp(name, BENEATH_TMP_DIR)))
		return 0;
	unsigned char type = type_of(dir, de);
	bool is_dir = type == DT_DIR;
	if (type == DT_UNKNOWN)
		return 0;
	if ((!is_dir && type != DT_REG) || base_len + len + is_dir >= KEY_SIZE) {
		page->odd++;
		return 0;
	}
	memcpy(key + base_len, name, len);
	key[base_len + len] = '/';
	key[base_len + len + is_dir] = '\0';
	/* Above the prefix only what leads to it, below it everything. */
	size_t want = strlen(page->prefix);
	if (want > base_len && strncmp(key, page->prefix, want) != 0)
		return 0;
	return still_to_come(page, key, is_dir) ? names_add(names, key + base_len) : 0;
}

static int read_names(struct walk_page *page, int dir, char *key, size_t base_len,
		      struct names *names)
{
	int fd = fcntl(dir, F_DUPFD_CLOEXEC, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		int err = errno;
		cleanup_close_(&fd);
		return -err;
	}
	int r = 0;
	struct dirent *de;
	while (errno = 0, r >= 0 && (de = readdir(d)))
		r = consider(page, dir, key, base_len, de, names);
	if (r >= 0 && errno)
		r = -errno;
	(void)closedir(d);
	key[base_len] = '\0';
	names_sort(names);
	return r;
}

static int walk_dir(struct walk_page *page, int dir, char *key, size_t base_len);

/* A directory that went since its parent was read is no error. */
static int walk_subdir(struct walk_page *page, int dir, const char *name, char *key)
{
	struct stat st;
	CLEANUP_CLOSE int fd = beneath_open(dir, name, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP ? 0 : fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	int r = strcmp(key, page->after) > 0 ? page_add(page, key, &st) : 0;
	return r < 0 || page->more ? r : walk_dir(page, fd, key, strlen(key));
}

static int walk_name(struct walk_page *page, int dir, const char *name, char *key)
{
	struct stat st;
	if (name[strlen(name) - 1] == '/')
		return page->delim ? page_add(page, key, NULL)
				   : walk_subdir(page, dir, name, key);
	int r = beneath_stat(dir, name, &st);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return S_ISREG(st.st_mode) ? page_add(page, key, &st) : 0;
}

static int walk_dir(struct walk_page *page, int dir, char *key, size_t base_len)
{
	CLEANUP(names_done) struct names names = {.keep = page->max + 2};
	int r = call_check(page->call);
	if (!r)
		r = read_names(page, dir, key, base_len, &names);
	for (size_t i = 0; r >= 0 && !page->more && i < names.n; i++) {
		memcpy(key + base_len, names.name[i], strlen(names.name[i]) + 1);
		r = walk_name(page, dir, names.name[i], key);
	}
	key[base_len] = '\0';
	return r;
}

/* The directory part of the prefix; its own marker comes first. */
static int walk_start(int root, struct walk_page *page, char *key)
{
	struct stat st;
	const char *slash = strrchr(page->prefix, '/');
	size_t len = slash ? (size_t)(slash - page->prefix) + 1 : 0;
	memcpy(key, page->prefix, len);
	key[len] = '\0';
	if (len && beneath_check_key(key) < 0)
		return 0;
	CLEANUP_CLOSE int dir =
		beneath_open(root, len ? key : ".", O_RDONLY | O_DIRECTORY);
	if (dir < 0)
		return dir == -ENOENT || dir == -ENOTDIR || dir == -ELOOP ? 0 : dir;
	if (len && !page->prefix[len] && strcmp(key, page->after) > 0) {
		if (fstat(dir, &st) < 0)
			return -errno;
		int r = page_add(page, key, &st);
		if (r < 0)
			return r;
	}
	return walk_dir(page, dir, key, len);
}

int walk_page(int root, struct walk_page *page)
{
	char key[KEY_SIZE];
	page->entries = calloc(page->max, sizeof *page->entries);
	return page->entries ? walk_start(root, page, key) : -ENOMEM;
}

void walk_done(struct walk_page *page)
{
	for (size_t i = 0; i < page->n; i++)
		free(page->entries[i].key);
	free(page->entries);
	page->entries = NULL;
	page->n = 0;
}
