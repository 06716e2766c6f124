/* journal_load.c - see journal.h: rows as they are read, and the CRC that each has. */
#include <errno.h>
#include <string.h>
#include "backends/crc.h"
#include "backends/util/log.h"
#include "cache/journal_impl.h"
#include "backends/util/banned.h"

static uint32_t strings_crc(uint32_t crc, const char *const *strings, size_t n)
{
	for (size_t i = 0; i < n; i++)
		crc = crc32c(crc, strings[i], strlen(strings[i]) + 1);
	return crc;
}

int journal_row_flags(const struct journal_row *row)
{
	return (row->synced ? FLAG_SYNCED : 0) | (row->mtime_set ? FLAG_MTIME_SET : 0) |
	       (row->torn ? FLAG_TORN : 0);
}

uint32_t journal_row_crc(const struct journal_row *row)
{
	uint64_t numbers[] = {row->id, (uint64_t)row->state, row->local,
			      (uint64_t)journal_row_flags(row), row->size};
	const char *strings[] = {row->key, row->base, row->tag, row->base_tag,
				 row->upload_id};
	return strings_crc(crc32c(0, numbers, sizeof(numbers)), strings,
			   sizeof(strings) / sizeof(*strings));
}

uint32_t journal_gone_crc(const char *key, const char *etag, const char *tag)
{
	const char *strings[] = {key, etag, tag};
	return strings_crc(0, strings, sizeof(strings) / sizeof(*strings));
}

uint32_t journal_dir_crc(const char *key)
{
	return strings_crc(0, &key, 1);
}

uint32_t journal_upload_crc(const struct journal_upload *up)
{
	uint64_t numbers[] = {up->id, up->staged_id};
	const char *strings[] = {up->key, up->upload_id, up->tag};
	return strings_crc(crc32c(0, numbers, sizeof(numbers)), strings,
			   sizeof(strings) / sizeof(*strings));
}

uint32_t journal_part_crc(uint64_t upload, const struct part *part, uint32_t sum)
{
	uint64_t numbers[] = {upload, part->number, part->size, sum};
	const char *receipt = part->receipt;
	return strings_crc(crc32c(0, numbers, sizeof(numbers)), &receipt, 1);
}

static const char *column(sqlite3_stmt *st, int at)
{
	const char *text = (const char *)sqlite3_column_text(st, at);
	return text ? text : "";
}

/* A row that is not what its CRC says.  A column that there was no memory for is empty,
 * and that is no damage. */
static int damaged(struct journal *jn, const char *what, const char *key)
{
	if (sqlite3_errcode(jn->db.sq) == SQLITE_NOMEM)
		return db_errno(&jn->db, SQLITE_NOMEM, "load");
	log_error("journal", "%s: the row of %s %s is damaged", jn->db.path, what, key);
	return -EUCLEAN;
}

/* As of last_id: nobody gave out half of all ids, and after a wrong one they would start
 * over. */
static bool is_id(uint64_t id)
{
	return id && id <= INT64_MAX / 2;
}

static int visit_row(struct journal *jn, sqlite3_stmt *st,
		     const struct journal_visitor *v)
{
	struct journal_row row = {
		.id = (uint64_t)sqlite3_column_int64(st, 0),
		.key = column(st, 1),
		.state = (enum row_state)sqlite3_column_int(st, 2),
		.local = sqlite3_column_int(st, 3) != 0,
		.synced = sqlite3_column_int(st, 4) & FLAG_SYNCED,
		.mtime_set = sqlite3_column_int(st, 4) & FLAG_MTIME_SET,
		.torn = sqlite3_column_int(st, 4) & FLAG_TORN,
		.size = (uint64_t)sqlite3_column_int64(st, 5),
		.base = column(st, 6),
		.tag = column(st, 7),
		.base_tag = column(st, 8),
		.upload_id = column(st, 9),
	};
	if (!is_id(row.id) ||
	    journal_row_crc(&row) != (uint32_t)sqlite3_column_int64(st, 10))
		return damaged(jn, "staged file", row.key);
	if (row.id > atomic_load(&jn->id))
		atomic_store(&jn->id, row.id);
	return v->row(v->arg, &row);
}

