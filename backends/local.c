/* local.c - the reading half of the local backend, and its door; see local.h.
 */
#include "backends/local.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "backends/beneath.h"
#include "backends/local_write.h"
#include "backends/walk.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum {
	READ_PIECE = 256 << 10,
	PAGE_MAX = 8192, /* each page reads its directory anew: not too few */
};

int local_errno(const struct local *l, const char *op, const char *key, int r)
{
	switch (r) {
	case -ENOENT:
	case -EEXIST:
	case -ESTALE:
	case -EINTR:
	case -ETIMEDOUT: /* the call's deadline */
	case -EILSEQ:
	case -ENAMETOOLONG:
		return r;
	case -EPERM:
		r = -EACCES;
		break;
	case -EDQUOT:
		r = -ENOSPC;
		break;
	case -EMFILE:
	case -ENFILE:
		r = -EBUSY;
		break;
	case -EXDEV: /* a mount point below the root */
		r = -EOPNOTSUPP;
		break;
	case -ELOOP: /* a link where a directory has to be */
		r = -ENOTDIR;
		break;
	case -EIO:
		r = -EREMOTEIO;
		break;
	default:
		break;
	}
	log_error("file", "%s %s/%s: %s", op, l->dir, key, strerror(-r));
	return r;
}

int local_read_errno(const struct local *l, const char *op, const char *key, int r)
{
	if (r == -ENOTDIR || r == -ELOOP)
		r = -ENOENT;
	return r < 0 ? local_errno(l, op, key, r) : r;
}

int local_open_object(struct local *l, const char *key, struct object *ret)
{
	struct stat st;
	int r = beneath_check_key(key);
	if (r < 0)
		return r;
	/* Not blocking: it may turn out to be a FIFO. */
	CLEANUP_CLOSE int fd =
		beneath_open(l->root, key, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return fd == -ENXIO ? -ENOENT : fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!local_is_object(&st, key))
		return -ENOENT;
	beneath_object(&st, ret);
	local_read_tag(fd, ret);
	int out = fd;
	fd = -1;
	return out;
}

void local_read_tag(int fd, struct object *obj)
{
	ssize_t n = fgetxattr(fd, LOCAL_TAG_XATTR, obj->tag, sizeof obj->tag - 1);
	obj->tag[n > 0 ? n : 0] = '\0';
}

static int local_head(struct backend *be, const char *key, struct object *ret,
		      struct call *call)
{
	(void)call;
	struct object obj;
	CLEANUP_CLOSE int fd = local_open_object(local_of(be), key, &obj);
	if (fd < 0)
		return local_read_errno(local_of(be), "head", key, fd);
	*ret = obj;
	return 0;
}

static int same_version(int fd, const struct object *obj)
{
	struct stat st;
	struct object now;
	if (fstat(fd, &st) < 0)
		return -errno;
	beneath_object(&st, &now);
	return strcmp(now.etag, obj->etag) != 0 ? -ESTALE : 0;
}

