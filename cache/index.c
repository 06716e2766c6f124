/* index.c - see index.h.
 *
 * index_new throws a file away that cannot be read, with one warning; the blocks
 * go with it, because store_sweep finds no row for them.  Only the schema of a
 * newer mastfs is an error: that one may want its file back.
 */
#include "cache/index.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/crc.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "cache/db.h"
#include "backends/util/banned.h"

enum {
	SCHEMA_VERSION = 1,
	CRC_BYTES = 4 * INDEX_EXTENT_BLOCKS,
};

static const char schema[] =
	/* name: SHA-256 of key, etag and size; bytes: of blocks, on disk */
	"CREATE TABLE version(id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE,"
	" key BLOB NOT NULL, etag BLOB NOT NULL, size INTEGER NOT NULL,"
	" bytes INTEGER NOT NULL, atime INTEGER NOT NULL);"
	"CREATE INDEX version_atime ON version(atime);"
	/* present: a bit a block; crc: CRC32C of each, little endian; sum: of the
	 * row, bound to the version's name and the extent's number */
	"CREATE TABLE extent(version INTEGER NOT NULL, no INTEGER NOT NULL,"
	" present BLOB NOT NULL, crc BLOB NOT NULL, sum INTEGER NOT NULL,"
	" PRIMARY KEY(version, no)) WITHOUT ROWID;"
	"CREATE TABLE mtime(id INTEGER PRIMARY KEY, key BLOB NOT NULL,"
	" etag BLOB NOT NULL, mtime_ns INTEGER NOT NULL, UNIQUE(key, etag))";

enum statement {
	ST_FIND,
	ST_EXTENTS,
	ST_PUT_VERSION,
	ST_PUT_EXTENT,
	ST_DEL_EXTENT,
	ST_DEL_EXTENTS,
	ST_DEL_VERSION,
	ST_TOUCH,
	ST_OLDEST,
	ST_EACH,
	ST_SET_MTIME,
	ST_GET_MTIME,
	ST_BEGIN,
	ST_COMMIT,
	ST_ROLLBACK,
	ST_COUNT,
};

static const char *const sql[ST_COUNT] = {
	[ST_FIND] = "SELECT id, bytes, size FROM version WHERE name=?1",
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
	[ST_OLDEST] = "SELECT name, size, bytes FROM version ORDER BY atime, id"
		      " LIMIT ?1 OFFSET ?2",
	[ST_EACH] = "SELECT name, size, bytes FROM version",
	[ST_SET_MTIME] = "INSERT OR REPLACE INTO mtime(key, etag, mtime_ns)"
			 " VALUES(?1, ?2, ?3)",
	[ST_GET_MTIME] = "SELECT mtime_ns FROM mtime WHERE key=?1 AND etag=?2",
	[ST_BEGIN] = "BEGIN IMMEDIATE",
	[ST_COMMIT] = "COMMIT",
	[ST_ROLLBACK] = "ROLLBACK",
};

struct index {
	/* guarded by lock */
	pthread_mutex_t lock;
	struct db db;
	sqlite3_stmt *st[ST_COUNT];
};

/* -- binding and reading columns; SQLite itself remembers a failed bind -- */

static void bind_name(sqlite3_stmt *st, int i, const uint8_t name[STORE_NAME_BYTES])
{
	(void)sqlite3_bind_blob(st, i, name, STORE_NAME_BYTES, SQLITE_STATIC);
}

static void bind_bytes(sqlite3_stmt *st, int i, const char *s)
{
	(void)sqlite3_bind_blob64(st, i, s, strlen(s), SQLITE_STATIC);
}

static void bind_int(sqlite3_stmt *st, int i, uint64_t v)
{
	(void)sqlite3_bind_int64(st, i, (sqlite3_int64)v);
}

static const void *blob_of(sqlite3_stmt *st, int col, int bytes)
{
	return sqlite3_column_type(st, col) == SQLITE_BLOB &&
			       sqlite3_column_bytes(st, col) == bytes
		       ? sqlite3_column_blob(st, col)
		       : NULL;
}

/* A number from a file that anybody may have written. */
static uint64_t uint_of(sqlite3_stmt *st, int col)
{
	sqlite3_int64 v = sqlite3_column_int64(st, col);
	return v > 0 ? (uint64_t)v : 0;
}

static void done(sqlite3_stmt *st)
{
	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
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
	const uint8_t *present = blob_of(st, 1, INDEX_BITMAP_BYTES);
	const uint8_t *crcs = blob_of(st, 2, CRC_BYTES);
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
	sqlite3_stmt *st = ix->st[empty ? ST_DEL_EXTENT : ST_PUT_EXTENT];
	uint8_t crcs[CRC_BYTES];
	bind_int(st, 1, version);
	bind_int(st, 2, e->no);
	if (!empty) {
		for (int i = 0; i < INDEX_EXTENT_BLOCKS; i++)
			put_le32(crcs + (size_t)4 * (size_t)i, e->crc[i]);
		(void)sqlite3_bind_blob(st, 3, e->present, INDEX_BITMAP_BYTES,
					SQLITE_STATIC);
		(void)sqlite3_bind_blob(st, 4, crcs, CRC_BYTES, SQLITE_STATIC);
		bind_int(st, 5, row_sum(id, e->no, e->present, crcs));
	}
	return db_run(&ix->db, st);
}

