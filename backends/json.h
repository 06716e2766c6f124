/* json.h - answers that are JSON, and the strings of requests.  The only user of jansson.
 *
 * A text is taken in whole: well-formed, no member twice, strings valid UTF-8 without
 * NUL, nesting bounded, or it is no text at all.
 */
#ifndef BACKENDS_JSON_H
#define BACKENDS_JSON_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "backends/crypto.h"
#include "backends/util/buf.h"

/* A value, and whatever is within it. */
struct json;

/* The text must be an object or an array.  -EBADMSG. */
int json_parse(const char *text, size_t n, struct json **ret);
void json_free(struct json *v); /* of json_parse only; NULL is fine */

/* What is in a value, borrowed from it.  NULL is a value that has nothing and is
 * nothing, so that a path is followed without a question at each step. */
const struct json *json_member(const struct json *v, const char *name);
size_t json_count(const struct json *v); /* of an array; else 0 */
const struct json *json_at(const struct json *v, size_t i);
/* The string; ret_len may be NULL.  NULL: it is none. */
const char *json_text(const struct json *v, size_t *ret_len);
/* true, and not merely something. */
bool json_flag(const struct json *v);
/* Decimal digits in a string, which is how 64 bits travel, or a number.  -EBADMSG. */
int json_u64(const struct json *v, uint64_t *ret);
/* A number, with or without a fraction.  -EBADMSG. */
int json_float(const struct json *v, double *ret);

/* Append the bytes as a string, quotes and all.  -EILSEQ: they are no UTF-8. */
int json_quote(struct buf *out, const char *s, size_t n);

/* --- one member of a small answer --- */

/* The member of that name of the object that the text is; a number comes as
 * decimal digits.  -ENOENT: not there; -EBADMSG: not such a text. */
int json_get(const char *text, size_t n, const char *name, struct secret *ret);
/* The same of a member that is an object or an array: comes as the text of one. */
int json_get_nested(const char *text, size_t n, const char *name, struct secret *ret);
#endif
