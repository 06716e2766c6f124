/* gate.c - see gate.h. */
#include "fs/gate.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "backends/util/cond.h"
#include "fs/node.h"
#include "backends/util/banned.h"

enum { LOOK_MS = 100 }; /* for who has been interrupted */

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;

	/* guarded by lock */
	struct gate_pass *inside;
	const char *from, *to; /* borrowed; NULL: nothing is closed */
};

static bool is_below(const char *dir, const char *path)
{
	size_t len = strlen(dir);
	return !strncmp(path, dir, len) && (path[len] == '/' || !path[len]);
}

static bool is_closed_locked(const struct gate *g, const char *path)
{
	return g->from && (is_below(g->from, path) || is_below(g->to, path));
}

static int wait_locked(struct gate *g, struct call *call)
{
	int r = call ? call_check(call) : -EAGAIN;
	if (!r)
		cond_wait_ms(&g->changed, &g->lock, LOOK_MS);
	return r;
}

static void let_in_locked(struct gate *g, struct gate_pass *p)
{
	p->next = g->inside;
	p->link = &g->inside;
	if (p->next)
		p->next->link = &p->next;
	g->inside = p;
}

/* q (or NULL) with it: who waited for the one within the other would wait for ever. */
static int enter(struct gate *g, struct gate_pass *p, struct gate_pass *q,
		 struct call *call)
{
	int r = 0;
	SCOPED_LOCK(&g->lock);
	while (!r &&
	       (is_closed_locked(g, p->path) || (q && is_closed_locked(g, q->path))))
		r = wait_locked(g, call);
	if (r)
		return r;
	let_in_locked(g, p);
	if (q)
		let_in_locked(g, q);
	return 0;
}

void gate_leave(struct fs *fs, struct gate_pass *p)
{
	struct gate *g = fs->gate;
	(void)pthread_mutex_lock(&g->lock);
	if (p->link) {
		*p->link = p->next;
		if (p->next)
			p->next->link = p->link;
		(void)pthread_cond_broadcast(&g->changed);
	}
	(void)pthread_mutex_unlock(&g->lock);
	p->link = NULL;
	free(STEAL(p->path));
}

/* Is it still the path, now that no directory above it gets another name? */
static bool is_still(const struct gate_pass *p, const char *now)
{
	return now && !strcmp(now, p->path);
}

int gate_enter_child(struct fs *fs, struct gate_pass *p, fuse_ino_t dir, const char *name,
		     struct call *call)
{
	for (;;) {
		CLEANUP_FREE char *now = NULL;
		int r = node_child_path(fs, dir, name, &p->path);
		if (!r)
			r = enter(fs->gate, p, NULL, call);
		if (!r)
			r = node_child_path(fs, dir, name, &now);
		if (!r && is_still(p, now))
			return 0;
		gate_leave(fs, p);
		if (r)
			return r;
	}
}

int gate_paths(const struct task *t, char **ret_from, char **ret_to)
{
	int r = node_child_path(t->fs, t->ino, t->name, ret_from);
	return r ? r : node_child_path(t->fs, t->ino2, t->name2, ret_to);
}

int gate_enter_both(const struct task *t, struct gate_pass *from, struct gate_pass *to,
		    struct call *call)
{
	for (;;) {
		CLEANUP_FREE char *from_now = NULL;
		CLEANUP_FREE char *to_now = NULL;
		int r = gate_paths(t, &from->path, &to->path);
		if (!r)
			r = enter(t->fs->gate, from, to, call);
		if (!r)
			r = gate_paths(t, &from_now, &to_now);
		if (!r && is_still(from, from_now) && is_still(to, to_now))
			return 0;
		gate_leave(t->fs, to);
		gate_leave(t->fs, from);
		if (r)
			return r;
	}
}

int gate_enter_inode(struct fs *fs, struct gate_pass *p, struct inode *in,
		     struct call *call)
{
	for (;;) {
		p->path = inode_path(fs->tree, in, NULL);
		int r = p->path ? enter(fs->gate, p, NULL, call) : -ENOMEM;
		CLEANUP_FREE char *now = inode_path(fs->tree, in, &p->named);
		if (!r && is_still(p, now))
			return 0;
		gate_leave(fs, p);
		if (r || !now)
			return r ? r : -ENOMEM;
	}
}

static bool has_inside_locked(const struct gate *g)
{
	for (const struct gate_pass *p = g->inside; p; p = p->next)
		if (is_closed_locked(g, p->path))
			return true;
	return false;
}

int gate_close(struct fs *fs, const char *from, const char *to, struct call *call)
{
	struct gate *g = fs->gate;
	int r = 0;
	SCOPED_LOCK(&g->lock);
	while (!r && g->from)
		r = wait_locked(g, call);
	if (r)
		return r;
	g->from = from;
	g->to = to;
	while (!r && has_inside_locked(g))
		r = wait_locked(g, call);
	if (r) {
		g->from = NULL;
		(void)pthread_cond_broadcast(&g->changed);
	}
	return r;
}

void gate_open(struct fs *fs)
{
	SCOPED_LOCK(&fs->gate->lock);
	fs->gate->from = NULL;
	(void)pthread_cond_broadcast(&fs->gate->changed);
}

int gate_new(struct gate **ret)
{
	struct gate *g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	(void)pthread_mutex_init(&g->lock, NULL);
	cond_init_monotonic(&g->changed);
	*ret = g;
	return 0;
}

void gate_free(struct gate *g)
{
	if (!g)
		return;
	(void)pthread_cond_destroy(&g->changed);
	(void)pthread_mutex_destroy(&g->lock);
	free(g);
}
