/* walk.c - see walk.h. */
#include "cache/walk.h"
#include "cache/blocks.h"
#include "backends/util/banned.h"

/* A header is read from the page that it begins in... */
#define PAGE UINT64_C(4096)
/* ... and as much at once as st_blksize makes a library's buffer, whatever its length. */
#define READ_BYTES (UINT64_C(65536) + PAGE)

/* What a first touch of an array brings. */
#define TOUCH_BYTES UINT64_C(1048576)

/* A read near an array's end goes past it, by as much as the kernel reads ahead, and
 * would wait a round trip for bytes that nobody wants. */
#define PAST_BYTES UINT64_C(524288)

/* An array comes in pieces, each larger than the one before by so much: GETs that begin
 * at one time share the link, and the reader waits for the first. */
#define PIECE UINT64_C(1048576)

enum {
	GUESSES_MIN = 8, /* measured: 20 HDUs of one size are known after 3 rounds */
	GUESSES_MAX = 32,
	WRONG_MAX = 4,
};

/* What is asked for now. */
struct plan {
	struct range *ranges;
	size_t n;
};

static bool plan_full(const struct plan *p)
{
	return p->n == WALK_RANGES;
}

static void plan_add(struct plan *p, const struct layout *l, uint64_t off, uint64_t len)
{
	uint64_t end = len > l->size - off ? l->size : off + len;
	struct range *last = p->n ? &p->ranges[p->n - 1] : NULL;
	/* Small HDUs share blocks. */
	if (last && off >= last->off && off <= last->off + last->len + BLOCK_SIZE) {
		if (end > last->off + last->len)
			last->len = end - last->off;
		return;
	}
	p->ranges[p->n++] = (struct range){.off = off, .len = end - off};
}

static uint64_t hdu_size(const struct hdu *h)
{
	return h->end - h->header_off;
}

static void plan_known(struct plan *p, struct walk *w, const struct layout *l)
{
	for (size_t i = w->hop; i < l->n && i < w->hop + WALK_RANGES; i++) {
		const struct hdu *h = &l->hdus[i];
		uint64_t len = h->data_off - h->header_off;
		if (h->header_off < w->asked)
			continue;
		if (plan_full(p))
			return;
		plan_add(p, l, h->header_off, len > READ_BYTES ? len : READ_BYTES);
		w->asked = h->header_off + 1;
	}
}

/* HDUs at the end of what is known that are all of one size. */
static size_t equal_run(const struct layout *l)
{
	size_t n = 1;
	while (n < l->n && hdu_size(&l->hdus[l->n - 1 - n]) ==
				   hdu_size(&l->hdus[l->n - 1]))
		n++;
	return n;
}

/* The distance to guess by; 0: do not. */
static uint64_t guess_step(struct walk *w, const struct layout *l)
{
	const struct hdu *last = &l->hdus[l->n - 1];
	if (last->end == last->data_off)
		return 0; /* no data: the primary, mostly */
	uint64_t step = hdu_size(last);
	if (step == w->step)
		return step;
	if (w->step)
		w->wrong++;
	w->step = step;
	w->guessed = 0;
	return step;
}

static void plan_guesses(struct plan *p, struct walk *w, const struct layout *l)
{
	uint64_t next = layout_next(l);
	uint64_t step = guess_step(w, l);
	size_t n = 4 * equal_run(l);
	n = n < GUESSES_MIN ? GUESSES_MIN : n > GUESSES_MAX ? GUESSES_MAX : n;
	for (size_t i = 0; i < n && !plan_full(p); i++) {
		uint64_t off;
		if (i && (!step || w->wrong > WRONG_MAX))
			return;
		if (__builtin_mul_overflow(step, (uint64_t)i, &off) ||
		    __builtin_add_overflow(off, next, &off) || off >= l->size)
			return;
		if (off < w->guessed)
			continue;
		plan_add(p, l, off, READ_BYTES);
		w->guessed = off + 1;
	}
}

static size_t plan_headers(struct walk *w, const struct layout *l, struct range *ret)
{
	struct plan p = {.ranges = ret};
	plan_known(&p, w, l);
	if (!l->complete && l->n && l->n < w->hop + WALK_RANGES)
		plan_guesses(&p, w, l);
	return p.n;
}

