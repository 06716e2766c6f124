/* journal.c - see journal.h.
 *
 * Invariants:
 *  (1) A commit that returned 0 is in the file: a later load shows it.
 *  (2) The changes of one call are applied together or not at all.
 *  (3) Commits are applied in the order in which they were handed in.
 *  (4) A row whose CRC does not match ends the load: no guess, nothing touched.
 *  (5) What journal_forget was given is gone before anything that was handed in after it
 *      is there.
 */
#include "cache/journal_impl.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/cond.h"
#include "backends/util/log.h"
#include "backends/util/thread.h"
#include "backends/util/banned.h"

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS staged(id INTEGER PRIMARY KEY, key TEXT NOT NULL,"
	" state INTEGER NOT NULL, local INTEGER NOT NULL, synced INTEGER NOT NULL,"
	" size INTEGER NOT NULL, base TEXT NOT NULL, tag TEXT NOT NULL,"
	" base_tag TEXT NOT NULL, upload_id TEXT NOT NULL, crc INTEGER NOT NULL);"
	"CREATE TABLE IF NOT EXISTS gone(key TEXT PRIMARY KEY, etag TEXT NOT NULL,"
	" tag TEXT NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS dir(key TEXT PRIMARY KEY, crc INTEGER NOT NULL)"
	" WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS upload(id INTEGER PRIMARY KEY,"
	" staged_id INTEGER NOT NULL, key TEXT NOT NULL, upload_id TEXT NOT NULL,"
	" tag TEXT NOT NULL, crc INTEGER NOT NULL);"
	"CREATE TABLE IF NOT EXISTS part(upload INTEGER NOT NULL, number INTEGER "
	"NOT NULL,"
	" size INTEGER NOT NULL, sum INTEGER NOT NULL, receipt TEXT NOT NULL,"
	" crc INTEGER NOT NULL, PRIMARY KEY(upload,number)) WITHOUT ROWID;"
	/* The highest id ever given out: an id is never used for two files. */
	"CREATE TABLE IF NOT EXISTS last_id(one INTEGER PRIMARY KEY CHECK(one=1),"
	" id INTEGER NOT NULL);"
	"INSERT OR IGNORE INTO last_id VALUES(1,0)";

/* 2: upload and part.  An older one gets the tables that it has not. */
enum { SCHEMA_VERSION = 2 };

static const char *const change_sql[] = {
	[JOURNAL_PUT_ROW] = "INSERT OR REPLACE INTO staged VALUES(?,?,?,?,?,?,?,?,?,?,?)",
	[JOURNAL_DEL_ROW] = "DELETE FROM staged WHERE id=?",
	[JOURNAL_PUT_GONE] = "INSERT OR REPLACE INTO gone VALUES(?,?,?,?)",
	[JOURNAL_DEL_GONE] = "DELETE FROM gone WHERE key=?",
	[JOURNAL_PUT_DIR] = "INSERT OR REPLACE INTO dir VALUES(?,?)",
	[JOURNAL_DEL_DIR] = "DELETE FROM dir WHERE key=?",
	[JOURNAL_PUT_UPLOAD] = "INSERT OR REPLACE INTO upload VALUES(?,?,?,?,?,?)",
	[JOURNAL_DEL_UPLOAD] = "DELETE FROM upload WHERE id=?",
	[JOURNAL_PUT_PART] = "INSERT OR REPLACE INTO part VALUES(?,?,?,?,?,?)",
};
_Static_assert(sizeof(change_sql) / sizeof(*change_sql) == JOURNAL_KINDS, "each kind");

/* One caller's changes, on its stack until done; or posted, and the writer's. */
struct request {
	struct request *next;
	const struct journal_change *changes;
	size_t n;
	bool durable, done, posted;
	bool forgets; /* deletions that are owed if they cannot be done */
	int result;
};

/* How long what was posted waits for company, and how much of it may wait. */
enum { POST_MS = 50, POSTS_MAX = 1000 };

struct posted {
	struct request rq; /* first */
	struct journal_change change;
	struct journal_row row;
	char strings[]; /* of row */
};

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
	(void)sqlite3_bind_int(st, 5, journal_row_flags(row));
	(void)sqlite3_bind_int64(st, 6, (sqlite3_int64)row->size);
	bind_text(st, 7, row->base);
	bind_text(st, 8, row->tag);
	bind_text(st, 9, row->base_tag);
	bind_text(st, 10, row->upload_id);
	(void)sqlite3_bind_int64(st, 11, journal_row_crc(row));
}

