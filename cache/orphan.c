/* orphan.c - see orphan.h. */
#include "cache/orphan.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "cache/parts.h"
#include "backends/util/banned.h"

enum { TIMEOUT_S = 10 };

struct orphan {
	struct orphan *next;
	uint64_t row, due_ns;
	bool tried;
	char *key, *id; /* owned */
};

struct orphans {
	/* set once */
	struct orphan_conf conf;

	/* guarded by lock */
	pthread_mutex_t lock;
	struct orphan *first;
	bool running;

	/* atomic */
	atomic_bool stop;
};

int orphans_new(const struct orphan_conf *conf, struct orphans **ret)
{
	struct orphans *o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	o->conf = *conf;
	(void)pthread_mutex_init(&o->lock, NULL);
	*ret = o;
	return 0;
}

static void orphan_free(struct orphan *one)
{
	if (!one)
		return;
	free(one->key);
	free(one->id);
	free(one);
}

void orphans_free(struct orphans *o)
{
	if (!o)
		return;
	for (struct orphan *one = o->first; one;) {
		struct orphan *next = one->next;
		orphan_free(one);
		one = next;
	}
	(void)pthread_mutex_destroy(&o->lock);
	free(o);
}

static void push(struct orphans *o, struct orphan *one)
{
	SCOPED_LOCK(&o->lock);
	one->next = o->first;
	o->first = one;
}

void orphans_add(struct orphans *o, uint64_t row, const char *key, const char *id)
{
	struct orphan *one = calloc(1, sizeof(*one));
	if (!one)
		return;
	one->row = row;
	one->key = strdup(key);
	one->id = strdup(id);
	if (one->key && one->id)
		push(o, one);
	else
		orphan_free(one);
}

static bool is_due(const struct orphan *one, uint64_t now)
{
	return one->due_ns < now;
}

bool orphans_due(struct orphans *o)
{
	uint64_t now = clock_now_ns();
	SCOPED_LOCK(&o->lock);
	struct orphan *one = o->first;
	while (one && !is_due(one, now))
		one = one->next;
	return one && !o->running;
}

uint64_t orphans_fresh(struct orphans *o)
{
	uint64_t n = 0;
	SCOPED_LOCK(&o->lock);
	for (struct orphan *one = o->first; one; one = one->next)
		n += !one->tried;
	return n + o->running;
}

static struct orphan *take_due(struct orphans *o, uint64_t now)
{
	SCOPED_LOCK(&o->lock);
	for (struct orphan **at = &o->first; *at; at = &(*at)->next)
		if (is_due(*at, now)) {
			struct orphan *one = *at;
			*at = one->next;
			return one;
		}
	return NULL;
}

static struct call call_of(struct orphans *o)
{
	return (struct call){
		.deadline_ns = clock_add(clock_now_ns(), TIMEOUT_S * NS_PER_S),
		.cancelled = &o->stop,
	};
}

struct search {
	struct orphans *o;
	const struct orphan *one;
	int64_t since_ns, until_ns; /* it was begun between these */
};

static int abort_if_ours(void *arg, const char *key, const char *id, int64_t started_ns)
{
	const struct search *s = arg;
	const struct orphan_conf *conf = &s->o->conf;
	struct call call = call_of(s->o);
	/* Stores tell whole seconds. */
	bool ours = !strcmp(key, s->one->key) &&
		    started_ns > s->since_ns - (int64_t)NS_PER_S &&
		    started_ns < s->until_ns && !conf->is_live(conf->arg, id);
	return ours ? backend_upload_abort(conf->be, key, id, &call) : 0;
}

static int abort_unknown(struct orphans *o, const struct orphan *one)
{
	char *end;
	struct search s = {.o = o, .one = one, .until_ns = o->conf.born_ns};
	s.since_ns = strtoll(one->id + 1, &end, 10);
	if (*end == '-')
		s.until_ns = strtoll(end + 1, NULL, 10);
	struct call call = call_of(o);
	if (!o->conf.be->ops->upload_list)
		return 0; /* such a store forgets what was not finished */
	return backend_upload_list(o->conf.be, one->key, abort_if_ours, &s, &call);
}

static int end(struct orphans *o, const struct orphan *one)
{
	struct call call = call_of(o);
	int r = *one->id == PARTS_UNKNOWN
			? abort_unknown(o, one)
			: backend_upload_abort(o->conf.be, one->key, one->id, &call);
	if (r || !one->row)
		return r;
	struct journal_change c = {.kind = JOURNAL_DEL_UPLOAD, .id = one->row};
	return journal_commit(o->conf.jn, &c, 1, false);
}

static bool start_run(struct orphans *o)
{
	SCOPED_LOCK(&o->lock);
	bool mine = !o->running;
	o->running = true;
	return mine;
}

void orphans_run(struct orphans *o)
{
	struct orphan *one;
	uint64_t now = clock_now_ns(); /* each once */
	if (!start_run(o))
		return;
	while (!atomic_load(&o->stop) && (one = take_due(o, now))) {
		int r = end(o, one);
		one->tried = true;
		one->due_ns = clock_add(clock_now_ns(), o->conf.retry_ns);
		if (r)
			push(o, one);
		else
			orphan_free(one);
	}
	SCOPED_LOCK(&o->lock);
	o->running = false;
}

void orphans_stop(struct orphans *o)
{
	atomic_store(&o->stop, true);
}
