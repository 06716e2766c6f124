/* dir_copy.c - the objects of a directory that gets another name are copied within the
 * store, several at once.  See dir_move.h. */
#include <errno.h>
#include <string.h>
#include "backends/util/log.h"
#include "backends/util/pool.h"
#include "cache/dir_move_impl.h"
#include "backends/util/banned.h"

enum { TRIES = 3 }; /* somebody writes the source again and again */

static struct call call_of(const struct dir_move *m)
{
	/* A deadline for each request, not for all of them. */
	return (struct call){
		.deadline_ns = clock_add(clock_now_ns(), m->vw->timeout_ns),
		.outer = m->call,
	};
}

/* -ENOENT: it has gone. */
static int look(struct dir_move *m, struct dir_item *it)
{
	struct call call = call_of(m);
	return backend_head(m->vw->be, it->from, &it->was, &call);
}

/* What a copy must be told and the listing did not tell: the user's mtime; and whose
 * object it is, if a staged file that replaces it is to know that. */
static int learn(struct dir_move *m, struct dir_item *it)
{
	struct view *vw = m->vw;
	bool timed = vw->be->caps & BACKEND_LIST_META ||
		     !blocks_get_mtime(vw->bl, it->from, it->was.etag, &it->was.mtime_ns);
	bool known = !it->leaf || !*it->leaf->left_tags || *it->was.tag ||
		     !strcmp(it->leaf->left_etag, it->was.etag);
	return timed && known ? 0 : look(m, it);
}

/* Made before, by an attempt whose answer was lost? */
static int is_there(struct dir_move *m, struct dir_item *it)
{
	struct call call = call_of(m);
	int r = backend_head(m->vw->be, it->to, &it->is, &call);
	if (!r && !strcmp(it->is.tag, m->tag))
		return 0;
	if (!r)
		log_warn("rename", "%s was made by somebody else meanwhile", it->to);
	return r && r != -ENOENT ? r : -ENOTEMPTY;
}

static int send_copy(struct dir_move *m, struct dir_item *it)
{
	struct call call = call_of(m);
	struct put_opts opts = {.mtime_ns = it->was.mtime_ns, .tag = m->tag};
	/* What is left there from before may be written over. */
	opts.cond.if_absent = !it->left && !atomic_load(&m->blind);
	it->tried = true;
	int r = backend_copy(m->vw->be, it->from, &it->was, it->to, &opts, &it->is,
			     &call);
	if (r == -EOPNOTSUPP && opts.cond.if_absent) {
		atomic_store(&m->blind, true);
		opts.cond.if_absent = false;
		r = backend_copy(m->vw->be, it->from, &it->was, it->to, &opts, &it->is,
				 &call);
	}
	it->is.mtime_ns = it->was.mtime_ns;
	return r == -EEXIST ? is_there(m, it) : r;
}

static int copy_object(struct dir_move *m, struct dir_item *it)
{
	int r = learn(m, it);
	for (int i = 0; !r && i < TRIES; i++) {
		r = send_copy(m, it);
		if (r != -ESTALE)
			break;
		r = look(m, it);
		if (!r && i == TRIES - 1)
			r = -EBUSY;
	}
	it->gone = r == -ENOENT;
	return it->gone ? 0 : r == -EOPNOTSUPP ? -EXDEV : r;
}

/* As mkdir makes it. */
static int make_marker(struct dir_move *m, struct dir_item *it)
{
	struct call call = call_of(m);
	struct source none = {.fd = -1};
	struct put_opts opts = {.tag = m->tag,
				.cond.if_absent = m->vw->be->caps & BACKEND_PUT_IF};
	it->tried = true;
	int r = backend_put(m->vw->be, it->to, &none, &opts, &it->is, &call);
	return r == -EEXIST ? 0 : r;
}

static void work(void *arg)
{
	struct dir_move *m = arg;
	for (;;) {
		size_t at = atomic_fetch_add(&m->next, 1);
		if (at >= m->n || atomic_load(&m->error))
			return;
		struct dir_item *it = &m->items[at];
		int r = it->phantom  ? 0
			: it->marker ? make_marker(m, it)
				     : copy_object(m, it);
		int none = 0;
		if (r)
			(void)atomic_compare_exchange_strong(&m->error, &none, r);
	}
}

int dir_copy(struct dir_move *m)
{
	struct pool_conf conf = {.name = "rename", .threads_max = m->vw->uploaders};
	struct pool *pool;
	int r = pool_new(&conf, &pool);
	if (r)
		return r;
	for (size_t i = 0; i < conf.threads_max && i < m->n; i++)
		if (pool_submit(pool, PRIO_DEMAND, work, m))
			break;
	work(m); /* also if no thread could be had */
	pool_free(pool);
	return atomic_load(&m->error);
}
