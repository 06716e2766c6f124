/* probe.c - see probe.h. */
#include "backends/probe.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backends/crypto.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

static const char content[] = "mastfs";
enum { CONTENT_BYTES = sizeof content - 1 };

/* The object that the experiments are made on. */
struct probe {
	struct backend *be;
	struct call *call;
	const char *wrong_etag;
	struct source src;
	char key[64];
};

static int put(const struct probe *p, const struct cond *cond)
{
	struct put_opts opts = {.cond = *cond};
	struct object obj;
	return p->be->ops->put(p->be, p->key, &p->src, &opts, &obj, p->call);
}

/* What an experiment shows: 1 the condition held, 0 it was not honoured.  A server
 * that was merely busy has shown nothing: the error, so that it is tried again. */
static int verdict(int r, int want)
{
	if (r == want)
		return 1;
	return store_errno_is_transient(r) || r == -EINTR ? r : 0;
}

static int puts_conditionally(const struct probe *p)
{
	struct cond absent = {.if_absent = true}, wrong = {.if_etag = p->wrong_etag};
	int r = verdict(put(p, &absent), -EEXIST);
	return r == 1 ? verdict(put(p, &wrong), -ESTALE) : r;
}

static int try_finish(const struct probe *p, const char *id, const struct part *part,
		      const struct cond *cond)
{
	struct put_opts opts = {.cond = *cond};
	struct object obj;
	return p->be->ops->upload_finish(p->be, p->key, id, part, 1, CONTENT_BYTES, &opts,
					 &obj, p->call);
}

static int finishes_conditionally(const struct probe *p)
{
	const struct backend_ops *ops = p->be->ops;
	struct put_opts none = {0};
	struct cond absent = {.if_absent = true}, wrong = {.if_etag = p->wrong_etag};
	struct part part = {.number = 1, .size = CONTENT_BYTES};
	CLEANUP_FREE char *id = NULL;
	int r = ops->upload_begin(p->be, p->key, CONTENT_BYTES, &none, &id, p->call);
	if (r)
		return verdict(r, 1);
	r = verdict(ops->upload_part(p->be, p->key, id, 0, &p->src, &part, p->call), 0);
	if (r == 1)
		r = verdict(try_finish(p, id, &part, &absent), -EEXIST);
	if (r == 1)
		r = verdict(try_finish(p, id, &part, &wrong), -ESTALE);
	(void)ops->upload_abort(p->be, p->key, id, p->call);
	return r;
}

/* A store that takes the condition for an error of ours has not honoured it. */
static int deletes_conditionally(const struct probe *p)
{
	const struct backend_ops *ops = p->be->ops;
	struct cond wrong = {.if_etag = p->wrong_etag};
	struct object obj;
	int r = verdict(ops->del(p->be, p->key, &wrong, p->call), -ESTALE);
	return r == 1 ? verdict(ops->head(p->be, p->key, &obj, p->call), 0) : r;
}

static int find_conditions(const struct probe *p)
{
	static const struct {
		int (*holds)(const struct probe *p);
		uint32_t cap;
	} experiments[] = {
		{puts_conditionally, BACKEND_PUT_IF},
		{finishes_conditionally, BACKEND_FINISH_IF},
		{deletes_conditionally, BACKEND_DEL_IF},
	};
	for (size_t i = 0; i < sizeof experiments / sizeof experiments[0]; i++) {
		int r = experiments[i].holds(p);
		if (r < 0)
			return r;
		if (r)
			p->be->caps |= experiments[i].cap;
	}
	return 0;
}

static int name_probe(struct probe *p)
{
	uint8_t random[8];
	char hex[2 * sizeof random + 1];
	int r = crypto_random(random, sizeof random);
	if (r)
		return r;
	hex_encode(random, sizeof random, hex);
	(void)snprintf(p->key, sizeof p->key, PROBE_NAME "%s", hex);
	return 0;
}

static int experiment(const struct probe *p)
{
	struct cond absent = {.if_absent = true};
	int r = put(p, &absent);
	if (r == -EACCES || r == -EOPNOTSUPP || r == -EROFS) {
		p->be->caps &= ~(uint32_t)BACKEND_WRITE;
		log_warn("mount", "%s takes no writes from us: mounted read-only",
			 p->be->name);
		return 0;
	}
	if (r)
		return r;
	r = find_conditions(p);
	(void)p->be->ops->del(p->be, p->key, &(struct cond){0}, p->call);
	return r;
}

int probe_writes(struct store *st, const char *wrong_etag, struct call *call)
{
	CLEANUP_CLOSE int fd = memfd_create("mastfs-probe", MFD_CLOEXEC);
	struct probe p = {.be = &st->be,
			  .call = call,
			  .wrong_etag = wrong_etag,
			  .src = {.fd = fd, .len = CONTENT_BYTES}};
	if (fd < 0 || write(fd, content, CONTENT_BYTES) != CONTENT_BYTES)
		return errno ? -errno : -EIO;
	int r = name_probe(&p);
	if (r)
		return r;
	st->quiet = true;
	r = experiment(&p);
	st->quiet = false;
	return r;
}
