/* parts.c - see parts.h: what is in the file, and what of it was sent. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cache/parts_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

struct call parts_call(const struct parts *p)
{
	return (struct call){
		.deadline_ns = clock_add(clock_now_ns(), p->conf.timeout_ns),
		.cancelled = p->conf.cancelled,
	};
}

int parts_new(const struct parts_conf *conf, struct parts **ret)
{
	struct parts *p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->conf = *conf;
	p->key = strdup(conf->key);
	p->part_size = backend_part_size(conf->be, 0);
	(void)pthread_mutex_init(&p->lock, NULL);
	cond_init_monotonic(&p->changed);
	int r = !p->key ? -ENOMEM : !p->part_size ? -EFBIG : 0;
	if (r)
		parts_free(p);
	else
		*ret = p;
	return r;
}

void parts_unlock(struct parts *p)
{
	bool last = p->gone && !p->asked && !p->hinted;
	(void)pthread_mutex_unlock(&p->lock);
	if (!last)
		return;
	(void)pthread_cond_destroy(&p->changed);
	(void)pthread_mutex_destroy(&p->lock);
	free(p->slots);
	free(p->id);
	free(p->key);
	free(p);
}

void parts_free(struct parts *p)
{
	if (!p)
		return;
	(void)pthread_mutex_lock(&p->lock);
	p->gone = true;
	parts_unlock(p);
}

const char *parts_key(const struct parts *p)
{
	return p->key;
}

const char *parts_tag(struct parts *p)
{
	SCOPED_LOCK(&p->lock);
	return p->id ? p->tag : NULL;
}

bool parts_working(struct parts *p)
{
	SCOPED_LOCK(&p->lock);
	return p->workers || p->asked || p->hinted;
}

uint64_t parts_row(struct parts *p)
{
	SCOPED_LOCK(&p->lock);
	return p->row;
}

bool parts_has_id(struct parts *p, const char *id)
{
	SCOPED_LOCK(&p->lock);
	return p->id && !strcmp(p->id, id);
}

/* --- what is in the file, and what of it was sent --- */

/* Slots for n parts; false: the store takes no such number, or there is no memory. */
bool parts_have_slots_locked(struct parts *p, uint64_t n)
{
	if (n <= p->n_slots)
		return true;
	if (n > p->conf.be->limits.parts_max)
		return false;
	uint64_t room = n + n / 2;
	struct slot *more = reallocarray(p->slots, room, sizeof(*more));
	if (!more)
		return false;
	memset(more + p->n_slots, 0, (room - p->n_slots) * sizeof(*more));
	p->slots = more;
	p->n_slots = (uint32_t)room;
	return true;
}

void parts_reopen_locked(struct slot *s)
{
	if (s->state == SLOT_SENDING) {
		s->rewritten = true;
	} else if (s->state != SLOT_OPEN) {
		s->state = SLOT_OPEN;
		s->again = true;
	}
}

/* True: the part is full now and was not before. */
static bool fill_locked(const struct parts *p, struct slot *s, uint64_t bytes)
{
	bool was_full = s->filled >= p->part_size;
	parts_reopen_locked(s); /* (2) */
	s->filled += bytes;
	return !was_full && s->filled >= p->part_size;
}

bool parts_wrote(struct parts *p, uint64_t off, uint64_t len)
{
	bool full = false;
	uint64_t end = off + len;
	SCOPED_LOCK(&p->lock);
	p->growing = true;
	p->settled = false;
	p->end = end > p->end ? end : p->end;
	if (!len || !parts_have_slots_locked(p, (end + p->part_size - 1) / p->part_size))
		return false; /* parts_complete looks at the file's size itself */
	for (uint64_t at = off; at < end;) {
		uint64_t i = at / p->part_size, next = (i + 1) * p->part_size;
		uint64_t to = next < end ? next : end;
		full |= fill_locked(p, &p->slots[i], to - at);
		at = to;
	}
	if (!full || p->end <= SINGLE_PUT_MAX ||
	    p->workers + p->hinted >= PARTS_AT_ONCE || clock_now_ns() < p->quiet_until_ns)
		return false;
	p->hinted++;
	return true;
}

void parts_cut(struct parts *p, uint64_t size)
{
	SCOPED_LOCK(&p->lock);
	p->end = size;
	for (uint64_t i = size / p->part_size; i < p->n_slots; i++) {
		uint64_t start = i * p->part_size;
		parts_reopen_locked(&p->slots[i]);
		p->slots[i].filled = size > start ? size - start : 0;
	}
}

/* May parts go up that nobody waits for? */
static bool may_go_early_locked(const struct parts *p)
{
	return p->growing && (p->id || !p->settled) && p->end > SINGLE_PUT_MAX &&
	       clock_now_ns() >= p->quiet_until_ns;
}

/* The next part to send, claimed. */
bool parts_take_locked(struct parts *p, uint32_t *ret)
{
	if (p->error || (!p->whole && !may_go_early_locked(p)))
		return false;
	uint64_t n = (p->end + p->part_size - 1) / p->part_size;
	for (uint32_t i = 0; i < n && i < p->n_slots; i++) {
		struct slot *s = &p->slots[i];
		if (s->state != SLOT_OPEN ||
		    (!p->whole && (s->filled < p->part_size || s->again)))
			continue;
		uint64_t left = p->end - i * p->part_size;
		*s = (struct slot){.state = SLOT_SENDING,
				   .filled = s->filled,
				   .size = left < p->part_size ? left : p->part_size};
		*ret = i;
		return true;
	}
	return false;
}

/* It is over: whatever comes is to be sent anew. */
void parts_over_locked(struct parts *p)
{
	free(STEAL(p->id));
	p->epoch++;
	for (uint32_t i = 0; i < p->n_slots; i++)
		if (p->slots[i].state != SLOT_SENDING)
			p->slots[i].state = SLOT_OPEN;
}

/* --- what an earlier mount had sent --- */

int parts_restore(struct parts *p, const struct journal_upload *up)
{
	SCOPED_LOCK(&p->lock);
	p->id = strdup(up->upload_id);
	p->row = up->id;
	(void)snprintf(p->tag, sizeof(p->tag), "%s", up->tag);
	return p->id ? 0 : -ENOMEM;
}

int parts_restore_part(struct parts *p, const struct part *part, uint32_t crc)
{
	SCOPED_LOCK(&p->lock);
	if (!part->number || part->size > p->part_size ||
	    !parts_have_slots_locked(p, part->number))
		return -EUCLEAN;
	struct slot *s = &p->slots[part->number - 1];
	*s = (struct slot){.state = SLOT_RESTORED, .crc = crc, .size = part->size};
	memcpy(s->receipt, part->receipt, sizeof(s->receipt));
	return 0;
}
