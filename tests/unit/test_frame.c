/* test_frame.c - headers, head and tail of FITS files are given up last. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>
#include "backends/util/clock.h"
#include "backends/util/cleanup.h"
#include "cache/frame.h"
#include "tests/unit/cache_rig.h"
#include "tests/unit/check.h"
#include "tests/unit/no_holes.h"
#include "tests/unit/fits_rig.h"
#include "backends/util/banned.h"

/* Four images of 2 MiB: each header in a block of its own; with the tail 5 of 34. */
#define IMAGES 4
#define FRAME  (5 * BLOCK_SIZE)

static void frame__head_tail_and_headers(void)
{
	struct fits_rig f;
	fits_rig_make(&f, IMAGES, 2 * MIB);
	uint64_t n = (f.size + BLOCK_SIZE - 1) / BLOCK_SIZE, got = 0;
	for (uint64_t i = 0; i < n; i++)
		got += frame_has(&f.layout, i);
	f.layout.size = f.size;
	uint64_t with_tail = 0;
	for (uint64_t i = 0; i < n; i++)
		with_tail += frame_has(&f.layout, i);
	CHECK_EQ(n, 33);
	CHECK_EQ(got, 4); /* the first two headers are in one block */
	CHECK_EQ(with_tail, 5);
	CHECK(frame_has(&f.layout, f.layout.hdus[3].header_off / BLOCK_SIZE));
	CHECK(!frame_has(&f.layout, f.layout.hdus[3].header_off / BLOCK_SIZE + 1));
	/* A header over two blocks, and what is none. */
	fits_rig_done(&f);
	fits_rig_init(&f);
	fits_rig_add(&f, 100, 4 * MIB);
	f.layout.size = f.size;
	CHECK(frame_has(&f.layout, 1) && !frame_has(&f.layout, 2));
	f.layout.none = true;
	CHECK(!frame_has(&f.layout, 0));
	fits_rig_done(&f);
}

struct frig {
	struct rig rig;
	struct fits_rig f;
};

static void frig_init(struct frig *fr, uint64_t max_bytes)
{
	rig_init(&fr->rig, max_bytes);
	fits_rig_make(&fr->f, IMAGES, 2 * MIB);
	fits_rig_serve(&fr->f, &fr->rig.mb);
}

static void frig_done(struct frig *fr)
{
	rig_done(&fr->rig);
	fits_rig_done(&fr->f);
}

static struct version *take(struct frig *fr, const char *key, uint64_t size)
{
	struct version *v = rig_version(&fr->rig, key, size);
	struct call call = rig_call(60 * NS_PER_S);
	CHECK_EQ(blocks_complete(fr->rig.bl, v, &call), 0);
	return v;
}

/* All of it is here, and its layout known. */
static struct version *fill(struct frig *fr, const char *key)
{
	struct version *v = take(fr, key, fr->f.size);
	for (bool known = false; !known;) {
		SCOPED_LOCK(&v->lock);
		known = v->layout.complete;
	}
	return v;
}

static void read_byte(struct frig *fr, struct version *v, uint64_t off)
{
	char byte;
	CHECK_EQ(rig_try(&fr->rig, v, off, &byte, 1), 0);
}

/* Every header, and the tail, without asking the network. */
static void check_frame(struct frig *fr, struct version *v)
{
	uint64_t gets = fr->rig.mb.gets;
	for (size_t i = 0; i < fr->f.layout.n; i++)
		read_byte(fr, v, fr->f.layout.hdus[i].header_off);
	read_byte(fr, v, fr->f.size - 1);
	CHECK_EQ(fr->rig.mb.gets, gets);
}

static void check_counts(struct frig *fr, uint64_t used)
{
	CHECK_EQ(rig_stats(&fr->rig).used_bytes, used);
	uint64_t disk = rig_disk_bytes(&fr->rig);
	/* With the file system's own records of a file's extents. */
	CHECK(disk >= used && disk - used <= (used ? 8192 : 0));
}

static uint64_t disk_bytes(const struct version *v)
{
	return range_disk_len(v, 0, v->n_blocks);
}

static uint64_t frame_bytes(const struct version *v)
{
	return FRAME - BLOCK_SIZE + block_disk_len(v, v->n_blocks - 1);
}

/* -- loaded -- */

static void frame__of_what_is_open_data_go_first(void)
{
	struct frig fr;
	frig_init(&fr, 16 * MIB);
	struct version *v = fill(&fr, "k.fits");
	uint64_t all = disk_bytes(v), frame = frame_bytes(v), eighth = 2 * MIB;
	CHECK_EQ(blocks_shrink(fr.rig.bl, all - frame - eighth), all - frame - eighth);
	check_counts(&fr, frame + eighth);
	check_frame(&fr, v);
	/* Then by age: those that were just read are the youngest. */
	CHECK_EQ(blocks_shrink(fr.rig.bl, eighth), eighth);
	check_counts(&fr, frame);
	check_frame(&fr, v);
	CHECK_EQ(blocks_shrink(fr.rig.bl, 100 * MIB), frame);
	check_counts(&fr, 0);
	version_unref(v);
	frig_done(&fr);
}

