/* index_mtime.c - the user's times of versions: see index.h. */
#include <errno.h>
#include "cache/index_impl.h"
#include "backends/util/banned.h"

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS mtime(id INTEGER PRIMARY KEY, key BLOB NOT NULL,"
	" etag BLOB NOT NULL, mtime_ns INTEGER NOT NULL, UNIQUE(key, etag));";

/* Ids grow from version to version, so the lowest are the oldest. */
#define FORGET "DELETE FROM mtime WHERE id <= (SELECT max(id) FROM mtime) - 1000000"

enum statement { ST_SET_MTIME, ST_FORGET, ST_GET_MTIME, ST_ANY, ST_COUNT };

static const char *const sql[ST_COUNT] = {
	[ST_SET_MTIME] = "INSERT INTO mtime(key, etag, mtime_ns) VALUES(?1, ?2, ?3)"
			 " ON CONFLICT(key, etag) DO UPDATE"
			 " SET mtime_ns=excluded.mtime_ns",
	[ST_FORGET] = FORGET,
	[ST_GET_MTIME] = "SELECT mtime_ns FROM mtime WHERE key=?1 AND etag=?2",
	[ST_ANY] = "SELECT 1 FROM mtime LIMIT 1",
};

const struct index_part index_mtime = {schema, FORGET, sql, ST_COUNT, NULL};

static sqlite3_stmt *statement(struct index *ix, enum statement which)
{
	return ix->st[INDEX_MTIME][which];
}

int index_set_mtime(struct index *ix, const char *key, const char *etag, int64_t mtime_ns)
{
	SCOPED_LOCK(&ix->lock);
	atomic_store(&ix->mtimes, INDEX_MTIMES_SOME);
	sqlite3_stmt *st = statement(ix, ST_SET_MTIME);
	index_bind_bytes(st, 1, key);
	index_bind_bytes(st, 2, etag);
	(void)sqlite3_bind_int64(st, 3, mtime_ns);
	int r = db_run(&ix->db, st);
	return r ? r : db_run(&ix->db, statement(ix, ST_FORGET));
}

static int look_for_any_locked(struct index *ix)
{
	sqlite3_stmt *st = statement(ix, ST_ANY);
	int r = db_step(&ix->db, st);
	if (r > 0)
		index_reset(st);
	if (r >= 0)
		atomic_store(&ix->mtimes, r ? INDEX_MTIMES_SOME : INDEX_MTIMES_NONE);
	return r < 0 ? r : 0;
}

int index_get_mtime(struct index *ix, const char *key, const char *etag,
		    int64_t *ret_mtime_ns)
{
	if (atomic_load(&ix->mtimes) == INDEX_MTIMES_NONE)
		return -ENOENT;
	SCOPED_LOCK(&ix->lock);
	int r = atomic_load(&ix->mtimes) == INDEX_MTIMES_UNKNOWN ? look_for_any_locked(ix)
								 : 0;
	if (r || atomic_load(&ix->mtimes) == INDEX_MTIMES_NONE)
		return r ? r : -ENOENT;
	sqlite3_stmt *st = statement(ix, ST_GET_MTIME);
	index_bind_bytes(st, 1, key);
	index_bind_bytes(st, 2, etag);
	r = db_step(&ix->db, st);
	if (r <= 0)
		return r ? r : -ENOENT;
	*ret_mtime_ns = sqlite3_column_int64(st, 0);
	index_reset(st);
	return 0;
}
