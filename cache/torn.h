/* torn.h - bytes of a file that are missing, as the writes of them failed. */
#ifndef CACHE_TORN_H
#define CACHE_TORN_H
#include <stdbool.h>
#include <stdint.h>

/* More holes than that are taken for fewer, larger ones. */
enum { TORN_MAX = 8 };

struct torn {
	struct torn_range {
		uint64_t off, end;
	} ranges[TORN_MAX];
	uint32_t n;
};

void torn_add(struct torn *t, uint64_t off, uint64_t end);
/* They were written, or cut off. */
void torn_remove(struct torn *t, uint64_t off, uint64_t end);
#endif
