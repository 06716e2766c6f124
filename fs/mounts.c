/* mounts.c - see mounts.h. */
#include "fs/mounts.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "fs/control.h"
#include "fs/mountpoint.h"
#include "backends/util/banned.h"

static void drop(struct mounted *m)
{
	free(m->path);
	free(m->source);
	*m = (struct mounted){0};
}

/* Seen twice: what is mounted over another at a path, or bound to another path. */
static struct mounted *find_same(struct mounts *all, const struct mount_line *line)
{
	for (size_t i = 0; i < all->n; i++) {
		struct mounted *m = &all->list[i];
		if (!strcmp(m->path, line->path) ||
		    (m->entry.major == line->entry.major &&
		     m->entry.minor == line->entry.minor))
			return m;
	}
	return NULL;
}

static int add(void *arg, const struct mount_line *line)
{
	struct mounts *all = arg;
	if (strcmp(line->entry.type, MASTFS_TYPE) != 0 ||
	    (all->only && strcmp(all->only, line->path) != 0))
		return 0;
	struct mounted *m = find_same(all, line);
	/* Bound to other places: known by the first. */
	if (m && strcmp(m->path, line->path) != 0)
		return 0;
	if (!m && all->n == MOUNTS_MAX)
		return -E2BIG;
	if (m)
		drop(m);
	else
		m = &all->list[all->n++];
	m->entry = line->entry;
	m->uid = line->uid;
	m->path = strdup(line->path);
	m->source = strdup(line->source);
	return m->path && m->source ? 0 : -ENOMEM;
}

int mounts_find(const char *path, struct mounts *ret)
{
	struct mount_entry e;
	*ret = (struct mounts){0};
	int r = path ? mountpoint_resolve(path, &ret->only, &e) : 0;
	if (r < 0)
		return r;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return -errno;
	r = mountinfo_each(f, add, ret);
	(void)fclose(f);
	return r;
}

void mounts_done(struct mounts *m)
{
	for (size_t i = 0; i < m->n; i++)
		drop(&m->list[i]);
	free(STEAL(m->only));
	m->n = 0;
}

int mounts_ask(const struct mounted *m, const char *question, struct buf *ret,
	       int *ret_seen)
{
	int r = control_ask(&m->entry, m->uid, question, ret);
	*ret_seen = r == -ETIMEDOUT ? 0 : mountpoint_probe(m->path);
	/* A mount that is being made has a place in the table before it has a socket,
	 * and answers only after that. */
	if ((r == -ENOENT || r == -ECONNREFUSED) && *ret_seen == 0)
		r = control_ask(&m->entry, m->uid, question, ret);
	return r;
}

const char *mounts_why(int r)
{
	switch (r) {
	case -EACCES:
		return "its daemon is another user's: ask as root";
	case -ENOENT:
	case -ECONNREFUSED:
		return "its daemon cannot be asked from here (it is in another "
		       "container, or "
		       "has no control socket)";
	case -ETIMEDOUT:
		return "the daemon does not answer";
	case -EOPNOTSUPP:
	case -EPROTO:
	case -EBADMSG:
		return "its daemon is of another version";
	default:
		return strerror(-r);
	}
}
