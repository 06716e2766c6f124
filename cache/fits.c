/* fits.c - see fits.h.
 *
 * An extension's header stands behind a made-up primary header, because a memory
 * file must begin with one.  It is shown as that of an image: by the standard the
 * size follows from the same keywords for every type, and a table whose columns do
 * not add up is no reason not to know where the next header is.
 */
#include "cache/fits.h"
#include <errno.h>
#include <fitsio.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

enum { CARD = 80 };

static const char primary_cards[][CARD + 1] = {
	"SIMPLE  =                    T",
	"BITPIX  =                    8",
	"NAXIS   =                    0",
	"END",
};
static const char image_card[] = "XTENSION= 'IMAGE   '";

bool fits_named(const char *key)
{
	static const char *const ends[] = {".fits", ".fit", ".fts", ".fits.fz"};
	size_t len = strlen(key);
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		size_t n = strlen(ends[i]);
		if (len > n && !strcasecmp(key + len - n, ends[i]))
			return true;
	}
	return false;
}

/* -- what cfitsio is shown -- */

static bool starts_hdu(const char *bytes, bool primary)
{
	return !memcmp(bytes, primary ? "SIMPLE  =" : "XTENSION=", 9);
}

/* How long the header is with its END, not padded; 0: it does not end here. */
static size_t find_end(const char *bytes, size_t len)
{
	for (size_t at = 0; len - at >= CARD; at += CARD)
		if (!memcmp(bytes + at, "END     ", 8))
			return at + CARD;
	return 0;
}

static size_t padded(size_t len)
{
	return (len + LAYOUT_RECORD - 1) / LAYOUT_RECORD * LAYOUT_RECORD;
}

static void put_card(char *at, const char *card)
{
	memcpy(at, card, strlen(card));
}

/* The memory file; owned by the caller.  NULL: no memory. */
static char *make_image(const char *header, size_t len, bool primary, size_t *ret_len)
{
	size_t before = primary ? 0 : LAYOUT_RECORD;
	*ret_len = before + padded(len);
	char *image = malloc(*ret_len);
	if (!image)
		return NULL;
	memset(image, ' ', *ret_len);
	memcpy(image + before, header, len);
	if (primary)
		return image;
	for (size_t i = 0; i < sizeof primary_cards / sizeof *primary_cards; i++)
		put_card(image + i * CARD, primary_cards[i]);
	memset(image + before, ' ', CARD);
	put_card(image + before, image_card);
	return image;
}

/* -- what it says -- */

struct shape {
	int bitpix, naxis;
	LONGLONG naxes[FITS_AXES_MAX];
	long pcount, gcount;
	int groups;
	LONGLONG data_off, end; /* in the memory file, as cfitsio computed them */
};

static int ask(fitsfile *f, bool primary, struct shape *ret)
{
	int status = 0, missing = 0, simple, extend;
	LONGLONG header_off;
	if (!primary)
		(void)fits_movabs_hdu(f, 2, NULL, &status);
	(void)fits_read_imghdrll(f, FITS_AXES_MAX, &simple, &ret->bitpix, &ret->naxis,
				 ret->naxes, &ret->pcount, &ret->gcount, &extend,
				 &status);
	(void)fits_get_hduaddrll(f, &header_off, &ret->data_off, &ret->end, &status);
	if (status)
		return status;
	(void)fits_read_key_log(f, "GROUPS", &ret->groups, NULL, &missing);
	if (missing)
		ret->groups = 0;
	return 0;
}

static int ask_image(char *image, size_t len, bool primary, struct shape *ret)
{
	fitsfile *f = NULL;
	void *bytes = image;
	int status = 0, closed = 0;
	(void)fits_open_memfile(&f, "header", READONLY, &bytes, &len, 0, NULL, &status);
	if (!status)
		status = ask(f, primary, ret);
	if (f)
		(void)fits_close_file(f, &closed);
	fits_clear_errmsg(); /* one list for all threads: nobody reads it */
	return status == MEMORY_ALLOCATION ? -ENOMEM : status ? -EBADMSG : 0;
}

/* Bytes of data: |BITPIX| / 8 * GCOUNT * (PCOUNT + NAXIS1 * ...).  Of random groups
 * the first axis is 0 and does not count. */
static int data_bytes(const struct shape *s, uint64_t *ret)
{
	bool groups = s->naxis > 0 && !s->naxes[0] && s->groups;
	uint64_t n = s->naxis > 0;
	if (s->naxis < 0 || s->naxis > FITS_AXES_MAX || s->pcount < 0 || s->gcount < 0)
		return -EBADMSG;
	for (int i = groups; i < s->naxis; i++)
		if (s->naxes[i] < 0 ||
		    __builtin_mul_overflow(n, (uint64_t)s->naxes[i], &n))
			return -EBADMSG;
	if (__builtin_add_overflow(n, (uint64_t)s->pcount, &n) ||
	    __builtin_mul_overflow(n, (uint64_t)s->gcount, &n) ||
	    __builtin_mul_overflow(n, (uint64_t)abs(s->bitpix) / 8, &n) ||
	    n > INT64_MAX - LAYOUT_RECORD)
		return -EBADMSG;
	*ret = s->naxis ? n : 0;
	return 0;
}

static int place(const struct shape *s, uint64_t header_len, uint64_t off, bool primary,
		 struct hdu *ret)
{
	uint64_t data;
	int r = data_bytes(s, &data);
	if (r)
		return r;
	uint64_t before = primary ? 0 : LAYOUT_RECORD;
	data = (data + LAYOUT_RECORD - 1) / LAYOUT_RECORD * LAYOUT_RECORD;
	if (s->data_off < 0 || (uint64_t)s->data_off != before + header_len ||
	    s->end < s->data_off || (uint64_t)(s->end - s->data_off) != data)
		return -EBADMSG;
	ret->header_off = off;
	if (__builtin_add_overflow(off, header_len, &ret->data_off) ||
	    __builtin_add_overflow(ret->data_off, data, &ret->end))
		return -EBADMSG;
	return 0;
}

/* A build that is not reentrant keeps its open files in one table without a lock. */
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

/* What is set up at first use is looked at without a lock (4.2.0). */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void set_up(void)
{
	(void)fits_init_cfitsio(); /* an error is met again at each use */
}

static int ask_safely(char *image, size_t len, bool primary, struct shape *ret)
{
	(void)pthread_once(&once, set_up);
	if (fits_is_reentrant())
		return ask_image(image, len, primary, ret);
	SCOPED_LOCK(&one_at_a_time);
	return ask_image(image, len, primary, ret);
}

int fits_hdu(const void *bytes, size_t len, uint64_t off, bool primary, struct hdu *ret)
{
	if (len < CARD)
		return -EAGAIN;
	if (!starts_hdu(bytes, primary))
		return -EBADMSG;
	bool more = len < FITS_HEADER_MAX;
	size_t n = find_end(bytes, more ? len : FITS_HEADER_MAX);
	if (!n)
		return more ? -EAGAIN : -EBADMSG;
	size_t image_len;
	CLEANUP_FREE char *image = make_image(bytes, n, primary, &image_len);
	CLEANUP_FREE struct shape *shape = calloc(1, sizeof *shape);
	if (!image || !shape)
		return -ENOMEM;
	int r = ask_safely(image, image_len, primary, shape);
	return r ? r : place(shape, padded(n), off, primary, ret);
}
