/* node.c - see node.h. */
#include "fs/node.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "backends/util/utf8.h"
#include "backends/util/banned.h"

enum { PREFERRED_IO = 65536 }; /* what Python and cp size their buffers by */

static bool is_reserved(const struct fs *fs, const char *name)
{
	const char *start = fs->be->reserved;
	return start && !strncmp(name, start, strlen(start));
}

int node_child_path(struct fs *fs, fuse_ino_t dir, const char *name, char **ret)
{
	if (strlen(name) > NAME_MAX_BYTES)
		return -ENAMETOOLONG;
	struct inode *in = tree_get(fs->tree, dir);
	if (!in)
		return -ENOENT;
	CLEANUP_FREE char *parent = inode_path(fs->tree, in, NULL);
	tree_put(fs->tree, in);
	char *path = NULL;
	if (!parent || asprintf(&path, "%s%s%s", parent, *parent ? "/" : "", name) < 0)
		return -ENOMEM;
	int r = strlen(path) >= KEY_SIZE ? -ENAMETOOLONG : 0;
	if (!r && ((fs->utf8_keys && !utf8_is(name)) || is_reserved(fs, name)))
		r = -EILSEQ;
	if (r)
		free(path);
	else
		*ret = path;
	return r;
}

double node_kernel_ttl_s(const struct fs *fs)
{
	uint64_t ttl = fs->conf.ttl_ns < NS_PER_S ? fs->conf.ttl_ns : NS_PER_S;
	return (double)ttl / (double)NS_PER_S;
}

static struct timespec to_timespec(int64_t ns)
{
	struct timespec ts = {.tv_sec = ns / (int64_t)NS_PER_S,
			      .tv_nsec = ns % (int64_t)NS_PER_S};
	if (ts.tv_nsec < 0) {
		ts.tv_nsec += (long)NS_PER_S;
		ts.tv_sec--;
	}
	return ts;
}

void node_stat(struct fs *fs, struct inode *in, struct stat *ret)
{
	uint64_t size = 0;
	int64_t mtime_ns = fs->mounted_ns;
	bool dir = in->kind == NAME_DIR;
	if (!dir)
		inode_stat(in, &size, &mtime_ns);
	mode_t all = dir ? 0777 : 0666;
	*ret = (struct stat){
		.st_ino = in->id,
		.st_mode = (dir ? S_IFDIR : S_IFREG) | (all & ~fs->conf.umask),
		.st_nlink = 1,
		.st_uid = fs->conf.uid,
		.st_gid = fs->conf.gid,
		.st_size = (off_t)size,
		.st_blksize = PREFERRED_IO,
		.st_blocks = (blkcnt_t)((size + 511) / 512),
		.st_mtim = to_timespec(mtime_ns),
		.st_atim = to_timespec(mtime_ns),
		.st_ctim = to_timespec(mtime_ns),
	};
}

int node_entry(struct fs *fs, const char *path, const struct view_entry *e,
	       const struct tree_mark *mark, struct inode **ret_in,
	       struct fuse_entry_param *ret)
{
	int r = tree_enter(fs->tree, path, e, mark, ret_in);
	if (r)
		return r;
	tree_remember(fs->tree, *ret_in);
	*ret = (struct fuse_entry_param){
		.ino = (*ret_in)->id,
		.generation = 1,
		.attr_timeout = node_kernel_ttl_s(fs),
		.entry_timeout = node_kernel_ttl_s(fs),
	};
	node_stat(fs, *ret_in, &ret->attr);
	return 0;
}

int node_look_up(struct fs *fs, const char *path, struct inode **ret_in,
		 struct fuse_entry_param *ret, struct call *call)
{
	int r;
	do {
		struct view_entry e;
		struct tree_mark mark = tree_mark(fs->tree, path);
		r = view_lookup(fs->vw, path, &e, call);
		if (r)
			return r;
		r = node_entry(fs, path, &e, &mark, ret_in, ret);
		view_entry_done(&e);
	} while (r == TREE_CHANGED);
	return r;
}

void node_reply_entry(struct task *t, struct inode *in, const struct fuse_entry_param *e)
{
	struct fs *fs = t->fs;
	uint64_t id = in->id;
	tree_put(fs->tree, in);
	if (reply_entry(t, e))
		tree_forget(fs->tree, id, 1);
}

void node_take_back(struct fs *fs, struct inode *in)
{
	tree_forget(fs->tree, in->id, 1);
	tree_put(fs->tree, in);
}
