/* split.c - see split.h. */
#include "cache/split.h"
#include <string.h>
#include "backends/util/banned.h"

enum { CUTS_WORTH_IT = 3 };

static uint32_t common(const char *a, const char *b)
{
	uint32_t n = 0;
	while (a[n] && a[n] == b[n])
		n++;
	return n;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The last of its kind: '9', 'Z', 'z'; c itself if it is of none. */
static char last_of_kind(char c)
{
	if (is_digit(c))
		return '9';
	if (c >= 'A' && c <= 'Z')
		return 'Z';
	return c >= 'a' && c <= 'z' ? 'z' : c;
}

static void make_cut(char *cut, const char *name, uint32_t place, char c)
{
	memcpy(cut, name, place);
	cut[place] = c;
	cut[place + 1] = '\0';
}

/* How many characters at place lie between the name's and what may follow. */
static uint32_t candidates(const struct split_range *r, uint32_t place)
{
	char c = r->page_last[place], last = last_of_kind(c);
	uint32_t varies = common(r->first, r->page_last);
	if (place < varies || (place > varies && !is_digit(c)))
		return 0;
	/* A cut there must lie before the end: the characters before place are the
	 * end's own only up to where the two part. */
	if (r->end && common(r->page_last, r->end) == place) {
		unsigned char limit = (unsigned char)r->end[place];
		if (limit && limit <= (unsigned char)last)
			last = (char)(limit - 1);
	}
	return last > c ? (uint32_t)(last - c) : 0;
}

/* A page that spans a whole step of a place tells that steps there are less than a
 * page: no place behind that is worth a request. */
uint32_t split_range(const struct split_range *r, uint32_t want,
		     char cuts[][SPLIT_CUT_SIZE], uint32_t *ret_place)
{
	uint32_t from = r->end ? common(r->page_last, r->end) : 0;
	uint32_t crossed = common(r->page_first, r->page_last);
	uint32_t len = (uint32_t)strlen(r->page_last);
	for (uint32_t p = from; p <= crossed && p < len && p < SPLIT_CUT_SIZE - 2; p++) {
		uint32_t n = candidates(r, p);
		if (!n || (p == crossed && n < CUTS_WORTH_IT))
			continue;
		uint32_t cut = want < n ? want : n;
		if (p == crossed)
			cut = cut < n / 2 ? cut : n / 2;
		for (uint32_t i = 0; i < cut; i++)
			make_cut(cuts[i], r->page_last, p,
				 (char)(r->page_last[p] +
					(char)(1 + (uint64_t)i * n / cut)));
		*ret_place = p;
		return cut;
	}
	return 0;
}

uint32_t split_first(const struct split_range *r, uint32_t want,
		     char cuts[][SPLIT_CUT_SIZE])
{
	uint32_t varies = common(r->first, r->page_last), n = 0;
	/* The later a digit is, the nearer its next value: ascending. */
	for (uint32_t p = varies + 1; p-- && n < want;)
		if (is_digit(r->page_last[p]) && r->page_last[p] < '9' &&
		    p < SPLIT_CUT_SIZE - 2)
			make_cut(cuts[n++], r->page_last, p, (char)(r->page_last[p] + 1));
	return n;
}
