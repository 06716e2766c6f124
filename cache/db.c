/* db.c - see db.h. */
#include "cache/db.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

static int code_errno(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return -EROFS;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	default:
		return -EIO;
	}
}

int db_errno(struct db *db, int rc, const char *what)
{
	int r = code_errno(rc);
	if (r)
		log_error("cache", "%s: %s: %s", db->path, what,
			  db->sq ? sqlite3_errmsg(db->sq) : sqlite3_errstr(rc));
	return r;
}

int db_exec(struct db *db, const char *sql)
{
	return db_errno(db, sqlite3_exec(db->sq, sql, NULL, NULL, NULL), sql);
}

int db_prepare(struct db *db, const char *sql, sqlite3_stmt **ret)
{
	int rc =
		sqlite3_prepare_v3(db->sq, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);
	return db_errno(db, rc, sql);
}

int db_step(struct db *db, sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		return 1;
	int r = rc == SQLITE_DONE ? 0 : db_errno(db, rc, sqlite3_sql(st));
	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
	return r;
}

int db_run(struct db *db, sqlite3_stmt *st)
{
	int r = db_step(db, st);
	if (r == 1) {
		(void)sqlite3_reset(st);
		(void)sqlite3_clear_bindings(st);
		r = 0;
	}
	return r;
}

int db_set_sync(struct db *db, enum db_sync sync)
{
	return db_exec(db, sync == DB_SYNC_FULL ? "PRAGMA synchronous=FULL"
						: "PRAGMA synchronous=NORMAL");
}

int db_ask_int(struct db *db, const char *sql, int *ret)
{
	sqlite3_stmt *st = NULL;
	int r = db_prepare(db, sql, &st);
	if (r)
		return r;
	r = db_step(db, st);
	if (r == 1)
		*ret = sqlite3_column_int(st, 0);
	(void)sqlite3_finalize(st);
	return r < 0 ? r : 0;
}

/* What the check says where the disk or memory failed it and not the file. */
static int unread_errno(const char *says)
{
	static const char words[] = "unable to get the page. error code=";
	const char *at = strstr(says, words);
	int r = at ? code_errno((int)strtol(at + strlen(words), NULL, 10)) : 0;
	return r == -EUCLEAN ? 0 : r;
}

static int check_whole(struct db *db)
{
	sqlite3_stmt *st = NULL;
	int r = db_prepare(db, "PRAGMA quick_check(1)", &st);
	if (r)
		return r;
	r = db_step(db, st);
	if (r == 1) {
		const char *says = (const char *)sqlite3_column_text(st, 0);
		r = says ? unread_errno(says) : -ENOMEM;
		if (r) {
			log_error("cache", "%s cannot be checked: %s", db->path,
				  says ? says : "no memory");
		} else if (strcmp(says, "ok") != 0) {
			log_warn("cache", "%s is damaged: %s", db->path, says);
			r = -EUCLEAN;
		}
	}
	(void)sqlite3_finalize(st);
	return r;
}

static int apply_schema(struct db *db, const char *schema, int version)
{
	int have = 0;
	int r = db_ask_int(db, "PRAGMA user_version", &have);
	if (r || have == version)
		return r;
	if (have < 0 || have > version) {
		log_error("cache", "%s was made by a newer mastfs (%d, not %d)", db->path,
			  have, version);
		return -EPROTO;
	}
	CLEANUP_BUF struct buf sql;
	buf_init(&sql, 65536);
	buf_addf(&sql, "BEGIN IMMEDIATE; %s; PRAGMA user_version=%d; COMMIT", schema,
		 version);
	return buf_error(&sql) ? buf_error(&sql) : db_exec(db, sql.data);
}

static int configure(struct db *db, enum db_sync sync)
{
	static const char pragmas[] = "PRAGMA locking_mode=EXCLUSIVE;"
				      "PRAGMA journal_mode=WAL;"
				      "PRAGMA trusted_schema=OFF;"
				      "PRAGMA cell_size_check=ON;"
				      "PRAGMA mmap_size=0;"
				      "PRAGMA temp_store=MEMORY;"
				      "PRAGMA cache_size=-4096";
	(void)sqlite3_db_config(db->sq, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	(void)sqlite3_extended_result_codes(db->sq, 1);
	int r = db_exec(db, pragmas);
	return r ? r : db_set_sync(db, sync);
}

int db_open(const char *path, const char *schema, int version, enum db_sync sync,
	    struct db *ret)
{
	struct db db = {.path = strdup(path)};
	if (!db.path)
		return -ENOMEM;
	/* SQLite would make it with the umask's mode; ours is 0600. */
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = fd < 0 ? -errno : 0;
	if (r)
		log_error("cache", "%s: open: %s", path, strerror(-r));
	else
		(void)close(fd);

	if (!r)
		r = db_errno(&db,
			     sqlite3_open_v2(path, &db.sq,
					     SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
					     NULL),
			     "open");
	if (!r)
		r = configure(&db, sync);
	if (!r)
		r = check_whole(&db);
	if (!r)
		r = apply_schema(&db, schema, version);
	if (r) {
		db_close(&db);
		return r;
	}
	*ret = db;
	return 0;
}

void db_close(struct db *db)
{
	if (db->sq)
		(void)sqlite3_close_v2(db->sq);
	free(db->path);
	*db = (struct db){0};
}
