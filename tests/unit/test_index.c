/* test_index.c - rows: what comes back, and what is not believed. */
#include "cache/index.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "cache/db.h"
#include "tests/unit/cache_rig.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static char dir[] = "/tmp/mastfs-index-XXXXXX";

static struct store_id id_of(uint8_t n)
{
	struct store_id id = {.size = 200 * MIB};
	memset(id.name, n, sizeof id.name);
	return id;
}

static void save(struct index *ix, uint8_t n, uint64_t extent, uint8_t bits)
{
	struct index_version v = {
		.id = id_of(n),
		.key = "key",
		.etag = "etag",
		.disk_bytes = n * UINT64_C(1000),
		.atime_ns = n,
	};
	struct index_extent e = {.no = extent};
	e.present[3] = bits;
	e.crc[24] = 0xdeadbeef;
	CHECK_EQ(index_save(ix, &v, &e, 1), 0);
}

struct seen {
	uint64_t n, last;
};

static int see(void *arg, const struct index_extent *e)
{
	struct seen *s = arg;
	CHECK_EQ(e->present[3], 1);
	CHECK_EQ(e->crc[24], 0xdeadbeef);
	s->n++;
	s->last = e->no;
	return 0;
}

static int load(struct index *ix, uint8_t n, struct seen *s, uint64_t *bytes)
{
	struct store_id id = id_of(n);
	*s = (struct seen){0};
	return index_load(ix, &id, see, s, bytes);
}

static void index__rows_come_back(void)
{
	struct index *ix;
	struct seen s;
	uint64_t bytes = 0;
	CHECK_EQ(index_new(dir, &ix), 0);
	CHECK_EQ(load(ix, 1, &s, &bytes), -ENOENT);
	save(ix, 1, 0, 1);
	save(ix, 1, 2, 1);
	save(ix, 2, 1, 1);
	index_free(ix);
	CHECK_EQ(index_new(dir, &ix), 0);
	CHECK_EQ(load(ix, 1, &s, &bytes), 0);
	CHECK_EQ(s.n, 2);
	CHECK_EQ(s.last, 2);
	CHECK_EQ(bytes, 1000);
	/* An extent without a block has no row. */
	save(ix, 1, 2, 0);
	CHECK_EQ(load(ix, 1, &s, &bytes), 0);
	CHECK_EQ(s.n, 1);
	struct store_id id = id_of(1);
	CHECK(index_has(ix, id.name));
	/* Its bytes are told once. */
	CHECK_EQ(index_drop(ix, &id, &bytes), 0);
	CHECK_EQ(bytes, 1000);
	CHECK_EQ(index_drop(ix, &id, &bytes), 0);
	CHECK_EQ(bytes, 0);
	CHECK(!index_has(ix, id.name));
	CHECK_EQ(load(ix, 1, &s, &bytes), -ENOENT);
	CHECK_EQ(load(ix, 2, &s, &bytes), 0);
	index_free(ix);
}

static void index__the_oldest_comes_first(void)
{
	struct index *ix;
	struct store_id ids[4], id = id_of(3);
	CHECK_EQ(index_new(dir, &ix), 0);
	save(ix, 5, 0, 1);
	save(ix, 3, 0, 1);
	save(ix, 4, 0, 1);
	CHECK_EQ(index_oldest(ix, false, 1, ids, 4), 3); /* 2 is the first */
	CHECK_EQ(ids[0].name[0], 3);
	CHECK_EQ(ids[2].name[0], 5);
	CHECK_EQ(index_touch(ix, &id, 100), 0);
	CHECK_EQ(index_oldest(ix, false, 3, ids, 4), 1);
	CHECK_EQ(ids[0].name[0], 3);
	/* Those that go last are a list of their own, in the same order. */
	CHECK_EQ(index_oldest(ix, true, 0, ids, 4), 0);
	CHECK_EQ(index_touch(ix, &id, 7 | INDEX_LAST_NS), 0);
	id = id_of(4);
	CHECK_EQ(index_touch(ix, &id, 6 | INDEX_LAST_NS), 0);
	CHECK_EQ(index_oldest(ix, true, 0, ids, 4), 2);
	CHECK_EQ(ids[0].name[0], 4);
	CHECK_EQ(ids[1].name[0], 3);
	CHECK_EQ(index_oldest(ix, false, 0, ids, 4), 2);
	CHECK_EQ(ids[1].name[0], 5);
	index_free(ix);
}

