/* parts_end.c - see parts.h: the rest is sent, and the upload finished or given up. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cache/parts_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

/* (4) */
static int prove_restored(struct parts *p)
{
	for (uint32_t i = 0;; i++) {
		(void)pthread_mutex_lock(&p->lock);
		while (i < p->n_slots && p->slots[i].state != SLOT_RESTORED)
			i++;
		bool any = i < p->n_slots;
		struct slot s = any ? p->slots[i] : (struct slot){0};
		(void)pthread_mutex_unlock(&p->lock);
		uint32_t crc = 0;
		if (!any)
			return 0;
		int r = parts_sum(p->conf.fd, i * p->part_size, s.size, &crc);
		SCOPED_LOCK(&p->lock);
		p->slots[i].state = !r && crc == s.crc ? SLOT_SENT : SLOT_OPEN;
	}
}

/* --- the end --- */

/* The layout of a file of this size; what does not fit into it is sent again. */
static int lay_out_locked(struct parts *p, uint64_t size)
{
	uint64_t n = (size + p->part_size - 1) / p->part_size;
	if (!parts_have_slots_locked(p, n))
		return -ENOMEM;
	p->end = size;
	for (uint32_t i = 0; i < p->n_slots; i++) {
		struct slot *s = &p->slots[i];
		uint64_t left = i < n ? size - i * p->part_size : 0;
		uint64_t want = left < p->part_size ? left : p->part_size;
		if (s->size != want)
			parts_reopen_locked(s);
	}
	return 0;
}

/* By the time that it runs the rest may have been sent without it. */
static void work(void *arg)
{
	struct parts *p = arg;
	(void)pthread_mutex_lock(&p->lock);
	p->asked--;
	if (p->whole)
		parts_send_locked(p);
	parts_unlock(p);
}

static void ask_workers_locked(struct parts *p)
{
	uint32_t want = p->conf.be->caps & BACKEND_IN_ORDER ? 0 : PARTS_AT_ONCE - 1;
	uint64_t n = (p->end + p->part_size - 1) / p->part_size;
	uint32_t have = 1 + p->workers + p->asked; /* the caller is one */
	for (; have < want && have + 1 < n; have++) {
		if (pool_submit(p->conf.pool, PRIO_DEMAND, work, p))
			break;
		p->asked++;
	}
}

/* The caller's thread sends as well, so a pool that is busy only makes it slower: only
 * those who have begun are waited for. */
static int send_rest(struct parts *p)
{
	(void)pthread_mutex_lock(&p->lock);
	int r = parts_begun_locked(p);
	p->error = r;
	if (!r)
		ask_workers_locked(p);
	parts_send_locked(p);
	(void)pthread_mutex_unlock(&p->lock);
	parts_wait(p);
	SCOPED_LOCK(&p->lock);
	return p->error;
}

/* (2): of each part, or none. */
static int receipts(struct parts *p, struct part **ret, uint32_t *ret_n)
{
	SCOPED_LOCK(&p->lock);
	uint32_t n = (uint32_t)((p->end + p->part_size - 1) / p->part_size);
	CLEANUP_FREE struct part *parts = calloc(n, sizeof(*parts));
	if (!parts)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		if (p->slots[i].state != SLOT_SENT)
			return -EIO;
		parts[i] = (struct part){.number = i + 1, .size = p->slots[i].size};
		memcpy(parts[i].receipt, p->slots[i].receipt, ETAG_SIZE);
	}
	*ret = STEAL(parts);
	*ret_n = n;
	return 0;
}

static int finish(struct parts *p, uint64_t size, const struct put_opts *opts,
		  struct object *ret)
{
	uint32_t n;
	CLEANUP_FREE struct part *parts = NULL;
	struct call call = parts_call(p);
	int r = receipts(p, &parts, &n);
	if (r)
		return r;
	return backend_upload_finish(p->conf.be, p->key, p->id, parts, n, size, opts, ret,
				     &call);
}

/* The tag and the time are told when it is begun, and the size of a part is settled. */
static int prepare(struct parts *p, uint64_t size, const struct put_opts *opts)
{
	uint64_t part_size = backend_part_size(p->conf.be, size);
	if (!part_size)
		return -EFBIG;
	parts_hold(p);
	(void)pthread_mutex_lock(&p->lock);
	bool fits = !p->id || (part_size == p->part_size && !strcmp(p->tag, opts->tag));
	(void)pthread_mutex_unlock(&p->lock);
	if (!fits) {
		parts_wait(p);
		parts_give_up(p);
	}
	SCOPED_LOCK(&p->lock);
	if (!p->id) {
		p->part_size = part_size;
		(void)snprintf(p->tag, sizeof(p->tag), "%s", opts->tag);
	}
	p->mtime_ns = opts->mtime_ns;
	return lay_out_locked(p, size);
}

static void set_whole(struct parts *p, bool whole)
{
	SCOPED_LOCK(&p->lock);
	p->whole = whole;
	p->error = 0;
}

/* It may have been finished: no later mount may go on with it, and with its tag, if it
 * cannot be aborted in this one. */
static void disown(struct parts *p)
{
	(void)pthread_mutex_lock(&p->lock);
	CLEANUP_FREE char *id = p->id ? strdup(p->id) : NULL;
	uint64_t row = p->row;
	(void)pthread_mutex_unlock(&p->lock);
	if (id && row)
		(void)parts_save_row(p, row, 0, id, "");
}

int parts_complete(struct parts *p, uint64_t size, const struct put_opts *opts,
		   struct object *ret)
{
	int r = prepare(p, size, opts);
	if (!r)
		r = prove_restored(p);
	if (r)
		return r;
	set_whole(p, true);
	r = send_rest(p);
	bool tried = !r;
	if (!r)
		r = finish(p, size, opts, ret);
	set_whole(p, false);
	/* (3), (5).  What was not even tried goes on with the next attempt. */
	if (r && tried)
		disown(p);
	if (r && (tried || !parts_is_transient(r)))
		parts_give_up(p);
	if (!r) {
		SCOPED_LOCK(&p->lock);
		parts_over_locked(p);
	}
	return r;
}

void parts_give_up(struct parts *p)
{
	(void)pthread_mutex_lock(&p->lock);
	CLEANUP_FREE char *id = STEAL(p->id);
	uint64_t row = p->row;
	p->row = 0;
	parts_over_locked(p);
	(void)pthread_mutex_unlock(&p->lock);
	if (id)
		orphans_add(p->conf.orphans, row, p->key, id);
	else
		parts_forget_row(p, row);
}
