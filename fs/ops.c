/* ops.c - the kernel's requests: each one decoded into a task and dispatched.  No
 * policy is here but where a request runs: what only looks is tried at once and
 * waits on a pool if it must; what changes names or waits for uploads goes to a
 * pool of its own. */
#include <errno.h>
#include "fs/attr.h"
#include "fs/copy.h"
#include "fs/dir.h"
#include "fs/file.h"
#include "fs/passthrough.h"
#include "fs/rename.h"
#include "fs/task.h"
#include "fs/write.h"
#include "backends/util/banned.h"

enum { MAX_WRITE = 1 << 20, MAX_BACKGROUND = 64 };

static struct task task_for(fuse_req_t req, fuse_ino_t ino, task_fn *fn)
{
	return (struct task){
		.req = req, .fs = fuse_req_userdata(req), .ino = ino, .fn = fn};
}

static struct task file_task(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
			     task_fn *fn)
{
	struct task t = task_for(req, ino, fn);
	t.fi = *fi;
	return t;
}

/* libfuse 3.17 has a second, longer word of flags and refuses a change of both. */
static void want(struct fuse_conn_info *conn, unsigned flag, bool on)
{
#if HAVE_FUSE_PASSTHROUGH
	if (on)
		(void)fuse_set_feature_flag(conn, flag);
	else
		fuse_unset_feature_flag(conn, flag);
#else
	conn->want = on ? conn->want | (flag & conn->capable) : conn->want & ~flag;
#endif
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fs *fs = userdata;
	/* A number's contents change only through this mount, so pages are never
	 * dropped because a time changed (V4); and with the write-back cache the
	 * kernel would keep sizes and times to itself (V5). */
	want(conn, FUSE_CAP_AUTO_INVAL_DATA, false);
	want(conn, FUSE_CAP_WRITEBACK_CACHE, false);
	want(conn, FUSE_CAP_READDIRPLUS, true);
	want(conn, FUSE_CAP_READDIRPLUS_AUTO, false);
	want(conn, FUSE_CAP_ATOMIC_O_TRUNC, true);
	want(conn, FUSE_CAP_ASYNC_READ, true);
	want(conn, FUSE_CAP_PARALLEL_DIROPS, true);
	conn->max_write = MAX_WRITE;
	conn->max_background = MAX_BACKGROUND;
	conn->congestion_threshold = MAX_BACKGROUND * 3 / 4;
	conn->time_gran = 1;
	passthrough_ask(fs->passthrough, conn);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct task t = task_for(req, parent, dir_lookup);
	t.name = name;
	task_try(&t);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	struct fs *fs = fuse_req_userdata(req);
	tree_forget(fs->tree, ino, n);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *f)
{
	struct fs *fs = fuse_req_userdata(req);
	for (size_t i = 0; i < count; i++)
		tree_forget(fs->tree, f[i].ino, f[i].nlookup);
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct task t = task_for(req, ino, attr_get);
	(void)fi;
	task_read(&t);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		       struct fuse_file_info *fi)
{
	struct task t = task_for(req, ino, attr_set);
	(void)fi;
	t.attr = *attr;
	t.to_set = to_set;
	task_later(&t);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct task t = task_for(req, parent, dir_make);
	(void)mode;
	t.name = name;
	task_later(&t);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct task t = task_for(req, parent, rename_unlink);
	t.name = name;
	task_later(&t);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct task t = task_for(req, parent, dir_remove);
	t.name = name;
	task_later(&t);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
		      fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
	struct task t = task_for(req, parent, rename_file);
	t.name = name;
	t.ino2 = new_parent;
	t.name2 = new_name;
	t.flags = flags;
	task_later(&t);
}

/* What no object store has. */
static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	(void)ino;
	(void)parent;
	(void)name;
	(void)fuse_reply_err(req, EPERM);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
		       const char *name)
{
	(void)target;
	(void)parent;
	(void)name;
	(void)fuse_reply_err(req, EPERM);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		     dev_t rdev)
{
	(void)parent;
	(void)name;
	(void)mode;
	(void)rdev;
	(void)fuse_reply_err(req, EPERM);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct task t = file_task(req, parent, fi, file_create);
	(void)mode;
	t.name = name;
	task_try(&t);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct task t = file_task(req, ino, fi, file_open);
	task_try(&t);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct task t = file_task(req, ino, fi, file_read);
	t.stands_back = true;
	t.size = size;
	t.off = off;
	task_read(&t);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size,
		     off_t off, struct fuse_file_info *fi)
{
	struct task t = file_task(req, ino, fi, write_bytes);
	t.data = data;
	t.size = size;
	t.off = off;
	task_try(&t);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
			 struct fuse_file_info *fi)
{
	struct task t = file_task(req, ino, fi, write_allocate);
	t.mode = mode;
	t.off = off;
	t.len = len;
	task_try(&t);
}

static void op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
			       struct fuse_file_info *fi_in, fuse_ino_t ino_out,
			       off_t off_out, struct fuse_file_info *fi_out, size_t len,
			       int flags)
{
	struct task t = file_task(req, ino_out, fi_out, copy_range);
	(void)ino_in;
	(void)flags;
	if (off_in || off_out) {
		(void)fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	t.fh_in = fi_in->fh;
	t.size = len;
	task_later(&t);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct task t = file_task(req, ino, fi, file_flush);
	task_try(&t);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct task t = file_task(req, ino, fi, file_release);
	task_try(&t);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
		     struct fuse_file_info *fi)
{
	struct task t = file_task(req, ino, fi, file_fsync);
	(void)datasync;
	task_later(&t);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct task t = file_task(req, ino, fi, dir_open);
	task_read(&t);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	struct task t = file_task(req, ino, fi, dir_read);
	t.size = size;
	t.off = off;
	task_read(&t);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	struct task t = file_task(req, ino, fi, dir_read_plus);
	t.size = size;
	t.off = off;
	task_read(&t);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct task t = file_task(req, ino, fi, dir_release);
	task_read(&t);
}

static void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync,
			struct fuse_file_info *fi)
{
	struct task t = task_for(req, ino, dir_sync);
	(void)datasync;
	(void)fi;
	task_later(&t);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct task t = task_for(req, ino, attr_statfs);
	task_read(&t);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct task t = task_for(req, ino, attr_get_xattr);
	t.name = name;
	t.size = size;
	task_read(&t);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct task t = task_for(req, ino, attr_list_xattr);
	t.size = size;
	task_read(&t);
}

/* flock and fcntl locks are not here on purpose: the kernel's own then work for
 * all containers that share the mount.  They are an inode's: not for a reader past us and
 * a writer, who has another one (opening.h). */
const struct fuse_lowlevel_ops fs_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.create = op_create,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.fallocate = op_fallocate,
	.copy_file_range = op_copy_file_range,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
};
