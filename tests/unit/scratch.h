/* scratch.h - what tests of backends share: a directory of their own, bytes to put,
 * a sink to get them. */
#ifndef TESTS_UNIT_SCRATCH_H
#define TESTS_UNIT_SCRATCH_H
#include <ftw.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backends/backend.h"
#include "backends/local.h"
#include "tests/unit/check.h"

struct scratch {
	char dir[64], url[80];
};

static inline int scratch_remove_(const char *path, const struct stat *st, int type,
				  struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void scratch_remove(const char *dir)
{
	CHECK(!nftw(dir, scratch_remove_, 16, FTW_DEPTH | FTW_PHYS));
}

static inline void scratch_done(struct scratch *s)
{
	scratch_remove(s->dir);
}

/* A local backend over a new empty directory, probed for writes. */
static inline struct backend *scratch_backend(struct scratch *s)
{
	struct backend *be;
	(void)snprintf(s->dir, sizeof s->dir, "/tmp/mastfs-test-XXXXXX");
	CHECK(mkdtemp(s->dir));
	(void)snprintf(s->url, sizeof s->url, "file://%s", s->dir);
	struct backend_conf conf = {.url = s->url};
	CHECK_EQ(local_open(&conf, &be), 0);
	CHECK_EQ(backend_probe(be, true, NULL), 0);
	return be;
}

/* Bytes in a file without a name; close its fd. */
static inline struct source scratch_source(const void *bytes, size_t len)
{
	int fd = memfd_create("source", MFD_CLOEXEC);
	CHECK(fd >= 0);
	CHECK(write(fd, bytes, len) == (ssize_t)len);
	return (struct source){.fd = fd, .len = len};
}

static inline int scratch_put(struct backend *be, const char *key, const char *text,
			      const struct put_opts *opts, struct object *ret)
{
	const struct put_opts none = {0};
	struct object obj;
	struct source src = scratch_source(text, strlen(text));
	int r = backend_put(be, key, &src, opts ? opts : &none, &obj, NULL);
	(void)close(src.fd);
	if (!r && ret)
		*ret = obj;
	return r;
}

/* A sink that keeps what it gets, and fails when it is told to. */
struct bowl {
	char data[1 << 16];
	size_t len;
	uint64_t next; /* expected offset */
	int error;     /* to give back */
};

static inline int bowl_sink(void *arg, uint64_t off, const void *bytes, size_t len)
{
	struct bowl *b = arg;
	if (b->error)
		return b->error;
	CHECK_EQ(off, b->next);
	CHECK(b->len + len < sizeof b->data);
	memcpy(b->data + b->len, bytes, len);
	b->len += len;
	b->data[b->len] = '\0';
	b->next = off + len;
	return 0;
}

static inline int scratch_get(struct backend *be, const char *key,
			      const struct object *obj, struct bowl *bowl,
			      struct call *call)
{
	*bowl = (struct bowl){.len = 0};
	return backend_get(be, key, obj, 0, obj->size, bowl_sink, bowl, call);
}
#endif
