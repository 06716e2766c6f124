/* whole.c - see version.h: calls that are about all the bytes of a version. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/crc.h"
#include "backends/util/cleanup.h"
#include "backends/util/io.h"
#include "backends/util/log.h"
#include "cache/scan.h"
#include "cache/version.h"
#include "backends/util/banned.h"

#define PIECE  UINT64_C(1048576)  /* bytes copied at once */
#define WINDOW UINT64_C(67108864) /* bytes fetched ahead of the copy */

/* -- copying out -- */

int blocks_export(struct blocks *bl, struct version *v, uint64_t len, int fd,
		  struct call *call)
{
	if (len > v->obj.size)
		return -EINVAL;
	CLEANUP_FREE char *bytes = malloc(PIECE);
	if (!bytes)
		return -ENOMEM;
	int r = 0;
	for (uint64_t off = 0; !r && off < len; off += PIECE) {
		size_t n = len - off < PIECE ? (size_t)(len - off) : PIECE;
		uint64_t ahead = len - off < WINDOW ? len - off : WINDOW;
		/* In steps, so that each is a whole GET. */
		if (call && off % FETCH_SIZE == 0)
			(void)blocks_hint(bl, v, off, ahead);
		r = blocks_read(bl, v, off, bytes, n, call);
		if (!r)
			r = io_write_all(fd, bytes, n, off);
	}
	return r;
}

int blocks_complete(struct blocks *bl, struct version *v, struct call *call)
{
	uint64_t size = v->obj.size;
	if (!size)
		return 0;
	if (range_disk_len(v, 0, v->n_blocks) > bl->max_bytes)
		return -ENOSPC;
	return blocks_bring(v, 0, NULL, size, call);
}

/* -- taking over -- */

/* A map has a byte for each block of a version.  Of the blocks in it, claim those
 * that are absent and leave no other in the map.  Returns how many. */
static uint64_t claim(struct version *v, uint8_t *map)
{
	uint64_t n = 0;
	SCOPED_LOCK(&v->lock);
	for (uint64_t b = 0; b < v->n_blocks; b++) {
		map[b] = map[b] && block_state_locked(v, b) == BLOCK_ABSENT &&
			 !block_claim_locked(v, b);
		n += map[b];
	}
	return n;
}

/* What is claimed still: nothing of it may stay on the disk. */
static void release_claimed(struct version *v, const uint8_t *map)
{
	for (uint64_t b = 0; b < v->n_blocks; b++) {
		if (!map[b])
			continue;
		(void)store_punch(v->bl->store, &v->id, b * BLOCK_SIZE, BLOCK_SIZE);
		SCOPED_LOCK(&v->lock);
		block_release_locked(v, b);
	}
}

static uint64_t claimed_disk_len(const struct version *v, const uint8_t *map)
{
	uint64_t sum = 0;
	for (uint64_t b = 0; b < v->n_blocks; b++)
		if (map[b])
			sum += block_disk_len(v, b);
	return sum;
}

/* The claimed blocks of fd: summed, and written to the data file unless fd has
 * become it. */
static int take_blocks(struct version *v, int fd, bool copies, uint64_t epoch,
		       uint8_t *map)
{
	CLEANUP_FREE char *bytes = malloc(BLOCK_SIZE);
	if (!bytes)
		return -ENOMEM;
	for (uint64_t b = 0; b < v->n_blocks; b++) {
		if (!map[b])
			continue;
		uint64_t off = b * BLOCK_SIZE, len = block_len(v, b);
		int r = io_read_all(fd, bytes, len, off);
		if (!r && copies)
			r = store_write(v->bl->store, &v->id, off, bytes, len);
		uint32_t crc = r ? 0 : crc32c(0, bytes, len);
		if (!r)
			r = copies ? block_publish(v, b, crc, BLOCK_PRESENT, epoch)
				   : block_publish_there(v, b, crc, epoch);
		if (r)
			return r;
		map[b] = 0;
	}
	return 0;
}

/* All its blocks are claimed: nobody else writes, nor publishes what he wrote. */
static void note_settled(struct version *v)
{
	SCOPED_LOCK(&v->lock);
	v->settled = true;
}

static int open_whole(const char *path, uint64_t size, int *ret)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat sb;
	if (fd < 0 || fstat(fd, &sb))
		return -errno;
	if (!S_ISREG(sb.st_mode) || (uint64_t)sb.st_size != size)
		return -EINVAL;
	*ret = fd;
	fd = -1;
	return 0;
}

