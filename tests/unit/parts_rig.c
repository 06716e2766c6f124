/* parts_rig.c - see parts_rig.h. */
#include "tests/unit/parts_rig.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static int no_row(void *arg, const struct journal_row *row)
{
	(void)arg;
	(void)row;
	return 0;
}

static int no_gone(void *arg, const char *key, const char *etag, const char *tag)
{
	(void)arg;
	(void)key;
	(void)etag;
	(void)tag;
	return 0;
}

static int no_dir(void *arg, const char *key)
{
	(void)arg;
	(void)key;
	return 0;
}

static int see_upload(void *arg, const struct journal_upload *up)
{
	struct prig *rig = arg;
	const char *texts[] = {up->key, up->upload_id, up->tag};
	for (int i = 0; i < 3; i++)
		(void)snprintf(rig->texts[i], sizeof(rig->texts[i]), "%s", texts[i]);
	rig->n_uploads++;
	rig->upload = (struct journal_upload){up->id, up->staged_id, rig->texts[0],
					      rig->texts[1], rig->texts[2]};
	if (*up->upload_id == PARTS_UNKNOWN)
		orphans_add(rig->orphans, up->id, up->key, up->upload_id);
	else
		CHECK_EQ(parts_restore(rig->parts, up), 0);
	return 0;
}

static int see_part(void *arg, uint64_t upload, const struct part *part, uint32_t crc)
{
	struct prig *rig = arg;
	rig->n_parts++;
	CHECK_EQ(upload, rig->upload.id);
	CHECK_EQ(parts_restore_part(rig->parts, part, crc), 0);
	return 0;
}

static bool is_live(void *arg, const char *id)
{
	struct prig *rig = arg;
	return !strcmp(rig->live, id);
}

static void open_journal(struct prig *rig, int64_t born_ns)
{
	char path[96];
	struct journal_visitor v = {rig, no_row, no_gone, no_dir, see_upload, see_part};
	(void)snprintf(path, sizeof(path), "%s/journal.db", rig->dir);
	rig->n_uploads = rig->n_parts = 0;
	CHECK_EQ(journal_open(path, &rig->jn), 0);
	struct orphan_conf oc = {.be = &rig->b.be,
				 .jn = rig->jn,
				 .retry_ns = 0,
				 .born_ns = born_ns,
				 .is_live = is_live,
				 .arg = rig};
	CHECK_EQ(orphans_new(&oc, &rig->orphans), 0);
	prig_parts(rig);
	CHECK_EQ(journal_load(rig->jn, &v), 0);
}

void prig_parts(struct prig *rig)
{
	struct parts_conf conf = {.be = &rig->b.be,
				  .pool = rig->pool,
				  .jn = rig->jn,
				  .orphans = rig->orphans,
				  .staged_id = 1,
				  .key = "k",
				  .fd = rig->fd,
				  .timeout_ns = 5 * NS_PER_S,
				  .quiet_ns = 3600 * NS_PER_S,
				  .cancelled = &rig->cancelled};
	parts_free(rig->parts);
	CHECK_EQ(parts_new(&conf, &rig->parts), 0);
}

void prig_init(struct prig *rig, uint64_t size)
{
	struct pool_conf pc = {.name = "parts", .threads_max = 4};
	*rig = (struct prig){.dir = "/tmp/mastfs-parts-XXXXXX"};
	CHECK(mkdtemp(rig->dir));
	bucket_init(&rig->b);
	CHECK_EQ(pool_new(&pc, &rig->pool), 0);
	rig->fd = memfd_create("upload", MFD_CLOEXEC);
	CHECK(rig->fd >= 0 && !ftruncate(rig->fd, (off_t)size));
	for (uint64_t off = 0; off < size; off += 1 << 20)
		CHECK(pwrite(rig->fd, &off, sizeof(off) < size ? sizeof(off) : 1,
			     (off_t)off) > 0);
	open_journal(rig, clock_wall_ns());
}

static void close_journal(struct prig *rig)
{
	parts_free(rig->parts);
	rig->parts = NULL;
	orphans_free(rig->orphans);
	journal_close(rig->jn);
}

void prig_restart(struct prig *rig, int64_t born_ns)
{
	close_journal(rig);
	open_journal(rig, born_ns);
}

static int remove_it(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void prig_done(struct prig *rig)
{
	pool_free(rig->pool);
	close_journal(rig);
	if (rig->fd >= 0)
		(void)close(rig->fd);
	bucket_done(&rig->b);
	CHECK(!nftw(rig->dir, remove_it, 16, FTW_DEPTH | FTW_PHYS));
}

int prig_abort_orphans(struct prig *rig)
{
	orphans_run(rig->orphans);
	return bucket_uploads(&rig->b);
}

void prig_write(struct prig *rig, char c, uint64_t off, uint64_t len)
{
	char *bytes = malloc(len);
	CHECK(bytes);
	memset(bytes, c, len);
	CHECK_EQ(pwrite(rig->fd, bytes, len, (off_t)off), (ssize_t)len);
	free(bytes);
	if (parts_wrote(rig->parts, off, len))
		parts_work(rig->parts);
}

bool prig_has_file(struct prig *rig, const char *key)
{
	struct object obj;
	struct stat sb;
	if (bucket_head(&rig->b, key, &obj) || fstat(rig->fd, &sb) ||
	    obj.size != (uint64_t)sb.st_size)
		return false;
	char *bytes = mmap(NULL, obj.size, PROT_READ, MAP_SHARED, rig->fd, 0);
	CHECK(bytes != MAP_FAILED);
	bool same = bucket_has_bytes(&rig->b, key, bytes, obj.size);
	(void)munmap(bytes, obj.size);
	return same;
}
