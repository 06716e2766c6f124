/* journal.c - see journal.h.
 *
 * Invariants:
 *  (1) A commit that returned 0 is in the file: a later load shows it.
 *  (2) The changes of one call are applied together or not at all.
 *  (3) Commits are applied in the order in which they were handed in.
 *  (4) A row whose CRC does not match ends the load: no guess, nothing touched.
 */
#include "cache/journal.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "backends/crc.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "cache/db.h"
#include "backends/util/banned.h"

static const char schema[] =
	"CREATE TABLE staged(id INTEGER PRIMARY KEY, key TEXT NOT NULL,"
	" state INTEGER NOT NULL, local INTEGER NOT NULL, synced INTEGER NOT NULL,"
	" size INTEGER NOT NULL, base TEXT NOT NULL, tag TEXT NOT NULL,"
	" base_tag TEXT NOT NULL, upload_id TEXT NOT NULL, crc INTEGER NOT NULL);"
	"CREATE TABLE gone(key TEXT PRIMARY KEY, etag TEXT NOT NULL, tag TEXT NOT NULL,"
	" crc INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE dir(key TEXT PRIMARY KEY, crc INTEGER NOT NULL) WITHOUT ROWID;"
	/* The highest id ever given out: an id is never used for two files. */
	"CREATE TABLE last_id(one INTEGER PRIMARY KEY CHECK(one=1), id INTEGER NOT NULL);"
	"INSERT INTO last_id VALUES(1,0)";

enum { SCHEMA_VERSION = 1 };

static const char *const change_sql[] = {
	[JOURNAL_PUT_ROW] = "INSERT OR REPLACE INTO staged VALUES(?,?,?,?,?,?,?,?,?,?,?)",
	[JOURNAL_DEL_ROW] = "DELETE FROM staged WHERE id=?",
	[JOURNAL_PUT_GONE] = "INSERT OR REPLACE INTO gone VALUES(?,?,?,?)",
	[JOURNAL_DEL_GONE] = "DELETE FROM gone WHERE key=?",
	[JOURNAL_PUT_DIR] = "INSERT OR REPLACE INTO dir VALUES(?,?)",
	[JOURNAL_DEL_DIR] = "DELETE FROM dir WHERE key=?",
};
enum { N_KINDS = sizeof(change_sql) / sizeof(*change_sql) };

/* One caller's changes, on its stack until done. */
struct request {
	struct request *next;
	const struct journal_change *changes;
	size_t n;
	bool durable, done;
	int result;
};

struct journal {
	/* the writer thread's, after journal_load */
	struct db db;
	sqlite3_stmt *change[N_KINDS], *last_id;
	enum db_sync sync;

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	struct request *head, **tail;
	bool closing;

	/* set once */
	pthread_t writer;
	bool started, is_new;

	/* atomic */
	_Atomic uint64_t id;
};

static uint32_t strings_crc(uint32_t crc, const char *const *strings, size_t n)
{
	for (size_t i = 0; i < n; i++)
		crc = crc32c(crc, strings[i], strlen(strings[i]) + 1);
	return crc;
}

static uint32_t row_crc(const struct journal_row *row)
{
	uint64_t numbers[] = {row->id, (uint64_t)row->state, row->local, row->synced,
			      row->size};
	const char *strings[] = {row->key, row->base, row->tag, row->base_tag,
				 row->upload_id};
	return strings_crc(crc32c(0, numbers, sizeof(numbers)), strings,
			   sizeof(strings) / sizeof(*strings));
}

static uint32_t gone_crc(const char *key, const char *etag, const char *tag)
{
	const char *strings[] = {key, etag, tag};
	return strings_crc(0, strings, sizeof(strings) / sizeof(*strings));
}

static uint32_t dir_crc(const char *key)
{
	return strings_crc(0, &key, 1);
}

static void bind_text(sqlite3_stmt *st, int at, const char *text)
{
	/* Keys are bytes, not always UTF-8; SQLite gives back what it was given. */
	(void)sqlite3_bind_text(st, at, text, -1, SQLITE_STATIC);
}

static void bind_row(sqlite3_stmt *st, const struct journal_row *row)
{
	(void)sqlite3_bind_int64(st, 1, (sqlite3_int64)row->id);
	bind_text(st, 2, row->key);
	(void)sqlite3_bind_int(st, 3, (int)row->state);
	(void)sqlite3_bind_int(st, 4, row->local);
	(void)sqlite3_bind_int(st, 5, row->synced);
	(void)sqlite3_bind_int64(st, 6, (sqlite3_int64)row->size);
	bind_text(st, 7, row->base);
	bind_text(st, 8, row->tag);
	bind_text(st, 9, row->base_tag);
	bind_text(st, 10, row->upload_id);
	(void)sqlite3_bind_int64(st, 11, row_crc(row));
}

