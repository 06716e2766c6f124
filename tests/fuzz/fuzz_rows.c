/* fuzz_rows.c - rows of journal and index that somebody changed.
 *
 * Both databases are made once, with rows of ours; an input changes columns of them by
 * SQL of its own, everything is read, and the changes are rolled back.  Whatever was
 * changed, a row that is believed is one that was written, every field of it (P3), and a
 * load that does not hand on all of the journal says so.
 *
 * The journal's own file is included, because a load starts a thread.
 */
#include <fcntl.h>
#include <unistd.h>
#include "cache/index_impl.h"
#include "tests/fuzz/kept.h"
#include "cache/journal.c"

enum { CHANGES_MAX = 8 };

static struct journal *journal;
static struct index *ix;

static void read_journal(void)
{
	struct kept_seen seen = {.n = 0};
	struct journal_visitor v = {.arg = &seen,
				    .row = kept_on_row,
				    .gone = kept_on_gone,
				    .dir = kept_on_dir,
				    .upload = kept_on_upload,
				    .part = kept_on_part};
	int r = read_last_id(journal);
	if (!r)
		r = journal_read(journal, &v);
	MUST(r == -EUCLEAN || (!r && seen.n == KEPT_ALL));
	/* An id is never given out twice. */
	MUST(r || journal_new_id(journal) > KEPT_LAST_ID);
	atomic_store(&journal->id, KEPT_LAST_ID);
}

/* --- changes --- */

static const struct {
	const char *table, *columns[11], *where;
	bool index;
	unsigned n;
} tables[] = {
	{"staged", {"key", "state", "local", "synced", "size", "base", "tag", "base_tag",
		    "upload_id", "crc", "id"},
	 "id=(SELECT id FROM staged ORDER BY id LIMIT 1 OFFSET ?2)", false, 11},
	{"gone", {"etag", "tag", "crc", "key"},
	 "key=(SELECT key FROM gone ORDER BY key LIMIT 1 OFFSET ?2)", false, 4},
	{"dir", {"crc", "key"},
	 "key=(SELECT key FROM dir ORDER BY key LIMIT 1 OFFSET ?2)", false, 2},
	{"last_id", {"id"}, "?2=?2", false, 1},
	{"version", {"name", "key", "etag", "size", "bytes", "atime", "id"}, "?2=?2",
	 true, 7},
	{"extent", {"present", "crc", "sum", "no", "version"}, "no=?2", true, 5},
	{"layout", {"hdus", "sum", "key", "etag"}, "?2=?2", true, 4},
	{"listing", {"listed", "entries", "pages", "sum", "dir", "id"}, "?2=?2", true, 6},
	{"listing_page", {"body", "sum", "no", "listing"}, "?2=?2", true, 4},
	{"mtime", {"mtime_ns", "key"}, "?2=?2", true, 2},
	{"upload", {"staged_id", "key", "upload_id", "tag", "crc", "id"}, "?2=?2", false,
	 6},
	{"part", {"size", "sum", "receipt", "crc", "number", "upload"}, "?2=?2", false,
	 6},
};
enum { TABLES = sizeof tables / sizeof *tables };

static sqlite3_stmt *updates[TABLES][11];

static sqlite3_stmt *update_of(unsigned table, unsigned column)
{
	sqlite3_stmt **st = &updates[table][column];
	struct db *db = tables[table].index ? &ix->db : &journal->db;
	char sql[256];
	(void)snprintf(sql, sizeof sql, "UPDATE %s SET %s=?1 WHERE %s",
		       tables[table].table, tables[table].columns[column],
		       tables[table].where);
	if (!*st)
		MUST(!db_prepare(db, sql, st));
	return *st;
}

