/* map.c - see map.h. */
#include "backends/util/map.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/banned.h"

enum { BUCKETS_FIRST = 64 };

void map_done(struct map *m)
{
	free(m->buckets);
	*m = (struct map){0};
}

/* FNV-1a with a final mix: names share long prefixes, and only the low bits
 * choose the bucket. */
uint64_t map_hash(const void *bytes, size_t n)
{
	const unsigned char *p = bytes;
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001b3);
	return map_hash_u64(h);
}

uint64_t map_hash_string(const char *s)
{
	return map_hash(s, strlen(s));
}

uint64_t map_hash_u64(uint64_t v)
{
	v ^= v >> 33;
	v *= UINT64_C(0xff51afd7ed558ccd);
	v ^= v >> 33;
	return v;
}

static void relink(struct map *m, struct map_node **buckets, size_t n_buckets)
{
	for (size_t i = 0; i < m->n_buckets; i++) {
		struct map_node *node = m->buckets[i];
		while (node) {
			struct map_node *next = node->next;
			struct map_node **at = &buckets[node->hash & (n_buckets - 1)];
			node->next = *at;
			*at = node;
			node = next;
		}
	}
	free(m->buckets);
	m->buckets = buckets;
	m->n_buckets = n_buckets;
}

int map_insert(struct map *m, struct map_node *node, uint64_t hash)
{
	/* A node is a cache line that was not touched for long: buckets that hold none
	 * are cheap beside it, and so is moving all of them seldom. */
	if (m->n * 2 >= m->n_buckets) {
		size_t want = m->n_buckets ? m->n_buckets * 4 : BUCKETS_FIRST;
		struct map_node **buckets = calloc(want, sizeof(*buckets));
		if (buckets)
			relink(m, buckets, want);
		else if (!m->n_buckets)
			return -ENOMEM;
	}
	struct map_node **at = &m->buckets[hash & (m->n_buckets - 1)];
	node->hash = hash;
	node->next = *at;
	*at = node;
	m->n++;
	return 0;
}

struct map_node *map_find(const struct map *m, uint64_t hash, map_eq_fn *eq,
			  const void *key)
{
	if (!m->n_buckets)
		return NULL;
	struct map_node *node = m->buckets[hash & (m->n_buckets - 1)];
	while (node && !(node->hash == hash && eq(node, key)))
		node = node->next;
	return node;
}

void map_remove(struct map *m, struct map_node *node)
{
	struct map_node **at = &m->buckets[node->hash & (m->n_buckets - 1)];
	while (*at != node)
		at = &(*at)->next;
	*at = node->next;
	node->next = NULL;
	m->n--;
}

struct map_node *map_next(const struct map *m, const struct map_node *after)
{
	size_t i = 0;
	if (after) {
		if (after->next)
			return after->next;
		i = (after->hash & (m->n_buckets - 1)) + 1;
	}
	for (; i < m->n_buckets; i++)
		if (m->buckets[i])
			return m->buckets[i];
	return NULL;
}