static void bind_gone(sqlite3_stmt *st, const struct journal_change *c)
{
	const char *etag = c->etag ? c->etag : "", *tag = c->tag ? c->tag : "";
	bind_text(st, 1, c->key);
	bind_text(st, 2, etag);
	bind_text(st, 3, tag);
	(void)sqlite3_bind_int64(st, 4, gone_crc(c->key, etag, tag));
}

static int apply_change(struct journal *jn, const struct journal_change *c)
{
	sqlite3_stmt *st = jn->change[c->kind];
	switch (c->kind) {
	case JOURNAL_PUT_ROW:
		bind_row(st, c->row);
		break;
	case JOURNAL_DEL_ROW:
		(void)sqlite3_bind_int64(st, 1, (sqlite3_int64)c->id);
		break;
	case JOURNAL_PUT_GONE:
		bind_gone(st, c);
		break;
	case JOURNAL_PUT_DIR:
		bind_text(st, 1, c->key);
		(void)sqlite3_bind_int64(st, 2, dir_crc(c->key));
		break;
	default:
		bind_text(st, 1, c->key);
	}
	return db_run(&jn->db, st);
}

static int apply_request(struct journal *jn, const struct request *rq)
{
	for (size_t i = 0; i < rq->n; i++) {
		int r = apply_change(jn, &rq->changes[i]);
		if (r)
			return r;
	}
	return 0;
}

static int write_last_id(struct journal *jn)
{
	(void)sqlite3_bind_int64(jn->last_id, 1, (sqlite3_int64)atomic_load(&jn->id));
	return db_run(&jn->db, jn->last_id);
}

/* Commit the requests from first up to, not including, end. */
static int commit_batch(struct journal *jn, struct request *first, struct request *end)
{
	enum db_sync want = DB_SYNC_NORMAL;
	for (struct request *rq = first; rq != end; rq = rq->next)
		if (rq->durable)
			want = DB_SYNC_FULL;
	int r = want == jn->sync ? 0 : db_set_sync(&jn->db, want);
	if (r)
		return r;
	jn->sync = want;

	r = db_exec(&jn->db, "BEGIN IMMEDIATE");
	for (struct request *rq = first; !r && rq != end; rq = rq->next)
		r = apply_request(jn, rq);
	if (!r)
		r = write_last_id(jn);
	if (!r)
		r = db_exec(&jn->db, "COMMIT");
	if (r && !sqlite3_get_autocommit(jn->db.sq))
		(void)db_exec(&jn->db, "ROLLBACK");
	return r;
}

/* Together if it goes; one by one if not, so that one that cannot be done (its
 * row does not fit on a full disk) does not fail its neighbours. */
static void commit_all(struct journal *jn, struct request *first)
{
	int r = commit_batch(jn, first, NULL);
	for (struct request *rq = first; rq; rq = rq->next)
		rq->result =
			r && (first->next != NULL) ? commit_batch(jn, rq, rq->next) : r;
}

static void *writer_main(void *arg)
{
	struct journal *jn = arg;
	(void)pthread_setname_np(pthread_self(), "journal");
	(void)pthread_mutex_lock(&jn->lock);
	while (jn->head || !jn->closing) {
		struct request *batch = jn->head;
		if (!batch) {
			(void)pthread_cond_wait(&jn->work, &jn->lock);
			continue;
		}
		jn->head = NULL;
		jn->tail = &jn->head;
		(void)pthread_mutex_unlock(&jn->lock);
		commit_all(jn, batch);
		(void)pthread_mutex_lock(&jn->lock);
		/* A request is its caller's again once done is set. */
		while (batch) {
			struct request *next = batch->next;
			batch->done = true;
			batch = next;
		}
		(void)pthread_cond_broadcast(&jn->done);
	}
	(void)pthread_mutex_unlock(&jn->lock);
	return NULL;
}

int journal_commit(struct journal *jn, const struct journal_change *changes, size_t n,
		   bool durable)
{
	struct request rq = {.changes = changes, .n = n, .durable = durable};
	SCOPED_LOCK(&jn->lock);
	*jn->tail = &rq;
	jn->tail = &rq.next;
	(void)pthread_cond_signal(&jn->work);
	while (!rq.done)
		(void)pthread_cond_wait(&jn->done, &jn->lock);
	return rq.result;
}

uint64_t journal_new_id(struct journal *jn)
{
	return atomic_fetch_add(&jn->id, 1) + 1;
}

bool journal_is_new(const struct journal *jn)
{
	return jn->is_new;
}

static const char *column(sqlite3_stmt *st, int at)
{
	const char *text = (const char *)sqlite3_column_text(st, at);
	return text ? text : "";
}

