/* frame.c - see frame.h.
 *
 * Of a version that is not loaded the rows are changed first, then the rest of its
 * file is punched out, then the bytes are given back: a crash in between leaves a file
 * that is bigger than its rows, which recover.c mends.  Where no hole can be punched, or
 * the disk has no room for the rows, the whole file goes.
 */
#include "cache/frame.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "cache/fits.h"
#include "backends/util/banned.h"

enum { ROWS_MAX = 64 }; /* extents in one transaction */

/* -- what it is -- */

bool frame_has(const struct layout *l, uint64_t block)
{
	uint64_t last = l->size ? (l->size - 1) / BLOCK_SIZE : 0;
	return !l->none && (!block || block == last ||
			    layout_has_header(l, block * BLOCK_SIZE, BLOCK_SIZE));
}

bool frame_has_locked(const struct version *v, uint64_t block)
{
	return v->is_fits && frame_has(&v->layout, block);
}

static bool frame_only_locked(struct version *v)
{
	if (!v->is_fits)
		return false;
	for (uint64_t i = 0; i < v->n_blocks; i++) {
		const struct block *b = block_at_locked(v, i);
		if (!b)
			i |= EXTENT_BLOCKS - 1; /* nothing in this extent */
		else if (b->state != BLOCK_ABSENT && !frame_has_locked(v, i))
			return false;
	}
	return true;
}

int64_t frame_rank(struct version *v, int64_t atime_ns)
{
	SCOPED_LOCK(&v->lock);
	return frame_only_locked(v) ? atime_ns | INDEX_LAST_NS : atime_ns;
}

/* -- what is not it, of a version that is not loaded -- */

struct plan {
	struct layout layout;
	uint64_t n_blocks, disk_bytes; /* that stay */
	struct index_extent *rows;     /* that change; owned */
	size_t n_rows;
	bool more; /* there are more of them */
};

static uint64_t disk_len(const struct plan *p, uint64_t block)
{
	uint64_t left = p->layout.size - block * BLOCK_SIZE;
	return left < BLOCK_SIZE ? (left + 4095) & ~UINT64_C(4095) : BLOCK_SIZE;
}

static bool row_has(const struct index_extent *row, uint64_t i)
{
	return row->present[i / 8] >> (i % 8) & 1;
}

/* Take what is not of the frame out of the row; false: there was nothing. */
static bool trim_row(const struct plan *p, struct index_extent *row)
{
	bool changed = false;
	for (uint64_t i = 0; i < EXTENT_BLOCKS; i++) {
		uint64_t block = row->no * EXTENT_BLOCKS + i;
		if (!row_has(row, i) ||
		    (block < p->n_blocks && frame_has(&p->layout, block)))
			continue;
		row->present[i / 8] &= (uint8_t)~(1u << (i % 8));
		row->crc[i] = 0;
		changed = true;
	}
	return changed;
}

static void count_row(struct plan *p, const struct index_extent *row)
{
	for (uint64_t i = 0; i < EXTENT_BLOCKS; i++) {
		uint64_t block = row->no * EXTENT_BLOCKS + i;
		if (row_has(row, i) && block < p->n_blocks)
			p->disk_bytes += disk_len(p, block);
	}
}

static int plan_row(void *arg, const struct index_extent *row)
{
	struct plan *p = arg;
	struct index_extent trimmed = *row;
	if (row->no > p->n_blocks / EXTENT_BLOCKS)
		return 0; /* past its end: believed by nobody */
	bool changes = trim_row(p, &trimmed);
	if (changes && p->n_rows < ROWS_MAX) {
		count_row(p, &trimmed);
		p->rows[p->n_rows++] = trimmed;
	} else {
		count_row(p, row);
		p->more |= changes;
	}
	return 0;
}

static int punch(struct blocks *bl, const struct store_id *id, uint64_t first, uint64_t n)
{
	return n ? store_punch(bl->store, id, first * BLOCK_SIZE, n * BLOCK_SIZE) : 0;
}

/* Everything that the row does not claim; holes do not mind. */
static int punch_row(struct blocks *bl, const struct store_id *id,
		     const struct index_extent *row)
{
	uint64_t base = row->no * EXTENT_BLOCKS, from = 0;
	int r = 0;
	for (uint64_t i = 0; !r && i < EXTENT_BLOCKS; i++)
		if (row_has(row, i)) {
			r = punch(bl, id, base + from, i - from);
			from = i + 1;
		}
	return r ? r : punch(bl, id, base + from, EXTENT_BLOCKS - from);
}

static int carry_out(struct blocks *bl, const struct index_version *v, uint64_t said,
		     struct plan *p, uint64_t *freed)
{
	int r = index_save(bl->index, v, p->rows, p->n_rows);
	if (r)
		return r == -ENOSPC ? evict_version(bl, &v->id, freed) : r;
	for (size_t i = 0; !r && i < p->n_rows; i++)
		r = punch_row(bl, &v->id, &p->rows[i]);
	*freed += room_row(bl, said, v->disk_bytes);
	return r ? evict_version(bl, &v->id, freed) : 0;
}

/* Of a version whose row is this. */
static int keep(struct blocks *bl, const struct store_id *id, const struct index_row *row,
		struct plan *p, uint64_t *freed)
{
	uint64_t said;
	if (index_get_layout(bl->index, row->key, row->etag, id->size, &p->layout))
		layout_init(&p->layout, id->size);
	p->n_blocks = id->size / BLOCK_SIZE + (id->size % BLOCK_SIZE != 0);
	p->rows = calloc(ROWS_MAX, sizeof *p->rows);
	int r = p->rows ? index_load(bl->index, id, plan_row, p, &said) : -ENOMEM;
	/* A row was changed by somebody, or nothing would stay. */
	if (r || !p->disk_bytes)
		return evict_version(bl, id, freed);
	struct index_version v = {
		.id = *id,
		.key = row->key,
		.etag = row->etag,
		.disk_bytes = p->disk_bytes,
		.atime_ns = p->more ? row->atime_ns : row->atime_ns | INDEX_LAST_NS,
	};
	return carry_out(bl, &v, said, p, freed);
}

int frame_keep(struct blocks *bl, const struct store_id *id, uint64_t *freed)
{
	struct index_row row = {0};
	struct plan p = {0};
	bool fits = !bl->index_full && id->size <= VERSION_SIZE_MAX &&
		    !index_find(bl->index, id, &row) && fits_named(row.key);
	int r = fits ? keep(bl, id, &row, &p, freed) : evict_version(bl, id, freed);
	layout_done(&p.layout);
	free(p.rows);
	free(row.key);
	free(row.etag);
	return r;
}
