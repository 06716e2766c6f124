/* sums.c - see sums.h. */
#include "backends/sums.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "backends/crc.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

enum { READ_BYTES = 256 * 1024 };

static int add_piece(struct sums *s, struct digest *md5, struct digest *sha256,
		     const void *piece, size_t n)
{
	if (s->want_crc32c)
		s->crc32c = crc32c(s->crc32c, piece, n);
	if (s->want_crc64nvme)
		s->crc64nvme = crc64nvme(s->crc64nvme, piece, n);
	int r = md5 ? digest_add(md5, piece, n) : 0;
	return r || !sha256 ? r : digest_add(sha256, piece, n);
}

static int add_source(struct sums *s, struct digest *md5, struct digest *sha256,
		      const struct source *src)
{
	CLEANUP_FREE char *piece = malloc(READ_BYTES);
	if (!piece)
		return -ENOMEM;
	for (uint64_t done = 0; done < src->len;) {
		uint64_t left = src->len - done;
		size_t want = left < READ_BYTES ? (size_t)left : READ_BYTES;
		ssize_t n = pread(src->fd, piece, want, (off_t)(src->off + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		int r = add_piece(s, md5, sha256, piece, (size_t)n);
		if (r)
			return r;
		done += (uint64_t)n;
	}
	return 0;
}

int sums_of_source(const struct source *src, struct sums *s)
{
	CLEANUP_DIGEST struct digest *md5 = NULL, *sha256 = NULL;
	s->crc32c = 0;
	s->crc64nvme = 0;
	s->want_crc32c |= src->sum != NULL;
	int r = s->want_md5 ? digest_new(DIGEST_MD5, &md5) : 0;
	if (!r && s->want_sha256)
		r = digest_new(DIGEST_SHA256, &sha256);
	if (!r)
		r = add_source(s, md5, sha256, src);
	if (!r && md5)
		r = digest_end(md5, s->md5);
	if (!r && sha256)
		r = digest_end(sha256, s->sha256);
	if (!r && src->sum)
		*src->sum = (struct source_sum){.known = true, .crc32c = s->crc32c};
	return r;
}
