/* cfits.c - one action of cfitsio on one file, for the twins of test_fits.py.
 *
 *   cfits ACTION FILE
 *
 * Prints what it read, so that two copies of a file can be compared by output (readers)
 * or by bytes (writers).  Ends with cfitsio's own message and status 1 if anything fails.
 */
#include <fitsio.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 100 };

static fitsfile *open_file(const char *path, int mode, int *status)
{
	fitsfile *f = NULL;

	(void)fits_open_diskfile(&f, path, mode, status);
	return f;
}

/* FNV-1a: enough to tell two readings apart. */
static uint64_t hash(const void *data, size_t n)
{
	const unsigned char *p = data;
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 1099511628211u;
	return h;
}

static void do_info(const char *path, int *status)
{
	fitsfile *f = open_file(path, READONLY, status);
	int hdus = 0, type = 0, keys = 0;

	(void)fits_get_num_hdus(f, &hdus, status);
	for (int i = 1; i <= hdus && !*status; i++) {
		(void)fits_movabs_hdu(f, i, &type, status);
		(void)fits_get_hdrspace(f, &keys, NULL, status);
		(void)printf("hdu %d type %d keys %d\n", i, type, keys);
	}
	(void)fits_close_file(f, status);
}

static void do_header(const char *path, int *status)
{
	fitsfile *f = open_file(path, READONLY, status);
	char card[FLEN_CARD] = "", name[] = "DQ";
	int keys = 0;

	(void)fits_movnam_hdu(f, IMAGE_HDU, name, 0, status);
	(void)fits_get_hdrspace(f, &keys, NULL, status);
	for (int i = 1; i <= keys && !*status; i++) {
		(void)fits_read_record(f, i, card, status);
		(void)printf("%s\n", card);
	}
	(void)fits_close_file(f, status);
}

static void read_pixels(const char *path, bool whole, int *status)
{
	fitsfile *f = open_file(path, READONLY, status);
	long axes[3] = {0, 0, 0}, first[3] = {51, 51, 1}, last[3], step[3] = {1, 1, 1};
	char name[] = "SCI";
	float *data;
	size_t n;

	(void)fits_movnam_hdu(f, IMAGE_HDU, name, 0, status);
	(void)fits_get_img_size(f, 2, axes, status);
	last[0] = last[1] = 50 + SIDE;
	last[2] = 1;
	n = whole ? (size_t)axes[0] * (size_t)axes[1] : SIDE * SIDE;
	data = calloc(n, sizeof(*data));
	if (!data)
		*status = MEMORY_ALLOCATION;
	if (whole)
		(void)fits_read_img(f, TFLOAT, 1, (LONGLONG)n, NULL, data, NULL, status);
	else
		(void)fits_read_subset(f, TFLOAT, first, last, step, NULL, data, NULL,
				       status);
	if (!*status)
		(void)printf("%zu pixels, hash %016llx\n", n,
			     (unsigned long long)hash(data, n * sizeof(*data)));
	free(data);
	(void)fits_close_file(f, status);
}

static void do_subset(const char *path, int *status)
{
	read_pixels(path, false, status);
}

static void do_image(const char *path, int *status)
{
	read_pixels(path, true, status);
}

/* An image, then a table that grows: seeks back to rewrite its header. */
static void do_create(const char *path, int *status)
{
	char type[] = "X", form[] = "1D", unit[] = "s", *types[] = {type};
	char *forms[] = {form}, *units[] = {unit};
	long axes[2] = {300, 200};
	float row[300];
	fitsfile *f = NULL;

	(void)fits_create_diskfile(&f, path, status);
	(void)fits_create_img(f, FLOAT_IMG, 2, axes, status);
	for (int y = 0; y < 200 && !*status; y++) {
		for (int x = 0; x < 300; x++)
			row[x] = (float)(x * y);
		(void)fits_write_img(f, TFLOAT, 1 + y * 300L, 300, row, status);
	}
	(void)fits_create_tbl(f, BINARY_TBL, 0, 1, types, forms, units, "GROWS", status);
	for (LONGLONG i = 1; i <= 5000 && !*status; i++) {
		double value = (double)i / 7;

		(void)fits_write_col(f, TDOUBLE, 1, i, 1, 1, &value, status);
	}
	(void)fits_close_file(f, status);
}

