/* prefetch.c - see prefetch.h.
 *
 * What is handed out ends where a GET of FETCH_SIZE would, and is handed out only once
 * it is worth a GET: `ahead` moves in steps, not with every read.
 */
#include "cache/prefetch.h"
#include "cache/blocks.h"
#include "backends/util/banned.h"

/* How far from its end a read may start and still go on from a stream: at first as far
 * as two reads in the wrong order are, later by as much as read-ahead on many threads
 * was seen to be. */
#define SLACK_FIRST  UINT64_C(131072)
#define PAGE	     UINT64_C(4096)
#define SLACK	     UINT64_C(1048576)
#define FIRST_WINDOW UINT64_C(16777216)
#define GROWTH	     4 /* bytes more for each that is read */
/* Of who reads all arrays: by simulation, over sizes and speeds of readers, within 10 ms
 * of what a link of 200 MB/s needs; a window of 24 or 48 MiB costs 10 to 40 ms more. */
#define ALL_FIRST  UINT64_C(20971520)
#define ALL_WINDOW UINT64_C(33554432)
#define ALL_PIECE  UINT64_C(2097152)
/* So much read makes a stream one that goes through the whole file, and more than a
 * cutout; so far ahead it is before that, though an array ends: 200 MB/s for 30 ms. */
#define YOUNG	    UINT64_C(4194304)
#define YOUNG_AHEAD FETCH_SIZE
/* Until then each GET is larger than the one before by so much. */
#define PIECE UINT64_C(1048576)

