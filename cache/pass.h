/* pass.h - data files that the kernel reads past us.
 *
 * A version that is here whole is a plain file, and nothing is as fast as letting
 * the kernel read that.  Invariants, beside those of blocks.h:
 *
 *  pass (1) A file is handed out only when each of its blocks was verified since
 *           start (blocks (2)): afterwards nobody looks at its bytes.
 *  pass (2) From pass_begin to pass_end none of its bytes is written, punched out
 *           or given up, and they go on counting (blocks (5)).
 *  pass (3) Nor as long as somebody has it mapped, who may have closed the file: of that
 *           nobody tells us, so whoever punches asks the kernel first (lease.h).  A file
 *           that is removed stays his until he ends.
 */
#ifndef CACHE_PASS_H
#define CACHE_PASS_H
#include <stdbool.h>
#include <stdint.h>
#include "cache/blocks.h"

struct pass {
	struct version *v; /* reference; NULL: none */
	uint64_t epoch;	   /* of the data file */
};

/* *ret_fd (owned by the caller) reads the version's data file, which stays as it is
 * until pass_end(ret).
 * -EAGAIN   (only without may_block) first its blocks must be verified
 * -ENODATA  something is missing, or the disk does not suit (pass (3)); or so much must
 * be verified that it is done in the background, for those who open it later */
int pass_begin(struct version *v, bool may_block, struct pass *ret, int *ret_fd);
/* Would pass_begin(v) hand out the same file?  Looks at the disk. */
bool pass_is_of(const struct pass *p, struct version *v);
void pass_end(struct pass *p); /* fine if there is none */
#endif