static void frame__younger_data_of_others_go_first(void)
{
	struct frig fr;
	frig_init(&fr, 32 * MIB);
	struct version *v = fill(&fr, "k.fits");
	struct version *w = rig_version(&fr.rig, "w", 40 * MIB);
	uint64_t gets = fr.rig.mb.gets;
	for (uint64_t off = 0; off < 40 * MIB; off += BLOCK_SIZE)
		read_byte(&fr, w, off);
	CHECK_EQ(fr.rig.mb.gets, gets + 160);
	CHECK_EQ(version_cached_bytes(v) / BLOCK_SIZE, FRAME / BLOCK_SIZE - 1);
	check_frame(&fr, v);
	version_unref(v);
	version_unref(w);
	frig_done(&fr);
}

/* A cache that is full of frames still holds what was fetched ahead. */
static void frame__data_in_use_keep_an_eighth(void)
{
	struct frig fr;
	char key[32];
	frig_init(&fr, 16 * MIB);
	struct version *frames[16];
	for (int i = 0; i < 16; i++) {
		(void)snprintf(key, sizeof key, "%d.fits", i);
		frames[i] = rig_version(&fr.rig, key, fr.f.size);
		read_byte(&fr, frames[i], 0);
		for (size_t h = 1; h < fr.f.layout.n; h++)
			read_byte(&fr, frames[i], fr.f.layout.hdus[h].header_off);
	}
	struct version *w = rig_version(&fr.rig, "w", 40 * MIB);
	for (uint64_t off = 0; off < 40 * MIB; off += BLOCK_SIZE) {
		read_byte(&fr, w, off);
		SCOPED_LOCK(&w->lock);
		for (uint64_t b = 0; b < 8 && b * BLOCK_SIZE <= off; b++)
			CHECK_EQ(block_state_locked(w, off / BLOCK_SIZE - b),
				 BLOCK_PRESENT);
	}
	/* And no more of the frames went than for that. */
	uint64_t left = 0;
	for (int i = 0; i < 16; i++)
		left += version_cached_bytes(frames[i]);
	CHECK(left >= 11 * MIB);
	for (int i = 0; i < 16; i++)
		version_unref(frames[i]);
	version_unref(w);
	frig_done(&fr);
}

/* -- not loaded -- */

static void frame__of_what_is_closed_the_frame_stays(void)
{
	struct frig fr;
	frig_init(&fr, 64 * MIB);
	struct version *v = fill(&fr, "k.fits");
	uint64_t all = disk_bytes(v), frame = frame_bytes(v);
	version_unref(v);
	rig_reopen(&fr.rig);
	CHECK_EQ(blocks_shrink(fr.rig.bl, 1), all - frame);
	check_counts(&fr, frame);
	CHECK_EQ(rig_stats(&fr.rig).evicted_bytes, all - frame);
	/* Also by the next mount's count. */
	rig_reopen(&fr.rig);
	check_counts(&fr, frame);
	v = rig_version(&fr.rig, "k.fits", fr.f.size);
	CHECK_EQ(v->disk_bytes, frame);
	check_frame(&fr, v);
	uint64_t gets = fr.rig.mb.gets;
	read_byte(&fr, v, fr.f.layout.hdus[2].header_off + MIB);
	CHECK_EQ(fr.rig.mb.gets, gets + 1);
	CHECK_EQ(rig_stats(&fr.rig).crc_errors, 0);
	version_unref(v);
	/* With data it is a file like any other again. */
	rig_reopen(&fr.rig);
	CHECK_EQ(blocks_shrink(fr.rig.bl, 1), BLOCK_SIZE);
	check_counts(&fr, frame);
	CHECK_EQ(blocks_shrink(fr.rig.bl, 1), frame);
	check_counts(&fr, 0);
	CHECK_EQ(rig_count_files(&fr.rig), 0);
	frig_done(&fr);
}

