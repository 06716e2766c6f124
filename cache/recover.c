/* recover.c - see version.h: what the last mount left behind.
 *
 * Files without a row go.  Rows without a file go.  A file that takes more of the
 * disk than its rows say was written to when the last mount was killed: what no
 * row claims is punched out, or max_bytes would be passed (blocks (5)).
 */
#include "cache/version.h"
#include <errno.h>
#include <stdlib.h>
#include "backends/util/banned.h"

struct seen {
	struct store_id id;
	uint64_t bytes; /* that it counts for */
	bool forged;
};

struct recovery {
	struct blocks *bl;
	struct seen *odd; /* owned; versions to be looked at closer */
	size_t n, alloc;
};

/* Gone, or bigger than its rows by more than a file system's own records. */
static bool is_odd(struct blocks *bl, const struct store_id *id, uint64_t bytes)
{
	uint64_t disk = store_disk_bytes(bl->store, id);
	return !disk || (disk > bytes && disk - bytes > BLOCK_SIZE / 2);
}

static int see_version(void *arg, const struct store_id *id, uint64_t bytes)
{
	struct recovery *rec = arg;
	struct blocks *bl = rec->bl;
	uint64_t sum;
	/* What is forged counts for nothing, so that no sum can wrap. */
	bool forged = id->size > VERSION_SIZE_MAX || bytes > id->size + 4096 ||
		      __builtin_add_overflow(atomic_load(&bl->used), bytes, &sum);
	if (!forged)
		room_unload(bl, 0, bytes);
	if (!forged && !is_odd(bl, id, bytes))
		return 0;
	if (rec->n == rec->alloc) {
		size_t alloc = rec->alloc ? 2 * rec->alloc : 64;
		struct seen *more = reallocarray(rec->odd, alloc, sizeof *more);
		if (!more)
			return -ENOMEM;
		rec->odd = more;
		rec->alloc = alloc;
	}
	rec->odd[rec->n++] = (struct seen){*id, forged ? 0 : bytes, forged};
	return 0;
}

static bool keep_file(void *arg, const uint8_t name[STORE_NAME_BYTES])
{
	struct blocks *bl = arg;
	return index_has(bl->index, name);
}

struct trim {
	struct blocks *bl;
	const struct store_id *id;
	uint64_t next; /* block: everything before it was looked at */
};

static int punch_to(struct trim *t, uint64_t block)
{
	uint64_t n = block > t->next ? block - t->next : 0;
	int r = n ? store_punch(t->bl->store, t->id, t->next * BLOCK_SIZE, n * BLOCK_SIZE)
		  : 0;
	t->next = block + 1;
	return r;
}

/* Rows come in ascending order. */
static int trim_extent(void *arg, const struct index_extent *row)
{
	struct trim *t = arg;
	for (uint64_t i = 0; i < EXTENT_BLOCKS; i++) {
		if (row->no > t->id->size / EXTENT_SIZE ||
		    !(row->present[i / 8] >> (i % 8) & 1))
			continue;
		int r = punch_to(t, row->no * EXTENT_BLOCKS + i);
		if (r)
			return r;
	}
	return 0;
}

static int trim(struct blocks *bl, const struct store_id *id)
{
	struct trim t = {.bl = bl, .id = id};
	uint64_t bytes;
	int r = store_check(bl->store, id);
	if (!r)
		r = index_load(bl->index, id, trim_extent, &t, &bytes);
	return r ? r : punch_to(&t, id->size / BLOCK_SIZE + 1);
}

static int mend(struct blocks *bl, const struct seen *s)
{
	if (!s->forged && !trim(bl, &s->id))
		return 0;
	uint64_t said;
	store_remove(bl->store, &s->id);
	room_load(bl, s->bytes, 0);
	return index_drop(bl->index, &s->id, &said);
}

int recover(struct blocks *bl)
{
	struct recovery rec = {.bl = bl};
	int r = store_sweep(bl->store, keep_file, bl);
	if (!r)
		r = index_each(bl->index, see_version, &rec);
	for (size_t i = 0; !r && i < rec.n; i++)
		r = mend(bl, &rec.odd[i]);
	free(rec.odd);
	return r;
}
