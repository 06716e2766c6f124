/* cache_rig.h - a block cache in a directory of its own, over a membackend. */
#ifndef TESTS_UNIT_CACHE_RIG_H
#define TESTS_UNIT_CACHE_RIG_H
#include "cache/blocks.h"
#include "tests/unit/membackend.h"

#define MIB UINT64_C(1048576)

struct rig {
	char dir[64];
	struct blocks_conf conf;
	struct membackend mb;
	struct blocks *bl;
};

/* A new empty directory; max_bytes of cache. */
void rig_init(struct rig *rig, uint64_t max_bytes);
/* Close and open the cache, as the next mount does. */
void rig_reopen(struct rig *rig);
/* Close; the directory is removed. */
void rig_done(struct rig *rig);

struct version *rig_version(struct rig *rig, const char *key, uint64_t size);
/* A read with a deadline of a minute whose bytes are checked. */
void rig_read(struct rig *rig, struct version *v, uint64_t off, size_t len);
int rig_try(struct rig *rig, struct version *v, uint64_t off, void *dst, size_t len);
struct call rig_call(uint64_t ns);
struct blocks_stats rig_stats(struct rig *rig);

/* Calls fn for each data file. */
void rig_files(struct rig *rig, void (*fn)(const char *path, void *arg), void *arg);
/* Bytes that the data files take of the disk; how many there are. */
uint64_t rig_disk_bytes(struct rig *rig);
uint64_t rig_count_files(struct rig *rig);
/* fn in a child that ends there without closing anything. */
void rig_in_child(void (*fn)(struct rig *rig), struct rig *rig);
#endif