static void frame__frames_go_after_data_of_others(void)
{
	struct frig fr;
	frig_init(&fr, 64 * MIB);
	version_unref(fill(&fr, "a.fits"));
	version_unref(take(&fr, "small.fits", 30000));
	version_unref(take(&fr, "b", 3 * MIB));
	version_unref(take(&fr, "c", 10 * MIB));
	rig_reopen(&fr.rig);
	/* b; a's data, c's but an eighth; then the frames, the oldest first; then c. */
	struct version *a = rig_version(&fr.rig, "a.fits", fr.f.size);
	uint64_t all = disk_bytes(a), frame = frame_bytes(a);
	version_unref(a);
	rig_reopen(&fr.rig);
	struct version *c = rig_version(&fr.rig, "c", 10 * MIB);
	uint64_t left = all + 3 * MIB + 32768 + 10 * MIB;
	check_counts(&fr, left);
	CHECK_EQ(blocks_shrink(fr.rig.bl, 1), 3 * MIB); /* a was opened just now */
	CHECK_EQ(blocks_shrink(fr.rig.bl, 1), all - frame);
	CHECK_EQ(blocks_shrink(fr.rig.bl, 2 * MIB), 2 * MIB);
	check_counts(&fr, frame + 32768 + 8 * MIB);
	CHECK_EQ(version_cached_bytes(c), 8 * MIB);
	CHECK_EQ(blocks_shrink(fr.rig.bl, 1), 32768);
	CHECK_EQ(blocks_shrink(fr.rig.bl, 1), frame);
	CHECK_EQ(version_cached_bytes(c), 8 * MIB);
	CHECK_EQ(blocks_shrink(fr.rig.bl, 100 * MIB), 8 * MIB);
	check_counts(&fr, 0);
	version_unref(c);
	frig_done(&fr);
}

/* Whoever looks for room does not come by a row that says it has none to give. */
static void frame__a_row_is_marked_as_it_is_written(void)
{
	struct frig fr;
	struct store_id ids[4];
	frig_init(&fr, 64 * MIB);
	struct index *ix = fr.rig.bl->index;
	version_unref(take(&fr, "small.fits", 30000));
	version_unref(take(&fr, "small", 10000));
	struct version *v = rig_version(&fr.rig, "k.fits", fr.f.size);
	read_byte(&fr, v, 0);
	blocks_sync(fr.rig.bl);
	CHECK_EQ(index_oldest(ix, true, 0, ids, 4), 2);
	CHECK_EQ(index_oldest(ix, false, 0, ids, 4), 1);
	read_byte(&fr, v, MIB);
	version_unref(v);
	blocks_sync(fr.rig.bl);
	CHECK_EQ(index_oldest(ix, true, 0, ids, 4), 1);
	CHECK_EQ(index_oldest(ix, false, 0, ids, 4), 2);
	frig_done(&fr);
}

/* More extents than one transaction changes. */
static void frame__of_a_large_file_too(void)
{
	struct frig fr;
	frig_init(&fr, 64 * MIB);
	uint64_t size = 130 * EXTENT_SIZE;
	struct version *v = rig_version(&fr.rig, "k.fits", size);
	for (uint64_t off = 0; off < size; off += EXTENT_SIZE)
		read_byte(&fr, v, off + EXTENT_SIZE / 2);
	read_byte(&fr, v, 0);
	version_unref(v);
	rig_reopen(&fr.rig);
	CHECK_EQ(rig_stats(&fr.rig).used_bytes, 131 * BLOCK_SIZE);
	CHECK_EQ(blocks_shrink(fr.rig.bl, 65 * BLOCK_SIZE), 128 * BLOCK_SIZE);
	CHECK_EQ(blocks_shrink(fr.rig.bl, BLOCK_SIZE), 2 * BLOCK_SIZE);
	CHECK_EQ(rig_stats(&fr.rig).used_bytes, BLOCK_SIZE);
	rig_reopen(&fr.rig);
	CHECK_EQ(rig_stats(&fr.rig).used_bytes, BLOCK_SIZE);
	v = rig_version(&fr.rig, "k.fits", size);
	uint64_t gets = fr.rig.mb.gets;
	read_byte(&fr, v, 5);
	CHECK_EQ(fr.rig.mb.gets, gets);
	version_unref(v);
	frig_done(&fr);
}

static void frame__without_holes_all_of_it_goes(void)
{
	struct frig fr;
	frig_init(&fr, 64 * MIB);
	struct version *v = fill(&fr, "k.fits");
	uint64_t all = disk_bytes(v);
	version_unref(v);
	rig_reopen(&fr.rig);
	atomic_store(&no_holes, true);
	CHECK_EQ(blocks_shrink(fr.rig.bl, 1), all);
	atomic_store(&no_holes, false);
	check_counts(&fr, 0);
	rig_reopen(&fr.rig);
	check_counts(&fr, 0);
	frig_done(&fr);
}

int main(void)
{
	RUN(frame__head_tail_and_headers);
	RUN(frame__of_what_is_open_data_go_first);
	RUN(frame__younger_data_of_others_go_first);
	RUN(frame__data_in_use_keep_an_eighth);
	RUN(frame__of_what_is_closed_the_frame_stays);
	RUN(frame__frames_go_after_data_of_others);
	RUN(frame__a_row_is_marked_as_it_is_written);
	RUN(frame__of_a_large_file_too);
	RUN(frame__without_holes_all_of_it_goes);
	return 0;
}
