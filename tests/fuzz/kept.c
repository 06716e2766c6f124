/* kept.c - see kept.h. */
#include "tests/fuzz/kept.h"
#include <errno.h>
#include "cache/layout.h"
#include "backends/util/banned.h"

/* --- what was written --- */

const struct journal_row kept_rows[KEPT] = {
	{.id = 1,
	 .key = "d/a",
	 .local = true,
	 .synced = true,
	 .base = "",
	 .tag = "",
	 .base_tag = "",
	 .upload_id = ""},
	{.id = 2,
	 .key = "d/b.fits",
	 .state = ROW_SEALED,
	 .size = 9,
	 .base = "\"e\"",
	 .tag = "0123456789abcdef",
	 .base_tag = "",
	 .upload_id = "u"},
	{.id = 3,
	 .key = "d/\xff\xfe",
	 .state = ROW_CONFLICT,
	 .synced = true,
	 .mtime_set = true,
	 .torn = true,
	 .size = INT64_MAX,
	 .base = "\"f\"",
	 .tag = "t",
	 .base_tag = "t1 t2",
	 .upload_id = ""},
	{.id = KEPT_LAST_ID,
	 .key = "x",
	 .state = ROW_SEALED,
	 .size = 1,
	 .base = "",
	 .tag = "t9",
	 .base_tag = "",
	 .upload_id = "an upload's id"},
};
static const struct journal_upload upload = {
	.id = 5, .staged_id = 2, .key = "d/b.fits", .upload_id = "up", .tag = "t"};
static const struct part part = {.number = 3, .size = 8, .receipt = "\"p\""};
const struct journal_change kept_uploads[KEPT_UPLOADS] = {
	{.kind = JOURNAL_PUT_UPLOAD, .upload = &upload},
	{.kind = JOURNAL_PUT_PART, .id = 5, .part = &part, .crc = 77},
};
const struct journal_change kept_gone[KEPT] = {
	{.kind = JOURNAL_PUT_GONE, .key = "g/1", .etag = "\"e\"", .tag = "t"},
	{.kind = JOURNAL_PUT_GONE, .key = "g/2", .etag = "", .tag = ""},
	{.kind = JOURNAL_PUT_GONE, .key = "g/3", .etag = "\"0x1\"", .tag = NULL},
	{.kind = JOURNAL_PUT_GONE, .key = "g/\xff", .etag = "5", .tag = "t"},
};
const struct journal_change kept_dirs[KEPT] = {
	{.kind = JOURNAL_PUT_DIR, .key = "e"},
	{.kind = JOURNAL_PUT_DIR, .key = "e/f"},
	{.kind = JOURNAL_PUT_DIR, .key = "\xff"},
	{.kind = JOURNAL_PUT_DIR, .key = "g"},
};

static const struct store_id version = {{1, 2, 3}, UINT64_C(100) << 20};
static struct index_extent extents[2];
static struct layout layout;
static const char page[] = "0123456789abcdef";
static const struct index_listing listing = {"owner", 77, 3, 1};

/* --- what is read --- */

static bool same_row(const struct journal_row *a, const struct journal_row *b)
{
	return a->id == b->id && a->state == b->state && a->local == b->local &&
	       a->synced == b->synced && a->mtime_set == b->mtime_set &&
	       a->torn == b->torn && a->size == b->size && !strcmp(a->key, b->key) &&
	       !strcmp(a->base, b->base) && !strcmp(a->tag, b->tag) &&
	       !strcmp(a->base_tag, b->base_tag) && !strcmp(a->upload_id, b->upload_id);
}

int kept_on_row(void *arg, const struct journal_row *row)
{
	struct kept_seen *seen = arg;
	size_t i = 0;
	while (i < KEPT && !same_row(row, &kept_rows[i]))
		i++;
	MUST(i < KEPT && !seen->row[i]);
	seen->row[i] = true;
	seen->n++;
	return 0;
}

static bool same_text(const char *a, const char *b)
{
	return !strcmp(a, b ? b : "");
}

static bool same_gone(const struct journal_change *c, const char *key, const char *etag,
		      const char *tag)
{
	return same_text(key, c->key) && same_text(etag, c->etag) &&
	       same_text(tag, c->tag);
}

int kept_on_gone(void *arg, const char *key, const char *etag, const char *tag)
{
	struct kept_seen *seen = arg;
	size_t i = 0;
	while (i < KEPT && !same_gone(&kept_gone[i], key, etag, tag))
		i++;
	/* SQLite's keys are whole, and may be ours up to a NUL. */
	MUST(i < KEPT);
	seen->n += !seen->gone[i];
	seen->gone[i] = true;
	return 0;
}

