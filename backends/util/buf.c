/* buf.c - see buf.h. */
#include "backends/util/buf.h"
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/banned.h"

/* What data points at while nothing is allocated; never written. */
static char buf_empty[1];

void buf_init(struct buf *b, size_t max)
{
	/* A quarter of what there can be: then doubling cannot wrap. */
	*b = (struct buf){.data = buf_empty,
			  .max = max < SIZE_MAX / 4 ? max : SIZE_MAX / 4};
}

void buf_done(struct buf *b)
{
	if (b->alloc)
		free(b->data);
	buf_init(b, b->max);
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->error = 0;
	if (b->alloc)
		b->data[0] = '\0';
}

void buf_cut(struct buf *b, size_t len)
{
	b->len = len;
	if (b->alloc)
		b->data[len] = '\0';
}

static int buf_reserve(struct buf *b, size_t extra)
{
	if (b->error)
		return b->error;
	if (extra > b->max || b->len > b->max - extra)
		return b->error = -EMSGSIZE;

	size_t need = b->len + extra + 1;
	if (need <= b->alloc)
		return 0;
	size_t alloc = b->alloc ? b->alloc : 64;
	while (alloc < need)
		alloc *= 2;
	char *p = realloc(b->alloc ? b->data : NULL, alloc);
	if (!p)
		return b->error = -ENOMEM;
	b->data = p;
	b->alloc = alloc;
	b->data[b->len] = '\0';
	return 0;
}

void buf_add(struct buf *b, const void *bytes, size_t n)
{
	if (buf_reserve(b, n))
		return;
	if (n)
		memcpy(b->data + b->len, bytes, n);
	b->len += n;
	b->data[b->len] = '\0';
}

void buf_adds(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_addc(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_vaddf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0) {
		if (!b->error)
			b->error = -EMSGSIZE;
		return;
	}
	if (buf_reserve(b, (size_t)n))
		return;
	(void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
	b->len += (size_t)n;
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	buf_vaddf(b, fmt, ap);
	va_end(ap);
}

int buf_error(const struct buf *b)
{
	return b->error;
}

int buf_error_or(const struct buf *b, int too_long)
{
	return b->error == -EMSGSIZE ? too_long : b->error;
}

char *buf_detach(struct buf *b)
{
	if (b->error || buf_reserve(b, 0))
		return NULL;
	char *s = b->data;
	buf_init(b, b->max);
	return s;
}
