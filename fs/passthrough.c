/* passthrough.c - see passthrough.h.
 *
 * The id is asked for by ioctl with either libfuse: fuse_passthrough_open() of 3.17 is
 * that ioctl and a line on the log for each refusal.
 */
#include "fs/passthrough.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/fuse.h>
#include <linux/magic.h>
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "fs/fs_impl.h"
#include "backends/util/banned.h"

/* Of the kernel's include/uapi/linux/fuse.h 7.40, which Debian 12 does not have. */
struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define BACKING_OPEN  _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

struct passthrough {
	/* set once */
	uint32_t stack_depth; /* what a file's own file system may be, plus one */

	/* guarded by lock */
	pthread_mutex_t lock;
	int fd; /* the session's; borrowed; -1 = none */

	/* only the thread that answers INIT */
	uint64_t init_unique;		   /* its number */
	uint32_t init_flags, init_flags2; /* of what it offers, what we take */

	/* atomic */
	atomic_bool wanted;   /* may be asked for */
	atomic_bool on;	      /* agreed on */
	atomic_bool answered; /* INIT has been */
	atomic_int error;     /* for which it was turned off; 0 = for none */
};

/* overlayfs is stacked on the disk itself; what it is on may not be deeper than the
 * kernel is told. */
static uint32_t stack_depth_of(const char *dir)
{
	struct statfs sf;
	return !statfs(dir, &sf) && sf.f_type == OVERLAYFS_SUPER_MAGIC ? 2 : 1;
}

