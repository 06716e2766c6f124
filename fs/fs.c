/* fs.c - see fs.h: the parts of one mount, made and taken down. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "fs/fs_impl.h"
#include "fs/passthrough.h"
#include "fs/task.h"
#include "backends/util/banned.h"

enum { READERS_MAX = 64, WRITERS_MAX = 64 };

static int make_pools(struct fs *fs)
{
	struct pool_conf readers = {.name = "reader", .threads_max = READERS_MAX};
	struct pool_conf writers = {.name = "writer", .threads_max = WRITERS_MAX};
	int r = pool_new(&readers, &fs->readers);
	return r ? r : pool_new(&writers, &fs->writers);
}

static int make_view(struct fs *fs, const struct fs_conf *conf)
{
	struct view_conf vc = {
		.dir = conf->cache_dir,
		.local_only = conf->local_only,
		.ttl_ns = conf->ttl_ns,
		.staging_bytes = conf->staging_bytes,
		.timeout_ns = conf->read_timeout_ns,
		.uploaders = conf->uploaders,
		.read_only = !fs->writable,
		.wait_uploads = !conf->upload_background,
	};
	return view_new(&vc, fs->be, fs->bl, &fs->vw);
}

int fs_new(const struct fs_conf *conf, struct backend *be, struct blocks *bl,
	   struct fs **ret)
{
	struct fs *fs = calloc(1, sizeof(*fs));
	if (!fs)
		return -ENOMEM;
	fs->conf = *conf;
	fs->be = be;
	fs->bl = bl;
	(void)pthread_mutex_init(&fs->lock, NULL);
	fs->mounted_ns = clock_wall_ns();
	fs->writable = !conf->read_only && (be->caps & BACKEND_WRITE);
	fs->utf8_keys = strcmp(be->ops->scheme, "file") != 0;
	fs->cache_dir = strdup(conf->cache_dir);
	int r = fs->cache_dir ? make_pools(fs) : -ENOMEM;
	if (!r)
		r = tree_new(&fs->tree);
	if (!r)
		r = passthrough_new(conf->passthrough, conf->cache_dir, &fs->passthrough);
	if (!r)
		r = make_view(fs, conf);
	if (r) {
		fs_free(fs);
		return r;
	}
	*ret = fs;
	return 0;
}

int fs_attach(struct fs *fs, struct fuse_session *se)
{
	return passthrough_attach(fs->passthrough, se);
}

void fs_detach(struct fs *fs)
{
	passthrough_detach(fs->passthrough);
}

void fs_opened(struct fs *fs, struct opened *o)
{
	SCOPED_LOCK(&fs->lock);
	o->next = fs->opened;
	o->link = &fs->opened;
	if (o->next)
		o->next->link = &o->next;
	fs->opened = o;
}

void fs_closed(struct fs *fs, struct opened *o)
{
	SCOPED_LOCK(&fs->lock);
	*o->link = o->next;
	if (o->next)
		o->next->link = o->link;
}

uint64_t fs_stop(struct fs *fs)
{
	uint64_t deadline_ns = clock_add(clock_now_ns(), fs->conf.drain_ns);
	blocks_stop_filling(fs->bl);
	uint64_t left = view_drain(fs->vw, deadline_ns);
	/* What closing files has begun since is short, or has given up already. */
	task_cancel_all(fs);
	pool_drain(fs->readers);
	pool_drain(fs->writers);
	return left ? left : view_drain(fs->vw, deadline_ns);
}

void fs_free(struct fs *fs)
{
	if (!fs)
		return;
	task_cancel_all(fs);
	pool_free(fs->readers);
	pool_free(fs->writers);
	while (fs->opened)
		fs->opened->close(fs, fs->opened);
	/* Inodes hold staged files and versions: before what those are in. */
	tree_free(fs->tree);
	view_free(fs->vw);
	passthrough_free(fs->passthrough);
	(void)pthread_mutex_destroy(&fs->lock);
	free(fs->cache_dir);
	free(fs);
}
