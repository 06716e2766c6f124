/* fits_rig.c - see fits_rig.h. */
#include "tests/unit/fits_rig.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

void fits_rig_init(struct fits_rig *f)
{
	*f = (struct fits_rig){0};
	layout_init(&f->layout, UINT64_MAX / 2);
}

void fits_rig_done(struct fits_rig *f)
{
	for (size_t i = 0; i < f->layout.n; i++)
		free(f->headers[i]);
	layout_done(&f->layout);
}

static void card(char *at, const char *text)
{
	memcpy(at, text, strlen(text));
}

static char *make_header(bool primary, size_t len, uint64_t data)
{
	char *h = malloc(len + 1), text[81];
	CHECK(h);
	memset(h, ' ', len + 1);
	card(h, primary ? "SIMPLE  =                    T" : "XTENSION= 'IMAGE   '");
	card(h + 80, "BITPIX  =                    8");
	card(h + 160, data ? "NAXIS   =                    1"
			   : "NAXIS   =                    0");
	if (data) {
		(void)snprintf(text, sizeof text, "NAXIS1  = %20" PRIu64, data);
		card(h + 240, text);
	}
	card(h + len - 80, "END");
	return h;
}

void fits_rig_add(struct fits_rig *f, unsigned records, uint64_t data)
{
	size_t n = f->layout.n, len = (size_t)records * LAYOUT_RECORD;
	CHECK(n < FITS_RIG_HDUS);
	struct hdu h = {.header_off = f->size, .data_off = f->size + len};
	h.end = h.data_off + (data + LAYOUT_RECORD - 1) / LAYOUT_RECORD * LAYOUT_RECORD;
	f->headers[n] = make_header(!n, len, data);
	f->patches[n] = (struct membackend_patch){f->size, len, f->headers[n]};
	CHECK_EQ(layout_add(&f->layout, &h), 0);
	f->size = h.end;
}

void fits_rig_make(struct fits_rig *f, unsigned n, uint64_t data)
{
	fits_rig_init(f);
	fits_rig_add(f, 8, 0);
	while (n--)
		fits_rig_add(f, 1, data);
}

void fits_rig_serve(const struct fits_rig *f, struct membackend *mb)
{
	mb->patches = f->patches;
	mb->n_patches = f->layout.n;
}

char *fits_rig_bytes(const struct fits_rig *f)
{
	char *bytes = calloc(1, f->size);
	CHECK(bytes);
	for (size_t i = 0; i < f->layout.n; i++)
		memcpy(bytes + f->patches[i].off, f->patches[i].bytes, f->patches[i].len);
	return bytes;
}

bool fits_rig_same(const struct fits_rig *f, const struct layout *l)
{
	return l->n <= f->layout.n &&
	       (!l->n || !memcmp(l->hdus, f->layout.hdus, l->n * sizeof *l->hdus));
}