bool walk_hops(const struct layout *l, uint64_t off, size_t *ret)
{
	if (l->none || !l->n || off < BLOCK_SIZE / 2 || off >= l->size)
		return false;
	const struct hdu *h = layout_at(l, off + PAGE - 1);
	if (h && h->header_off >= off) {
		*ret = layout_index(l, h);
		return true;
	}
	uint64_t next = layout_next(l);
	*ret = l->n;
	return !l->complete && off <= next && next - off < PAGE;
}

/* The HDU in whose data the read is: a fault's is where its middle is.  What begins in a
 * header was meant for that. */
static const struct hdu *data_of(const struct layout *l, uint64_t off, uint64_t len)
{
	const struct hdu *h = layout_at(l, off);
	if (!h || off < h->data_off)
		return NULL;
	h = layout_at(l, off + len / 2);
	return h && off + len / 2 >= h->data_off ? h : NULL;
}

static void cut(struct plan *p, uint64_t off, uint64_t end)
{
	while (off < end) {
		uint64_t len = (p->n + 1) * PIECE - off % BLOCK_SIZE;
		/* The last two take what is left, of both sides. */
		if (len > end - off || p->n >= WALK_RANGES - 2)
			len = end - off;
		p->ranges[p->n++] = (struct range){.off = off, .len = len};
		off += len;
	}
}

/* All of the array: what is behind off first. */
static size_t plan_array(const struct layout *l, const struct hdu *h, uint64_t off,
			 struct range *ret)
{
	struct plan p = {.ranges = ret};
	uint64_t at = off - off % BLOCK_SIZE;
	uint64_t end = l->size - h->end < PAST_BYTES ? l->size : h->end + PAST_BYTES;
	if (at < h->data_off || at >= h->end)
		at = h->data_off;
	cut(&p, at, end);
	cut(&p, h->data_off, at);
	return p.n;
}

static size_t touch(struct walk *w, const struct layout *l, uint64_t off, uint64_t len,
		    uint64_t array_max, struct range *ret)
{
	const struct hdu *h = data_of(l, off, len);
	size_t i = h ? layout_index(l, h) : WALK_ARRAYS;
	if (i >= WALK_ARRAYS || h->end - h->data_off > array_max)
		return 0;
	uint64_t bit = UINT64_C(1) << i;
	bool again = w->touched & bit;
	w->touched |= bit;
	if (w->whole & bit)
		return 0;
	if (again) {
		w->whole |= bit;
		return plan_array(l, h, off, ret);
	}
	if (len >= TOUCH_BYTES || off >= h->end)
		return 0;
	*ret = (struct range){
		.off = off,
		.len = h->end - off < TOUCH_BYTES ? h->end - off : TOUCH_BYTES,
	};
	return 1;
}

size_t walk_open(struct walk *w, const struct layout *l,
		 struct range ret[static WALK_RANGES])
{
	struct plan p = {.ranges = ret};
	w->hop = 0;
	w->asked = 0;
	if (l->complete && l->n > 1)
		plan_known(&p, w, l);
	return p.n;
}

size_t walk_jump(struct walk *w, const struct layout *l, uint64_t off, uint64_t len,
		 uint64_t array_max, struct range ret[static WALK_RANGES])
{
	size_t hdu;
	if (l->none || !l->n || !len || off >= l->size)
		return 0;
	if (!walk_hops(l, off, &hdu))
		return touch(w, l, off, len, array_max, ret);
	w->walking = true;
	w->hop = hdu;
	/* What is being read need not be asked for. */
	if (w->asked <= off)
		w->asked = off + PAGE;
	if (w->guessed <= off)
		w->guessed = off + PAGE;
	return plan_headers(w, l, ret);
}

size_t walk_learnt(struct walk *w, const struct layout *l,
		   struct range ret[static WALK_RANGES])
{
	return w->walking && l->n ? plan_headers(w, l, ret) : 0;
}

bool walk_has_whole(const struct walk *w, const struct layout *l, uint64_t off)
{
	const struct hdu *h = layout_at(l, off);
	size_t i = h ? layout_index(l, h) : WALK_ARRAYS;
	return i < WALK_ARRAYS && (w->whole >> i & 1);
}

void walk_short(struct walk *w, const struct layout *l, const struct range *asked)
{
	const struct hdu *h = layout_at(l, asked->off);
	size_t i = h ? layout_index(l, h) : WALK_ARRAYS;
	if (i < WALK_ARRAYS && asked->off >= h->data_off)
		w->whole &= ~(UINT64_C(1) << i);
	if (asked->off < w->asked)
		w->asked = asked->off;
	if (asked->off < w->guessed)
		w->guessed = asked->off;
}
