/* utf8.h - is it UTF-8, and how bytes from outside are shown where only that may be.
 */
#ifndef BACKENDS_UTIL_UTF8_H
#define BACKENDS_UTIL_UTF8_H
#include <stdbool.h>
#include <stddef.h>
#include "backends/util/buf.h"

/* Of the one sequence that the n bytes (at least 1) start with, 1 to 4; 0: it is none.
 * Overlong forms, surrogates and what is beyond U+10FFFF are none (RFC 3629). */
size_t utf8_length(const char *s, size_t n);
bool utf8_is(const char *s);

/* Append a JSON string, quotes and all, valid whatever the bytes are: one that is not
 * part of a UTF-8 sequence is shown as the four characters \xNN. */
void utf8_quote(struct buf *out, const char *s, size_t n);
/* Append it as a terminal may have it: what is none, and each byte of a control
 * character, as \xNN. */
void utf8_show(struct buf *out, const char *s, size_t n);
#endif
