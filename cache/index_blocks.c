/* index_blocks.c - versions and their extents: see index.h. */
#include <errno.h>
#include <string.h>
#include "backends/crc.h"
#include "backends/util/log.h"
#include "cache/index_impl.h"
#include "backends/util/banned.h"

enum { CRC_BYTES = 4 * INDEX_EXTENT_BLOCKS };

static const char schema[] =
	/* name: SHA-256 of key, etag and size; bytes: of blocks, on disk */
	"CREATE TABLE IF NOT EXISTS version(id INTEGER PRIMARY KEY,"
	" name BLOB NOT NULL UNIQUE, key BLOB NOT NULL, etag BLOB NOT NULL,"
	" size INTEGER NOT NULL, bytes INTEGER NOT NULL, atime INTEGER NOT NULL);"
	"CREATE INDEX IF NOT EXISTS version_atime ON version(atime);"
	"CREATE INDEX IF NOT EXISTS version_key ON version(key);"
	/* present: a bit a block; crc: CRC32C of each, little endian; sum: of the
	 * row, bound to the version's name and the extent's number */
	"CREATE TABLE IF NOT EXISTS extent(version INTEGER NOT NULL, no INTEGER NOT NULL,"
	" present BLOB NOT NULL, crc BLOB NOT NULL, sum INTEGER NOT NULL,"
	" PRIMARY KEY(version, no)) WITHOUT ROWID;";

#define NAMELESS "typeof(name) <> 'blob' OR length(name) <> 32"

/* No file has such a name: they would stay for ever, in front of all that may go. */
static const char tidy[] = "DELETE FROM extent WHERE version IN"
			   " (SELECT id FROM version WHERE " NAMELESS ");"
			   "DELETE FROM version WHERE " NAMELESS;

/* Opening looks at each table and not whether the order by age has the versions that
 * there are: without that nothing could be evicted (P9).  Of 100,000 it takes 15 ms
 * (2026-11-28); all that SQLite can check, 480. */
static const char sound[] =
	"SELECT a.n = b.n AND a.ids = b.ids FROM"
	" (SELECT count(*) AS n, total(id) AS ids FROM version INDEXED BY version_atime)"
	" AS a, (SELECT count(*) AS n, total(id) AS ids FROM version NOT INDEXED) AS b";

enum statement {
	ST_FIND,
	ST_HAS_KEY,
	ST_ROW,
	ST_EXTENTS,
	ST_PUT_VERSION,
	ST_PUT_EXTENT,
	ST_DEL_EXTENT,
	ST_DEL_EXTENTS,
	ST_DEL_VERSION,
	ST_TOUCH,
	ST_OLDEST,
	ST_EACH,
	ST_COUNT,
};

static const char *const sql[ST_COUNT] = {
	[ST_FIND] = "SELECT id, bytes, size FROM version WHERE name=?1",
	[ST_HAS_KEY] = "SELECT 1 FROM version WHERE key=?1 LIMIT 1",
	[ST_ROW] = "SELECT key, etag, atime FROM version WHERE name=?1",
	[ST_EXTENTS] = "SELECT no, present, crc, sum FROM extent WHERE version=?1",
	[ST_PUT_VERSION] = "INSERT INTO version(name, key, etag, size, bytes, atime)"
			   " VALUES(?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(name) DO UPDATE"
			   " SET bytes=excluded.bytes, atime=excluded.atime RETURNING id",
	[ST_PUT_EXTENT] = "INSERT OR REPLACE INTO extent VALUES(?1, ?2, ?3, ?4, ?5)",
	[ST_DEL_EXTENT] = "DELETE FROM extent WHERE version=?1 AND no=?2",
	[ST_DEL_EXTENTS] = "DELETE FROM extent WHERE version="
			   "(SELECT id FROM version WHERE name=?1)",
	[ST_DEL_VERSION] = "DELETE FROM version WHERE name=?1 RETURNING bytes",
	[ST_TOUCH] = "UPDATE version SET atime=?2 WHERE name=?1",
	[ST_OLDEST] = "SELECT name, size, bytes FROM version WHERE atime >= ?3"
		      " AND atime <= ?4 ORDER BY atime, id LIMIT ?1 OFFSET ?2",
	[ST_EACH] = "SELECT name, size, bytes FROM version",
};

const struct index_part index_blocks = {schema, tidy, sql, ST_COUNT, sound};

static sqlite3_stmt *statement(struct index *ix, enum statement which)
{
	return ix->st[INDEX_BLOCKS][which];
}

/* -- rows of extents -- */

static void put_le32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get_le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	       (uint32_t)p[3] << 24;
}

/* What makes a row that was moved to another version or place worthless. */
static uint32_t row_sum(const struct store_id *id, uint64_t no, const uint8_t *present,
			const uint8_t *crcs)
{
	uint8_t place[16];
	put_le32(place, (uint32_t)no);
	put_le32(place + 4, (uint32_t)(no >> 32));
	put_le32(place + 8, (uint32_t)id->size);
	put_le32(place + 12, (uint32_t)(id->size >> 32));
	uint32_t sum = crc32c(0, id->name, sizeof id->name);
	sum = crc32c(sum, place, sizeof place);
	sum = crc32c(sum, present, INDEX_BITMAP_BYTES);
	return crc32c(sum, crcs, CRC_BYTES);
}

