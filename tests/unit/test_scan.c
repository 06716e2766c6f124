/* test_scan.c - layouts of versions: learnt in passing, kept, handed on. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>
#include "backends/util/clock.h"
#include "cache/scan.h"
#include "tests/unit/cache_rig.h"
#include "tests/unit/check.h"
#include "tests/unit/fits_rig.h"
#include "tests/unit/view_rig.h"
#include "backends/util/banned.h"

#define HDU_BYTES UINT64_C(600000) /* more than two blocks */

static size_t known(struct version *v)
{
	(void)pthread_mutex_lock(&v->lock);
	size_t n = v->layout.n;
	(void)pthread_mutex_unlock(&v->lock);
	return n;
}

static bool ended(struct version *v)
{
	(void)pthread_mutex_lock(&v->lock);
	bool complete = v->layout.complete;
	(void)pthread_mutex_unlock(&v->lock);
	return complete;
}

/* The scan follows the read, on another thread. */
static void wait_known(struct version *v, size_t n)
{
	for (int i = 0; i < 10000 && known(v) < n; i++)
		clock_sleep_ns(NS_PER_MS);
	CHECK_EQ(known(v), n);
}

static void wait_ended(struct version *v)
{
	for (int i = 0; i < 10000 && !ended(v); i++)
		clock_sleep_ns(NS_PER_MS);
	CHECK(ended(v));
}

static void wait_for_block(struct version *v, uint64_t block)
{
	uint64_t now = SCAN_NEVER;
	for (int i = 0; i < 10000 && now != block; i++) {
		(void)pthread_mutex_lock(&v->lock);
		now = v->scan_block;
		(void)pthread_mutex_unlock(&v->lock);
		clock_sleep_ns(NS_PER_MS);
	}
	CHECK_EQ(now, block);
}

static void touch(struct rig *rig, struct version *v, uint64_t off)
{
	char byte;
	CHECK_EQ(rig_try(rig, v, off, &byte, 1), 0);
}

static void scan__a_header_is_learnt_when_its_block_comes(void)
{
	struct rig rig;
	struct fits_rig f;
	rig_init(&rig, 64 * MIB);
	fits_rig_make(&f, 4, HDU_BYTES);
	fits_rig_serve(&f, &rig.mb);
	struct version *v = rig_version(&rig, "d/A.FITS", f.size);
	touch(&rig, v, 0);
	wait_known(v, 2); /* both headers are in the block */
	/* The third's block tells nothing while the one before it is missing... */
	touch(&rig, v, f.layout.hdus[3].header_off);
	CHECK_EQ(known(v), 2);
	/* ... and all of it when that comes: nothing was fetched for it. */
	touch(&rig, v, f.layout.hdus[2].header_off);
	wait_known(v, 4);
	CHECK(!ended(v));
	CHECK_EQ(rig.mb.gets, 3);
	touch(&rig, v, f.layout.hdus[4].header_off);
	wait_ended(v);
	CHECK_EQ(known(v), 5);
	CHECK(fits_rig_same(&f, &v->layout));
	CHECK_EQ(v->scan_block, SCAN_NEVER);
	CHECK_EQ(rig.mb.gets, 4);
	version_unref(v);
	rig_done(&rig);
	fits_rig_done(&f);
}

/* A header over the ends of blocks, which come in any order. */
static void scan__a_header_in_two_blocks_needs_both(void)
{
	for (int order = 0; order < 2; order++) {
		struct rig rig;
		struct fits_rig f;
		rig_init(&rig, 64 * MIB);
		fits_rig_init(&f);
		fits_rig_add(&f, 1, 200000);
		fits_rig_add(&f, 200, 0); /* 576 KB from 200 KB on: four blocks */
		fits_rig_add(&f, 1, 5);
		fits_rig_serve(&f, &rig.mb);
		struct version *v = rig_version(&rig, "k.fits", f.size);
		for (uint64_t i = 0; i < v->n_blocks; i++) {
			CHECK(known(v) < 3);
			touch(&rig, v, (order ? v->n_blocks - 1 - i : i) * BLOCK_SIZE);
			/* What it waits for: nothing is parsed again before that. */
			if (!order && i + 1 < v->n_blocks)
				wait_for_block(v, i + 1);
		}
		wait_ended(v);
		CHECK_EQ(known(v), 3);
		CHECK(fits_rig_same(&f, &v->layout));
		version_unref(v);
		rig_done(&rig);
		fits_rig_done(&f);
	}
}

/* What the cache reads of its data files, refused by the disk if that is broken. */
static atomic_bool broken;
static atomic_int refused;
int __real_store_read(struct store *st, const struct store_id *id, uint64_t off,
		      void *dst, size_t len);