static void bind_gone(sqlite3_stmt *st, const struct journal_change *c)
{
	const char *etag = c->etag ? c->etag : "", *tag = c->tag ? c->tag : "";
	bind_text(st, 1, c->key);
	bind_text(st, 2, etag);
	bind_text(st, 3, tag);
	(void)sqlite3_bind_int64(st, 4, journal_gone_crc(c->key, etag, tag));
}

static void bind_upload(sqlite3_stmt *st, const struct journal_upload *up)
{
	(void)sqlite3_bind_int64(st, 1, (sqlite3_int64)up->id);
	(void)sqlite3_bind_int64(st, 2, (sqlite3_int64)up->staged_id);
	bind_text(st, 3, up->key);
	bind_text(st, 4, up->upload_id);
	bind_text(st, 5, up->tag);
	(void)sqlite3_bind_int64(st, 6, journal_upload_crc(up));
}

static void bind_part(sqlite3_stmt *st, const struct journal_change *c)
{
	(void)sqlite3_bind_int64(st, 1, (sqlite3_int64)c->id);
	(void)sqlite3_bind_int64(st, 2, c->part->number);
	(void)sqlite3_bind_int64(st, 3, (sqlite3_int64)c->part->size);
	(void)sqlite3_bind_int64(st, 4, c->crc);
	bind_text(st, 5, c->part->receipt);
	(void)sqlite3_bind_int64(st, 6, journal_part_crc(c->id, c->part, c->crc));
}

static int delete_parts(struct journal *jn, uint64_t id)
{
	(void)sqlite3_bind_int64(jn->del_parts, 1, (sqlite3_int64)id);
	return db_run(&jn->db, jn->del_parts);
}

int journal_apply(struct journal *jn, const struct journal_change *c)
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
	case JOURNAL_PUT_UPLOAD:
		bind_upload(st, c->upload);
		break;
	case JOURNAL_PUT_PART:
		bind_part(st, c);
		break;
	case JOURNAL_DEL_UPLOAD: {
		int r = delete_parts(jn, c->id);
		if (r)
			return r;
		(void)sqlite3_bind_int64(st, 1, (sqlite3_int64)c->id);
		break;
	}
	case JOURNAL_PUT_DIR:
		bind_text(st, 1, c->key);
		(void)sqlite3_bind_int64(st, 2, journal_dir_crc(c->key));
		break;
	default:
		bind_text(st, 1, c->key);
	}
	return db_run(&jn->db, st);
}