static void index__a_version_is_found_by_its_name(void)
{
	struct index *ix;
	struct index_row row;
	struct store_id id = id_of(5), none = id_of(77);
	CHECK_EQ(index_new(dir, &ix), 0);
	CHECK_EQ(index_find(ix, &none, &row), -ENOENT);
	CHECK_EQ(index_find(ix, &id, &row), 0);
	CHECK_STR(row.key, "key");
	CHECK_STR(row.etag, "etag");
	CHECK_EQ(row.atime_ns, 5);
	free(row.key);
	free(row.etag);
	index_free(ix);
}

static void forge(const char *sql)
{
	char path[128];
	struct db db;
	(void)snprintf(path, sizeof path, "%s/index.db", dir);
	CHECK_EQ(db_open(path, "", 4, DB_SYNC_NORMAL, &db), 0);
	CHECK_EQ(db_exec(&db, sql), 0);
	db_close(&db);
}

/* blocks (2) */
static void index__a_changed_or_moved_row_is_not_believed(void)
{
	static const char *const forgeries[] = {
		"UPDATE extent SET crc=zeroblob(1024)",
		"UPDATE extent SET present=randomblob(32)",
		"UPDATE extent SET no=no+1",
		"UPDATE extent SET no=-1",
		"UPDATE extent SET sum=sum+4294967296",
		"UPDATE extent SET crc=x'00'",
		"UPDATE extent SET crc=7, present='x'",
		"UPDATE version SET name=zeroblob(32) WHERE name=(SELECT max(name) FROM"
		" version); UPDATE extent SET version=(SELECT id FROM version WHERE"
		" name<>zeroblob(32) AND atime=8)",
	};
	for (size_t i = 0; i < sizeof forgeries / sizeof *forgeries; i++) {
		struct index *ix;
		struct seen s;
		uint64_t bytes;
		forge("DELETE FROM extent; DELETE FROM version");
		CHECK_EQ(index_new(dir, &ix), 0);
		save(ix, 8, 1, 1);
		save(ix, 9, 0, 1);
		index_free(ix);
		if (i + 1 == sizeof forgeries / sizeof *forgeries)
			forge("DELETE FROM extent WHERE no=1");
		forge(forgeries[i]);
		CHECK_EQ(index_new(dir, &ix), 0);
		CHECK_EQ(load(ix, 8, &s, &bytes), -EUCLEAN);
		CHECK_EQ(s.n, 0);
		index_free(ix);
	}
	/* A size that is not the name's. */
	struct index *ix;
	struct seen s;
	uint64_t bytes;
	forge("UPDATE version SET size=1");
	CHECK_EQ(index_new(dir, &ix), 0);
	CHECK_EQ(load(ix, 8, &s, &bytes), -EUCLEAN);
	index_free(ix);
}

/* What is cached survives an upgrade: only the tables that are new are made. */
static void index__an_older_file_keeps_its_rows(void)
{
	struct index *ix;
	struct seen s;
	uint64_t bytes;
	int64_t mtime_ns;
	forge("DELETE FROM extent; DELETE FROM version");
	CHECK_EQ(index_new(dir, &ix), 0);
	save(ix, 8, 0, 1);
	index_free(ix);
	forge("DROP TABLE layout; DROP TABLE mtime; PRAGMA user_version=1");
	CHECK_EQ(index_new(dir, &ix), 0);
	CHECK_EQ(load(ix, 8, &s, &bytes), 0);
	CHECK_EQ(s.n, 1);
	CHECK_EQ(index_set_mtime(ix, "key", "etag", 7), 0);
	CHECK_EQ(index_get_mtime(ix, "key", "etag", &mtime_ns), 0);
	CHECK_EQ(mtime_ns, 7);
	index_free(ix);
}

/* Where nobody ever set one, no question is asked: from the first set on it is. */
static void index__a_time_is_found_after_none_was(void)
{
	struct index *ix;
	int64_t mtime_ns;
	forge("DELETE FROM mtime");
	CHECK_EQ(index_new(dir, &ix), 0);
	for (int turn = 0; turn < 2; turn++)
		CHECK_EQ(index_get_mtime(ix, "key", "e1", &mtime_ns), -ENOENT);
	CHECK_EQ(index_set_mtime(ix, "key", "e1", 7), 0);
	CHECK_EQ(index_get_mtime(ix, "key", "e1", &mtime_ns), 0);
	CHECK_EQ(mtime_ns, 7);
	CHECK_EQ(index_get_mtime(ix, "key", "e2", &mtime_ns), -ENOENT);
	index_free(ix);
	/* by another mount */
	CHECK_EQ(index_new(dir, &ix), 0);
	CHECK_EQ(index_get_mtime(ix, "key", "e1", &mtime_ns), 0);
	index_free(ix);
}

