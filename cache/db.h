/* db.h - SQLite, opened the way both of our databases want it.
 *
 * The only files that see sqlite3.h are db.c, index.c and journal.c.  A struct db
 * is used by one thread at a time (its owner's writer thread); SQLite's own
 * locking is off.  Codes become errno here and are logged here, once.
 */
#ifndef CACHE_DB_H
#define CACHE_DB_H
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

struct db {
	sqlite3 *sq; /* owned */
	char *path;  /* owned; for messages */
};

enum db_sync { DB_SYNC_NORMAL, DB_SYNC_FULL };

/* Open or make path (0600), WAL, exclusive locking, defensive; checks the file
 * (quick_check) and applies schema where user_version is less than version, then
 * sets it: a schema can be applied to what an earlier one made.
 * -EUCLEAN damaged · -EPROTO made by a newer mastfs · -ENOSPC · -EIO · -EROFS */
int db_open(const char *path, const char *schema, int version, enum db_sync sync,
	    struct db *ret);
void db_close(struct db *db);
int db_exec(struct db *db, const char *sql);
int db_prepare(struct db *db, const char *sql, sqlite3_stmt **ret);
/* Step a statement that returns no row, and reset it. */
int db_run(struct db *db, sqlite3_stmt *st);
/* Step a statement that returns rows: 1 a row, 0 the end (and reset), < 0. */
int db_step(struct db *db, sqlite3_stmt *st);
/* The number that a query gives; one that gives no row leaves it. */
int db_ask_int(struct db *db, const char *sql, int *ret);
int db_set_sync(struct db *db, enum db_sync sync);
/* SQLite result code -> negative errno, logged with what was being done. */
int db_errno(struct db *db, int rc, const char *what);
#endif