int __wrap_store_read(struct store *st, const struct store_id *id, uint64_t off,
		      void *dst, size_t len);

int __wrap_store_read(struct store *st, const struct store_id *id, uint64_t off,
		      void *dst, size_t len)
{
	if (!atomic_load(&broken))
		return __real_store_read(st, id, off, dst, len);
	atomic_fetch_add(&refused, 1);
	return -EIO;
}

/* A bad sector takes seconds each time, and says the same. */
static void scan__what_the_disk_refuses_is_not_read_again(void)
{
	struct rig rig;
	struct fits_rig f;
	rig_init(&rig, 64 * MIB);
	fits_rig_make(&f, 8, HDU_BYTES);
	fits_rig_serve(&f, &rig.mb);
	struct version *v = rig_version(&rig, "k.fits", f.size);
	atomic_store(&broken, true);
	for (uint64_t i = 0; i < 8; i++)
		touch(&rig, v, f.layout.hdus[i].header_off); /* past the cache */
	CHECK_EQ(known(v), 0);
	version_unref(v);
	rig_reopen(&rig); /* when all that scans has ended */
	CHECK(atomic_load(&refused) <= 8 + 2);
	atomic_store(&broken, false);
	v = rig_version(&rig, "k.fits", f.size);
	touch(&rig, v, f.layout.hdus[1].header_off + BLOCK_SIZE);
	wait_known(v, 8);
	version_unref(v);
	rig_done(&rig);
	fits_rig_done(&f);
}

static void scan__what_is_no_fits_file_is_left_alone(void)
{
	struct rig rig;
	rig_init(&rig, 64 * MIB);
	struct version *v = rig_version(&rig, "k.fits", 3 * MIB);
	rig_read(&rig, v, 0, 10);
	wait_ended(v);
	CHECK(v->layout.none);
	CHECK_EQ(layout_next(&v->layout), 3 * MIB);
	version_unref(v);

	/* By its name. */
	struct fits_rig f;
	fits_rig_make(&f, 1, 5);
	fits_rig_serve(&f, &rig.mb);
	v = rig_version(&rig, "k.dat", f.size);
	struct version *w = rig_version(&rig, "w.fits", f.size);
	touch(&rig, v, 0);
	touch(&rig, w, 0);
	wait_ended(w);
	CHECK_EQ(known(w), 2);
	CHECK_EQ(known(v), 0);
	CHECK_EQ(v->scan_block, SCAN_NEVER);
	version_unref(v);
	version_unref(w);
	v = rig_version(&rig, "empty.fits", 0);
	CHECK_EQ(v->scan_block, SCAN_NEVER);
	version_unref(v);
	rig_done(&rig);
	fits_rig_done(&f);
}

/* Cut within the data, within a header; something behind the last HDU. */
static void scan__files_may_end_anywhere(void)
{
	struct fits_rig f;
	fits_rig_make(&f, 2, HDU_BYTES);
	const struct {
		uint64_t size;
		size_t n;
	} rows[] = {
		{f.layout.hdus[2].data_off + 17, 3},
		{f.layout.hdus[2].data_off, 3},
		{f.layout.hdus[2].data_off - 1, 2},
		{f.layout.hdus[2].header_off + 1, 2},
		{f.size + 100000, 3},
		{f.size + 1, 3},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct rig rig;
		rig_init(&rig, 64 * MIB);
		fits_rig_serve(&f, &rig.mb);
		struct version *v = rig_version(&rig, "k.fits", rows[i].size);
		for (uint64_t b = 0; b < v->n_blocks; b++)
			touch(&rig, v, b * BLOCK_SIZE);
		wait_ended(v);
		CHECK_EQ(known(v), rows[i].n);
		CHECK(v->layout.hdus[rows[i].n - 1].end <= rows[i].size);
		version_unref(v);
		rig_done(&rig);
	}
	fits_rig_done(&f);
}

/* -- kept -- */

