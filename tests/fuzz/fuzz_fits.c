/* fuzz_fits.c - the walk from header to header of a FITS file, any bytes in any pieces.
 *
 * An input: how it is read; then the file.  'w': a small file, as it is.  's': headers
 * with a NUL between them, each at the place where the layout says that the next one is,
 * so that a few bytes make a file of many exabytes.  'd': the layout as the index keeps
 * it.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include "cache/fits.h"
#include "cache/frame.h"
#include "cache/scan.h"
#include "cache/walk.h"
#include "tests/fuzz/fuzz.h"
#include "backends/util/banned.h"

enum { RECORD = LAYOUT_RECORD, CARD = 80, HEADERS_MAX = 64 };

static int fd;

/* --- what must hold of a layout --- */

static void check_hdu(const struct hdu *h, uint64_t off)
{
	MUST(h->header_off == off && h->data_off > off && h->end >= h->data_off);
	MUST((h->data_off - off) % RECORD == 0 && (h->end - h->data_off) % RECORD == 0);
}

static void check_layout(const struct layout *l)
{
	uint64_t at = 0;
	MUST(l->n <= LAYOUT_HDUS_MAX && layout_next(l) <= l->size);
	for (size_t i = 0; i < l->n; i++) {
		const struct hdu *h = &l->hdus[i];
		MUST(h->header_off == at && h->header_off < h->data_off);
		MUST(h->data_off <= h->end && h->end <= l->size);
		MUST(layout_at(l, h->header_off) == h);
		MUST(layout_at(l, h->end - 1) == h);
		MUST(layout_has_header(l, h->header_off, 1));
		at = h->end;
	}
	MUST(!layout_at(l, at));
	MUST(l->complete || layout_next(l) == at);
}

/* What the index keeps of it is it. */
static void check_code(const struct layout *l)
{
	struct layout again;
	CLEANUP_BUF struct buf code;
	buf_init(&code, LAYOUT_CODE_MAX);
	MUST(!layout_encode(l, &code));
	MUST(!layout_decode(code.data, code.len, l->size, &again));
	MUST(again.n == l->n && again.complete == l->complete && again.none == l->none);
	MUST(!l->n || !memcmp(again.hdus, l->hdus, l->n * sizeof *l->hdus));
	layout_done(&again);
}

/* The reader's guesses are within the file, and bounded. */
static void check_guesses(const struct layout *l)
{
	struct range ranges[WALK_RANGES];
	struct walk w = {0};
	size_t n = walk_open(&w, l, ranges);
	for (size_t i = 0; i < l->n + 2 && i < 8; i++) {
		MUST(n <= WALK_RANGES);
		for (size_t k = 0; k < n; k++)
			MUST(ranges[k].len && ranges[k].off < l->size &&
			     ranges[k].len <= l->size - ranges[k].off);
		uint64_t off = i < l->n ? l->hdus[i].header_off : layout_next(l);
		n = walk_jump(&w, l, off, RECORD, UINT64_C(1) << 26, ranges);
	}
	(void)frame_has(l, 0);
	(void)frame_has(l, l->size >> 18);
}

static void check_all(const struct layout *l)
{
	check_layout(l);
	check_code(l);
	check_guesses(l);
}

/* --- one header --- */

/* Of as many bytes as there are, it is the same as of all, or not known yet. */
static void check_pieces(const uint8_t *p, size_t n, size_t part, uint64_t off, int r,
			 const struct hdu *whole)
{
	struct hdu h = {0};
	uint8_t *copy = malloc(part + 1);
	MUST(copy && part <= n);
	memcpy(copy, p, part);
	int some = fits_hdu(copy, part, off, !off, &h);
	MUST(some == -EAGAIN || some == r);
	MUST(some || !memcmp(&h, whole, sizeof h));
	free(copy);
}

static int ask(const uint8_t *p, size_t n, size_t part, uint64_t off, struct hdu *ret)
{
	*ret = (struct hdu){0};
	int r = fits_hdu(p, n, off, !off, ret);
	MUST(!r || r == -EAGAIN || r == -EBADMSG);
	if (!r)
		check_hdu(ret, off);
	check_pieces(p, n, part % (n + 1), off, r, ret);
	return r;
}

/* --- files --- */

static void run_whole(struct input *in)
{
	struct layout l;
	layout_init(&l, in->n);
	MUST(!ftruncate(fd, (off_t)in->n));
	MUST(!in->n || pwrite(fd, in->p, in->n, 0) == (ssize_t)in->n);
	MUST(!scan_file(fd, &l));
	MUST(l.complete);
	check_all(&l);
	/* No more headers than there is room for. */
	MUST(l.n <= in->n / CARD + 1);
	layout_done(&l);
}

static void run_sparse(struct input *in)
{
	struct layout l;
	size_t part = take_number(in, 2);
	/* From a few records to what a signed 64 bits can tell. */
	layout_init(&l, UINT64_MAX >> (1 + take_byte(in) % 52));
	for (int i = 0; i < HEADERS_MAX && in->n && !l.complete; i++) {
		size_t n;
		struct hdu h;
		char *header = take_string(in, '\0', &n);
		int r = ask((const uint8_t *)header, n, part, layout_next(&l), &h);
		if (!r)
			r = layout_add(&l, &h);
		else if (r == -EBADMSG)
			layout_end(&l);
		MUST(!r || r == -EAGAIN || r == -EBADMSG);
		free(header);
		if (r)
			break;
	}
	check_all(&l);
	layout_done(&l);
}

static void run_code(struct input *in)
{
	struct layout l;
	uint64_t size = take_number(in, 8);
	int r = layout_decode(in->p, in->n, size, &l);
	MUST(!r || r == -EBADMSG);
	if (r)
		return;
	check_all(&l);
	layout_done(&l);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fd = memfd_create("file", MFD_CLOEXEC);
	MUST(fd >= 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	switch (take_byte(&in)) {
	case 'w':
		run_whole(&in);
		break;
	case 's':
		run_sparse(&in);
		break;
	case 'd':
		run_code(&in);
		break;
	default:
		break;
	}
	return 0;
}
