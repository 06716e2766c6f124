/* fault.h - a backend that fails, delays or cuts short another, by a script.
 * For tests only; nothing in the daemon makes one.
 *
 * Script: rules separated by ';', each "op:nth:action", the first match counts.
 *   op      head get list put del copy rename begin part finish abort any
 *   nth     3 the third such call · 3+ from the third on · * every one
 *   action  before=ERRNO  fails and the inner backend is not called
 *           after=ERRNO   the inner backend does it, then the answer is lost
 *           short=BYTES=ERRNO  a get delivers this many bytes, then fails; 0 too
 *           delay=MS      then goes on as usual
 * ERRNO by name: ECOMM ETIMEDOUT EREMOTEIO EBUSY EBADMSG EACCES ESTALE ENOENT ENOSPC
 * EIO ENOMEM EOPNOTSUPP EKEYEXPIRED
 */
#ifndef BACKENDS_FAULT_H
#define BACKENDS_FAULT_H
#include "backends/backend.h"

/* Owns inner from here on, also when it fails.  -EINVAL: not a script. */
int fault_new(struct backend *inner, const char *script, struct backend **ret);
/* Calls of one op that reached this wrapper, by the names above; "any" = all. */
uint64_t fault_count(const struct backend *be, const char *op);
#endif