static uint64_t epoch_of(struct version *v)
{
	SCOPED_LOCK(&v->lock);
	return v->epoch;
}

/* Put the bytes where they belong: by rename if nothing is there yet.  If that file has
 * a second name, or is removed by somebody, one of holes takes its place in a new epoch,
 * and the bytes are copied to it (P1). */
static int place(struct version *v, const char *path, int fd, uint8_t *map, bool all)
{
	uint64_t before = epoch_of(v), epoch;
	int r = all ? store_adopt(v->bl->store, &v->id, path) : 0;
	if (!r && all)
		note_settled(v);
	if (!r)
		r = version_check_file(v, &epoch);
	return r ? r : take_blocks(v, fd, !all || epoch != before, epoch, map);
}

static int adopt(struct version *v, const char *path)
{
	CLEANUP_CLOSE int fd = -1;
	int r = open_whole(path, v->obj.size, &fd);
	if (r || !v->n_blocks)
		return r;
	CLEANUP_FREE uint8_t *map = malloc(v->n_blocks);
	if (!map)
		return -ENOMEM;
	memset(map, 1, v->n_blocks);
	uint64_t n = claim(v, map);
	r = room_take(v->bl, claimed_disk_len(v, map));
	if (r) {
		release_claimed(v, map);
		return r;
	}
	r = place(v, path, fd, map, n == v->n_blocks);
	room_give(v->bl, claimed_disk_len(v, map)); /* what was not published */
	release_claimed(v, map);
	return r;
}

int blocks_adopt(struct blocks *bl, struct version *v, const char *path)
{
	(void)bl;
	int r = adopt(v, path);
	/* Gone after the rename; else it must go. */
	if (unlink(path) && errno != ENOENT)
		log_warn("cache", "%s: remove: %s", path, strerror(errno));
	return r;
}

/* -- the same bytes under another name -- */

static void find_present_locked(struct version *v, uint8_t *map)
{
	for (uint64_t b = 0; b < v->n_blocks; b++) {
		enum block_state s = block_state_locked(v, b);
		map[b] = s == BLOCK_PRESENT || s == BLOCK_UNVERIFIED;
	}
}

/* Copied with from's CRC, which is checked at first use. */
static int copy_block(struct version *from, struct version *to, uint64_t b,
		      uint64_t epoch)
{
	(void)pthread_mutex_lock(&from->lock);
	enum block_state s = block_state_locked(from, b);
	bool here = s == BLOCK_PRESENT || s == BLOCK_UNVERIFIED;
	uint32_t crc = here ? block_at_locked(from, b)->crc : 0;
	(void)pthread_mutex_unlock(&from->lock);
	if (!here)
		return -ENODATA; /* it was damaged meanwhile */
	int r = store_copy(to->bl->store, &from->id, &to->id, b * BLOCK_SIZE,
			   block_len(to, b));
	return r ? r : block_publish(to, b, crc, BLOCK_UNVERIFIED, epoch);
}

static int copy_blocks(struct version *from, struct version *to, uint8_t *map)
{
	uint64_t epoch;
	(void)claim(to, map);
	int r = room_take(to->bl, claimed_disk_len(to, map));
	if (!r) {
		r = version_check_file(to, &epoch);
		for (uint64_t b = 0; !r && b < to->n_blocks; b++) {
			if (!map[b])
				continue;
			r = copy_block(from, to, b, epoch);
			map[b] = r != 0;
		}
		room_give(to->bl, claimed_disk_len(to, map));
	}
	release_claimed(to, map);
	return r;
}

int blocks_rekey(struct blocks *bl, struct version *from, struct version *to)
{
	(void)bl;
	if (from->obj.size != to->obj.size)
		return -EINVAL;
	scan_rekey(from, to);
	if (from == to || !to->n_blocks || !version_cached_bytes(from))
		return 0;
	CLEANUP_FREE uint8_t *map = malloc(to->n_blocks);
	if (!map)
		return -ENOMEM;

	struct active active = {.first = 0, .last = from->n_blocks - 1};
	(void)pthread_mutex_lock(&from->lock);
	active_add_locked(from, &active);
	find_present_locked(from, map);
	(void)pthread_mutex_unlock(&from->lock);

	int r = copy_blocks(from, to, map);

	(void)pthread_mutex_lock(&from->lock);
	active_del_locked(from, &active);
	(void)pthread_mutex_unlock(&from->lock);
	/* No room, or lost: it is fetched when it is read. */
	return r == -ENOMEM ? r : 0;
}
