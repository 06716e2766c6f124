/* json.h - the few small answers that are JSON.  The only user of jansson. */
#ifndef BACKENDS_JSON_H
#define BACKENDS_JSON_H
#include <stddef.h>
#include "backends/crypto.h"

/* The member of that name of the object that the text is; a number comes as
 * decimal digits.  -ENOENT: not there; -EBADMSG: not such a text. */
int json_get(const char *text, size_t n, const char *name, struct secret *ret);
/* The same of a member that is an object: comes as the text of one. */
int json_get_object(const char *text, size_t n, const char *name, struct secret *ret);
#endif
