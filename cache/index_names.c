/* index_names.c - complete listings of directories: see index.h.
 *
 * A listing's row is there before its pages are written and says last that they all
 * are; dropping it is one statement, so what was dropped meanwhile is never believed.
 * Pages without a row are swept.
 */
#include <errno.h>
#include <string.h>
#include "backends/crc.h"
#include "cache/index_impl.h"
#include "backends/util/banned.h"

static const char schema[] =
	/* listed: when the bucket was asked, wall clock; pages: 0 = not complete yet;
	 * sum: of the row, bound to whose it is */
	"CREATE TABLE IF NOT EXISTS listing(id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" dir BLOB NOT NULL UNIQUE, listed INTEGER NOT NULL, entries INTEGER NOT NULL,"
	" pages INTEGER NOT NULL, sum INTEGER NOT NULL);"
	/* sum: CRC32C of the body, chained to the listing's id and the page's number */
	"CREATE TABLE IF NOT EXISTS listing_page(listing INTEGER NOT NULL,"
	" no INTEGER NOT NULL, body BLOB NOT NULL, sum INTEGER NOT NULL,"
	" PRIMARY KEY(listing, no)) WITHOUT ROWID;";

#define SWEEP "DELETE FROM listing_page WHERE listing NOT IN (SELECT id FROM listing)"

static const char tidy[] = "DELETE FROM listing WHERE pages = 0; " SWEEP;

enum statement {
	ST_BEGIN,
	ST_ADD,
	ST_FINISH,
	ST_DROP,
	ST_FIND,
	ST_PAGE,
	ST_BOUND,
	ST_SWEEP,
	ST_COUNT,
};

static const char *const sql[ST_COUNT] = {
	[ST_BEGIN] = "INSERT OR REPLACE INTO listing(dir, listed, entries, pages, sum)"
		     " VALUES(?1, 0, 0, 0, 0) RETURNING id",
	[ST_ADD] = "INSERT INTO listing_page SELECT ?1, ?2, ?3, ?4"
		   " WHERE EXISTS (SELECT 1 FROM listing WHERE id=?1) RETURNING 1",
	[ST_FINISH] = "UPDATE listing SET listed=?2, entries=?3, pages=?4, sum=?5"
		      " WHERE id=?1 RETURNING 1",
	[ST_DROP] = "DELETE FROM listing WHERE dir=?1",
	[ST_FIND] = "SELECT id, listed, entries, pages, sum FROM listing"
		    " WHERE dir=?1 AND pages > 0",
	[ST_PAGE] = "SELECT body, sum FROM listing_page WHERE listing=?1 AND no=?2",
	/* The newest whose entries are together no more than this. */
	[ST_BOUND] = "DELETE FROM listing WHERE pages > 0 AND id IN (SELECT id FROM"
		     " (SELECT id, sum(entries + 1) OVER (ORDER BY id DESC) AS total"
		     "  FROM listing) WHERE total > ?1)",
	[ST_SWEEP] = SWEEP,
};

const struct index_part index_names = {schema, tidy, sql, ST_COUNT, NULL};

static sqlite3_stmt *statement(struct index *ix, enum statement which)
{
	return ix->st[INDEX_NAMES][which];
}

/* A statement that returns one number, or nothing (-ENOENT). */
static int run_for_id(struct index *ix, sqlite3_stmt *st, uint64_t *ret)
{
	int r = db_step(&ix->db, st);
	if (r > 0)
		*ret = index_uint(st, 0);
	index_reset(st);
	return r > 0 ? 0 : r ? r : -ENOENT;
}

static uint32_t page_sum(uint64_t id, uint32_t no, const void *body, size_t len)
{
	uint32_t sum = crc32c(0, &id, sizeof(id));
	sum = crc32c(sum, &no, sizeof(no));
	return crc32c(sum, body, len);
}

/* listed_ns and the boot it was in, too: after another start of the machine the last
 * transactions may be missing, and a clock starts anew. */
static uint32_t row_sum(const struct index_listing *row, uint64_t id, const char *dir)
{
	uint32_t sum = crc32c(0, row->owner, strlen(row->owner) + 1);
	sum = crc32c(sum, dir, strlen(dir) + 1);
	sum = crc32c(sum, &id, sizeof(id));
	sum = crc32c(sum, &row->listed_ns, sizeof(row->listed_ns));
	sum = crc32c(sum, &row->entries, sizeof(row->entries));
	return crc32c(sum, &row->pages, sizeof(row->pages));
}

