/* fs.c - see fs.h: the parts of one mount, made and taken down. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "fs/fs_impl.h"
#include "fs/gate.h"
#include "fs/mountinfo.h"
#include "fs/passthrough.h"
#include "fs/task.h"
#include "backends/util/banned.h"

enum {
	READERS_MAX = 64,
	LOOKERS_MAX = 16, /* beside them: who asks for a name waits for no bytes (P8) */
	WRITERS_MAX = 64,
	DRAIN_STEP_MS = 200,
	LEFT_NAMED_MAX = 10,
};

static int make_pools(struct fs *fs)
{
	struct pool_conf readers = {
		.name = "reader",
		.threads_max = READERS_MAX + LOOKERS_MAX,
		.reserved = LOOKERS_MAX,
	};
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
		.rename_max = conf->rename_max,
		.read_only = !fs_writable(fs),
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
	fs->utf8_keys = strcmp(be->ops->scheme, "file") != 0;
	fs->cache_dir = strdup(conf->cache_dir);
	int r = fs->cache_dir ? make_pools(fs) : -ENOMEM;
	if (!r)
		r = tree_new(&fs->tree);
	if (!r)
		r = gate_new(&fs->gate);
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

bool fs_writable(const struct fs *fs)
{
	return !fs->conf.read_only && (fs->be->caps & BACKEND_WRITE);
}

int fs_attach(struct fs *fs, struct fuse_session *se, const char *mountpoint)
{
	struct mount_entry e;
	if (!mountinfo_find(mountpoint, &e))
		fs->device = makedev(e.major, e.minor);
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

/* In steps: a signal does not wake whoever waits for an upload. */
static uint64_t drain(struct fs *fs, uint64_t deadline_ns, const atomic_bool *hurry)
{
	uint64_t left, step_ns;
	do {
		step_ns = clock_add(clock_now_ns(), DRAIN_STEP_MS * NS_PER_MS);
		left = view_drain(fs->vw, step_ns < deadline_ns ? step_ns : deadline_ns);
	} while (left && !atomic_load(hurry) && clock_now_ns() < deadline_ns);
	return left;
}

uint64_t fs_stop(struct fs *fs, const atomic_bool *hurry)
{
	uint64_t deadline_ns = clock_add(clock_now_ns(), fs->conf.drain_ns);
	blocks_stop_filling(fs->bl);
	(void)drain(fs, deadline_ns, hurry);
	/* What closing files has begun since is short, or has given up already. */
	task_cancel_all(fs);
	pool_drain(fs->readers);
	pool_drain(fs->writers);
	return drain(fs, deadline_ns, hurry);
}

struct naming {
	struct buf *out;
	unsigned named, more;
};

static void name_one(void *arg, const char *key)
{
	struct naming *n = arg;
	if (n->named == LEFT_NAMED_MAX) {
		n->more++;
		return;
	}
	n->named++;
	for (; *key; key++)
		buf_addc(n->out, *key > 0 && *key < ' ' ? '?' : *key);
	buf_addc(n->out, '\n');
}

void fs_name_left(struct fs *fs, struct buf *ret)
{
	struct naming n = {.out = ret};
	view_each_left(fs->vw, name_one, &n);
	if (n.more)
		buf_addf(ret, "and %u more\n", n.more);
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
	gate_free(fs->gate);
	passthrough_free(fs->passthrough);
	(void)pthread_mutex_destroy(&fs->lock);
	free(fs->cache_dir);
	free(fs);
}