static int apply_request(struct journal *jn, const struct request *rq)
{
	for (size_t i = 0; i < rq->n; i++) {
		int r = journal_apply(jn, &rq->changes[i]);
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
	if (!r)
		r = journal_apply_owed(jn);
	for (struct request *rq = first; !r && rq != end; rq = rq->next)
		r = apply_request(jn, rq);
	if (!r)
		r = write_last_id(jn);
	if (!r)
		r = db_exec(&jn->db, "COMMIT");
	if (r && !sqlite3_get_autocommit(jn->db.sq))
		(void)db_exec(&jn->db, "ROLLBACK");
	if (!r)
		journal_paid(jn);
	return r;
}

/* On a full disk, with what is given up for it: else nothing could be removed there. */
static int commit_with_room(struct journal *jn, struct request *first,
			    struct request *end)
{
	const struct journal_room *room = &jn->room;
	int r = commit_batch(jn, first, end);
	for (uint32_t turn = 0; r == -ENOSPC && room->make; turn++) {
		if (!room->make(room->arg, turn))
			return r;
		jn->made_room = true;
		r = commit_batch(jn, first, end);
	}
	if (!r && jn->made_room)
		jn->made_room = !room->again(room->arg);
	return r;
}

/* Together if it goes; one by one if not, so that one that cannot be done (its
 * row does not fit on a full disk) does not fail its neighbours. */
static void commit_all(struct journal *jn, struct request *first)
{
	int r = commit_with_room(jn, first, NULL);
	for (struct request *rq = first; rq; rq = rq->next) {
		rq->result = r && first->next ? commit_with_room(jn, rq, rq->next) : r;
		if (rq->result && rq->forgets)
			journal_owe(jn, rq->changes, rq->n);
	}
}

/* Is there anything that must be done now, and that nobody does? */
static bool due_locked(const struct journal *jn)
{
	bool due = jn->n_waiting || jn->closing ||
		   (jn->n_posted && clock_now_ns() >= jn->post_due_ns);
	return due && !jn->committing;
}

static struct request *take_locked(struct journal *jn)
{
	struct request *batch = jn->head;
	jn->head = NULL;
	jn->tail = &jn->head;
	jn->n_waiting = jn->n_posted = 0;
	return batch;
}

/* A request is its caller's again once done is set. */
static void give_back_locked(struct journal *jn, struct request *batch)
{
	while (batch) {
		struct request *rq = batch;
		batch = rq->next;
		jn->has_rows |= !rq->result;
		if (rq->posted)
			free(rq);
		else
			rq->done = true;
	}
	(void)pthread_cond_broadcast(&jn->done);
}

/* All that is queued, by this thread, and meanwhile no other; lets go of the lock. */
static void commit_queue_locked(struct journal *jn)
{
	struct request *batch = take_locked(jn);
	jn->committing = true;
	(void)pthread_mutex_unlock(&jn->lock);
	commit_all(jn, batch);
	(void)pthread_mutex_lock(&jn->lock);
	jn->committing = false;
	give_back_locked(jn, batch);
	if (jn->n_waiting)
		(void)pthread_cond_signal(&jn->work);
}

static void *writer_main(void *arg)
{
	struct journal *jn = arg;
	(void)pthread_setname_np(pthread_self(), "journal");
	(void)pthread_mutex_lock(&jn->lock);
	while (jn->head || !jn->closing) {
		if (jn->head && due_locked(jn))
			commit_queue_locked(jn);
		else if (jn->n_posted)
			cond_wait_ms(&jn->work, &jn->lock, POST_MS);
		else
			(void)pthread_cond_wait(&jn->work, &jn->lock);
	}
	(void)pthread_mutex_unlock(&jn->lock);
	if (jn->owed)
		(void)commit_batch(jn, NULL, NULL);
	return NULL;
}

static void add_locked(struct journal *jn, struct request *rq)
{
	*jn->tail = rq;
	jn->tail = &rq->next;
}

/* What a close waits for its own thread commits, if none does just now: it has the disk
 * to wait for, and not to be woken as well (5 % of a close on two busy processors,
 * 2026-11-28).  The rest is many uploads' that end: one thread gathers it. */
static int wait_for(struct journal *jn, struct request *rq)
{
	SCOPED_LOCK(&jn->lock);
	add_locked(jn, rq);
	jn->n_waiting++;
	if (!rq->durable)
		(void)pthread_cond_signal(&jn->work);
	while (!rq->done) {
		if (rq->durable && !jn->committing)
			commit_queue_locked(jn);
		else
			(void)pthread_cond_wait(&jn->done, &jn->lock);
	}
	return rq->result;
}

int journal_commit(struct journal *jn, const struct journal_change *changes, size_t n,
		   bool durable)
{
	struct request rq = {.changes = changes, .n = n, .durable = durable};
	return wait_for(jn, &rq);
}

int journal_sync(struct journal *jn)
{
	/* A transaction that changes nothing would sync nothing: an id is used up. */
	(void)journal_new_id(jn);
	return journal_commit(jn, NULL, 0, true);
}

void journal_forget(struct journal *jn, const struct journal_change *changes, size_t n,
		    bool durable)
{
	struct request rq = {
		.changes = changes, .n = n, .durable = durable, .forgets = true};
	(void)wait_for(jn, &rq);
}

static const char *keep_string(char **at, const char *s)
{
	char *copy = *at;
	size_t size = strlen(s) + 1;
	memcpy(copy, s, size);
	*at += size;
	return copy;
}

/* NULL: no memory. */
static struct posted *copy_row(const struct journal_row *row)
{
	size_t size = strlen(row->key) + strlen(row->base) + strlen(row->tag) +
		      strlen(row->base_tag) + strlen(row->upload_id) + 5;
	struct posted *p = calloc(1, sizeof(*p) + size);
	if (!p)
		return NULL;
	char *at = p->strings;
	p->row = *row;
	p->row.key = keep_string(&at, row->key);
	p->row.base = keep_string(&at, row->base);
	p->row.tag = keep_string(&at, row->tag);
	p->row.base_tag = keep_string(&at, row->base_tag);
	p->row.upload_id = keep_string(&at, row->upload_id);
	p->change = (struct journal_change){.kind = JOURNAL_PUT_ROW, .row = &p->row};
	p->rq = (struct request){.changes = &p->change, .n = 1, .posted = true};
	return p;
}

/* Not where nothing was committed before: see journal_is_new. */
static bool post_locked(struct journal *jn, struct posted *p)
{
	if (!p || !jn->has_rows || jn->n_posted >= POSTS_MAX)
		return false;
	bool wakes = !jn->head;
	add_locked(jn, &p->rq);
	if (!jn->n_posted++)
		jn->post_due_ns = clock_now_ns() + POST_MS * NS_PER_MS;
	if (wakes)
		(void)pthread_cond_signal(&jn->work);
	return true;
}

int journal_post_row(struct journal *jn, const struct journal_row *row)
{
	struct posted *p = copy_row(row);
	(void)pthread_mutex_lock(&jn->lock);
	bool posted = post_locked(jn, p);
	(void)pthread_mutex_unlock(&jn->lock);
	if (posted)
		return 0;
	free(p);
	struct journal_change c = {.kind = JOURNAL_PUT_ROW, .row = row};
	return journal_commit(jn, &c, 1, false);
}

void journal_set_room(struct journal *jn, const struct journal_room *room)
{
	jn->room = *room;
}

uint64_t journal_new_id(struct journal *jn)
{
	return atomic_fetch_add(&jn->id, 1) + 1;
}

bool journal_is_new(const struct journal *jn)
{
	return jn->is_new;
}

int journal_start(struct journal *jn)
{
	int r = thread_start(&jn->writer, 0, writer_main, jn);
	jn->started = !r;
	return r;
}

static int read_last_id(struct journal *jn)
{
	sqlite3_stmt *st = NULL;
	int r = db_prepare(&jn->db, "SELECT id FROM last_id", &st);
	if (!r)
		r = db_step(&jn->db, st);
	sqlite3_int64 id = r == 1 ? sqlite3_column_int64(st, 0) : -1;
	/* Nobody gave out half of all ids.  From a wrong one on they would start over,
	 * and a new file take the place of one that the bucket does not have. */
	if (r == 1 && id >= 0 && id <= INT64_MAX / 2) {
		atomic_store(&jn->id, (uint64_t)id);
		jn->is_new = !id;
		jn->has_rows = id;
		r = 0;
	} else if (r >= 0) {
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
	cond_init_monotonic(&jn->work);
	(void)pthread_cond_init(&jn->done, NULL);
	jn->tail = &jn->head;
	jn->sync = DB_SYNC_FULL;

	int r = db_open(path, schema, SCHEMA_VERSION, DB_SYNC_FULL, &jn->db);
	for (int i = 0; !r && i < JOURNAL_KINDS; i++)
		r = db_prepare(&jn->db, change_sql[i], &jn->change[i]);
	if (!r)
		r = db_prepare(&jn->db, "DELETE FROM part WHERE upload=?",
			       &jn->del_parts);
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
	journal_paid(jn);
	for (int i = 0; i < JOURNAL_KINDS; i++)
		(void)sqlite3_finalize(jn->change[i]);
	(void)sqlite3_finalize(jn->del_parts);
	(void)sqlite3_finalize(jn->last_id);
	db_close(&jn->db);
	(void)pthread_cond_destroy(&jn->work);
	(void)pthread_cond_destroy(&jn->done);
	(void)pthread_mutex_destroy(&jn->lock);
	free(jn);
}