int kept_on_dir(void *arg, const char *key)
{
	struct kept_seen *seen = arg;
	size_t i = 0;
	while (i < KEPT && strcmp(key, kept_dirs[i].key) != 0)
		i++;
	MUST(i < KEPT);
	seen->n += !seen->dir[i];
	seen->dir[i] = true;
	return 0;
}

int kept_on_upload(void *arg, const struct journal_upload *up)
{
	struct kept_seen *seen = arg;
	MUST(up->id == upload.id && up->staged_id == upload.staged_id);
	MUST(!strcmp(up->key, upload.key) && !strcmp(up->tag, upload.tag));
	MUST(!strcmp(up->upload_id, upload.upload_id));
	seen->n++;
	return 0;
}

int kept_on_part(void *arg, uint64_t upload_id, const struct part *p, uint32_t crc)
{
	struct kept_seen *seen = arg;
	MUST(upload_id == upload.id && crc == 77 && p->number == part.number);
	MUST(p->size == part.size && !strcmp(p->receipt, part.receipt));
	seen->n++;
	return 0;
}

static int on_extent(void *arg, const struct index_extent *e)
{
	bool *seen = arg;
	size_t i = 0;
	while (i < 2 && memcmp(e, &extents[i], sizeof *e) != 0)
		i++;
	MUST(i < 2 && !seen[i]);
	seen[i] = true;
	return 0;
}

static int on_page(void *arg, const void *body, size_t len)
{
	(void)arg;
	MUST(len == sizeof page && !memcmp(body, page, len));
	return 0;
}

static int on_version(void *arg, const struct store_id *id, uint64_t disk_bytes)
{
	(void)arg;
	MUST(id->size <= INT64_MAX && disk_bytes <= INT64_MAX);
	return 0;
}

static void read_listing(struct index *ix)
{
	struct index_listing row = {.owner = listing.owner};
	uint64_t id;
	int r = index_names_find(ix, "d", &row, &id);
	MUST(!r || r == -ENOENT || r == -EUCLEAN);
	if (r)
		return;
	MUST(row.listed_ns == listing.listed_ns && row.entries == listing.entries &&
	     row.pages == listing.pages);
	r = index_names_page(ix, id, 0, on_page, NULL);
	MUST(!r || r == -ENOENT || r == -EUCLEAN);
}

void kept_read_index(struct index *ix)
{
	bool seen[2] = {false};
	uint64_t bytes;
	struct layout l;
	struct index_row row = {0};
	struct store_id oldest[4];
	int64_t mtime_ns;
	int r = index_load(ix, &version, on_extent, seen, &bytes);
	MUST(!r || r == -ENOENT || r == -EUCLEAN);
	r = index_get_layout(ix, "k.fits", "\"e\"", version.size, &l);
	MUST(!r || r == -ENOENT || r == -EBADMSG);
	if (!r) {
		MUST(l.n == layout.n && l.complete == layout.complete);
		MUST(!memcmp(l.hdus, layout.hdus, l.n * sizeof *l.hdus));
		layout_done(&l);
	}
	read_listing(ix);
	if (!index_find(ix, &version, &row)) {
		free(row.key);
		free(row.etag);
	}
	MUST(!index_each(ix, on_version, NULL));
	MUST(index_oldest(ix, false, 0, oldest, 4) >= 0);
	(void)index_get_mtime(ix, "k.fits", "\"e\"", &mtime_ns);
}

void kept_make_index(struct index *ix)
{
	struct index_version v = {
		.id = version,
		.key = "k.fits",
		.etag = "\"e\"",
		.disk_bytes = 77,
		.atime_ns = 5,
	};
	struct hdu hdus[] = {{0, 2880, 2880}, {2880, 5760, 5760 + 2880 * 100}};
	uint64_t id;
	for (uint32_t i = 0; i < 2; i++) {
		extents[i].no = i;
		extents[i].present[i] = 3;
		extents[i].crc[8 * i] = 0xdeadbeef;
		extents[i].crc[8 * i + 1] = i;
	}
	layout_init(&layout, version.size);
	MUST(!layout_add(&layout, &hdus[0]) && !layout_add(&layout, &hdus[1]));
	MUST(!index_save(ix, &v, extents, 2));
	MUST(!index_set_layout(ix, "k.fits", "\"e\"", &layout));
	MUST(!index_set_mtime(ix, "k.fits", "\"e\"", 12345));
	MUST(!index_names_begin(ix, "d", &id));
	MUST(!index_names_add(ix, id, 0, page, sizeof page));
	MUST(!index_names_finish(ix, id, "d", &listing));
}
