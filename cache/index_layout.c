/* index_layout.c - where the HDUs of versions lie: see index.h.
 *
 * Kept by key and etag, apart from the rows of blocks: it is worth most when the
 * blocks are gone.  Its sum is bound to the version, as theirs is.
 */
#include <errno.h>
#include <string.h>
#include "backends/crc.h"
#include "cache/index_impl.h"
#include "backends/util/banned.h"

/* P9: 100 bytes are usual, 1.3 KB a file of 600 spectra; what needs more than this,
 * which is 4000 HDUs at the least, is learnt again. */
enum { CODE_MAX = 16384 };

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS layout(id INTEGER PRIMARY KEY, key BLOB NOT NULL,"
	" etag BLOB NOT NULL, hdus BLOB NOT NULL, sum INTEGER NOT NULL,"
	" UNIQUE(key, etag));";

/* Ids grow, so the lowest are the oldest.  64 MiB of the newest stay. */
static const char tidy[] =
	"DELETE FROM layout WHERE id <= (SELECT max(id) FROM"
	" (SELECT id, sum(length(hdus)) OVER (ORDER BY id DESC) AS bytes FROM layout)"
	" WHERE bytes > 67108864)";

enum statement { ST_SET, ST_FORGET, ST_GET, ST_COUNT };

static const char *const sql[ST_COUNT] = {
	[ST_SET] = "INSERT OR REPLACE INTO layout(key, etag, hdus, sum)"
		   " VALUES(?1, ?2, ?3, ?4)",
	[ST_FORGET] = "DELETE FROM layout WHERE id <="
		      " (SELECT max(id) FROM layout) - 200000",
	[ST_GET] = "SELECT hdus, sum FROM layout WHERE key=?1 AND etag=?2",
};

const struct index_part index_layout = {schema, tidy, sql, ST_COUNT, NULL};

static sqlite3_stmt *statement(struct index *ix, enum statement which)
{
	return ix->st[INDEX_LAYOUT][which];
}

static uint32_t row_sum(const char *key, const char *etag, uint64_t size,
			const void *code, size_t n)
{
	uint8_t le[8];
	for (int i = 0; i < 8; i++)
		le[i] = (uint8_t)(size >> (8 * i));
	/* With the NUL, which is in neither. */
	uint32_t sum = crc32c(0, key, strlen(key) + 1);
	sum = crc32c(sum, etag, strlen(etag) + 1);
	sum = crc32c(sum, le, sizeof le);
	return crc32c(sum, code, n);
}

int index_set_layout(struct index *ix, const char *key, const char *etag,
		     const struct layout *l)
{
	CLEANUP_BUF struct buf code;
	buf_init(&code, CODE_MAX);
	int r = layout_encode(l, &code);
	if (r)
		return r;
	SCOPED_LOCK(&ix->lock);
	sqlite3_stmt *st = statement(ix, ST_SET);
	index_bind_bytes(st, 1, key);
	index_bind_bytes(st, 2, etag);
	(void)sqlite3_bind_blob64(st, 3, code.data, code.len, SQLITE_STATIC);
	index_bind_uint(st, 4, row_sum(key, etag, l->size, code.data, code.len));
	r = db_run(&ix->db, st);
	return r ? r : db_run(&ix->db, statement(ix, ST_FORGET));
}

static int decode_row(sqlite3_stmt *st, const char *key, const char *etag, uint64_t size,
		      struct layout *ret)
{
	if (sqlite3_column_type(st, 0) != SQLITE_BLOB)
		return -EBADMSG;
	const void *code = sqlite3_column_blob(st, 0);
	size_t n = (size_t)sqlite3_column_bytes(st, 0);
	if (sqlite3_column_int64(st, 1) != row_sum(key, etag, size, code, n))
		return -EBADMSG;
	return layout_decode(code, n, size, ret);
}

int index_get_layout(struct index *ix, const char *key, const char *etag, uint64_t size,
		     struct layout *ret)
{
	SCOPED_LOCK(&ix->lock);
	sqlite3_stmt *st = statement(ix, ST_GET);
	index_bind_bytes(st, 1, key);
	index_bind_bytes(st, 2, etag);
	int r = db_step(&ix->db, st);
	if (r <= 0)
		return r ? r : -ENOENT;
	r = decode_row(st, key, etag, size, ret);
	index_reset(st);
	return r;
}
