/* membackend.c - see membackend.h. */
#include "tests/unit/membackend.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/clock.h"
#include "cache/blocks.h"
#include "backends/util/banned.h"

enum { CHUNK_MAX = 262144 };

/* Eight bytes at a time: splitmix64 of the place. */
static uint64_t word(uint32_t seed, uint64_t i)
{
	uint64_t z = i * UINT64_C(0x9e3779b97f4a7c15) + seed;
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	return z ^ (z >> 27);
}

uint8_t membackend_byte(uint32_t seed, uint64_t off)
{
	return (uint8_t)(word(seed, off / 8) >> (8 * (off % 8)));
}

void membackend_fill(uint32_t seed, uint64_t off, void *dst, size_t len)
{
	uint8_t *p = dst;
	size_t i = 0;
	for (; i < len && (off + i) % 8; i++)
		p[i] = membackend_byte(seed, off + i);
	for (; len - i >= 8; i += 8) {
		uint64_t w = word(seed, (off + i) / 8);
		memcpy(p + i, &w, 8); /* tests run on little-endian machines */
	}
	for (; i < len; i++)
		p[i] = membackend_byte(seed, off + i);
}

int membackend_same(uint32_t seed, uint64_t off, const void *bytes, size_t len)
{
	char want[4096];
	for (size_t done = 0; done < len;) {
		size_t n = len - done < sizeof want ? len - done : sizeof want;
		membackend_fill(seed, off + done, want, n);
		if (memcmp(want, (const char *)bytes + done, n))
			return 0;
		done += n;
	}
	return 1;
}

static int wait_held(struct membackend *mb, struct call *call)
{
	while (atomic_load(&mb->held) ||
	       (atomic_load(&mb->hints_held) && call->prio == PRIO_HINT)) {
		int r = call_check(call);
		if (r)
			return r;
		clock_sleep_ns(NS_PER_MS);
	}
	return 0;
}

static void count(struct membackend *mb, uint64_t off, uint64_t len)
{
	atomic_fetch_add(&mb->bytes, len);
	if (!mb->delivered)
		return;
	/* A block counts when its first byte comes. */
	for (uint64_t b = (off + BLOCK_SIZE - 1) / BLOCK_SIZE; b * BLOCK_SIZE < off + len;
	     b++)
		if (b < mb->n_delivered && atomic_fetch_add(&mb->delivered[b].times, 1))
			atomic_fetch_add(&mb->twice, 1);
}

static void patch(const struct membackend *mb, uint64_t off, char *dst, uint64_t len)
{
	for (size_t i = 0; i < mb->n_patches; i++) {
		const struct membackend_patch *p = &mb->patches[i];
		uint64_t from = p->off > off ? p->off : off;
		uint64_t end = p->off + p->len < off + len ? p->off + p->len : off + len;
		if (from < end)
			memcpy(dst + (from - off), p->bytes + (from - p->off), end - from);
	}
}

static int deliver(struct membackend *mb, uint64_t off, uint64_t len, sink_fn *sink,
		   void *arg, struct call *call)
{
	uint64_t from = atomic_load(&mb->good_gets);
	bool fails = !from || atomic_load(&mb->gets) < from;
	char *chunk = malloc(CHUNK_MAX);
	int r = chunk ? 0 : -ENOMEM;
	for (uint64_t done = 0; !r && done < len;) {
		uint64_t n = atomic_load(&mb->chunk), good = atomic_load(&mb->good_bytes);
		n = n > len - done ? len - done : n;
		if (done >= good) {
			r = wait_held(mb, call);
			if (!r && fails)
				r = atomic_load(&mb->error);
			if (r)
				break;
		} else if (n > good - done) {
			n = good - done;
		}
		membackend_fill(atomic_load(&mb->seed), off + done, chunk, n);
		patch(mb, off + done, chunk, n);
		count(mb, off + done, n);
		r = sink(arg, off + done, chunk, n);
		done += n;
		if (!r && atomic_load(&mb->gap_ns))
			clock_sleep_ns(atomic_load(&mb->gap_ns));
		if (!r)
			r = call_check(call);
	}
	free(chunk);
	return r;
}

static int mem_get(struct backend *be, const char *key, const struct object *obj,
		   uint64_t off, uint64_t len, sink_fn *sink, void *arg,
		   struct call *call)
{
	struct membackend *mb = (struct membackend *)be;
	(void)key;
	(void)obj;
	atomic_fetch_add(&mb->gets, 1);
	uint64_t now = atomic_fetch_add(&mb->running, 1) + 1;
	uint64_t max = atomic_load(&mb->running_max);
	while (now > max && !atomic_compare_exchange_weak(&mb->running_max, &max, now))
		;
	if (atomic_load(&mb->delay_ns))
		clock_sleep_ns(atomic_load(&mb->delay_ns));
	int r = deliver(mb, off, len, sink, arg, call);
	atomic_fetch_sub(&mb->running, 1);
	return r;
}

static const struct backend_ops mem_ops = {
	.scheme = "mem",
	.get = mem_get,
};

void membackend_init(struct membackend *mb, uint32_t seed)
{
	*mb = (struct membackend){
		.be = {.ops = &mem_ops},
		.seed = seed,
		.chunk = 65536,
	};
}

void membackend_watch(struct membackend *mb, uint64_t size)
{
	free(mb->delivered);
	mb->n_delivered = (size + BLOCK_SIZE - 1) / BLOCK_SIZE;
	mb->delivered = calloc(mb->n_delivered, sizeof *mb->delivered);
	atomic_store(&mb->twice, 0);
}

void membackend_done(struct membackend *mb)
{
	free(mb->delivered);
	mb->delivered = NULL;
}
