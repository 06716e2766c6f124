/* index.c - see index.h: the file and its tables.
 *
 * index_new throws a file away that cannot be read, with one warning; the blocks
 * go with it, because store_sweep finds no row for them.  Only the schema of a
 * newer mastfs is an error: that one may want its file back.  To one of an older
 * mastfs the tables are added that it has not.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/util/buf.h"
#include "backends/util/log.h"
#include "cache/index_impl.h"
#include "backends/util/banned.h"

enum { SCHEMA_VERSION = 4, SCHEMA_MAX = 32768 };

enum statement { ST_BEGIN, ST_COMMIT, ST_ROLLBACK, ST_COUNT };

static const char *const sql[ST_COUNT] = {
	[ST_BEGIN] = "BEGIN IMMEDIATE",
	[ST_COMMIT] = "COMMIT",
	[ST_ROLLBACK] = "ROLLBACK",
};

const struct index_part index_base = {"", "", sql, ST_COUNT, NULL};

static const struct index_part *const parts[INDEX_PARTS] = {
	[INDEX_BASE] = &index_base,
	[INDEX_BLOCKS] = &index_blocks,
	[INDEX_LAYOUT] = &index_layout,
	[INDEX_MTIME] = &index_mtime,
	[INDEX_NAMES] = &index_names,
};

/* -- for the other files -- */

void index_bind_name(sqlite3_stmt *st, int i, const uint8_t name[STORE_NAME_BYTES])
{
	(void)sqlite3_bind_blob(st, i, name, STORE_NAME_BYTES, SQLITE_STATIC);
}

void index_bind_bytes(sqlite3_stmt *st, int i, const char *s)
{
	(void)sqlite3_bind_blob64(st, i, s, strlen(s), SQLITE_STATIC);
}

void index_bind_uint(sqlite3_stmt *st, int i, uint64_t v)
{
	(void)sqlite3_bind_int64(st, i, (sqlite3_int64)v);
}

const void *index_blob(sqlite3_stmt *st, int col, int bytes)
{
	return sqlite3_column_type(st, col) == SQLITE_BLOB &&
			       sqlite3_column_bytes(st, col) == bytes
		       ? sqlite3_column_blob(st, col)
		       : NULL;
}

uint64_t index_uint(sqlite3_stmt *st, int col)
{
	sqlite3_int64 v = sqlite3_column_int64(st, col);
	return v > 0 ? (uint64_t)v : 0;
}

void index_reset(sqlite3_stmt *st)
{
	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
}

static int run_locked(struct index *ix, enum statement which)
{
	return db_run(&ix->db, ix->st[INDEX_BASE][which]);
}

int index_begin_locked(struct index *ix)
{
	return run_locked(ix, ST_BEGIN);
}

int index_end_locked(struct index *ix, int r)
{
	if (!r)
		r = run_locked(ix, ST_COMMIT);
	if (r && !sqlite3_get_autocommit(ix->db.sq))
		(void)run_locked(ix, ST_ROLLBACK);
	return r;
}

/* -- open -- */

static int check_sound(struct index *ix, int p)
{
	int sound = 1;
	int r = parts[p]->sound ? db_ask_int(&ix->db, parts[p]->sound, &sound) : 0;
	return !r && !sound ? -EUCLEAN : r;
}

static int prepare(struct index *ix, int p)
{
	int r = check_sound(ix, p);
	if (!r)
		r = db_exec(&ix->db, parts[p]->tidy);
	for (size_t i = 0; !r && i < parts[p]->n_sql; i++)
		r = db_prepare(&ix->db, parts[p]->sql[i], &ix->st[p][i]);
	return r;
}

static void close_db(struct index *ix)
{
	for (int p = 0; p < INDEX_PARTS; p++)
		for (size_t i = 0; i < parts[p]->n_sql; i++)
			(void)sqlite3_finalize(STEAL(ix->st[p][i]));
	db_close(&ix->db);
}

static int try_open(struct index *ix, const char *path)
{
	CLEANUP_BUF struct buf schema;
	buf_init(&schema, SCHEMA_MAX);
	for (int p = 0; p < INDEX_PARTS; p++)
		buf_adds(&schema, parts[p]->schema);
	if (buf_error(&schema))
		return buf_error(&schema);
	int r = db_open(path, schema.data, SCHEMA_VERSION, DB_SYNC_NORMAL, &ix->db);
	if (r)
		return r;
	for (int p = 0; !r && p < INDEX_PARTS; p++)
		r = prepare(ix, p);
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