static bool decode_extent(sqlite3_stmt *st, const struct store_id *id,
			  struct index_extent *ret)
{
	const uint8_t *present = index_blob(st, 1, INDEX_BITMAP_BYTES);
	const uint8_t *crcs = index_blob(st, 2, CRC_BYTES);
	ret->no = (uint64_t)sqlite3_column_int64(st, 0);
	if (!present || !crcs ||
	    sqlite3_column_int64(st, 3) != row_sum(id, ret->no, present, crcs))
		return false;
	memcpy(ret->present, present, INDEX_BITMAP_BYTES);
	for (int i = 0; i < INDEX_EXTENT_BLOCKS; i++)
		ret->crc[i] = get_le32(crcs + (size_t)4 * (size_t)i);
	return true;
}

static bool extent_empty(const struct index_extent *e)
{
	uint8_t any = 0;
	for (int i = 0; i < INDEX_BITMAP_BYTES; i++)
		any |= e->present[i];
	return !any;
}

static int save_extent(struct index *ix, const struct store_id *id, uint64_t version,
		       const struct index_extent *e)
{
	bool empty = extent_empty(e);
	sqlite3_stmt *st = statement(ix, empty ? ST_DEL_EXTENT : ST_PUT_EXTENT);
	uint8_t crcs[CRC_BYTES];
	index_bind_uint(st, 1, version);
	index_bind_uint(st, 2, e->no);
	if (!empty) {
		for (int i = 0; i < INDEX_EXTENT_BLOCKS; i++)
			put_le32(crcs + (size_t)4 * (size_t)i, e->crc[i]);
		(void)sqlite3_bind_blob(st, 3, e->present, INDEX_BITMAP_BYTES,
					SQLITE_STATIC);
		(void)sqlite3_bind_blob(st, 4, crcs, CRC_BYTES, SQLITE_STATIC);
		index_bind_uint(st, 5, row_sum(id, e->no, e->present, crcs));
	}
	return db_run(&ix->db, st);
}

/* -- versions -- */

/* 0 and the row's id, -ENOENT, -EUCLEAN, or an error. */
static int find_locked(struct index *ix, const struct store_id *id, uint64_t *ret_row,
		       uint64_t *ret_bytes)
{
	sqlite3_stmt *st = statement(ix, ST_FIND);
	index_bind_name(st, 1, id->name);
	int r = db_step(&ix->db, st);
	if (r <= 0)
		return r ? r : -ENOENT;
	*ret_row = (uint64_t)sqlite3_column_int64(st, 0);
	*ret_bytes = index_uint(st, 1);
	/* The name is a hash over the size: a row that says another is forged. */
	r = index_uint(st, 2) == id->size ? 0 : -EUCLEAN;
	index_reset(st);
	return r;
}

int index_load(struct index *ix, const struct store_id *id, index_extent_fn *fn,
	       void *arg, uint64_t *ret_disk_bytes)
{
	SCOPED_LOCK(&ix->lock);
	uint64_t row;
	*ret_disk_bytes = 0;
	int r = find_locked(ix, id, &row, ret_disk_bytes);
	if (r)
		return r;
	sqlite3_stmt *st = statement(ix, ST_EXTENTS);
	index_bind_uint(st, 1, row);
	uint64_t bad = 0;
	while ((r = db_step(&ix->db, st)) == 1) {
		struct index_extent e;
		if (!decode_extent(st, id, &e)) {
			bad++;
		} else if ((r = fn(arg, &e)) < 0) {
			index_reset(st);
			return r;
		}
	}
	if (bad)
		log_warn("cache", "%s: %llu rows were changed by somebody: dropped",
			 ix->db.path, (unsigned long long)bad);
	return r ? r : bad ? -EUCLEAN : 0;
}

static int save_version(struct index *ix, const struct index_version *v, uint64_t *ret)
{
	sqlite3_stmt *st = statement(ix, ST_PUT_VERSION);
	index_bind_name(st, 1, v->id.name);
	index_bind_bytes(st, 2, v->key);
	index_bind_bytes(st, 3, v->etag);
	index_bind_uint(st, 4, v->id.size);
	index_bind_uint(st, 5, v->disk_bytes);
	index_bind_uint(st, 6, (uint64_t)v->atime_ns);
	int r = db_step(&ix->db, st);
	if (r == 1) {
		*ret = (uint64_t)sqlite3_column_int64(st, 0);
		r = db_step(&ix->db, st); /* only the end completes the statement */
		index_reset(st);
	} else if (!r) {
		r = -EIO;
	}
	return r;
}

int index_save(struct index *ix, const struct index_version *v,
	       const struct index_extent *rows, size_t n_rows)
{
	SCOPED_LOCK(&ix->lock);
	uint64_t version = 0;
	int r = index_begin_locked(ix);
	if (r)
		return r;
	r = save_version(ix, v, &version);
	for (size_t i = 0; !r && i < n_rows; i++)
		r = save_extent(ix, &v->id, version, &rows[i]);
	return index_end_locked(ix, r);
}