/* -- versions -- */

/* 0 and the row's id, -ENOENT, -EUCLEAN, or an error. */
static int find_locked(struct index *ix, const struct store_id *id, uint64_t *ret_row,
		       uint64_t *ret_bytes)
{
	sqlite3_stmt *st = ix->st[ST_FIND];
	bind_name(st, 1, id->name);
	int r = db_step(&ix->db, st);
	if (r <= 0)
		return r ? r : -ENOENT;
	*ret_row = (uint64_t)sqlite3_column_int64(st, 0);
	*ret_bytes = uint_of(st, 1);
	/* The name is a hash over the size: a row that says another is forged. */
	r = uint_of(st, 2) == id->size ? 0 : -EUCLEAN;
	done(st);
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
	sqlite3_stmt *st = ix->st[ST_EXTENTS];
	bind_int(st, 1, row);
	uint64_t bad = 0;
	while ((r = db_step(&ix->db, st)) == 1) {
		struct index_extent e;
		if (!decode_extent(st, id, &e)) {
			bad++;
		} else if ((r = fn(arg, &e)) < 0) {
			done(st);
			return r;
		}
	}
	if (bad)
		log_warn("cache", "%s: %llu rows were changed by somebody: dropped",
			 ix->db.path, (unsigned long long)bad);
	return r ? r : bad ? -EUCLEAN : 0;
}

static int run_locked(struct index *ix, enum statement which)
{
	return db_run(&ix->db, ix->st[which]);
}

static int save_version(struct index *ix, const struct index_version *v, uint64_t *ret)
{
	sqlite3_stmt *st = ix->st[ST_PUT_VERSION];
	bind_name(st, 1, v->id.name);
	bind_bytes(st, 2, v->key);
	bind_bytes(st, 3, v->etag);
	bind_int(st, 4, v->id.size);
	bind_int(st, 5, v->disk_bytes);
	bind_int(st, 6, (uint64_t)v->atime_ns);
	int r = db_step(&ix->db, st);
	if (r == 1) {
		*ret = (uint64_t)sqlite3_column_int64(st, 0);
		r = db_step(&ix->db, st); /* only the end completes the statement */
		done(st);
	} else if (!r) {
		r = -EIO;
	}
	return r;
}

static int end_locked(struct index *ix, int r)
{
	if (!r)
		r = run_locked(ix, ST_COMMIT);
	if (r && !sqlite3_get_autocommit(ix->db.sq))
		(void)run_locked(ix, ST_ROLLBACK);
	return r;
}

int index_save(struct index *ix, const struct index_version *v,
	       const struct index_extent *rows, size_t n_rows)
{
	SCOPED_LOCK(&ix->lock);
	uint64_t version = 0;
	int r = run_locked(ix, ST_BEGIN);
	if (r)
		return r;
	r = save_version(ix, v, &version);
	for (size_t i = 0; !r && i < n_rows; i++)
		r = save_extent(ix, &v->id, version, &rows[i]);
	return end_locked(ix, r);
}

static int del_version(struct index *ix, const struct store_id *id, uint64_t *ret_bytes)
{
	sqlite3_stmt *st = ix->st[ST_DEL_VERSION];
	bind_name(st, 1, id->name);
	int r = db_step(&ix->db, st);
	if (r != 1)
		return r;
	*ret_bytes = uint_of(st, 0);
	r = db_step(&ix->db, st); /* only the end completes the statement */
	if (r == 1)
		done(st);
	return r < 0 ? r : 0;
}

int index_drop(struct index *ix, const struct store_id *id, uint64_t *ret_disk_bytes)
{
	SCOPED_LOCK(&ix->lock);
	*ret_disk_bytes = 0;
	int r = run_locked(ix, ST_BEGIN);
	if (r)
		return r;
	bind_name(ix->st[ST_DEL_EXTENTS], 1, id->name);
	r = run_locked(ix, ST_DEL_EXTENTS);
	if (!r)
		r = del_version(ix, id, ret_disk_bytes);
	return end_locked(ix, r);
}

int index_touch(struct index *ix, const struct store_id *id, int64_t atime_ns)
{
	SCOPED_LOCK(&ix->lock);
	bind_name(ix->st[ST_TOUCH], 1, id->name);
	bind_int(ix->st[ST_TOUCH], 2, (uint64_t)atime_ns);
	return run_locked(ix, ST_TOUCH);
}

