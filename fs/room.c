/* room.c - how much of the disk the cache may take; see cachedir.h. */
#include <errno.h>
#include <fts.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include "fs/cachedir.h"
#include "backends/util/banned.h"

/* Below this a cache is of no use. */
#define ROOM_MIN (UINT64_C(8) << 20)

/* Bytes on disk of all files below dir. */
static uint64_t used_below(const char *dir)
{
	char path[4096];
	if ((size_t)snprintf(path, sizeof path, "%s", dir) >= sizeof path)
		return 0;
	char *const roots[] = {path, NULL};
	FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	if (!walk)
		return 0;
	uint64_t sum = 0;
	for (const FTSENT *e; (e = fts_read(walk));) {
		if (e->fts_info == FTS_F)
			sum += (uint64_t)e->fts_statp->st_blocks * 512;
	}
	(void)fts_close(walk);
	return sum;
}

int disk_measure(const char *dir, struct disk *ret)
{
	struct statvfs v;
	if (statvfs(dir, &v) < 0)
		return -errno;
	*ret = (struct disk){
		.total_bytes = (uint64_t)v.f_blocks * v.f_frsize,
		.free_bytes = (uint64_t)v.f_bavail * v.f_frsize,
		.ours_bytes = used_below(dir),
	};
	return 0;
}

static uint64_t in_bytes(const struct amount *a, uint64_t total_bytes)
{
	return a->percent ? total_bytes / 100 * a->percent : a->bytes;
}

static uint64_t lower(uint64_t wanted, uint64_t fits, bool *lowered)
{
	if (wanted <= fits)
		return wanted;
	*lowered = true;
	return fits;
}

int room_plan(const struct config *c, const struct disk *disk, struct room *ret)
{
	struct room room = {0};
	room.reserve_bytes = in_bytes(&c->cache_reserve, disk->total_bytes);
	if (!c->cache_reserve_given && room.reserve_bytes > disk->total_bytes / 20)
		room.reserve_bytes = disk->total_bytes / 20;

	/* What a full cache holds is room, too. */
	uint64_t usable = disk->free_bytes + disk->ours_bytes;
	if (usable < room.reserve_bytes || usable - room.reserve_bytes < ROOM_MIN)
		return -ENOSPC;
	usable -= room.reserve_bytes;
	room.cache_bytes =
		lower(in_bytes(&c->cache_size, disk->total_bytes), usable, &room.lowered);
	room.staging_bytes = lower(in_bytes(&c->staging_size, disk->total_bytes), usable,
				   &room.lowered);
	*ret = room;
	return 0;
}