static int visit_gone(struct journal *jn, sqlite3_stmt *st,
		      const struct journal_visitor *v)
{
	const char *key = column(st, 0), *etag = column(st, 1), *tag = column(st, 2);
	/* A wrong key here would remove what nobody asked to remove. */
	if (!*key ||
	    journal_gone_crc(key, etag, tag) != (uint32_t)sqlite3_column_int64(st, 3))
		return damaged(jn, "the removed name", key);
	return v->gone(v->arg, key, etag, tag);
}

static int visit_dir(struct journal *jn, sqlite3_stmt *st,
		     const struct journal_visitor *v)
{
	const char *key = column(st, 0);
	if (journal_dir_crc(key) != (uint32_t)sqlite3_column_int64(st, 1))
		return damaged(jn, "the directory", key);
	return v->dir(v->arg, key);
}

static int visit_upload(struct journal *jn, sqlite3_stmt *st,
			const struct journal_visitor *v)
{
	struct journal_upload up = {
		.id = (uint64_t)sqlite3_column_int64(st, 0),
		.staged_id = (uint64_t)sqlite3_column_int64(st, 1),
		.key = column(st, 2),
		.upload_id = column(st, 3),
		.tag = column(st, 4),
	};
	if (!is_id(up.id) || !*up.key ||
	    journal_upload_crc(&up) != (uint32_t)sqlite3_column_int64(st, 5))
		return damaged(jn, "the upload of", up.key);
	if (up.id > atomic_load(&jn->id))
		atomic_store(&jn->id, up.id);
	return v->upload(v->arg, &up);
}

static int visit_part(struct journal *jn, sqlite3_stmt *st,
		      const struct journal_visitor *v)
{
	uint64_t upload = (uint64_t)sqlite3_column_int64(st, 0);
	struct part part = {.number = (uint32_t)sqlite3_column_int64(st, 1),
			    .size = (uint64_t)sqlite3_column_int64(st, 2)};
	uint32_t sum = (uint32_t)sqlite3_column_int64(st, 3);
	const char *receipt = column(st, 4);
	if (strlen(receipt) < sizeof(part.receipt))
		memcpy(part.receipt, receipt, strlen(receipt) + 1);
	if (journal_part_crc(upload, &part, sum) != (uint32_t)sqlite3_column_int64(st, 5))
		return damaged(jn, "a part of an upload:", receipt);
	return v->part(v->arg, upload, &part, sum);
}

typedef int visit_fn(struct journal *jn, sqlite3_stmt *st,
		     const struct journal_visitor *v);

static int each(struct journal *jn, const char *sql, visit_fn *fn,
		const struct journal_visitor *v)
{
	sqlite3_stmt *st = NULL;
	int r = db_prepare(&jn->db, sql, &st);
	while (!r) {
		r = db_step(&jn->db, st);
		if (r <= 0)
			break;
		r = fn(jn, st, v);
	}
	(void)sqlite3_finalize(st);
	return r;
}

int journal_read(struct journal *jn, const struct journal_visitor *v)
{
	int r = each(jn, "SELECT * FROM staged ORDER BY id", visit_row, v);
	if (!r)
		r = each(jn, "SELECT key,etag,tag,crc FROM gone", visit_gone, v);
	if (!r)
		r = each(jn, "SELECT key,crc FROM dir", visit_dir, v);
	if (!r && v->upload)
		r = each(jn, "SELECT * FROM upload ORDER BY id", visit_upload, v);
	if (!r && v->part)
		r = each(jn, "SELECT * FROM part", visit_part, v);
	return r;
}

int journal_load(struct journal *jn, const struct journal_visitor *v)
{
	int r = journal_read(jn, v);
	return r ? r : journal_start(jn);
}