static int visit_row(struct journal *jn, sqlite3_stmt *st,
		     const struct journal_visitor *v)
{
	struct journal_row row = {
		.id = (uint64_t)sqlite3_column_int64(st, 0),
		.key = column(st, 1),
		.state = (enum row_state)sqlite3_column_int(st, 2),
		.local = sqlite3_column_int(st, 3) != 0,
		.synced = sqlite3_column_int(st, 4) != 0,
		.size = (uint64_t)sqlite3_column_int64(st, 5),
		.base = column(st, 6),
		.tag = column(st, 7),
		.base_tag = column(st, 8),
		.upload_id = column(st, 9),
	};
	if (row_crc(&row) != (uint32_t)sqlite3_column_int64(st, 10)) {
		log_error("journal", "%s: the row of staged file %llu is damaged",
			  jn->db.path, (unsigned long long)row.id);
		return -EUCLEAN;
	}
	if (row.id > atomic_load(&jn->id))
		atomic_store(&jn->id, row.id);
	return v->row(v->arg, &row);
}

static int damaged(const struct journal *jn, const char *what, const char *key)
{
	log_error("journal", "%s: the row of %s %s is damaged", jn->db.path, what, key);
	return -EUCLEAN;
}

static int visit_gone(struct journal *jn, sqlite3_stmt *st,
		      const struct journal_visitor *v)
{
	const char *key = column(st, 0), *etag = column(st, 1), *tag = column(st, 2);
	/* A wrong key here would remove what nobody asked to remove. */
	if (!*key || gone_crc(key, etag, tag) != (uint32_t)sqlite3_column_int64(st, 3))
		return damaged(jn, "the removed name", key);
	return v->gone(v->arg, key, etag, tag);
}

static int visit_dir(struct journal *jn, sqlite3_stmt *st,
		     const struct journal_visitor *v)
{
	const char *key = column(st, 0);
	if (dir_crc(key) != (uint32_t)sqlite3_column_int64(st, 1))
		return damaged(jn, "the directory", key);
	return v->dir(v->arg, key);
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

static int start_writer(struct journal *jn)
{
	int r = pthread_create(&jn->writer, NULL, writer_main, jn);
	jn->started = !r;
	return -r;
}

int journal_load(struct journal *jn, const struct journal_visitor *v)
{
	int r = each(jn, "SELECT * FROM staged ORDER BY id", visit_row, v);
	if (!r)
		r = each(jn, "SELECT key,etag,tag,crc FROM gone", visit_gone, v);
	if (!r)
		r = each(jn, "SELECT key,crc FROM dir", visit_dir, v);
	return r ? r : start_writer(jn);
}

static int read_last_id(struct journal *jn)
{
	sqlite3_stmt *st = NULL;
	int r = db_prepare(&jn->db, "SELECT id FROM last_id", &st);
	if (!r)
		r = db_step(&jn->db, st);
	if (r == 1) {
		atomic_store(&jn->id, (uint64_t)sqlite3_column_int64(st, 0));
		jn->is_new = !atomic_load(&jn->id);
		r = 0;
	} else if (!r) {
		r = -EUCLEAN;
	}
	(void)sqlite3_finalize(st);
	return r;
}

int journal_open(const char *path, struct journal **ret)
{
	struct journal *jn = calloc(1, sizeof(*jn));
	if (!jn)
		return -ENOMEM;
	(void)pthread_mutex_init(&jn->lock, NULL);
	(void)pthread_cond_init(&jn->work, NULL);
	(void)pthread_cond_init(&jn->done, NULL);
	jn->tail = &jn->head;
	jn->sync = DB_SYNC_FULL;

	int r = db_open(path, schema, SCHEMA_VERSION, DB_SYNC_FULL, &jn->db);
	for (int i = 0; !r && i < N_KINDS; i++)
		r = db_prepare(&jn->db, change_sql[i], &jn->change[i]);
	if (!r)
		r = db_prepare(&jn->db, "UPDATE last_id SET id=?", &jn->last_id);
	if (!r)
		r = read_last_id(jn);
	if (r) {
		if (r == -EUCLEAN)
			log_error(
				"journal",
				"%s is damaged; it holds files that the bucket does not "
				"have yet, so it is left as it is: restore it or move "
				"the cache directory away",
				path);
		journal_close(jn);
		return r;
	}
	*ret = jn;
	return 0;
}

void journal_close(struct journal *jn)
{
	if (!jn)
		return;
	if (jn->started) {
		(void)pthread_mutex_lock(&jn->lock);
		jn->closing = true;
		(void)pthread_cond_signal(&jn->work);
		(void)pthread_mutex_unlock(&jn->lock);
		(void)pthread_join(jn->writer, NULL);
	}
	for (int i = 0; i < N_KINDS; i++)
		(void)sqlite3_finalize(jn->change[i]);
	(void)sqlite3_finalize(jn->last_id);
	db_close(&jn->db);
	(void)pthread_cond_destroy(&jn->work);
	(void)pthread_cond_destroy(&jn->done);
	(void)pthread_mutex_destroy(&jn->lock);
	free(jn);
}
