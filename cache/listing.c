/* listing.c - see listing.h. */
#include "cache/listing.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/map.h"
#include "backends/util/banned.h"

enum {
	ENTRIES_FIRST = 16,
	TEXT_FIRST = 1024,
	SLOTS_FIRST = 32,
	SLOT_BYTES = sizeof(uint32_t) + 1, /* a slot and its tag */
};

struct listing *listing_new(void)
{
	struct listing *ls = calloc(1, sizeof(*ls));
	if (ls)
		ls->refs = 1;
	return ls;
}

struct listing *listing_ref(struct listing *ls)
{
	ls->refs++;
	return ls;
}

void listing_unref(struct listing *ls)
{
	if (!ls || --ls->refs)
		return;
	free(ls->entries);
	free(ls->text);
	free(ls->slots);
	free(ls);
}

const char *listing_name(const struct listing *ls, uint32_t no)
{
	return ls->text + ls->entries[no].text;
}

const char *listing_etag(const struct listing *ls, uint32_t no)
{
	const char *name = listing_name(ls, no);
	return name + strlen(name) + 1;
}

void listing_object(const struct listing *ls, uint32_t no, struct object *ret)
{
	const struct listed *e = &ls->entries[no];
	const char *etag = listing_etag(ls, no);
	*ret = (struct object){.size = e->size, .mtime_ns = e->mtime_ns};
	memcpy(ret->etag, etag, strlen(etag) + 1);
}

static uint32_t hash_of(const char *name)
{
	return (uint32_t)map_hash_string(name);
}

/* Not one of the bits that choose the slot. */
static uint8_t tag_of(uint32_t hash)
{
	return (uint8_t)(hash >> 24);
}

static bool is_at(const struct listing *ls, uint32_t at, const char *name, uint32_t hash)
{
	return ls->tags[at] == tag_of(hash) &&
	       !strcmp(listing_name(ls, ls->slots[at] - 1), name);
}

/* The slot of the name, or the free one where it belongs. */
static uint32_t slot_of(const struct listing *ls, const char *name, uint32_t hash)
{
	uint32_t at = hash & (ls->n_slots - 1);
	while (ls->slots[at] && !is_at(ls, at, name, hash))
		at = (at + 1) & (ls->n_slots - 1);
	return at;
}

static uint32_t find(const struct listing *ls, const char *name, uint32_t hash)
{
	uint32_t no = ls->n_slots ? ls->slots[slot_of(ls, name, hash)] : 0;
	return no ? no - 1 : LISTING_NONE;
}

uint32_t listing_find(const struct listing *ls, const char *name)
{
	return ls->n ? find(ls, name, hash_of(name)) : LISTING_NONE;
}

static void take_slot(struct listing *ls, uint32_t at, uint32_t hash, uint32_t no)
{
	ls->slots[at] = no + 1;
	ls->tags[at] = tag_of(hash);
}

/* All names differ: none is compared. */
static void fill_slots(struct listing *ls)
{
	for (uint32_t i = 0; i < ls->n; i++) {
		uint32_t hash = hash_of(listing_name(ls, i));
		uint32_t at = hash & (ls->n_slots - 1);
		while (ls->slots[at])
			at = (at + 1) & (ls->n_slots - 1);
		take_slot(ls, at, hash, i);
	}
}

/* At most three quarters of the slots are taken. */
static int room_in_slots(struct listing *ls)
{
	if (ls->n + 1 <= ls->n_slots / 4 * 3)
		return 0;
	uint32_t n_slots = ls->n_slots ? ls->n_slots * 2 : SLOTS_FIRST;
	uint32_t *slots = n_slots ? calloc(n_slots, SLOT_BYTES) : NULL;
	if (!slots)
		return n_slots ? -ENOMEM : -EFBIG;
	free(ls->slots);
	ls->slots = slots;
	ls->tags = (uint8_t *)(slots + n_slots);
	ls->n_slots = n_slots;
	fill_slots(ls);
	return 0;
}

static int room_in_entries(struct listing *ls)
{
	if (ls->n < ls->alloc)
		return 0;
	uint32_t alloc = ls->alloc ? ls->alloc * 2 : ENTRIES_FIRST;
	struct listed *p = alloc ? reallocarray(ls->entries, alloc, sizeof(*p)) : NULL;
	if (!p)
		return alloc ? -ENOMEM : -EFBIG;
	ls->entries = p;
	ls->alloc = alloc;
	return 0;
}

static int room_in_text(struct listing *ls, size_t more)
{
	size_t want = ls->text_len + more;
	size_t alloc = ls->text_alloc ? ls->text_alloc : TEXT_FIRST;
	if (want > UINT32_MAX)
		return -EFBIG;
	while (alloc < want)
		alloc *= 2;
	if (alloc == ls->text_alloc)
		return 0;
	char *p = realloc(ls->text, alloc);
	if (!p)
		return -ENOMEM;
	ls->text = p;
	ls->text_alloc = alloc;
	return 0;
}

static void add_text(struct listing *ls, const char *s, size_t size)
{
	memcpy(ls->text + ls->text_len, s, size);
	ls->text_len += size;
}

static int add_new(struct listing *ls, const char *name, uint32_t hash,
		   const struct listed *entry, const char *etag)
{
	size_t name_size = strlen(name) + 1, etag_size = strlen(etag) + 1;
	int r = room_in_slots(ls);
	if (!r)
		r = room_in_entries(ls);
	if (!r)
		r = room_in_text(ls, name_size + etag_size);
	if (r)
		return r;
	struct listed *e = &ls->entries[ls->n];
	*e = *entry;
	e->text = (uint32_t)ls->text_len;
	add_text(ls, name, name_size);
	add_text(ls, etag, etag_size);
	take_slot(ls, slot_of(ls, name, hash), hash, ls->n++);
	return 0;
}

static int add(struct listing *ls, const char *name, const struct listed *entry,
	       const char *etag)
{
	uint32_t hash = hash_of(name), no = find(ls, name, hash);
	if (no == LISTING_NONE)
		return add_new(ls, name, hash, entry, etag);
	if (entry->dir) {
		uint32_t text = ls->entries[no].text;
		ls->entries[no] = *entry;
		ls->entries[no].text = text;
	}
	return 1;
}

int listing_add(struct listing *ls, const char *name, const struct object *obj)
{
	struct listed e = {.dir = !obj};
	if (obj) {
		e.size = obj->size;
		e.mtime_ns = obj->mtime_ns;
	}
	return add(ls, name, &e, obj ? obj->etag : "");
}

int listing_append(struct listing *ls, const struct listing *other, uint32_t from,
		   uint32_t to)
{
	for (uint32_t i = from; i < to; i++) {
		int r = add(ls, listing_name(other, i), &other->entries[i],
			    listing_etag(other, i));
		if (r < 0)
			return r;
	}
	return 0;
}

/* A realloc to less that fails leaves what was. */
void listing_trim(struct listing *ls)
{
	void *p = ls->n ? reallocarray(ls->entries, ls->n, sizeof(*ls->entries)) : NULL;
	if (p) {
		ls->entries = p;
		ls->alloc = ls->n;
	}
	p = ls->text_len ? realloc(ls->text, ls->text_len) : NULL;
	if (p) {
		ls->text = p;
		ls->text_alloc = ls->text_len;
	}
}

uint64_t listing_bytes(const struct listing *ls)
{
	return sizeof(*ls) + ls->alloc * sizeof(*ls->entries) + ls->text_alloc +
	       ls->n_slots * SLOT_BYTES;
}
