/* map.h - a hash table of structs that carry their own links.
 *
 * Embed a struct map_node, hash with map_hash, and look up with a function that
 * says whether a node is the one that is meant.  The map owns its buckets, never
 * the nodes.  Not locked: whoever embeds it guards it.
 */
#ifndef BACKENDS_UTIL_MAP_H
#define BACKENDS_UTIL_MAP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_node {
	struct map_node *next;
	uint64_t hash;
};

struct map {
	struct map_node **buckets; /* owned */
	size_t n, n_buckets;	   /* n_buckets is a power of two, or 0 before use */
};

typedef bool map_eq_fn(const struct map_node *node, const void *key);

void map_done(struct map *m);
uint64_t map_hash(const void *bytes, size_t n);
uint64_t map_hash_string(const char *s);
uint64_t map_hash_u64(uint64_t v);

/* -ENOMEM only while the map is empty: later a failed growth makes it slower. */
int map_insert(struct map *m, struct map_node *node, uint64_t hash);
struct map_node *map_find(const struct map *m, uint64_t hash, map_eq_fn *eq,
			  const void *key);
/* node must be in the map. */
void map_remove(struct map *m, struct map_node *node);
/* Walk: start with NULL; the node before may be removed by the caller only after
 * asking for the next one. */
struct map_node *map_next(const struct map *m, const struct map_node *after);

#define container_of(ptr, type, member) \
	((type *)(void *)((char *)(uintptr_t)(ptr)-offsetof(type, member)))
#endif