static void scan__a_layout_outlives_mount_and_blocks(void)
{
	struct rig rig;
	struct fits_rig f;
	rig_init(&rig, 64 * MIB);
	fits_rig_make(&f, 3, HDU_BYTES);
	fits_rig_serve(&f, &rig.mb);
	struct version *v = rig_version(&rig, "k.fits", f.size);
	touch(&rig, v, 0);
	wait_known(v, 2);
	version_unref(v);
	rig_reopen(&rig);
	v = rig_version(&rig, "k.fits", f.size);
	CHECK_EQ(known(v), 2);
	/* It goes on from there. */
	touch(&rig, v, f.layout.hdus[2].header_off);
	touch(&rig, v, f.layout.hdus[3].header_off);
	wait_ended(v);
	CHECK(fits_rig_same(&f, &v->layout));
	version_unref(v);
	blocks_sync(rig.bl);
	(void)blocks_shrink(rig.bl, 100 * MIB);
	rig_reopen(&rig);
	CHECK_EQ(rig_count_files(&rig), 0);
	uint64_t gets = rig.mb.gets;
	v = rig_version(&rig, "k.fits", f.size);
	CHECK(ended(v));
	CHECK_EQ(known(v), 4);
	CHECK(fits_rig_same(&f, &v->layout));
	CHECK_EQ(rig.mb.gets, gets);
	version_unref(v);
	/* Not another version's. */
	v = rig_version(&rig, "k.fits", f.size + 1);
	CHECK_EQ(known(v), 0);
	version_unref(v);
	rig_done(&rig);
	fits_rig_done(&f);
}

/* Known of a version that was never seen, and believed of none. */
static size_t alike(struct rig *rig, const char *key, uint64_t size)
{
	struct version *v = rig_version(rig, key, size);
	size_t n = v->alike.n;
	CHECK_EQ(known(v), 0);
	version_unref(v);
	return n;
}

static void scan__files_of_one_kind_are_laid_out_alike(void)
{
	struct rig rig;
	struct fits_rig f;
	rig_init(&rig, 64 * MIB);
	fits_rig_make(&f, 3, HDU_BYTES);
	fits_rig_serve(&f, &rig.mb);
	struct version *v = rig_version(&rig, "d/jw1_a_cal.fits", f.size);
	touch(&rig, v, 0);
	wait_known(v, 2);
	blocks_sync(rig.bl);
	CHECK_EQ(alike(&rig, "d/jw2_b_cal.fits", f.size), 0); /* not all is known */
	for (size_t i = 2; i < 4; i++)
		touch(&rig, v, f.layout.hdus[i].header_off);
	wait_ended(v);
	version_unref(v);
	rig_reopen(&rig);
	CHECK_EQ(alike(&rig, "e/jw2_b_cal.fits", f.size), 4);
	CHECK_EQ(alike(&rig, "e/jw2_b_cal.fits", f.size + 1), 0);
	CHECK_EQ(alike(&rig, "e/jw2_b_rate.fits", f.size), 0);
	CHECK_EQ(alike(&rig, "e/jw2_b_cal.dat", f.size), 0);
	rig_done(&rig);
	fits_rig_done(&f);
}

/* Also when the cache has no room for the bytes. */
static void scan__an_upload_is_learnt_from_the_staged_file(void)
{
	struct rig rig;
	struct fits_rig f;
	char path[128];
	rig_init(&rig, MIB);
	fits_rig_make(&f, 5, HDU_BYTES);
	char *bytes = fits_rig_bytes(&f);
	(void)snprintf(path, sizeof path, "%s/staged", rig.dir);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, bytes, f.size), f.size);
	struct object obj = {.size = f.size, .etag = "\"e1\""};
	blocks_learn(rig.bl, "k.fits", &obj, fd);
	blocks_learn(rig.bl, "k.dat", &obj, fd);
	CHECK_EQ(close(fd), 0);
	struct version *v = rig_version(&rig, "k.fits", f.size);
	CHECK_EQ(blocks_adopt(rig.bl, v, path), -ENOSPC);
	CHECK(ended(v));
	CHECK_EQ(known(v), 6);
	CHECK(fits_rig_same(&f, &v->layout));
	CHECK_EQ(rig.mb.gets, 0);
	version_unref(v);
	/* A descriptor that is none, a file that is shorter: nothing is claimed. */
	blocks_learn(rig.bl, "lost.fits", &obj, -1);
	v = rig_version(&rig, "lost.fits", f.size);
	CHECK_EQ(known(v), 0);
	version_unref(v);
	free(bytes);
	rig_done(&rig);
	fits_rig_done(&f);
}

static void scan__a_layout_follows_a_rename(void)
{
	struct rig rig;
	struct fits_rig f;
	rig_init(&rig, 64 * MIB);
	fits_rig_make(&f, 3, HDU_BYTES);
	fits_rig_serve(&f, &rig.mb);
	struct version *a = rig_version(&rig, "a.fits", f.size);
	for (size_t i = 0; i < 4; i++)
		touch(&rig, a, f.layout.hdus[i].header_off);
	wait_ended(a);
	struct version *b = rig_version(&rig, "b.fits", f.size);
	struct version *c = rig_version(&rig, "c.dat", f.size);
	CHECK_EQ(blocks_rekey(rig.bl, a, b), 0);
	CHECK_EQ(blocks_rekey(rig.bl, a, c), 0);
	CHECK(ended(b));
	CHECK(fits_rig_same(&f, &b->layout));
	CHECK_EQ(known(b), 4);
	CHECK_EQ(known(c), 0);
	version_unref(a);
	version_unref(b);
	version_unref(c);
	rig_reopen(&rig);
	b = rig_version(&rig, "b.fits", f.size);
	CHECK_EQ(known(b), 4);
	version_unref(b);
	rig_done(&rig);
	fits_rig_done(&f);
}

