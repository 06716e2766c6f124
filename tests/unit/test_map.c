/* test_map.c - a hash table of structs that carry their own links. */
#include <errno.h>
#include "backends/util/map.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

enum { N = 5000 };

struct thing {
	struct map_node node;
	char name[16];
};

static struct thing things[N];

static bool is(const struct map_node *node, const void *key)
{
	return !strcmp(container_of(node, struct thing, node)->name, key);
}

static struct thing *find(struct map *m, const char *name)
{
	struct map_node *node = map_find(m, map_hash_string(name), is, name);
	return node ? container_of(node, struct thing, node) : NULL;
}

static void fill(struct map *m)
{
	for (int i = 0; i < N; i++) {
		(void)snprintf(things[i].name, sizeof(things[i].name), "jw%08d", i);
		CHECK_EQ(map_insert(m, &things[i].node, map_hash_string(things[i].name)),
			 0);
	}
}

static void map__finds_what_was_put(void)
{
	struct map m = {0};
	CHECK(!find(&m, "x"));
	CHECK(!map_next(&m, NULL));
	fill(&m);
	CHECK_EQ(m.n, N);
	CHECK_EQ(m.n_buckets & (m.n_buckets - 1), 0);
	for (int i = 0; i < N; i++)
		CHECK(find(&m, things[i].name) == &things[i]);
	CHECK(!find(&m, "jw"));
	map_done(&m);
	CHECK_EQ(m.n, 0);
}

static void map__removes_one(void)
{
	struct map m = {0};
	fill(&m);
	for (int i = 0; i < N; i += 2)
		map_remove(&m, &things[i].node);
	CHECK_EQ(m.n, N / 2);
	for (int i = 0; i < N; i++)
		CHECK((find(&m, things[i].name) != NULL) == (i % 2 == 1));
	map_done(&m);
}

static void map__walks_each_once_while_they_go(void)
{
	struct map m = {0};
	int n = 0;
	fill(&m);
	struct map_node *node = map_next(&m, NULL);
	while (node) {
		struct map_node *next = map_next(&m, node);
		map_remove(&m, node);
		n++;
		node = next;
	}
	CHECK_EQ(n, N);
	CHECK_EQ(m.n, 0);
	map_done(&m);
}

int main(void)
{
	RUN(map__finds_what_was_put);
	RUN(map__removes_one);
	RUN(map__walks_each_once_while_they_go);
	return 0;
}
