/* torn.c - see torn.h. */
#include "cache/torn.h"
#include "backends/util/banned.h"

void torn_add(struct torn *t, uint64_t off, uint64_t end)
{
	if (t->n < TORN_MAX) {
		t->ranges[t->n++] = (struct torn_range){off, end};
		return;
	}
	struct torn_range *last = &t->ranges[TORN_MAX - 1];
	last->off = off < last->off ? off : last->off;
	last->end = end > last->end ? end : last->end;
}

/* Without room for one more it stays whole: missing for longer than it is. */
static void split(struct torn *t, uint64_t at)
{
	for (uint32_t i = 0; i < t->n && t->n < TORN_MAX; i++) {
		struct torn_range *r = &t->ranges[i];
		if (at <= r->off || at >= r->end)
			continue;
		t->ranges[t->n++] = (struct torn_range){at, r->end};
		r->end = at;
	}
}

void torn_remove(struct torn *t, uint64_t off, uint64_t end)
{
	uint32_t n = 0;
	split(t, off);
	split(t, end);
	for (uint32_t i = 0; i < t->n; i++) {
		struct torn_range r = t->ranges[i];
		if (off <= r.off && end > r.off)
			r.off = end;
		else if (end >= r.end && off < r.end)
			r.end = off;
		if (r.off < r.end)
			t->ranges[n++] = r;
	}
	t->n = n;
}
