/* node.c - see node.h. */
#include "fs/node.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

enum { PREFERRED_IO = 65536 }; /* what Python and cp size their buffers by */

/* One UTF-8 sequence: its length, 0 if it is none. */
static size_t utf8_length(const unsigned char *s)
{
	static const struct {
		unsigned char mask, lead;
		uint32_t least;
	} forms[] = {{0x80, 0x00, 0},
		     {0xe0, 0xc0, 0x80},
		     {0xf0, 0xe0, 0x800},
		     {0xf8, 0xf0, 0x10000}};
	for (size_t n = 0; n < 4; n++) {
		if ((*s & forms[n].mask) != forms[n].lead)
			continue;
		uint32_t point = *s & (unsigned char)~forms[n].mask;
		for (size_t i = 1; i <= n; i++) {
			if ((s[i] & 0xc0) != 0x80)
				return 0;
			point = point << 6 | (s[i] & 0x3f);
		}
		bool surrogate = point >= 0xd800 && point < 0xe000;
		return point < forms[n].least || point > 0x10ffff || surrogate ? 0
									       : n + 1;
	}
	return 0;
}

static bool is_utf8(const char *s)
{
	for (const unsigned char *p = (const unsigned char *)s; *p;) {
		size_t n = utf8_length(p);
		if (!n)
			return false;
		p += n;
	}
	return true;
}

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
	if (!r && ((fs->utf8_keys && !is_utf8(name)) || is_reserved(fs, name)))
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
	       struct inode **ret_in, struct fuse_entry_param *ret)
{
	int r = tree_enter(fs->tree, path, e, ret_in);
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

void node_reply_entry(struct task *t, struct inode *in, const struct fuse_entry_param *e)
{
	struct fs *fs = t->fs;
	uint64_t id = in->id;
	tree_put(fs->tree, in);
	if (reply_entry(t, e))
		tree_forget(fs->tree, id, 1);
}