int index_names_begin(struct index *ix, const char *dir, uint64_t *ret_id)
{
	SCOPED_LOCK(&ix->lock);
	sqlite3_stmt *st = statement(ix, ST_BEGIN);
	index_bind_bytes(st, 1, dir);
	return run_for_id(ix, st, ret_id);
}

int index_names_add(struct index *ix, uint64_t id, uint32_t no, const void *body,
		    size_t len)
{
	SCOPED_LOCK(&ix->lock);
	uint64_t one;
	sqlite3_stmt *st = statement(ix, ST_ADD);
	index_bind_uint(st, 1, id);
	index_bind_uint(st, 2, no);
	(void)sqlite3_bind_blob64(st, 3, body, len, SQLITE_STATIC);
	index_bind_uint(st, 4, page_sum(id, no, body, len));
	int r = run_for_id(ix, st, &one);
	return r == -ENOENT ? -ESTALE : r;
}

int index_names_finish(struct index *ix, uint64_t id, const char *dir,
		       const struct index_listing *row)
{
	SCOPED_LOCK(&ix->lock);
	uint64_t one;
	sqlite3_stmt *st = statement(ix, ST_FINISH);
	index_bind_uint(st, 1, id);
	(void)sqlite3_bind_int64(st, 2, row->listed_ns);
	index_bind_uint(st, 3, row->entries);
	index_bind_uint(st, 4, row->pages);
	index_bind_uint(st, 5, row_sum(row, id, dir));
	int r = run_for_id(ix, st, &one);
	return r == -ENOENT ? -ESTALE : r;
}

int index_names_drop(struct index *ix, const char *dir)
{
	SCOPED_LOCK(&ix->lock);
	sqlite3_stmt *st = statement(ix, ST_DROP);
	index_bind_bytes(st, 1, dir);
	return db_run(&ix->db, st);
}

int index_names_bound(struct index *ix, uint64_t entries_max)
{
	SCOPED_LOCK(&ix->lock);
	sqlite3_stmt *st = statement(ix, ST_BOUND);
	index_bind_uint(st, 1, entries_max);
	int r = db_run(&ix->db, st);
	return r ? r : db_run(&ix->db, statement(ix, ST_SWEEP));
}

/* *row: its owner is given. */
int index_names_find(struct index *ix, const char *dir, struct index_listing *row,
		     uint64_t *ret_id)
{
	SCOPED_LOCK(&ix->lock);
	sqlite3_stmt *st = statement(ix, ST_FIND);
	index_bind_bytes(st, 1, dir);
	int r = db_step(&ix->db, st);
	if (r <= 0)
		return r ? r : -ENOENT;
	uint64_t id = index_uint(st, 0), sum = index_uint(st, 4);
	uint64_t entries = index_uint(st, 2), pages = index_uint(st, 3);
	row->listed_ns = sqlite3_column_int64(st, 1);
	row->entries = (uint32_t)entries;
	row->pages = (uint32_t)pages;
	index_reset(st);
	if (entries > UINT32_MAX || pages > UINT32_MAX || sum != row_sum(row, id, dir))
		return -EUCLEAN;
	*ret_id = id;
	return 0;
}

int index_names_page(struct index *ix, uint64_t id, uint32_t no, index_names_fn *fn,
		     void *arg)
{
	SCOPED_LOCK(&ix->lock);
	sqlite3_stmt *st = statement(ix, ST_PAGE);
	index_bind_uint(st, 1, id);
	index_bind_uint(st, 2, no);
	int r = db_step(&ix->db, st);
	if (r <= 0)
		return r ? r : -ENOENT;
	const void *body = sqlite3_column_blob(st, 0);
	size_t len = (size_t)sqlite3_column_bytes(st, 0);
	bool good = sqlite3_column_type(st, 0) == SQLITE_BLOB &&
		    index_uint(st, 1) == page_sum(id, no, body, len);
	r = good ? fn(arg, body, len) : -EUCLEAN;
	index_reset(st);
	return r;
}
