/* inode.c - see inode.h. */
#include "fs/inode.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/tree.h"
#include "backends/util/cleanup.h"
#include "backends/util/cond.h"
#include "backends/util/banned.h"

void inode_take_over_locked(struct inode *in)
{
	struct object obj;
	if (!in->staged || !staged_retired(in->staged) ||
	    !staged_object(in->staged, &obj))
		return;
	staged_unref(STEAL(in->staged));
	version_unref(STEAL(in->version));
	in->object = obj;
}

struct version *inode_take_version(struct inode *in)
{
	SCOPED_LOCK(&in->lock);
	return STEAL(in->version);
}

struct staged *inode_staged(struct inode *in)
{
	SCOPED_LOCK(&in->lock);
	inode_take_over_locked(in);
	return in->staged ? staged_ref(in->staged) : NULL;
}

void inode_object(struct inode *in, struct object *ret)
{
	SCOPED_LOCK(&in->lock);
	*ret = in->object;
	if (in->staged)
		(void)staged_object(in->staged, ret);
}

int inode_version(struct tree *tr, struct inode *in, struct blocks *bl,
		  struct version **ret)
{
	struct object obj;
	(void)pthread_mutex_lock(&in->lock);
	inode_take_over_locked(in);
	struct version *v = in->version ? version_ref(in->version) : NULL;
	obj = in->object;
	(void)pthread_mutex_unlock(&in->lock);
	if (v) {
		*ret = v;
		return 0;
	}
	CLEANUP_FREE char *path = inode_path(tr, in, NULL);
	int r = path ? version_get(bl, path, &obj, &v) : -ENOMEM;
	if (r)
		return r;
	(void)pthread_mutex_lock(&in->lock);
	if (!in->staged && !in->version && !strcmp(in->object.etag, obj.etag))
		in->version = version_ref(v);
	(void)pthread_mutex_unlock(&in->lock);
	*ret = v;
	return 0;
}

/* The writers of an inode are the writers of its staged file. */
static struct staged *swap_staged_locked(struct inode *in, struct staged *st)
{
	struct staged *old = in->staged;
	in->changes++;
	if (old)
		staged_add_writers(old, -in->writers);
	if (st)
		staged_add_writers(st, in->writers);
	in->staged = st;
	return old;
}

static void let_go(struct staged *st)
{
	if (st)
		staged_retire_if_idle(st);
	staged_unref(st);
}

void inode_set_staged(struct inode *in, struct staged *st)
{
	(void)pthread_mutex_lock(&in->lock);
	struct staged *old = swap_staged_locked(in, st);
	struct version *v = STEAL(in->version);
	(void)pthread_mutex_unlock(&in->lock);
	let_go(old);
	version_unref(v);
}

void inode_set_object(struct inode *in, const struct object *obj)
{
	(void)pthread_mutex_lock(&in->lock);
	struct staged *old = swap_staged_locked(in, NULL);
	struct version *v = STEAL(in->version);
	in->object = *obj;
	(void)pthread_mutex_unlock(&in->lock);
	let_go(old);
	version_unref(v);
}

/* The last one may have gone: then it is the cache's, and in knows no more of it. */
static void rest(struct inode *in, struct staged *st)
{
	let_go(st);
	SCOPED_LOCK(&in->lock);
	inode_take_over_locked(in);
}

void inode_add_writers(struct inode *in, int n)
{
	(void)pthread_mutex_lock(&in->lock);
	in->writers += n;
	struct staged *st = in->staged ? staged_ref(in->staged) : NULL;
	if (st)
		staged_add_writers(st, n);
	(void)pthread_mutex_unlock(&in->lock);
	if (n < 0)
		rest(in, st);
	else
		staged_unref(st);
}

void inode_leave(struct inode *in)
{
	SCOPED_LOCK(&in->lock);
	in->writers--;
	if (in->staged)
		staged_add_writers(in->staged, -1);
}

void inode_rest(struct inode *in)
{
	rest(in, inode_staged(in));
}

int inode_writers(struct inode *in)
{
	SCOPED_LOCK(&in->lock);
	return in->writers;
}

void inode_claim(struct inode *in)
{
	SCOPED_LOCK(&in->lock);
	while (in->busy)
		(void)pthread_cond_wait(&in->idle, &in->lock);
	in->busy = true;
}

int inode_await(struct inode *in, const struct call *call)
{
	enum { LOOK_MS = 100 };
	int r = 0;
	SCOPED_LOCK(&in->lock);
	while (in->busy && !(r = call_check(call)))
		cond_wait_ms(&in->idle, &in->lock, LOOK_MS);
	return r;
}

void inode_unclaim(struct inode *in)
{
	SCOPED_LOCK(&in->lock);
	in->busy = false;
	in->changes++;
	(void)pthread_cond_broadcast(&in->idle);
}

void inode_hold_name(struct inode *in)
{
	SCOPED_LOCK(&in->lock);
	while (in->name_held)
		(void)pthread_cond_wait(&in->idle, &in->lock);
	in->name_held = true;
}

void inode_release_name(struct inode *in)
{
	SCOPED_LOCK(&in->lock);
	in->name_held = false;
	(void)pthread_cond_broadcast(&in->idle);
}

void inode_stat(struct inode *in, uint64_t *ret_size, int64_t *ret_mtime_ns)
{
	struct staged *st = inode_staged(in);
	if (st) {
		staged_stat(st, ret_size, ret_mtime_ns);
		staged_unref(st);
		return;
	}
	SCOPED_LOCK(&in->lock);
	*ret_size = in->object.size;
	*ret_mtime_ns = in->object.mtime_ns;
}