static int get_mtime(struct index *ix, const char *etag)
{
	int64_t mtime_ns;
	return index_get_mtime(ix, "key", etag, &mtime_ns);
}

/* P9: of versions, however often the time of one is set. */
static void index__times_are_bounded(void)
{
	struct index *ix;
	int64_t mtime_ns;
	forge("DELETE FROM mtime");
	CHECK_EQ(index_new(dir, &ix), 0);
	CHECK_EQ(index_set_mtime(ix, "key", "old", 5), 0);
	CHECK_EQ(index_set_mtime(ix, "key", "e1", 6), 0);
	index_free(ix);
	forge("UPDATE mtime SET id=1000000 WHERE CAST(etag AS TEXT)='old'");
	forge("UPDATE mtime SET id=2000000-1 WHERE CAST(etag AS TEXT)='e1'");
	CHECK_EQ(index_new(dir, &ix), 0);
	for (int64_t i = 0; i < 100; i++)
		CHECK_EQ(index_set_mtime(ix, "key", "e1", i), 0);
	index_free(ix);
	CHECK_EQ(index_new(dir, &ix), 0);
	CHECK_EQ(index_get_mtime(ix, "key", "e1", &mtime_ns), 0);
	CHECK_EQ(mtime_ns, 99);
	CHECK_EQ(get_mtime(ix, "old"), 0);
	/* While it is mounted, too. */
	CHECK_EQ(index_set_mtime(ix, "key", "new", 7), 0);
	CHECK_EQ(get_mtime(ix, "old"), -ENOENT);
	CHECK_EQ(get_mtime(ix, "e1"), 0);
	CHECK_EQ(get_mtime(ix, "new"), 0);
	index_free(ix);
}

/* An HDU of so many records, and all the rest. */
static void make_layout(struct layout *l, uint64_t size, uint64_t records)
{
	layout_init(l, size);
	struct hdu h = {0, 2880, records * 2880};
	CHECK_EQ(layout_add(l, &h), 0);
	layout_end(l);
}

static int get_layout(struct index *ix, const char *etag, uint64_t size, size_t *ret_n)
{
	struct layout l;
	int r = index_get_layout(ix, "key.fits", etag, size, &l);
	if (r)
		return r;
	CHECK_EQ(l.size, size);
	CHECK(l.complete);
	CHECK_EQ(l.hdus[0].data_off, 2880);
	*ret_n = l.hdus[l.n - 1].end / 2880;
	layout_done(&l);
	return 0;
}

static void index__a_layout_stays_when_its_version_goes(void)
{
	struct index *ix;
	struct layout l;
	uint64_t bytes;
	size_t n = 0;
	struct store_id id = id_of(8);
	CHECK_EQ(index_new(dir, &ix), 0);
	CHECK_EQ(get_layout(ix, "e1", 28800, &n), -ENOENT);
	save(ix, 8, 0, 1);
	make_layout(&l, 28800, 3);
	CHECK_EQ(index_set_layout(ix, "key.fits", "e1", &l), 0);
	layout_done(&l);
	make_layout(&l, 28800, 7);
	CHECK_EQ(index_set_layout(ix, "key.fits", "e2", &l), 0);
	CHECK_EQ(index_set_layout(ix, "key.fits", "e1", &l), 0); /* it grew */
	layout_done(&l);
	CHECK_EQ(index_drop(ix, &id, &bytes), 0);
	index_free(ix);
	CHECK_EQ(index_new(dir, &ix), 0);
	CHECK_EQ(get_layout(ix, "e1", 28800, &n), 0);
	CHECK_EQ(n, 7);
	CHECK_EQ(get_layout(ix, "e3", 28800, &n), -ENOENT);
	CHECK_EQ(get_layout(ix, "e1", 28801, &n), -EBADMSG);
	index_free(ix);
	static const char *const forgeries[] = {
		"UPDATE layout SET hdus=zeroblob(3)",
		"UPDATE layout SET hdus='text'",
		"UPDATE layout SET sum=sum+4294967296",
		"UPDATE layout SET etag=x'6530' WHERE etag=x'6531';"
		"UPDATE layout SET etag=x'6531' WHERE etag=x'6532'",
	};
	for (size_t i = 0; i < sizeof forgeries / sizeof *forgeries; i++) {
		CHECK_EQ(index_new(dir, &ix), 0);
		make_layout(&l, 28800, 3 + i);
		CHECK_EQ(index_set_layout(ix, "key.fits", "e1", &l), 0);
		CHECK_EQ(index_set_layout(ix, "key.fits", "e2", &l), 0);
		layout_done(&l);
		CHECK_EQ(get_layout(ix, "e1", 28800, &n), 0);
		index_free(ix);
		forge(forgeries[i]);
		CHECK_EQ(index_new(dir, &ix), 0);
		CHECK(get_layout(ix, "e1", 28800, &n));
		index_free(ix);
	}
}