void prefetch_init(struct prefetch *pf, uint64_t size, uint64_t window_max)
{
	*pf = (struct prefetch){.size = size, .window_max = window_max};
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t add(uint64_t a, uint64_t b)
{
	uint64_t sum;
	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static bool goes_on(const struct stream *s, uint64_t off)
{
	uint64_t slack = s->window ? SLACK : SLACK_FIRST;
	return s->used && off <= add(s->next, slack) && add(off, slack) >= s->next;
}

/* The stream that the read goes on from, or else the one to give up. */
static struct stream *find(struct prefetch *pf, uint64_t off, bool *ret_goes_on)
{
	struct stream *oldest = pf->streams;
	for (size_t i = 0; i < PREFETCH_STREAMS; i++) {
		struct stream *s = &pf->streams[i];
		if (goes_on(s, off)) {
			*ret_goes_on = true;
			return s;
		}
		if (s->used < oldest->used)
			oldest = s;
	}
	*ret_goes_on = false;
	return oldest;
}

static void open_window(const struct prefetch *pf, struct stream *s)
{
	uint64_t more;
	if (__builtin_mul_overflow(GROWTH, s->got - s->opened, &more))
		more = UINT64_MAX;
	uint64_t first = s->all ? ALL_FIRST : FIRST_WINDOW;
	uint64_t most = s->all ? ALL_WINDOW : UINT64_MAX;
	s->window = least(least(add(first, more), most), pf->window_max);
}

/* A read that goes no further than an earlier one says nothing about the speed of
 * the reader: many threads of the kernel ask for one window. */
static void widen(const struct prefetch *pf, struct stream *s, uint64_t off, uint64_t end,
		  bool all)
{
	s->all |= all;
	s->far |= all;
	if (end <= s->next)
		return;
	s->got += end - (off > s->next ? off : s->next);
	s->next = end;
	if (!s->window && s->got < BLOCK_SIZE)
		return;
	if (!s->window)
		s->opened = s->got;
	open_window(pf, s);
}

static bool begins(uint64_t off, const struct range *array)
{
	return off <= array->off && array->off - off < PAGE;
}

static void start(const struct prefetch *pf, struct stream *s, uint64_t off, uint64_t end,
		  const struct place *at)
{
	*s = (struct stream){
		.next = end,
		.ahead = end,
		.got = end - off,
		.opened = end - off,
		.all = at->all,
		.far = at->all,
	};
	if (!begins(off, &at->array) || end - off < BLOCK_SIZE)
		return;
	open_window(pf, s);
	s->far |= add(at->array.off, at->array.len) >= pf->size;
}

/* How far it may be ahead now. */
static uint64_t goal_of(const struct prefetch *pf, const struct stream *s,
			const struct range *array)
{
	uint64_t edge = add(array->off, array->len);
	uint64_t goal = least(add(s->next, s->window), pf->size);
	if (s->far || s->got >= YOUNG || goal <= edge)
		return goal;
	uint64_t least_far = add(s->next, YOUNG_AHEAD);
	return least(goal, edge > least_far ? edge : least_far);
}

/* What there is to ask for now, if it is worth it. */
static bool refill(const struct prefetch *pf, struct stream *s, const struct range *array,
		   struct range *ret)
{
	if (s->ahead < s->next)
		s->ahead = s->next;
	uint64_t goal = goal_of(pf, s, array);
	/* To the end of the file, or of a whole GET. */
	uint64_t piece = s->all ? ALL_PIECE : FETCH_SIZE;
	if (goal < pf->size && s->window >= piece)
		goal -= goal % piece;
	uint64_t worth = least(piece, s->window) / 2;
	if (goal <= s->ahead || (goal < pf->size && goal - s->ahead < worth))
		return false;
	*ret = (struct range){.off = s->ahead, .len = goal - s->ahead};
	s->ahead = goal;
	return true;
}

size_t prefetch_cut(struct range ranges[static PREFETCH_RANGES], uint64_t most)
{
	struct range rest = ranges[0];
	size_t n = 0;
	for (; n < PREFETCH_RANGES - 1; n++) {
		uint64_t len = least((n + 1) * PIECE, most);
		if (rest.len <= len)
			break;
		len -= rest.off % BLOCK_SIZE;
		ranges[n] = (struct range){.off = rest.off, .len = len};
		rest = (struct range){.off = rest.off + len, .len = rest.len - len};
	}
	ranges[n] = rest;
	return n + 1;
}

static size_t cut_evenly(struct range ranges[static PREFETCH_RANGES])
{
	struct range rest = ranges[0];
	size_t n = 0;
	for (; n < PREFETCH_RANGES - 1 && rest.len > ALL_PIECE; n++) {
		uint64_t len = ALL_PIECE - rest.off % ALL_PIECE;
		ranges[n] = (struct range){.off = rest.off, .len = len};
		rest = (struct range){.off = rest.off + len, .len = rest.len - len};
	}
	ranges[n] = rest;
	return n + 1;
}

/* What refill found, in pieces. */
static size_t cut(const struct stream *s, struct range ranges[static PREFETCH_RANGES])
{
	if (s->all && s->got > s->opened)
		return cut_evenly(ranges);
	if (s->got < YOUNG)
		return prefetch_cut(ranges, s->all ? PREFETCH_ALL_MOST : UINT64_MAX);
	return 1;
}

void prefetch_next(struct prefetch *pf, uint64_t off, uint64_t len,
		   const struct place *at, struct prefetch_guess *ret)
{
	bool on;
	ret->n = 0;
	ret->jump = ret->through = false;
	if (!len || off >= pf->size)
		return;
	uint64_t end = least(add(off, len), pf->size);
	struct stream *s = find(pf, off, &on);
	if (on)
		widen(pf, s, off, end, at->all);
	else
		start(pf, s, off, end, at);
	s->used = ++pf->tick;
	ret->jump = !on;
	ret->through = s->got >= YOUNG;
	if (s->window && refill(pf, s, &at->array, ret->ranges))
		ret->n = cut(s, ret->ranges);
	if (s->window)
		return;
	if (!on && pf->window_max)
		ret->n = stride_jump(&pf->stride, off, end - off, pf->size, ret->ranges);
}

void prefetch_short(struct prefetch *pf, const struct range *asked, uint64_t bytes)
{
	for (size_t i = 0; i < PREFETCH_STREAMS; i++) {
		struct stream *s = &pf->streams[i];
		if (s->window && asked->off < s->ahead &&
		    s->ahead - asked->off <= s->window + FETCH_SIZE)
			s->ahead = asked->off + bytes;
	}
}
