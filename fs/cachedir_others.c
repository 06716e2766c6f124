/* cachedir_others.c - what other sources have left in this cache directory.
 *
 * Only a mount of the same source goes on with it, and one that is spelled otherwise,
 * with another endpoint or another public source below it, is another.
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include "fs/cachedir.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

static uint64_t count_files(const char *path)
{
	uint64_t n = 0;
	DIR *dir = opendir(path);
	for (const struct dirent *e; dir && (e = readdir(dir));)
		n += e->d_name[0] != '.';
	if (dir)
		(void)closedir(dir);
	return n;
}

/* Its identity in words, the first line of a file. */
static void add_identity(const char *path, struct buf *ret)
{
	char line[1024];
	FILE *f = fopen(path, "re");
	if (f && fgets(line, sizeof line, f))
		buf_add(ret, line, strcspn(line, "\n"));
	else
		buf_adds(ret, "a source that is not known any more");
	if (f)
		(void)fclose(f);
}

static void look_at(const struct cachedir *d, const char *name)
{
	CLEANUP_BUF struct buf path, identity;
	buf_init(&path, PATH_MAX);
	buf_init(&identity, 2048);
	buf_addf(&path, "%s/%s/staged", d->path, name);
	uint64_t n = buf_error(&path) ? 0 : count_files(path.data);
	if (!n)
		return;
	buf_reset(&path);
	buf_addf(&path, "%s/%s/source", d->path, name);
	add_identity(path.data, &identity);
	log_warn("mount",
		 "cache directory %s: %llu files in it were written for another source, "
		 "%s, "
		 "and are not in its bucket; a mount of that source with this cache "
		 "directory goes on with them",
		 d->path, (unsigned long long)n, identity.data);
}

void cachedir_log_others(const struct cachedir *d)
{
	const char *own = strrchr(d->source, '/') + 1;
	DIR *dir = opendir(d->path);
	for (const struct dirent *e; dir && (e = readdir(dir));)
		if (e->d_name[0] != '.' && strcmp(e->d_name, own) != 0)
			look_at(d, e->d_name);
	if (dir)
		(void)closedir(dir);
}