/* *ret_sunk: the error is the sink's own and is handed on as it is. */
static int deliver(int fd, uint64_t off, uint64_t len, sink_fn *sink, void *arg,
		   struct call *call, bool *ret_sunk)
{
	CLEANUP_FREE char *piece = malloc(READ_PIECE);
	if (!piece)
		return -ENOMEM;
	while (len) {
		int r = call_check(call);
		if (r < 0)
			return r;
		ssize_t n =
			pread(fd, piece, len < READ_PIECE ? len : READ_PIECE, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ESTALE;
		r = sink(arg, off, piece, (size_t)n);
		if (r < 0) {
			*ret_sunk = true;
			return r;
		}
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static int local_get(struct backend *be, const char *key, const struct object *obj,
		     uint64_t off, uint64_t len, sink_fn *sink, void *arg,
		     struct call *call)
{
	struct object now;
	bool sunk = false;
	CLEANUP_CLOSE int fd = local_open_object(local_of(be), key, &now);
	int r = fd;
	if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP)
		return -ESTALE;
	if (r >= 0)
		r = strcmp(now.etag, obj->etag) != 0 ? -ESTALE : 0;
	if (!r)
		r = deliver(fd, off, len, sink, arg, call, &sunk);
	/* Somebody may have written into the file while it was read (P1). */
	if (!r)
		r = same_version(fd, obj);
	if (sunk)
		return r;
	return local_read_errno(local_of(be), "get", key, r);
}

static int local_list(struct backend *be, const struct list_query *q, char **token,
		      list_fn *fn, void *arg, struct call *call)
{
	struct local *l = local_of(be);
	CLEANUP(walk_done)
	struct walk_page page = {
		.max = q->max && q->max < PAGE_MAX ? q->max : PAGE_MAX,
		.prefix = q->prefix,
		.after = *token ? *token : "",
		.delim = q->delim,
		.call = call,
	};
	int r = walk_page(l->root, &page);
	if (r < 0)
		return local_errno(l, "list", q->prefix, r);
	if (page.odd && !atomic_exchange(&l->told_odd, true))
		log_warn("file",
			 "%s/%s: %" PRIu64 " names are not shown: neither file "
			 "nor directory, or too long",
			 l->dir, q->prefix, page.odd);
	CLEANUP_FREE char *next = page.more ? strdup(page.entries[page.n - 1].key) : NULL;
	if (page.more && !next)
		return -ENOMEM;
	for (size_t i = 0; i < page.n; i++) {
		struct walk_entry *e = &page.entries[i];
		r = fn(arg, e->key, strlen(e->key), e->prefix ? NULL : &e->obj);
		if (r < 0)
			return r;
	}
	free(*token);
	*token = STEAL(next);
	return 0;
}

static int local_probe(struct backend *be, bool writes, struct call *call)
{
	(void)call;
	struct local *l = local_of(be);
	int fd = open(l->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = fd < 0 ? errno : 0;
	if (err == ENOENT || err == ENOTDIR || err == ELOOP) {
		log_error("file", "%s: %s", l->dir,
			  err == ENOENT ? "no such directory" : "not a directory");
		return -ENODEV;
	}
	if (err)
		return local_errno(l, "open", "", -err);
	cleanup_close_(&l->root);
	l->root = fd;
	/* The first thing that an old kernel or a container's filter refuses. */
	CLEANUP_CLOSE int again = beneath_open(fd, ".", O_RDONLY | O_DIRECTORY);
	if (again < 0)
		return local_errno(l, "openat2", "", again);
	if (writes && (be->caps & BACKEND_WRITE))
		local_probe_writes(l);
	return 0;
}

static void local_free(struct backend *be)
{
	struct local *l = local_of(be);
	cleanup_close_(&l->root);
	(void)pthread_mutex_destroy(&l->publish);
	free(l->dir);
	free(be->name);
	free(l);
}

static const struct backend_ops local_ops = {
	.scheme = "file",
	.free = local_free,
	.probe = local_probe,
	.head = local_head,
	.get = local_get,
	.list = local_list,
	.put = local_put,
	.del = local_del,
	.copy = local_copy,
	.rename = local_rename,
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The directory of a file:/// URL, owned by the caller.  -EINVAL: it has none. */
static int url_dir(const char *url, char **ret)
{
	CLEANUP_BUF struct buf b;
	buf_init(&b, PATH_MAX - 1);
	if (strncmp(url, "file:///", 8) != 0)
		return -EINVAL;
	for (const char *s = url + 7; *s; s++) {
		int high = *s == '%' ? hex_digit(s[1]) : 0;
		int low = *s == '%' && high >= 0 ? hex_digit(s[2]) : 0;
		int c = *s == '%' ? 16 * high + low : *s;
		if (high < 0 || low < 0 || !c)
			return -EINVAL;
		buf_addc(&b, (char)c);
		s += *s == '%' ? 2 : 0;
	}
	while (b.len > 1 && b.data[b.len - 1] == '/')
		b.data[--b.len] = '\0';
	int r = buf_error_or(&b, -EINVAL);
	if (!r)
		*ret = buf_detach(&b);
	return r;
}

int local_open(const struct backend_conf *conf, struct backend **ret)
{
	struct local *l = calloc(1, sizeof *l);
	if (!l)
		return -ENOMEM;
	l->root = -1;
	(void)pthread_mutex_init(&l->publish, NULL);
	l->base.ops = &local_ops;
	int r = url_dir(conf->url, &l->dir);
	if (r == -EINVAL)
		log_error("file", "%s: not of the form file:///directory", conf->url);
	l->base.name = strdup(conf->url);
	if (!r && !l->base.name)
		r = -ENOMEM;
	if (r) {
		local_free(&l->base);
		return r;
	}
	l->base.caps = BACKEND_WRITE | BACKEND_PUT_IF | BACKEND_DEL_IF | BACKEND_COPY |
		       BACKEND_RENAME | BACKEND_LIST_META;
	l->base.limits = (struct backend_limits){
		.put_max = INT64_MAX, .part_align = 1, .object_max = INT64_MAX};
	*ret = &l->base;
	return 0;
}
