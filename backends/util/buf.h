/* buf.h - a bounded growing string of bytes.
 *
 * Invariants: data is never NULL after buf_init and always NUL-terminated one
 * byte past len; len <= max.  A buffer is born with its maximum: what would go
 * past it sets the buffer's sticky error to -EMSGSIZE, an allocation that fails
 * to -ENOMEM, and from then on every append does nothing.  So a caller appends
 * freely and looks at buf_error() once, before it uses the bytes.
 */
#ifndef BACKENDS_UTIL_BUF_H
#define BACKENDS_UTIL_BUF_H
#include <stdarg.h>
#include <stddef.h>

struct buf {
	char *data; /* owned */
	size_t len, alloc, max;
	int error; /* 0, -EMSGSIZE or -ENOMEM */
};

void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b);
/* Forget what is past len, which is no more than there is; an error stays. */
void buf_cut(struct buf *b, size_t len);
/* Forget the bytes and the error, keep the memory. */
void buf_reset(struct buf *b);
void buf_add(struct buf *b, const void *bytes, size_t n);
void buf_adds(struct buf *b, const char *s);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vaddf(struct buf *b, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));
int buf_error(const struct buf *b);
/* The same, for callers to whom too long means something: that for -EMSGSIZE. */
int buf_error_or(const struct buf *b, int too_long);
/* The string, now owned by the caller (free); NULL if the buffer has an error.
 * The buffer is empty and usable afterwards. */
char *buf_detach(struct buf *b);

#define CLEANUP_BUF __attribute__((cleanup(buf_done)))
#endif