/* A value of any type that SQLite has; of how many bytes is the input's to say. */
static void bind_value(sqlite3_stmt *st, struct input *in)
{
	uint8_t type = take_byte(in) % 5;
	size_t n = type > 2 ? take_byte(in) : 0;
	double d;
	uint64_t bits;
	n = n < in->n ? n : in->n;
	switch (type) {
	case 0:
		(void)sqlite3_bind_int64(st, 1, (int8_t)take_byte(in));
		break;
	case 1:
		(void)sqlite3_bind_int64(st, 1, (sqlite3_int64)take_number(in, 8));
		break;
	case 2:
		bits = take_number(in, 8);
		memcpy(&d, &bits, sizeof d);
		(void)sqlite3_bind_double(st, 1, d);
		break;
	case 3:
		(void)sqlite3_bind_text(st, 1, (const char *)in->p, (int)n,
					SQLITE_STATIC);
		break;
	default:
		(void)sqlite3_bind_blob(st, 1, in->n ? in->p : (const void *)"", (int)n,
					SQLITE_STATIC);
	}
	in->p += n;
	in->n -= n;
}

static void change(struct input *in)
{
	unsigned table = take_byte(in) % TABLES;
	sqlite3_stmt *st = update_of(table, take_byte(in) % tables[table].n);
	int row = take_byte(in) % KEPT;
	bind_value(st, in);
	(void)sqlite3_bind_int(st, 2, row);
	/* What a column cannot hold is left as it was. */
	(void)sqlite3_step(st);
	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
}

/* --- once --- */

static void make_journal(void)
{
	struct journal_change puts[KEPT];
	struct request requests[] = {{.changes = puts, .n = KEPT},
				     {.changes = kept_gone, .n = KEPT},
				     {.changes = kept_dirs, .n = KEPT},
				     {.changes = kept_uploads, .n = KEPT_UPLOADS}};
	for (int i = 0; i < KEPT; i++)
		puts[i] = (struct journal_change){.kind = JOURNAL_PUT_ROW,
						  .row = &kept_rows[i]};
	requests[0].next = &requests[1];
	requests[1].next = &requests[2];
	requests[2].next = &requests[3];
	atomic_store(&journal->id, KEPT_LAST_ID);
	MUST(!commit_batch(journal, &requests[0], NULL));
}

/* Its pages and small pieces come from one block each: a sanitizer's malloc is most of
 * the time otherwise. */
static void give_memory(void)
{
	enum { PAGE_BYTES = 4096 + 512, PAGES = 256, PIECE_BYTES = 1024, PIECES = 512 };
	static uint8_t pages[PAGES][PAGE_BYTES] __attribute__((aligned(8)));
	MUST(!sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0));
	MUST(!sqlite3_config(SQLITE_CONFIG_PAGECACHE, pages, PAGE_BYTES, PAGES));
	MUST(!sqlite3_config(SQLITE_CONFIG_LOOKASIDE, PIECE_BYTES, PIECES));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char *const left[] = {"journal.db", "journal.db-wal", "index.db",
					   "index.db-wal"};
	char dir[] = "/tmp/mastfs-fuzz-XXXXXX", path[128];
	(void)argc;
	(void)argv;
	log_set_level(LOG_LEVEL_ERROR);
	log_use_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
	give_memory();
	MUST(mkdtemp(dir));
	(void)snprintf(path, sizeof path, "%s/journal.db", dir);
	MUST(!journal_open(path, &journal) && !index_new(dir, &ix));
	make_journal();
	kept_make_index(ix);
	/* They stay open, and nothing is left behind. */
	for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
		(void)snprintf(path, sizeof path, "%s/%s", dir, left[i]);
		(void)unlink(path);
	}
	MUST(!rmdir(dir));
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	bool of_index = false, of_journal = false;
	MUST(!db_exec(&journal->db, "BEGIN") && !db_exec(&ix->db, "BEGIN"));
	for (int i = 0; in.n && i < CHANGES_MAX; i++) {
		bool index = tables[*in.p % TABLES].index;
		of_index |= index;
		of_journal |= !index;
		change(&in);
	}
	if (of_journal || !size)
		read_journal();
	if (of_index || !size)
		kept_read_index(ix);
	MUST(!db_exec(&journal->db, "ROLLBACK") && !db_exec(&ix->db, "ROLLBACK"));
	return 0;
}