/* Row after row, as in a loop over sources; each may be on its way at once, as in a log
 * or a table that somebody watches. */
static void write_rows(const char *path, bool flushes, int *status)
{
	char type[] = "X", form[] = "1D", unit[] = "s", *types[] = {type};
	char *forms[] = {form}, *units[] = {unit};
	fitsfile *f = NULL;

	(void)fits_create_diskfile(&f, path, status);
	(void)fits_create_tbl(f, BINARY_TBL, 0, 1, types, forms, units, "ROWS", status);
	for (LONGLONG i = 1; i <= 4000 && !*status; i++) {
		double value = (double)i / 7;

		(void)fits_write_col(f, TDOUBLE, 1, i, 1, 1, &value, status);
		if (flushes)
			(void)fits_flush_buffer(f, 0, status);
	}
	(void)fits_close_file(f, status);
}

static void do_table(const char *path, int *status)
{
	write_rows(path, false, status);
}

static void do_flushed(const char *path, int *status)
{
	write_rows(path, true, status);
}

static void do_update(const char *path, int *status)
{
	fitsfile *f = open_file(path, READWRITE, status);
	char name[] = "SCI";

	(void)fits_movnam_hdu(f, IMAGE_HDU, name, 0, status);
	(void)fits_update_key_str(f, "BUNIT", "Jy/beam", "changed in place", status);
	(void)fits_close_file(f, status);
}

/* Beyond the header's last block: all that follows is moved. */
static void do_grow(const char *path, int *status)
{
	fitsfile *f = open_file(path, READWRITE, status);
	char key[FLEN_KEYWORD];

	for (int i = 0; i < 100 && !*status; i++) {
		(void)snprintf(key, sizeof(key), "NEW%05d", i);
		(void)fits_update_key_lng(f, key, i, "one of many", status);
	}
	(void)fits_close_file(f, status);
}

/* Moves what follows down and cuts the file. */
static void do_delete(const char *path, int *status)
{
	fitsfile *f = open_file(path, READWRITE, status);
	char name[] = "ERR";

	(void)fits_movnam_hdu(f, IMAGE_HDU, name, 0, status);
	(void)fits_delete_hdu(f, NULL, status);
	(void)fits_close_file(f, status);
}

static void do_checksum(const char *path, int *status)
{
	fitsfile *f = open_file(path, READWRITE, status);
	char name[] = "SCI";
	int data_ok = 0, hdu_ok = 0;

	(void)fits_movnam_hdu(f, IMAGE_HDU, name, 0, status);
	(void)fits_write_chksum(f, status);
	(void)fits_verify_chksum(f, &data_ok, &hdu_ok, status);
	(void)printf("data %d hdu %d\n", data_ok, hdu_ok);
	(void)fits_close_file(f, status);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(const char *path, int *status);
	} actions[] = {
		{"info", do_info},   {"header", do_header}, {"subset", do_subset},
		{"image", do_image}, {"create", do_create}, {"update", do_update},
		{"grow", do_grow},   {"delete", do_delete}, {"checksum", do_checksum},
		{"table", do_table},   {"flushed", do_flushed},
	};
	int status = 0;

	for (size_t i = 0; argc == 3 && i < sizeof(actions) / sizeof(*actions); i++) {
		if (strcmp(argv[1], actions[i].name))
			continue;
		actions[i].run(argv[2], &status);
		if (status)
			fits_report_error(stderr, status);
		return status != 0;
	}
	(void)fprintf(stderr, "usage: cfits ACTION FILE\n");
	return 2;
}
