/* probe.c - see probe.h. */
#include "backends/probe.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backends/crypto.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

static const char content[] = "mastfs";
enum { CONTENT_BYTES = sizeof content - 1 };

enum { REMOVE_TRIES = 3, PROBE_HEX = 16, LAST_CALL_S = 5 };
#define LEFT_AFTER_NS (86400 * (int64_t)NS_PER_S) /* no probe lasts so long */

/* The object that the experiments are made on. */
struct probe {
	struct store *st;
	struct backend *be; /* of st */
	struct call *call;
	const char *wrong_etag;
	struct source src;
	char key[PROBE_NAME_SIZE];
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
	return store_errno_is_transient(r) || r == -EKEYEXPIRED || r == -EINTR ? r : 0;
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
	struct call last = probe_last_call();
	(void)ops->upload_abort(p->be, p->key, id, &last);
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

/* What they are for is done by hand then: a look just before (upload.c). */
static void warn_of_missing(const struct backend *be)
{
	uint32_t missing = (BACKEND_PUT_IF | BACKEND_FINISH_IF) & ~be->caps;
	if (missing)
		log_warn("mount",
			 "%s ignores preconditions of %s: what another client writes in "
			 "the moment before an upload of ours is overwritten",
			 be->name,
			 missing == BACKEND_PUT_IF	? "a PUT"
			 : missing == BACKEND_FINISH_IF ? "uploads in parts"
							: "writes");
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
		if (p->st->probed & experiments[i].cap)
			continue;
		int r = experiments[i].holds(p);
		if (r < 0)
			return r;
		p->st->probed |= experiments[i].cap;
		if (r)
			p->be->caps |= experiments[i].cap;
	}
	warn_of_missing(p->be);
	return 0;
}

int probe_name(char ret[static PROBE_NAME_SIZE])
{
	uint8_t random[PROBE_HEX / 2];
	char hex[PROBE_HEX + 1];
	int r = crypto_random(random, sizeof random);
	if (r)
		return r;
	hex_encode(random, sizeof random, hex);
	(void)snprintf(ret, PROBE_NAME_SIZE, PROBE_NAME "%s", hex);
	return 0;
}

struct call probe_last_call(void)
{
	return (struct call){.deadline_ns =
				     clock_add(clock_now_ns(), LAST_CALL_S * NS_PER_S)};
}

void probe_remove(struct backend *be, const char *key)
{
	struct call call = probe_last_call();
	for (int i = 0; i < REMOVE_TRIES; i++)
		if (!store_errno_is_transient(
			    be->ops->del(be, key, &(struct cond){0}, &call)))
			return;
}

static int experiment(const struct probe *p)
{
	struct cond absent = {.if_absent = true};
	int r = put(p, &absent);
	/* Nobody else has this name: it was us, and the connection's library sent it
	 * again when the answer was lost. */
	if (r == -EEXIST)
		r = 0;
	if (r == -EACCES || r == -EOPNOTSUPP || r == -EROFS) {
		p->be->caps &= ~(uint32_t)BACKEND_WRITE;
		log_warn("mount", "%s takes no writes from us: mounted read-only",
			 p->be->name);
		return 0;
	}
	if (r == -ENOSPC) {
		log_warn("mount",
			 "%s is full: whether it checks preconditions is for the next "
			 "mount to find out; until then what another client writes in "
			 "the moment before an upload of ours is overwritten",
			 p->be->name);
		return 0;
	}
	if (!r)
		r = find_conditions(p);
	probe_remove(p->be, p->key); /* also one whose answer was lost */
	return r;
}

struct sweep {
	struct store *st;
	struct call *call;
	int64_t until_ns;
};

/* Exactly what probe_name makes, or gcs_probe.c of it: no file of anybody's. */
static bool is_name(const char *key)
{
	const char *hex = key + sizeof PROBE_NAME - 1;
	size_t n = strspn(hex, "0123456789abcdef");
	return n == PROBE_HEX && (!hex[n] || !strcmp(hex + n, "-moved"));
}

static int remove_left(void *arg, const char *key, size_t key_len,
		       const struct object *obj)
{
	const struct sweep *s = arg;
	struct cond same = {0};
	if (obj && strlen(key) == key_len && is_name(key) && obj->mtime_ns < s->until_ns)
		(void)s->st->be.ops->del(&s->st->be, key, &same, s->call);
	return 0;
}

static int abort_left(void *arg, const char *key, const char *id, int64_t started_ns)
{
	const struct sweep *s = arg;
	if (is_name(key) && started_ns < s->until_ns)
		(void)s->st->be.ops->upload_abort(&s->st->be, key, id, s->call);
	return 0;
}

void probe_sweep(struct store *st, struct call *call)
{
	const struct backend_ops *ops = st->be.ops;
	const struct list_query q = {.prefix = PROBE_NAME};
	struct sweep s = {st, call, clock_wall_ns() - LEFT_AFTER_NS};
	char *token = NULL;
	st->quiet = true;
	/* One page: what is behind it is found by the next mount. */
	(void)ops->list(&st->be, &q, &token, remove_left, &s, call);
	if (ops->upload_list)
		(void)ops->upload_list(&st->be, PROBE_NAME, abort_left, &s, call);
	st->quiet = false;
	free(token);
}

bool probe_unreached(int error, const struct http_reply *reply)
{
	return reply->unreached || (error == -ETIMEDOUT && !reply->status);
}

bool probe_is_final(int error, const struct http_reply *reply)
{
	return error &&
	       (!store_errno_is_transient(error) || probe_unreached(error, reply));
}

int probe_writes(struct store *st, const char *wrong_etag, struct call *call)
{
	CLEANUP_CLOSE int fd = memfd_create("mastfs-probe", MFD_CLOEXEC);
	struct probe p = {.st = st,
			  .be = &st->be,
			  .call = call,
			  .wrong_etag = wrong_etag,
			  .src = {.fd = fd, .len = CONTENT_BYTES}};
	int r = probe_name(p.key);
	if (!r && (fd < 0 || write(fd, content, CONTENT_BYTES) != CONTENT_BYTES))
		r = errno ? -errno : -EIO;
	st->quiet = true;
	if (!r)
		r = experiment(&p);
	st->quiet = false;
	/* -EINVAL: of an option, and told where it was found to be wrong (s3_place.c). */
	if (r && r != -EINTR && r != -EINVAL && !store_errno_is_transient(r))
		log_error("mount", "%s: to find out what the store checks failed: %s",
			  st->be.name, strerror(-r));
	return r;
}