/* Of what the bucket has under the key. */
static void check_known(struct vrig *rig, const char *key, const struct fits_rig *f)
{
	struct object obj;
	struct version *v;
	CHECK_EQ(bucket_head(&rig->bucket, key, &obj), 0);
	CHECK_EQ(version_get(rig->bl, key, &obj, &v), 0);
	CHECK_EQ(known(v), f->layout.n);
	CHECK(ended(v) && fits_rig_same(f, &v->layout));
	CHECK_EQ(version_cached_bytes(v), 0);
	version_unref(v);
}

/* What was written here is known though its bytes are gone from here. */
static void scan__what_was_written_through_a_view_is_known(void)
{
	struct vrig rig;
	struct fits_rig f;
	char command[128];
	vrig_init(&rig);
	fits_rig_init(&f);
	fits_rig_add(&f, 9, 0);
	fits_rig_add(&f, 2, 0);
	char *bytes = fits_rig_bytes(&f), *text = strndup(bytes, f.size);
	CHECK(text && strlen(text) == f.size); /* headers only: it is text */
	CHECK_EQ(vrig_write(&rig, "d/a.fits", text), 0);
	CHECK_EQ(vrig_write(&rig, "d/b.fits", text), 0);
	CHECK_EQ(vrig_rename(&rig, "d/b.fits", "d/c.fits"), 0);
	vrig_close(&rig);
	(void)snprintf(command, sizeof command, "rm -rf '%s'/blocks/*", rig.dir);
	CHECK_EQ(system(command), 0);
	vrig_open(&rig);
	check_known(&rig, "d/a.fits", &f);
	check_known(&rig, "d/c.fits", &f);
	CHECK_EQ(rig.bucket.gets, 0);
	free(bytes);
	free(text);
	vrig_done(&rig);
	fits_rig_done(&f);
}

/* -- everything at once -- */

struct reader {
	struct rig *rig;
	struct version *v;
	const struct fits_rig *f;
	size_t i, step;
	pthread_t thread;
};

static void *read_headers(void *arg)
{
	struct reader *r = arg;
	for (size_t i = r->i; i < r->f->layout.n; i += r->step)
		touch(r->rig, r->v, r->f->layout.hdus[i].header_off);
	return NULL;
}

/* Whichever block comes last: somebody sees that it was the last one missing. */
static void scan__no_block_is_missed(void)
{
	enum { N = 4 };
	struct rig rig;
	struct fits_rig f;
	rig_init(&rig, 64 * MIB);
	fits_rig_make(&f, 12, HDU_BYTES);
	fits_rig_serve(&f, &rig.mb);
	for (int round = 0; round < 30; round++) {
		struct reader readers[N];
		char key[16];
		(void)snprintf(key, sizeof key, "%d.fits", round);
		struct version *v = rig_version(&rig, key, f.size);
		for (size_t i = 0; i < N; i++) {
			readers[i] = (struct reader){&rig, v, &f, i, N, 0};
			CHECK_EQ(pthread_create(&readers[i].thread, NULL, read_headers,
						&readers[i]),
				 0);
		}
		for (size_t i = 0; i < N; i++)
			CHECK_EQ(pthread_join(readers[i].thread, NULL), 0);
		wait_ended(v);
		CHECK_EQ(known(v), 13);
		CHECK(fits_rig_same(&f, &v->layout));
		version_unref(v);
	}
	rig_done(&rig);
	fits_rig_done(&f);
}

int main(void)
{
	RUN(scan__a_header_is_learnt_when_its_block_comes);
	RUN(scan__a_header_in_two_blocks_needs_both);
	RUN(scan__what_the_disk_refuses_is_not_read_again);
	RUN(scan__what_is_no_fits_file_is_left_alone);
	RUN(scan__files_may_end_anywhere);
	RUN(scan__a_layout_outlives_mount_and_blocks);
	RUN(scan__files_of_one_kind_are_laid_out_alike);
	RUN(scan__an_upload_is_learnt_from_the_staged_file);
	RUN(scan__a_layout_follows_a_rename);
	RUN(scan__what_was_written_through_a_view_is_known);
	RUN(scan__no_block_is_missed);
	return 0;
}