/* A version of ST_OLDEST or ST_EACH; false: not a row that we wrote. */
static bool decode_version(sqlite3_stmt *st, struct store_id *ret, uint64_t *ret_bytes)
{
	const void *name = blob_of(st, 0, STORE_NAME_BYTES);
	if (!name)
		return false;
	memcpy(ret->name, name, STORE_NAME_BYTES);
	ret->size = uint_of(st, 1);
	*ret_bytes = uint_of(st, 2);
	return true;
}

int index_oldest(struct index *ix, size_t skip, struct store_id *ret, size_t n)
{
	SCOPED_LOCK(&ix->lock);
	sqlite3_stmt *st = ix->st[ST_OLDEST];
	bind_int(st, 1, n);
	bind_int(st, 2, skip);
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
	sqlite3_stmt *st = ix->st[ST_EACH];
	int r;
	while ((r = db_step(&ix->db, st)) == 1) {
		struct store_id id;
		uint64_t bytes;
		if (decode_version(st, &id, &bytes) && (r = fn(arg, &id, bytes)) < 0) {
			done(st);
			return r;
		}
	}
	return r;
}

bool index_has(struct index *ix, const uint8_t name[STORE_NAME_BYTES])
{
	SCOPED_LOCK(&ix->lock);
	sqlite3_stmt *st = ix->st[ST_FIND];
	bind_name(st, 1, name);
	int r = db_step(&ix->db, st);
	if (r == 1)
		done(st);
	return r == 1;
}

/* -- mtimes -- */

int index_set_mtime(struct index *ix, const char *key, const char *etag, int64_t mtime_ns)
{
	SCOPED_LOCK(&ix->lock);
	sqlite3_stmt *st = ix->st[ST_SET_MTIME];
	bind_bytes(st, 1, key);
	bind_bytes(st, 2, etag);
	(void)sqlite3_bind_int64(st, 3, mtime_ns);
	return db_run(&ix->db, st);
}

int index_get_mtime(struct index *ix, const char *key, const char *etag,
		    int64_t *ret_mtime_ns)
{
	SCOPED_LOCK(&ix->lock);
	sqlite3_stmt *st = ix->st[ST_GET_MTIME];
	bind_bytes(st, 1, key);
	bind_bytes(st, 2, etag);
	int r = db_step(&ix->db, st);
	if (r <= 0)
		return r ? r : -ENOENT;
	*ret_mtime_ns = sqlite3_column_int64(st, 0);
	done(st);
	return 0;
}

/* -- open -- */

static int prepare_all(struct index *ix)
{
	int r = 0;
	for (int i = 0; !r && i < ST_COUNT; i++)
		r = db_prepare(&ix->db, sql[i], &ix->st[i]);
	return r;
}

static void close_db(struct index *ix)
{
	for (int i = 0; i < ST_COUNT; i++) {
		(void)sqlite3_finalize(ix->st[i]);
		ix->st[i] = NULL;
	}
	db_close(&ix->db);
}

static int try_open(struct index *ix, const char *path)
{
	int r = db_open(path, schema, SCHEMA_VERSION, DB_SYNC_NORMAL, &ix->db);
	if (r)
		return r;
	r = prepare_all(ix);
	/* Ids grow, so the lowest are the oldest (P9). */
	if (!r)
		r = db_exec(&ix->db, "DELETE FROM mtime WHERE id <="
				     " (SELECT max(id) FROM mtime) - 1000000");
	if (r)
		close_db(ix);
	return r;
}

static int remove_files(const char *path)
{
	static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
	for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
		CLEANUP_BUF struct buf b;
		buf_init(&b, 8192);
		buf_addf(&b, "%s%s", path, suffixes[i]);
		if (buf_error(&b))
			return buf_error(&b);
		if (unlink(b.data) && errno != ENOENT)
			return -errno;
	}
	return 0;
}

/* What another file would help against: not a full disk, not a newer schema. */
static bool hopeless(int r)
{
	return r == -EUCLEAN || r == -EIO || r == -EROFS || r == -ELOOP;
}

int index_new(const char *dir, struct index **ret)
{
	CLEANUP_BUF struct buf path;
	buf_init(&path, 8192);
	buf_addf(&path, "%s/index.db", dir);
	if (buf_error(&path))
		return buf_error(&path);
	struct index *ix = calloc(1, sizeof *ix);
	if (!ix)
		return -ENOMEM;
	int r = try_open(ix, path.data);
	if (hopeless(r)) {
		log_warn("cache", "%s cannot be read: starting with an empty cache",
			 path.data);
		r = remove_files(path.data);
		if (!r)
			r = try_open(ix, path.data);
	}
	if (r) {
		free(ix);
		return r;
	}
	(void)pthread_mutex_init(&ix->lock, NULL);
	*ret = ix;
	return 0;
}

void index_free(struct index *ix)
{
	if (!ix)
		return;
	close_db(ix);
	(void)pthread_mutex_destroy(&ix->lock);
	free(ix);
}