static int del_version(struct index *ix, const struct store_id *id, uint64_t *ret_bytes)
{
	sqlite3_stmt *st = statement(ix, ST_DEL_VERSION);
	index_bind_name(st, 1, id->name);
	int r = db_step(&ix->db, st);
	if (r != 1)
		return r;
	*ret_bytes = index_uint(st, 0);
	r = db_step(&ix->db, st); /* only the end completes the statement */
	if (r == 1)
		index_reset(st);
	return r < 0 ? r : 0;
}

int index_drop(struct index *ix, const struct store_id *id, uint64_t *ret_disk_bytes)
{
	SCOPED_LOCK(&ix->lock);
	*ret_disk_bytes = 0;
	int r = index_begin_locked(ix);
	if (r)
		return r;
	index_bind_name(statement(ix, ST_DEL_EXTENTS), 1, id->name);
	r = db_run(&ix->db, statement(ix, ST_DEL_EXTENTS));
	if (!r)
		r = del_version(ix, id, ret_disk_bytes);
	return index_end_locked(ix, r);
}

int index_touch(struct index *ix, const struct store_id *id, int64_t atime_ns)
{
	SCOPED_LOCK(&ix->lock);
	index_bind_name(statement(ix, ST_TOUCH), 1, id->name);
	index_bind_uint(statement(ix, ST_TOUCH), 2, (uint64_t)atime_ns);
	return db_run(&ix->db, statement(ix, ST_TOUCH));
}

/* A version of ST_OLDEST or ST_EACH; false: not a row that we wrote. */
static bool decode_version(sqlite3_stmt *st, struct store_id *ret, uint64_t *ret_bytes)
{
	const void *name = index_blob(st, 0, STORE_NAME_BYTES);
	if (!name)
		return false;
	memcpy(ret->name, name, STORE_NAME_BYTES);
	ret->size = index_uint(st, 1);
	*ret_bytes = index_uint(st, 2);
	return true;
}

static char *dup_bytes(sqlite3_stmt *st, int col)
{
	const char *bytes = sqlite3_column_blob(st, col);
	return strndup(bytes ? bytes : "", (size_t)sqlite3_column_bytes(st, col));
}

int index_find(struct index *ix, const struct store_id *id, struct index_row *ret)
{
	SCOPED_LOCK(&ix->lock);
	sqlite3_stmt *st = statement(ix, ST_ROW);
	index_bind_name(st, 1, id->name);
	int r = db_step(&ix->db, st);
	if (r <= 0)
		return r ? r : -ENOENT;
	struct index_row row = {
		.key = dup_bytes(st, 0),
		.etag = dup_bytes(st, 1),
		/* One before the epoch could not be marked with INDEX_LAST_NS. */
		.atime_ns = (int64_t)index_uint(st, 2),
	};
	index_reset(st);
	if (!row.key || !row.etag) {
		free(row.key);
		free(row.etag);
		return -ENOMEM;
	}
	*ret = row;
	return 0;
}

int index_oldest(struct index *ix, bool last, size_t skip, struct store_id *ret, size_t n)
{
	SCOPED_LOCK(&ix->lock);
	sqlite3_stmt *st = statement(ix, ST_OLDEST);
	index_bind_uint(st, 1, n);
	index_bind_uint(st, 2, skip);
	(void)sqlite3_bind_int64(st, 3, last ? INDEX_LAST_NS : INT64_MIN);
	(void)sqlite3_bind_int64(st, 4, last ? INT64_MAX : INDEX_LAST_NS - 1);
	uint64_t bytes;
	int r, got = 0;
	while ((r = db_step(&ix->db, st)) == 1)
		if (decode_version(st, &ret[got], &bytes))
			got++;
	return r < 0 ? r : got;
}

int index_each(struct index *ix, index_version_fn *fn, void *arg)
{
	SCOPED_LOCK(&ix->lock);
	sqlite3_stmt *st = statement(ix, ST_EACH);
	int r;
	while ((r = db_step(&ix->db, st)) == 1) {
		struct store_id id;
		uint64_t bytes;
		if (decode_version(st, &id, &bytes) && (r = fn(arg, &id, bytes)) < 0) {
			index_reset(st);
			return r;
		}
	}
	return r;
}

static bool finds(struct index *ix, sqlite3_stmt *st)
{
	int r = db_step(&ix->db, st);
	if (r == 1)
		index_reset(st);
	return r == 1;
}

bool index_has(struct index *ix, const uint8_t name[STORE_NAME_BYTES])
{
	SCOPED_LOCK(&ix->lock);
	index_bind_name(statement(ix, ST_FIND), 1, name);
	return finds(ix, statement(ix, ST_FIND));
}

bool index_has_key(struct index *ix, const char *key)
{
	SCOPED_LOCK(&ix->lock);
	index_bind_bytes(statement(ix, ST_HAS_KEY), 1, key);
	return finds(ix, statement(ix, ST_HAS_KEY));
}
