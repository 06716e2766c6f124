/* layout.c - see layout.h.
 *
 * Encoded: a byte with version and flags, then for each HDU two numbers, the records
 * of its header and of its data, seven bits a byte, the lowest first, the eighth bit
 * set in all but the last.  So whatever bytes are decoded, the HDUs ascend, touch
 * and are aligned; what is left to check is that they are within the file.
 */
#include "cache/layout.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/banned.h"

enum { CODE_VERSION = 1, FLAG_COMPLETE = 0x10, FLAG_NONE = 0x20 };

void layout_init(struct layout *l, uint64_t size)
{
	*l = (struct layout){.size = size};
}

void layout_done(struct layout *l)
{
	free(l->hdus);
	layout_init(l, l->size);
}

static int reserve(struct layout *l, size_t n)
{
	if (n <= l->alloc)
		return 0;
	size_t alloc = l->alloc ? 2 * l->alloc : 8;
	alloc = alloc < n ? n : alloc;
	struct hdu *more = reallocarray(l->hdus, alloc, sizeof *more);
	if (!more)
		return -ENOMEM;
	l->hdus = more;
	l->alloc = alloc;
	return 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static bool fits(const struct layout *l, const struct hdu *h)
{
	return h->header_off == layout_next(l) && h->header_off < l->size &&
	       h->data_off > h->header_off && h->end >= h->data_off &&
	       (h->data_off - h->header_off) % LAYOUT_RECORD == 0 &&
	       (h->end - h->data_off) % LAYOUT_RECORD == 0;
}

int layout_add(struct layout *l, const struct hdu *h)
{
	if (l->complete || !fits(l, h))
		return -EBADMSG;
	if (l->n == LAYOUT_HDUS_MAX) {
		l->complete = true;
		return -E2BIG;
	}
	int r = reserve(l, l->n + 1);
	if (r)
		return r;
	l->hdus[l->n++] = (struct hdu){
		.header_off = h->header_off,
		.data_off = least(h->data_off, l->size),
		.end = least(h->end, l->size),
	};
	l->complete = h->end >= l->size;
	return 0;
}

void layout_end(struct layout *l)
{
	l->complete = true;
	l->none = !l->n;
}

int layout_copy(struct layout *to, const struct layout *from)
{
	if (to->size != from->size)
		return -EINVAL;
	to->n = 0;
	to->complete = to->none = false;
	int r = reserve(to, from->n);
	if (r)
		return r;
	if (from->n)
		memcpy(to->hdus, from->hdus, from->n * sizeof *from->hdus);
	to->n = from->n;
	to->complete = from->complete;
	to->none = from->none;
	return 0;
}

bool layout_same(const struct layout *a, const struct layout *b)
{
	return a->size == b->size && a->n == b->n && a->complete == b->complete &&
	       (!a->n || !memcmp(a->hdus, b->hdus, a->n * sizeof *a->hdus));
}

/* -- looking -- */

uint64_t layout_next(const struct layout *l)
{
	if (l->complete)
		return l->size;
	return l->n ? l->hdus[l->n - 1].end : 0;
}

const struct hdu *layout_at(const struct layout *l, uint64_t off)
{
	size_t low = 0, high = l->n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (l->hdus[mid].end > off)
			high = mid;
		else
			low = mid + 1;
	}
	return low < l->n ? &l->hdus[low] : NULL;
}

size_t layout_index(const struct layout *l, const struct hdu *h)
{
	return (size_t)(h - l->hdus);
}

bool layout_has_header(const struct layout *l, uint64_t off, uint64_t len)
{
	const struct hdu *h = layout_at(l, off);
	if (!h || !len)
		return false;
	if (off < h->data_off)
		return true;
	/* The next header is the next that the range can meet. */
	return layout_index(l, h) + 1 < l->n && h->end - off < len;
}

/* -- as bytes -- */

static void put_number(struct buf *b, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_addc(b, (char)(v | 0x80));
	buf_addc(b, (char)v);
}

static bool get_number(const uint8_t **p, const uint8_t *end, uint64_t *ret)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 63 && *p < end; shift += 7) {
		uint8_t byte = *(*p)++;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

/* Rounded up: what was cut at the file's end is cut again when it is decoded. */
static uint64_t records(uint64_t bytes)
{
	return bytes / LAYOUT_RECORD + (bytes % LAYOUT_RECORD != 0);
}

int layout_encode(const struct layout *l, struct buf *ret)
{
	buf_addc(ret, (char)(CODE_VERSION | (l->complete ? FLAG_COMPLETE : 0) |
			     (l->none ? FLAG_NONE : 0)));
	for (size_t i = 0; i < l->n; i++) {
		const struct hdu *h = &l->hdus[i];
		put_number(ret, records(h->data_off - h->header_off));
		put_number(ret, records(h->end - h->data_off));
	}
	return buf_error(ret);
}

/* The HDU that starts at off and has so many records; false: no file is so long. */
static bool make_hdu(uint64_t off, uint64_t header, uint64_t data, struct hdu *ret)
{
	uint64_t n;
	*ret = (struct hdu){.header_off = off};
	return !__builtin_mul_overflow(header, LAYOUT_RECORD, &n) &&
	       !__builtin_add_overflow(off, n, &ret->data_off) &&
	       !__builtin_mul_overflow(data, LAYOUT_RECORD, &n) &&
	       !__builtin_add_overflow(ret->data_off, n, &ret->end);
}

static int decode(const uint8_t *p, const uint8_t *end, struct layout *l)
{
	while (p < end) {
		uint64_t header, data;
		struct hdu h;
		if (!get_number(&p, end, &header) || !get_number(&p, end, &data) ||
		    !make_hdu(layout_next(l), header, data, &h) ||
		    h.end - least(h.end, l->size) >= LAYOUT_RECORD)
			return -EBADMSG;
		int r = layout_add(l, &h);
		if (r)
			return r == -E2BIG ? -EBADMSG : r;
	}
	return 0;
}

int layout_decode(const void *bytes, size_t n, uint64_t size, struct layout *ret)
{
	const uint8_t *p = bytes;
	layout_init(ret, size);
	if (!n || (*p & 0x0f) != CODE_VERSION)
		return -EBADMSG;
	int r = decode(p + 1, p + n, ret);
	bool complete = *p & FLAG_COMPLETE, none = *p & FLAG_NONE;
	if (!r && (none != (complete && !ret->n) || (ret->complete && !complete)))
		r = -EBADMSG;
	if (r) {
		layout_done(ret);
		return r;
	}
	ret->complete = complete;
	ret->none = none;
	return 0;
}