/* P9: rows of one file, of all files, from one start to the next. */
static void index__layouts_are_bounded(void)
{
	struct index *ix;
	struct layout l;
	size_t n;
	CHECK_EQ(index_new(dir, &ix), 0);
	layout_init(&l, UINT64_C(1) << 40);
	for (uint64_t i = 0; i < 10000; i++) {
		uint64_t off = layout_next(&l);
		CHECK_EQ(layout_add(&l, &(struct hdu){off, off + 2880, off + 2880}), 0);
	}
	CHECK_EQ(index_set_layout(ix, "key.fits", "many", &l), -EMSGSIZE);
	layout_done(&l);
	make_layout(&l, 28800, 3);
	CHECK_EQ(index_set_layout(ix, "key.fits", "old", &l), 0);
	index_free(ix);
	forge("UPDATE layout SET id=1000000 WHERE CAST(etag AS TEXT)='old'");
	CHECK_EQ(index_new(dir, &ix), 0);
	CHECK_EQ(index_set_layout(ix, "key.fits", "e1", &l), 0);
	CHECK_EQ(get_layout(ix, "old", 28800, &n), 0);
	index_free(ix);
	forge("UPDATE layout SET id=1200000 WHERE CAST(etag AS TEXT)='e1'");
	CHECK_EQ(index_new(dir, &ix), 0);
	CHECK_EQ(get_layout(ix, "old", 28800, &n), 0);
	CHECK_EQ(index_set_layout(ix, "key.fits", "new", &l), 0);
	CHECK_EQ(get_layout(ix, "old", 28800, &n), -ENOENT);
	CHECK_EQ(get_layout(ix, "e1", 28800, &n), 0);
	index_free(ix);
	forge("WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM k WHERE i<80)"
	      " INSERT INTO layout SELECT 1300000+i, 'k'||i, 'e', zeroblob(1000000), 0"
	      " FROM k");
	CHECK_EQ(index_new(dir, &ix), 0);
	CHECK_EQ(get_layout(ix, "new", 28800, &n), -ENOENT);
	CHECK_EQ(index_set_layout(ix, "key.fits", "e1", &l), 0);
	CHECK_EQ(get_layout(ix, "e1", 28800, &n), 0);
	index_free(ix);
	layout_done(&l);
}

static void index__what_cannot_be_read_is_thrown_away(void)
{
	char path[128];
	struct index *ix;
	struct seen s;
	uint64_t bytes;
	(void)snprintf(path, sizeof path, "%s/index.db", dir);
	int fd = open(path, O_WRONLY | O_TRUNC);
	CHECK(fd >= 0);
	for (int i = 0; i < 100; i++)
		CHECK_EQ(write(fd, "this is no database, it only has its name\n", 42),
			 42);
	CHECK_EQ(close(fd), 0);
	CHECK_EQ(index_new(dir, &ix), 0);
	CHECK_EQ(load(ix, 8, &s, &bytes), -ENOENT);
	save(ix, 8, 0, 1);
	CHECK_EQ(load(ix, 8, &s, &bytes), 0);
	index_free(ix);
	/* A newer mastfs may want its file back. */
	forge("PRAGMA user_version=99");
	CHECK_EQ(index_new(dir, &ix), -EPROTO);
	CHECK_EQ(access(path, F_OK), 0);
}

int main(void)
{
	char command[64];
	CHECK(mkdtemp(dir));
	RUN(index__rows_come_back);
	RUN(index__the_oldest_comes_first);
	RUN(index__a_version_is_found_by_its_name);
	RUN(index__a_changed_or_moved_row_is_not_believed);
	RUN(index__an_older_file_keeps_its_rows);
	RUN(index__a_time_is_found_after_none_was);
	RUN(index__times_are_bounded);
	RUN(index__a_layout_stays_when_its_version_goes);
	RUN(index__layouts_are_bounded);
	RUN(index__what_cannot_be_read_is_thrown_away);
	(void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
	CHECK_EQ(system(command), 0);
	return 0;
}
