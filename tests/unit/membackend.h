/* membackend.h - a bucket of one made-up object, which counts and misbehaves.
 *
 * Byte i of the object is a function of i and a seed, so that a test can tell any
 * range from any other without keeping it.
 */
#ifndef TESTS_UNIT_MEMBACKEND_H
#define TESTS_UNIT_MEMBACKEND_H
#include <stdatomic.h>
#include "backends/backend.h"

/* Other bytes in place of the made-up ones. */
struct membackend_patch {
	uint64_t off, len;
	const char *bytes; /* borrowed */
};

struct membackend {
	struct backend be; /* first */
	/* set before the first get */
	const struct membackend_patch *patches; /* borrowed */
	size_t n_patches;
	/* changed by tests at any time */
	_Atomic uint32_t seed;	     /* of the bytes */
	_Atomic uint64_t chunk;	     /* bytes a sink gets at once */
	_Atomic uint64_t delay_ns;   /* before the first byte */
	_Atomic uint64_t gap_ns;     /* between two chunks */
	_Atomic int error;	     /* a get fails with it ... */
	_Atomic uint64_t good_bytes; /* ... after so many bytes */
	_Atomic uint64_t
		good_gets; /* from the get of this number on it does not; 0 = never */
	atomic_bool held;  /* gets stop after good_bytes until this is false */
	atomic_bool hints_held; /* the same, for PRIO_HINT only */

	/* counted */
	_Atomic uint64_t gets, bytes, running, running_max;
	_Atomic uint64_t twice; /* blocks delivered more than once */
	struct {
		_Atomic uint8_t times;
	} * delivered; /* of n_delivered blocks; NULL = not counted */
	uint64_t n_delivered;
};

void membackend_init(struct membackend *mb, uint32_t seed);
void membackend_done(struct membackend *mb);
/* From now on count the deliveries of each block. */
void membackend_watch(struct membackend *mb, uint64_t size);

uint8_t membackend_byte(uint32_t seed, uint64_t off);
void membackend_fill(uint32_t seed, uint64_t off, void *dst, size_t len);
/* Are these the object's bytes from off on? */
int membackend_same(uint32_t seed, uint64_t off, const void *bytes, size_t len);
#endif