int passthrough_new(bool wanted, const char *cache_dir, struct passthrough **ret)
{
	struct passthrough *p = calloc(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	p->fd = -1;
	p->stack_depth = stack_depth_of(cache_dir);
	atomic_store(&p->wanted, wanted);
	(void)pthread_mutex_init(&p->lock, NULL);
	*ret = p;
	return 0;
}

void passthrough_free(struct passthrough *p)
{
	if (!p)
		return;
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
}

bool passthrough_is_on(struct passthrough *p)
{
	return atomic_load(&p->on);
}

/* --- files --- */

/* Errors that the next file would meet as well. */
static bool is_for_good(int error)
{
	return error == EPERM || error == ELOOP || error == ENOTTY || error == ENOSYS ||
	       error == EOPNOTSUPP;
}

static const char *hint(int error)
{
	return error == EPERM ? " (it needs CAP_SYS_ADMIN)" : "";
}

static void give_up(struct passthrough *p, int error)
{
	atomic_store(&p->error, error);
	if (atomic_exchange(&p->on, false))
		log_info("mount",
			 "complete files are read through the daemon, not by the kernel "
			 "itself: %s%s",
			 strerror(error), hint(error));
}

void passthrough_describe(struct passthrough *p, char *ret, size_t size)
{
	int error = atomic_load(&p->error);
	if (passthrough_is_on(p))
		(void)snprintf(ret, size, "active");
	else if (error)
		(void)snprintf(ret, size, "off: %s%s", strerror(error), hint(error));
	else
		(void)snprintf(ret, size, "off: %s",
			       atomic_load(&p->wanted) ? "the kernel does not offer it"
						       : "by the option passthrough");
}

int passthrough_open(struct passthrough *p, int fd)
{
	struct backing_map map = {.fd = fd};
	SCOPED_LOCK(&p->lock);
	if (p->fd < 0 || !passthrough_is_on(p))
		return -ENOTCONN;
	int id = ioctl(p->fd, BACKING_OPEN, &map);
	if (id > 0)
		return id;
	int error = id < 0 ? errno : EPROTO;
	if (is_for_good(error))
		give_up(p, error);
	return -error;
}

void passthrough_close(struct passthrough *p, int id)
{
	uint32_t n = (uint32_t)id;
	SCOPED_LOCK(&p->lock);
	if (p->fd >= 0 && ioctl(p->fd, BACKING_CLOSE, &n))
		log_debug("fuse", "close backing file %d: %s", id, strerror(errno));
}

void passthrough_detach(struct passthrough *p)
{
	SCOPED_LOCK(&p->lock);
	p->fd = -1;
	atomic_store(&p->on, false);
}

static void attach(struct passthrough *p, struct fuse_session *se)
{
	SCOPED_LOCK(&p->lock);
	p->fd = fuse_session_fd(se);
}

#if HAVE_FUSE_PASSTHROUGH

/* --- libfuse 3.17 and later --- */

int passthrough_attach(struct passthrough *p, struct fuse_session *se)
{
	attach(p, se);
	return 0;
}

void passthrough_ask(struct passthrough *p, struct fuse_conn_info *conn)
{
#ifdef FUSE_CAP_HANDLE_KILLPRIV_V2
	(void)fuse_set_feature_flag(conn, FUSE_CAP_HANDLE_KILLPRIV_V2);
#endif
	if (!atomic_load(&p->wanted) ||
	    !fuse_set_feature_flag(conn, FUSE_CAP_PASSTHROUGH))
		return;
	/* libfuse's number is the kernel's less one. */
	conn->max_backing_stack_depth = p->stack_depth - 1;
	atomic_store(&p->on, true);
}

int passthrough_reply_open(fuse_req_t req, struct fuse_file_info *fi, int id)
{
	fi->backing_id = id;
	/* The kernel refuses the two together. */
	if (id)
		fi->keep_cache = 0;
	return fuse_reply_open(req, fi);
}

#else

/* --- libfuse 3.14 to 3.16 --- */

enum {
	INIT_PASSTHROUGH = 1 << 5, /* in flags2: bit 37 of the flags */
	OPEN_PASSTHROUGH = 1 << 7,
};
/* Where 7.40 has max_stack_depth. */
#define STACK_DEPTH_AT (offsetof(struct fuse_init_out, flags2) + sizeof(uint32_t))

/* What is read into buf: is it an INIT, and what does it offer? */
static void look_for_init(struct passthrough *p, const char *buf, size_t len)
{
	struct fuse_in_header head;
	struct fuse_init_in in;
	if (len < sizeof head + sizeof in)
		return;
	memcpy(&head, buf, sizeof head);
	if (head.opcode != FUSE_INIT)
		return;
	memcpy(&in, buf + sizeof head, sizeof in);
	p->init_unique = head.unique;
	/* libfuse documents that it says FUSE_PARALLEL_DIROPS, and does not: one name
	 * that is slow to look up would hold up all others of its directory. */
	p->init_flags = in.flags & (FUSE_HANDLE_KILLPRIV_V2 | FUSE_PARALLEL_DIROPS);
	if (atomic_load(&p->wanted) && (in.flags & FUSE_INIT_EXT))
		p->init_flags2 = in.flags2 & INIT_PASSTHROUGH;
}

static ssize_t hook_read(int fd, void *buf, size_t len, void *userdata)
{
	struct passthrough *p = ((struct fs *)userdata)->passthrough;
	ssize_t n = read(fd, buf, len);
	if (n > 0 && !atomic_load(&p->answered))
		look_for_init(p, buf, (size_t)n);
	return n;
}

/* Is this the reply to that INIT, and one that has room for our answer? */
static bool is_reply_to_init(const struct passthrough *p, const struct iovec *iov,
			     int count, struct fuse_init_out *ret)
{
	struct fuse_out_header head;
	if (!p->init_unique || count != 2 || iov[0].iov_len != sizeof head ||
	    iov[1].iov_len != sizeof *ret)
		return false;
	memcpy(&head, iov[0].iov_base, sizeof head);
	memcpy(ret, iov[1].iov_base, sizeof *ret);
	return head.unique == p->init_unique && !head.error;
}

static ssize_t hook_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct passthrough *p = ((struct fs *)userdata)->passthrough;
	struct fuse_init_out out;
	if (atomic_load(&p->answered) || !is_reply_to_init(p, iov, count, &out))
		return writev(fd, iov, count);
	bool passes = p->init_flags2 && (out.flags & FUSE_INIT_EXT);
	out.flags |= p->init_flags;
	if (passes) {
		out.flags2 |= p->init_flags2;
		memcpy((char *)&out + STACK_DEPTH_AT, &p->stack_depth,
		       sizeof p->stack_depth);
	}
	struct iovec ours[2] = {iov[0], {.iov_base = &out, .iov_len = sizeof out}};
	ssize_t n = writev(fd, ours, 2);
	atomic_store(&p->on, passes && n > 0);
	/* There is one INIT in a session: nothing is looked at any more. */
	atomic_store(&p->answered, true);
	return n;
}

int passthrough_attach(struct passthrough *p, struct fuse_session *se)
{
	static const struct fuse_custom_io io = {.read = hook_read,
						 .writev = hook_writev};
	attach(p, se);
	return fuse_session_custom_io(se, &io, fuse_session_fd(se));
}

void passthrough_ask(struct passthrough *p, struct fuse_conn_info *conn)
{
	(void)p;
	(void)conn; /* does not know the flags */
}

/* libfuse can not say it: our own answer, in the kernel's form. */
int passthrough_reply_open(fuse_req_t req, struct fuse_file_info *fi, int id)
{
	if (!id)
		return fuse_reply_open(req, fi);
	struct fuse_open_out out = {
		.fh = fi->fh,
		.open_flags = OPEN_PASSTHROUGH | (fi->noflush ? FOPEN_NOFLUSH : 0),
		.padding = (uint32_t)id, /* 7.40: backing_id */
	};
	return fuse_reply_buf(req, (const char *)&out, sizeof out);
}

#endif
