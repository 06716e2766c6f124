/* wire.h - the network of a fuzz target: http.h without a socket.  What comes back is the
 * input, taken in by the same code as what libcurl brings (http_impl.h).
 */
#ifndef TESTS_FUZZ_WIRE_H
#define TESTS_FUZZ_WIRE_H
#include "tests/fuzz/fuzz.h"

/* Between two answers. */
#define WIRE_NEXT "\n%%\n"

/* Whole answers from the status line on, one for each request; after the last nobody
 * answers (-ECOMM).  Borrowed until the next call.  piece: bytes of a body that come at
 * once; 0 = all of it. */
void wire_load(const uint8_t *bytes, size_t n, size_t piece);
/* Whatever an answer says, every request from now on must begin so: "https://host/".
 * Borrowed; NULL = it may go anywhere. */
void wire_bind(const char *origin);
/* How many requests were made since. */
unsigned wire_asked(void);
#endif
